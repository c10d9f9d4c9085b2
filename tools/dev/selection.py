"""Which tests a change can touch, and how many workers a run of some test files is worth."""

from collections.abc import Collection, Iterable
from pathlib import PurePosixPath
from typing import Final

MOST_WORKERS: Final = 4
"""More than two cores can feed at once: tests wait for processes, delays and answers most of their time."""
_ROOMS: Final = ("services", "deploy", "tools")
_EXAMPLES: Final = "examples"
_DOCUMENTS: Final = ("docs/", "README.md", "CONTRIBUTING.md")
_CONTRACTS: Final = ("tests/architecture/", "tests/contract/")
"""Rules over the whole code: they cost seconds, and any change can break them."""
_LONG: Final = ("tests/chaos/", "tests/e2e/")
_WITHOUT_SERVERS: Final = ("tests/unit/", *_CONTRACTS)
_FEW: Final = frozenset({"-k", "-m", "--lf", "--last-failed", "--sw", "--stepwise", "--pdb", "--co", "--collect-only"})
"""Options of pytest after which few tests are left, or a person looks at each."""


def touched_by(changed: Iterable[str], tests: Collection[str]) -> list[str]:
    """The test files, out of `tests`, that these changed files can make fail; paths from the checkout's root.

    A test file touches itself. Anything else below `tests` touches the folder it is in. A folder of `services`,
    `deploy` or `tools`, and an example, touches the tests that bear its name. Documents touch the checks of contracts
    and architecture, which run after every change. All other code is shared: it touches everything but the chaos and
    end-to-end tests.
    """
    found = {test for file in changed for test in _touched_by_one(file, tests)}
    return sorted(found | (_below(_CONTRACTS, tests) if found else set()))


def chosen_by(arguments: Iterable[str], tests: Collection[str]) -> set[str]:
    """The test files that pytest's arguments name, all without a name."""
    named = [argument.partition("::")[0].removeprefix("./").rstrip("/") for argument in arguments]
    paths = [name for name in named if name in tests or _below((f"{name}/",), tests)]
    return {test for test in tests for path in paths if test == path or test.startswith(f"{path}/")} or set(tests)


def workers_for(arguments: Collection[str], tests: Collection[str]) -> int:
    """How many workers run these arguments soonest. None where starting them costs more than they save."""
    if any("::" in argument or argument.partition("=")[0] in _FEW for argument in arguments):
        return 0
    waiting = len(chosen_by(arguments, tests) - _below(_WITHOUT_SERVERS, tests))
    return min(waiting, MOST_WORKERS) if waiting > 1 else 0


def _touched_by_one(file: str, tests: Collection[str]) -> set[str]:
    room, *inside = PurePosixPath(file).parts
    if file in tests:
        return {file}
    if file.startswith(_DOCUMENTS):
        return _below(_CONTRACTS, tests)
    if room == "tests":
        return _nearest(PurePosixPath(file).parent, tests)
    if (room in _ROOMS and len(inside) > 1) or room == _EXAMPLES:
        return _named(PurePosixPath(inside[0]).stem, tests) or _everyday(tests)
    return _everyday(tests)


def _nearest(folder: PurePosixPath, tests: Collection[str]) -> set[str]:
    """The tests of a folder, or of the first one above that has any; of all of them only those of every day."""
    if str(folder) == "tests":
        return _everyday(tests)
    return _below((f"{folder}/",), tests) or _nearest(folder.parent, tests)


def _named(name: str, tests: Collection[str]) -> set[str]:
    return {test for test in tests if _bears(name, PurePosixPath(test))}


def _bears(name: str, test: PurePosixPath) -> bool:
    return name in test.parent.parts or test.stem == f"test_{name}" or test.stem.startswith(f"test_{name}_")


def _everyday(tests: Collection[str]) -> set[str]:
    return set(tests) - _below(_LONG, tests)


def _below(folders: tuple[str, ...], tests: Collection[str]) -> set[str]:
    return {test for test in tests if test.startswith(folders)}
