"""The schema: reached by migrations, the same as the models, and refusing what must never be stored."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.customers.models import CustomersTables
from shared import migrations
from shared.database import create_engine
from tests.integration.customers.arranging import CustomersService, a_client, recorded


async def test_migrations_lead_to_exactly_the_tables_of_the_models(customers_database: str) -> None:
    engine = create_engine(customers_database, service="customers")
    async with engine.connect() as connection:
        missing = await migrations.difference(connection, CustomersTables.metadata)
    await engine.dispose()
    assert [line for line in missing.splitlines() if line.strip() and not line.strip().startswith("#")] == ["    pass"]


@pytest.mark.parametrize(
    ("spoil", "constraint"),
    [
        ("UPDATE customer SET merged_into_id = id, merged_at = now(), merged_by = 'a' WHERE id = :id", "ck_customer"),
        ("UPDATE customer SET merged_at = now() WHERE id = :id", "ck_customer_merged_at"),
        ("UPDATE customer SET version = 0 WHERE id = :id", "ck_customer_version"),
        ("UPDATE customer SET kind = 'robot' WHERE id = :id", "ck_customer_kind"),
        (
            (
                "INSERT INTO contact (id, customer_id, is_billing, is_delivery, is_licensee, fields, created_by)"
                " VALUES (gen_random_uuid(), :id, true, false, false, '{}', 'a')"
            ),
            "uq_contact_billing",
        ),
        ("UPDATE purchase SET reference_number = '012345678' WHERE customer_id = :id", "ck_purchase_reference_number"),
        ("DELETE FROM customer WHERE id = :id", "fk_"),
    ],
)
async def test_the_database_refuses_what_the_code_should_have_refused(
    service: CustomersService, spoil: str, constraint: str
) -> None:
    client, purchase = a_client(), recorded()
    await service.ask(client, purchase)
    customer = (await service.owner(client, purchase.reference_number)).customer_id
    with pytest.raises(IntegrityError, match=constraint):
        async with service.sessions() as session, session.begin():
            await session.execute(text(spoil), {"id": customer})
