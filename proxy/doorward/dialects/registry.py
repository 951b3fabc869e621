"""Which dialects answer here, by the settings: the one place that knows them all.

It must not know what any of them says.
"""

from collections.abc import Iterable

from starlette.routing import Route

from doorward.dialects import alekeagle, datepoll, rocketchat, xhr
from doorward.dialects.context import Context


def tables(context: Context) -> dict[str, list[Route]]:
    """The routes of each dialect that is on, by its name."""
    dialects = context.settings.dialects
    found: dict[str, list[Route]] = {}
    if dialects.xhr is not None:
        found["xhr"] = xhr.routes(context.of(dialects.xhr))
    if dialects.alekeagle is not None:
        found["alekeagle"] = alekeagle.routes(context.of(dialects.alekeagle), dialects.alekeagle)
    if dialects.datepoll is not None:
        found["datepoll"] = datepoll.routes(context.of(dialects.datepoll), dialects.datepoll)
    if dialects.rocketchat is not None:
        found["rocketchat"] = rocketchat.routes(context.of(dialects.rocketchat))
    return found


def routes(context: Context) -> list[Route]:
    return [route for found in tables(context).values() for route in found]


def shadows(found: Iterable[Route], prefixes: Iterable[str]) -> list[str]:
    """The paths of these routes that an upstream would get, were they not ours; `prefixes` are the
    paths that upstreams stand under."""
    slashed = tuple({prefix.rstrip("/") + "/" for prefix in prefixes})
    return sorted(route.path for route in found if (route.path + "/").startswith(slashed))
