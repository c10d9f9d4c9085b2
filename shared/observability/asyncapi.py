"""The AsyncAPI 3.0 document of a service, made from its declaration. There is no second list to keep up to date."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from shared.contracts.message import Data, Event, Message
from shared.contracts.values import Problem
from shared.messaging import names
from shared.messaging.handlers import Route
from shared.messaging.names import queue_name
from shared.messaging.service import Service
from shared.observability.schemas import components, kind_of, reply_of
from shared.version import VERSION

Document = dict[str, Any]

ASYNCAPI: Final = "3.0.0"
REPLIES: Final = "replies"
PROBLEM: Final = "Problem"


@dataclass(frozen=True)
class _Traffic:
    """One routing key in one direction."""

    action: str
    key: str
    exchange: str
    message: type[Message]
    queue: str | None = None

    @property
    def channel(self) -> str:
        """Channel ids may not hold dots."""
        return self.key.replace(".", "_").replace("*", "any")

    @property
    def operation(self) -> str:
        return f"{self.action}_{self.channel}"

    @property
    def outgoing(self) -> bool:
        """Whether the schema says what is sent, or what may be sent to it."""
        return issubclass(self.message, Event)


def asyncapi_document(service: Service[Any]) -> Document:
    """What a service receives, answers and sends, with every form, header and right."""
    traffic = [_received(service.name, route) for route in service.handlers.routes]
    traffic += [_sent(message) for message in service.sends]
    traffic.sort(key=lambda one: (one.action, one.key))
    answers: set[type[Data]] = {reply for one in traffic if (reply := reply_of(one.message)) is not None}
    models: list[tuple[type[Data], bool]] = [(one.message, one.outgoing) for one in traffic]
    answered: tuple[type[Data], ...] = (*answers, Problem)
    models += [(model, True) for model in answered]
    references, schemas = components(models)
    messages = {one.message.__name__: _message(one.message, references[one.message, one.outgoing]) for one in traffic}
    messages |= {answer.__name__: _reply_message(answer, references[answer, True]) for answer in answered}
    return {
        "asyncapi": ASYNCAPI,
        "id": f"urn:aftersale:{service.name}",
        "info": {
            "title": f"Aftersale {service.name}",
            "version": VERSION,
            "description": f"What the {service.name} service receives, answers and sends over RabbitMQ.",
        },
        "defaultContentType": "application/json",
        "servers": {"broker": _server(service.name)},
        "channels": _channels(traffic, answers),
        "operations": {one.operation: _operation(one) for one in traffic},
        "components": {
            "messages": dict(sorted(messages.items())),
            "schemas": schemas,
            "messageTraits": _traits(),
            "correlationIds": {
                "flow": {
                    "description": "The flow, kept from the first message to the last mail.",
                    "location": "$message.header#/correlation_id",
                }
            },
            "securitySchemes": {
                "user": {
                    "type": "userPassword",
                    "description": "Each service and each peer has a broker user of its own, with the rights it needs "
                    "and no more. The broker proves the property user_id.",
                }
            },
        },
    }


def _received(service: str, route: Route) -> _Traffic:
    return _Traffic("receive", route.pattern, route.exchange, route.message, queue_name(service, route.kind))


def _sent(message: type[Message]) -> _Traffic:
    exchange = names.EVENTS if issubclass(message, Event) else names.COMMANDS
    return _Traffic("send", message.key, exchange, message)


def _server(service: str) -> Document:
    return {
        "host": "{host}",
        "protocol": "amqp",
        "protocolVersion": "0.9.1",
        "description": "RabbitMQ.",
        "variables": {"host": {"description": "Host and port of the broker.", "default": "localhost:5672"}},
        "security": [{"$ref": "#/components/securitySchemes/user"}],
        "tags": [{"name": f"user:{service}", "description": "The broker user of this service."}],
    }


def _channels(traffic: Iterable[_Traffic], answers: set[type[Data]]) -> Document:
    channels: Document = {}
    for one in traffic:
        channel = channels.setdefault(one.channel, _channel(one))
        channel["messages"][one.message.__name__] = {"$ref": f"#/components/messages/{one.message.__name__}"}
    if answers:
        possible: list[type[Data]] = [*sorted(answers, key=lambda answer: answer.__name__), Problem]
        channels[REPLIES] = {
            "address": None,
            "title": "Replies",
            "description": f"The caller's own queue `replies.<user>.<anything>`, bound to `{names.REPLIES}`; "
            "named in the request's property reply_to.",
            "messages": {answer.__name__: {"$ref": f"#/components/messages/{answer.__name__}"} for answer in possible},
            "bindings": {"amqp": _routing(names.REPLIES, "direct")},
        }
    return channels


def _channel(one: _Traffic) -> Document:
    where = f" and the queue `{one.queue}`" if one.queue else ""
    pattern = " `*` stands for the name of any service." if "*" in one.key else ""
    return {
        "address": one.key,
        "title": one.key,
        "description": f"Routing key on `{one.exchange}`{where}.{pattern}",
        "messages": {},
        "bindings": {"amqp": _routing(one.exchange, "topic")},
    }


def _routing(exchange: str, kind: str) -> Document:
    return {
        "is": "routingKey",
        "exchange": {"name": exchange, "type": kind, "durable": True, "autoDelete": False},
        "bindingVersion": "0.3.0",
    }


def _operation(one: _Traffic) -> Document:
    operation: Document = {
        "action": one.action,
        "channel": {"$ref": f"#/channels/{one.channel}"},
        "title": one.message.__name__,
        "summary": _summary(one.message),
        "tags": [{"name": kind_of(one.message)}],
        "messages": [{"$ref": f"#/channels/{one.channel}/messages/{one.message.__name__}"}],
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    }
    if one.action == "send":
        mandatory = not issubclass(one.message, Event)
        operation["bindings"] = {"amqp": {"deliveryMode": 2, "mandatory": mandatory, "bindingVersion": "0.3.0"}}
    elif (answer := reply_of(one.message)) is not None:
        operation["reply"] = {
            "address": {
                "location": "$message.header#/reply_to",
                "description": "Answered only if it names a reply queue of the sender's own.",
            },
            "channel": {"$ref": f"#/channels/{REPLIES}"},
            "messages": [{"$ref": f"#/channels/{REPLIES}/messages/{name}"} for name in (answer.__name__, PROBLEM)],
        }
    return operation


def _message(message: type[Message], payload: Document) -> Document:
    kind = kind_of(message)
    traits = {"command": ["request"], "query": ["question"], "event": ["event"]}[kind]
    described: Document = {
        "name": message.__name__,
        "title": message.__name__,
        "summary": _summary(message),
        "contentType": "application/json",
        "correlationId": {"$ref": "#/components/correlationIds/flow"},
        "payload": payload,
        "traits": [{"$ref": f"#/components/messageTraits/{name}"} for name in traits],
        "tags": [{"name": kind}],
    }
    if issubclass(message, Event):
        described["description"] = {
            "fact": "A fact: handled once by its id, in any order. Unknown fields are to be ignored.",
            "state": "A state: older versions of the same record are to be ignored. Unknown fields too.",
        }[message.event_kind.value]
    return described


def _reply_message(answer: type[Data], payload: Document) -> Document:
    problem = answer is Problem
    return {
        "name": answer.__name__,
        "title": answer.__name__,
        "summary": _summary(answer),
        "contentType": "application/problem+json" if problem else "application/json",
        "correlationId": {"$ref": "#/components/correlationIds/flow"},
        "payload": payload,
        "traits": [{"$ref": "#/components/messageTraits/reply"}],
        "tags": [{"name": "refusal" if problem else "reply"}],
    }


def _traits() -> Document:
    client = _text("The seller's account, for which the work is done.", pattern="^([a-z0-9][a-z0-9-]{0,62}|[*])$")
    actor = _text("Who wants it: `user:<name>` or `service:<name>`.", pattern="^(user|service):")
    message_id = _text("Property. UUID; the same id is handled once and answered the same.", format="uuid")
    reply_to = _text("Property. The caller's reply queue, `replies.<user>.<anything>`.")
    reason = _text("Why: one line of at most 255 characters, kept with what it changes and what follows.")
    flow = {
        "reason": reason,
        "correlation_id": _text("Property. The flow it belongs to."),
        "causation-id": _text("The message that caused this one.", format="uuid"),
        "traceparent": _text("W3C trace context."),
    }
    asking = {
        "user_id": _text("Property. The sender's broker user, proved by the broker."),
        "client-id": client,
        "actor": actor,
        "reply_to": reply_to,
    }
    happened = {"message_id": message_id, "client-id": client, "actor": actor} | _cloud_events()
    cloud_required = [f"cloudEvents_{name}" for name in ("specversion", "id", "source", "type")]
    return {
        "request": _trait(
            "Commands.", {"message_id": message_id} | asking | flow, ["message_id", "user_id", "client-id", "actor"]
        ),
        "question": _trait("Queries; they need no id.", asking | flow, ["user_id", "client-id", "actor", "reply_to"]),
        "event": _trait("Events.", happened | flow, ["message_id", "client-id", "actor", *cloud_required]),
        "reply": _trait(
            "Replies.",
            {"correlation_id": _text("Property. The request's correlation_id, or else its message_id.")},
            ["correlation_id"],
        ),
    }


def _trait(description: str, headers: Document, required: list[str]) -> Document:
    return {"description": description, "headers": {"type": "object", "properties": headers, "required": required}}


def _cloud_events() -> Document:
    return {
        "cloudEvents_specversion": {"type": "string", "const": "1.0"},
        "cloudEvents_id": _text("The message id.", format="uuid"),
        "cloudEvents_source": _text("`/aftersale/<service>`."),
        "cloudEvents_type": _text("The routing key."),
        "cloudEvents_subject": _text("What it is about, such as a reference number."),
        "cloudEvents_time": _text("When it was written.", format="date-time"),
    }


def _text(description: str, **more: str) -> Document:
    return {"type": "string", "description": description} | more


def _summary(model: type[Data]) -> str:
    """The first line of a class's own docstring."""
    written = model.__dict__.get("__doc__") or f"Answer with {model.__name__}."
    return str(written).strip().partition("\n")[0]
