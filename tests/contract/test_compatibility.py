"""Which changes of a contract break the promise, and which let it grow."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from shared.observability.schemas import contracts
from tools.pages.compatibility import breaks

Snapshot = dict[str, Any]

LINE = {"type": "string", "minLength": 1, "maxLength": 255}
TAKEN: Snapshot = {
    "key": "purchases.refund.request.v1",
    "kind": "command",
    "message": {
        "type": "object",
        "additionalProperties": False,
        "required": ["kind", "lines"],
        "properties": {
            "kind": {"$ref": "#/$defs/Kind"},
            "note": {"anyOf": [LINE, {"type": "null"}], "default": None},
            "count": {"type": "integer", "minimum": 1, "default": 1},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "maxItems": 10},
            "facts": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "$defs": {
            "Kind": {"type": "string", "enum": ["total", "items"]},
            "Line": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"id": {"type": "string", "format": "uuid"}, "parts": {"$ref": "#/$defs/Parts"}},
                "required": ["id"],
            },
            "Parts": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        },
    },
    "reply": {
        "class": "RefundChanged",
        "schema": {"type": "object", "required": ["state"], "properties": {"state": LINE, "note": LINE}},
    },
}
SENT: Snapshot = {"key": "purchases.refund.completed.v1", "kind": "event", "message": TAKEN["message"]}


def changed(snapshot: Snapshot, change: Callable[[dict[str, Any]], object]) -> list[str]:
    after = copy.deepcopy(snapshot)
    change(after["message"])
    return breaks(snapshot, after)


def add(name: str, form: dict[str, Any], *, required: bool = False) -> Callable[[dict[str, Any]], object]:
    def change(message: dict[str, Any]) -> None:
        message["properties"][name] = form
        if required:
            message["required"].append(name)

    return change


def drop(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda message: message["properties"].pop(name)


def reform(name: str, **form: Any) -> Callable[[dict[str, Any]], object]:
    return lambda message: message["properties"][name].update(form)


def redefine(name: str, **form: Any) -> Callable[[dict[str, Any]], object]:
    return lambda message: message["$defs"][name].update(form)


def may_be_missing(message: dict[str, Any]) -> None:
    message["required"].remove("kind")


def must_be_there(message: dict[str, Any]) -> None:
    message["required"].append("count")


def not_null_any_more(message: dict[str, Any]) -> None:
    message["properties"]["note"] = LINE


def may_be_null(message: dict[str, Any]) -> None:
    message["properties"]["count"] = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}], "default": 1}


NEW = {"type": "string"}


@pytest.mark.parametrize(
    "change",
    [
        add("urgent", NEW),
        may_be_missing,
        may_be_null,
        redefine("Kind", enum=["total", "items", "amount"]),
        reform("count", minimum=0),
        reform("count", type="number"),
        reform("lines", maxItems=20),
        reform("count", description="other words"),
        redefine("Line", additionalProperties=True),
    ],
)
def test_what_we_take_may_become_more(change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(TAKEN, change) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (drop("note"), "body.note is not taken any more"),
        (add("urgent", NEW, required=True), "body.urgent is required now"),
        (must_be_there, "body.count is required now"),
        (not_null_any_more, "body.note was a null, is a string"),
        (redefine("Kind", enum=["total"]), 'body.kind no longer takes "items"'),
        (reform("count", minimum=2), "body.count: minimum was 1, is 2"),
        (reform("count", maximum=9), "body.count: maximum was nothing, is 9"),
        (reform("count", type="string"), "body.count was an integer, is a string"),
        (reform("count", default=2), "body.count left out meant 1, means 2"),
        (reform("facts", additionalProperties={"type": "string"}), "body.facts[] was an integer, is a string"),
        (reform("lines", maxItems=5), "body.lines: maxItems was 10, is 5"),
        (redefine("Line", properties={"id": {"type": "string"}}), "body.lines[].parts is not taken any more"),
        (redefine("Line", required=["id", "parts"]), "body.lines[].parts is required now"),
    ],
)
def test_what_we_take_may_not_become_less(change: Callable[[dict[str, Any]], object], fault: str) -> None:
    assert changed(TAKEN, change) == [fault]


@pytest.mark.parametrize(
    "change",
    [
        add("urgent", NEW),
        add("urgent", NEW, required=True),
        must_be_there,
        not_null_any_more,
        reform("count", minimum=2),
        redefine("Kind", enum=["total", "items", "amount"]),
        redefine("Kind", enum=["total"]),
    ],
)
def test_what_we_send_may_say_more_and_be_stricter(change: Callable[[dict[str, Any]], object]) -> None:
    assert changed(SENT, change) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (drop("note"), "body.note is not sent any more"),
        (may_be_missing, "body.kind may be missing now"),
        (may_be_null, "body.count was an integer, is a null"),
        (reform("count", minimum=0), "body.count: minimum was 1, is 0"),
        (reform("count", type="number"), "body.count was an integer, is a number"),
        (redefine("Line", properties={"parts": {"$ref": "#/$defs/Parts"}}), "body.lines[].id is not sent any more"),
        (redefine("Line", required=[]), "body.lines[].id may be missing now"),
    ],
)
def test_what_we_send_must_still_be_understood(change: Callable[[dict[str, Any]], object], fault: str) -> None:
    assert changed(SENT, change) == [fault]


def test_a_reply_is_something_we_send() -> None:
    after = copy.deepcopy(TAKEN)
    del after["reply"]["schema"]["properties"]["note"]
    assert breaks(TAKEN, after) == ["reply: body.note is not sent any more"]


def test_a_command_cannot_become_an_event() -> None:
    assert breaks(TAKEN, {**TAKEN, "kind": "event"}) == ["was a command, is an event"]


@pytest.mark.parametrize("contract", list(contracts()), ids=lambda contract: contract.message.key)
def test_no_contract_breaks_itself(contract: Any) -> None:
    snapshot = contract.snapshot()
    assert breaks(snapshot, snapshot) == []


@pytest.mark.parametrize("contract", list(contracts()), ids=lambda contract: contract.message.key)
def test_losing_any_field_of_any_contract_is_found(contract: Any) -> None:
    snapshot = contract.snapshot()
    for name in snapshot["message"].get("properties", {}):
        after = copy.deepcopy(snapshot)
        del after["message"]["properties"][name]
        after["message"]["required"] = [one for one in after["message"].get("required", ()) if one != name]
        assert any(f"body.{name} is not" in fault for fault in breaks(snapshot, after)), name
