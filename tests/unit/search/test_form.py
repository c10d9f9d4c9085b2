"""One statement serves all searches of a form, and every value that it needs is there."""

from uuid import UUID

import pytest

from shared.contracts.values import ALL_CLIENTS
from shared.search.form import Search
from shared.search.keywords import Key, Keyword, Prefix

COMMON = Keyword((Key("colour", "red"), Prefix("name", "red")), selectivity=1)
RARE = Keyword((Key("plate", "b-xy"),), selectivity=5)


def test_the_keyword_that_finds_fewest_drives() -> None:
    search = Search("shop", (COMMON, RARE), 26)
    assert search.form.driver == RARE.form
    assert search.values == {
        "client_id": "shop",
        "limit": 26,
        "term_0_0": "b-xy",
        "end_0_0": "b-xy\U0010ffff",
        "term_1_0": "red",
        "end_1_0": "red\U0010ffff",
        "term_1_1": "red",
        "end_1_1": "red\U0010ffff",
    }


def test_other_words_of_the_same_kinds_have_the_same_form() -> None:
    blue = Keyword((Key("colour", "blue"), Prefix("name", "blue")), selectivity=1)
    assert Search("shop", (blue,), 26).form == Search("rival", (COMMON,), 26).form
    assert Search("shop", (RARE,), 26).form != Search("shop", (COMMON,), 26).form


@pytest.mark.parametrize(("limit", "length"), [(2, 26), (26, 26), (27, 101), (101, 101)])
def test_a_walk_goes_as_far_as_the_usual_page_or_the_longest_one(limit: int, length: int) -> None:
    assert Search("shop", (RARE,), limit).form.length == length


def test_what_narrows_a_search_belongs_to_its_form() -> None:
    plain = Search("shop", (RARE,), 26).form
    all_clients = Search(ALL_CLIENTS, (RARE,), 26).form
    next_page = Search("shop", (RARE,), 26, after=("b", UUID(int=1)))
    part = Search("shop", (RARE,), 26, within=(1, 2))
    assert len({plain, all_clients, next_page.form, part.form}) == 4
    assert next_page.values.items() >= {"after_0": "b", "after_1": UUID(int=1)}.items()
    assert part.values.items() >= {"start": 1, "end": 2}.items()
