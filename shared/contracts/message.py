"""The three kinds of message and the register of all of them.

A command has one receiver and may be refused; a query is read only and answered; an event tells what happened.
Commands and queries are defined by the service that receives them and refuse unknown fields; events are defined by
their publisher and are read tolerantly, so that they can grow. Rules: docs/domain.md, "Messages".
"""

import re
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

KEY_PATTERN = re.compile(r"^[a-z]+\.[a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*\.v[1-9][0-9]*$")


class EventKind(StrEnum):
    """How a listener treats an event."""

    FACT = "fact"
    """Always handled, once by its id, in any order."""
    STATE = "state"
    """Carries the version of its record; a listener that keeps a copy ignores older versions."""


class Data(BaseModel):
    """A value inside a message. Strict: a number is not a string, and `true` is not 1."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Message(Data):
    """A body that travels under a routing key `<owner>.<noun>.<verb>.v<N>`."""

    key: ClassVar[str]
    registered: ClassVar[dict[str, type["Message"]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Take the class arguments; pydantic hands them on once the model is complete."""
        super().__init_subclass__()

    @classmethod
    def __pydantic_init_subclass__(cls, *, key: str | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if key is None:
            return
        if not KEY_PATTERN.match(key):
            raise TypeError(f"{cls.__name__}: {key!r} is not <owner>.<noun>.<verb>.v<N>")
        if key in Message.registered:
            raise TypeError(f"{cls.__name__}: {key!r} belongs to {Message.registered[key].__name__}")
        cls.key = key
        Message.registered[key] = cls

    @classmethod
    def owner(cls) -> str:
        """The service that defines this message."""
        return cls.key.split(".", 1)[0]


class Command(Message):
    """A wish with one receiver, which may refuse it."""

    reply: ClassVar[type[Data]]

    @classmethod
    def __pydantic_init_subclass__(cls, *, reply: type[Data] | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if reply is not None:
            cls.reply = reply


class Query(Message):
    """A question; answering it changes nothing."""

    reply: ClassVar[type[Data]]

    @classmethod
    def __pydantic_init_subclass__(cls, *, reply: type[Data] | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if reply is not None:
            cls.reply = reply


class Event(Message):
    """Something that happened. Unknown fields are ignored, so that a publisher may add some."""

    model_config = ConfigDict(extra="ignore")

    event_kind: ClassVar[EventKind] = EventKind.FACT

    @classmethod
    def __pydantic_init_subclass__(cls, *, event_kind: EventKind | None = None, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if event_kind is not None:
            cls.event_kind = event_kind
