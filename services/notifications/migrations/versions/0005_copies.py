"""Who gets a copy of a mail."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("cc", "bcc"):
        column = sa.Column(name, postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False)
        op.add_column("email", column)


def downgrade() -> None:
    op.drop_column("email", "bcc")
    op.drop_column("email", "cc")
