"""Tables and queries behind the core: SQLite or PostgreSQL, migrated when opened, and the feed.

It knows no policy and no HTTP. Only this package imports SQLAlchemy.
"""

from __future__ import annotations

from doorward.storage.database import Database, open_database
from doorward.storage.fault import StorageFault

__all__ = ["Database", "StorageFault", "open_database"]
