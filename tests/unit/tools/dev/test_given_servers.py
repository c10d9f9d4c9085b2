"""Servers that the environment names are used instead of private ones."""

from pathlib import Path

import pytest

from tools.dev.failure import SetupFailed
from tools.dev.instance import Instance
from tools.dev.servers import Given, Servers


def test_without_names_everything_is_private(tmp_path: Path) -> None:
    servers = Servers(Instance("main", checkout=tmp_path), given=Given.from_environment({}))
    assert servers.private() == ["postgres", "rabbitmq"]
    assert servers.isolated
    assert servers.amqp_url("purchases") != servers.amqp_url("checkout")


def test_a_broker_without_its_administrator_is_not_isolated(tmp_path: Path) -> None:
    given = Given.from_environment({"AFTERSALE_AMQP_URL": "amqp://shop:secret@mq.example:5672/after%2Fsale"})
    servers = Servers(Instance("main", checkout=tmp_path), given=given)
    assert not servers.isolated
    assert servers.amqp_url("purchases") == servers.amqp_url("checkout") == given.amqp
    assert servers.vhost == "after/sale"
    assert servers.private() == ["postgres"]


def test_with_an_administrator_everybody_has_a_user(tmp_path: Path) -> None:
    given = Given.from_environment(
        {
            "AFTERSALE_AMQP_URL": "amqps://shop:secret@mq.example:5671/sale",
            "AFTERSALE_AMQP_ADMIN_URL": "https://admin:secret@mq.example:15671",
        }
    )
    servers = Servers(Instance("main", checkout=tmp_path), given=given)
    url = servers.amqp_url("purchases")
    assert servers.isolated
    assert url.startswith("amqps://purchases:")
    assert url.endswith("@mq.example:5671/sale")
    assert "secret" not in url


def test_half_a_broker_is_refused() -> None:
    with pytest.raises(SetupFailed, match="AFTERSALE_AMQP_URL"):
        Given.from_environment({"AFTERSALE_AMQP_ADMIN_URL": "http://admin@mq.example"})
