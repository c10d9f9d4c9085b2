"""The reason in the header of the message that completed an error."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("error_entry", sa.Column("completion_reason", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("error_entry", "completion_reason")
