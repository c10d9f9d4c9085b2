"""Whatever the client library lets out when the broker goes is one error; what is meant for us is not swallowed."""

import asyncio

import pytest
from aiormq.exceptions import ChannelInvalidStateError, DeliveryError

from shared.messaging.recovery.error_classification import BrokerLost, broker_may_break


@pytest.mark.parametrize(
    "error",
    [TimeoutError(), ConnectionResetError(), ChannelInvalidStateError(), RuntimeError("closed"), StopAsyncIteration()],
    ids=lambda error: type(error).__name__,
)
async def test_a_broken_connection_is_one_error(error: Exception) -> None:
    with pytest.raises(BrokerLost) as lost, broker_may_break():
        raise error
    assert lost.value.__cause__ is error


async def test_a_waiter_that_the_library_cancelled_is_a_broken_connection() -> None:
    waiter = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(waiter.cancel)
    with pytest.raises(BrokerLost), broker_may_break():
        await waiter


async def test_a_task_that_somebody_cancels_ends() -> None:
    async def wait() -> None:
        with broker_may_break():
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_answer_that_a_message_is_not_taken_passes() -> None:
    with pytest.raises(DeliveryError), broker_may_break():
        raise DeliveryError(None, None)  # type: ignore[arg-type]
