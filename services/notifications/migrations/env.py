"""Alembic's way into the tables of the notifications service."""

from services.notifications.models import NotificationsTables
from shared.migrations import run

run(NotificationsTables.metadata)
