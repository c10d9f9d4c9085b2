"""Making the broker and the databases ready for this release. Safe to run again: what is there already stays.

What the topology no longer names loses its rights and its bindings; queues are never deleted, since they may hold
messages.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

import aio_pika
import asyncpg

from deploy.broker_admin import BrokerAdmin
from deploy.definitions import definitions, password_hash
from deploy.topology import EXCHANGES, INTERNAL, OWN_TAG, Topology

_CONNECT_SECONDS: Final = 10
_LACKS_COUNTING: Final = """
SELECT installed_version IS NULL FROM pg_available_extensions WHERE name = 'pg_stat_statements'
"""


class ProvisioningFailed(Exception):
    """The servers hold something that does not fit and that provisioning must not change by itself."""


def provision_broker(admin: BrokerAdmin, topology: Topology, *, vhost: str, passwords: Mapping[str, str]) -> None:
    """Bring a virtual host to the topology, with these users and passwords.

    Raises ProvisioningFailed if a user of such a name exists that was not made here, or a queue has other arguments.
    """
    _refuse_foreign_users(admin, topology)
    hashes = {user.name: password_hash(passwords[user.name]) for user in topology.users}
    admin.put("vhosts", vhost)
    admin.post("definitions", body=definitions(topology, vhost=vhost, password_hashes=hashes))
    _compare_queues(admin, topology, vhost)
    _remove_stale_bindings(admin, topology, vhost)
    _withdraw_stale_rights(admin, topology, vhost)


def _refuse_foreign_users(admin: BrokerAdmin, topology: Topology) -> None:
    ours = {user.name for user in topology.users}
    foreign = sorted(user["name"] for user in admin.get("users") if user["name"] in ours and not _is_ours(user))
    if foreign:
        raise ProvisioningFailed(f"the broker has users of other origin under these names: {', '.join(foreign)}")


def _is_ours(user: Mapping[str, Any]) -> bool:
    tags = user["tags"]
    return OWN_TAG in (tags.split(",") if isinstance(tags, str) else tags)


def _compare_queues(admin: BrokerAdmin, topology: Topology, vhost: str) -> None:
    """An import leaves a queue that exists as it is, silently, whatever its arguments."""
    there = {queue["name"]: queue["arguments"] for queue in admin.get("queues", vhost)}
    wrong = sorted(
        queue.name
        for queue in topology.queues
        if {"x-queue-type": "classic"} | there.get(queue.name, {}) != {"x-queue-type": "classic"} | queue.arguments
    )
    if wrong:
        raise ProvisioningFailed(
            f"these queues exist with other arguments: {', '.join(wrong)}. A queue cannot be changed: empty and delete "
            "it, then provision again."
        )


def _remove_stale_bindings(admin: BrokerAdmin, topology: Topology, vhost: str) -> None:
    wanted = {(binding.exchange, binding.queue, binding.key) for binding in topology.bindings}
    provisioned = {queue.name for queue in topology.queues}
    for binding in admin.get("bindings", vhost):
        found = (binding["source"], binding["destination"], binding["routing_key"])
        ours = binding["destination"].startswith("ext.") or binding["destination"] in provisioned
        if binding["source"] in EXCHANGES and ours and found not in wanted:
            source, destination, _ = found
            admin.delete("bindings", vhost, "e", source, "q", destination, binding["properties_key"])


def _withdraw_stale_rights(admin: BrokerAdmin, topology: Topology, vhost: str) -> None:
    wanted = {user.name for user in topology.users}
    ours = {user["name"] for user in admin.get("users") if _is_ours(user)}
    for permission in admin.get("permissions"):
        if permission["vhost"] == vhost and permission["user"] in ours - wanted:
            admin.delete("permissions", vhost, permission["user"])


async def declare_without_admin(url: str, topology: Topology) -> None:
    """Make exchanges, queues and bindings with plain AMQP: no users, no rights, no limits.

    For brokers whose administrator lends one user only. Raises ProvisioningFailed where something exists otherwise.
    """
    connection = await aio_pika.connect(url, timeout=_CONNECT_SECONDS)
    async with connection:
        channel = await connection.channel()
        try:
            for name in EXCHANGES:
                await channel.declare_exchange(
                    name, aio_pika.ExchangeType.TOPIC, durable=True, internal=name in INTERNAL
                )
            for queue in topology.queues:
                await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
            for binding in topology.bindings:
                queue_there = await channel.get_queue(binding.queue, ensure=False)
                await queue_there.bind(binding.exchange, binding.key)
        except aio_pika.exceptions.ChannelPreconditionFailed as error:
            raise ProvisioningFailed(str(error)) from error


async def provision_databases(admin_url: str, databases: Mapping[str, str]) -> None:
    """Make a role and a database of the same name for each name in `databases`, with that password.

    The role owns its database and nothing else, and nobody else may connect to it.
    """
    connection = await asyncpg.connect(admin_url, timeout=_CONNECT_SECONDS)
    try:
        for name, password in databases.items():
            await make_role(connection, name, password)
            await make_database(connection, name, owner=name)
    finally:
        await connection.close()


async def provision_counting(admin_url: str) -> None:
    """Let the administrator read how often each statement ran and how long it took, where the server counts that.

    In a schema of its own in the administrator's database: new schemas are closed to everybody else.
    """
    connection = await asyncpg.connect(admin_url, timeout=_CONNECT_SECONDS)
    try:
        counts = "pg_stat_statements" in await connection.fetchval("SHOW shared_preload_libraries")
        if counts and await connection.fetchval(_LACKS_COUNTING):
            await connection.execute("CREATE SCHEMA IF NOT EXISTS counting")
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements SCHEMA counting")
    finally:
        await connection.close()


async def make_role(connection: "asyncpg.Connection[Any]", name: str, password: str) -> None:
    """A role that may log in and nothing more; an existing one gets this password."""
    exists = await connection.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name)
    words = "ALTER" if exists else "CREATE"
    secret = await connection.fetchval("SELECT quote_literal($1::text)", password)
    await connection.execute(
        f"{words} ROLE {quoted(name)} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {secret}"
    )


async def make_database(
    connection: "asyncpg.Connection[Any]", name: str, *, owner: str, template: str = "template1"
) -> None:
    """A database that only its owner may enter. Nothing happens if it is there."""
    if await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name):
        return
    if not await connection.fetchval("SELECT pg_has_role(current_user, $1, 'MEMBER')", owner):
        # Only a member of a role may give it a database; a superuser counts as one.
        await connection.execute(f"GRANT {quoted(owner)} TO CURRENT_USER")
    await connection.execute(f"CREATE DATABASE {quoted(name)} OWNER {quoted(owner)} TEMPLATE {quoted(template)}")
    await connection.execute(f"REVOKE ALL ON DATABASE {quoted(name)} FROM PUBLIC")


async def drop_databases(connection: "asyncpg.Connection[Any]", names: Iterable[str]) -> None:
    """Delete databases, ending whoever is connected to them."""
    for name in names:
        await connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")


def quoted(identifier: str) -> str:
    """An identifier as SQL takes it."""
    return '"' + identifier.replace('"', '""') + '"'


def provision_databases_now(admin_url: str, databases: Mapping[str, str]) -> None:
    """The same for callers without an event loop."""
    asyncio.run(provision_databases(admin_url, databases))
