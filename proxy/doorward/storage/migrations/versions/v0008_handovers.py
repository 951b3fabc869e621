"""Sessions that are handed over to hosts of other root domains."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """No session was handed over yet."""
    session = sa.ForeignKeyConstraint(
        ["session_number"],
        ["sessions.number"],
        name="fk_handovers_session_number",
        ondelete="CASCADE",
    )
    op.create_table(
        "handovers",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("session_number", sa.Integer, nullable=False),
        sa.Column("binding", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_handovers"),
        session,
    )
    op.create_index("ix_handovers_session_number", "handovers", ["session_number"])
    op.create_index("ix_handovers_expires_at", "handovers", ["expires_at"])
    op.create_table(
        "host_tokens",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("session_number", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_host_tokens"),
        sa.ForeignKeyConstraint(
            ["session_number"],
            ["sessions.number"],
            name="fk_host_tokens_session_number",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_host_tokens_session_number", "host_tokens", ["session_number"])
