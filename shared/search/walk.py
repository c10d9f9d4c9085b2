"""The parts of a search's statement.

The most selective keyword drives: each of its meanings is one bounded walk through an index, in the order of the
search, and the other keywords are looked up for what it finds. A page costs the same however deep it is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Row,
    Select,
    Subquery,
    and_,
    bindparam,
    exists,
    literal_column,
    or_,
    select,
    tuple_,
    union,
)

from shared.search import positions
from shared.search.form import Form
from shared.search.keywords import Column, Key, Keyword, Prefix

Conditions = Sequence[ColumnElement[bool]]
Walk = Select[*tuple[Any, ...]]
"""A statement, whose columns are those of the order."""


@dataclass(frozen=True)
class SearchIndex:
    """Where a service has its terms, and in which order it finds its records."""

    keys: FromClause
    """With the columns `kind`, `term`, `client_id` and those of the order."""
    order: tuple[str, ...]
    """The columns in whose order records are found. The last is the record's id."""
    newest_first: bool = False
    records: FromClause | None = None
    """The records themselves, with the same columns, but `id`, for keywords that stand in a `Column` of them."""

    def walks(self, form: Form, *more: ColumnElement[bool]) -> list[Walk]:
        """One walk for each meaning of the driving keyword; `more` is asked of every term that they pass."""
        return [self.walk_of(form, number, *more) for number in range(len(form.driver.meanings))]

    def walk_of(self, form: Form, number: int, *more: ColumnElement[bool]) -> Walk:
        """The walk of one meaning of the driving keyword."""
        meaning = form.driver.meanings[number]
        source = self._source(meaning)
        return self.walk(form, source, [*means(source, meaning, f"0_{number}"), *of_client(form, source), *more])

    def walk(self, form: Form, source: FromClause, where: Conditions, *, driving: int = 0) -> Walk:
        """What this part of the source finds, in order, as far as a page needs. `driving` is matched by it already."""
        columns = self._columns(source)
        others = [(place, other) for place, other in enumerate(form.keywords) if place != driving]
        return (
            select(*(column.label(name) for name, column in zip(self.order, columns, strict=True)))
            .where(*where, *(self.matches(columns[-1], place, other) for place, other in others))
            .where(*self._part(form, columns))
            .distinct()
            .order_by(*self._in_order(columns))
            .limit(literal_column(str(form.length), Integer))
        )

    def matches(self, record_id: Any, place: int, keyword: Keyword) -> ColumnElement[bool]:
        """A record that was found already has what a keyword means."""
        found = []
        if not all(isinstance(meaning, Column) for meaning in keyword.meanings):
            keys = self.keys.alias()
            found.append(exists().where(keys.c[self.order[-1]] == record_id, has_any(keys, place, keyword)))
        for number, meaning in enumerate(keyword.meanings):
            if isinstance(meaning, Column):
                record = self._source(meaning).alias()
                found.append(exists().where(record.c.id == record_id, *means(record, meaning, f"{place}_{number}")))
        return or_(*found)

    def first(self, walks: Iterable[Walk]) -> Subquery:
        """The first `limit` records that any of the walks finds."""
        found = union(*(select(walk.subquery()) for walk in walks)).subquery()
        return select(found).order_by(*self.in_order(found)).limit(bindparam("limit", type_=Integer)).subquery()

    def in_order(self, source: FromClause) -> tuple[ColumnElement[Any], ...]:
        """The order of the search, for what the walks have found."""
        return self._in_order(self._columns(source))

    def position(self, row: Row[*tuple[Any, ...]]) -> bytes:
        """Where a row stands in the order of the search. It has the columns of the order, and `id` for the last."""
        return positions.written([getattr(row, name) for name in (*self.order[:-1], "id")])

    def read(self, position: bytes) -> tuple[Any, ...]:
        """The values of a position, behind which a search goes on."""
        return positions.read(position, [self.keys.c[name].type.python_type for name in self.order])

    def _source(self, meaning: Key) -> FromClause:
        if not isinstance(meaning, Column):
            return self.keys
        if self.records is None:
            raise TypeError(f"no records with a column {meaning.kind}")
        return self.records

    def _columns(self, source: FromClause) -> tuple[ColumnElement[Any], ...]:
        names = (*self.order[:-1], "id") if source is self.records else self.order
        return tuple(source.c[name] for name in names)

    def _in_order(self, columns: tuple[ColumnElement[Any], ...]) -> tuple[ColumnElement[Any], ...]:
        return tuple(column.desc() for column in columns) if self.newest_first else columns

    def _part(self, form: Form, columns: tuple[ColumnElement[Any], ...]) -> Conditions:
        """What narrows a walk to the part that was asked for, and to what is behind the last page."""
        part: list[ColumnElement[bool]] = []
        if form.within:
            part += [columns[0] >= bindparam("start"), columns[0] < bindparam("end")]
        if form.goes_on:
            types = (self.keys.c[name].type for name in self.order)
            after = tuple_(*(bindparam(f"after_{place}", type_=kind) for place, kind in enumerate(types)))
            part.append(tuple_(*columns) < after if self.newest_first else tuple_(*columns) > after)
        return part


def of_client(form: Form, table: FromClause) -> Conditions:
    """The condition that keeps one client's records from another; none where all clients are looked through."""
    return () if form.of_all_clients else (table.c.client_id == bindparam("client_id"),)


def means(table: FromClause, meaning: Key, name: str, *, hidden: bool = False) -> Conditions:
    """The condition of a meaning. A prefix is a range, which keeps its index under every plan; LIKE does not.

    `hidden`: no index on terms is to be used, because the record is known already, whose few terms are found by it
    (through the terms, every record that has them would be read again for each), or because another order comes first.
    The kind stands in the statement itself then, without which no plan for all values can use an index on some kinds.
    """
    if isinstance(meaning, Column):
        return (table.c[meaning.kind] == bindparam(f"term_{name}"),)
    term = table.c.term.op("||")(literal_column("''")) if hidden else table.c.term
    kind = table.c.kind == (literal_column(f"'{meaning.kind}'") if hidden else meaning.kind)
    if isinstance(meaning, Prefix):
        return (kind, term >= bindparam(f"term_{name}"), term < bindparam(f"end_{name}"))
    return (kind, term == bindparam(f"term_{name}"))


def has_any(keys: FromClause, place: int, keyword: Keyword) -> ColumnElement[bool]:
    """A term of a record that was found already is what a keyword means."""
    meanings = enumerate(keyword.meanings)
    known = [(meaning, f"{place}_{number}") for number, meaning in meanings if not isinstance(meaning, Column)]
    return or_(*(and_(*means(keys, meaning, name, hidden=True)) for meaning, name in known))
