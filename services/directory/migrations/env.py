"""Alembic's entry for the directory's database."""

from services.directory.models import DirectoryTables
from shared.migrations import run

run(DirectoryTables.metadata)
