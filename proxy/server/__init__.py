"""The server under Doorward: listeners, the hardened HTTP protocol, start and stop.

Must not know users or rules.
"""

from proxy.server.run import run

__all__ = ["run"]
