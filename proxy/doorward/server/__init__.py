"""The server under Doorward: listeners, the hardened HTTP protocol, start and stop.

Must not know users or rules.
"""

from doorward.server.limits import fit_descriptors
from doorward.server.listeners import ListenFault, Sockets, open_listeners
from doorward.server.run import run
from doorward.server.workers import ignored, supervise

__all__ = [
    "ListenFault",
    "Sockets",
    "fit_descriptors",
    "ignored",
    "open_listeners",
    "run",
    "supervise",
]
