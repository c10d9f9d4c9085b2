"""Mails that tell of nobody any more, and purchases about which none is made."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("email", sa.Column("anonymized_at", sa.DateTime(timezone=True), nullable=True))
    op.create_table(
        "tombstone",
        sa.Column("reference_number", sa.String(length=9), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("reference_number", name=op.f("pk_tombstone")),
    )


def downgrade() -> None:
    op.drop_table("tombstone")
    op.drop_column("email", "anonymized_at")
