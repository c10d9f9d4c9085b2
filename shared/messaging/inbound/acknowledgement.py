"""Telling the broker that a message has got its answer or its place."""

from aio_pika.abc import AbstractIncomingMessage

from shared.observability.logs import logger


async def acknowledge(raw: AbstractIncomingMessage) -> None:
    """Acknowledge. Where the connection is gone meanwhile the broker delivers again, and the inbox knows."""
    try:
        await raw.ack()
    except Exception as error:  # noqa: BLE001 - aio-pika raises whatever broke the channel
        logger().info("acknowledge_failed", error=error)
