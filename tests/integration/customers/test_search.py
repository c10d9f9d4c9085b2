"""Finding customers."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncSession

from services.customers.merge.view import duplicates_statement
from services.customers.search import search_statement
from services.customers.search_rules import RULES
from shared.contracts.customers import SearchCustomers
from shared.contracts.refusals import Refused
from shared.search.form import Search
from shared.search.keywords import parse_keywords
from tests.integration.customers.arranging import CustomersService, a_client, recorded
from tests.support.make import contact

_ASYNCPG = PGDialect_asyncpg()  # type: ignore[no-untyped-call]


async def test_every_kind_of_keyword_finds_the_customer(service: CustomersService) -> None:
    client = a_client()
    purchase = recorded(contact(last_name="Möller-Çelik", company="Acme GmbH", email="jo@mail.example.com"))
    await service.ask(client, purchase)
    await service.ask(client, recorded(contact(last_name="Other", email="o@example.org"), card_last4="1111"))
    found = (await service.owner(client, purchase.reference_number)).customer_id
    for keywords in (
        "möller",
        "MOLLER-C",
        "acme",
        "4242",
        purchase.reference_number,
        "JO@mail.example.com",
        "@mail.example.com",
        "@example.com",
        "möl, acme ,4242, @example.com",
    ):
        assert await service.find(client, keywords) == [found], keywords
    for keywords in ("jo@example.com", "@ample.com", "moller, 1111", "cmE", "999999999", "%", "_"):
        assert await service.find(client, keywords) == [], keywords


async def test_pages_follow_the_terms_without_gaps_or_repeats(service: CustomersService) -> None:
    client = a_client()
    expected = []
    for number in range(7):
        name = f"Mill{number % 3}"
        customer = await service.create(client, last_name=name, company="Mill", email=f"m{number}@example.com")
        expected.append(("mill", customer))
    seen, cursor = [], None
    while True:
        page = await service.ask(client, SearchCustomers(keywords="mil", limit=2, cursor=cursor))
        seen += [(row.matched, row.customer_id) for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == sorted(expected)


@pytest.mark.parametrize(
    ("keywords", "code"), [(" , ,", "no_keywords"), (",".join(map(str, range(11))), "too_many_keywords")]
)
async def test_searches_that_mean_nothing(service: CustomersService, keywords: str, code: str) -> None:
    with pytest.raises(Refused, match=code):
        await service.find(a_client(), keywords)


async def test_a_cursor_belongs_to_its_search(service: CustomersService) -> None:
    client = a_client()
    for number in range(2):
        await service.create(client, last_name="Miller", email=f"m{number}@example.com")
    page = await service.ask(client, SearchCustomers(keywords="miller", limit=1))
    for keywords, of in (("mill", client), ("miller", a_client())):
        with pytest.raises(Refused, match="cursor_invalid"):
            await service.find(of, keywords, cursor=page.next_cursor)
    with pytest.raises(Refused, match="cursor_invalid"):
        await service.find(client, "miller", cursor="abc")


async def generic_plan(session: AsyncSession, statement: Any) -> str:
    """How a prepared statement is executed after its first five runs, whatever its values."""
    compiled = statement.compile(dialect=_ASYNCPG, compile_kwargs={"render_postcompile": True})
    values = ", ".join("NULL" for _ in compiled.positiontup or ())
    connection = await session.connection()
    await connection.exec_driver_sql(f"PREPARE looked_at AS {compiled}")
    rows = await connection.exec_driver_sql(f"EXPLAIN EXECUTE looked_at({values})")
    plan = "\n".join(row[0] for row in rows)
    await connection.exec_driver_sql("DEALLOCATE looked_at")
    return plan


async def test_searches_walk_indexes_under_every_plan(service: CustomersService) -> None:
    async with service.sessions() as session, session.begin():
        await session.execute(
            text(
                "WITH c AS (INSERT INTO customer (id, root_id, client_id, kind, version, created_by, changed_by)"
                " SELECT id, id, 'many', 'person', 1, 'a', 'a'"
                " FROM (SELECT gen_random_uuid() AS id FROM generate_series(1, 20000)) AS made RETURNING id)"
                " INSERT INTO search_key (customer_id, root_id, client_id, kind, term)"
                " SELECT id, id, 'many', kind, CASE kind WHEN 'email' THEN id || '@x' ELSE left(id::text, 6) END"
                " FROM c, unnest(ARRAY['last_name', 'company', 'email']) AS kind"
            )
        )
        await session.execute(text("ANALYZE search_key, customer"))
        await session.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
        for keywords in ("abc", "abcd, abc", "x@x", "123456789", "@example.com"):
            wanted = Search("many", parse_keywords(keywords, RULES), 26)
            plan = await generic_plan(session, search_statement(wanted.form))
            assert "Seq Scan" not in plan, f"{keywords}\n{plan}"
            assert "ix_search_key_client" in plan, f"{keywords}\n{plan}"
        assert "Seq Scan" not in await generic_plan(session, duplicates_statement("many", None, 26))
