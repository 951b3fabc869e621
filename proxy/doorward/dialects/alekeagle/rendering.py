"""Sessions and numbers of ended sessions as JSON of the `alekeagle` dialect.

Knows shapes; must not know whose sessions these are. An id is an `iat`; times are Unix seconds.
"""

from starlette.responses import Response

from doorward.accounts.sessions.sessions import Session
from doorward.dialects.alekeagle.error_table import render
from doorward.dialects.alekeagle.names import session_name
from doorward.dialects.alekeagle.shapes import AlekeagleRemoved, AlekeagleSession


def render_session(session: Session) -> AlekeagleSession:
    """The client's own name for the session, or one from its User-Agent."""
    name = session.information or session_name(session.user_agent)
    return AlekeagleSession(iat=session.iat, exp=exp(session), name=name, sub=session.user.id)


def exp(session: Session) -> int:
    """The session's full lifetime after `iat`. If two logins of a user had the same `iat`, one was
    moved by a second."""
    return int(session.expires_at) + max(0, session.iat - int(session.created_at))


def render_removed(count: int) -> Response:
    return render(AlekeagleRemoved(count=count, type="session"))
