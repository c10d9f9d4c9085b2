"""Ports, passwords and folders of an instance: chosen once, kept, and apart from those of others."""

import os
import socket
import stat
from pathlib import Path

import pytest

from deploy.services import SERVICES
from tools.dev.failure import SetupFailed
from tools.dev.instance import BLOCK, SERVER_PORTS, Instance


def test_ports_and_passwords_stay_the_same(tmp_path: Path) -> None:
    first = Instance("main", checkout=tmp_path)
    port, secret = first.port("amqp"), first.secret("postgres")
    again = Instance("main", checkout=tmp_path)
    assert (again.port("amqp"), again.secret("postgres")) == (port, secret)
    assert again.secret("rabbitmq") != secret
    assert len(secret) >= 32


def test_passwords_are_for_the_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        Instance("main", checkout=tmp_path).secret("postgres")
    finally:
        os.umask(before)
    mode = (tmp_path / ".dev" / "main" / "state.json").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_every_port_has_its_own_place_in_the_block(tmp_path: Path) -> None:
    instance = Instance("main", checkout=tmp_path)
    ports = [instance.port(name) for name in SERVER_PORTS] + [instance.service_port(s.port) for s in SERVICES]
    assert len(set(ports)) == len(ports)
    assert all(instance.first_port() <= port < instance.first_port() + BLOCK for port in ports)


def test_a_port_taken_meanwhile_moves_the_block(tmp_path: Path) -> None:
    instance = Instance("main", checkout=tmp_path)
    before = instance.first_port()
    with socket.socket() as other:
        other.bind(("127.0.0.1", instance.port("amqp")))
        other.listen()
        instance.ensure_ports()
        assert instance.first_port() != before


def test_a_running_instance_keeps_its_ports(tmp_path: Path) -> None:
    instance = Instance("main", checkout=tmp_path)
    before = instance.first_port()
    instance.processes.note("purchases", os.getpid())
    with socket.socket() as other:
        other.bind(("127.0.0.1", instance.port("amqp")))
        other.listen()
        instance.ensure_ports()
    assert instance.first_port() == before


def test_a_damaged_state_is_said(tmp_path: Path) -> None:
    instance = Instance("main", checkout=tmp_path)
    (instance.folder / "state.json").write_text("{")
    with pytest.raises(SetupFailed, match="damaged"):
        instance.first_port()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b"])
def test_a_name_cannot_lead_out_of_the_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(SetupFailed):
        Instance(name, checkout=tmp_path)


def test_removing_takes_data_outside_along(tmp_path: Path) -> None:
    instance = Instance("main", checkout=tmp_path)
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    (outside / "data").write_text("x")
    (instance.folder / "postgres").symlink_to(outside)
    instance.remove()
    assert not outside.exists()
    assert not instance.folder.exists()
