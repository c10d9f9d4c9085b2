"""What the services promise stands in git, and the code keeps it."""

import importlib
import inspect
import json
import pkgutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import shared.contracts
from deploy.services import load_all
from shared.contracts import SERVICES
from shared.contracts.message import Command, Event, Message, Query
from shared.observability.schemas import schema_of
from tools.pages.contracts import SCHEMAS, difference, instructions, promised, write
from tools.pages.problem_codes import ROOT, used_codes

MODULES = [
    importlib.import_module(f"shared.contracts.{module.name}")
    for module in pkgutil.iter_modules(shared.contracts.__path__)
]
MODELS = [
    model
    for module in MODULES
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, BaseModel) and model.__module__ == module.__name__
]


def test_the_files_are_what_the_code_promises() -> None:
    found = difference(ROOT, promised())
    assert not found, instructions(found)


def test_class_names_are_unique() -> None:
    assert [name for name, count in Counter(model.__name__ for model in MODELS).items() if count > 1] == []


def test_a_message_lives_in_the_file_of_its_owner() -> None:
    family = ".error.raised.v1"  # every service publishes its own of one form, which the error log defines
    strangers = [
        key
        for key, message in Message.registered.items()
        if message.__module__ != f"shared.contracts.{'errorlog' if key.endswith(family) else message.owner()}"
    ]
    assert strangers == []
    assert {service.name for service in load_all()} <= SERVICES


@pytest.mark.parametrize("message", list(Message.registered.values()), ids=lambda message: message.key)
def test_commands_and_queries_refuse_unknown_fields_and_events_ignore_them(message: type[Message]) -> None:
    assert message.model_config.get("extra") == ("ignore" if issubclass(message, Event) else "forbid")
    assert sum(issubclass(message, kind) for kind in (Command, Query, Event)) == 1


@pytest.mark.parametrize(
    "message", [one for one in Message.registered.values() if issubclass(one, Event)], ids=lambda one: one.key
)
def test_an_event_can_be_read_although_nulls_are_left_out(message: type[Event]) -> None:
    """What we publish leaves nulls out; a field that may be null needs a default, or no listener could read it."""
    must = set(schema_of(message, outgoing=False).get("required", ()))
    sent = set(schema_of(message, outgoing=True).get("required", ()))
    assert must <= sent


@pytest.mark.parametrize("service", load_all(), ids=lambda service: service.name)
def test_a_service_takes_its_own_commands_and_sends_its_own_events(service: Any) -> None:
    for route in service.handlers.routes:
        if not issubclass(route.message, Event):
            assert route.message.owner() == service.name
    for message in service.sends:
        if issubclass(message, Event):
            assert message.owner() == service.name


def test_every_command_and_query_has_a_handler_and_every_event_a_publisher() -> None:
    services = load_all()
    handled = {route.message for service in services for route in service.handlers.routes}
    sent = {message for service in services for message in service.sends}
    ours = {service.name for service in services}
    for message in Message.registered.values():
        if message.owner() in ours:
            assert message in (sent if issubclass(message, Event) else handled), message.key


def test_every_refusal_has_a_code_of_the_agreed_form_and_words() -> None:
    uses = used_codes()
    assert {"error_not_found", "version_conflict", "purchase_not_found", "same_id_different_body"} <= {
        use.code for use in uses
    }
    assert [use for use in uses if not use.code.replace("_", "").isalnum() or not use.code.islower()] == []
    assert [use for use in uses if not use.words] == []


def test_a_changed_promise_is_found_and_written_and_a_broken_one_is_called_so(tmp_path: Path) -> None:
    wanted = promised()
    write(tmp_path, wanted)
    assert not difference(tmp_path, wanted)

    grown = SCHEMAS / "errorlog.error.complete.v1.json"
    snapshot = json.loads((tmp_path / grown).read_text())
    del snapshot["message"]["properties"]["note"]
    (tmp_path / grown).write_text(json.dumps(snapshot))
    found = difference(tmp_path, wanted)
    assert found.outdated == [f"{grown} is not up to date"]
    assert found.broken == {}
    assert "Run ./dev contracts" in instructions(found)

    snapshot["message"]["properties"]["urgent"] = {"type": "boolean", "default": False}
    (tmp_path / grown).write_text(json.dumps(snapshot))
    gone = SCHEMAS / "errorlog.error.assign.v1.json"
    (tmp_path / gone).write_text("{}")
    found = difference(tmp_path, wanted)
    assert found.broken == {
        "errorlog.error.complete.v1": ["body.urgent is not taken any more"],
        "errorlog.error.assign.v1": ["the message is gone"],
    }
    assert "errorlog.error.assign.v2" in instructions(found)

    write(tmp_path, wanted)
    assert not difference(tmp_path, wanted)
