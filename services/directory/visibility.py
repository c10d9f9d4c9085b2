"""The one place that keeps clients apart."""

from sqlalchemy import ColumnElement
from sqlalchemy.orm import InstrumentedAttribute

from shared.messaging.principals import ALL_CLIENTS
from shared.messaging.work import Work


def of_client(work: Work, column: InstrumentedAttribute[str]) -> list[ColumnElement[bool]]:
    """Only this client's rows; all of them in all-clients mode."""
    return [] if work.origin.client_id == ALL_CLIENTS else [column == work.origin.client_id]
