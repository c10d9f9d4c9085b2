"""The peers file is read again when it has changed."""

import os
from pathlib import Path

import pytest

from shared.contracts.refusals import Refused
from shared.messaging.inbound.authorization import PrincipalsFile
from shared.messaging.names import QueueKind

ONE = """
peers:
  shop: {sends: [purchases.purchase.get.v1], clients: "*", acts_for: ["service:shop"]}
"""
TWO = (
    ONE
    + """
  crm: {sends: [purchases.purchase.get.v1], clients: [demo-shop], acts_for: ["service:crm"]}
"""
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 2
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "peers.yaml"
    file.write_text(ONE)
    os.utime(file, ns=(1, 1))
    return file


def asks(known: PrincipalsFile, user: str) -> None:
    known.current.check(
        user=user,
        key="purchases.purchase.get.v1",
        client="demo-shop",
        actor=f"service:{user}",
        kind=QueueKind.QUERIES,
    )


def test_a_new_peer_is_known_without_a_restart(file: Path) -> None:
    known = PrincipalsFile(file, isolated=True, clock=Clock())
    with pytest.raises(Refused):
        asks(known, "crm")
    file.write_text(TWO)
    asks(known, "crm")
    asks(known, "shop")


@pytest.mark.parametrize("broken", ["peers: {shop: {sends: 7}}", "peers: [", ""])
def test_a_file_that_cannot_be_understood_changes_nothing(file: Path, broken: str) -> None:
    known = PrincipalsFile(file, isolated=True, clock=Clock())
    file.write_text(broken)
    asks(known, "shop")


def test_rights_that_are_withdrawn_are_gone(file: Path) -> None:
    known = PrincipalsFile(file, isolated=True, clock=Clock())
    file.write_text("peers: {}")
    with pytest.raises(Refused):
        asks(known, "shop")


def test_a_file_that_is_gone_changes_nothing(file: Path) -> None:
    known = PrincipalsFile(file, isolated=True, clock=Clock())
    file.unlink()
    asks(known, "shop")
