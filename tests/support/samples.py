"""A body of every message, made from its own form: so that a new message is tested without anybody thinking of it."""

import json
from collections.abc import Set as AbstractSet
from typing import Any, Final
from uuid import uuid4

from pydantic import ValidationError

from shared.contracts.message import Message

_TEXTS: Final = (
    "T-1",
    "jane@example.com",
    "EUR",
    "DE",
    "en",
    "123456789",
    "1111",
    "demo-shop",
    "user:ada",
    "service:checkout",
    "Europe/Berlin",
    "purchases.purchase.get.v1",
    "a_word",
    "19.5",
    "a" * 64,
)
_TRIES: Final = 60
_WHERE_POSSIBLE: Final = frozenset({"last_name"})
"""A contact needs this or a company, which no form can say."""
Place = tuple[str | int, ...]


def sample(message: type[Message]) -> dict[str, Any]:
    """A body that the message accepts, with its compulsory fields only where that is enough."""
    schema = message.model_json_schema(mode="validation")
    maker = _Maker(schema.get("$defs", {}))
    for added in ("", *schema.get("properties", {})):
        for _ in range(_TRIES):
            body = maker.object(schema, (), {added})
            faults = _faults(message, body)
            if not faults:
                return body
            if () in faults:
                break
            maker.choose_others(faults)
    raise AssertionError(f"no body found that {message.__name__} accepts: {body}")


def _faults(message: type[Message], body: dict[str, Any]) -> set[Place]:
    try:
        message.model_validate_json(json.dumps(body))
    except ValidationError as error:
        return {tuple(fault["loc"]) for fault in error.errors(include_input=False, include_url=False)}
    return set()


class _Maker:
    """Makes values by their form; what was not accepted at a place is tried otherwise the next time."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions
        self._chosen: dict[Place, int] = {}

    def choose_others(self, places: set[Place]) -> None:
        for place in places:
            self._chosen[place] = self._chosen.get(place, 0) + 1

    def object(self, schema: dict[str, Any], at: Place, added: AbstractSet[str] = frozenset()) -> dict[str, Any]:
        wanted = {*schema.get("required", ()), *_WHERE_POSSIBLE, *added}
        properties = schema.get("properties", {})
        return {name: self._value(properties[name], (*at, name)) for name in properties if name in wanted}

    def _value(self, schema: dict[str, Any], at: Place) -> Any:
        schema = self._resolved(schema)
        choice = self._chosen.get(at, 0)
        if "enum" in schema:
            return schema["enum"][
                (choice + sum(part + 1 for part in at if isinstance(part, int))) % len(schema["enum"])
            ]
        match schema.get("type"):
            case "object":
                return self.object(schema, at)
            case "array":
                return [self._value(schema["items"], (*at, index)) for index in range(schema.get("minItems", 0))]
            case "integer" | "number":
                return max(1, int(schema.get("minimum", 1)))
            case "boolean":
                return False
            case _:
                return schema.get("const") or _text(schema, choice)

    def _resolved(self, schema: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in schema or "anyOf" in schema:
            if "$ref" in schema:
                schema = self._definitions[schema["$ref"].rsplit("/", 1)[1]]
            else:
                schema = next((one for one in schema["anyOf"] if one.get("type") == "string"), schema["anyOf"][0])
        return schema


def _text(schema: dict[str, Any], choice: int) -> str:
    match schema.get("format"):
        case "uuid":
            return str(uuid4())
        case "date-time":
            return "2026-02-03T04:05:06Z"
        case "date":
            return "2026-02-03"
        case _:
            return _TEXTS[choice % len(_TEXTS)]
