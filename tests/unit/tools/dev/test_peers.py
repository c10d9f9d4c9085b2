"""Adding a peer keeps the file as people wrote it."""

from pathlib import Path

import pytest

from shared.messaging.inbound.authorization import Principal, Principals
from tools.dev.failure import SetupFailed
from tools.dev.peers import append

BEFORE = """# Read this first.
peers:
  checkout:  # the shop
    sends: [purchases.purchase.get.v1]
    clients: "*"
"""
CRM = Principal(
    sends=frozenset({"purchases.purchase.search.v1", "purchases.purchase.get.v1"}),
    hears=("purchases.*.*.*",),
    clients=frozenset({"shop-b", "shop-a"}),
    acts_for=("service:crm",),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "peers.yaml"
    file.write_text(BEFORE)
    return file


def test_what_was_there_stays_and_the_new_one_is_read_back(file: Path) -> None:
    append(file, "crm", CRM)
    assert file.read_text().startswith(BEFORE)
    assert Principals.load(file, isolated=True).peers["crm"] == CRM


def test_every_client_is_written_as_a_star(file: Path) -> None:
    peer = Principal(clients="*", acts_for=("service:bi",), all_clients=True)
    append(file, "bi", peer)
    assert Principals.load(file, isolated=True).peers["bi"] == peer


@pytest.mark.parametrize("name", ["checkout", "purchases", "Crm", "a.b", "a*", ""])
def test_names_that_cannot_be(file: Path, name: str) -> None:
    with pytest.raises(SetupFailed):
        append(file, name, CRM)
    assert file.read_text() == BEFORE
