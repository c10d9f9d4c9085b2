"""A position goes into a cursor and comes out of it again."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from shared.search.positions import read, written

MOMENTS = st.datetimes(timezones=st.just(UTC))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(moment=MOMENTS, one=st.uuids())
def test_a_moment_and_an_id(moment: datetime, one: UUID) -> None:
    assert read(written((moment, one)), (datetime, UUID)) == (moment, one)


@given(text=TEXTS, one=st.uuids())
def test_a_text_and_an_id_in_either_order(text: str, one: UUID) -> None:
    assert read(written((text, one)), (str, UUID)) == (text, one)
    assert read(written((one, text)), (UUID, str)) == (one, text)


def test_cursors_that_people_hold_stay_as_they_were() -> None:
    one = UUID(int=7)
    assert written((datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), one)) == (1_000_000).to_bytes(8, "big") + one.bytes
    assert written(("müller", one)) == one.bytes + "müller".encode()
