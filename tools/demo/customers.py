"""Customers made up from their numbers: the same person, address and card for the same number each time.

The files name customers by number only. Nobody here exists: the addresses are in domains reserved for examples.
"""

import hashlib
from collections import Counter
from functools import cache
from typing import Final

import pycountry

from shared.contracts.purchases import Contact, PaymentType
from tools.demo.reading import Tally

_FIRST_NAMES: Final = (
    "Ada", "Amir", "Anna", "Ben", "Carla", "Chloe", "Daniel", "Elif", "Emil", "Eva", "Finn", "Grace", "Hana", "Hugo",
    "Ines", "Jakub", "Jonas", "Julia", "Karim", "Lena", "Leo", "Lucia", "Mara", "Marco", "Maya", "Mila", "Nina",
    "Noah", "Olga", "Oscar", "Paul", "Priya", "Rosa", "Sam", "Sofia", "Tariq", "Tom", "Vera", "Yuki", "Zoe",
)  # fmt: skip
_LAST_NAMES: Final = (
    "Adler", "Almeida", "Baker", "Becker", "Bianchi", "Brown", "Carter", "Costa", "Dubois", "Evans", "Fischer",
    "Foster", "Garcia", "Green", "Haas", "Hansen", "Hill", "Ito", "Jensen", "Kaya", "Keller", "Khan", "Lang", "Lewis",
    "Martin", "Meyer", "Moreau", "Murphy", "Novak", "O'Brien", "Patel", "Reed", "Rossi", "Schmidt", "Silva", "Sato",
    "Taylor", "Virtanen", "Walker", "Weiß", "Wilson", "Young",
)  # fmt: skip
_STREETS: Final = ("Mill Lane", "Station Road", "Park Street", "Church Road", "Harbour Way", "Garden Close")
_COMPANIES: Final = ("Home & Gift", "Paper Goods", "Lighthouse Store", "Tea Rooms", "Corner Shop", "Craft Supplies")
_DOMAINS: Final = ("example.com", "example.net", "example.org")
_ONE_COMPANY_IN: Final = 6

HOME: Final = "GB"
"""The shop's own country."""
_COUNTRIES: Final = {
    "EIRE": "IE",
    "CHANNEL ISLANDS": "JE",
    "RSA": "ZA",
    "USA": "US",
    "UK": "GB",
    "CZECH REPUBLIC": "CZ",
    "TURKEY": "TR",
}
_NOWHERE: Final = frozenset({"", "UNSPECIFIED", "EUROPEAN COMMUNITY"})
_LANGUAGES: Final = {
    "AT": "de", "BE": "nl", "BR": "pt", "CH": "de", "CY": "el", "CZ": "cs", "DE": "de", "DK": "da", "ES": "es",
    "FI": "fi", "FR": "fr", "GR": "el", "IS": "is", "IT": "it", "JP": "ja", "LT": "lt", "NL": "nl", "NO": "no",
    "PL": "pl", "PT": "pt", "SE": "sv",
}  # fmt: skip
_CARDS: Final = (PaymentType.VISA, PaymentType.MASTERCARD, PaymentType.AMEX, PaymentType.PAYPAL)


def contact_of(number: str, country_name: str, tally: Tally) -> Contact:
    """The customer of a number in a country; a country that cannot be told is the shop's own, with a remark."""
    country = _country(country_name, tally.remarks)
    pick = _picker(number)
    first, last = _FIRST_NAMES[pick(0) % len(_FIRST_NAMES)], _LAST_NAMES[pick(1) % len(_LAST_NAMES)]
    plain = f"{first}.{last}".lower().replace("ß", "ss").replace("'", "")
    company = f"{last} {_COMPANIES[pick(3) % len(_COMPANIES)]}" if pick(2) % _ONE_COMPANY_IN == 0 else None
    return Contact(
        language=_LANGUAGES.get(country, "en"),
        company=company,
        first_name=first,
        last_name=last,
        street1=f"{pick(4) % 200 + 1} {_STREETS[pick(5) % len(_STREETS)]}",
        country=country,
        email=f"{plain}.{_address_part(number)}@{_DOMAINS[pick(6) % len(_DOMAINS)]}",
    )


def payment_of(number: str) -> tuple[PaymentType, str | None]:
    """What a customer pays with, and the last four digits where that is a card."""
    pick = _picker(number)
    payment_type = _CARDS[pick(7) % len(_CARDS)]
    last4 = None if payment_type is PaymentType.PAYPAL else f"{(pick(8) * 256 + pick(9)) % 10_000:04}"
    return payment_type, last4


def _picker(number: str) -> "_Picker":
    return _Picker(hashlib.sha256(f"customer {number}".encode()).digest())


class _Picker:
    def __init__(self, digest: bytes) -> None:
        self._digest = digest

    def __call__(self, place: int) -> int:
        return self._digest[place]


def _address_part(number: str) -> str:
    """The number itself where it can stand in an address, so that people recognise it."""
    if number.isascii() and number.isalnum():
        return number.lower()
    return hashlib.sha256(number.encode()).hexdigest()[:12]


def _country(name: str, remarks: Counter[str]) -> str:
    code = _code(name)
    if code is None:
        remarks[f"invoice from “{name or 'nowhere'}”, country taken as {HOME}"] += 1
    return code or HOME


@cache
def _code(name: str) -> str | None:
    upper = name.upper()
    if upper in _NOWHERE:
        return None
    if upper in _COUNTRIES:
        return _COUNTRIES[upper]
    try:
        return str(pycountry.countries.lookup(name).alpha_2)
    except LookupError:
        return None
