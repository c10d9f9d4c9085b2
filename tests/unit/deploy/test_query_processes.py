"""Who takes what when queries are answered apart: every message of every service by exactly one process."""

from deploy.services import QUERY_PROCESSES, SERVICES, with_queries_apart
from tools.dev.instance import BLOCK, DEFAULT_FIRST_SERVICE_PORT, FIRST_SERVICE_PORT

SHARES = {"everything": {"changes", "queries"}, "changes": {"changes"}, "queries": {"queries"}}


def test_every_share_of_every_service_has_one_process() -> None:
    taken = sorted((each.name, share) for each in with_queries_apart() for share in SHARES[each.consumes])
    assert taken == sorted((each.name, share) for each in SERVICES for share in ("changes", "queries"))


def test_every_process_has_a_name_and_a_port_of_its_own() -> None:
    processes = (*SERVICES, *QUERY_PROCESSES)
    assert len({each.process for each in processes}) == len({each.port for each in processes}) == len(processes)
    assert all(FIRST_SERVICE_PORT + each.port - DEFAULT_FIRST_SERVICE_PORT < BLOCK for each in processes)
