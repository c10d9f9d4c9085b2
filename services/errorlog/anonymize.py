"""Removing personal data from errors when the customers service says so; docs/domain.md, "Removing personal data".

A failed message is recognized by the purchase's reference number, by the seller's order number (it may have failed
before there was a reference number), or by the customer's id.
"""

from services.errorlog.models import ErrorEntry, ErrorlogTables
from services.errorlog.rules import order_of, subjects_of, without_names
from services.errorlog.store import (
    anonymize_message,
    entries_of,
    forget_subjects,
    lock_entries,
    read_bodies,
)
from shared.contracts.customers import CustomerAnonymized
from shared.contracts.personal import REMOVED
from shared.messaging.anonymization import anonymize_outbox
from shared.messaging.unit_of_work import UnitOfWork


async def anonymize_errors(work: UnitOfWork, event: CustomerAnonymized) -> None:
    """Errors about these purchases and messages that failed because of them tell of nobody any more."""
    client = work.context.client_id
    orders = (order_of(client, order) for order in event.client_order_ids)
    subjects = {str(event.customer_id), *event.reference_numbers, *orders}
    await forget_subjects(work, sorted(subjects))
    entries = await entries_of(work, event.reference_numbers)
    async for failed in read_bodies(work, entries):
        if failed.entry_id in entries or subjects_of(client, failed.reference_number, failed.body) & subjects:
            entries.add(failed.entry_id)
            await anonymize_message(work, failed)
    for entry in await lock_entries(work, entries):
        _anonymize(entry)
    await anonymize_outbox(work.session, ErrorlogTables.outbox, event.reference_numbers)


def _anonymize(entry: ErrorEntry) -> None:
    entry.note = REMOVED if entry.note else None
    entry.completion_note = REMOVED if entry.completion_note else None
    entry.completion_reason = REMOVED if entry.completion_reason else None
    entry.facts = without_names(entry.facts)
