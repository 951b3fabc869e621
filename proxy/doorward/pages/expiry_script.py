"""The script that warns users on an application's pages before the session ends.

Knows the script and its texts. The script asks `/.doorward/session` how long the session lasts.
"""

import json
from dataclasses import dataclass
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from doorward import paths
from doorward.pages.languages import N_, Language
from doorward.pages.message import Messages

SOON = N_("Your session ends soon. Save your work.")
OVER = N_("Your session has ended. Log in again.")

_HEADERS = {
    "content-type": "text/javascript; charset=utf-8",
    # Its name contains no hash, because people write the name into their pages.
    "cache-control": "public, max-age=3600",
    "vary": "Accept-Language",
    "x-content-type-options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class ExpiryScript:
    messages: Messages

    def routes(self) -> list[Route]:
        return [self.messages.endpoint(paths.EXPIRY_SCRIPT, get=self.give)]

    async def give(self, request: Request) -> Response:
        return Response(write_script(self.messages.renderer.language(request)), headers=_HEADERS)


def write_script(language: Language) -> bytes:
    """The script in one language, without the comments for developers."""
    source = (files("doorward.pages") / "static" / "session.js").read_text()
    lines = [line.strip() for line in source.splitlines()]
    text = "\n".join(line for line in lines if not line.startswith("//"))
    for name, sentence in (("SOON", SOON), ("OVER", OVER)):
        text = text.replace(name, json.dumps(language.say(sentence), ensure_ascii=False))
    return text.encode()
