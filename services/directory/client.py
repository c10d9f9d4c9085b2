"""The sellers' accounts and their settings."""

from services.directory.models import Client
from services.directory.store import add_record, close_change, is_for_platform, lock_client
from shared.contracts.directory import PLATFORM, ClientSaved, ConfigureClient
from shared.contracts.refusals import Refused
from shared.messaging.unit_of_work import UnitOfWork
from shared.records import check_version


async def configure_client(work: UnitOfWork, command: ConfigureClient) -> ClientSaved:
    """The client exists and has these settings; every service that needs them is told.

    Raises Refused `client_reserved`, `version_conflict`, `refund_rights_by_platform`.
    Rule: docs/domain.md, "Staff and permissions".
    """
    client_id = work.context.client_id
    if client_id == PLATFORM:
        raise Refused("client_reserved", "The platform is no seller and has no settings of one.")
    client = await lock_client(work)
    check_version(client, command.expected_version)
    wanted = command.settings.model_dump(mode="json")
    before = None
    if client is None:
        client = add_record(work, Client, client_id=client_id, settings=wanted)
    else:
        before = client.current_settings.model_dump(mode="json")
        if before == wanted:
            return ClientSaved(client_id=client_id, version=client.version, changed=False)
        if before["refund_rights"] != wanted["refund_rights"] and not await is_for_platform(work):
            raise Refused("refund_rights_by_platform", "Who may refund is agreed with the platform, and set by it.")
        client.settings = wanted
    await close_change(work, client, command, before=before, after=wanted)
    return ClientSaved(client_id=client_id, version=client.version, changed=True)
