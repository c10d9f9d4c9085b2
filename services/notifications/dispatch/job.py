"""The dispatcher: takes due mails, hands them to the SMTP server outside any transaction, writes down the outcome."""

import socket
from collections.abc import Callable
from datetime import timedelta

from services.notifications.dispatch.rules import Answer, Outcome
from services.notifications.dispatch.settle import settle
from services.notifications.dispatch.store import ACTOR, Taken
from services.notifications.dispatch.take import take_due
from services.notifications.email.store import DISPATCH
from services.notifications.settings import Settings
from services.notifications.smtp.transport import MailTransport, SmtpServer, SmtpTransport
from shared.errors import Unavailable
from shared.failpoints import failpoint
from shared.messaging.leased_job import Capacity, LeasedJob
from shared.messaging.service import Runtime
from shared.observability.logs import logger

DispatchJob = LeasedJob[Settings, Taken, Answer]


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


def dispatch_job(open_transport: Callable[[Settings], MailTransport] = smtp_transport) -> DispatchJob:
    """Sends what is due, as many mails side by side as there are connections, with as many more at hand.

    A mail that waits too long for a connection is put back, so that its lease outlives the talk with the server.
    While the server cannot be talked to, mails wait and none of them is blamed.
    """
    dispatcher = Dispatcher(open_transport)
    return LeasedJob(
        DISPATCH,
        actor=ACTOR,
        capacity=_capacity,
        take=take_due,
        act=dispatcher.hand_over,
        settle=settle,
        outside="smtp",
        probe=dispatcher.probe,
        close=dispatcher.close,
    )


class Dispatcher:
    """This process's connections to the SMTP server, opened when the first mail is to go."""

    def __init__(self, open_transport: Callable[[Settings], MailTransport]) -> None:
        self._open_transport = open_transport
        self._transport: MailTransport | None = None

    async def hand_over(self, runtime: Runtime[Settings], taken: Taken) -> Answer:
        """What the server says of a mail. Raises Unavailable where it cannot be talked to."""
        failpoint("email_sending")
        try:
            answer = await self._opened(runtime).deliver(taken.mail)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one mail that breaks the code must not stop the others
            logger().error("email_not_sent", correlation_id=str(taken.email_id), error=error)
            return Answer(Outcome.UNKNOWN, None, type(error).__name__)
        if answer.is_accepted:
            failpoint("smtp_accepted")
        return answer

    async def probe(self, runtime: Runtime[Settings]) -> None:
        """Raises Unavailable unless the server can be talked to."""
        await self._opened(runtime).probe()

    async def close(self) -> None:
        """Close the connections."""
        if self._transport is not None:
            await self._transport.close()

    def _opened(self, runtime: Runtime[Settings]) -> MailTransport:
        if self._transport is None:
            self._transport = self._open_transport(runtime.settings)
        return self._transport


def _capacity(settings: Settings) -> Capacity:
    connections = settings.dispatch_concurrency
    return Capacity(
        at_once=connections,
        ahead=connections,
        lease=timedelta(seconds=settings.dispatch_lease_seconds),
        start_within=timedelta(seconds=settings.smtp_timeout_seconds),
    )
