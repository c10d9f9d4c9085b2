"""Turning an event into the words of a mail: once, in the customer's language."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup, escape

from services.notifications.rendering.formats import Formats
from shared.contracts.notifications import EmailType
from shared.contracts.purchases import Contact, PaymentRecorded, ReceiptLine, RefundCompleted
from shared.contracts.values import Money

LANGUAGES: Final = ("en", "de")
FALLBACK: Final = "en"
LONGEST_LIST: Final = 200
"""Lines a mail shows; the rest is summed up, since mailboxes cut long mails off."""
_TEMPLATES: Final = Path(__file__).parent / "templates"
_LONGEST_SUBJECT: Final = 200


@dataclass(frozen=True)
class Rendered:
    """A mail in words. `language` is the one it is written in."""

    language: str
    subject: str
    text: str
    html: str


@dataclass(frozen=True)
class Look:
    """What a client adds to each of its mails; docs/domain.md, "Settings of a client"."""

    logo_url: str | None = None
    footer: str | None = None


PLAIN: Final = Look()


def render_receipt(
    event: PaymentRecorded, sender_name: str, languages: Sequence[str] = LANGUAGES, look: Look = PLAIN
) -> Rendered:
    """The receipt for a purchase that is paid in full. docs/domain.md, "E-mail types"."""
    return render(
        EmailType.RECEIPT,
        event.billing_contact,
        {
            "sender_name": sender_name,
            "logo_url": look.logo_url,
            "footer": look.footer,
            "reference_number": event.reference_number,
            "headline_amount": event.gross,
            "total": event.gross,
            "tax": event.tax,
            "moment": event.paid_at,
            "payment_type": event.payment_type.value,
            "card_last4": event.card_last4,
            "lines": event.lines,
        },
        languages,
    )


def render_refund_confirmation(
    event: RefundCompleted, sender_name: str, languages: Sequence[str] = LANGUAGES, look: Look = PLAIN
) -> Rendered:
    """The confirmation that money went back. Says nothing of the reason, which is internal."""
    return render(
        EmailType.REFUND_CONFIRMATION,
        event.billing_contact,
        {
            "sender_name": sender_name,
            "logo_url": look.logo_url,
            "footer": look.footer,
            "reference_number": event.reference_number,
            "headline_amount": event.amount,
            "total": event.amount,
            "tax": event.tax,
            "remaining": event.remaining,
            "moment": event.completed_at,
            "payment_type": event.payment_type.value,
            "card_last4": event.card_last4,
            "lines": event.lines,
        },
        languages,
    )


def language_for(wanted: str, languages: Sequence[str]) -> str:
    """The customer's language if the client and we have it; else the first of the client's that we have."""
    known = [language for language in languages if language in LANGUAGES]
    return wanted if wanted in known else next(iter(known), FALLBACK)


def render(
    email_type: EmailType, contact: Contact, values: Mapping[str, Any], languages: Sequence[str] = LANGUAGES
) -> Rendered:
    """Fill the templates of a type. Raises UndefinedError for a value and KeyError for a text that is missing."""
    language = language_for(contact.language, languages)
    formats = Formats(language, contact.country)
    shown, rest = _shorten(values["lines"])
    context = {
        **values,
        "language": language,
        "name": _name(contact),
        "address": _address(contact, formats),
        "lines": shown,
        "rest": rest,
        "money": formats.money,
        "number": formats.number,
        "moment_words": formats.moment(values["moment"]),
    }
    plain, markup = _texts(language, str), _texts(language, Markup)

    def fill(part: str, text: Callable[..., str]) -> str:
        return _environment().get_template(f"{email_type.value}/{part}").render(context, t=text)

    return Rendered(
        language=language,
        subject=_one_line(fill("subject.txt", plain)),
        text=fill("body.txt", plain).strip() + "\n",
        html=fill("body.html", markup).strip() + "\n",
    )


@dataclass(frozen=True)
class _Rest:
    """The lines that a mail does not show one by one."""

    count: int
    amount: Money


def _shorten(lines: tuple[ReceiptLine, ...]) -> tuple[tuple[ReceiptLine, ...], _Rest | None]:
    shown, hidden = lines[:LONGEST_LIST], lines[LONGEST_LIST:]
    if not hidden:
        return shown, None
    total = sum(line.amount.amount for line in hidden)
    return shown, _Rest(len(hidden), Money(amount=total, currency=hidden[0].amount.currency))


def _name(contact: Contact) -> str:
    person = " ".join(part for part in (contact.first_name, contact.last_name) if part)
    return person if contact.last_name else contact.company or person


def _address(contact: Contact, formats: Formats) -> tuple[str, ...]:
    person = " ".join(part for part in (contact.first_name, contact.last_name) if part)
    place = " ".join(part for part in (contact.postal_code, contact.city) if part)
    country = formats.country(contact.country)
    lines = (contact.company, person, contact.street1, contact.street2, place, contact.state, country)
    return tuple(line for line in lines if line)


def _one_line(text: str) -> str:
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:_LONGEST_SUBJECT].rstrip()


def _texts(language: str, kind: type[str]) -> Callable[..., str]:
    """Look up a text of a language and fill it in; as Markup, what is filled in is escaped."""
    texts = load_texts(language)
    safe: Callable[[str], str] = escape if kind is Markup else str

    def text(key: str, **values: str) -> str:
        return kind(texts[key].format(**{name: safe(value) for name, value in values.items()}))

    return text


@cache
def load_texts(language: str) -> Mapping[str, str]:
    """Every text of a language by its key."""
    texts: dict[str, str] = yaml.safe_load((_TEMPLATES / "texts" / f"{language}.yaml").read_text(encoding="utf-8"))
    return texts


@cache
def _environment() -> SandboxedEnvironment:
    return SandboxedEnvironment(
        loader=FileSystemLoader(_TEMPLATES),
        auto_reload=False,
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
