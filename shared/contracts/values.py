"""Values that many messages share: money, texts, names, pages."""

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Final

import pycountry
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints

from shared.contracts.message import Data

ALL_CLIENTS: Final = "*"
"""In place of a client: all of them, in queries by who may."""
CURRENCIES: Final = frozenset(currency.alpha_3 for currency in pycountry.currencies)
COUNTRIES: Final = frozenset(country.alpha_2 for country in pycountry.countries)
LANGUAGES: Final = frozenset(language.alpha_2 for language in pycountry.languages if hasattr(language, "alpha_2"))
MAX_AMOUNT: Final = 10**12
"""Minor units. A purchase of ten thousand million euros is a mistake, and 2**53 stays far away."""
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
CARD_LAST4_FORM: Final = r"^[0-9]{4}$"
REFERENCE_NUMBER_FORM: Final = r"^[1-9][0-9]{8}$"
LONGEST_LINE: Final = 255

_FORBIDDEN_CATEGORIES: Final = frozenset({"Cc", "Cs", "Co", "Cn"})
_BIDI_OVERRIDES: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _steers(character: str) -> bool:
    """Whether it does something to a terminal or to the text around it, instead of being read."""
    return character in _BIDI_OVERRIDES or unicodedata.category(character) in _FORBIDDEN_CATEGORIES


def _printable(value: str) -> str:
    if not value.isprintable() and any(_steers(character) and character not in "\n\t" for character in value):
        raise ValueError("holds a control character")
    return value


def _single_line(value: str) -> str:
    if "\n" in value or "\t" in value:
        raise ValueError("must be a single line")
    return value


def _normal_form(value: str) -> str:
    return unicodedata.normalize("NFC", value)


def _member(values: frozenset[str], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in values:
            raise ValueError(f"is not {what}")
        return value

    return AfterValidator(check)


def _email(value: str) -> str:
    try:
        return validate_email(value, check_deliverability=False, allow_smtputf8=True).normalized
    except EmailNotValidError as error:
        raise ValueError("is not an e-mail address") from error


def _plausible(value: datetime) -> datetime:
    if not EARLIEST <= value < LATEST:
        raise ValueError("must be between 1990 and 2199")
    return value.astimezone(UTC)


Line = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_LINE),
    AfterValidator(_printable),
    AfterValidator(_single_line),
    AfterValidator(_normal_form),
]
"""One line of text a person reads: 1-255 characters, no control characters, NFC."""


def as_line(text: str, *, fallback: str, longest: int = LONGEST_LINE) -> str:
    """Any text as one line: whatever cannot stand in a `Line` becomes a blank, and what is too long is cut.

    For what others say and we only pass on. What is a `Line` already stays as it is; where nothing is left, it is the
    `fallback`.
    """
    if not text.isprintable() and any(map(_steers, text)):
        text = " ".join("".join(" " if _steers(character) else character for character in text).split())
    return _normal_form(text.strip())[:longest].rstrip() or fallback


Note = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
    AfterValidator(_printable),
    AfterValidator(_normal_form),
]
"""Several lines of text: 1-4000 characters."""

Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$"), _member(CURRENCIES, "an ISO 4217 code")]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$"), _member(COUNTRIES, "an ISO 3166 code")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$"), _member(LANGUAGES, "an ISO 639-1 code")]
EmailAddress = Annotated[str, StringConstraints(max_length=254), AfterValidator(_email)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[0-9 ()/.-]{3,40}$")]
CardLast4 = Annotated[str, StringConstraints(pattern=CARD_LAST4_FORM)]
Moment = Annotated[AwareDatetime, AfterValidator(_plausible)]
"""A point in time: RFC 3339 with an offset; kept in UTC."""

ClientId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
ClientOrderId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/#-]{0,63}$")]
"""The seller's own number of an order or of a refund; unique per client."""
ReferenceNumber = Annotated[str, StringConstraints(pattern=REFERENCE_NUMBER_FORM)]
"""Nine random digits that people read, write and say; unique over all clients."""
Version = Annotated[int, Field(ge=1, le=2**31 - 1)]
RunningNumber = Annotated[int, Field(ge=1, le=10_000)]
Quantity = Annotated[int, Field(ge=1, le=1_000_000)]
PageSize = Annotated[int, Field(ge=1, le=100)]
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,512}$")]


def possible_number(number: str, country: str | None) -> bool:
    """Whether a telephone number can be dialled: from the country, or from anywhere if it begins with `+`."""
    import phonenumbers  # noqa: PLC0415 - its tables are large, and one service of all needs them

    try:
        return phonenumbers.is_possible_number(phonenumbers.parse(number, country))
    except phonenumbers.NumberParseException:
        return False


class Money(Data):
    """An amount in minor units of an ISO 4217 currency: 1999 EUR is 19.99 euros, 500 JPY is 500 yen."""

    amount: Annotated[int, Field(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
    currency: Currency


def _positive(value: Money) -> Money:
    if value.amount <= 0:
        raise ValueError("must be more than zero")
    return value


def _not_negative(value: Money) -> Money:
    if value.amount < 0:
        raise ValueError("must not be negative")
    return value


PositiveMoney = Annotated[Money, AfterValidator(_positive)]
Price = Annotated[Money, AfterValidator(_not_negative)]


class Problem(Data):
    """A refusal, as RFC 9457 problem details. `code` is stable; programs branch on it, people read the rest."""

    type: str
    title: str
    detail: str
    code: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
    facts: dict[str, str | int | bool | None] = Field(default_factory=dict)
    errors: tuple["FieldError", ...] = ()


class FieldError(Data):
    """One field of a body that cannot be accepted."""

    path: str
    message: str


class AllowedAction(Data):
    """What may be done with a record now; `why_not` says in words why it would be refused."""

    name: str
    allowed: bool
    code: str | None = None
    why_not: str | None = None
