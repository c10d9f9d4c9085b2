"""Purchases and customers made up from their numbers: always the same for the same number, as many as are wanted.

Nobody here exists. Names and domains are few of each sort at the top and many at the bottom, as in real life: the
commonest last name has about two percent, the commonest domain a third.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

from services.customers.identity.rules import fold as customers_fold
from services.purchases.search_rules import ADDRESSES
from services.purchases.search_rules import fold as purchases_fold

CURRENCY: Final = "GBP"
TAX_RATE: Final = 19
ACTOR: Final = "service:load"
_MASK: Final = (1 << 64) - 1
_STARTS: Final = ("Al", "Ber", "Car", "Dor", "El", "Fal", "Gar", "Hol", "Is", "Jan", "Kel", "Lin", "Mar", "Nor", "Ol",
                  "Pet", "Quin", "Ros", "Sten", "Tal", "Ul", "Ver", "Wal", "Yor", "Zim")  # fmt: skip
_MIDDLES: Final = ("a", "be", "di", "en", "fo", "ge", "ha", "i", "ka", "lo", "me", "no", "o", "ri", "so", "te")
_ENDS: Final = ("berg", "brook", "court", "dale", "er", "ford", "gate", "ham", "ing", "ley", "mann", "nell", "o", "ova",
                "quist", "rup", "sen", "stein", "ton", "wood")  # fmt: skip
_FIRST: Final = ("Ada", "Ben", "Carla", "Daniel", "Elif", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Karim", "Lena",
                 "Marco", "Nina", "Oscar", "Priya", "Rosa", "Sam", "Tom", "Vera", "Yuki", "Zoe")  # fmt: skip
_COMPANIES: Final = ("Home & Gift", "Paper Goods", "Lighthouse", "Tea Rooms", "Corner Shop", "Craft Supplies")
_COUNTRIES: Final = (("GB", "en"), ("GB", "en"), ("DE", "de"), ("FR", "fr"), ("US", "en"), ("IE", "en"), ("NL", "nl"))
_COMMON_DOMAINS: Final = ("mail.example.com", "post.example.net", "inbox.example.org")
_COMMON: Final = (33, 48, 58)
"""Percent of all addresses up to and including each of the common domains."""
_CARDS: Final = ("visa", "mastercard", "amex")
_PRODUCTS: Final = 5000
_ONE_COMPANY_IN: Final = 6
_LOWEST_NUMBER: Final = 100_000_000
_NUMBERS: Final = 900_000_000
_STRIDE: Final = 556_190_867
"""Has no divisor in common with the count of numbers, so that all of them are met before one comes again."""


def reference_numbers(start: int, taken: "set[int]") -> Iterator[int]:
    """Reference numbers in no visible order, each once, leaving out those that are taken."""
    position = start % _NUMBERS
    while True:
        number = _LOWEST_NUMBER + position
        if number not in taken:
            yield number
        position = (position + _STRIDE) % _NUMBERS


def mixed(number: int) -> int:
    """64 well mixed bits of a number (the finalizer of splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


@dataclass(frozen=True)
class Name:
    """A last name with its forms in the two services' search indexes."""

    text: str
    purchases_term: str
    customers_term: str


def _last_names() -> list[Name]:
    texts = [f"{start}{middle}{end}" for middle in _MIDDLES for end in _ENDS for start in _STARTS]
    return [Name(text, purchases_fold(text), customers_fold(text)) for text in texts]


NAMES: Final = _last_names()
COMPANIES: Final = [f"{name.text} {company}" for name in NAMES[:2000] for company in _COMPANIES]


@dataclass(frozen=True, slots=True)
class Person:
    """A made up customer."""

    number: int
    first_name: str
    name: Name
    company: str | None
    email: str
    domain_term: str
    contact: str
    """The JSON that both services store."""
    payment_type: str
    last4: str

    @classmethod
    def of(cls, number: int, salt: int) -> "Person":
        bits = mixed(number ^ salt)
        share = (bits & 0xFFFF) / 0x10000
        name = NAMES[int(len(NAMES) * share**2.5)]
        first = _FIRST[(bits >> 16) % len(_FIRST)]
        company = COMPANIES[(bits >> 24) % len(COMPANIES)] if (bits >> 40) % _ONE_COMPANY_IN == 0 else None
        domain = _domain(bits >> 44)
        email = f"{first}.{name.text}.{salt:x}.{number}@{domain}".lower()
        country, language = _COUNTRIES[(bits >> 20) % len(_COUNTRIES)]
        fields = {"language": language, "company": company, "first_name": first, "last_name": name.text,
                  "street1": f"{bits % 200 + 1} Mill Lane", "country": country, "email": email}  # fmt: skip
        contact = json.dumps({key: value for key, value in fields.items() if value is not None})
        return cls(
            number, first, name, company, email, _REVERSED.get(domain) or ADDRESSES.reversed_domain(domain), contact,
            _CARDS[bits % len(_CARDS)], f"{(bits >> 8) % 10_000:04}",
        )  # fmt: skip

    @property
    def reference(self) -> str:
        """The seller's own id of the customer."""
        return f"C{self.number}"


def _domain(bits: int) -> str:
    percent = bits % 100
    for domain, upto in zip(_COMMON_DOMAINS, _COMMON, strict=True):
        if percent < upto:
            return domain
    return f"{NAMES[(bits >> 7) % len(NAMES)].text.lower()}.example.com"


_REVERSED: Final = {domain: ADDRESSES.reversed_domain(domain) for domain in _COMMON_DOMAINS}


@dataclass(frozen=True, slots=True)
class Bought:
    """An item of a made up purchase."""

    product: int
    quantity: int
    unit_price: int

    @property
    def gross(self) -> int:
        return self.quantity * self.unit_price

    @property
    def tax(self) -> int:
        """Contained in the gross, rounded half up."""
        return (2 * self.gross * TAX_RATE + 100 + TAX_RATE) // (2 * (100 + TAX_RATE))


@dataclass(frozen=True)
class Made:
    """A made up purchase, paid in full when it was ordered."""

    number: int
    reference_number: int
    person: Person
    is_first: bool
    """Whether its customer comes with it."""
    at: datetime
    salt: int

    @cached_property
    def items(self) -> tuple[Bought, ...]:
        bits = mixed(self.number * 3 + self.salt)
        found = []
        for _ in range((1, 1, 2, 3)[bits & 3]):
            found.append(Bought(bits % _PRODUCTS, 1 + (bits >> 13) % 3, 199 + (bits >> 17) % 9800))
            bits = mixed(bits)
        return tuple(found)

    @cached_property
    def gross(self) -> int:
        return sum(item.gross for item in self.items)

    @cached_property
    def stamp(self) -> str:
        """The moment of the purchase, as the database reads it."""
        return self.at.isoformat()

    @cached_property
    def id(self) -> str:
        """The id of the purchase."""
        return self.id_of(0)

    def id_of(self, what: int) -> str:
        """A UUIDv7 of the moment of the purchase; `what` tells its records apart."""
        before, after = self._id_parts
        return f"{before}{what:03x}{after}"

    @cached_property
    def _id_parts(self) -> tuple[str, str]:
        moment = f"{int(self.at.timestamp() * 1000):012x}"
        return f"{moment[:8]}-{moment[8:]}-7", f"-8{self.salt & 0xFFF:03x}-{self.number:012x}"


@dataclass(frozen=True)
class Plan:
    """What is to be made up."""

    purchases: int
    customers: int
    prefix: str
    """Of the order numbers."""
    client_id: str
    salt: int
    until: datetime
    days: float = 3 * 365
    """Over which the purchases are spread, up to `until`."""

    @cached_property
    def folded_prefix(self) -> str:
        """The order numbers' prefix as it stands in the search index."""
        return purchases_fold(self.prefix)

    def make(self, taken: Iterable[int]) -> Iterator[Made]:
        """The purchases, oldest first. Reference numbers that are taken are left out."""
        numbers = reference_numbers(mixed(self.salt), set(taken))
        for number in range(self.purchases):
            yield self._made(number, next(numbers))

    def first_of(self, made: Made) -> Made:
        """The first purchase of the same customer, without its reference number."""
        return self._made(made.person.number, 0)

    def _made(self, number: int, reference_number: int) -> Made:
        customer = number % self.customers
        at = self.until - timedelta(days=self.days * (1 - number / self.purchases))
        return Made(
            number=number,
            reference_number=reference_number,
            person=Person.of(customer, self.salt),
            is_first=number < self.customers,
            at=at,
            salt=self.salt,
        )
