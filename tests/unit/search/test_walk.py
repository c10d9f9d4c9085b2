"""How the statement of a search reads, whatever the service's tables."""

import pytest
from sqlalchemy import Column as TableColumn
from sqlalchemy import DateTime, MetaData, Table, Text, Uuid
from sqlalchemy.dialects import postgresql

from shared.search.form import Form, Search
from shared.search.keywords import Column, Key, Keyword, Prefix
from shared.search.walk import SearchIndex

TABLES = MetaData()
NOTE = Table(
    "note", TABLES, TableColumn("id", Uuid), TableColumn("client_id", Text), TableColumn("at", DateTime(timezone=True))
)
KEY = Table(
    "note_key",
    TABLES,
    *(TableColumn(name, Text) for name in ("kind", "term", "client_id")),
    TableColumn("at", DateTime(timezone=True)),
    TableColumn("note_id", Uuid),
)
INDEX = SearchIndex(KEY, order=("at", "note_id"), newest_first=True)
WORD = Keyword((Key("tag", "red"), Prefix("title", "red")), selectivity=2)
AUTHOR = Keyword((Key("author", "ada"),), selectivity=1)


def form(*keywords: Keyword, client_id: str = "shop") -> Form:
    return Search(client_id, keywords, 26).form


def text(index: SearchIndex, wanted: Form) -> str:
    walks = index.walks(wanted)
    return " ".join(str(walk.compile(dialect=postgresql.dialect())) for walk in walks)  # type: ignore[no-untyped-call]


def test_each_meaning_of_the_driver_is_one_bounded_walk_in_order() -> None:
    read = text(INDEX, form(WORD))
    assert read.count("ORDER BY note_key.at DESC, note_key.note_id DESC") == read.count("LIMIT 26") == 2
    assert read.count("note_key.term = ") == read.count("note_key.term >= ") == read.count("note_key.term < ") == 1


def test_other_keywords_are_looked_up_by_the_record_and_not_by_their_terms() -> None:
    read = text(INDEX, form(AUTHOR, WORD))
    looked_up = "EXISTS (SELECT * \nFROM note_key AS note_key_1 \nWHERE note_key_1.note_id = note_key.note_id"
    assert read.count(looked_up) == 2
    assert read.count("note_key_1.kind = 'author' AND (note_key_1.term || '') = ") == 2


def test_only_who_looks_through_all_clients_is_not_kept_to_one() -> None:
    assert "note_key.client_id = " in text(INDEX, form(WORD))
    assert "client_id" not in text(INDEX, form(WORD, client_id="*"))


def test_a_keyword_may_be_a_column_of_the_record_alone() -> None:
    keyword = Keyword((Column("id", "7"),), selectivity=3)
    with_records = SearchIndex(KEY, ("at", "note_id"), records=NOTE)
    assert "FROM note \nWHERE note.id = " in text(with_records, form(keyword))
    assert "note_key" not in text(with_records, form(keyword)).replace("AS note_id", "")
    with pytest.raises(TypeError, match="no records with a column id"):
        INDEX.walks(form(keyword))
