"""Money, moments, numbers and countries as a customer is used to reading them."""

import copy
from datetime import UTC, date, datetime, time
from decimal import Decimal
from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_time
from babel.numbers import NumberPattern, format_decimal, get_currency_symbol

from shared.contracts.values import Money

_MINOR_DIGITS: Final = (
    dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0)
    | dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0)
    | dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3)
    | dict.fromkeys(("CLF", "UYW"), 4)
)


def minor_digits(currency: str) -> int:
    """Digits after the point in a currency by ISO 4217, list one. CLDR's differ for some, such as ALL and IQD."""
    return _MINOR_DIGITS.get(currency, 2)


class Formats:
    """The formats of one language, in the variant of the customer's country where there is one.

    Prices, quantities, days and minutes come again and again, so what was written once is remembered.
    """

    def __init__(self, language: str, country: str) -> None:
        self.locale = _locale(language, country)
        self._name = str(self.locale)

    def money(self, money: Money) -> str:
        """19.99 euros as `€19.99`, `19,99 €` …, with all minor digits and a hard space."""
        return _money(self._name, money.amount, money.currency)

    def moment(self, moment: datetime) -> str:
        """A date in words and the time, in UTC and saying so: the mail does not know where its reader is."""
        utc = moment.astimezone(UTC)
        return f"{_day(self._name, utc.date())}, {_minute(self._name, utc.hour, utc.minute)} UTC"

    def number(self, number: int) -> str:
        return _number(self._name, number)

    def country(self, code: str) -> str:
        name: str = self.locale.territories.get(code, code)
        return name


@lru_cache(maxsize=1_000)
def _locale(language: str, country: str) -> Locale:
    try:
        return Locale.parse(f"{language}_{country}")
    except (UnknownLocaleError, ValueError):
        return Locale.parse(language)


@lru_cache(maxsize=20_000)
def _money(locale: str, amount: int, currency: str) -> str:
    words: str = _currency_pattern(locale, currency).apply(Decimal(amount).scaleb(-minor_digits(currency)), locale)
    return words


@lru_cache(maxsize=1_000)
def _currency_pattern(locale: str, currency: str) -> NumberPattern:
    """CLDR's pattern with the currency's own digits and its symbol filled in already.

    CLDR wants a space between a currency's letters and the digits; Babel leaves it out.
    """
    language = Locale.parse(locale)
    pattern: NumberPattern = copy.copy(language.currency_formats["standard"])
    symbol = get_currency_symbol(currency, language)
    spaced = f"{symbol}\u00a0" if symbol[-1].isalpha() else symbol
    digits = minor_digits(currency)
    pattern.frac_prec = (digits, digits)
    plus, minus = (part.replace("¤", symbol) for part in pattern.suffix)
    pattern.suffix = (plus, minus)
    plus, minus = (
        part.removesuffix("¤").replace("¤", symbol) + (spaced if part.endswith("¤") else "") for part in pattern.prefix
    )
    pattern.prefix = (plus, minus)
    return pattern


@lru_cache(maxsize=20_000)
def _number(locale: str, number: int) -> str:
    return format_decimal(number, locale=locale)


@lru_cache(maxsize=1_000)
def _day(locale: str, day: date) -> str:
    return format_date(day, "long", locale=locale)


@lru_cache(maxsize=10_000)
def _minute(locale: str, hour: int, minute: int) -> str:
    return format_time(time(hour, minute, tzinfo=UTC), "short", tzinfo=UTC, locale=locale)
