"""A message on which the pipeline breaks in a way that nobody foresaw: it gets a place, and is acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import aio_pika
import pytest
from pydantic import SecretStr

from services.errorlog.app import service as errorlog
from services.errorlog.settings import ErrorlogSettings
from services.purchases.app import service as purchases
from services.purchases.settings import Settings
from shared.messaging import names
from shared.messaging.host.service_host import ServiceHost
from shared.messaging.inbound import dead_letter_pipeline, last_resort, message_pipeline
from tests.support.system import System
from tests.support.wait import stays_so, wait_until

KEY = "purchases.refund.request.v1"
CARD = "4111111111111111"


def _breaks(error: Exception) -> Callable[..., NoReturn]:
    def unforeseen(*_given: Any, **_named: Any) -> NoReturn:
        raise error

    return unforeseen


@asynccontextmanager
async def _consuming(host: ServiceHost[Any]) -> AsyncIterator[None]:
    running = asyncio.create_task(host.consumers.run())
    try:
        await wait_until(lambda: host.consumers.is_consuming, what="it consumes")
        yield
    finally:
        running.cancel()
        await host.consumers.stop(1)
        await host.publisher.close()


def _purchases(system: System) -> ServiceHost[Any]:
    return ServiceHost(
        purchases,
        Settings(
            database_url=SecretStr(system.database_url("purchases")), amqp_url=SecretStr(system.amqp_url("purchases"))
        ),
    )


def _errorlog(system: System) -> ServiceHost[Any]:
    return ServiceHost(
        errorlog,
        ErrorlogSettings(
            database_url=SecretStr(system.database_url("errorlog")), amqp_url=SecretStr(system.amqp_url("errorlog"))
        ),
    )


async def _send(system: System) -> None:
    async with system.peer("checkout") as checkout:
        await checkout.send(KEY, b'{"remark": "%s"}' % CARD.encode())


async def _depths(system: System) -> dict[str, tuple[int, int]]:
    return await asyncio.to_thread(system.queue_depths)


async def _only_in(system: System, queue: str) -> dict[str, Any]:
    """The one message there is, when nothing else waits and nobody has anything in hand."""

    async def alone() -> bool:
        return await _depths(system) == {queue: (1, 0)}

    await wait_until(alone, 20, what=f"one message in {queue}, nothing unacknowledged")
    (message,) = await system.until_in(queue)
    assert message["properties"]["headers"]["x-aftersale-reason"] == "not_handled"
    assert CARD not in str(message)
    return message


async def test_what_breaks_the_pipeline_goes_to_the_error_log(
    fresh_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(message_pipeline, "validate_message", _breaks(ZeroDivisionError()))
    async with _consuming(_purchases(fresh_system)):
        await _send(fresh_system)
        message = await _only_in(fresh_system, names.DEAD_LETTERS)
    headers = message["properties"]["headers"]
    assert (headers["x-aftersale-key"], headers["x-aftersale-user"]) == (KEY, "checkout")
    assert headers["x-aftersale-error-type"] == "ZeroDivisionError"
    assert "************1111" in message["payload"]


async def test_of_what_cannot_even_be_copied_the_cause_is_kept(
    fresh_system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (message_pipeline, last_resort):
        monkeypatch.setattr(module, "read_incoming", _breaks(RecursionError()))
    async with _consuming(_purchases(fresh_system)):
        await _send(fresh_system)
        message = await _only_in(fresh_system, names.DEAD_LETTERS)
    assert message["properties"]["headers"]["x-aftersale-queue"] == "purchases.commands"
    assert message["payload"] == last_resort.NOT_READABLE.decode()


async def test_what_breaks_the_error_log_is_parked(fresh_system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letter_pipeline, "read_letter", _breaks(KeyError()))
    async with await aio_pika.connect(fresh_system.amqp_url("purchases")) as connection:
        channel = await connection.channel()
        dead = await channel.get_exchange(names.DEAD, ensure=False)
        await dead.publish(aio_pika.Message(CARD.encode(), user_id="purchases"), "purchases.commands")
    async with _consuming(_errorlog(fresh_system)):
        await _only_in(fresh_system, names.PARKED_QUEUE)


async def test_in_an_outage_the_message_stays(fresh_system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_pipeline, "validate_message", _breaks(ConnectionError()))
    async with _consuming(_purchases(fresh_system)):
        await _send(fresh_system)

        async def in_hand() -> bool:
            return await _depths(fresh_system) == {"purchases.commands": (0, 1)}

        await wait_until(in_hand, 20, what="it is in hand")
        await stays_so(in_hand, 1, what="it stays there")
