"""Tables and queries behind the core: SQLite or PostgreSQL, migrated when opened, and the feed.

It knows no policy and no HTTP. SQLAlchemy is imported in this package alone.
"""

from __future__ import annotations

from doorward.storage.database import Database, open_database
from doorward.storage.fault import StorageFault

__all__ = ["Database", "StorageFault", "open_database"]
