"""Bodies in three encodings: each has one meaning, or is refused."""

from __future__ import annotations

import json

import pytest
from doorward.dialects.context import Malformed, TooLarge
from doorward.dialects.fields import FIELDS_LIMIT, read_fields
from starlette.requests import Request
from starlette.types import Message

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=b"


def asked(body: bytes, kind: str | None) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [] if kind is None else [(b"content-type", kind.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


def parts(*pairs: tuple[str, str]) -> bytes:
    lines = [
        f'--b\r\ncontent-disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in pairs
    ]
    return ("".join(lines) + "--b--\r\n").encode()


SAME = {"user": "Zoë", "pass": "a b", "rememberMe": "true"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", json.dumps(SAME).encode()),
        ("Application/JSON; charset=utf-8", json.dumps(SAME, ensure_ascii=False).encode()),
        (FORM, b"user=Zo%C3%AB&pass=a+b&rememberMe=true"),
        (FORM + "; charset=utf-8", "user=Zoë&pass=a%20b&rememberMe=true".encode()),
        (MULTIPART, parts(*SAME.items())),
    ],
)
async def test_the_three_encodings_give_the_same_fields(kind: str, body: bytes) -> None:
    assert await read_fields(asked(body, kind)) == SAME


@pytest.mark.parametrize("kind", [None, "", "text/plain", "application/xml", "application/jsonp"])
async def test_a_body_of_another_type_has_no_fields(kind: str | None) -> None:
    assert await read_fields(asked(b'{"user": "alice"}', kind)) == {}


@pytest.mark.parametrize("kind", ["application/json", FORM, None])
async def test_an_empty_body_has_no_fields(kind: str | None) -> None:
    assert await read_fields(asked(b"", kind)) == {}


NESTED = [
    (b"sessions=1&sessions=2", {"sessions": ["1", "2"]}),
    (b"sessions%5B%5D=1&sessions[]=2", {"sessions": ["1", "2"]}),
    (b"sessions[]=1", {"sessions": ["1"]}),
    (b"sessions=1", {"sessions": "1"}),
    (b"2fa[token]=t&2fa[code]=1", {"2fa": {"token": "t", "code": "1"}}),
    (b"a[b][c]=1", {"a[b][c]": "1"}),
    (b"[a]=1", {"[a]": "1"}),
    (b"a[b]=1&a[]=2", {"a": [{"b": "1"}, "2"]}),
    (b"a=", {"a": ""}),
]


@pytest.mark.parametrize(("body", "found"), NESTED)
async def test_forms_can_have_lists_and_one_level_of_nesting(
    body: bytes, found: dict[str, object]
) -> None:
    assert await read_fields(asked(body, FORM)) == found


UNREADABLE = {
    "half of JSON": ("application/json", b'{"user": "al'),
    "a name twice": ("application/json", b'{"user": "a", "user": "b"}'),
    "an array": ("application/json", b"[]"),
    "a deep nest": ("application/json", b'{"a":' * 10_000),
    "JSON in UTF-16": ("application/json; charset=utf-16", '{"a": 1}'.encode("utf-16")),
    "a form that is not UTF-8": (FORM, b"user=%FF"),
    "raw bytes in a form": (FORM, b"user=\xff"),
    "a form with one nested name twice": (FORM, b"a[b]=1&a[b]=2"),
    "a nest in what is a text": (FORM, b"a=1&a[b]=2"),
    "too many fields": (FORM, b"&".join([b"a=1"] * (FIELDS_LIMIT + 1))),
    "too many parts": (MULTIPART, parts(*[("a", "1")] * (FIELDS_LIMIT + 1))),
    "no boundary": ("multipart/form-data", parts(("a", "1"))),
    "a file": (
        MULTIPART,
        b'--b\r\ncontent-disposition: form-data; name="a"; filename="x"\r\n\r\n1\r\n--b--\r\n',
    ),
}


@pytest.mark.parametrize(("kind", "body"), UNREADABLE.values(), ids=UNREADABLE.keys())
async def test_an_ambiguous_body_is_malformed(kind: str, body: bytes) -> None:
    with pytest.raises(Malformed):
        await read_fields(asked(body, kind))


@pytest.mark.parametrize("kind", ["application/json", FORM, MULTIPART])
async def test_a_body_over_its_bound_is_too_large(kind: str) -> None:
    with pytest.raises(TooLarge):
        await read_fields(asked(b"x" * 65_537, kind))
