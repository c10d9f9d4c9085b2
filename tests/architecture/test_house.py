"""The house: what stands where, and which words mean what. docs/architecture.md, "Layout"; docs/adr/0007."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.test_rules import ROOT, functions, name_of, sources

SQL_STANDS_IN = frozenset({"models", "store", "view", "search"})
RETIRED = {
    "admission": "validation",
    "agreements": "the rule it is",
    "announcements": "events",
    "bury": "dead_letter",
    "erasing": "anonymization",
    "intake": "log",
    "ladder": "retry",
    "lanes": "lane",
    "newcomers": "identity",
    "obstacle": "Refused",
    "settling": "outcome",
    "standing": "state",
    "triage": "complete",
    "unheard": "unanswered",
}
"""Words that once meant something in this code only, and the word for it that a newcomer guesses."""
OF_CONTRACTS = re.compile(r"announcements$")
"""Fields of messages keep their names: other systems know them."""
RETIRED_FUNCTIONS = re.compile(r"^(given|told|changed|receipt|refusing)$|^(tell|note)_")


def identifiers(file: Path) -> Iterator[str]:
    for token in tokenize.generate_tokens(io.StringIO(file.read_text()).readline):
        if token.type == tokenize.NAME:
            yield token.string


def test_sql_stands_in_stores_views_and_searches() -> None:
    uses = re.compile(
        r"^\s*(from|import) sqlalchemy|\.session\.(execute|scalars?|get|get_one|add|add_all)\(", re.MULTILINE
    )
    found = [name_of(file) for file in sources("services") if uses.search(file.read_text())]
    outside = [name for name in found if Path(name).stem not in SQL_STANDS_IN]
    assert not outside, f"move the statements into a {' or '.join(sorted(SQL_STANDS_IN))}: {outside}"


def test_a_rule_says_no_in_one_way() -> None:
    """`Refused` of shared/contracts/refusals.py, which a view shows as well as a reply."""
    own = [
        f"{name_of(file)}: {node.name}"
        for file in sources("services")
        if file.stem.endswith("rules")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
        and any("Exception" in ast.unparse(base) or "Error" in ast.unparse(base) for base in node.bases)
    ]
    assert not own, own


@pytest.mark.parametrize("text", ['"version_conflict"', '"cursor_invalid"', "native_enum"])
def test_the_kit_is_written_once(text: str) -> None:
    found = [name_of(file) for file in sources("services") if text in file.read_text()]
    assert not found, f"shared/records.py and shared/messaging/pagination.py do this: {found}"


def test_words_mean_what_the_glossary_says() -> None:
    found = {
        f"{name_of(file)}: {identifier} (say {RETIRED[word]})"
        for file in sources("services", "shared")
        for identifier in identifiers(file)
        if not OF_CONTRACTS.search(identifier)
        for word in identifier.lower().split("_")
        if word in RETIRED
    }
    assert not found, "\n".join(sorted(found))


def test_commands_are_imperatives_and_a_receipt_is_a_mail() -> None:
    found = [
        f"{name_of(file)}: {function.name}"
        for file in sources("services")
        for function in functions(file)
        if RETIRED_FUNCTIONS.search(function.name)
    ]
    assert not found, found


def test_rooms_are_named_as_everywhere() -> None:
    """A folder of a service is a noun, and what stands in it bears the names that stand in every other."""
    services = [folder for folder in (ROOT / "services").iterdir() if (folder / "app.py").exists()]
    assert len(services) >= 5
    for service in services:
        flat = [file.stem for file in service.glob("*.py") if not file.stem.startswith("__")]
        own = set(flat) - {"app", "settings", "models", "handlers", "search", "search_rules"}
        assert len(own) <= 8, f"{service.name} has {len(own)} modules of its own: give each noun a folder"
        for needed in ("README.md", "app.py", "settings.py", "models.py", "handlers.py", "migrations"):
            assert (service / needed).exists(), f"{service.name} has no {needed}"


def test_a_change_of_a_record_ends_in_one_place() -> None:
    """`touch` of shared/records.py counts the version and notes who and when; hot paths have statements in stores."""
    by_hand = re.compile(r"\.version \+= 1|\.changed_(by|at) = ")
    found = [name_of(file) for file in sources("services") if by_hand.search(file.read_text())]
    assert not found, found


def test_slow_work_is_a_leased_job() -> None:
    """Whoever starts tasks by himself must isolate bad items, keep results in an outage and drain: LeasedJob does."""
    starts = re.compile(r"create_task|TaskGroup|asyncio\.(gather|wait)\(")
    found = [name_of(file) for file in sources("services") if starts.search(file.read_text())]
    assert not found, found
