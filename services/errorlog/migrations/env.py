"""Alembic's way in."""

from services.errorlog.models import ErrorlogTables
from shared.migrations import run

run(ErrorlogTables.metadata)
