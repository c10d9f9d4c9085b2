"""Money, dates and numbers as people of a country read them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from services.notifications.rendering.formats import Formats, minor_digits
from tests.unit.notifications.samples import money


@pytest.mark.parametrize(
    ("language", "country", "amount", "currency", "words"),
    [
        ("en", "US", 1999, "USD", "$19.99"),
        ("en", "GB", 123456789, "EUR", "€1,234,567.89"),
        ("de", "DE", 123456789, "EUR", "1.234.567,89\u00a0€"),
        ("de", "CH", 123450, "CHF", "CHF\u00a01’234.50"),
        ("en", "US", 500, "JPY", "¥500"),
        ("en", "US", 1234, "KWD", "KWD\u00a01.234"),
        ("en", "US", 1234, "ALL", "ALL\u00a012.34"),
        ("en", "US", 1, "EUR", "€0.01"),
        ("en", "US", -1999, "USD", "-$19.99"),
        ("en", "US", 10**12, "EUR", "€10,000,000,000.00"),
    ],
)
def test_money_is_written_with_all_its_minor_digits(
    language: str, country: str, amount: int, currency: str, words: str
) -> None:
    assert Formats(language, country).money(money(amount, currency)) == words


def test_minor_digits_are_those_of_iso_4217() -> None:
    assert [minor_digits(code) for code in ("EUR", "JPY", "BHD", "CLF", "IQD", "HUF")] == [2, 0, 3, 4, 3, 2]


def test_a_moment_says_that_it_is_utc() -> None:
    moment = datetime(2026, 11, 22, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert Formats("en", "GB").moment(moment) == "21 November 2026, 23:30 UTC"
    assert Formats("de", "DE").moment(moment) == "21. November 2026, 23:30 UTC"
    assert Formats("en", "US").moment(datetime(2026, 7, 4, 9, 5, tzinfo=UTC)) == "July 4, 2026, 9:05\u202fAM UTC"


def test_a_country_that_does_not_speak_the_language_gets_the_languages_own_formats() -> None:
    assert Formats("de", "JP").money(money(199_900)) == "1.999,00\u00a0€"
    assert Formats("en", "XX").number(1_200) == "1,200"
