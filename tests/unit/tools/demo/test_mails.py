"""Reading received mails as a customer would, in each language that mails are written in."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.notifications.rendering.render import Rendered, render_receipt, render_refund_confirmation
from services.notifications.smtp.mime import OutgoingMail
from shared.contracts.purchases import (
    Contact,
    PaymentRecorded,
    PaymentType,
    ReceiptLine,
    RefundCompleted,
    RefundKind,
    RefundReason,
)
from shared.contracts.values import Money
from tools.demo.mails import CONFIRMATION, RECEIPT, find_new_mails, read_mail, read_mails

NOW = datetime(2026, 3, 2, 8, 26, tzinfo=UTC)


def gbp(amount: int) -> Money:
    return Money(amount=amount, currency="GBP")


def contact(language: str, country: str) -> Contact:
    return Contact(language=language, last_name="Becker", country=country, email="becker@example.org")


def sent(rendered: Rendered) -> bytes:
    mail = OutgoingMail(
        email_id=uuid4(),
        message_id_header="<a@example.net>",
        sender_name="Shop",
        sender_address="shop@example.net",
        recipient="becker@example.org",
        subject=rendered.subject,
        language=rendered.language,
        text=rendered.text,
        html=rendered.html,
        sent_at=NOW,
    )
    return b"X-RcptTo: becker@example.org\r\n" + mail.content()


@pytest.mark.parametrize(
    ("language", "country"), [("en", "GB"), ("de", "DE"), ("de", "CH"), ("fr", "FR"), ("pl", "PL")]
)
def test_a_receipt_tells_its_purchase_and_the_total(language: str, country: str) -> None:
    event = PaymentRecorded(
        purchase_id=uuid4(),
        reference_number="123456789",
        payment_id=uuid4(),
        amount=gbp(1_234_567),
        paid_at=NOW,
        paid_in_full=True,
        gross=gbp(1_234_567),
        tax=gbp(500),
        payment_type=PaymentType.VISA,
        card_last4="4242",
        billing_contact=contact(language, country),
        lines=(ReceiptLine(product_name="Total: 99.99", quantity=2, amount=gbp(1_234_567)),),
    )
    mail = read_mail("1", sent(render_receipt(event, "Shop")))
    assert (mail.kind, mail.reference_number, mail.amount) == (RECEIPT, "123456789", 1_234_567)
    assert (mail.recipient, mail.message_id) == ("becker@example.org", "<a@example.net>")


@pytest.mark.parametrize(("language", "country"), [("en", "US"), ("de", "AT")])
def test_a_confirmation_tells_what_went_back_and_not_what_is_left(language: str, country: str) -> None:
    event = RefundCompleted(
        refund_id=uuid4(),
        purchase_id=uuid4(),
        reference_number="987654321",
        kind=RefundKind.ITEMS,
        amount=gbp(1295),
        tax=gbp(0),
        reason=RefundReason.GOODWILL,
        completed_at=NOW,
        remaining=gbp(777),
        payment_type=PaymentType.PAYPAL,
        notify_customer=True,
        billing_contact=contact(language, country),
        lines=(ReceiptLine(product_name="Teapot", quantity=1, amount=gbp(1295)),),
    )
    mail = read_mail("1", sent(render_refund_confirmation(event, "Shop")))
    assert (mail.kind, mail.reference_number, mail.amount) == (CONFIRMATION, "987654321", 1295)


def test_a_mail_for_somebody_else_on_the_envelope_is_not_the_recipients() -> None:
    mail = read_mail("1", b"X-RcptTo: other@example.com\r\nTo: becker@example.org\r\nSubject: Hello\r\n\r\nHello")
    assert mail.recipient == "To: becker@example.org, envelope: other@example.com"
    assert (mail.kind, mail.amount) == ("", None)


def test_mails_are_read_once_even_when_a_mail_reader_moves_them(tmp_path: Path) -> None:
    for folder in ("new", "cur", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "new" / "1.host").write_bytes(b"Subject: One\r\n\r\n")
    (tmp_path / "tmp" / "3.host").write_bytes(b"Subj")
    known: set[str] = set()

    def look() -> list[str]:
        found = [mail.file for files in find_new_mails(tmp_path, known.__contains__) for mail in read_mails(files)]
        known.update(found)
        return found

    assert look() == ["1.host"]
    (tmp_path / "new" / "1.host").rename(tmp_path / "cur" / "1.host:2,S")
    (tmp_path / "new" / "2.host").write_bytes(b"Subject: Two\r\n\r\n")
    assert look() == ["2.host"]
    assert find_no_files(tmp_path / "nowhere") == []


def find_no_files(folder: Path) -> list[list[Path]]:
    return list(find_new_mails(folder, lambda _: False))
