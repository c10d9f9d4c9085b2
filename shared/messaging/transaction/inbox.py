"""Handled once by id, answered the same each time."""

from sqlalchemy import Table, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from shared.contracts.refusals import Refused
from shared.messaging.inbound.validation import Request
from shared.messaging.outbound.replies import Reply


class AlreadyHandled(Exception):
    """The message was handled before; its reply is stored."""

    def __init__(self, reply: Reply | None) -> None:
        super().__init__()
        self.reply = reply


def different_message() -> Refused:
    """The refusal of a message whose id another message has."""
    return Refused("same_id_different_body", "This message_id belongs to another message. A new wish needs a new id.")


async def enter(session: AsyncSession, inbox: Table, request: Request, *, reply: Reply | None = None) -> None:
    """Note the message before anything else is done for it.

    A second delivery at the same moment waits here until the first is committed. Raises AlreadyHandled with the
    stored reply, or Refused with `same_id_different_body`, which shows nothing of the first message.
    """
    key = {"message_id": request.context.message_id, "handler": request.route.name}
    entered = await session.execute(
        insert(inbox)
        .values(
            **key,
            fingerprint=request.fingerprint,
            reply_type=reply.content_type if reply else None,
            reply=reply.body if reply else None,
        )
        .on_conflict_do_nothing()
        .returning(inbox.c.message_id)
    )
    if entered.first() is not None:
        return
    first = (await session.execute(select(inbox).filter_by(**key))).one()
    if first.fingerprint != request.fingerprint:
        raise different_message()
    raise AlreadyHandled(Reply(first.reply_type, first.reply) if first.reply_type else None)


async def note_reply(session: AsyncSession, inbox: Table, request: Request, reply: Reply) -> None:
    """Keep the reply for repeats of the message."""
    await session.execute(
        update(inbox)
        .where(inbox.c.message_id == request.context.message_id, inbox.c.handler == request.route.name)
        .values(reply_type=reply.content_type, reply=reply.body)
    )
