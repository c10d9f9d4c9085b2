"""Talking to a real SMTP server: every answer is understood, connections are kept, passwords stay safe."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from services.notifications.dispatch.rules import Outcome
from services.notifications.smtp.mime import OutgoingMail
from services.notifications.smtp.transport import SmtpServer as Server
from services.notifications.smtp.transport import SmtpTransport
from shared.errors import Unavailable
from tests.integration.notifications.smtp_server import SmtpServer, running


@pytest.fixture
async def transport(smtp: SmtpServer) -> AsyncIterator[SmtpTransport]:
    transport = connect(f"smtp://127.0.0.1:{smtp.port}")
    yield transport
    await transport.close()


def connect(url: str, *, timeout: float = 2.0, connections: int = 4, ca_file: Path | None = None) -> SmtpTransport:
    server = Server.from_url(url)
    return SmtpTransport(server, connections=connections, timeout=timeout, mails_per_connection=3, ca_file=ca_file)


def mail(local_part: str = "ok", *, text: str = "Hello.\n.\n") -> OutgoingMail:
    return OutgoingMail(
        email_id=uuid4(),
        message_id_header=f"<{uuid4()}@mail.example.com>",
        sender_name="Northwind",
        sender_address="service@example.com",
        recipient=f"{local_part}@example.com",
        subject="Your receipt",
        language="en",
        text=text,
        html="<p>Hello.</p>\n",
        sent_at=datetime.now(UTC),
    )


@pytest.mark.parametrize(
    ("local_part", "outcome", "code"),
    [
        ("ok", Outcome.ACCEPTED, 250),
        ("unknown", Outcome.PERMANENT, 550),
        ("greylist", Outcome.TRANSIENT, 451),
        ("full", Outcome.TRANSIENT, 452),
        ("spam", Outcome.PERMANENT, 554),
        ("hangup", Outcome.TRANSIENT, None),
        ("drop", Outcome.UNKNOWN, None),
        ("taken", Outcome.UNKNOWN, None),
    ],
)
async def test_what_the_server_does_is_understood(
    transport: SmtpTransport, local_part: str, outcome: Outcome, code: int | None
) -> None:
    answer = await transport.deliver(mail(local_part))
    assert (answer.outcome, answer.code) == (outcome, code)
    after = await transport.deliver(mail())
    assert after.outcome is Outcome.ACCEPTED


async def test_a_refusal_is_kept_without_the_address(transport: SmtpTransport) -> None:
    answer = await transport.deliver(mail("unknown"))
    assert answer.detail == "5.1.1 <address>: user unknown"


async def test_what_arrives_is_byte_for_byte_what_was_built(smtp: SmtpServer, transport: SmtpTransport) -> None:
    sent = mail(text=".\n..dots\n" + "long " * 500 + "\n")
    await transport.deliver(sent)
    assert smtp.received[0].content == sent.content()


async def test_a_server_that_is_slow_to_answer_leaves_the_outcome_unknown(smtp: SmtpServer) -> None:
    smtp.slow_seconds = 1.0
    impatient = connect(f"smtp://127.0.0.1:{smtp.port}", timeout=0.3)
    answer = await impatient.deliver(mail("slow"))
    assert answer.outcome is Outcome.UNKNOWN
    await impatient.close()


async def test_one_slow_mail_does_not_hold_up_the_others(smtp: SmtpServer, transport: SmtpTransport) -> None:
    smtp.slow_seconds = 1.0
    slow = asyncio.create_task(transport.deliver(mail("slow")))
    await asyncio.sleep(0)
    answers = await asyncio.gather(*(transport.deliver(mail()) for _ in range(6)))
    assert not slow.done()
    assert [answer.outcome for answer in answers] == [Outcome.ACCEPTED] * 6
    assert (await slow).outcome is Outcome.ACCEPTED


async def test_a_mail_that_is_too_large_is_refused_for_good(smtp: SmtpServer, transport: SmtpTransport) -> None:
    smtp.size_limit = 1_000
    answer = await transport.deliver(mail(text="x" * 2_000))
    assert (answer.outcome, answer.code) == (Outcome.PERMANENT, 552)
    assert smtp.received == []


async def test_a_connection_is_used_for_several_mails_and_then_renewed(smtp: SmtpServer) -> None:
    single = connect(f"smtp://127.0.0.1:{smtp.port}", connections=1)
    for _ in range(7):
        assert (await single.deliver(mail())).outcome is Outcome.ACCEPTED
    assert smtp.connections == 3
    await single.close()


async def test_a_kept_connection_that_died_costs_no_attempt(smtp: SmtpServer, transport: SmtpTransport) -> None:
    await transport.deliver(mail())
    await smtp.stop()
    await smtp.start()
    assert (await transport.deliver(mail())).outcome is Outcome.ACCEPTED
    assert len(smtp.received) == 2


@pytest.mark.parametrize("words", ["", "421 4.7.0 too many mails on this connection"])
async def test_a_server_that_ends_a_kept_connection_costs_no_attempt(
    smtp: SmtpServer, transport: SmtpTransport, words: str
) -> None:
    smtp.second_mail = words
    for _ in range(3):
        assert (await transport.deliver(mail())).outcome is Outcome.ACCEPTED
    assert smtp.connections == 3


async def test_no_server_is_no_answer(smtp: SmtpServer, transport: SmtpTransport) -> None:
    await smtp.stop()
    with pytest.raises(Unavailable):
        await transport.deliver(mail())
    with pytest.raises(Unavailable):
        await transport.probe()


@pytest.mark.parametrize("greeting", ["421 4.3.2 shutting down", "554 no service for you"])
async def test_a_server_that_does_not_want_to_talk_is_no_answer(
    smtp: SmtpServer, transport: SmtpTransport, greeting: str
) -> None:
    smtp.greeting = greeting
    with pytest.raises(Unavailable, match=greeting[:3]):
        await transport.deliver(mail())


async def test_a_refused_sender_blames_no_mail(smtp: SmtpServer, transport: SmtpTransport) -> None:
    smtp.sender_refused = "550 5.7.1 <service@example.com> may not send here"
    with pytest.raises(Unavailable) as refused:
        await transport.deliver(mail())
    assert "service@example.com" not in str(refused.value)
    smtp.sender_refused = None
    assert (await transport.deliver(mail())).outcome is Outcome.ACCEPTED


async def test_a_wrong_password_blames_no_mail_and_is_not_told(smtp: SmtpServer) -> None:
    wrong = connect(f"smtp://shop:hunter2@127.0.0.1:{smtp.port}")
    with pytest.raises(Unavailable, match="535") as refused:
        await wrong.deliver(mail())
    assert "hunter2" not in str(refused.value)
    right = connect(f"smtp://shop:right@127.0.0.1:{smtp.port}")
    assert (await right.deliver(mail())).outcome is Outcome.ACCEPTED
    assert set(smtp.logged_in) == {b"shop"}
    await right.close()


async def test_an_international_address_needs_a_server_that_takes_it(
    smtp: SmtpServer, transport: SmtpTransport
) -> None:
    international = replace(mail(), recipient="jäne@example.com")
    assert (await transport.deliver(international)).outcome is Outcome.ACCEPTED
    assert smtp.received[0].recipient == "jäne@example.com"
    smtp.international = False
    await transport.close()
    answer = await transport.deliver(international)
    assert answer.outcome is Outcome.PERMANENT
    assert len(smtp.received) == 1


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that only those who are told of it trust."""
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", "-x509", *options, *names, "-keyout", file, "-out", file.with_suffix(".crt")],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
async def test_tls_is_used_and_the_certificate_is_checked(certificate: Path, scheme: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with running(SmtpServer(tls=context, implicit_tls=scheme == "smtps")) as smtp:
        url = f"{scheme}://shop:right@127.0.0.1:{smtp.port}"
        trusting = connect(url, ca_file=certificate.with_suffix(".crt"))
        assert (await trusting.deliver(mail())).outcome is Outcome.ACCEPTED
        with pytest.raises(Unavailable, match="certificate"):
            await connect(url).deliver(mail())
        assert len(smtp.received) == 1
        await trusting.close()


async def test_nothing_is_said_in_plain_text_where_tls_was_asked_for(smtp: SmtpServer) -> None:
    stripped = connect(f"smtp+starttls://shop:right@127.0.0.1:{smtp.port}")
    with pytest.raises(Unavailable, match="STARTTLS"):
        await stripped.deliver(mail())
    assert smtp.logged_in == []
    assert smtp.received == []
