"""The topology as a whole: nothing that is sent is without a queue, and nobody has more rights than the rules say."""

import re

import pytest

from deploy.definitions import definitions, template
from deploy.services import load_all
from deploy.topology import EXCHANGES, Topology, build
from shared.contracts.message import Command, Message, Query
from shared.messaging import names
from shared.messaging.inbound.authorization import Principal
from tools.dev.instance import CHECKOUT
from tools.dev.system import topology_of

SERVICES = {service.name for service in load_all()}


@pytest.fixture(scope="module")
def topology() -> Topology:
    return topology_of(CHECKOUT)


def test_every_command_and_query_has_exactly_one_queue(topology: Topology) -> None:
    bound = [binding.key for binding in topology.bindings if binding.exchange == names.COMMANDS]
    wanted = {key for key, message in Message.registered.items() if issubclass(message, Command | Query)}
    handled = {route.pattern for service in load_all() for route in service.handlers.routes}
    assert sorted(bound) == sorted(wanted & handled)


def test_bindings_name_exchanges_and_queues_that_exist(topology: Topology) -> None:
    queues = {queue.name for queue in topology.queues}
    assert len(queues) == len(topology.queues)
    assert {binding.queue for binding in topology.bindings} <= queues
    assert {binding.exchange for binding in topology.bindings} <= set(EXCHANGES)


def test_every_work_queue_gets_its_retries_back(topology: Topology) -> None:
    work = {queue.name for queue in topology.queues if re.fullmatch(r"[a-z]+\.(commands|events)", queue.name)}
    assert work
    for queue in work:
        assert any(b.exchange == names.RETURN and b.key == f"*.{queue}" and b.queue == queue for b in topology.bindings)


def test_no_message_can_be_dropped_by_a_queue_that_work_goes_through(topology: Topology) -> None:
    for queue in topology.queues:
        if queue.name.startswith("ext.") or queue.name.endswith((".queries", ".parked")):
            continue
        assert queue.arguments["x-queue-type"] == "quorum"
        assert queue.arguments["x-dead-letter-exchange"]
        assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
        assert queue.arguments["x-overflow"] == "reject-publish"


def test_the_error_log_cannot_feed_itself(topology: Topology) -> None:
    for queue in topology.queues:
        if queue.name.startswith("errorlog.") and "x-dead-letter-exchange" in queue.arguments:
            assert queue.arguments["x-dead-letter-exchange"] == names.PARKED
    errorlog = next(user for user in topology.users if user.name == "errorlog")
    assert not re.search(errorlog.write, names.DEAD)


def test_retries_go_back_under_their_own_key(topology: Topology) -> None:
    for delay in names.RETRY_DELAYS:
        queue = next(queue for queue in topology.queues if queue.name == delay.queue)
        assert queue.arguments["x-message-ttl"] == delay.milliseconds
        assert queue.arguments["x-dead-letter-exchange"] == names.RETURN
        assert "x-dead-letter-routing-key" not in queue.arguments


def test_nobody_may_make_anything_but_a_peer_its_reply_queues(topology: Topology) -> None:
    for user in topology.users:
        if user.name in SERVICES:
            assert user.configure == "^$"
        else:
            assert re.search(user.configure, f"replies.{user.name}.4711")
            for other in ("purchases.commands", f"ext.{user.name}", "replies.other.1", f"x.replies.{user.name}.1"):
                assert not re.search(user.configure, other)


def test_every_exchange_a_user_writes_to_limits_its_keys(topology: Topology) -> None:
    """A topic exchange without a rule for a user lets that user publish with any key."""
    for user in topology.users:
        ruled = {rule.exchange for rule in user.rules}
        for exchange in EXCHANGES:
            if re.search(user.write, exchange) or re.search(user.read, exchange):
                assert exchange in ruled, f"{user.name} at {exchange}"


@pytest.mark.parametrize(
    ("user", "exchange", "key", "allowed"),
    [
        ("checkout", names.COMMANDS, "purchases.refund.request.v1", True),
        ("checkout", names.COMMANDS, "purchases.refund.request.v12", False),
        ("checkout", names.COMMANDS, "purchasesXrefund.request.v1", False),
        ("purchases", names.EVENTS, "purchases.refund.completed.v1", True),
        ("purchases", names.EVENTS, "notifications.email.sent.v1", False),
        ("purchases", names.RETRY, "10m.purchases.commands", True),
        ("purchases", names.RETRY, "10m.notifications.commands", False),
        ("purchases", names.RETRY, "10m.purchases.queries", False),
        ("errorlog", names.RETRY, "1h.errorlog.dead-letters", True),
        ("errorlog", names.PARKED, "errorlog.dead-letters", True),
    ],
)
def test_keys_that_a_user_may_publish(topology: Topology, user: str, exchange: str, key: str, allowed: bool) -> None:
    rights = next(candidate for candidate in topology.users if candidate.name == user)
    rule = next(rule for rule in rights.rules if rule.exchange == exchange)
    assert re.search(rights.write, exchange)
    assert bool(re.search(rule.write, key)) is allowed


def test_a_peer_cannot_bear_a_services_name() -> None:
    with pytest.raises(ValueError, match="purchases"):
        build(load_all(), {"purchases": Principal()})


def test_a_name_with_a_dash_is_taken_literally() -> None:
    topology = build(load_all(), {"key-generator": Principal(sends=frozenset({"purchases.purchase.get.v1"}))})
    peer = next(user for user in topology.users if user.name == "key-generator")
    assert re.search(peer.configure, "replies.key-generator.1")
    assert not re.search(peer.configure, "replies.keyXgenerator.1")


def test_definitions_come_in_a_stable_order_and_without_secrets(topology: Topology) -> None:
    peers_reversed = topology_of(CHECKOUT)
    assert template(topology) == template(peers_reversed)
    hashes = {user.name: "hash" for user in topology.users}
    made = definitions(topology, vhost="v", password_hashes=hashes)
    assert {user["password_hash"] for user in made["users"]} == {"hash"}
    assert all(user["tags"] == ["aftersale"] for user in made["users"])
