"""What is looked for, and what of it decides how the statement reads. Pure.

A search is one statement, whose text depends on the form of the search alone and is made once, so that the database
has it prepared: a plan for all values, one round trip.
"""

from dataclasses import dataclass
from typing import Any, Final

from shared.contracts.values import ALL_CLIENTS
from shared.search.keywords import Keyword

FORMS: Final = 256
"""So many statements of a service are kept."""
_LENGTHS: Final = (26, 101)
"""A walk goes as far as the usual page or the longest one, and one record further."""
_LAST_CHARACTER: Final = "\U0010ffff"


@dataclass(frozen=True)
class Form:
    """What the text of a search depends on."""

    keywords: tuple[Keyword, ...]
    """Without their words. The first drives."""
    of_all_clients: bool
    within: bool
    """Whether it is narrowed to a part of its order."""
    goes_on: bool
    length: int
    """How far each walk goes. It stands in the text, where every plan knows it."""

    @property
    def driver(self) -> Keyword:
        return self.keywords[0]


@dataclass(frozen=True)
class Search:
    """What is looked for, whose, and which part of it."""

    client_id: str
    keywords: tuple[Keyword, ...]
    limit: int
    after: tuple[Any, ...] | None = None
    """Where the last page ended: the values of the columns that the search is in the order of."""
    within: tuple[Any, Any] | None = None
    """From where on, and up to where, the first of these columns is looked at."""

    @property
    def form(self) -> Form:
        return Form(
            keywords=tuple(keyword.form for keyword in self._in_order),
            of_all_clients=self.client_id == ALL_CLIENTS,
            within=self.within is not None,
            goes_on=self.after is not None,
            length=next(length for length in _LENGTHS if self.limit <= length),
        )

    @property
    def values(self) -> dict[str, Any]:
        """The parameters of the statement of this form."""
        values: dict[str, Any] = {"client_id": self.client_id, "limit": self.limit}
        for place, keyword in enumerate(self._in_order):
            for number, meaning in enumerate(keyword.meanings):
                values[f"term_{place}_{number}"] = meaning.term
                values[f"end_{place}_{number}"] = meaning.term + _LAST_CHARACTER
        if self.within is not None:
            values["start"], values["end"] = self.within
        return values | {f"after_{place}": value for place, value in enumerate(self.after or ())}

    @property
    def _in_order(self) -> list[Keyword]:
        """Those that find few records first."""
        return sorted(self.keywords, key=lambda keyword: -keyword.selectivity)
