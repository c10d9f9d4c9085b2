"""Alembic's way into the tables of the purchases service."""

from services.purchases.models import PurchasesTables
from shared.migrations import run

run(PurchasesTables.metadata)
