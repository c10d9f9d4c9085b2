"""One hop, written with our plumbing: `ledger` books a deposit and tells of it, `tally` listens.

The smallest two services that do what every real hop does: command, inbox, a change, outbox, relay, inbox, a row.
Run as `python -m benchmarks.hop ledger` and `python -m benchmarks.hop tally`.
"""

import sys
from collections.abc import Hashable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

import uvloop
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from sqlalchemy import BigInteger, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from shared.contracts.message import Command, Data, Event, Message
from shared.contracts.values import Line
from shared.database import ServiceTables
from shared.messaging.handlers import Handlers
from shared.messaging.host.service_host import ServiceHost
from shared.messaging.message_context import MessageContext
from shared.messaging.service import Service
from shared.messaging.unit_of_work import UnitOfWork
from shared.observability.logs import configure
from shared.settings import ServiceSettings

ACCOUNTS: Final = 1000


class LedgerTables(ServiceTables):
    __abstract__ = True


class TallyTables(ServiceTables):
    __abstract__ = True


class Account(LedgerTables):
    """A record that commands change."""

    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger)
    version: Mapped[int]


class Entry(TallyTables):
    """What the listener writes: an event that has come all the way."""

    __tablename__ = "entry"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account: Mapped[int]
    began: Mapped[float]
    """When its command was sent (Unix time)."""
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class Booked(Data):
    account: int
    version: int


class BookDeposit(Command, key="ledger.deposit.book.v1", reply=Booked):
    account: Annotated[int, Field(ge=1, le=ACCOUNTS)]
    amount: Annotated[int, Field(ge=1)]
    began: float
    note: Line


class DepositBooked(Event, key="ledger.deposit.booked.v1"):
    account: int
    amount: int
    began: float
    note: Line


class LedgerSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="LEDGER_")


class TallySettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="TALLY_")


_ledger = Handlers("ledger")
_tally = Handlers("tally")


@_ledger.command(BookDeposit, lane=lambda command: str(command.account))
async def book_deposit(command: BookDeposit, work: UnitOfWork) -> Booked:
    account = work.locked(Account, command.account)
    if account is None:
        account = await work.session.get_one(Account, command.account, with_for_update=True, populate_existing=True)
    account.balance += command.amount
    account.version += 1
    event = DepositBooked(account=command.account, amount=command.amount, began=command.began, note=command.note)
    await work.publish(event, order_key=str(command.account))
    return Booked(account=account.id, version=account.version)


@_tally.event(DepositBooked)
async def on_deposit_booked(event: DepositBooked, work: UnitOfWork) -> None:
    assert work.context.message_id is not None  # noqa: S101 - the plumbing refuses events without an id
    work.session.add(Entry(id=work.context.message_id, account=event.account, began=event.began))


async def lock_accounts(
    session: AsyncSession, messages: Sequence[tuple[Message, MessageContext]]
) -> dict[Hashable, object]:
    """Lock and read the accounts of a batch in the order of their numbers, as every real service of the kind does."""
    numbers = {message.account for message, _ in messages if isinstance(message, BookDeposit)}
    wanted = select(Account).where(Account.id.in_(numbers)).order_by(Account.id).with_for_update()
    accounts = await session.scalars(wanted.execution_options(populate_existing=True))
    return {account.id: account for account in accounts}


LEDGER: Final = Service(
    name="ledger",
    settings=LedgerSettings,
    tables=LedgerTables,
    handlers=_ledger,
    lock_records=lock_accounts,
    package="benchmarks.hop",
)
TALLY: Final = Service(
    name="tally", settings=TallySettings, tables=TallyTables, handlers=_tally, package="benchmarks.hop"
)


def main(name: str) -> int:
    """Run one of the two until SIGTERM."""
    service: Service[Any] = LEDGER if name == LEDGER.name else TALLY
    settings = service.settings.load()
    configure(service.name, settings.log_level)
    return uvloop.run(ServiceHost(service, settings).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
