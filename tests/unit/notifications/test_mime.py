"""The mail on the wire."""

import email
import email.policy
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any
from uuid import UUID

import pytest

from services.notifications.smtp.mime import OutgoingMail

MAIL = OutgoingMail(
    email_id=UUID(int=7),
    message_id_header="<7@mail.example.com>",
    sender_name='Müller "Shop", Ltd',
    sender_address="service@example.com",
    recipient="jane@example.com",
    subject="Ihr Beleg für 123456789 😀",
    language="de",
    text="Grüße\n.\n..\nFrom here\n" + "x" * 3000 + "\n",
    html="<p>Gr&uuml;ße</p>\n" + "<b>y</b>" * 900 + "\n",
    sent_at=datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
)


def parsed(content: bytes) -> EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.SMTP)


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def test_what_arrives_is_what_was_stored() -> None:
    message = parsed(MAIL.content())
    assert body(message, "plain") == MAIL.text
    assert body(message, "html") == MAIL.html
    assert message["Subject"] == MAIL.subject
    assert message["From"].addresses[0].display_name == MAIL.sender_name
    assert message["From"].addresses[0].addr_spec == "service@example.com"
    assert message["To"] == "jane@example.com"
    assert message.get_content_type() == "multipart/alternative"


def test_the_headers_mark_it_as_generated_and_give_it_one_identity() -> None:
    message = parsed(MAIL.content())
    assert message["Message-ID"] == "<7@mail.example.com>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == MAIL.sent_at
    assert message["Content-Language"] == "de"


@pytest.mark.parametrize("domain", ["a.example", "mail.example.com", f"{'x' * 15}.example", f"{'x' * 60}.example"])
def test_a_message_id_stands_as_the_library_writes_it(domain: str) -> None:
    identity = f"<{UUID(int=7)}@{domain}>"
    expected = EmailMessage(policy=email.policy.SMTP)
    expected["Message-ID"] = identity
    assert expected.as_bytes().removesuffix(b"\r\n") in replace(MAIL, message_id_header=identity).content()


def test_two_copies_differ_in_nothing_but_the_date() -> None:
    assert MAIL.content() == MAIL.content()
    later = replace(MAIL, sent_at=datetime(2026, 11, 23, tzinfo=UTC)).content()
    ours = [line for line in MAIL.content().split(b"\r\n") if line not in later.split(b"\r\n")]
    assert ours == [b"Date: Sun, 22 Nov 2026 12:00:00 +0000"]


def test_lines_are_short_ascii_and_end_as_smtp_wants() -> None:
    content = MAIL.content()
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 78
    assert content.count(b"\n") == content.count(b"\r\n")


@pytest.mark.parametrize("field", ["subject", "sender_name", "message_id_header"])
@pytest.mark.parametrize("ending", ["\r\nBcc: evil@example.com", "\nBcc: evil@example.com", "\r\n\r\nbody"])
def test_no_header_can_be_smuggled_in(field: str, ending: str) -> None:
    changes: dict[str, Any] = {field: "harmless" + ending}
    mail = replace(MAIL, **changes)
    try:
        message = parsed(mail.content())
    except ValueError:
        return
    assert message["Bcc"] is None


def test_an_international_domain_travels_in_ascii() -> None:
    mail = replace(MAIL, recipient="jane@bücher.example")
    assert mail.envelope_recipient == "jane@xn--bcher-kva.example"
    assert mail.is_ascii
    assert parsed(mail.content())["To"] == "jane@xn--bcher-kva.example"


def test_an_international_local_part_needs_smtputf8() -> None:
    mail = replace(MAIL, recipient="jäne@bücher.example")
    assert not mail.is_ascii
    assert "jäne@bücher.example".encode() in mail.content()
