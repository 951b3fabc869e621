"""Identity headers: documented presets, custom headers, unambiguous values."""

from __future__ import annotations

from dataclasses import replace
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest
from doorward.accounts.permissions import OWNER
from doorward.accounts.users.editing import Edit
from doorward.header_names import is_identity_name
from doorward.http1.headers import parse_headers, select_trailers
from doorward.rewrite.identity_headers import ENCODINGS, VALUE_BYTES, IdentityHeaders
from doorward.settings import InvalidSettings, Route, settings_from
from doorward.settings.identity import PRESETS
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support.front import Build, Front, front_of
from tests.support.head_readers import Heads, both
from tests.support.origin import Origin, answering
from tests.support.wire import lines_of

ALICE: dict[str, Any] = {
    "name": "Älice A.",
    "groups": ["staff", "wiki"],
    "roles": ["editor", "reader"],
}


def tell_of(route: Route) -> IdentityHeaders:
    return IdentityHeaders(route.identity_headers, route.encoding)


async def sent(front: Front, **user: Any) -> list[tuple[bytes, bytes]]:
    """The identity lines that the application gets for a session of such a user."""
    session = front.cookie(await front.opened(**user))
    assert (await front.get("/", session)).status == 200
    return [line for line in lines_of(front.origin.heads[-1]) if is_identity_name(line[0])]


NAME = b"%C3%84lice A."
MAIL = b"alice@app.test"

# The names that other programs use. ID is the user's id.
ID = b"ID"
EXPECTED = {
    "remote-user": [
        (b"remote-user", b"alice"),
        (b"remote-groups", b"staff,wiki"),
        (b"remote-name", NAME),
        (b"remote-email", MAIL),
    ],
    "tinyauth": [
        (b"remote-user", b"alice"),
        (b"remote-groups", b"staff,wiki"),
        (b"remote-name", NAME),
        (b"remote-email", MAIL),
        (b"remote-sub", ID),
    ],
    "x-forwarded": [
        (b"x-forwarded-user", b"alice"),
        (b"x-forwarded-preferred-username", b"alice"),
        (b"x-forwarded-email", MAIL),
        (b"x-forwarded-groups", b"staff,wiki"),
    ],
    "x-remote": [
        (b"x-remote-user", b"alice"),
        (b"x-remote-group", b"staff"),
        (b"x-remote-group", b"wiki"),
    ],
    "x-auth-request": [
        (b"x-auth-request-user", b"alice"),
        (b"x-auth-request-email", MAIL),
        (b"x-auth-request-preferred-username", b"alice"),
        (b"x-auth-request-groups", b"staff,wiki"),
    ],
    "authentik": [
        (b"x-authentik-username", b"alice"),
        (b"x-authentik-groups", b"staff|wiki"),
        (b"x-authentik-entitlements", b"editor|reader"),
        (b"x-authentik-email", MAIL),
        (b"x-authentik-name", NAME),
        (b"x-authentik-uid", ID),
    ],
    "pomerium": [
        (b"x-pomerium-claim-sub", ID),
        (b"x-pomerium-claim-user", b"alice"),
        (b"x-pomerium-claim-email", MAIL),
        (b"x-pomerium-claim-name", NAME),
        (b"x-pomerium-claim-groups", b"staff,wiki"),
    ],
    "x-token": [
        (b"x-token-subject", b"alice"),
        (b"x-token-user-name", NAME),
        (b"x-token-user-email", MAIL),
        (b"x-token-user-roles", b"editor reader"),
    ],
    "x-auth": [
        (b"x-auth-username", b"alice"),
        (b"x-auth-userid", b"alice"),
        (b"x-auth-email", MAIL),
        (b"x-auth-subject", ID),
        (b"x-auth-groups", b"staff,wiki"),
        (b"x-auth-roles", b"editor,reader"),
    ],
    "vouch": [(b"x-vouch-user", b"alice")],
    "webauth": [
        (b"x-webauth-user", b"alice"),
        (b"x-webauth-name", NAME),
        (b"x-webauth-fullname", NAME),
        (b"x-webauth-email", MAIL),
        (b"x-webauth-groups", b"staff,wiki"),
    ],
    "cgi": [(b"remote-user", b"alice")],
    "none": [],
}


async def mailed(front: Front, **user: Any) -> list[tuple[bytes, bytes]]:
    """The same for a user with a verified address."""
    from doorward.accounts.user import Email

    return await sent(front, emails=[Email(MAIL.decode(), True)], **user)


async def on_route(fronts: Build, origin: Origin, **route: Any) -> Front:
    return await fronts(routes=[{"upstream": origin.url} | route])


@pytest.mark.parametrize("preset", EXPECTED)
async def test_a_preset_sends_its_headers(fronts: Build, origin: Origin, preset: str) -> None:
    front = await on_route(fronts, origin, identity=[preset])
    found = await mailed(front, **ALICE)
    user_id = (await front.accounts.users.get("alice")).id.encode()
    expected = [(name, user_id if value is ID else value) for name, value in EXPECTED[preset]]
    assert found == expected


def test_no_answer_carries_a_header_of_a_preset() -> None:
    """A new preset has to be in the table of names that clients may not send, whether or not it is
    used."""
    assert EXPECTED.keys() == PRESETS.keys()
    assert all(is_identity_name(name) for lines in EXPECTED.values() for name, _ in lines)


async def test_several_presets_can_be_combined(fronts: Build, origin: Origin) -> None:
    front = await on_route(fronts, origin, identity=["x-remote", "remote-user", "cgi"])
    lines = await sent(front)
    assert lines == [(b"x-remote-user", b"alice"), (b"remote-user", b"alice")]


async def test_empty_values_are_left_out(front: Front) -> None:
    assert await sent(front) == [(b"remote-user", b"alice")]


async def test_an_unverified_address_is_not_sent(front: Front) -> None:
    """As for CVE-2026-40574: an address counts only after the user has proved that it is theirs."""
    from doorward.accounts.user import Email

    lines = await sent(front, emails=[Email("admin@app.test", False)])
    assert lines == [(b"remote-user", b"alice")]


async def test_the_user_id_stays_when_other_attributes_change(
    fronts: Build, origin: Origin
) -> None:
    told = ["remote-user", {"header": "Remote-Sub", "value": "id"}]
    front = await fronts(routes=[{"upstream": origin.url, "identity": told}])
    before = dict(await sent(front, **ALICE))
    session = await front.opened()
    edit = Edit(name="Alice B.", remove_groups=("staff",), add_groups=("x",))
    await front.accounts.users.edit("alice", edit, actor=OWNER, now=front.clock())
    after = dict(await sent(front))
    assert before[b"remote-sub"] == after[b"remote-sub"] == session.session.user.id.encode()
    assert before[b"remote-name"] != after[b"remote-name"] == b"Alice B."


@pytest.mark.parametrize("name", [b"X-authentik-jwt", b"X_Pomerium_Jwt_Assertion"])
async def test_jwt_headers_of_other_products_are_neither_sent_nor_accepted(
    fronts: Build, origin: Origin, name: bytes
) -> None:
    """They are neither sent, because no application could verify them, nor accepted from a
    client."""
    presets = ["authentik", "pomerium"]
    front = await fronts(routes=[{"upstream": origin.url, "identity": presets}])
    cookie = front.cookie(await front.opened(**ALICE))
    assert (await front.get("/", cookie, (name, b"forged"))).status == 200
    assert b"forged" not in origin.heads[-1]
    assert not [line for line in lines_of(origin.heads[-1]) if b"jwt" in line[0]]


async def test_a_change_to_the_user_applies_to_the_next_request(
    front: Front,
) -> None:
    """CVE-2021-41230: changed claims were not re-evaluated during a session."""
    session = front.cookie(await front.opened())
    assert (await front.get("/", session)).status == 200
    await front.accounts.users.disable("alice", front.clock(), actor=OWNER)
    assert (await front.get("/", session)).status == 401


@given(st.text())
def test_a_value_is_visible_ascii_and_unambiguous(value: str) -> None:
    """CVE-2020-7695: line breaks in a header."""
    line = ENCODINGS["percent"](value)
    assert all(0x20 <= byte < 0x7F for byte in line)
    assert unquote(line.decode(), errors="surrogatepass") == value


READABLE = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "))


@given(READABLE.map(str.strip))
def test_every_encoding_can_be_decoded(value: str) -> None:
    assert ENCODINGS["utf-8"](value).decode() == value
    line = ENCODINGS["rfc2047"](value)
    assert line.isascii() and all(len(word) <= 75 for word in line.split(b" =?")[1:])
    if b"=?" in line:
        assert str(make_header(decode_header(line.decode()))) == value
    else:
        assert line.decode() == value


# Custom headers

OWN = [
    {"header": "X-Employee", "value": "username"},
    {"header": "X-Team", "value": "groups", "delimiter": "|"},
    {"header": "X-Team-Role", "value": "roles", "delimiter": "lines"},
    {"header": "Remote-Sub", "value": "id"},
    {"header": "X-Login-Session", "value": "session"},
    {"header": "X-Login-Level", "value": "level"},
    {"header": "X-Login-Time", "value": "auth_time"},
    {"header": "X-Behind", "value": "a gate"},
]


async def test_a_route_can_define_its_own_headers(fronts: Build, origin: Origin) -> None:
    front = await on_route(fronts, origin, identity=["cgi", *OWN])
    opened = await front.opened(**ALICE)
    user = opened.session.user
    assert (await front.get("/", front.cookie(opened))).status == 200
    lines = [line for line in lines_of(origin.heads[-1]) if is_identity_name(line[0])]
    assert lines == [
        (b"remote-user", b"alice"),
        (b"x-employee", b"alice"),
        (b"x-team", b"staff|wiki"),
        (b"x-team-role", b"editor"),
        (b"x-team-role", b"reader"),
        (b"remote-sub", user.id.encode()),
        (b"x-login-session", opened.session.id.encode()),
        (b"x-login-level", b"authenticated"),
        (b"x-login-time", b"%d" % opened.session.created_at),
        (b"x-behind", b"a gate"),
    ]


SPELLINGS = [
    b"x-employee",
    b"X-EMPLOYEE",
    b"X_Employee",
    b"x.employee",
    b"X~EMPLOYEE",
    b"x-Employee",
]


@pytest.mark.parametrize("path", ["/", "/other/", "/public/"])
async def test_a_custom_header_from_a_client_is_removed_on_every_route(
    fronts: Build, origin: Origin, path: str
) -> None:
    """As for CVE-2026-33433: also on routes that do not use it, with or without a session."""
    front = await fronts(
        routes=[
            {"upstream": origin.url, "identity": OWN},
            {"path": "/other", "upstream": origin.url, "identity": "none"},
        ],
        access={"default": "public"},
    )
    forged = [(name.lower(), b"root") for name in SPELLINGS]
    for session in ([], [front.cookie(await front.opened())]):
        assert (await front.get(path, *session, *forged, (b"x-kept", b"1"))).status == 200
        assert b"root" not in origin.heads[-1] and b"x-kept: 1" in origin.heads[-1]


@pytest.mark.parametrize("name", SPELLINGS)
async def test_a_custom_header_is_removed_from_trailers(front: Front, name: bytes) -> None:
    from doorward.header_names import add_identity_names

    add_identity_names([b"X-Employee"])
    assert select_trailers([(name, b"root"), (b"x-kept", b"1")]) == [(b"x-kept", b"1")]
    found = parse_headers([(b"trailer", name + b", x-kept")])
    assert found.announced == [b"x-kept"]


async def test_a_custom_header_is_removed_from_answers(fronts: Build, origin: Origin) -> None:
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX_Employee: root\r\nX-Kept: 1\r\n\r\n"
    with Origin((answering(text),)) as forging:
        front = await on_route(fronts, forging, identity=OWN)
        answer = await front.get("/", front.cookie(await front.opened()))
    assert answer.values(b"x_employee") == [] and answer.values(b"x-kept") == [b"1"]


@pytest.mark.parametrize("reader", tuple(both()), ids=lambda reader: reader.runs)
def test_a_new_custom_header_clears_the_cached_names(reader: Heads) -> None:
    """Both head readers and the parser cache the actions of names, which must not affect a later
    Doorward in the same process."""
    from doorward.header_names import add_identity_names

    name = b"X-Learnt-Early-" + reader.runs.encode()
    head = b"GET / HTTP/1.1\r\nhost: a\r\n%b: root\r\n\r\n" % name
    before = reader.read_request(head)
    assert before is not None and b"root" in before.passing_text
    assert parse_headers([(name.lower(), b"root")]).passing
    add_identity_names([name])
    after = reader.read_request(head)
    assert after is not None and b"root" not in after.passing_text
    assert not parse_headers([(name.lower(), b"root")]).passing


def identity(*told: object, **more: object) -> dict[str, object]:
    return {"routes": [{"upstream": "http://127.0.0.1:9", "identity": list(told)} | more]}


@pytest.mark.parametrize(
    "name",
    b"Host Cookie Authorization Content-Length content_type Connection Transfer-Encoding TE Upgrade"
    b" X-Forwarded-For X_Forwarded_Proto Forwarded X-Request-Id X-Real-IP X-User-Id X-Auth-Token"
    b" Destination If Accept Origin X-HTTP-Method-Override SCRIPT_NAME Proxy Set-Cookie Location"
    b" Sec-WebSocket-Key Content-Encoding Content-Security-Policy Sec-Fetch-Dest".decode().split(),
)
def test_a_name_with_another_meaning_is_refused(name: str) -> None:
    with pytest.raises(
        InvalidSettings, match=r"identity\[0\].header: .* already has another meaning"
    ):
        settings_from(identity({"header": name, "value": "username"}))


def test_every_name_that_the_gate_reads_is_refused() -> None:
    from doorward.header_names import USUAL_ANSWER_NAMES, USUAL_REQUEST_NAMES, can_identify
    from doorward.http1 import headers
    from doorward.http1.second_targets import READERS

    read = {*headers._READ, *headers._PAIR, *READERS, *USUAL_REQUEST_NAMES, *USUAL_ANSWER_NAMES}
    assert not [name for name in read if can_identify(name)]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"header": "X-A", "value": "email", "delimiter": "|"}, "delimiter: has no effect"),
        ({"header": "X-A", "value": "groups", "delimiter": "+"}, "'+' is not one of"),
        ({"header": "X A", "value": "groups"}, "is not a header's name"),
        ({"header": "X-A:", "value": "groups"}, "is not a header's name"),
        ({"header": "X-A"}, "value: is required"),
        ({"header": "X-A", "value": "a\r\nb: c"}, "control"),
        ({"header": "X-A", "value": "é"}, "must be ASCII"),
        ({"headers": "X-A", "value": "id"}, "did you mean routes[0].identity[0].header?"),
        ({"header": "remote_user", "value": "email"}, "would be both email and username"),
        ("remote_user", "did you mean remote-user?"),
        ("none", "none cannot be combined with other"),
    ],
)
def test_an_impossible_header_is_refused_with_a_reason(told: object, said: str) -> None:
    with pytest.raises(InvalidSettings) as caught:
        settings_from(identity(told, "remote-user"))
    assert said in str(caught.value)


def test_a_fixed_text_that_resembles_a_value_is_a_warning() -> None:
    (warning,) = settings_from(identity({"header": "X-A", "value": "usernam"})).warnings
    assert (
        warning == "routes[0].identity[0].value: 'usernam' is sent as it is; did you mean username?"
    )


# Values that no header can have

MANY = ["g" * 180 + str(number) for number in range(VALUE_BYTES // 180 + 1)]


@pytest.mark.parametrize(
    ("route", "user", "header", "reason"),
    [
        ({"encoding": "refuse"}, {"name": "Älice"}, "Remote-Name", "is not ASCII"),
        ({}, {"groups": MANY}, "Remote-Groups", "is longer than 8192 bytes"),
    ],
)
async def test_a_user_whose_name_no_header_can_carry_is_refused_and_the_log_has_the_reason(
    fronts: Build,
    origin: Origin,
    route: dict[str, Any],
    user: dict[str, Any],
    header: str,
    reason: str,
) -> None:
    front = await on_route(fronts, origin, **route)
    session = front.cookie(await front.opened(**user))
    with capture_logs() as logs:
        answer = await front.get("/", session)
    assert (answer.status, origin.heads) == (500, [])
    assert b"unfit_identity" in answer.body
    (entry,) = (each for each in logs if each["event"] == "identity_unfit")
    assert (entry["user"], entry["header"]) == ("alice", header) and reason in entry["reason"]


async def test_a_group_with_a_delimiter_is_never_sent(tmp_path: Path, origin: Origin) -> None:
    """It was created before a header used this character as a separator."""
    for preset, status in (("remote-user", 200), ("authentik", 500)):
        route = {"upstream": origin.url, "identity": preset}
        async with front_of(tmp_path, origin, routes=[route]) as front:
            session = front.cookie(await front.opened(groups=["a|b"]))
            assert (await front.get("/", session)).status == status
    assert len(origin.heads) == 1


@pytest.mark.parametrize("kind", ["groups", "roles"])
async def test_a_new_group_with_a_delimiter_is_refused(
    fronts: Build, origin: Origin, kind: str
) -> None:
    from doorward.accounts.permissions import OWNER
    from doorward.accounts.refusals import InvalidGroup

    front = await on_route(fronts, origin, identity=["authentik", "x-token"])
    for name in ("a|b", "a b", "a,b"):
        with pytest.raises(InvalidGroup):
            await front.opened("bob", **{kind: [name]})
        await front.opened("alice")
        changed: Any = {f"add_{kind}": (name,)}
        edit = replace(Edit(), **changed)
        with pytest.raises(InvalidGroup):
            await front.accounts.users.edit("alice", edit, front.clock(), actor=OWNER)
    await front.opened("bob", **{kind: ["a;b"]})


def test_a_group_with_a_delimiter_in_the_file_is_an_error() -> None:
    hashed = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzYWx0$" + "a" * 43
    user = {"username": "a", "password_hash": hashed, "groups": ["x", "y|z"]}
    settings_from(identity("remote-user") | {"users": [user]})
    with pytest.raises(InvalidSettings, match=r"users\[0\].groups\[1\]: 'y\|z' contains '\|'"):
        settings_from(identity("authentik") | {"users": [user]})


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("percent", quote("Älice A.", safe=" ").encode()),
        ("utf-8", "Älice A.".encode()),
        ("rfc2047", b"=?utf-8?B?w4RsaWNlIEEu?="),
    ],
)
async def test_a_route_chooses_how_names_are_written(
    fronts: Build, origin: Origin, encoding: str, said: bytes
) -> None:
    front = await on_route(fronts, origin, encoding=encoding)
    assert (b"remote-name", said) in await sent(front, **ALICE)


async def test_identity_headers_are_built_once_per_session_and_route(front: Front) -> None:
    """The hot path only looks up bytes; a changed session is a new object."""
    session = (await front.opened()).session
    tell = tell_of(settings_from(identity("remote-user")).routes[0])
    assert tell(session, 0.0) == b"Remote-User: alice\r\n"
    assert tell(session, 0.0) is tell(session, 1e9)
    other = tell_of(settings_from(identity("x-remote")).routes[0])
    assert other(session, 0.0) == b"X-Remote-User: alice\r\n"
