"""What people type into a search box: keywords, each with all that it may mean. Pure.

Which kinds of terms there are, and what a keyword may mean, is for each service to say.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Self

from shared.contracts.refusals import Refused

MOST_KEYWORDS: Final = 10


@dataclass(frozen=True, order=True)
class Key:
    """A term of a kind: what a record has, and what a keyword may mean."""

    kind: str
    """One of the service's own kinds."""
    term: str

    @property
    def form(self) -> Self:
        """What is the same for all terms."""
        return replace(self, term="")


@dataclass(frozen=True, order=True)
class Prefix(Key):
    """A keyword that is the beginning of a term."""


@dataclass(frozen=True, order=True)
class Column(Key):
    """A keyword that stands in a column of the record itself. The kind is the name of the column."""


@dataclass(frozen=True)
class Keyword:
    """One keyword with all it may mean."""

    meanings: tuple[Key, ...]
    selectivity: int
    """How few records it finds, roughly; the highest drives the search."""

    @property
    def form(self) -> "Keyword":
        """The keyword without its words: what it looks at, whatever it looks for."""
        return replace(self, meanings=tuple(meaning.form for meaning in self.meanings))


@dataclass(frozen=True)
class KeywordRules:
    """What a service understands of its search box."""

    fold: Callable[[str], str]
    """The form in which its terms are compared."""
    meanings: Callable[[str], Iterable[Key]]
    """All that one keyword may mean, at least one."""
    common: tuple[str, ...]
    """Kinds whose terms many records share, the commonest first. The others find few."""
    unique: frozenset[str]
    """Kinds that tell a record from all others. A keyword that may be such a one is taken for it before others."""

    def keyword(self, text: str) -> Keyword:
        """A keyword as this service understands it."""
        meanings = tuple(self.meanings(text))
        ranks = [self._rank(meaning.kind) for meaning in meanings]
        is_unique = any(meaning.kind in self.unique for meaning in meanings)
        return Keyword(meanings, max(ranks) if is_unique else min(ranks))

    def _rank(self, kind: str) -> int:
        return self.common.index(kind) if kind in self.common else len(self.common)


def parse_keywords(box: str, rules: KeywordRules) -> tuple[Keyword, ...]:
    """The comma-separated keywords of the box; all of them must match, each by any of its meanings.

    Raises Refused `no_keywords`, `too_many_keywords`. docs/domain.md, "Searching purchases", "Searching customers".
    """
    words = (word.strip() for word in box.replace("\x00", " ").split(","))
    texts = dict.fromkeys(word for word in words if rules.fold(word).strip("@. "))
    if not texts:
        raise Refused("no_keywords", "Give at least one keyword.")
    if len(texts) > MOST_KEYWORDS:
        raise Refused("too_many_keywords", "Give fewer keywords.", most=MOST_KEYWORDS)
    return tuple(map(rules.keyword, texts))
