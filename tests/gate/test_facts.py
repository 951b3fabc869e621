"""The facts of a request only depend on its bytes, so they can be cached by bytes."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from doorward.gate.accept import Accept, Accepted
from doorward.gate.authorize import Authorize
from doorward.gate.cookies import Cookies
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.identify import Identify
from doorward.http1.arrival import Arrival
from doorward.http1.headers import Header
from doorward.settings import AccessSettings, Settings, settings_from
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Make


def gate(settings: Settings) -> tuple[Accept, Gate]:
    cookies = Cookies(secure=False)
    identify = Identify(cast(Any, SimpleNamespace(use=None)), cast(Any, None), cookies)
    authorize = Authorize(settings.routes, AccessSettings())
    return Accept(settings.trusted_proxies, authorize.serves), Gate(
        authorize,
        identify,
        cookies,
        lambda path: False,
        cast(Any, None),
        [lambda session, now: b""],
    )


def facts_of(parts: tuple[Accept, Gate], arrival: Arrival) -> RequestFacts:
    accept, decide = parts
    found = decide.facts(accept(arrival))
    assert isinstance(found, RequestFacts)
    return found


def test_a_request_id_from_a_trusted_proxy_is_marked(settings: Make) -> None:
    parts = gate(settings(trusted_proxies=["192.0.2.0/24"]))
    lines = [(b"host", b"a"), (b"x-request-id", b"abc")]
    assert facts_of(parts, Arrival(b"GET", b"/", lines, "192.0.2.1", "http")).has_own_id
    assert not facts_of(parts, Arrival(b"GET", b"/", lines, "198.51.100.1", "http")).has_own_id


NAMES = st.sampled_from(
    b"cookie accept user-agent x-forwarded-for x-forwarded-host authorization te connection"
    b" x-user-id x-auth-token destination x-http-method x-foo forwarded".split()
)
VALUES = st.sampled_from(
    (b"a", b"a=b; doorward=x", b"192.0.2.9", b"trailers", b"x-foo", b"Bearer x", b"http://a/b")
)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=6),
    st.sampled_from((b"/", b"/a?b", b"/a%2Fb", b"/%61")),
    st.sampled_from(("192.0.2.1", "198.51.100.1")),
)
def test_facts_do_not_depend_on_the_time(lines: list[Header], target: bytes, peer: str) -> None:
    """Facts must not depend on the time. Only a request's id does, and it is replaced."""
    values = {"trusted_proxies": ["198.51.100.0/24"], "routes": [{"upstream": "http://a:1"}]}
    parts = gate(settings_from(values, Path()))
    headers = [(b"host", b"a"), *lines]
    try:
        first, second = (
            facts_of(parts, Arrival(b"GET", target, list(headers), peer, "http")) for _ in range(2)
        )
    except Exception:
        return
    for field in fields(RequestFacts):
        if field.name not in ("request", "credentials"):
            assert getattr(first, field.name) == getattr(second, field.name), field.name
    assert vars(first.credentials) == vars(second.credentials)
    requests = [found.request_as("1") for found in (first, second)]
    for name in Accepted.__slots__:
        assert getattr(requests[0], name) == getattr(requests[1], name), name
