"""What ends the notes of remembered browsers: a number that grows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Nobody has such a note yet."""
    op.add_column("factors", sa.Column("browsers", sa.Integer, nullable=False, server_default="0"))
