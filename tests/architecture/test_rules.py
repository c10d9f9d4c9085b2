"""Rules of this code base that a machine can watch. Each was broken once, or was about to be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.services import load_all
from shared.contracts import SERVICES
from shared.contracts.errorlog import ErrorRaised
from shared.contracts.message import Event, Message

ROOT = Path(__file__).resolve().parents[2]
CODE = ("services", "shared", "deploy", "tools")
LONGEST_FILE = 400
LONGEST_FUNCTION = 45
LONGEST_HANDLER = 10
BANNED = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc)(_|$)")
COMMITTERS = {
    "shared/messaging/unit_of_work.py",
    "shared/messaging/transaction/transactions.py",
    "shared/messaging/transaction/group_commit.py",
    "shared/messaging/host/housekeeping.py",
}
"""Where a transaction may be opened and committed; use cases and handlers never do."""


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders or CODE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in file.parts:
                yield file


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_files_stay_small() -> None:
    # The messages of one service stand in one file on purpose.
    files = [file for file in sources() if file.parent.name != "contracts"]
    long = {name_of(file): lines for file in files if (lines := len(file.read_text().splitlines())) > LONGEST_FILE}
    assert not long, long


def test_functions_stay_short() -> None:
    long = {
        f"{name_of(file)}:{function.name}": length
        for file in sources()
        for function in functions(file)
        if (length := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    }
    assert not long, long


def test_names_say_what_a_thing_is() -> None:
    assert not [name_of(file) for file in sources(*CODE, "tests") if BANNED.search(file.stem)]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_a_handler_is_a_handful_of_lines(service: str) -> None:
    file = ROOT / "services" / service / "handlers.py"
    long = [
        function.name
        for function in functions(file)
        if (function.end_lineno or 0) - function.lineno + 1 > LONGEST_HANDLER
    ]
    assert not long, long


def test_transactions_are_opened_in_few_places() -> None:
    opening = re.compile(r"\.begin\(\)|\.commit\(\)")
    found = {name_of(file) for file in sources("services", "shared") if opening.search(file.read_text())}
    assert found <= COMMITTERS | {"shared/migrations.py", "services/directory/importing.py"}, found - COMMITTERS


def test_only_the_plumbing_publishes() -> None:
    publishing = re.compile(r"aio_pika|faststream|aiormq")
    found = {name_of(file) for file in sources("services", "shared") if publishing.search(file.read_text())}
    outside = {name for name in found if not name.startswith(("shared/messaging/", "shared/observability/logs.py"))}
    assert not outside, outside


def test_faststream_never_answers_by_itself() -> None:
    text = (ROOT / "shared/messaging/inbound/consumers.py").read_text()
    assert text.count(".subscriber(") == text.count("no_reply=True") == 1
    assert "AckPolicy.MANUAL" in text


def test_no_exception_is_made_for_private_attributes_of_others() -> None:
    """ruff refuses them (SLF001). A library may change what it keeps to itself in any release."""
    assert not [name_of(file) for file in sources(*CODE, "benchmarks") if "SLF001" in file.read_text()]


def test_every_event_has_a_publisher_and_every_command_a_receiver() -> None:
    services = load_all()
    code = {
        service.name: "".join(file.read_text() for file in sources(service.package.replace(".", "/")))
        for service in services
    }
    handled = {route.message for service in services for route in service.handlers.routes}
    for message in Message.registered.values():
        if issubclass(message, Event):
            published = issubclass(message, ErrorRaised) or f"{message.__name__}(" in code[message.owner()]
            assert published, f"nobody publishes {message.__name__}"
        else:
            assert message in handled, f"nobody handles {message.__name__}"
        if issubclass(message, ErrorRaised):
            assert message.owner() in SERVICES


def test_nothing_names_a_place_of_one_machine() -> None:
    pattern = re.compile(r"/work/|/root/|https?://[a-z.]*(pypi|pythonhosted|npmjs|deb\.debian)[a-z.]*", re.IGNORECASE)
    suspects = [
        *sources(*CODE, "tests", "examples"),
        *ROOT.glob("*.lock"),
        *ROOT.rglob("docs/**/*.md"),
        ROOT / "README.md",
    ]
    found = [name_of(file) for file in suspects if file != Path(__file__) and pattern.search(file.read_text())]
    assert not found, found
