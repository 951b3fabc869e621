"""The cache of requests by bytes: its entries and its limits."""

from __future__ import annotations

from doorward.http1.heads import RequestHead, read_request
from doorward.http1.known_requests import HEAD_BYTES, LIMIT, KnownRequests


def head(target: bytes = b"/", more: bytes = b"") -> RequestHead:
    found = read_request(b"GET %b HTTP/1.1\r\nHost: a\r\n%b\r\n" % (target, more))
    assert found is not None
    return found


def test_a_request_seen_once_is_not_cached() -> None:
    known = KnownRequests()
    known.note(head())
    assert known.find(head().text) is None
    known.note(head())
    assert known.find(head().text) is not None
    assert known.find(head(b"/other").text) is None
    known.clear()
    assert known.find(head().text) is None


def test_the_cache_is_bounded() -> None:
    """As for CVE-2023-30798: any number of new targets must not fill memory."""
    known = KnownRequests()
    for number in range(LIMIT + 10):
        for _ in range(2):
            known.note(head(b"/%d" % number))
    assert len(known._known) == LIMIT
    assert known.find(head(b"/9").text) is None
    assert known.find(head(b"/%d" % (LIMIT + 9)).text) is not None
    long = head(more=b"X: %b\r\n" % (b"y" * HEAD_BYTES))
    for _ in range(3):
        known.note(long)
    assert known.find(long.text) is None
