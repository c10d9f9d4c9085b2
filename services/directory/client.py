"""The sellers' accounts and their settings."""

from sqlalchemy import select

from services.directory.models import Client
from services.directory.store import check_new, check_version, for_the_platform, touch
from services.directory.view import note_change
from services.directory.visibility import of_client
from shared.contracts.directory import (
    PLATFORM,
    ClientChanged,
    ClientPage,
    ClientRow,
    ClientSaved,
    ClientView,
    ConfigureClient,
    GetClient,
    ListClients,
    RecordKind,
)
from shared.contracts.refusals import Refused
from shared.messaging.pagination import cursor_after, cursor_position
from shared.messaging.unit_of_work import UnitOfWork


async def configure_client(work: UnitOfWork, command: ConfigureClient) -> ClientSaved:
    """The client exists and has these settings; every service that needs them is told.

    Raises Refused: `client_reserved`, `version_conflict`, `refund_rights_by_platform`.
    Rule: docs/domain.md, "Staff and permissions".
    """
    client_id = work.context.client_id
    if client_id == PLATFORM:
        raise Refused("client_reserved", "The platform is no seller and has no settings of one.")
    client = await work.session.get(Client, client_id, with_for_update=True)
    wanted = command.settings.model_dump(mode="json")
    before = None
    if client is None:
        check_new(command.expected_version)
        client = Client(
            client_id=client_id,
            settings=wanted,
            version=1,
            created_by=work.context.actor,
            changed_by=work.context.actor,
        )
        work.session.add(client)
    else:
        check_version(client, command.expected_version)
        before = client.agreed.model_dump(mode="json")
        if before == wanted:
            return ClientSaved(client_id=client_id, version=client.version, changed=False)
        if before["refund_rights"] != wanted["refund_rights"] and not await for_the_platform(work):
            raise Refused("refund_rights_by_platform", "Who may refund is agreed with the platform, and set by it.")
        client.settings = wanted
        await touch(work, client)
    note_change(
        work,
        RecordKind.CLIENT,
        client_id,
        action=command.key,
        version=client.version,
        before=before,
        after=wanted,
        reason=command.reason,
    )
    await announce_client(work, client)
    return ClientSaved(client_id=client_id, version=client.version, changed=True)


async def announce_client(work: UnitOfWork, client: Client) -> None:
    """Publish a client as it is."""
    await work.publish(
        ClientChanged(client_id=client.client_id, version=client.version, settings=client.agreed),
        order_key=f"client/{client.client_id}",
        subject=client.client_id,
    )


async def get_client(work: UnitOfWork, _query: GetClient) -> ClientView:
    """The settings of this client. Raises Refused: `client_not_found`."""
    client = await work.session.get(Client, work.context.client_id)
    if client is None:
        raise Refused("client_not_found", "There is no such client.", client_id=work.context.client_id)
    return ClientView(
        client_id=client.client_id,
        settings=client.agreed,
        version=client.version,
        changed_at=client.changed_at,
        changed_by=client.changed_by,
    )


async def list_clients(work: UnitOfWork, query: ListClients) -> ClientPage:
    """Clients by id. Raises Refused: `cursor_invalid`."""
    statement = select(Client).where(*of_client(work, Client.client_id))
    after = cursor_position(work, query)
    if after is not None:
        statement = statement.where(Client.client_id > after.decode())
    found = (await work.session.scalars(statement.order_by(Client.client_id).limit(query.limit + 1))).all()
    shown = found[: query.limit]
    return ClientPage(
        rows=tuple(_row(client) for client in shown),
        next_cursor=cursor_after(shown[-1].client_id.encode(), work, query) if len(found) > len(shown) else None,
    )


def _row(client: Client) -> ClientRow:
    settings = client.agreed
    return ClientRow(
        client_id=client.client_id, name=settings.name, time_zone=settings.time_zone, version=client.version
    )
