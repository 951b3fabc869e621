"""What is kept of requests that may come again: facts, which are a function of their bytes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from doorward.gate.accept import Accept
from doorward.gate.authorize import Authorize
from doorward.gate.cookies import Cookies
from doorward.gate.gate import Gate, RequestFacts
from doorward.gate.identify import Identify
from doorward.http1.arrival import Arrival
from doorward.http1.headers import Block, Header
from doorward.relay.memo import LIMIT, Memo
from doorward.settings import Access, Settings, settings_from
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import Make


@dataclass
class Came:
    """As much of an exchange as the memo looks at."""

    method: bytes
    target: bytes
    block: Block | None
    link: tuple[str, str] = ("192.0.2.1", "http")


def came(*asked: Any) -> Any:
    return Came(*asked)


def gate(settings: Settings) -> tuple[Accept, Gate]:
    cookies = Cookies(secure=False)
    identify = Identify(cast(Any, None), cast(Any, None), cookies)
    authorize = Authorize(settings.routes, Access())
    return Accept(settings.trusted_proxies, authorize.serves), Gate(
        authorize, identify, cookies, lambda path: False, cast(Any, None)
    )


def facts_of(parts: tuple[Accept, Gate], arrival: Arrival) -> RequestFacts:
    accept, decide = parts
    found = decide.facts(accept(arrival))
    assert isinstance(found, RequestFacts)
    return found


def test_what_is_kept_is_bounded(settings: Make) -> None:
    """CVE-2023-30798's kin: endless new targets fill no memory."""
    memo, block, parts = Memo(), Block([]), gate(settings())

    def facts(target: bytes) -> RequestFacts:
        return facts_of(parts, Arrival(b"GET", target, [(b"host", b"a")], "192.0.2.1", "http"))

    for number in range(LIMIT + 10):
        target = b"/%d" % number
        memo.keep(came(b"GET", target, block), facts(target))
    assert len(memo._kept) == LIMIT
    long = b"/x" * 500
    memo.keep(came(b"GET", long, block), facts(long))
    assert memo.find(came(b"GET", long, block)) is None
    memo.clear()
    assert memo.find(came(b"GET", b"/%d" % (LIMIT + 9), block)) is None


def test_another_link_or_block_is_another_request(settings: Make) -> None:
    memo, block, parts = Memo(), Block([]), gate(settings())
    arrival = Arrival(b"GET", b"/", [(b"host", b"a")], "192.0.2.1", "http")
    found = facts_of(parts, arrival)
    memo.keep(came(b"GET", b"/", block), found)
    assert memo.find(came(b"GET", b"/", block)) is found
    assert memo.find(came(b"GET", b"/", Block([]))) is None
    assert memo.find(came(b"GET", b"/", None)) is None
    assert memo.find(came(b"HEAD", b"/", block)) is None
    assert memo.find(came(b"GET", b"/", block, ("192.0.2.2", "http"))) is None
    assert memo.find(came(b"GET", b"/", block, ("192.0.2.1", "https"))) is None


def test_an_id_that_a_trusted_proxy_gave_is_not_kept(settings: Make) -> None:
    memo, block, parts = Memo(), Block([]), gate(settings(trusted_proxies=["192.0.2.0/24"]))
    lines = [(b"host", b"a"), (b"x-request-id", b"abc")]
    found = facts_of(parts, Arrival(b"GET", b"/", lines, "192.0.2.1", "http"))
    memo.keep(came(b"GET", b"/", block), found)
    assert memo.find(came(b"GET", b"/", block)) is None


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
def test_facts_are_the_same_whenever_they_are_read(
    lines: list[Header], target: bytes, peer: str
) -> None:
    """The kind: what depends on the moment must not be among them. Only the id of a request does,
    and is replaced."""
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
        if field.name != "request":
            assert getattr(first, field.name) == getattr(second, field.name), field.name
    assert first.request_as("1") == second.request_as("1")
