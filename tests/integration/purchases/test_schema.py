"""The schema: reached by migrations, the same as the models, and refusing what must never be stored."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from services.purchases.models import PurchasesTables
from services.purchases.refund.request import request_refund
from shared import migrations
from shared.database import create_engine
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.support.servers import TestServers
from tests.support.service import context

PACKAGE = "services.purchases"


@pytest.fixture
async def empty_database(servers: TestServers) -> AsyncIterator[str]:
    """A database in which nothing was migrated yet."""
    name = f"purchases_{uuid4().hex[:12]}"
    admin = await asyncpg.connect(servers.database_admin_url)
    await admin.execute(f'CREATE DATABASE "{name}"')
    yield make_url(servers.database_admin_url).set(database=name).render_as_string(hide_password=False)
    await admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await admin.close()


async def revision(url: str) -> str | None:
    engine = create_engine(url, service="purchases")
    try:
        async with engine.connect() as connection:
            return await migrations.current_revision(connection)
    finally:
        await engine.dispose()


async def test_three_instances_that_start_together_migrate_once(empty_database: str) -> None:
    assert await revision(empty_database) is None
    assert migrations.is_behind(PACKAGE, None)
    await asyncio.gather(*(migrations.upgrade(empty_database, PACKAGE) for _ in range(3)))
    current = await revision(empty_database)
    assert current == migrations.head_revision(PACKAGE)
    assert not migrations.is_behind(PACKAGE, current)


async def test_a_database_of_a_newer_release_is_left_alone(empty_database: str) -> None:
    await migrations.upgrade(empty_database, PACKAGE)
    connection = await asyncpg.connect(empty_database)
    await connection.execute("UPDATE alembic_version SET version_num = 'from_the_future'")
    await connection.close()
    await migrations.upgrade(empty_database, PACKAGE)
    assert await revision(empty_database) == "from_the_future"
    assert not migrations.is_behind(PACKAGE, "from_the_future")


async def test_a_migration_does_not_wait_behind_a_long_transaction(empty_database: str) -> None:
    blocker = await asyncpg.connect(empty_database)
    await blocker.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK alembic_version")
    try:
        async with asyncio.timeout(10):
            with pytest.raises(DBAPIError, match="lock timeout"):
                await migrations.upgrade(empty_database, PACKAGE)
    finally:
        await transaction.rollback()
        await blocker.close()
    await migrations.upgrade(empty_database, PACKAGE)
    assert await revision(empty_database) == migrations.head_revision(PACKAGE)


async def test_migrations_lead_to_exactly_the_tables_of_the_models(purchases_database: str) -> None:
    engine = create_engine(purchases_database, service="purchases")
    async with engine.connect() as connection:
        missing = await migrations.difference(connection, PurchasesTables.metadata)
    await engine.dispose()
    assert [line for line in missing.splitlines() if line.strip() and not line.strip().startswith("#")] == ["    pass"]


@pytest.mark.parametrize(
    ("spoil", "constraint"),
    [
        ("UPDATE purchase SET refunded = paid + 1 WHERE id = :id", "ck_purchase_refunded"),
        ("UPDATE purchase SET refunded = -1 WHERE id = :id", "ck_purchase_refunded"),
        ("UPDATE purchase SET returned = refunded + 1 WHERE id = :id", "ck_purchase_refunded"),
        ("UPDATE purchase SET paid = gross + 1 WHERE id = :id", "ck_purchase_paid"),
        ("UPDATE purchase SET tax = gross + 1 WHERE id = :id", "ck_purchase_price"),
        ("UPDATE purchase SET status = 'sold' WHERE id = :id", "ck_purchase_status"),
        ("UPDATE purchase SET card_last4 = '42' WHERE id = :id", "ck_purchase_card_last4_form"),
        ("UPDATE purchase SET card_last4 = '424x' WHERE id = :id", "ck_purchase_card_last4_form"),
        ("UPDATE purchase SET reference_number = '012345678' WHERE id = :id", "ck_purchase_reference_number_form"),
        ("UPDATE purchase SET currency = 'eur' WHERE id = :id", "ck_purchase_currency_form"),
        ("UPDATE purchase SET version = 0 WHERE id = :id", "ck_purchase_version"),
        ("UPDATE purchase_item SET refunded = gross + 1 WHERE purchase_id = :id", "ck_purchase_item_refunded"),
        ("UPDATE purchase_item SET refunded_tax = tax + 1 WHERE purchase_id = :id", "ck_purchase_item_refunded_tax"),
        (
            "UPDATE purchase_item SET refunded_quantity = 2 WHERE purchase_id = :id",
            "ck_purchase_item_refunded_quantity",
        ),
        ("UPDATE purchase_item SET quantity = 0 WHERE purchase_id = :id", "ck_purchase_item_order"),
        ("UPDATE purchase_item SET gross = 1 WHERE purchase_id = :id", "ck_purchase_item_price"),
        ("UPDATE payment SET amount = 0 WHERE purchase_id = :id", "ck_payment_amount"),
        ("UPDATE refund SET amount = 0 WHERE purchase_id = :id", "ck_refund_amount"),
        ("UPDATE refund SET state = 'lost' WHERE purchase_id = :id", "ck_refund_state"),
        ("UPDATE refund SET state = 'completed' WHERE purchase_id = :id", "ck_refund_completed"),
        ("UPDATE refund SET state = 'failed' WHERE purchase_id = :id", "ck_refund_failed"),
        ("UPDATE refund_line SET amount = 0 WHERE purchase_id = :id", "ck_refund_line_amount"),
        ("UPDATE refund_line SET running_number = 9 WHERE purchase_id = :id", "fk_refund_line"),
        ("DELETE FROM purchase WHERE id = :id", "fk_"),
    ],
)
async def test_the_database_refuses_what_the_code_should_have_refused(
    service: PurchasesService, spoil: str, constraint: str
) -> None:
    purchase = await recorded(service)
    async with service.work(context()) as work:
        await request_refund(work, refund(purchase))
    with pytest.raises(IntegrityError, match=constraint):
        async with service.sessions() as session, session.begin():
            await session.execute(text(spoil), {"id": purchase.purchase_id})
