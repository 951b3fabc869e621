"""The operator's page that is served while no upstream can be reached.

Knows files and their types; must not know when it is served.
"""

import mimetypes
from pathlib import Path

from doorward.settings import Fault, InvalidSettings, Settings
from doorward.upstream.failures import Page

# It is kept in memory, and sent whole to all concurrent clients.
PAGE_BYTES = 1024 * 1024


def maintenance_pages(settings: Settings) -> dict[Path | None, Page]:
    """The pages by their files. Raises InvalidSettings with all that cannot be used."""
    pages: dict[Path | None, Page] = {}
    faults: list[Fault] = []
    for number, route in enumerate(settings.routes):
        if route.maintenance is not None:
            try:
                pages[route.maintenance] = _read(route.maintenance)
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                message = f"{route.maintenance} cannot be served: {reason}"
                faults.append(Fault(f"routes[{number}].maintenance", None, message))
    if faults:
        raise InvalidSettings(faults)
    return pages


def _read(path: Path) -> Page:
    with path.open("rb") as file:
        body = file.read(PAGE_BYTES + 1)
    if len(body) > PAGE_BYTES:
        raise ValueError("it is larger than 1 MiB")
    return Page(body, mimetypes.guess_type(path.name)[0] or "text/html")
