"""What is sent for a file: purchases, the refunds that cancellations mean, and ids that never change."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from shared.contracts.purchases import PaymentType, RecordPurchase, RequestRefund
from tests.unit.tools.demo.files import Taken, row, write
from tools.demo.orders import Wish
from tools.demo.reading import Reason
from tools.dev.demo import SHIPPED


def body(wish: Wish) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(wish.body)
    return found


def test_an_invoice_is_a_purchase_paid_in_full(tmp_path: Path) -> None:
    taken = Taken(write(tmp_path / "a.csv", row("1", "A", 3, "1.10"), row("1", "X", 1, "0.05", country="Germany")))
    command = RecordPurchase.model_validate_json(taken.purchases[0].body)
    assert [(item.product_id, item.quantity, item.unit_price.amount) for item in command.items] == [
        ("A", 3, 110),
        ("X", 1, 5),
    ]
    assert command.client_order_id == "1"
    assert command.payment is not None
    assert command.payment.amount.amount == 335
    assert command.currency == "GBP"


def test_a_customer_is_the_same_person_each_time(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv",
        row("1", customer="17850.0", country="Germany"),
        row("2", customer="17850", country="Germany"),
        row("3", customer="17851", country="EIRE"),
        row("4", customer="17852", country="Unspecified"),
    )
    taken = Taken(file)
    contacts = [body(wish)["billing_contact"] for wish in taken.purchases]
    assert contacts[0] == contacts[1]
    assert contacts[0]["email"] != contacts[2]["email"]
    assert [(contact["country"], contact["language"]) for contact in contacts[1:]] == [
        ("DE", "de"),
        ("IE", "en"),
        ("GB", "en"),
    ]
    assert all(contact["email"].rpartition("@")[2].startswith("example.") for contact in contacts)
    assert taken.tally.remarks == Counter({"invoice from “Unspecified”, country taken as GB": 1})


def test_cards_have_four_digits_and_other_payments_none(tmp_path: Path) -> None:
    taken = Taken(write(tmp_path / "a.csv", *(row(str(n), customer=str(20000 + n)) for n in range(1, 60))))
    commands = [RecordPurchase.model_validate_json(wish.body) for wish in taken.purchases]
    assert {command.payment_type for command in commands} >= {PaymentType.VISA, PaymentType.PAYPAL}
    for command in commands:
        assert (command.card_last4 is None) == (command.payment_type is PaymentType.PAYPAL)


def test_a_cancelled_line_is_refunded_as_a_whole_item(tmp_path: Path) -> None:
    taken = Taken(write(tmp_path / "a.csv", row("1", "A", 3), row("1", "X", 2), row("C2", "X", -2)))
    refund = RequestRefund.model_validate_json(taken.refunds[0].body)
    assert (refund.kind, refund.client_order_id, refund.client_refund_id) == ("items", "1", "C2")
    assert [(line.running_number, line.quantity) for line in refund.lines] == [(2, None)]
    assert taken.journal.examples("SELECT amount FROM refund") == ["500"]


def test_part_of_a_line_is_refunded_by_quantity_until_nothing_is_left(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", row("1", "A", 5), row("C2", "A", -2), row("C3", "A", -3), row("C4", "A", -1))
    taken = Taken(file)
    refunds = [body(wish) for wish in taken.refunds]
    assert [(refund["kind"], refund["lines"]) for refund in refunds] == [
        ("quantity", [{"running_number": 1, "quantity": 2}]),
        ("quantity", [{"running_number": 1, "quantity": 3}]),
    ]
    assert taken.tally.unusable == Counter({Reason.NO_SALE: 1})


def test_more_than_is_left_is_not_refunded_at_all(tmp_path: Path) -> None:
    taken = Taken(write(tmp_path / "a.csv", row("1", "A", 5), row("C2", "A", -6), row("C3", "A", -5)))
    assert [wish.number for wish in taken.refunds] == ["C3"]
    assert taken.tally.unusable == Counter({Reason.MORE_THAN_SOLD: 1})


def test_customer_product_and_price_must_be_those_of_the_sale(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv",
        row("1", "A", 1, "2.50", "100"),
        row("C2", "A", -1, "2.50", "101"),
        row("C3", "X", -1, "2.50", "100"),
        row("C4", "A", -1, "2.51", "100"),
        row("C5", "A", -1, "2.500", "100.0"),
    )
    taken = Taken(file)
    assert [wish.number for wish in taken.refunds] == ["C5"]
    assert taken.tally.unusable == Counter({Reason.NO_SALE: 3})


def test_a_cancellation_before_its_sale_matches_nothing(tmp_path: Path) -> None:
    taken = Taken(write(tmp_path / "a.csv", row("C1", "A", -1), row("2", "A", 1)))
    assert taken.refunds == []
    assert taken.tally.unusable == Counter({Reason.NO_SALE: 1})


def test_the_newest_sale_with_enough_units_is_taken(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", row("1", "A", 9), row("2", "A", 9), row("3", "A", 2), row("C4", "A", -4))
    taken = Taken(file)
    assert [body(wish)["client_order_id"] for wish in taken.refunds] == ["2"]


def test_a_cancellation_of_several_invoices_is_a_refund_of_each(tmp_path: Path) -> None:
    file = write(
        tmp_path / "a.csv", row("1", "A", 4), row("2", "A", 2), row("2", "X"), row("C3", "A", -5), row("C3", "X", -1)
    )
    taken = Taken(file)
    assert {wish.number: body(wish)["lines"] for wish in taken.refunds} == {
        "C3/2": [{"running_number": 1}, {"running_number": 2}],
        "C3/1": [{"running_number": 1, "quantity": 3}],
    }


def test_two_cancelled_lines_of_the_same_item_are_joined(tmp_path: Path) -> None:
    taken = Taken(write(tmp_path / "a.csv", row("1", "A", 4), row("C2", "A", -1), row("C2", "A", -3)))
    assert [body(wish)["lines"] for wish in taken.refunds] == [[{"running_number": 1}]]


def test_a_line_with_text_that_cannot_be_stored_is_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", row("1", "A", description="BELL \x07"), row("1", "X"), row("2", "T" * 300))
    taken = Taken(file)
    assert [body(wish)["client_order_id"] for wish in taken.purchases] == ["1"]
    assert [item["product_id"] for item in body(taken.purchases[0])["items"]] == ["X"]
    assert taken.tally.unusable == Counter({Reason.NOT_VALID: 2})


def test_an_invoice_that_comes_twice_is_sent_once(tmp_path: Path) -> None:
    first = write(tmp_path / "a.csv", row("1"), row("C2", quantity=-1))
    taken = Taken(first, first)
    assert len(taken.purchases) == 1
    far_apart = write(tmp_path / "b.csv", row("1"), *(row(str(number)) for number in range(10, 60)), row("1", "Z"))
    assert Taken(far_apart).tally.unusable == Counter({Reason.TORN_APART: 1})


def test_a_second_run_sends_the_same_ids_and_bodies_wherever_the_file_lies(tmp_path: Path) -> None:
    rows = (row("1", "A", 5), row("2", "X"), row("C3", "A", -2))
    once = Taken(write(tmp_path / "a.csv", *rows))
    again = Taken(write(tmp_path / "other.csv.gz", *rows))
    wishes, repeated = [once.purchases + once.refunds, again.purchases + again.refunds]
    assert [(wish.message_id, wish.body) for wish in wishes] == [(wish.message_id, wish.body) for wish in repeated]
    assert len({wish.message_id for wish in wishes}) == 3


def test_ids_are_those_of_earlier_releases(tmp_path: Path) -> None:
    """A change of these ids would record everything once more on systems that ran an older demo."""
    assert str(Wish("536365", b"{}").message_id) == "fa346f13-d528-5ee9-953b-cdc1b8617860"


def test_another_content_under_the_same_number_has_another_id(tmp_path: Path) -> None:
    one = Taken(write(tmp_path / "a.csv", row("1", price="2.50")))
    two = Taken(write(tmp_path / "b.csv", row("1", price="2.51")))
    assert one.purchases[0].message_id != two.purchases[0].message_id


def test_a_limit_changes_nothing_of_what_it_takes(tmp_path: Path) -> None:
    rows = [row(str(number), "A", 9, customer="7") for number in range(1, 50)]
    file = write(tmp_path / "a.csv", *rows[:10], row("C90", "A", -3, customer="7"), *rows[10:])
    part, whole = Taken(file, limit=11), Taken(file)
    assert len(part.purchases) == 10
    assert [wish.message_id for wish in part.purchases] == [wish.message_id for wish in whole.purchases[:10]]
    assert [wish.message_id for wish in part.refunds] == [wish.message_id for wish in whole.refunds]


def test_the_file_of_the_project_shows_every_case() -> None:
    taken = Taken(SHIPPED)
    refunds = [body(wish) for wish in taken.refunds]
    assert len(taken.purchases) == 30
    assert {refund["kind"] for refund in refunds} == {"items", "quantity"}
    assert any("/" in wish.number for wish in taken.refunds)
    assert set(taken.tally.unusable) == {
        Reason.NO_CUSTOMER,
        Reason.NO_PRODUCT,
        Reason.NO_PRICE,
        Reason.OTHER_DOCUMENT,
        Reason.NO_SALE,
        Reason.MORE_THAN_SOLD,
    }
    assert len(taken.tally.remarks) == 2
