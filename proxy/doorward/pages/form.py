"""Reads forms that pages post: from this site, short and well-formed.

Knows the answers to other forms; must not know any field.
"""

from starlette.requests import Request
from starlette.responses import Response

from doorward.pages.languages import N_
from doorward.pages.message import Messages
from doorward.web.endpoint import BODY_LIMIT_BYTES, BodyTooLarge
from doorward.web.forms import NotAForm, UnreadableForm, read_fields
from doorward.web.session_service import SessionService

FOREIGN = N_("This form was sent from another site.")


async def read_form(
    service: SessionService, messages: Messages, request: Request, most: int = BODY_LIMIT_BYTES
) -> dict[str, str] | Response:
    """The fields, or the answer to a request without a valid form."""
    if not service.is_from_own_site(request):  # CVE-2017-1000069: a login is tied to its form
        return messages.answer(request, 403, FOREIGN, "foreign_origin")
    try:
        return await read_fields(request, most)
    except BodyTooLarge:
        return messages.answer(request, 413)
    except NotAForm:
        return messages.answer(request, 415)
    except UnreadableForm:
        return messages.answer(request, 400)
