"""The tables. Migrations create them; a test compares the two.

Times are Unix seconds, secrets are digests. Numbers of users and sessions are never reused, so that
an outdated cache cannot confuse two.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Compared by code point, as in SQLite: then names with a common beginning are a range.
Exact = Text().with_variant(Text(collation="C"), "postgresql")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# One row for each user of every source. For users of a directory it has only identity and state;
# the directory has the rest. Addresses, groups and roles are read and written together with their
# user, in the one query that finds a session, so they are JSON instead of tables.
users = Table(
    "users",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(17), nullable=False, unique=True),
    Column("source", String(32), nullable=False),
    Column("username", Text, nullable=False),
    Column("username_key", Exact, nullable=False),
    Column("name", Text),
    Column("emails", JSON, nullable=False),
    Column("groups", JSON, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("super_admin", Boolean, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("banned", Boolean, nullable=False),
    Column("must_change_password", Boolean, nullable=False),
    Column("password_hash", Text),
    Column("password_scheme", String(32)),
    Column("entry_digest", LargeBinary(32)),  # of the last hash in the directory's file
    Column("created_at", Double, nullable=False),
    Column("version", Integer, nullable=False),
    UniqueConstraint("source", "username_key"),
    Index(None, "username_key", "number"),
    Index(None, "banned", "username_key", "number"),
    sqlite_autoincrement=True,
)

# Every normalised name and verified address of the database's users, so that one key ensures that
# no two users share one and no name is another user's address.
handles = Table(
    "handles",
    metadata,
    Column("handle", Exact, primary_key=True),
    Column("user_number", ForeignKey("users.number", ondelete="CASCADE"), nullable=False),
    Index(None, "user_number"),
)

# Ended sessions are kept for a while, so that their tokens are still recognized.
sessions = Table(
    "sessions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(17), nullable=False, unique=True),
    Column("user_number", ForeignKey("users.number", ondelete="CASCADE"), nullable=False),
    Column("iat", BigInteger, nullable=False),
    Column("token_digest", LargeBinary(32), nullable=False, unique=True),
    Column("previous_digest", LargeBinary(32), unique=True),
    Column("refresh_digest", LargeBinary(32), unique=True),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double, nullable=False),
    Column("idle_timeout_s", Double),
    Column("expires_at", Double, nullable=False),
    Column("remember", Boolean, nullable=False),
    Column("address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("information", Text, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("level", String(16), nullable=False),
    Column("method", String(32), nullable=False),
    Column("second_factor_at", Double),
    Column("trusted_until", Double),
    Column("trusted_fingerprint", Text),
    Column("proved_at", Double),
    Column("renewals", Integer, nullable=False, server_default="0"),
    Column("ended_at", Double),
    Column("ended_by", String(32)),
    UniqueConstraint("user_number", "iat"),
    Index(None, "expires_at"),
    sqlite_autoincrement=True,
)

# Codes that hand a session over to a host of another root domain, each for one browser (`binding`),
# and the tokens that sessions have on such hosts. Both go with the session's own token.
handovers = Table(
    "handovers",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("session_number", ForeignKey("sessions.number", ondelete="CASCADE"), nullable=False),
    Column("binding", LargeBinary(32), nullable=False),
    Column("expires_at", Double, nullable=False),
    Index(None, "session_number"),
    Index(None, "expires_at"),
)
host_tokens = Table(
    "host_tokens",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("session_number", ForeignKey("sessions.number", ondelete="CASCADE"), nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "session_number"),
)

# API tokens. `digest` is a keyed hash of the secret; routes, methods and networks limit the token,
# empty lists do not. Tokens that are over are kept for a while, so that they are still recognized.
tokens = Table(
    "tokens",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(17), nullable=False, unique=True),
    Column("user_number", ForeignKey("users.number", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("routes", JSON, nullable=False),
    Column("methods", JSON, nullable=False),
    Column("networks", JSON, nullable=False),
    Column("admin", String(8)),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double),
    Column("last_used_at", Double),
    Column("address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("ended_at", Double),
    Column("ended_by", String(32)),
    Index(None, "user_number"),
    Index(None, "expires_at"),
    Index(None, "ended_at"),
    sqlite_autoincrement=True,
)

# Second factors. Secrets are encrypted with a key that is not in here, and codes are digested with
# one of the user's own that is encrypted in the same way. `failures` counts wrong codes of every
# kind.
factors = Table(
    "factors",
    metadata,
    Column("user_number", ForeignKey("users.number", ondelete="CASCADE"), primary_key=True),
    Column("code_key", LargeBinary, nullable=False),
    Column("totp_secret", LargeBinary),
    Column("totp_step", BigInteger),
    Column("email", Boolean, nullable=False),
    Column("code_digest", LargeBinary(32)),
    Column("code_expires", Double),
    Column("failures", Integer, nullable=False),
    Column("locked_until", Double),
    Column("browsers", Integer, nullable=False, server_default="0"),
)

# Users' names and passwords at applications behind Doorward. Passwords are encrypted in the same
# way, each for its user, route and name.
application_credentials = Table(
    "application_credentials",
    metadata,
    Column("user_number", ForeignKey("users.number", ondelete="CASCADE"), primary_key=True),
    Column("route", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("password", LargeBinary, nullable=False),
    Column("set_at", Double, nullable=False),
)

# The unused ones.
recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_number", ForeignKey("users.number", ondelete="CASCADE"), primary_key=True),
    Column("digest", LargeBinary(32), primary_key=True),
)

# Secrets shown in a session and not confirmed yet: the last one of each session.
enrolments = Table(
    "enrolments",
    metadata,
    Column("session_number", ForeignKey("sessions.number", ondelete="CASCADE"), primary_key=True),
    Column("totp_secret", LargeBinary, nullable=False),
    Column("expires_at", Double, nullable=False),
)

# Changes for running workers. A row names a session or a user; a token is a session whose number is
# the negative of the token's.
feed = Table(
    "feed",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("session_number", Integer),
    Column("user_number", Integer),
    Column("at", Double, nullable=False),
    Index(None, "at"),
)

# One row. A transaction that adds to the feed locks it until commit, so numbers appear in order;
# `purged` is the highest deleted number.
feed_counter = Table(
    "feed_counter",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("purged", BigInteger, nullable=False),
)

# The budgets that password attempts count against: of a network, or of a user or name in a network.
# The end of an expired lock-out stays here, so that earlier attempts do not count again. `refused`
# attempts came during a lock-out; they are reported when it is over.
budgets = Table(
    "budgets",
    metadata,
    Column("budget", Text, primary_key=True),
    Column("network", Text, nullable=False),
    Column("user_number", Integer),
    Column("touched_at", Double, nullable=False),
    Column("locked_until", Double, nullable=False),
    Column("locked_by", String(17), nullable=False),
    Column("refused", Integer, nullable=False, server_default="0"),
    Index(None, "user_number"),
    Index(None, "touched_at"),
    Index(None, "locked_until"),
    Index(None, "refused"),
)

# An attempt has one row per budget.
attempts = Table(
    "attempts",
    metadata,
    Column("attempt", String(17), primary_key=True),
    Column("budget", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Index(None, "budget", "at"),
    Index(None, "at"),
)

# The audit trail. Rows are added, never changed; names are copied, so that they outlive the user.
audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("actor", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("session", String(17), nullable=False),
    Column("request_id", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Index(None, "at"),
    Index(None, "actor", "number"),
    Index(None, "subject", "number"),
    Index(None, "kind", "number"),
    sqlite_autoincrement=True,
)
