"""When the user of a session last proved to be there, and how often its token was renewed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Sessions that exist are of no proof: their users are asked for one before a change."""
    op.add_column("sessions", sa.Column("proved_at", sa.Double))
    renewals = sa.Column("renewals", sa.Integer, nullable=False, server_default="0")
    op.add_column("sessions", renewals)
