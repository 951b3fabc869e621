"""What a decided request needs before it is forwarded: credentials for the application.

Knows which decisions need them; must not know what they are, or how a request is forwarded.
"""

from collections.abc import Mapping, Sequence

from doorward.accounts.refusals import StorageUnavailable
from doorward.accounts.sessions.sessions import Session
from doorward.gate.decision import Forward, Refuse, unavailable
from doorward.gate.gate import RequestFacts
from doorward.http1.headers import Header
from doorward.relay.request_body import Refused
from doorward.relay.watch import Watch
from doorward.rewrite.route_credentials import PreparedCredentials

# A session is read again whenever something about its user changes, and so are its credentials.
TRIES = 3


class Preparation:
    """Prepares a decision before it is carried out."""

    def __init__(self, watch: Watch, credentials: Mapping[int, PreparedCredentials]) -> None:
        self._watch = watch
        self._credentials = credentials
        self.routes = frozenset(credentials)

    def is_needed(self, decision: Forward) -> bool:
        if not decision.credentials:
            return False
        credentials = self._credentials.get(decision.route)
        return credentials is not None and not credentials.is_ready(decision.session)

    async def prepare(self, facts: RequestFacts, decision: Forward) -> Forward:
        """The decision, made again once its credentials are there. Raises UpstreamFailure, and
        Refused if the decision has changed meanwhile."""
        for _ in range(TRIES):
            if not self.is_needed(decision):
                return decision
            await self._find(facts, decision.route, decision.session)
            confirmed = await self._watch.confirm(facts, decision)
            if isinstance(confirmed, Refuse):
                raise Refused(confirmed)
            decision = confirmed
        raise Refused(unavailable())

    async def _find(self, facts: RequestFacts, route: int, session: Session | None) -> None:
        assert session is not None, "there is nothing to find for nobody"
        try:
            await self._credentials[route].prepare(session, facts.request)
        except StorageUnavailable:
            raise Refused(unavailable()) from None

    # After an answer

    def get_number(self, decision: Forward) -> int:
        """Which of the credentials that were found one after another go with a decision now."""
        credentials = self._credentials.get(decision.route) if decision.credentials else None
        return 0 if credentials is None else credentials.get_number(decision.session)

    def is_over(self, decision: Forward, status: int, headers: Sequence[Header]) -> bool:
        """Whether an answer says that the application does not know who asked."""
        return self._credentials[decision.route].is_over(status, headers)

    def renew(self, decision: Forward, number: int) -> bool:
        """Have others found in place of those of this number; whether it helps to ask again."""
        return self._credentials[decision.route].renew(decision.session, number)

    def take(self, decision: Forward, number: int, headers: Sequence[Header]) -> list[Header]:
        """An answer's headers without those that are not for the client."""
        return self._credentials[decision.route].take(headers, decision.session, number)
