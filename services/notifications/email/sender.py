"""How a client's mails go out: under whose name, in which languages, and which of them at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid5

from services.notifications.email.rules import UNDO_WINDOW
from services.notifications.models import client_copy
from services.notifications.rendering.render import LANGUAGES, PLAIN, Look
from services.notifications.settings import sender_settings
from shared.contracts.directory import ClientSettings
from shared.contracts.notifications import EmailType
from shared.messaging.unit_of_work import UnitOfWork
from shared.staff.copies import settings_of

_MAILS = UUID("6d2f3c1a-58a8-5f0e-9d8b-1c9a0f6a7e21")
_SENDERS = "senders"


@dataclass(frozen=True)
class Sender:
    """A client as its customers see it in their mailboxes; docs/domain.md, "Settings of a client"."""

    name: str
    address: str
    message_id_domain: str
    languages: tuple[str, ...] = LANGUAGES
    silent: frozenset[EmailType] = frozenset()
    """Mails that the client does not want."""
    look: Look = PLAIN
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    """Who gets a copy of each mail, openly and not."""

    def message_id(self, source_message_id: UUID, email_type: str) -> str:
        """The Message-ID of the mail that an event makes: the same one whenever it is made."""
        return f"<{uuid5(_MAILS, f'{source_message_id}/{email_type}')}@{self.message_id_domain}>"

    def copies(self, recipient: str) -> tuple[list[str], list[str]]:
        """Cc and Bcc of a mail to this recipient: nobody gets it twice."""
        cc = _others(self.cc, recipient)
        return cc, _others(self.bcc, recipient, *cc)


async def sender_of(work: UnitOfWork) -> Sender:
    """The sender for a client; what the client has not said comes from this service's settings.

    Read once in a transaction: the mails that are made together look alike.
    """
    senders: dict[str, Sender] = work.session.info.setdefault(_SENDERS, {})
    client_id = work.context.client_id
    if client_id not in senders:
        senders[client_id] = _sender(await settings_of(work.session, client_copy, client_id))
    return senders[client_id]


def _sender(client: ClientSettings | None) -> Sender:
    own = sender_settings()
    domain = own.message_id_domain or own.sender_address.rpartition("@")[2]
    if client is None:
        return Sender(own.sender_name, own.sender_address, domain)
    unwanted = {
        EmailType.RECEIPT: not client.switches.receipts,
        EmailType.REFUND_CONFIRMATION: not client.switches.refund_confirmations,
    }
    return Sender(
        client.sender_name or client.name,
        client.sender_address or own.sender_address,
        domain,
        client.languages,
        frozenset(email_type for email_type, no in unwanted.items() if no),
        Look(client.logo_url, client.footer),
        client.cc,
        client.bcc,
    )


async def undo_window(work: UnitOfWork) -> timedelta:
    """How long a mail that a person queues can still be held."""
    client = await settings_of(work.session, client_copy, work.context.client_id)
    return UNDO_WINDOW if client is None else timedelta(minutes=client.undo_window_minutes)


def _others(addresses: Sequence[str], *named: str) -> list[str]:
    """Addresses that do not get the mail anyway."""
    known = {address.casefold() for address in named}
    return [address for address in addresses if address.casefold() not in known]
