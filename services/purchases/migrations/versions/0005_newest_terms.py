"""Terms newest first, for beginnings of words that very many purchases have."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_INDEXES = {
    "ix_search_key_newest": ["client_id", "kind", "ordered_at", "purchase_id"],
    "ix_search_key_newest_of_all": ["kind", "ordered_at", "purchase_id"],
}


def upgrade() -> None:
    for name, columns in _INDEXES.items():
        op.create_index(
            name,
            "search_key",
            columns,
            postgresql_include=["term"],
            postgresql_where=sa.text("kind = 'last_name' OR kind = 'company' OR kind = 'email_domain'"),
        )


def downgrade() -> None:
    for name in _INDEXES:
        op.drop_index(name, table_name="search_key")
