"""The inbox by age: what is past its window is found without reading what is not. docs/adr/0006."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_inbox_received_at", table_name="inbox")
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])


def downgrade() -> None:
    op.drop_index("ix_inbox_received_at", table_name="inbox")
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"], postgresql_using="brin")
