"""The one place that keeps clients apart."""

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from shared.contracts.values import ALL_CLIENTS
from shared.messaging.unit_of_work import UnitOfWork


def of_client(work: UnitOfWork, column: InstrumentedAttribute[str]) -> list[ColumnElement[bool]]:
    """Only this client's rows; all of them in all-clients mode."""
    return [] if work.context.client_id == ALL_CLIENTS else [column == work.context.client_id]
