"""Alembic's way into the tables of the customers service."""

from services.customers.models import CustomersTables
from shared.migrations import run

run(CustomersTables.metadata)
