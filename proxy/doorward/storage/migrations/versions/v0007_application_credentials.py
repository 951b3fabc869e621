"""Users' credentials at applications."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nobody has any yet."""
    op.create_table(
        "application_credentials",
        sa.Column("user_number", sa.Integer, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("password", sa.LargeBinary, nullable=False),
        sa.Column("set_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("user_number", "route", name="pk_application_credentials"),
        sa.ForeignKeyConstraint(
            ["user_number"],
            ["users.number"],
            name="fk_application_credentials_user_number",
            ondelete="CASCADE",
        ),
    )
