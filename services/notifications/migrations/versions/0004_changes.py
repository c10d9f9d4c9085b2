"""Who held, queued or sent a mail, and why."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("email", sa.Column("reason", sa.Text(), nullable=True))
    op.create_table(
        "email_change",
        sa.Column("email_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint("action IN ('hold', 'queue', 'send')", name=op.f("ck_email_change_action")),
        sa.ForeignKeyConstraint(
            ["email_id"], ["email.id"], name=op.f("fk_email_change_email_id_email"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("email_id", "version", name=op.f("pk_email_change")),
    )


def downgrade() -> None:
    op.drop_table("email_change")
    op.drop_column("email", "reason")
