"""Whatever is looked for: the pages of the database are those of the rules, applied to every purchase one by one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Final
from uuid import UUID

import pytest

from services.purchases import search as searching
from services.purchases.search import search_purchases
from services.purchases.search_rules import RULES, keys_of
from shared.contracts.purchases import Contact, SearchPurchases
from shared.search.keywords import Column, Key, Prefix, parse_keywords
from tests.integration.purchases.arranging import PurchasesService, recorded
from tests.support.make import ORDERED_AT, contact, order
from tests.support.service import context
from tests.support.statements import noted_statements

NAMES: Final = ("Lo", "Love", "Lovell", "Lovelace", "Özil", "1111", "4242", "A%", "A_b", "123456789")
DOMAINS: Final = ("example.com", "mail.example.com", "notexample.com", "example.org")
CARDS: Final = ("1111", "4242", None)
CLIENTS: Final = ("agree-a", "agree-b")
DAYS: Final = 3


@dataclass(frozen=True)
class Known:
    """A purchase as the rules see it."""

    client_id: str
    number: str
    ordered_at: datetime
    purchase_id: UUID
    keys: frozenset[Key]

    def is_meant(self, meaning: Key) -> bool:
        if isinstance(meaning, Column):
            return meaning.term == self.number
        if isinstance(meaning, Prefix):
            return any(key.kind == meaning.kind and key.term.startswith(meaning.term) for key in self.keys)
        return Key(meaning.kind, meaning.term) in self.keys


@pytest.fixture(scope="module")
async def purchases(service: PurchasesService) -> list[Known]:
    """Purchases of few names, domains, cards and moments, so that much is found by much."""
    choice = Random(1)
    known = []
    for number in range(60):
        contacts = [_somebody(choice) for _ in range(choice.randint(1, 3))]
        client, card = choice.choice(CLIENTS), choice.choice(CARDS)
        command = order(
            client_order_id=f"{choice.choice(NAMES[:5]).replace('Ö', 'o')}-{number}",
            card_last4=card,
            ordered_at=ORDERED_AT + timedelta(hours=8 * choice.randrange(3 * DAYS)),
        ).model_copy(
            update=dict(zip(("billing_contact", "delivery_contact", "licensee_contact"), contacts, strict=False))
        )
        made = await recorded(service, command, by=context(client))
        keys = keys_of(contacts, command.client_order_id, card)
        known.append(Known(client, made.reference_number, command.ordered_at, made.purchase_id, keys))
    return known


def _somebody(choice: Random) -> Contact:
    return contact(
        last_name=choice.choice(NAMES),
        company=choice.choice((None, *NAMES)),
        email=f"{choice.choice('xyz')}@{choice.choice(DOMAINS)}",
    )


def _boxes(choice: Random, purchases: list[Known]) -> Iterator[str]:
    while True:
        one = choice.choice(purchases)
        words = (
            lambda: choice.choice(NAMES),
            lambda one=one: choice.choice(sorted(key.term for key in one.keys))[: choice.randint(1, 9)],
            lambda: f"@{choice.choice(DOMAINS)}",
            lambda: f"{choice.choice('xyz')}@{choice.choice(DOMAINS)}",
            lambda one=one: one.number,
            lambda: choice.choice(("1111", "4242")),
        )
        yield ", ".join(choice.choice(words)() for _ in range(choice.choice((1, 1, 2, 3))))


async def _pages(service: PurchasesService, client_id: str, query: SearchPurchases) -> list[str]:
    numbers: list[str] = []
    while True:
        async with service.work(context(client_id)) as work:
            with noted_statements(service.sessions) as noted:
                page = await search_purchases(work, query)
        assert len(noted) == 1
        assert len(page.rows) <= query.limit
        numbers += [row.reference_number for row in page.rows]
        if page.next_cursor is None:
            return numbers
        query = query.model_copy(update={"cursor": page.next_cursor})


@pytest.mark.parametrize("broad", [1, 5, 8_000])
async def test_pages_are_those_of_the_rules_in_one_statement_each(
    service: PurchasesService, purchases: list[Known], broad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(searching, "_BROAD", broad)
    choice = Random(broad)
    found_something = 0
    for _, box in zip(range(120), _boxes(choice, purchases), strict=False):
        client_id = choice.choice((*CLIENTS, "*"))
        day: date | None = choice.choice((None, None, (ORDERED_AT + timedelta(days=choice.randrange(DAYS))).date()))
        if not "".join(character for character in box if character not in " ,@."):
            continue
        query = SearchPurchases(keywords=box, ordered_on=day, limit=choice.choice((1, 3, 25, 26, 100)))
        expected = [
            known
            for known in purchases
            if (client_id in ("*", known.client_id))
            and (day is None or known.ordered_at.date() == day)
            and all(any(map(known.is_meant, keyword.meanings)) for keyword in parse_keywords(box, RULES))
        ]
        expected.sort(key=lambda known: (known.ordered_at, known.purchase_id), reverse=True)
        ours = {known.number for known in purchases}
        numbers = [number for number in await _pages(service, client_id, query) if number in ours]
        assert numbers == [known.number for known in expected], (box, client_id, day, query.limit)
        found_something += bool(expected)
    assert found_something > 40


async def test_a_rare_keyword_drives_where_the_first_one_is_common(
    service: PurchasesService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A common name and a rare domain: whoever has the domain is looked at, and the name must match all the same."""
    people = (("Common", "rare"), ("Commons", "rare"), ("Other", "rare"), *[("Common", "big")] * 4)
    numbers = []
    for days, (name, domain) in enumerate(people):
        billing = contact(last_name=name, email=f"somebody@{domain}.example")
        wish = order(billing_contact=billing, ordered_at=ORDERED_AT + timedelta(days=days))
        numbers.append((await recorded(service, wish, by=context("commoners"))).reference_number)
    # The rare domain has three: many for a limit of three, few for one of four.
    for broad in (3, 4):
        monkeypatch.setattr(searching, "_BROAD", broad)
        async with service.work(context("commoners")) as work:
            page = await search_purchases(work, SearchPurchases(keywords="common, @rare.example", limit=1))
            rest = await search_purchases(
                work, SearchPurchases(keywords="common, @rare.example", limit=1, cursor=page.next_cursor)
            )
        assert [row.reference_number for row in (*page.rows, *rest.rows)] == [numbers[1], numbers[0]]
        assert rest.next_cursor is None
