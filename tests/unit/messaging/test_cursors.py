"""A cursor belongs to one list of one client, and is taken as it was given or not at all."""

import string
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from services.purchases.models import PurchasesTables
from shared.contracts.notifications import ListEmails
from shared.contracts.purchases import SearchPurchases
from shared.errors import Refused
from shared.messaging.cursors import opened, sealed
from shared.messaging.origin import Origin
from shared.messaging.work import Work

POSITION = b"\x00\x01behind this one\xff"
SEARCH = SearchPurchases(keywords="love", limit=5)


def asked_by(client_id: str) -> Work:
    origin = Origin(client_id=client_id, actor="user:ada", message_id=uuid4(), correlation_id="flow")
    return Work("purchases", AsyncSession(), PurchasesTables.outbox, origin)


def with_cursor(query: SearchPurchases, cursor: str) -> SearchPurchases:
    return query.model_copy(update={"cursor": cursor})


@pytest.mark.parametrize("length", range(20))
def test_the_position_comes_back(length: int) -> None:
    work, position = asked_by("shop"), bytes(range(length))
    assert opened(work, with_cursor(SEARCH, sealed(position, work, SEARCH))) == position


def test_pages_may_differ_in_size() -> None:
    work = asked_by("shop")
    next_page = SearchPurchases(keywords="love", limit=50, cursor=sealed(POSITION, work, SEARCH))
    assert opened(work, next_page) == POSITION


def test_without_a_cursor_a_list_begins_at_its_beginning() -> None:
    assert opened(asked_by("shop"), SEARCH) is None


@pytest.mark.parametrize("length", range(3, 6))
def test_no_character_can_be_another_one(length: int) -> None:
    work = asked_by("shop")
    cursor = sealed(POSITION[:length], work, SEARCH)
    for index in range(len(cursor)):
        for other in set(string.ascii_letters + string.digits + "-_") - {cursor[index]}:
            with pytest.raises(Refused, match="cursor_invalid"):
                opened(work, with_cursor(SEARCH, cursor[:index] + other + cursor[index + 1 :]))


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 11, 12])
def test_nothing_may_be_missing(cut: int) -> None:
    work = asked_by("shop")
    with pytest.raises(Refused, match="cursor_invalid"):
        opened(work, with_cursor(SEARCH, sealed(POSITION, work, SEARCH)[:-cut]))


def test_another_list_and_another_client_are_refused() -> None:
    work = asked_by("shop")
    cursor = sealed(POSITION, work, SEARCH)
    others = (
        (work, SearchPurchases(keywords="lov", cursor=cursor)),
        (work, ListEmails(reference_number="123456789", cursor=cursor)),
        (asked_by("rival"), with_cursor(SEARCH, cursor)),
    )
    for who, query in others:
        with pytest.raises(Refused, match="cursor_invalid"):
            opened(who, query)
