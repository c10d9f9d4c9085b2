"""The words of a mail: the same as the stored examples, safe with hostile input, complete in every language."""

import os
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from jinja2.sandbox import SandboxedEnvironment

from services.notifications.rendering import render
from services.notifications.rendering.render import LANGUAGES, Rendered, render_receipt, render_refund_confirmation
from shared.contracts.notifications import EmailType
from shared.contracts.purchases import PaymentType, ReceiptLine
from tests.unit.notifications.samples import contact, money, payment_recorded, refund_completed

SNAPSHOTS = Path(__file__).parent / "snapshots"
COUNTRIES = {"en": "GB", "de": "DE"}
SHOP = "Northwind Software"


def rendered(email_type: EmailType, language: str) -> Rendered:
    customer = contact(language=language, country=COUNTRIES[language])
    if email_type is EmailType.RECEIPT:
        return render_receipt(payment_recorded(billing_contact=customer), SHOP)
    return render_refund_confirmation(refund_completed(billing_contact=customer), SHOP)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("email_type", EmailType)
@pytest.mark.parametrize("part", ["txt", "html"])
def test_every_mail_reads_as_its_example(email_type: EmailType, language: str, part: str) -> None:
    mail = rendered(email_type, language)
    now = f"{mail.subject}\n\n{mail.text}" if part == "txt" else mail.html
    example = SNAPSHOTS / f"{email_type.value}.{language}.{part}"
    if os.environ.get("WRITE_SNAPSHOTS"):
        example.write_text(now, encoding="utf-8")
    assert now == example.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["ja", "fr", "la"])
def test_a_language_we_do_not_write_gets_english(language: str) -> None:
    mail = render_receipt(payment_recorded(billing_contact=contact(language=language, country="FR")), SHOP)
    assert mail.language == "en"
    assert mail.subject == "Your receipt for purchase 123456789"
    assert '<html lang="en"' in mail.html


def test_markup_in_names_and_products_is_shown_and_never_obeyed() -> None:
    hostile = "<script>alert(1)</script>{{ 7*7 }}{sender}\"'&amp;"
    mail = render_receipt(
        payment_recorded(
            billing_contact=contact(last_name=hostile, company=hostile, street1=hostile, city=hostile),
            lines=(ReceiptLine(product_name=hostile, quantity=1, amount=money(123_999)),),
        ),
        hostile,
    )
    assert "<script" not in mail.html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{ 7*7 }}{sender}&#34;&#39;&amp;amp;" in mail.html
    assert "49" not in mail.html.replace("499", "")
    assert hostile in mail.text


def test_a_subject_is_one_line_whatever_it_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "Receipt {reference}\r\nBcc: evil@example.com\x00\u202e\u2028" + "x" * 300
    texts: Mapping[str, str] = {**render.load_texts("en"), "receipt.subject": hostile}
    monkeypatch.setattr(render, "load_texts", lambda _: texts)
    subject = render_receipt(payment_recorded(), SHOP).subject
    assert subject.startswith("Receipt 123456789 Bcc: evil@example.com xxx")
    assert subject.isprintable()
    assert len(subject) == 200


def test_a_missing_value_stops_the_mail() -> None:
    with pytest.raises(UndefinedError, match="total"):
        render.render(
            EmailType.RECEIPT,
            contact(),
            {
                "sender_name": SHOP,
                "reference_number": "123456789",
                "headline_amount": money(1),
                "tax": money(0),
                "moment": payment_recorded().paid_at,
                "payment_type": "visa",
                "card_last4": None,
                "lines": (),
            },
        )


def test_templates_cannot_reach_the_inside_of_what_they_are_given() -> None:
    environment = render._environment()
    assert isinstance(environment, SandboxedEnvironment)
    with pytest.raises(Exception, match="unsafe"):
        environment.from_string("{{ money.__globals__ }}").render(money=money)


def test_the_reason_of_a_refund_stays_inside() -> None:
    mail = render_refund_confirmation(refund_completed(), SHOP)
    assert "fraud" not in (mail.subject + mail.text + mail.html).lower()


def test_of_a_card_only_the_last_four_digits_are_said() -> None:
    mail = render_receipt(payment_recorded(), SHOP)
    assert "Visa ending in 1111" in mail.text
    assert not re.search(r"\d{13,}", mail.text + mail.html)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("payment_type", PaymentType)
def test_every_means_of_payment_has_a_name(payment_type: PaymentType, language: str) -> None:
    mail = render_receipt(
        payment_recorded(payment_type=payment_type, card_last4=None, billing_contact=contact(language=language)), SHOP
    )
    assert render.load_texts(language)[f"payment.{payment_type.value}"] in mail.text


def test_every_language_has_the_same_texts_with_the_same_gaps() -> None:
    def gaps(text: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}

    english: dict[str, Any] = {key: gaps(text) for key, text in render.load_texts("en").items()}
    for language in LANGUAGES:
        assert {key: gaps(text) for key, text in render.load_texts(language).items()} == english


def test_a_very_long_purchase_is_summed_up_after_200_lines() -> None:
    lines = tuple(ReceiptLine(product_name=f"Item {n}", quantity=1, amount=money(100)) for n in range(1, 1501))
    mail = render_receipt(payment_recorded(lines=lines, gross=money(150_000)), SHOP)
    assert "Item 200:" in mail.text
    assert "Item 201:" not in mail.text
    assert "and 1,300 more items: €1,300.00" in mail.text
    assert "and 1,300 more items" in mail.html


def test_a_company_without_a_person_is_addressed_by_its_name() -> None:
    customer = contact(first_name=None, last_name=None, company="Acme GmbH", language="de", country="AT")
    mail = render_receipt(payment_recorded(billing_contact=customer), SHOP)
    assert mail.text.startswith("Guten Tag Acme GmbH,")
    assert "Österreich" in mail.text
