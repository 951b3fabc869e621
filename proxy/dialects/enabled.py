"""Which dialects answer here, by the settings: the one place that knows them all.

It must not know what any of them says.
"""

from starlette.routing import Route

from proxy.dialects import xhr
from proxy.dialects.wire import Wire


def routes(wire: Wire) -> list[Route]:
    dialects = wire.settings.dialects
    found: list[Route] = []
    if dialects.xhr is not None:
        found += xhr.routes(wire.of(dialects.xhr))
    return found
