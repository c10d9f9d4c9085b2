"""Why a refund was requested, in the words of whoever requested it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("refund", sa.Column("reason_given", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("refund", "reason_given")
