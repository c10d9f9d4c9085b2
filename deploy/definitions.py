"""The topology as RabbitMQ's definitions, which its HTTP API imports and an operator can read."""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from deploy.topology import EXCHANGES, INTERNAL, OWN_TAG, Binding, Policy, Topology

TEMPLATE: Final = Path(__file__).parent / "rabbitmq" / "definitions.template.json"


def definitions(topology: Topology, *, vhost: str, password_hashes: Mapping[str, str]) -> dict[str, Any]:
    """The whole topology for one virtual host, in a stable order."""
    return {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": user.name,
                "password_hash": password_hashes[user.name],
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": [OWN_TAG],
            }
            for user in topology.users
        ],
        **{kind: [{"vhost": vhost} | entry for entry in entries] for kind, entries in _inside(topology).items()},
    }


def _inside(topology: Topology) -> dict[str, list[dict[str, Any]]]:
    """What a virtual host holds, and who may do what in it."""
    return {
        # Topic rules before permissions: nobody may publish before it is said with which keys.
        "topic_permissions": [{"user": user.name} | asdict(rule) for user in topology.users for rule in user.rules],
        "permissions": [
            {"user": user.name, "configure": user.configure, "write": user.write, "read": user.read}
            for user in topology.users
        ],
        "policies": [_policy(policy) for policy in topology.policies],
        "exchanges": [_exchange(name) for name in EXCHANGES],
        "queues": [
            {"name": queue.name, "durable": True, "auto_delete": False, "arguments": queue.arguments}
            for queue in topology.queues
        ],
        "bindings": [_binding(binding) for binding in topology.bindings],
    }


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": "queues",
        "definition": policy.settings,
        "priority": policy.priority,
    }


def _exchange(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "topic",
        "durable": True,
        "auto_delete": False,
        "internal": name in INTERNAL,
        "arguments": {},
    }


def _binding(binding: Binding) -> dict[str, Any]:
    return {
        "source": binding.exchange,
        "destination": binding.queue,
        "destination_type": "queue",
        "routing_key": binding.key,
        "arguments": {},
    }


def template(topology: Topology) -> str:
    """Definitions with `${VHOST}` and a `${<USER>_PASSWORD_HASH}` for each user, to fill in and import elsewhere."""
    hashes = {user.name: f"${{{user.name.upper().replace('-', '_')}_PASSWORD_HASH}}" for user in topology.users}
    return json.dumps(definitions(topology, vhost="${VHOST}", password_hashes=hashes), indent=1, sort_keys=True) + "\n"


def password_hash(password: str) -> str:
    """A salted hash as RabbitMQ keeps it."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
