"""JSON schema of the messages, as they stand in bodies.

Fields that are null are left out of what we send, so nothing that may be null is required of a sender's reader.
"""

import ast
import inspect
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final, Literal, cast

from pydantic.json_schema import models_json_schema

from shared.contracts.message import Command, Data, Event, Message, Query

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]

REFERENCE: Final = "#/components/schemas/{model}"


@dataclass(frozen=True)
class Contract:
    """What is promised about one message: its form, and the form of its reply."""

    message: type[Message]

    @property
    def kind(self) -> str:
        return kind_of(self.message)

    def snapshot(self) -> Schema:
        """The promise as it is kept in git and compared."""
        kept: Schema = {
            "key": self.message.key,
            "class": self.message.__name__,
            "kind": self.kind,
            "message": schema_of(self.message, outgoing=issubclass(self.message, Event)),
        }
        if reply := reply_of(self.message):
            kept["reply"] = {"class": reply.__name__, "schema": schema_of(reply, outgoing=True)}
        return kept


def contracts() -> Iterable[Contract]:
    """Every registered message, by key."""
    return (Contract(message) for _, message in sorted(Message.registered.items()))


def kind_of(message: type[Message]) -> str:
    """`command`, `query` or `event`."""
    return next(kind.__name__.lower() for kind in (Command, Query, Event) if issubclass(message, kind))


def reply_of(message: type[Message]) -> type[Data] | None:
    """The class of a reply; None for events."""
    return message.reply if issubclass(message, (Command, Query)) else None


def schema_of(model: type[Data], *, outgoing: bool) -> Schema:
    """One schema that needs nothing else, with its parts under `$defs`."""
    names, definitions = _generate([(model, outgoing)], "#/$defs/{model}")
    own = names[model, outgoing]["$ref"].rsplit("/", 1)[-1]
    schema = cast(Schema, definitions.pop(own))
    return schema | ({"$defs": definitions} if definitions else {})


def components(models: Iterable[tuple[type[Data], bool]]) -> tuple[dict[tuple[type[Data], bool], Schema], Schema]:
    """Schemas of several models, `(model, outgoing)`, for one document, and the reference of each."""
    return _generate(sorted(set(models), key=lambda pair: (pair[0].__name__, pair[1])), REFERENCE)


def _generate(
    models: list[tuple[type[Data], bool]], template: str
) -> tuple[dict[tuple[type[Data], bool], Schema], Schema]:
    wanted: list[tuple[type[Data], Mode]] = [(model, _mode(outgoing)) for model, outgoing in models]
    references, generated = models_json_schema(wanted, ref_template=template)
    outgoing_only = _outgoing_names(generated["$defs"], models, references)
    definitions = {
        name: _without_noise(_nullable_is_optional(schema) if name in outgoing_only else schema)
        for name, schema in sorted(generated["$defs"].items())
    }
    for name, model in _all_models(Data):
        _describe(definitions.get(name, {}), model)
    return {(model, outgoing): dict(references[model, _mode(outgoing)]) for model, outgoing in models}, definitions


def _mode(outgoing: bool) -> Mode:
    return "serialization" if outgoing else "validation"


def _outgoing_names(
    definitions: Mapping[str, Schema], models: list[tuple[type[Data], bool]], references: Mapping[Any, Any]
) -> set[str]:
    """Names of the schemas that are reached from what is sent."""
    waiting = [references[model, "serialization"] for model, outgoing in models if outgoing]
    reached: set[str] = set()
    while waiting:
        for name in _references(waiting.pop()):
            if name not in reached:
                reached.add(name)
                waiting.append(definitions[name])
    return reached


def _references(schema: object) -> Iterable[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rsplit("/", 1)[-1]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _nullable_is_optional(schema: Schema) -> Schema:
    properties = schema.get("properties", {})
    required = [
        name
        for name in schema.get("required", ())
        if {"type": "null"} not in properties[name].get("anyOf", ())
        and properties[name].get("default", ...) is not None
    ]
    return {name: value for name, value in schema.items() if name != "required"} | (
        {"required": required} if required else {}
    )


def _without_noise(schema: Any, *, names: bool = False) -> Any:
    """Without the titles that pydantic makes of field names; fields that bear such names stay."""
    if isinstance(schema, Mapping):
        return {
            name: _without_noise(value, names=not names and name == "properties")
            for name, value in schema.items()
            if names or name != "title" or not isinstance(value, str)
        }
    if isinstance(schema, list):
        return [_without_noise(value) for value in schema]
    return schema


def _all_models(model: type[Data]) -> Iterable[tuple[str, type[Data]]]:
    yield model.__name__, model
    for derived in model.__subclasses__():
        yield from _all_models(derived)


def _describe(schema: Schema, model: type[Data]) -> None:
    """Give the fields of a form the words that stand below them in the class. Only documents need these."""
    meanings: dict[str, str] = {}
    for ancestor in reversed(model.__mro__):
        meanings |= _field_docstrings(ancestor.__module__).get(ancestor.__name__, {})
    for name, form in schema.get("properties", {}).items():
        if name in meanings:
            form.setdefault("description", meanings[name])


@cache
def _field_docstrings(module: str) -> Mapping[str, Mapping[str, str]]:
    """Of every class of a contract module, the texts that follow its fields."""
    if not module.startswith("shared.contracts."):
        return {}
    return {
        node.name: {
            field.target.id: inspect.cleandoc(text.value.value).replace("\n", " ")
            for field, text in pairwise(node.body)
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
        }
        for node in ast.parse(inspect.getsource(sys.modules[module])).body
        if isinstance(node, ast.ClassDef)
    }
