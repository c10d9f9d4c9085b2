"""What the error log takes from the broker."""

from services.errorlog import anonymize, complete, log, view
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.errorlog import (
    CompleteError,
    ErrorChanged,
    ErrorPage,
    ErrorRaised,
    ErrorView,
    GetError,
    ListErrors,
)
from shared.messaging.dead_letter import DeadLetter
from shared.messaging.handlers import Handlers
from shared.messaging.unit_of_work import UnitOfWork

handlers = Handlers("errorlog")


@handlers.event(ErrorRaised, pattern="*.error.raised.v1")
async def on_error_raised(event: ErrorRaised, work: UnitOfWork) -> None:
    await log.log_error(work, event)


@handlers.event(CustomerAnonymized, lane=lambda event: str(event.customer_id))
async def on_customer_anonymized(event: CustomerAnonymized, work: UnitOfWork) -> None:
    await anonymize.anonymize_errors(work, event)


@handlers.command(CompleteError, lane=lambda command: str(command.error_id))
async def complete_error(command: CompleteError, work: UnitOfWork) -> ErrorChanged:
    return await complete.complete_error(work, command)


@handlers.query(ListErrors)
async def list_errors(query: ListErrors, work: UnitOfWork) -> ErrorPage:
    return await view.list_errors(work, query)


@handlers.query(GetError)
async def get_error(query: GetError, work: UnitOfWork) -> ErrorView:
    return await view.get_error(work, query)


async def on_dead_letter(letter: DeadLetter, work: UnitOfWork) -> None:
    await log.log_dead_letter(work, letter)
