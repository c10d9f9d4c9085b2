"""The AsyncAPI documents keep the rules of AsyncAPI 3.0."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.services import load_all
from shared.observability.asyncapi import asyncapi_document

Document = dict[str, Any]
DOCUMENTS = {service.name: asyncapi_document(service) for service in load_all()}
EACH = pytest.mark.parametrize("document", list(DOCUMENTS.values()), ids=list(DOCUMENTS))


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


def resolve(document: Document, reference: str) -> Any:
    found: Any = document
    for word in reference.removeprefix("#/").split("/"):
        found = found[word]
    return found


@EACH
def test_every_reference_leads_somewhere_in_the_document(document: Document) -> None:
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        assert reference.startswith("#/")
        assert resolve(document, reference) is not None


@EACH
def test_the_document_has_what_the_specification_demands_and_nothing_else(document: Document) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert set(document) == {
        *("asyncapi", "id", "info", "defaultContentType", "servers", "channels", "operations", "components")
    }
    assert {"title", "version"} <= set(document["info"])
    for server in document["servers"].values():
        assert {"host", "protocol"} <= set(server)
    names = re.compile(r"^[a-zA-Z0-9._-]+$")
    for part in document["components"].values():
        assert all(names.match(name) for name in part)


@EACH
def test_an_operation_names_messages_of_its_own_channel(document: Document) -> None:
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = operation["channel"]["$ref"]
        assert operation["messages"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])
        if reply := operation.get("reply"):
            assert resolve(document, reply["channel"]["$ref"])["address"] is None
            assert all(
                message["$ref"].startswith(f"{reply['channel']['$ref']}/messages/") for message in reply["messages"]
            )
            assert re.match(r"^\$message\.(header|payload)#/", reply["address"]["location"])


@EACH
def test_addresses_and_names_of_messages_are_unique(document: Document) -> None:
    addresses = [channel["address"] for channel in document["channels"].values()]
    assert len(addresses) == len(set(addresses))
    messages = document["components"]["messages"]
    assert all(name == message["name"] for name, message in messages.items())


@pytest.mark.parametrize("service", load_all(), ids=lambda service: service.name)
def test_everything_a_service_declares_is_in_its_document(service: Any) -> None:
    document = DOCUMENTS[service.name]
    told = {
        (operation["action"], resolve(document, operation["channel"]["$ref"])["address"], operation["title"])
        for operation in document["operations"].values()
    }
    declared = {("receive", route.pattern, route.message.__name__) for route in service.handlers.routes}
    declared |= {("send", message.key, message.__name__) for message in service.sends}
    assert told == declared
    answered = {name for name, operation in document["operations"].items() if "reply" in operation}
    assert len(answered) == sum(hasattr(route.message, "reply") for route in service.handlers.routes)


def test_a_message_is_described_by_its_fields_and_headers() -> None:
    document = DOCUMENTS["errorlog"]
    message = document["components"]["messages"]["CompleteError"]
    payload = resolve(document, message["payload"]["$ref"])
    assert payload["required"] == ["error_id"]
    assert payload["properties"]["error_id"] == {"type": "string", "format": "uuid"}
    headers = resolve(document, message["traits"][0]["$ref"])["headers"]
    assert {"message_id", "client-id", "actor", "user_id"} == set(headers["required"])


def test_nulls_are_left_out_of_replies_so_they_are_not_required() -> None:
    schemas = DOCUMENTS["errorlog"]["components"]["schemas"]
    assert "next_cursor" not in schemas["ErrorPage"].get("required", ())
    assert "rows" in schemas["ErrorPage"]["required"]
