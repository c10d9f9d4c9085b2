"""The proof holds when every place has the same, and names what differs when one place does not."""

from collections.abc import Callable, Iterator

import pytest

from tools.demo.journal import ACCEPTED, REFUSED, UNANSWERED, Journal
from tools.demo.mails import ReceivedMail
from tools.demo.proof import Proof, compare

PERSON = "ada@example.com"


@pytest.fixture
def journal() -> Iterator[Journal]:
    """Two purchases, one of them with two refunds, all mails; everything agrees."""
    journal = Journal()
    for order_id, reference, amount in (("1", "100000001", 500), ("2", "100000002", 700)):
        journal.add_purchase(order_id, amount, PERSON)
        journal.note_purchase(order_id, ACCEPTED, None, reference)
        journal.add_rows("stored_purchase", [(order_id, reference, amount, amount, "GBP", PERSON, True)])
        add_mail(journal, f"<r{order_id}>", "receipt", reference, amount)
    for refund_id, amount in (("C3", 200), ("C4", 100)):
        journal.add_refund(refund_id, "1", amount, b"{}")
        journal.note_refund(refund_id, ACCEPTED, None)
        journal.add_rows("stored_refund", [(f"id-{refund_id}", refund_id, "1", amount, "GBP", "completed", True, True)])
        add_mail(journal, f"<c{refund_id}>", "refund", "100000001", amount)
    yield journal
    journal.close()


def add_mail(
    journal: Journal, message_id: str, kind: str, reference: str, amount: int, *, file: str = "", stored: bool = True
) -> None:
    journal.add_mails([ReceivedMail(file or message_id, message_id, kind, reference, PERSON, amount)])
    if stored:
        journal.add_rows("stored_email", [(message_id, kind, reference, PERSON, "sent", True)])


def what(proof: Proof) -> set[str]:
    return {difference.what for difference in proof.differences}


def test_it_holds_where_all_agree(journal: Journal) -> None:
    proof = compare(journal)
    assert proof.holds
    assert [(row.name.strip(), row.sent) for row in proof.rows] == [
        ("purchases", 2),
        ("paid, GBP", 1200),
        ("receipts", 2),
        ("amounts, GBP", 1200),
        ("refunds", 2),
        ("refunded, GBP", 300),
        ("confirmations", 2),
        ("amounts, GBP", 300),
    ]


def test_a_refused_request_is_no_part_of_it(journal: Journal) -> None:
    journal.add_purchase("9", 100, PERSON)
    journal.note_purchase("9", REFUSED, "client_order_id_taken", None)
    assert compare(journal).holds
    assert journal.refusals() == {"purchase client_order_id_taken": 1}


def test_a_second_copy_of_a_mail_is_counted_and_allowed(journal: Journal) -> None:
    add_mail(journal, "<r1>", "receipt", "100000001", 500, file="again", stored=False)
    proof = compare(journal)
    assert proof.holds
    assert proof.copies == 1


def test_refunds_that_others_have_made_are_no_part_of_it(journal: Journal) -> None:
    journal.add_rows("stored_refund", [("id-x", None, "2", 700, "GBP", "completed", True, False)])
    add_mail(journal, "<x>", "refund", "100000002", 700)
    assert compare(journal).holds


def run(statement: str) -> Callable[[Journal], None]:
    def spoil(journal: Journal) -> None:
        journal.database.execute(statement)

    return spoil


def second_receipt(journal: Journal) -> None:
    add_mail(journal, "<again>", "receipt", "100000001", 500)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (run("DELETE FROM stored_purchase WHERE order_id = '1'"), "accepted, but not in the purchases database"),
        (run("UPDATE stored_purchase SET paid = paid - 1"), "accepted, but not in the purchases database"),
        (run("UPDATE stored_purchase SET email = 'x@example.com'"), "accepted, but not in the purchases database"),
        (run("UPDATE stored_refund SET amount = 201 WHERE amount = 200"), "refund accepted, but not completed"),
        (run("UPDATE stored_refund SET state = 'unknown' WHERE amount = 200"), "refund accepted, but not completed"),
        (run("UPDATE stored_refund SET order_id = '2'"), "refund accepted, but not completed"),
        (run("DELETE FROM mail WHERE message_id = '<r1>'"), "not exactly one receipt"),
        (second_receipt, "not exactly one receipt"),
        (run("UPDATE mail SET amount = 1 WHERE message_id = '<r1>'"), "receipt names another amount"),
        (run("UPDATE mail SET amount = NULL WHERE message_id = '<r1>'"), "receipt names another amount"),
        (run("DELETE FROM mail WHERE message_id = '<cC3>'"), "confirmations in the mail catcher"),
        (run("UPDATE mail SET amount = 100 WHERE message_id = '<cC3>'"), "confirmations in the mail catcher"),
        (run("UPDATE mail SET recipient = 'x@example.com'"), "mail addressed to somebody else"),
        (run("UPDATE mail SET message_id = '<r1>' WHERE message_id = '<r2>'"), "one Message-ID for different mails"),
        (run("UPDATE stored_email SET state = 'queued' WHERE message_id = '<r1>'"), "mail in the catcher that"),
        (run("DELETE FROM stored_email WHERE message_id = '<r1>'"), "mail in the catcher that"),
        (run("DELETE FROM mail WHERE message_id = '<r1>'"), "mail in the notifications database that never"),
        (run(f"UPDATE purchase SET state = '{UNANSWERED}' WHERE order_id = '1'"), "purchase without any reply"),
        (run(f"UPDATE refund SET state = '{UNANSWERED}' WHERE refund_id = 'C3'"), "refund without any reply"),
    ],
)
def test_it_fails_and_says_where(journal: Journal, spoil: Callable[[Journal], None], expected: str) -> None:
    spoil(journal)
    proof = compare(journal)
    assert not proof.holds
    assert any(words.startswith(expected) for words in what(proof)), what(proof)
