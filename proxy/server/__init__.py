"""The server under Doorward: listeners, the hardened HTTP protocol, start and stop.

Must not know users or rules.
"""

from proxy.server.listeners import ListenFault, Sockets, listening
from proxy.server.run import run
from proxy.server.workers import supervise

__all__ = ["ListenFault", "Sockets", "listening", "run", "supervise"]
