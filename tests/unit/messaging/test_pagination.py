"""A cursor belongs to one list of one client, and is taken as it was given or not at all."""

import string
from uuid import uuid4

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from services.purchases.models import PurchasesTables
from shared.contracts.notifications import ListEmails
from shared.contracts.purchases import SearchPurchases
from shared.contracts.refusals import Refused
from shared.messaging.message_context import MessageContext
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork

POSITION = b"\x00\x01behind this one\xff"
SEARCH = SearchPurchases(keywords="love", limit=5)


def asked_by(client_id: str) -> UnitOfWork:
    context = MessageContext(client_id=client_id, actor="user:ada", message_id=uuid4(), correlation_id="flow")
    return UnitOfWork("purchases", AsyncSession(), PurchasesTables.outbox, context)


def with_cursor(query: SearchPurchases, cursor: str) -> SearchPurchases:
    return query.model_copy(update={"cursor": cursor})


@pytest.mark.parametrize("length", range(20))
def test_the_position_comes_back(length: int) -> None:
    work, position = asked_by("shop"), bytes(range(length))
    assert cursor_position(work, with_cursor(SEARCH, cursor_after(position, work, SEARCH))) == position


def test_pages_may_differ_in_size() -> None:
    work = asked_by("shop")
    next_page = SearchPurchases(keywords="love", limit=50, cursor=cursor_after(POSITION, work, SEARCH))
    assert cursor_position(work, next_page) == POSITION


def test_without_a_cursor_a_list_begins_at_its_beginning() -> None:
    assert cursor_position(asked_by("shop"), SEARCH) is None


@pytest.mark.parametrize("length", range(3, 6))
def test_no_character_can_be_another_one(length: int) -> None:
    work = asked_by("shop")
    cursor = cursor_after(POSITION[:length], work, SEARCH)
    for index in range(len(cursor)):
        for other in set(string.ascii_letters + string.digits + "-_") - {cursor[index]}:
            with pytest.raises(Refused, match="cursor_invalid"):
                cursor_position(work, with_cursor(SEARCH, cursor[:index] + other + cursor[index + 1 :]))


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 11, 12])
def test_nothing_may_be_missing(cut: int) -> None:
    work = asked_by("shop")
    with pytest.raises(Refused, match="cursor_invalid"):
        cursor_position(work, with_cursor(SEARCH, cursor_after(POSITION, work, SEARCH)[:-cut]))


def test_another_list_and_another_client_are_refused() -> None:
    work = asked_by("shop")
    cursor = cursor_after(POSITION, work, SEARCH)
    others = (
        (work, SearchPurchases(keywords="lov", cursor=cursor)),
        (work, ListEmails(reference_number="123456789", cursor=cursor)),
        (asked_by("rival"), with_cursor(SEARCH, cursor)),
    )
    for who, query in others:
        with pytest.raises(Refused, match="cursor_invalid"):
            cursor_position(who, query)
