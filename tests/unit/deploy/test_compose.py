"""The composed system: closed containers, no secret outside its file, every service of this release."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from deploy.compose.make_secrets import broker_users, make_secrets
from deploy.compose.provision import Provisioning
from deploy.services import SERVICES, load
from tools.dev.instance import CHECKOUT
from tools.dev.system import topology_of

COMPOSE: dict[str, Any] = yaml.safe_load((CHECKOUT / "docker-compose.yml").read_text())
PARTS: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (CHECKOUT / "deploy" / "Dockerfile").read_text()
JOBS = {"provision", "demo"}
FOLDER = "${AFTERSALE_SECRETS:-./.dev/compose}/"


def secret_names(part: dict[str, Any]) -> set[str]:
    return {secret if isinstance(secret, str) else secret["source"] for secret in part.get("secrets", ())}


def file_of(secret: str) -> str:
    file: str = COMPOSE["secrets"][secret]["file"]
    assert file.startswith(FOLDER)
    return file.removeprefix(FOLDER)


def test_every_service_of_this_release_is_there_and_nothing_else() -> None:
    assert set(PARTS) == {service.name for service in SERVICES} | JOBS | {"rabbitmq", "postgres", "mailcatcher"}


@pytest.mark.parametrize("name", PARTS)
def test_a_container_can_do_little(name: str) -> None:
    part = PARTS[name]
    assert part["read_only"] is True
    assert part["cap_drop"] == ["ALL"]
    assert part["security_opt"] == ["no-new-privileges:true"]
    assert "mem_limit" in part
    assert "pids_limit" in part
    assert "privileged" not in part
    assert "docker.sock" not in str(part)
    assert part["restart"] == ("no" if name in JOBS else "unless-stopped")
    assert "healthcheck" in part or name in JOBS


@pytest.mark.parametrize("name", PARTS)
def test_nobody_is_root(name: str) -> None:
    part = PARTS[name]
    if part["image"].startswith("aftersale"):
        stage = DOCKERFILE.partition(f"AS {part.get('build', {}).get('target', 'app')}\n")[2].partition("\nFROM ")[0]
        assert "USER 10001:10001" in stage
    else:
        assert part["user"] in {"rabbitmq", "postgres"}


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_gets_its_own_secrets_and_all_its_required_settings(service: Any) -> None:
    part = PARTS[service.name]
    own = {f"{service.name}_database_url", f"{service.name}_amqp_url"}
    assert secret_names(part) == own | ({"notifications_smtp_url"} if service.name == "notifications" else set())
    settings = load(service.name).settings
    required = {
        f"{service.prefix}{name.upper()}" for name, field in settings.model_fields.items() if field.is_required()
    }
    known = {f"{service.prefix}{name.upper()}" for name in settings.model_fields}
    given = {variable.removesuffix("_FILE") for variable in part["environment"]}
    assert required <= given <= known
    for variable, value in part["environment"].items():
        if variable.endswith("_FILE"):
            assert value.removeprefix("/run/secrets/") in secret_names(part)
    assert part["command"] == [service.package]
    assert part["healthcheck"]["test"][-1] == str(service.port)
    assert part["ports"][0].endswith(f":{service.port}")


def test_only_files_hold_secrets() -> None:
    for part in PARTS.values():
        for variable, value in part.get("environment", {}).items():
            assert "PASS" not in variable or variable.endswith("_FILE")
            assert "://" not in str(value)
    assert not re.search(r"(?i)^(ARG|ENV)\b.*(pass|secret|token|url)", DOCKERFILE, re.MULTILINE)
    assert "PASS" not in (CHECKOUT / "deploy" / "compose" / "rabbitmq.conf").read_text().upper().replace("_PASS ", "")


def test_nothing_is_published_beyond_this_machine() -> None:
    for name, part in PARTS.items():
        assert all(port.startswith("127.0.0.1:") for port in part.get("ports", ()))
        assert ("ports" in part) == (name in {service.name for service in SERVICES})


def test_nothing_gets_out() -> None:
    networks = COMPOSE["networks"]
    assert all(networks[name]["internal"] is True for name in ("broker", "database", "mail"))
    masquerade = networks["operators"]["driver_opts"]["com.docker.network.bridge.enable_ip_masquerade"]
    assert masquerade == "false"
    assert set(networks) == {"broker", "database", "mail", "operators"}
    assert [name for name, part in PARTS.items() if "mail" in part["networks"]] == ["mailcatcher", "notifications"]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_a_service_has_time_to_drain(service: Any) -> None:
    drain = load(service.name).settings.model_fields["drain_seconds"].default
    assert int(PARTS[service.name]["stop_grace_period"].removesuffix("s")) > 3 * drain


def test_servers_go_up_first_and_down_last() -> None:
    for service in SERVICES:
        assert {"rabbitmq", "postgres", "provision"} <= set(PARTS[service.name]["depends_on"])
        assert PARTS[service.name]["depends_on"]["provision"] == {"condition": "service_completed_successfully"}


def test_no_registry_is_named() -> None:
    images = [part["image"] for part in PARTS.values()]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) + re.findall(r"_IMAGE=(\S+)", DOCKERFILE)
    assert images
    for image in images:
        assert "/" not in image


def test_the_image_is_made_from_pinned_packages() -> None:
    installs = re.findall(r"pip install .*", DOCKERFILE)
    assert len(installs) == 2
    assert all("--require-hashes" in install for install in installs)
    dev = _pins((CHECKOUT / "requirements-dev.lock").read_text())
    mailcatcher = _pins((CHECKOUT / "deploy" / "compose" / "mailcatcher.lock").read_text())
    assert mailcatcher
    assert {name: dev[name] for name in mailcatcher} == mailcatcher


def _pins(lock: str) -> dict[str, list[str]]:
    blocks = re.findall(r"^([a-z0-9][^\s\\]*==[^\s\\]+)((?: \\\n +--hash=\S+)+)", lock, re.MULTILINE)
    return {name: re.findall(r"sha256:\w+", hashes) for name, hashes in blocks}


def test_the_builder_gets_no_secrets() -> None:
    lines = (CHECKOUT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert set(rules[1:]) == {
        "!pyproject.toml", "!requirements.lock", "!deploy", "!services", "!shared", "!tools",
        "**/__pycache__", "**/*.pyc",
    }  # fmt: skip


def test_make_secrets_makes_every_secret_once(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    written = make_secrets(folder)
    assert {file_of(secret) for secret in COMPOSE["secrets"]} <= set(written)
    assert {file.name for file in folder.iterdir()} == set(written)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o444}
    assert make_secrets(folder) == []
    (folder / "checkout_amqp_url").unlink()
    assert make_secrets(folder) == ["checkout_amqp_url", "provisioning.json"]


def test_provisioning_knows_the_passwords_that_everybody_has(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    given = Provisioning.model_validate_json((tmp_path / "provisioning.json").read_text())
    for user, password in given.broker_passwords.items():
        url = urlsplit((tmp_path / f"{user}_amqp_url").read_text())
        assert (url.username, url.password) == (user, password.get_secret_value())
    for service, address in given.database_urls.items():
        assert address.get_secret_value() == (tmp_path / f"{service}_database_url").read_text()
    administrator = urlsplit(given.broker_admin_url.get_secret_value())
    assert (tmp_path / "rabbitmq_admin.conf").read_text().split() == [
        "default_user", "=", administrator.username, "default_pass", "=", administrator.password,
    ]  # fmt: skip
    owner = urlsplit(given.database_admin_url.get_secret_value())
    assert owner.password == (tmp_path / "postgres_password").read_text()


def test_every_broker_user_of_this_release_gets_a_password() -> None:
    assert broker_users() == [user.name for user in topology_of(CHECKOUT).users]
