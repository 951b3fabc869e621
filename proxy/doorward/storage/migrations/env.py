"""Where Alembic starts: it works on the given connection and inside its transaction."""

from __future__ import annotations

from alembic import context
from doorward.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes most things by copying the table
)
context.run_migrations()
