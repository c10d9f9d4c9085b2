"""What the services' databases hold of the purchases that were sent, read past the services by SQL."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg

from tools.demo.journal import Journal
from tools.demo.mails import CONFIRMATION, RECEIPT

_CONNECT_SECONDS: Final = 10
_KINDS: Final = {"REC_CU": RECEIPT, "REF_CU": CONFIRMATION}

_PURCHASES: Final = """
SELECT client_order_id, reference_number, gross, paid, currency, billing_contact ->> 'email', created_at >= $3
FROM purchase WHERE client_id = $1 AND client_order_id = ANY ($2)
"""
_REFUNDS: Final = """
SELECT r.id::text, r.client_refund_id, p.client_order_id, r.amount, p.currency, r.state, r.notify_customer,
    r.requested_at >= $3
FROM refund r JOIN purchase p ON p.id = r.purchase_id
WHERE p.client_id = $1 AND p.client_order_id = ANY ($2)
"""
_EMAILS: Final = """
SELECT message_id_header, email_type, reference_number, recipient, state, created_at >= $3
FROM email WHERE client_id = $1 AND reference_number = ANY ($2)
"""
_ERRORS: Final = """
SELECT error_type, count(*) FROM error_entry WHERE client_id IN ($1, 'platform') AND last_seen >= $2 GROUP BY 1
"""


class Databases:
    """Reads the databases of purchases, notifications and error log."""

    def __init__(self, urls: Mapping[str, str], client_id: str) -> None:
        self._urls = urls
        self._client_id = client_id

    async def now(self) -> datetime:
        """The database's clock: what is younger was made by this run."""
        connection = await self._connect("purchases")
        try:
            moment = await connection.fetchval("SELECT now()")
        finally:
            await connection.close()
        if not isinstance(moment, datetime):
            raise TypeError("the database tells no time")
        return moment

    async def read_purchases(self, journal: Journal, since: datetime) -> None:
        """Copy the purchases that were accepted, with all their refunds, into the journal."""
        connection = await self._connect("purchases")
        try:
            for order_ids in journal.accepted_orders():
                purchases = await connection.fetch(_PURCHASES, self._client_id, order_ids, since)
                journal.add_rows("stored_purchase", [tuple(row) for row in purchases])
                refunds = await connection.fetch(_REFUNDS, self._client_id, order_ids, since)
                journal.add_rows("stored_refund", [tuple(row) for row in refunds])
        finally:
            await connection.close()

    async def read_emails(self, journal: Journal, since: datetime) -> None:
        """Copy the mails about these purchases into the journal."""
        connection = await self._connect("notifications")
        try:
            for reference_numbers in journal.reference_numbers():
                emails = await connection.fetch(_EMAILS, self._client_id, reference_numbers, since)
                journal.add_rows("stored_email", [_email(row) for row in emails])
        finally:
            await connection.close()

    async def errors(self, since: datetime) -> Counter[str]:
        """Entries of the error log that this run made or repeated, by type."""
        connection = await self._connect("errorlog")
        try:
            return Counter({row[0]: row[1] for row in await connection.fetch(_ERRORS, self._client_id, since)})
        finally:
            await connection.close()

    async def _connect(self, service: str) -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(self._urls[service], timeout=_CONNECT_SECONDS)


def _email(row: "asyncpg.Record") -> tuple[Any, ...]:
    message_id, email_type, *rest = row
    return (message_id, _KINDS.get(email_type, email_type), *rest)
