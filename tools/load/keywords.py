"""What staff look for and look at: keywords of each sort, taken from purchases that exist."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from shared.contracts.customers import GetCustomer, SearchCustomers
from shared.contracts.notifications import ListEmails
from shared.contracts.purchases import GetPurchase, SearchPurchases
from tools.load.fill import fill_few
from tools.load.shots import CONSOLE, Shot, shot
from tools.load.world import World

_WANTED: Final = 2000
_TOO_FEW: Final = 500
_PREFIX_LETTERS: Final = 4
_COLUMNS: Final = """
    reference_number, client_order_id, card_last4,
    billing_contact ->> 'email' AS email, billing_contact ->> 'last_name' AS last_name
"""
_SOME: Final = f"""
SELECT {_COLUMNS} FROM purchase TABLESAMPLE SYSTEM ({{percent:.6f}})
WHERE client_id = $1 AND anonymized_at IS NULL LIMIT $2
"""  # noqa: S608 - our own columns
_ABOUT: Final = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'purchase'::regclass"


@dataclass(frozen=True)
class Known:
    """A purchase that exists, with what it is found by."""

    reference_number: str
    order: str
    last4: str | None
    email: str
    last_name: str | None

    @property
    def domain(self) -> str:
        return self.email.rpartition("@")[2]

    @property
    def name(self) -> str:
        return self.last_name or self.email


_SORTS: Final[dict[str, Callable[[Known], str]]] = {
    "number": lambda known: known.reference_number,
    "e-mail": lambda known: known.email,
    "name": lambda known: known.name,
    "prefix": lambda known: known.name[:_PREFIX_LETTERS],
    "@domain": lambda known: f"@{known.domain}",
    "@domain, name": lambda known: f"@{known.domain}, {known.name}",
    "card": lambda known: known.last4 or known.reference_number,
}


class Keywords:
    """A sample of the purchases in the database."""

    def __init__(self) -> None:
        self._known: list[Known] = []

    async def read(self, world: World) -> None:
        """Take a sample; where there is hardly anything to find, purchases are added first."""
        await self._sample(world)
        if len(self._known) < _TOO_FEW:
            await fill_few(world, _WANTED)
            await self._sample(world)

    async def _sample(self, world: World) -> None:
        async with world.database("purchases") as database:
            about = int(await database.fetchval(_ABOUT))
            # A sample of pages, where the table is large enough for that to be another set of rows each time.
            percent = 100 * 20 * _WANTED / about if about > 20 * _WANTED else 100
            statement = _SOME.format(percent=percent)
            rows = await database.fetch(statement, world.client_id, 20 * _WANTED)
        self._known = [Known(*row) for row in world.choice.sample(rows, min(len(rows), _WANTED))]

    def purchases(self, choice: random.Random) -> Shot:
        """A search for purchases."""
        sort = choice.choice(list(_SORTS))
        words = _SORTS[sort](choice.choice(self._known))
        return shot(f"purchases by {sort}", SearchPurchases(keywords=words))

    def customers(self, choice: random.Random) -> Shot:
        """A search for customers."""
        sort = choice.choice(list(_SORTS))
        words = _SORTS[sort](choice.choice(self._known))
        return shot(f"customers by {sort}", SearchCustomers(keywords=words))

    def purchase(self, choice: random.Random) -> Shot:
        """Everything about one purchase."""
        query = GetPurchase(reference_number=choice.choice(self._known).reference_number)
        return shot("purchase", query, sender=CONSOLE)

    def mails(self, choice: random.Random) -> Shot:
        """The mails of one purchase."""
        query = ListEmails(reference_number=choice.choice(self._known).reference_number)
        return shot("mails", query, sender=CONSOLE)

    def customer(self, choice: random.Random) -> Shot:
        """The customer of one purchase."""
        query = GetCustomer(reference_number=choice.choice(self._known).reference_number)
        return shot("customer", query, sender=CONSOLE)
