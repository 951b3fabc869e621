"""Users, sessions and the revocation feed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables of the first release."""
    _users()
    _sessions()
    _feed()


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.String(17), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("username_key", sa.Text, nullable=False),
        sa.Column("name", sa.Text),
        sa.Column("emails", sa.JSON, nullable=False),
        sa.Column("groups", sa.JSON, nullable=False),
        sa.Column("roles", sa.JSON, nullable=False),
        sa.Column("super_admin", sa.Boolean, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("banned", sa.Boolean, nullable=False),
        sa.Column("must_change_password", sa.Boolean, nullable=False),
        sa.Column("password_hash", sa.Text),
        sa.Column("password_scheme", sa.String(32)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_users"),
        sa.UniqueConstraint("id", name="uq_users_id"),
        sa.UniqueConstraint("source", "username_key", name="uq_users_source_username_key"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "handles",
        sa.Column("handle", sa.Text, nullable=False),
        sa.Column("user_number", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("handle", name="pk_handles"),
        sa.ForeignKeyConstraint(
            ["user_number"], ["users.number"], name="fk_handles_user_number", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_handles_user_number", "handles", ["user_number"])


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("id", sa.String(17), nullable=False),
        sa.Column("user_number", sa.Integer, nullable=False),
        sa.Column("iat", sa.BigInteger, nullable=False),
        sa.Column("token_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("refresh_digest", sa.LargeBinary(32)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("last_used_at", sa.Double, nullable=False),
        sa.Column("idle_timeout_s", sa.Double),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("remember", sa.Boolean, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        sa.Column("information", sa.Text, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("level", sa.String(16), nullable=False),
        sa.Column("method", sa.String(32), nullable=False),
        sa.Column("second_factor_at", sa.Double),
        sa.Column("trusted_until", sa.Double),
        sa.Column("trusted_fingerprint", sa.Text),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_by", sa.String(32)),
        sa.PrimaryKeyConstraint("number", name="pk_sessions"),
        sa.UniqueConstraint("id", name="uq_sessions_id"),
        sa.UniqueConstraint("token_digest", name="uq_sessions_token_digest"),
        sa.UniqueConstraint("refresh_digest", name="uq_sessions_refresh_digest"),
        sa.UniqueConstraint("user_number", "iat", name="uq_sessions_user_number_iat"),
        sa.ForeignKeyConstraint(
            ["user_number"], ["users.number"], name="fk_sessions_user_number", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def _feed() -> None:
    op.create_table(
        "feed",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("session_number", sa.Integer),
        sa.Column("user_number", sa.Integer),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_feed"),
    )
    op.create_index("ix_feed_at", "feed", ["at"])
    counter = op.create_table(
        "feed_counter",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("purged", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feed_counter"),
    )
    op.bulk_insert(counter, [{"id": 1, "number": 0, "purged": 0}])
