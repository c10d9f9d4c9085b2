"""What a change can break is tested, and no worker is started for a handful of tests."""

import pytest

from tools.dev.selection import MOST_WORKERS, chosen_by, touched_by, workers_for

CONTRACTS = {"tests/architecture/test_rules.py", "tests/contract/test_snapshots.py"}
UNIT = {"tests/unit/purchases/test_refund_plan.py"}
PURCHASES = UNIT | {"tests/integration/purchases/test_refunds.py", "tests/integration/purchases/test_search.py"}
CUSTOMERS = {"tests/unit/customers/test_rules.py", "tests/integration/customers/test_search.py"}
MESSAGING = {"tests/unit/messaging/test_order.py", "tests/integration/messaging/test_relay.py"}
LOAD = {"tests/unit/tools/load/test_histogram.py"}
EVERYDAY = CONTRACTS | PURCHASES | CUSTOMERS | MESSAGING | LOAD
LONG = {
    "tests/chaos/test_outages.py",
    "tests/e2e/test_load.py",
    "tests/e2e/test_demo.py",
    "tests/e2e/test_demo_peer.py",
    "tests/e2e/test_connect_your_service.py",
}
TESTS = EVERYDAY | LONG


@pytest.mark.parametrize(
    ("changed", "touched"),
    [
        pytest.param("services/purchases/refunds.py", PURCHASES, id="a service: its tests"),
        pytest.param("services/purchases/migrations/versions/0001_x.py", PURCHASES, id="deep in a service"),
        pytest.param("services/webhooks/app.py", EVERYDAY, id="a service without tests: all of every day"),
        pytest.param("shared/messaging/relay.py", EVERYDAY, id="shared code"),
        pytest.param("deploy/topology.py", EVERYDAY, id="what everything is deployed with"),
        pytest.param("pyproject.toml", EVERYDAY, id="dependencies"),
        pytest.param("tools/load/gun.py", LOAD | {"tests/e2e/test_load.py"}, id="a tool: its tests, however long"),
        pytest.param(
            "tools/demo/run.py", {"tests/e2e/test_demo.py", "tests/e2e/test_demo_peer.py"}, id="a tool in two files"
        ),
        pytest.param(
            "examples/connect_your_service.py", {"tests/e2e/test_connect_your_service.py"}, id="an example: its test"
        ),
        pytest.param("tests/chaos/test_outages.py", {"tests/chaos/test_outages.py"}, id="a test: itself"),
        pytest.param("tests/chaos/breakable.py", {"tests/chaos/test_outages.py"}, id="beside tests: the folder"),
        pytest.param("tests/contract/schemas/a.v1.json", set(), id="below tests: the folder above"),
        pytest.param("tests/integration/purchases/conftest.py", PURCHASES - UNIT, id="fixtures of a folder"),
        pytest.param("tests/unit/purchases/test_gone.py", UNIT, id="a test that was removed: its neighbours"),
        pytest.param("tests/support/system.py", EVERYDAY, id="the tests' support"),
        pytest.param("tests/conftest.py", EVERYDAY, id="everybody's fixtures"),
        pytest.param("README.md", set(), id="a document"),
        pytest.param("docs/domain.md", set(), id="another document"),
    ],
)
def test_a_change_touches(changed: str, touched: set[str]) -> None:
    assert set(touched_by([changed], TESTS)) == touched | CONTRACTS


def test_several_changes_touch_what_each_of_them_touches() -> None:
    changed = ["services/purchases/app.py", "services/customers/app.py"]
    assert set(touched_by(changed, TESTS)) == PURCHASES | CUSTOMERS | CONTRACTS


def test_no_change_touches_nothing() -> None:
    assert touched_by([], TESTS) == []


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ([], TESTS),
        (["-x", "-k", "refund"], TESTS),
        (["tests/unit/purchases"], UNIT),
        (["./tests/integration/purchases/", "-q"], PURCHASES - UNIT),
        (["tests/e2e/test_load.py::test_one[a/b]"], {"tests/e2e/test_load.py"}),
        (["tests/e2e/test_load.py", "tests/contract"], {"tests/e2e/test_load.py", "tests/contract/test_snapshots.py"}),
    ],
)
def test_arguments_choose(arguments: list[str], chosen: set[str]) -> None:
    assert chosen_by(arguments, TESTS) == chosen


@pytest.mark.parametrize(
    ("arguments", "workers"),
    [
        ([], MOST_WORKERS),
        (["-x"], MOST_WORKERS),
        (["tests/integration/purchases"], 2),
        (["tests/integration/purchases/test_search.py"], 0),
        (["tests/unit"], 0),
        (["tests/unit", "-k", "foo", "-x"], 0),
        (["-k", "refund"], 0),
        (["--lf"], 0),
        (["tests/e2e/test_load.py::test_one", "tests/e2e/test_demo.py::test_two"], 0),
    ],
)
def test_a_run_is_worth_workers(arguments: list[str], workers: int) -> None:
    assert workers_for(arguments, TESTS) == workers
