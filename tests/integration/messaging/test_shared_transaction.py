"""Commands that share a transaction: what one writes before it refuses breaks the batch, what waits of others does not.

Each act of a refused command was seen to go unnoticed when its part of the comparison in
`shared/messaging/transaction/writes.py` was taken out.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from services.purchases.history.store import Entry, add_entry
from services.purchases.models import HistoryEntry, ManualPayout, Purchase, PurchasesTables
from services.purchases.purchase.anonymize import anonymize_purchases
from services.purchases.purchase.record import record_purchase
from services.purchases.purchase.store import lock_purchase, lock_purchases
from services.purchases.refund.request import request_refund
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.purchases import PurchaseChanged, PurchaseRecorded, RequestRefund
from shared.contracts.refusals import Refused
from shared.database import create_engine, create_sessions
from shared.ids import new_id
from shared.messaging.handlers import Route
from shared.messaging.inbound.validation import Request
from shared.messaging.names import QueueKind
from shared.messaging.transaction import writes
from shared.messaging.transaction.group_commit import GroupCommit
from shared.messaging.transaction.transactions import Outcome, TransactionPerMessage
from shared.messaging.transaction.unanswered_refusals import UnansweredRefusals
from shared.messaging.unit_of_work import RELAY, UnitOfWork, open_unit_of_work
from shared.observability.metrics import Metrics
from tests.integration.purchases.arranging import refund
from tests.support.make import order
from tests.support.samples import sample
from tests.support.servers import TestServers
from tests.support.service import context
from tests.support.statements import noted_statements

UseCase = Callable[[RequestRefund, UnitOfWork], Awaitable[PurchaseChanged]]


@dataclass
class Group:
    """A service that commits its messages together, and what it did."""

    sessions: async_sessionmaker[AsyncSession]
    committing: GroupCommit
    used: list[AsyncSession] = field(default_factory=list)

    async def together(self, *wishes: tuple[UseCase, PurchaseChanged]) -> list[str | None]:
        """Use cases about purchases in one batch, in this order; the code of each refusal, None for each success."""
        return [outcome.code for outcome in await self.outcomes(*wishes)]

    async def outcomes(self, *wishes: tuple[UseCase, PurchaseChanged], awaited: bool = True) -> list[Outcome]:
        identities = sorted(uuid4() for _ in wishes)
        requests = [self._request(*wish, identity) for wish, identity in zip(wishes, identities, strict=True)]
        return await asyncio.gather(*(self.committing.run(request, awaited=awaited) for request in requests))

    @property
    def transactions(self) -> int:
        """How many transactions use cases ran in; more than one if the batch was redone one by one."""
        return len({id(session) for session in self.used})

    async def recorded(self) -> PurchaseChanged:
        outbox = PurchasesTables.outbox
        async with open_unit_of_work(self.sessions, service="purchases", outbox=outbox, context=context()) as work:
            return await record_purchase(work, order())

    async def read(self, purchase: PurchaseChanged) -> Purchase:
        async with self.sessions() as session:
            return await session.get_one(Purchase, purchase.purchase_id)

    def _request(self, use_case: UseCase, purchase: PurchaseChanged, identity: UUID) -> Request:
        async def handle(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
            self.used.append(work.session)
            return await use_case(command, work)

        route = Route(RequestRefund.key, RequestRefund, handle, QueueKind.COMMANDS)
        return Request(route, refund(purchase), context(message_id=identity), identity.bytes)


@pytest.fixture(scope="module")
async def engine(servers: TestServers) -> AsyncIterator[AsyncEngine]:
    name = f"purchases_{uuid4().hex[:12]}"
    engine = create_engine(await servers.new_database("purchases", name), service="purchases")
    yield engine
    await engine.dispose()
    await servers.drop_databases(name)


@pytest.fixture
async def group(engine: AsyncEngine) -> AsyncIterator[Group]:
    sessions = create_sessions(engine)
    single = TransactionPerMessage(
        service="purchases",
        sessions=sessions,
        inbox=PurchasesTables.inbox,
        outbox=PurchasesTables.outbox,
        metrics=Metrics(f"group{uuid4().hex[:6]}"),
        on_unanswered_refusal=UnansweredRefusals("purchases"),
        slots=asyncio.Semaphore(4),
        reading=sessions,
        reading_slots=asyncio.Semaphore(4),
    )
    committing = GroupCommit(single, lock_records=lock_purchases, largest=50)
    serving = asyncio.create_task(committing.serve())
    yield Group(sessions, committing)
    serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


async def mark(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
    """Change the purchase, the JSON in it and its history, and add a row; nothing is flushed."""
    purchase = await _purchase(work, command)
    (await _entry(work, command)).subject = "marked"
    purchase.customer_reference = "marked"
    purchase.billing_contact = purchase.billing_contact | {"city": "marked"}
    work.session.add(ManualPayout(refund_id=_payout(command), reference_number="100000001", amount=1, currency="EUR"))
    return _done(purchase)


async def _purchase(work: UnitOfWork, command: RequestRefund) -> Purchase:
    with work.session.no_autoflush:
        found = await work.session.scalars(
            select(Purchase).where(Purchase.reference_number == command.reference_number)
        )
    return found.one()


async def _entry(work: UnitOfWork, command: RequestRefund) -> HistoryEntry:
    with work.session.no_autoflush:
        of_this = select(HistoryEntry).join(Purchase).where(Purchase.reference_number == command.reference_number)
        return (await work.session.scalars(of_this.where(HistoryEntry.subject != "payment.recorded"))).one()


def _payout(command: RequestRefund) -> UUID:
    return UUID(int=int(command.reference_number or 0))


def _done(purchase: Purchase) -> PurchaseChanged:
    return PurchaseChanged(
        purchase_id=purchase.id,
        reference_number=purchase.reference_number,
        status=purchase.status,
        version=purchase.version,
    )


async def add(command: RequestRefund, work: UnitOfWork) -> None:
    work.session.add(ManualPayout(refund_id=new_id(), reference_number="100000002", amount=1, currency="EUR"))


async def remove(command: RequestRefund, work: UnitOfWork) -> None:
    with work.session.no_autoflush:
        other = await work.session.scalars(
            select(HistoryEntry).where(HistoryEntry.subject == "payment.recorded").limit(1)
        )
    await work.session.delete(other.one())


async def change_another(command: RequestRefund, work: UnitOfWork) -> None:
    with work.session.no_autoflush:
        other = await work.session.scalars(
            select(Purchase).where(Purchase.reference_number != command.reference_number).limit(1)
        )
    other.one().customer_reference = "refused"


async def change_the_same_value(command: RequestRefund, work: UnitOfWork) -> None:
    (await _purchase(work, command)).customer_reference = "refused"


async def change_another_value(command: RequestRefund, work: UnitOfWork) -> None:
    (await _purchase(work, command)).changed_by = "user:refused"


async def change_in_its_place(command: RequestRefund, work: UnitOfWork) -> None:
    (await _purchase(work, command)).billing_contact["city"] = "refused"


async def change_a_new_row(command: RequestRefund, work: UnitOfWork) -> None:
    for row in work.session.new:
        row.amount = 2


async def remove_what_was_changed(command: RequestRefund, work: UnitOfWork) -> None:
    await work.session.delete(await _entry(work, command))


async def forget_what_was_changed(command: RequestRefund, work: UnitOfWork) -> None:
    work.session.expire(await _purchase(work, command))


async def change_and_read(command: RequestRefund, work: UnitOfWork) -> None:
    """The reading writes what waits."""
    (await _purchase(work, command)).customer_reference = "refused"
    await work.session.scalar(select(Purchase.customer_reference).limit(1))


async def read_and_change(command: RequestRefund, work: UnitOfWork) -> None:
    await work.session.scalar(select(Purchase.customer_reference).limit(1))
    (await _purchase(work, command)).customer_reference = "refused"


async def write_past_the_session(command: RequestRefund, work: UnitOfWork) -> None:
    changed = update(Purchase.__table__).where(Purchase.reference_number == command.reference_number)
    await work.session.execute(changed.values(customer_reference="refused"))


async def tell(command: RequestRefund, work: UnitOfWork) -> None:
    await work.publish(_news("refused"), order_key="refused")


def _news(last_name: str) -> PurchaseRecorded:
    event = PurchaseRecorded.model_validate_json(json.dumps(sample(PurchaseRecorded)))
    contact = event.billing_contact.model_copy(update={"last_name": last_name})
    return event.model_copy(update={"billing_contact": contact})


async def keep_for_the_end(command: RequestRefund, work: UnitOfWork) -> None:
    await add_entry(work, await _purchase(work, command), Entry("refused", {}))


@pytest.mark.parametrize(
    "act",
    [
        add,
        remove,
        change_another,
        change_the_same_value,
        change_another_value,
        change_in_its_place,
        change_a_new_row,
        remove_what_was_changed,
        forget_what_was_changed,
        change_and_read,
        read_and_change,
        write_past_the_session,
        tell,
        keep_for_the_end,
    ],
)
async def test_a_command_that_writes_and_then_refuses_leaves_nothing(
    group: Group, act: Callable[[RequestRefund, UnitOfWork], Awaitable[None]]
) -> None:
    """The others are done once more, one by one; nothing of the refused one is committed with them."""
    purchase, _ = await group.recorded(), await group.recorded()
    async with group.sessions() as session:
        entries = await session.scalar(select(func.count()).select_from(HistoryEntry))

    async def write_and_refuse(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        await act(command, work)
        raise Refused("refused", "After writing.")

    codes = await group.together((mark, purchase), (write_and_refuse, purchase))
    assert codes == [None, "refused"]
    assert group.transactions == 3, "the batch, and each of the two alone"
    after = await group.read(purchase)
    assert (after.customer_reference, after.billing_contact["city"]) == ("marked", "marked")
    assert not after.changed_by.endswith("refused")
    async with group.sessions() as session:
        assert await session.scalar(select(Purchase.id).where(Purchase.customer_reference == "refused")) is None
        payout = await session.get_one(ManualPayout, _payout(refund(purchase)))
        assert payout.amount == 1
        assert await session.scalar(select(func.count()).select_from(HistoryEntry)) == entries
        outbox = PurchasesTables.outbox
        assert await session.scalar(select(outbox.c.id).where(outbox.c.order_key == "refused")) is None


async def test_a_command_that_only_reads_before_it_refuses_disturbs_nobody(group: Group) -> None:
    """What it reads is what the others have changed, although they had not written it yet."""
    purchase = await group.recorded()
    seen: list[str | None] = []

    async def read_and_refuse(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        of_this = select(Purchase.customer_reference).where(Purchase.reference_number == command.reference_number)
        seen.append(await work.session.scalar(of_this))
        raise Refused("refused", "After reading.")

    assert await group.together((mark, purchase), (read_and_refuse, purchase)) == [None, "refused"]
    assert seen == ["marked"]
    assert group.transactions == 1
    assert (await group.read(purchase)).customer_reference == "marked"


@pytest.mark.parametrize(("many", "updates"), [(writes.MANY, 1), (2, 2)], ids=["few", "too many to look at"])
async def test_changes_of_several_commands_go_out_together(
    group: Group, monkeypatch: pytest.MonkeyPatch, many: int, updates: int
) -> None:
    monkeypatch.setattr(writes, "MANY", many)
    purchases = [await group.recorded() for _ in range(5)]

    async def change(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        purchase = await lock_purchase(work, command)
        purchase.customer_reference = "together"
        return _done(purchase)

    async def look(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        await lock_purchase(work, command)
        raise Refused("refused", "After looking at what is locked.")

    wishes = [(change, purchase) for purchase in purchases]
    with noted_statements(group.sessions) as noted:
        codes = await group.together((look, purchases[0]), *wishes, (look, purchases[0]))
    assert codes == ["refused", *[None] * 5, "refused"]
    assert group.transactions == 1
    assert sum(text.startswith("UPDATE purchase ") for text in noted) == updates
    assert {(await group.read(purchase)).customer_reference for purchase in purchases} == {"together"}


async def test_of_three_total_refunds_in_one_batch_one_is_accepted(group: Group) -> None:
    """All three by the one statement that locked and read the purchase, and each sees the ones before it."""
    purchase = await group.recorded()

    async def ask(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        return await request_refund(work, command)

    with noted_statements(group.sessions) as noted:
        codes = await group.together(*[(ask, purchase)] * 3)
    assert codes == [None, "nothing_left_to_refund", "nothing_left_to_refund"]
    assert group.transactions == 1
    assert sum("FROM purchase " in text for text in noted) == 1
    assert sum("FROM purchase_item " in text for text in noted) == 1
    after = await group.read(purchase)
    assert after.refunded == after.paid


async def test_refunds_of_a_batch_share_the_statements_that_nobody_reads(group: Group) -> None:
    purchases = [await group.recorded() for _ in range(5)]

    async def ask(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        return await request_refund(work, command)

    with noted_statements(group.sessions) as noted:
        assert await group.together(*((ask, purchase) for purchase in purchases)) == [None] * 5
    written = ("UPDATE purchase ", "UPDATE purchase_item ", "INSERT INTO refund_line ", "INSERT INTO history_entry ")
    assert {begin: sum(text.startswith(begin) for text in noted) for begin in written} == dict.fromkeys(written, 1)
    async with group.sessions() as session:
        for purchase in purchases:
            of_this = select(HistoryEntry.subject).where(HistoryEntry.purchase_id == purchase.purchase_id)
            assert "refund.requested" in (await session.scalars(of_this)).all()


async def test_what_waits_to_be_stored_is_anonymized_too(group: Group) -> None:
    """The mail's subject and the message about it were to be stored at the end of the batch."""
    purchase = await group.recorded()

    async def write_about(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        found = await _purchase(work, command)
        await add_entry(work, found, Entry("email.sent", {"email_subject": "Dear canary"}))
        await work.publish(_news("canary"), order_key=found.id)
        return _done(found)

    async def anonymize(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        numbers = (purchase.reference_number,)
        event = CustomerAnonymized.model_validate_json(json.dumps(sample(CustomerAnonymized)))
        await anonymize_purchases(work, event.model_copy(update={"reference_numbers": numbers}))
        return _done(await _purchase(work, command))

    assert await group.together((write_about, purchase), (anonymize, purchase)) == [None, None]
    assert group.transactions == 1
    outbox = PurchasesTables.outbox
    async with group.sessions() as session:
        entries = select(HistoryEntry.facts).where(HistoryEntry.purchase_id == purchase.purchase_id)
        bodies = select(outbox.c.body).where(outbox.c.order_key == str(purchase.purchase_id))
        kept = [*map(str, (await session.scalars(entries)).all()), *map(str, (await session.scalars(bodies)).all())]
    assert len(kept) > 3
    assert not [text for text in kept if "canary" in text]


@pytest.mark.parametrize("together", [1, 2], ids=["alone", "together"])
async def test_the_relay_is_woken_by_what_is_to_be_sent_and_by_nothing_else(group: Group, together: int) -> None:
    purchase = await group.recorded()

    async def send(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        await tell(command, work)
        return _done(await _purchase(work, command))

    async def keep_still(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        return _done(await _purchase(work, command))

    async def refuse(command: RequestRefund, work: UnitOfWork) -> PurchaseChanged:
        raise Refused("refused", "At once.")

    async def woken(use_case: UseCase, *, awaited: bool) -> list[frozenset[str]]:
        outcomes = await group.outcomes(*[(use_case, purchase)] * together, awaited=awaited)
        return [outcome.woken for outcome in outcomes]

    assert await woken(send, awaited=True) == [{RELAY}] * together
    assert await woken(keep_still, awaited=True) == [frozenset()] * together
    assert await woken(refuse, awaited=True) == [frozenset()] * together
    assert await woken(refuse, awaited=False) == [{RELAY}] * together, "the error log is told"
