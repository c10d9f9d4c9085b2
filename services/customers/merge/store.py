"""What a merge and its undoing write besides the merged record itself."""

from uuid import UUID

from sqlalchemy import update

from services.customers.customer.store import family
from services.customers.models import Customer, SearchKey
from shared.messaging.unit_of_work import UnitOfWork


async def show_under(work: UnitOfWork, member_id: UUID, root_id: UUID) -> None:
    """Everything that follows the record is shown under this customer."""
    await work.session.flush()
    for statement in (
        update(Customer).where(Customer.id.in_(family(member_id))),
        update(SearchKey).where(SearchKey.customer_id.in_(family(member_id))),
    ):
        await work.session.execute(statement.values(root_id=root_id).execution_options(synchronize_session=False))
