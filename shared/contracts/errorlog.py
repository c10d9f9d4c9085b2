"""What the error log receives, answers and publishes. Every service may raise errors; see `error_raised`."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from shared.contracts.message import Command, Data, Event, Query
from shared.contracts.values import ClientId, Cursor, Line, Moment, Note, PageSize, ReferenceNumber, Version

ErrorType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
"""Known types are in docs/domain.md, "Error types"; a service may bring its own."""


class ErrorSource(StrEnum):
    RAISED = "raised"
    """A service told of a business error."""
    DEAD_LETTER = "dead_letter"
    """A message that could not be handled."""


class ErrorState(StrEnum):
    OPEN = "open"
    DONE = "done"


class ErrorRaised(Event):
    """Something went wrong that a person may have to mend. Every service publishes its own under its own key."""

    error_type: ErrorType
    title: Line
    note: Note | None = None
    reference_number: ReferenceNumber | None = None
    item_number: Annotated[int, Field(ge=1)] | None = None
    client_handles_error: bool = False
    fingerprint: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """Errors with the same fingerprint have the same cause; without one the type decides. While an entry is open,
    repeats with the same cause, reference number and item are counted there."""
    facts: dict[str, str | int | bool | None] = Field(default_factory=dict)


class PurchasesErrorRaised(ErrorRaised, key="purchases.error.raised.v1"):
    """An error of the purchases service."""


class NotificationsErrorRaised(ErrorRaised, key="notifications.error.raised.v1"):
    """An error of the notifications service."""


class CustomersErrorRaised(ErrorRaised, key="customers.error.raised.v1"):
    """An error of the customers service."""


class DirectoryErrorRaised(ErrorRaised, key="directory.error.raised.v1"):
    """An error of the directory."""


class ErrorChanged(Data):
    error_id: UUID
    state: ErrorState
    version: Version


class CompleteError(Command, key="errorlog.error.complete.v1", reply=ErrorChanged):
    """Mark an error as mended."""

    error_id: UUID
    note: Note | None = None
    expected_version: Version | None = None


class ErrorRow(Data):
    error_id: UUID
    client_id: ClientId
    """`platform` for errors that belong to no seller."""
    source: ErrorSource
    error_type: str
    title: str
    reference_number: str | None
    item_number: int | None
    client_handles_error: bool
    service: str
    state: ErrorState
    version: Version
    occurrences: int
    """How often the same trouble came while the entry was open."""
    first_seen: Moment
    last_seen: Moment


class ErrorPage(Data):
    rows: tuple[ErrorRow, ...]
    next_cursor: str | None


class ListErrors(Query, key="errorlog.error.list.v1", reply=ErrorPage):
    """Errors, newest first."""

    state: ErrorState | None = ErrorState.OPEN
    error_type: ErrorType | None = None
    reference_number: ReferenceNumber | None = None
    limit: PageSize = 25
    cursor: Cursor | None = None


class ErrorView(ErrorRow):
    fingerprint: str
    note: str | None
    facts: dict[str, str | int | bool | None]
    message_id: str | None
    correlation_id: str | None
    routing_key: str | None
    queue: str | None
    headers: dict[str, str] = Field(default_factory=dict)
    body: str | None
    """The failed message as text, card numbers masked; missing where it is not text."""
    completed_by: str | None
    completed_at: Moment | None
    completion_note: str | None
    completion_reason: str | None = None
    """The reason in the header of the message that completed it."""


class GetError(Query, key="errorlog.error.get.v1", reply=ErrorView):
    """One error with all that is known about it."""

    error_id: UUID


class ErrorLogged(Event, key="errorlog.error.logged.v1"):
    """A new entry stands in the error log. Repeats of an open error publish nothing."""

    error_id: UUID
    error_type: str
    source: ErrorSource
    service: str
    title: str
    reference_number: str | None = None


class ErrorCompleted(Event, key="errorlog.error.completed.v1"):
    """Somebody marked an error as mended."""

    error_id: UUID
    error_type: str
    reference_number: str | None = None
    completed_by: str
