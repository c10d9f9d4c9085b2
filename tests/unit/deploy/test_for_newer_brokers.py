"""The tests run on whatever RabbitMQ is installed; the topology keeps to what 4.3 accepts too. docs/deployment.md."""

import re
from collections.abc import Iterator
from typing import Any

from deploy.definitions import definitions
from tools.dev.instance import CHECKOUT
from tools.dev.system import topology_of

TOPOLOGY = topology_of(CHECKOUT)
DEFINITIONS = definitions(TOPOLOGY, vhost="v", password_hashes={user.name: "" for user in TOPOLOGY.users})
REFUSED = {"x-queue-mode", "x-queue-version", "x-ha-policy", "queue-mode", "queue-version", "queue-master-locator"}
CONFIGURATION = (CHECKOUT / "deploy" / "compose" / "rabbitmq.conf").read_text()


def _settings() -> Iterator[dict[str, Any]]:
    yield from (queue["arguments"] for queue in DEFINITIONS["queues"])
    yield from (policy["definition"] for policy in DEFINITIONS["policies"])


def test_every_queue_is_durable_and_of_a_type_that_stays() -> None:
    assert all(queue["durable"] and not queue["auto_delete"] for queue in DEFINITIONS["queues"])
    assert {queue["arguments"]["x-queue-type"] for queue in DEFINITIONS["queues"]} == {"quorum", "classic"}


def test_nothing_is_set_that_newer_brokers_refuse() -> None:
    for settings in _settings():
        assert not REFUSED & set(settings)
        assert not [name for name in settings if name.startswith("ha-")]


def test_at_least_once_dead_lettering_refuses_what_does_not_fit() -> None:
    chosen = [settings for settings in _settings() if settings.get("x-dead-letter-strategy") == "at-least-once"]
    assert chosen
    assert all(settings["x-overflow"] == "reject-publish" for settings in chosen)


def test_the_servers_settings_are_known_to_old_and_new() -> None:
    names = re.findall(r"^([a-z_.]+) =", CONFIGURATION, re.MULTILINE)
    assert names
    removed = ("cluster_partition_handling", "mnesia", "queue_index", "ha_", "mirroring", "deprecated_features")
    assert not [name for name in names if name.startswith(removed)]
