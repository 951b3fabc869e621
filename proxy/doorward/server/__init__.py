"""The server under Doorward: listeners, the hardened HTTP protocol, start and stop.

Must not know users or rules.
"""

from doorward.server.limits import fitted
from doorward.server.listeners import ListenFault, Sockets, listening
from doorward.server.run import run
from doorward.server.workers import ignored, supervise

__all__ = ["ListenFault", "Sockets", "fitted", "ignored", "listening", "run", "supervise"]
