"""How many attempts a lock refused: a count with the lock in place of a record of each."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Locks that last were counted by their records so far."""
    op.add_column("budgets", sa.Column("refused", sa.Integer, nullable=False, server_default="0"))
    op.create_index("ix_budgets_refused", "budgets", ["refused"])
