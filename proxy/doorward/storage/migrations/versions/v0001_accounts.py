"""Users, sessions, the revocation feed, attempts at passwords and the audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables of the first release."""
    _users()
    _sessions()
    _factors()
    _feed()
    _attempts()
    _audit()


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
        sa.Column("entry_digest", sa.LargeBinary(32)),
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
        sa.Column("previous_digest", sa.LargeBinary(32)),
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
        sa.UniqueConstraint("previous_digest", name="uq_sessions_previous_digest"),
        sa.UniqueConstraint("refresh_digest", name="uq_sessions_refresh_digest"),
        sa.UniqueConstraint("user_number", "iat", name="uq_sessions_user_number_iat"),
        sa.ForeignKeyConstraint(
            ["user_number"], ["users.number"], name="fk_sessions_user_number", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def _factors() -> None:
    op.create_table(
        "factors",
        sa.Column("user_number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("code_key", sa.LargeBinary, nullable=False),
        sa.Column("totp_secret", sa.LargeBinary),
        sa.Column("totp_step", sa.BigInteger),
        sa.Column("email", sa.Boolean, nullable=False),
        sa.Column("code_digest", sa.LargeBinary(32)),
        sa.Column("code_expires", sa.Double),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("locked_until", sa.Double),
        sa.PrimaryKeyConstraint("user_number", name="pk_factors"),
        _foreign_key("factors", "user_number", "users.number"),
    )
    op.create_table(
        "recovery_codes",
        sa.Column("user_number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.PrimaryKeyConstraint("user_number", "digest", name="pk_recovery_codes"),
        _foreign_key("recovery_codes", "user_number", "users.number"),
    )
    op.create_table(
        "enrolments",
        sa.Column("session_number", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("totp_secret", sa.LargeBinary, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("session_number", name="pk_enrolments"),
        _foreign_key("enrolments", "session_number", "sessions.number"),
    )


def _foreign_key(table: str, column: str, whose: str) -> sa.ForeignKeyConstraint:
    """Gone with what it hangs on."""
    return sa.ForeignKeyConstraint(
        [column], [whose], name=f"fk_{table}_{column}", ondelete="CASCADE"
    )


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


def _attempts() -> None:
    op.create_table(
        "budgets",
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("network", sa.Text, nullable=False),
        sa.Column("user_number", sa.Integer),
        sa.Column("touched_at", sa.Double, nullable=False),
        sa.Column("locked_until", sa.Double, nullable=False),
        sa.Column("locked_by", sa.String(17), nullable=False),
        sa.PrimaryKeyConstraint("budget", name="pk_budgets"),
    )
    op.create_index("ix_budgets_user_number", "budgets", ["user_number"])
    op.create_index("ix_budgets_touched_at", "budgets", ["touched_at"])
    op.create_table(
        "attempts",
        sa.Column("attempt", sa.String(17), nullable=False),
        sa.Column("budget", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("attempt", "budget", name="pk_attempts"),
    )
    op.create_index("ix_attempts_budget_at", "attempts", ["budget", "at"])
    op.create_index("ix_attempts_at", "attempts", ["at"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("session", sa.String(17), nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at", "audit", ["at"])
