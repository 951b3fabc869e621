"""Where Alembic starts: it works on the connection and inside the transaction it is given."""

from __future__ import annotations

from alembic import context
from doorward.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes most things by copying the table
)
context.run_migrations()
