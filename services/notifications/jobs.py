"""The dispatcher: takes due mails, hands them to the SMTP server outside any transaction, writes down the outcome."""

import asyncio
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from services.notifications import dispatch, sending
from services.notifications.dispatch import Settled, Taken
from services.notifications.domain import Answer, Outcome
from services.notifications.settings import Settings
from services.notifications.transport import MailTransport, SmtpServer, SmtpTransport
from shared.errors import Unavailable
from shared.failpoints import failpoint
from shared.ids import new_id
from shared.messaging.message_context import MessageContext
from shared.messaging.service import Runtime
from shared.observability.logs import logger

_ROUND_SECONDS: Final = 2.0
"""After this time a round takes no more, so that a stopping service need not wait long for it."""
_LOOK_AGAIN_SECONDS: Final = 0.5
_COLLECT_SECONDS: Final = 0.02
"""So long an answer waits for others while every connection is busy: they share a transaction."""
_IN_HAND_PER_CONNECTION: Final = 2
"""One is talked about while the next waits, so that no connection waits for the database."""


def smtp_transport(settings: Settings) -> MailTransport:
    """The SMTP server of the settings."""
    return SmtpTransport(
        SmtpServer.from_url(settings.smtp_url.get_secret_value()),
        connections=settings.dispatch_concurrency,
        timeout=settings.smtp_timeout_seconds,
        mails_per_connection=settings.smtp_mails_per_connection,
        ca_file=settings.smtp_ca_file,
        local_hostname=socket.gethostname(),
    )


class Dispatcher:
    """Sends what is due, as many mails side by side as there are connections, with the next ones at hand.

    One transaction writes down the answers that are there and takes the next mails. Connections, mails in hand and
    what is known of the SMTP server outlive a round. `woken` is set when there may be a new mail: while a connection
    is free it is taken at once, and waits for no answer to another one.
    """

    def __init__(self, open_transport: Callable[[Settings], MailTransport] = smtp_transport) -> None:
        self.woken = asyncio.Event()
        self._open_transport = open_transport
        self._transport: MailTransport | None = None
        self._connections = asyncio.Semaphore(0)
        self._stopping = False
        self._in_hand: dict[asyncio.Task[Settled], Taken] = {}
        self._trouble: Unavailable | None = None

    async def round(self, runtime: Runtime[Settings]) -> int:
        """Send due mails for a while; returns how many were taken.

        Raises Unavailable while the SMTP server cannot be talked to: mails wait, and none of them is blamed.
        """
        if self._transport is None:
            self._transport = self._open_transport(runtime.settings)
            self._connections = asyncio.Semaphore(runtime.settings.dispatch_concurrency)
        if self._trouble is not None and not self._in_hand:
            await self._transport.probe()
            self._note(None)
        try:
            taken = await self._dispatch(runtime, self._transport)
        except asyncio.CancelledError:
            await self._finish(runtime, self._transport)
            raise
        if self._trouble is not None:
            raise Unavailable(str(self._trouble))
        return taken

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.close()

    async def _dispatch(self, runtime: Runtime[Settings], transport: MailTransport) -> int:
        taken, until, is_more_due = 0, time.monotonic() + _ROUND_SECONDS, True
        while True:
            waiting = sum(not task.done() for task in self._in_hand)
            room = 0
            if self._may_take(until) and (waiting or is_more_due or self.woken.is_set()):
                room = runtime.settings.dispatch_concurrency * _IN_HAND_PER_CONNECTION - waiting
                self.woken.clear()
            found = await self._turn(runtime, transport, room)
            taken, is_more_due = taken + found, found == room
            if not self._in_hand:
                return taken
            await self._answers(_LOOK_AGAIN_SECONDS, wakes=self._may_take(until))

    def _may_take(self, until: float) -> bool:
        return self._trouble is None and time.monotonic() < until

    async def _turn(self, runtime: Runtime[Settings], transport: MailTransport, room: int) -> int:
        """Settle what has an answer and take what is due, in one transaction.

        Should the database be away, the answers are kept for the next round.
        """
        done = [task for task in self._in_hand if task.done()]
        if not done and not room:
            return 0
        lease = timedelta(seconds=runtime.settings.dispatch_lease_seconds)
        async with runtime.work(_context()) as work:
            if done:
                await dispatch.settle(work, [task.result() for task in done])
            mails = await dispatch.take_due(work, room, lease) if room else []
        for task in done:
            del self._in_hand[task]
        start_by = time.monotonic() + runtime.settings.smtp_timeout_seconds
        for mail in mails:
            failpoint("email_sending")
            self._in_hand[asyncio.create_task(self._deliver(transport, mail, start_by))] = mail
        return len(mails)

    async def _deliver(self, transport: MailTransport, taken: Taken, start_by: float) -> Settled:
        """Hand a mail over once a connection is free; one that waited too long for its lease is put back."""
        async with self._connections:
            if self._trouble is not None or self._stopping or time.monotonic() > start_by:
                return Settled(taken, None)
            return await self._hand_over(transport, taken)

    async def _hand_over(self, transport: MailTransport, taken: Taken) -> Settled:
        try:
            answer = await transport.deliver(taken.mail)
        except Unavailable as trouble:
            self._note(trouble)
            return Settled(taken, None)
        except Exception as error:  # noqa: BLE001 - one mail that breaks the code must not stop the others
            logger().error("email_not_sent", correlation_id=str(taken.email_id), error=error)
            return Settled(taken, Answer(Outcome.UNKNOWN, None, type(error).__name__))
        if answer.outcome is Outcome.ACCEPTED:
            failpoint("smtp_accepted")
        return Settled(taken, answer)

    async def _answers(self, wait: float | None, *, wakes: bool) -> None:
        """Wait for an answer, or for news of a mail while a connection is free for it.

        While none is, an answer waits a moment for those that follow at its heels.
        """
        if self._connections.locked():
            done, waiting = await asyncio.wait(self._in_hand, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
            if done and waiting:
                await asyncio.wait(waiting, timeout=_COLLECT_SECONDS)
            return
        news = [asyncio.create_task(self.woken.wait())] if wakes else []
        await asyncio.wait((*self._in_hand, *news), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        for task in news:
            task.cancel()

    async def _finish(self, runtime: Runtime[Settings], transport: MailTransport) -> None:
        """Whoever is stopped waits for the answers to what was said already, and writes them down."""
        self._stopping = True
        while self._in_hand:
            await self._answers(None, wakes=False)
            await self._turn(runtime, transport, 0)
        await self.close()

    def _note(self, trouble: Unavailable | None) -> None:
        if trouble is not None and self._trouble is None:
            logger().error("smtp_unavailable", dependency="smtp", text=str(trouble))
        if trouble is None and self._trouble is not None:
            logger().info("smtp_available", dependency="smtp")
        self._trouble = trouble


def _context() -> MessageContext:
    return MessageContext(client_id="*", actor=sending.ACTOR, message_id=None, correlation_id=str(new_id()))
