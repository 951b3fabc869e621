"""What lists of many users and records need: indexes, and names in order of code points."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

INDEXES = {
    "users": (["username_key", "number"], ["banned", "username_key", "number"]),
    "budgets": (["locked_until"],),
    "audit": (["actor", "number"], ["subject", "number"], ["kind", "number"]),
}


def upgrade() -> None:
    """Elsewhere than in SQLite a beginning of a name is a range only in the "C" collation."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute('ALTER TABLE users ALTER COLUMN username_key TYPE text COLLATE "C"')
        op.execute('ALTER TABLE handles ALTER COLUMN handle TYPE text COLLATE "C"')
    for table, several in INDEXES.items():
        for columns in several:
            op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
