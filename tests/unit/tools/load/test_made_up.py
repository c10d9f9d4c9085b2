"""Made up rows are what the services themselves would have written."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from uuid import UUID

from services.customers.identity.rules import identity_of
from services.customers.search_rules import keys_of as customers_keys
from services.customers.search_rules import keys_of_purchase
from services.purchases.purchase.rules import item_price
from services.purchases.search_rules import keys_of as purchases_keys
from shared.contracts.purchases import Contact, PurchaseItem
from shared.contracts.values import Money
from tools.load.made_up import NAMES, Made, Plan, reference_numbers
from tools.load.rows import TABLES

UNTIL = datetime(2026, 5, 1, tzinfo=UTC)
PLAN = Plan(purchases=600, customers=200, prefix="Fab-", client_id="demo-shop", salt=123_456, until=UNTIL, days=100)
MADE = list(PLAN.make(()))


def lines(service: str, table: str, *made: Made) -> list[dict[str, str]]:
    copied = next(one for one in TABLES[service] if one.table == table)
    found = [line for one in made for line in copied.lines(one, PLAN)]
    assert all(line.endswith("\n") and line.count("\n") == 1 for line in found)
    return [dict(zip(copied.columns, line[:-1].split("\t"), strict=True)) for line in found]


def test_reference_numbers_come_once_and_never_one_that_is_taken() -> None:
    free = list(islice(reference_numbers(17, set()), 20_000))
    assert len(set(free)) == 20_000
    assert all(100_000_000 <= number <= 999_999_999 for number in free)
    taken = set(free[:500])
    assert not taken & set(islice(reference_numbers(17, taken), 20_000))


def test_the_same_number_is_always_the_same_purchase() -> None:
    assert [lines("purchases", "purchase", one) for one in MADE[:50]] == [
        lines("purchases", "purchase", one) for one in islice(PLAN.make(()), 50)
    ]


def test_purchases_are_found_under_the_terms_that_the_service_would_give_them() -> None:
    for made in MADE[:200]:
        (purchase,) = lines("purchases", "purchase", made)
        contact = Contact.model_validate_json(purchase["billing_contact"])
        expected = purchases_keys([contact], purchase["client_order_id"], purchase["card_last4"])
        keys = lines("purchases", "search_key", made)
        assert {(row["kind"], row["term"]) for row in keys} == {(key.kind, key.term) for key in expected}


def test_customers_are_found_under_the_terms_that_the_service_would_give_them() -> None:
    for made in MADE[:200]:
        fields = json.loads(lines("customers", "contact", made)[0]["fields"])
        expected = customers_keys([fields]) | keys_of_purchase(str(made.reference_number), made.person.last4)
        keys = lines("customers", "search_key", made)
        assert {(row["kind"], row["term"]) for row in keys} == {(key.kind, key.term) for key in expected}
        known_as = {row["kind"]: row["term"] for row in lines("customers", "identity", made)}
        assert known_as["email_and_name"] == identity_of(fields)


def test_later_purchases_of_a_customer_belong_to_the_first_one_s_record() -> None:
    first, second = MADE[7], MADE[207]
    assert first.person == second.person
    assert lines("customers", "customer", second) == []
    (customer,) = lines("customers", "customer", first)
    assert {row["customer_id"] for row in lines("customers", "purchase", first, second)} == {customer["id"]}


def test_money_adds_up_as_the_service_counts_it() -> None:
    for made in MADE:
        (purchase,) = lines("purchases", "purchase", made)
        prices = [
            item_price(
                PurchaseItem(
                    product_id=row["product_id"],
                    product_name=row["product_name"],
                    quantity=int(row["quantity"]),
                    unit_price=Money(amount=int(row["unit_price"]), currency="GBP"),
                    tax_rate=Decimal(row["tax_rate"]),
                )
            )
            for row in lines("purchases", "purchase_item", made)
        ]
        assert int(purchase["gross"]) == int(purchase["paid"]) == sum(price.gross for price in prices)
        assert int(purchase["tax"]) == sum(price.tax for price in prices)


def test_ids_are_of_version_seven_in_the_order_of_time_and_none_comes_twice() -> None:
    ids = [UUID(row["id"]) for row in lines("purchases", "purchase", *MADE)]
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    everything = [
        row["id"] for service in TABLES for copied in TABLES[service] if "id" in copied.columns
        for row in lines(service, copied.table, *MADE) if copied.table not in ("purchase", "movement")
    ]  # fmt: skip
    assert len(everything) == len(set(everything))


def test_purchases_are_spread_over_the_days_up_to_the_end() -> None:
    assert UNTIL - timedelta(days=100) <= MADE[0].at < MADE[300].at < MADE[-1].at <= UNTIL


def test_names_are_not_all_the_same() -> None:
    plan = Plan(purchases=5000, customers=5000, prefix="F", client_id="demo-shop", salt=5, until=UNTIL)
    names = [made.person.name.text for made in plan.make(())]
    assert len(set(names)) > 1500
    assert len(NAMES) == len({name.text for name in NAMES})
    assert max(names.count(name) for name in set(names)) < 0.1 * len(names)
