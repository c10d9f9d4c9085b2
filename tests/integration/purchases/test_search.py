"""Finding purchases: all keywords match, newest first, never another client's, and always through an index."""

import re
from collections.abc import AsyncIterator
from datetime import date, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.purchases import search as searching
from services.purchases.refund.request import request_refund
from services.purchases.search import search_purchases, search_statement
from services.purchases.search_rules import RULES
from shared.contracts.purchases import PurchaseChanged, PurchasePage, PurchaseRow, SearchPurchases
from shared.contracts.refusals import Refused
from shared.database import create_reading_engine
from shared.search.form import Search
from shared.search.keywords import parse_keywords
from tests.integration.purchases.arranging import PurchasesService, recorded, refund
from tests.support.make import ORDERED_AT, contact, euros, order
from tests.support.service import context

SHOP = "search-shop"
RIVAL = "search-rival"


@pytest.fixture(params=["few have such words", "many have such words"], autouse=True)
def breadth(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The beginning of a word is looked for in two ways, which find the same. True where it counts as broad."""
    if request.param.startswith("many"):
        monkeypatch.setattr(searching, "_BROAD", 1)
        return True
    return False


@pytest.fixture(scope="module")
async def shop(service: PurchasesService) -> dict[str, PurchaseChanged]:
    """Purchases of two clients; the later in the list, the newer."""
    people = {
        "lovelace": order(
            client_order_id="A-1",
            card_last4="1111",
            billing_contact=contact(last_name="Lovelace", email="ada@mail.engines.com"),
        ),
        "lovelock": order(
            client_order_id="A-2",
            card_last4="2222",
            billing_contact=contact(last_name="Lovelock", email="james@engines.com"),
            licensee_contact=contact(last_name="Margulis", company="Gaia Ltd", email="lynn@gaia.org"),
        ),
        "müller": order(
            client_order_id="A-3",
            card_last4="1111",
            billing_contact=contact(last_name="Müller", company="Lovely Things", email="info@lovely.com"),
        ),
        "1111 inc": order(
            client_order_id="1234",
            card_last4="3333",
            billing_contact=contact(last_name=None, company="1111 Inc", email="x@notengines.com"),
        ),
        "both": order(
            client_order_id="A-5",
            billing_contact=contact(last_name="Lovell", company="Lovell Brothers", email="jim@apollo.org"),
        ),
    }
    days = range(len(people))
    made = {
        name: await recorded(
            service, command.model_copy(update={"ordered_at": ORDERED_AT + timedelta(days=day)}), by=context(SHOP)
        )
        for day, (name, command) in zip(days, people.items(), strict=True)
    }
    foreign = order(client_order_id="A-1", card_last4="1111", billing_contact=people["lovelace"].billing_contact)
    made["foreign"] = await recorded(service, foreign, by=context(RIVAL))
    return made


async def search(service: PurchasesService, keywords: str, client_id: str = SHOP, **fields: object) -> PurchasePage:
    async with service.work(context(client_id)) as work:
        query = SearchPurchases.model_validate({"keywords": keywords} | fields)
        return await search_purchases(work, query)


def names(page: PurchasePage, shop: dict[str, PurchaseChanged]) -> list[str]:
    by_number = {purchase.reference_number: name for name, purchase in shop.items()}
    return [by_number[row.reference_number] for row in page.rows]


@pytest.mark.parametrize(
    ("keywords", "found"),
    [
        ("lovelace", ["lovelace"]),
        ("LOVE", ["both", "müller", "lovelock", "lovelace"]),
        ("muller", ["müller"]),
        ("MÜLL", ["müller"]),
        ("gaia", ["lovelock"]),
        ("margulis", ["lovelock"]),
        ("lynn@gaia.org", ["lovelock"]),
        ("Ada@Mail.Engines.com", ["lovelace"]),
        ("@engines.com", ["lovelock", "lovelace"]),
        ("@mail.engines.com", ["lovelace"]),
        ("@com", ["1111 inc", "müller", "lovelock", "lovelace"]),
        ("1111", ["1111 inc", "müller", "lovelace"]),
        ("1234", ["1111 inc"]),
        ("a-3", ["müller"]),
        ("love, 1111", ["müller", "lovelace"]),
        ("1111, love, @engines.com", ["lovelace"]),
        ("love, 3333", []),
        ("ovelace", []),
        ("%", []),
        ("love_ace", []),
    ],
)
async def test_a_keyword_finds_what_it_may_mean(
    service: PurchasesService, shop: dict[str, PurchaseChanged], keywords: str, found: list[str]
) -> None:
    assert names(await search(service, keywords), shop) == found


async def test_a_reference_number_finds_its_purchase_alone_and_with_other_keywords(
    service: PurchasesService, shop: dict[str, PurchaseChanged]
) -> None:
    number = shop["lovelace"].reference_number
    assert names(await search(service, number), shop) == ["lovelace"]
    assert names(await search(service, f"{number}, love"), shop) == ["lovelace"]
    assert names(await search(service, f"{number}, gaia"), shop) == []
    assert names(await search(service, f"{number}, {shop['lovelock'].reference_number}"), shop) == []


@pytest.mark.parametrize("keywords", ["lovelace", "1111", "ada@mail.engines.com", "@engines.com", "a-1", "love, 1111"])
async def test_another_clients_purchases_are_never_found(
    service: PurchasesService, shop: dict[str, PurchaseChanged], keywords: str
) -> None:
    assert "foreign" not in names(await search(service, keywords), shop)
    assert names(await search(service, keywords, RIVAL), shop) == ["foreign"]
    assert names(await search(service, shop["foreign"].reference_number), shop) == []
    both = await search(service, keywords, "*", limit=100)
    assert {row.client_id for row in both.rows} >= {SHOP, RIVAL}


async def test_a_day_narrows_the_search(service: PurchasesService, shop: dict[str, PurchaseChanged]) -> None:
    assert names(await search(service, "love", ordered_on=date(2026, 3, 2)), shop) == ["lovelock"]
    assert names(await search(service, "love", ordered_on=date(2026, 3, 9)), shop) == []
    number = shop["lovelace"].reference_number
    assert names(await search(service, number, ordered_on=date(2026, 3, 2)), shop) == []


async def test_pages_follow_each_other_without_gap_or_repeat(
    service: PurchasesService, shop: dict[str, PurchaseChanged]
) -> None:
    rows: list[PurchaseRow] = []
    cursor = None
    for _ in range(4):
        page = await search(service, "love", limit=1, cursor=cursor)
        rows += page.rows
        cursor = page.next_cursor
    assert cursor is None
    assert names(PurchasePage(rows=tuple(rows), next_cursor=None), shop) == ["both", "müller", "lovelock", "lovelace"]


async def test_purchases_of_the_same_moment_are_paged_too(service: PurchasesService, breadth: bool) -> None:
    twins = "many-twins" if breadth else "few-twins"
    numbers = {(await recorded(service, order(), by=context(twins))).reference_number for _ in range(5)}
    first = await search(service, "lovelace", twins, limit=3)
    second = await search(service, "lovelace", twins, limit=3, cursor=first.next_cursor)
    assert {row.reference_number for row in first.rows + second.rows} == numbers
    assert second.next_cursor is None


async def test_a_cursor_belongs_to_its_search(service: PurchasesService, shop: dict[str, PurchaseChanged]) -> None:
    cursor = (await search(service, "love", limit=1)).next_cursor
    assert cursor is not None
    for keywords, client_id, given in (
        ("lovel", SHOP, cursor),
        ("love", RIVAL, cursor),
        ("love", SHOP, cursor[:-3]),
        ("love", SHOP, "A"),
    ):
        with pytest.raises(Refused, match="cursor_invalid"):
            await search(service, keywords, client_id, limit=1, cursor=given)


async def test_a_search_shows_money_as_it_stands_after_a_refund(service: PurchasesService) -> None:
    purchase = await recorded(service)
    async with service.work(context()) as work:
        await request_refund(work, refund(purchase))
    (row,) = (await search(service, purchase.reference_number, "acme")).rows
    assert (row.gross, row.refunded, row.last_name, row.email) == (
        euros(1000),
        euros(1000),
        "Lovelace",
        "ada@example.com",
    )


@pytest.fixture(scope="module")
async def crowd(service: PurchasesService) -> AsyncIterator[None]:
    """A hundred thousand terms of 25,000 purchases, so that the planner has a choice."""
    statements = (
        """INSERT INTO purchase (id, reference_number, client_id, client_order_id, status, ordered_at, payment_type,
               card_last4, currency, gross, tax, paid, refunded, returned, billing_contact, delivery_contact,
               licensee_contact, version, created_by, changed_by)
           SELECT gen_random_uuid(), (100000000 + n)::text, 'crowd-' || n % 5, 'C-' || n, 'paid',
               timestamptz '2025-01-01' + n * interval '1 minute', 'visa', lpad((n % 10000)::text, 4, '0'), 'EUR',
               100, 0, 100, 0, 0, '{"country":"DE","email":"a@b.com","last_name":"n"}', '{}', '{}', 1, 'user:x',
               'user:x'
           FROM generate_series(1, 25000) n ON CONFLICT DO NOTHING""",
        """INSERT INTO search_key (purchase_id, kind, term, client_id, ordered_at)
           SELECT p.id, k.kind, k.term, p.client_id, p.ordered_at FROM purchase p,
               LATERAL (VALUES ('last_name', 'name' || abs(hashtext(p.id::text)) % 500),
                               ('email', p.client_order_id || '@mail.com'), ('card_last4', p.card_last4),
                               ('email_domain', CASE WHEN random() < 0.8 THEN 'com.gmail' ELSE 'com.mail' END)
               ) AS k (kind, term)
           WHERE p.client_id LIKE 'crowd-%'""",
    )
    async with service.sessions() as session, session.begin():
        for statement in statements:
            await session.execute(text(statement))
    async with service.sessions() as session:
        connection = await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        await connection.execute(text("ANALYZE purchase, search_key"))
    yield
    async with service.sessions() as session, session.begin():
        await session.execute(text("DELETE FROM search_key WHERE client_id LIKE 'crowd-%'"))
        await session.execute(text("DELETE FROM purchase WHERE client_id LIKE 'crowd-%'"))


@pytest.fixture(scope="module")
async def reading(purchases_database: str) -> AsyncIterator[AsyncEngine]:
    """The connections on which the service answers queries."""
    engine = create_reading_engine(purchases_database, service="purchases", pool_size=1, planned_once=True)
    yield engine
    await engine.dispose()


@pytest.mark.usefixtures("crowd")
@pytest.mark.parametrize("client_id", ["crowd-1", "*"])
@pytest.mark.parametrize(
    "keywords",
    [
        "name77",
        "name7",
        "c-77@mail.com",
        "@gmail.com",
        "0077",
        "100000077",
        "@gmail.com, name7",
        "0077, name, @mail.com",
    ],
)
async def test_every_search_walks_an_index_under_a_generic_plan_too(
    service: PurchasesService, reading: AsyncEngine, keywords: str, client_id: str, breadth: bool
) -> None:
    wanted = Search(client_id, parse_keywords(keywords, RULES), 26)
    statement = search_statement(wanted.form)
    dialect = service.sessions.kw["bind"].dialect
    compiled = statement.compile(dialect=dialect)
    async with reading.connect() as connection:
        await connection.exec_driver_sql(f"PREPARE walk AS {compiled}")
        given = compiled.construct_params(wanted.values)
        values = ", ".join(f"'{given[name]}'" for name in compiled.positiontup or ())
        generic = (await connection.exec_driver_sql(f"EXPLAIN ANALYZE EXECUTE walk ({values})")).scalars().all()
        await connection.exec_driver_sql("DEALLOCATE walk")
    async with service.sessions() as session:
        connection = await session.connection()
        literal = statement.params(wanted.values).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
        custom = (await connection.exec_driver_sql(f"EXPLAIN {literal}".replace("%%", "%"))).scalars().all()
    # Where one term is broad already, no index is worth its while to find one; that is not so with the real limit.
    for plan in ("\n".join(generic), *(() if breadth else ("\n".join(custom),))):
        assert "Seq Scan" not in plan, plan
        assert re.search("ix_search_key_(client|all_clients)|uq_purchase_reference_number", plan), plan
    if keywords in ("name77", "name7"):
        newest = "Index Only Scan Backward using ix_search_key_newest"
        walked = [line for line in generic if newest in line and "never executed" not in line]
        assert bool(walked) == breadth, "\n".join(generic)
