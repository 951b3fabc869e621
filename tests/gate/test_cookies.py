"""Doorward's cookie in requests: it is always removed, and everything else is left unchanged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from doorward.gate.cookies import (
    MAX_AGE_LIMIT_S,
    Cookies,
    build_cookies,
    has_our_form,
    read_cookie,
)
from doorward.settings import InvalidSettings, Settings, settings_from
from hypothesis import given
from hypothesis import strategies as st

from tests.support.front import Front
from tests.support.wire import values_of

PLAIN, SECURE = Cookies(secure=False), Cookies(secure=True)
TOKEN = b"A" * 43 + b"." + b"b" * 43


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        (b"a=1; doorward=%b; b=2", b"a=1; b=2"),
        (b"doorward=%b; b=2", b"b=2"),
        (b"a=1; doorward=%b", b"a=1"),
        (b"a=1;doorward=%b;b=2", b"a=1;b=2"),
        (b"doorward=%b", None),
        (b'a="x y"; doorward=%b; b=\xff=; c', b'a="x y"; b=\xff=; c'),
        (b"a=1; doorward = %b ; b=2", b"a=1; b=2"),
        (b'a=1; doorward="%b"; b=2', b"a=1; b=2"),
        (b'a=1; doorward="%b; b=2', b"a=1; b=2"),
        (b'a="1"; doorward="%b"; b="2"', b'a="1"; b="2"'),
        (b"mydoorward=1; doorward=%b; doorward2=2", b"mydoorward=1; doorward2=2"),
        (b"a=1; __Host-doorward=%b", b"a=1"),
    ],
)
def test_the_session_cookie_is_removed_and_others_stay_unchanged(
    line: bytes, rest: bytes | None
) -> None:
    left = PLAIN.take([line.replace(b"%b", TOKEN)])[1]
    assert left == (() if rest is None else (rest,))


def test_a_foreign_cookie_with_doorwards_name_is_left_alone() -> None:
    assert PLAIN.take([b"doorward=theirs; a=1"])[1] == (b"doorward=theirs; a=1",)
    assert not has_our_form(b"theirs")


@pytest.mark.parametrize("name", [b"Doorward", b"DOORWARD", b"__host-doorward", b"doorward ward"])
def test_cookie_names_are_case_sensitive(name: bytes) -> None:
    """RFC 6265 4.1.1; a name in another spelling is another cookie."""
    line = name + b"=" + TOKEN
    for cookies in (PLAIN, SECURE):
        assert cookies.take([line]) == ((), (line,))


def test_on_https_only_the_host_prefixed_cookie_counts() -> None:
    """CVE-2024-28233: a sibling domain can set the plain name, but not the `__Host-` one."""
    assert SECURE.take([b"doorward=" + TOKEN])[0] == ()
    assert SECURE.take([b"__Host-doorward=" + TOKEN])[0] == (TOKEN,)


@pytest.mark.parametrize(
    "lines",
    [
        [b"doorward=%b; doorward=%b"],
        [b"doorward=%b", b"doorward=%b"],
        [b"doorward=%b; a=1; doorward=x"],
        [b"doorward=; doorward=%b"],
        [b"doorward; doorward=%b"],
    ],
)
async def test_a_duplicate_session_cookie_is_refused_and_expired(
    front: Front, lines: list[bytes]
) -> None:
    """CVE-2026-25748: a malformed cookie bypassed the login."""
    signed = front.signed(await front.opened())
    cookies = [(b"cookie", line.replace(b"%b", signed)) for line in lines]
    answer = await front.get("/", *cookies)
    assert answer.status == 401
    ended = [line.partition(b"=")[0] for line in answer.values(b"set-cookie")]
    assert set(ended) == {b"doorward", b"doorward-8080"}
    assert all(b"Max-Age=0" in line for line in answer.values(b"set-cookie"))
    assert any(b"Domain=app.test" in line for line in answer.values(b"set-cookie"))
    assert front.origin.heads == []


async def test_a_duplicate_cookie_expires_only_this_instances_cookies(front: Front) -> None:
    signed = front.signed(await front.opened())
    line = b"doorward=%b; doorward-8080=%b; doorward-8080=x" % (TOKEN, signed)
    answer = await front.get("/", (b"cookie", line))
    assert answer.status == 401
    ended = {line.partition(b"=")[0] for line in answer.values(b"set-cookie")}
    assert ended == {b"doorward-8080"}


async def test_an_ambiguous_cookie_is_anonymous_on_a_public_path(front: Front) -> None:
    _, value = front.cookie(await front.opened())
    assert (await front.get("/public/", (b"cookie", value + b"; " + value))).status == 200
    head = front.origin.heads[0]
    assert values_of(head, b"remote-user") == values_of(head, b"cookie") == []


async def test_doorwards_tokens_never_reach_an_upstream(front: Front) -> None:
    opened = await front.opened()
    _, value = front.cookie(opened)
    bearer = (b"authorization", b"Bearer " + opened.token.encode())
    ways = [
        [(b"cookie", b"a=1; " + value)],
        [(b"cookie", b"a=1"), (b"cookie", value)],
        [(b"cookie", b"a=1; __Host-" + value + b"; " + value)],
        [bearer, (b"cookie", b"a=1")],
        [bearer, (b"cookie", b"a=1; " + value)],
        [(b"authorization", b"bearer   " + opened.token.encode()), (b"cookie", b"a=1")],
    ]
    for way in ways:
        assert (await front.get("/", *way)).status == 200
        assert opened.token.encode() not in front.origin.heads[-1]
        assert values_of(front.origin.heads[-1], b"cookie") == [b"a=1"]
        assert values_of(front.origin.heads[-1], b"remote-user") == [b"alice"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"kept=a", "a"),
        (b'x=1; kept="a"; y', "a"),
        (b"kept=a; kept=a", "a"),
        (b"kept=a; kept=b", None),
        (b"akept=a; b=kept", None),
        (b"kept=", ""),
        (b'kept="', '"'),
    ],
)
def test_page_cookies_are_parsed_like_the_session_cookie(line: bytes, value: str) -> None:
    assert read_cookie([(b"a", b"kept=no"), (b"cookie", line)], "kept") == value


names = st.from_regex(rb"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
values = st.binary(max_size=20).map(lambda value: value.translate(None, b";\r\n\x00"))
pairs = st.tuples(names, values).map(b"=".join)
ours = st.sampled_from([b"doorward=" + TOKEN, b"__Host-doorward=" + TOKEN, b"doorward=" + b"x" * 9])


@given(st.lists(pairs, min_size=1, max_size=5), st.integers(0, 5), st.sampled_from([b";", b"; "]))
def test_other_cookies_are_forwarded_byte_for_byte(
    foreign: list[bytes], at: int, mark: bytes
) -> None:
    foreign = [pair for pair in foreign if b"doorward" not in pair] or [b"a=1"]
    mixed = [*foreign[:at], b"doorward=" + TOKEN, *foreign[at:]]
    ours, rest = PLAIN.take([mark.join(mixed)])
    assert ours == (TOKEN,)
    assert b";".join(rest).replace(b"; ", b";").strip(b" \t") == mark.join(foreign).replace(
        b"; ", b";"
    ).strip(b" \t")


@given(st.lists(st.lists(st.one_of(pairs, ours, values), max_size=5).map(b"; ".join), max_size=3))
def test_the_session_cookie_is_removed_from_any_line(lines: list[bytes]) -> None:
    for cookies in (PLAIN, SECURE):
        _, rest = cookies.take(lines)
        assert TOKEN not in b"".join(rest)
        for line in lines:
            if b"doorward" not in line:
                assert line in rest or not line


ANOTHER_NAME = st.sampled_from(
    [b"", b" ", b"doorward", b"other=" + TOKEN, b"__Host-other=" + TOKEN, b"doorward-8080=" + TOKEN]
)


@given(
    st.lists(st.one_of(pairs, ours, values, ANOTHER_NAME), max_size=4),
    st.sampled_from([b";", b"; ", b" ;"]),
    st.sampled_from(["doorward", "doorward-8080", "other"]),
    st.booleans(),
    st.booleans(),
)
def test_the_fast_and_the_general_parser_agree(
    found: list[bytes], mark: bytes, name: str, secure: bool, prefers: bool
) -> None:
    cookies = Cookies(secure=secure, name=name, prefers_default=prefers)
    line = mark.join(found)
    ours, rest = cookies.take([line])
    assert (ours, rest) == cookies._take_any([line])


def test_the_session_cookie_has_secure_attributes() -> None:
    """As for CVE-2022-23555: bound to the host, and inaccessible to scripts and other sites."""
    assert SECURE.set_line("v", None) == (
        b"set-cookie",
        b"__Host-doorward=v; Path=/; HttpOnly; SameSite=Lax; Secure",
    )
    assert PLAIN.set_line("v", 60.5) == (
        b"set-cookie",
        b"doorward=v; Max-Age=60; Path=/; HttpOnly; SameSite=Lax",
    )
    assert b"Max-Age=%d;" % MAX_AGE_LIMIT_S in PLAIN.set_line("v", 1e12)[1]


@pytest.mark.parametrize(
    ("host", "domains"),
    [
        ("", []),
        ("localhost", []),
        ("192.0.2.1:80", []),
        ("[::1]:80", []),
        ("app.test", [b"app.test"]),
        ("a.b.test:8080", [b"a.b.test", b"b.test"]),
    ],
)
def test_the_cookie_is_expired_on_the_host_and_its_parent_domains(
    host: str, domains: list[bytes]
) -> None:
    lines = [line for _, line in PLAIN.expire_lines(host)]
    assert [
        line.partition(b"Domain=")[2].partition(b";")[0] for line in lines if b"Domain" in line
    ] == domains


# Cookies that an application may set

BASES = [
    b"doorward",
    b"doorward-8443",
    b"doorward-browser",
    b"doorward-known",
    b"sid",
    b"sid-browser",
    b"sid-known",
]
PREFIXES = [b"", b"__Host-", b"__Secure-", b"__Http-", b"__Host-Http-", b"__host-", b"__SECURE-"]
SPELLINGS = [
    b"%b=evil",
    b"%b=evil; Path=/x; Domain=test",
    b" %b =evil",
    b"\t%b\t=evil",
    b"%b",
    b"%b; Path=/",
    b"=%b=evil",
    b"==%b=evil",
    b" = %b=evil",
    b"=%b",
    b'"%b"=evil',
    b'="%b"=evil',
    b"\x00%b\x1f=evil",
]


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("base", BASES)
def test_an_application_cannot_set_a_cookie_of_any_doorward(base: bytes, spelling: bytes) -> None:
    """Browsers store `=doorward=x` as a nameless cookie and send it as `doorward=x`, and keep
    `Set-Cookie` of http for the https site of that host."""
    cookies = [Cookies(secure, name="sid") for secure in (True, False)]
    if not base.startswith(b"sid"):
        cookies += [PLAIN, SECURE]
    for each in cookies:
        for prefix in PREFIXES:
            for name in (prefix + base, (prefix + base).upper(), (prefix + base).title()):
                assert each.sets_ours(spelling.replace(b"%b", name))


def test_an_application_cannot_set_any_cookie_that_doorward_sets() -> None:
    """Also for new cookies in `Cookies`: their names are reserved on every site."""
    every = [
        Cookies(secure, name=name, prefers_default=default)
        for secure in (True, False)
        for name in ("doorward", "doorward-8080", "sid")
        for default in (True, False)
    ]
    for one in every:
        set_lines = [one.set_line("v", 1, to_own=to_own) for to_own in (True, False)]
        lines = [line for _, line in [*set_lines, *one.expire_lines("a.b.test")]]
        lines.append(one.companion_name("browser").encode() + b"=x")
        for other in (one, *every) if one.own.endswith(b"sid") is False else (one,):
            assert all(other.sets_ours(line) for line in lines)


@pytest.mark.parametrize(
    "line",
    [b"a=doorward=1", b"doorward2=1", b"mydoorward=1", b"a; doorward=1", b"", b"=", b"sid=1"],
)
def test_an_application_sets_its_own_cookies(line: bytes) -> None:
    assert not PLAIN.sets_ours(line)


# Two instances on one host: browsers send cookies to every port


def test_the_cookie_name_contains_a_non_default_port(tmp_path: Path) -> None:
    for public_url, own, name in [
        ("https://a.test", b"__Host-doorward", b"__Host-doorward"),
        ("https://a.test:443", b"__Host-doorward", b"__Host-doorward"),
        ("https://a.test:8443", b"__Host-doorward-8443", b"__Host-doorward-8443"),
        ("http://a.test:8080", b"doorward-8080", b"doorward-8080"),
        ("http://[2001:db8::1]", b"doorward", b"doorward"),
        ("http://127.0.0.1:8080", b"doorward-8080", b"doorward"),
        ("http://[::1]:8080", b"doorward-8080", b"doorward"),
        ("https://localhost:8443", b"__Host-doorward-8443", b"__Host-doorward"),
        ("http://localhost", b"doorward", b"doorward"),
    ]:
        cookies = build_cookies(settings_of(tmp_path, public_url=public_url))
        assert (cookies.own, cookies.name) == (own, name)
        assert cookies.set_line("v", None)[1].startswith(name + b"=v;")
        assert cookies.set_line("v", None, to_own=True)[1].startswith(own + b"=v;")
        default = own.partition(b"-8")[0]
        other = b"B" * 43 + b"." + b"b" * 43
        assert cookies.take([default + b"=" + TOKEN])[0] == (TOKEN,)
        if own != default:
            both = default + b"=" + other + b"; " + own + b"=" + TOKEN
            assert cookies.take([both])[0] == (TOKEN,), "the other one is another instance's"
            twice = own + b"=" + other + b"; " + own + b"=" + TOKEN
            assert len(cookies.take([twice])[0]) == 2


def test_another_instances_cookie_is_not_ended(tmp_path: Path) -> None:
    cookies = build_cookies(settings_of(tmp_path, public_url="https://a.test:8443"))
    for of_default, more in ((True, {b"__Host-doorward", b"doorward"}), (False, set())):
        lines = cookies.expire_lines("a.test:8443", of_default=of_default)
        names = {line.partition(b"=")[0] for _, line in lines}
        assert names == {b"__Host-doorward-8443", b"doorward-8443"} | more


def test_no_token_of_another_instance_passes() -> None:
    for name in (b"doorward-8081", b"__Host-doorward-8443", b"__Secure-doorward", b"doorward"):
        for cookies in (PLAIN, SECURE, Cookies(False, name="sid")):
            assert cookies.take([b"a=1; " + name + b"=" + TOKEN])[1] == (b"a=1",)
            assert cookies.take([name + b"=theirs"])[1] == (name + b"=theirs",)


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "__Host-x", "é", "a" * 65, "a\r\nb"])
def test_a_name_that_is_no_token_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidSettings):
        settings_of(tmp_path, sessions={"cookie": {"name": name}})


@pytest.mark.parametrize(
    "name", [b"doorward-known", b"doorward-8443-known", b"__Secure-doorward-known", b"sid-known"]
)
@pytest.mark.parametrize("with_session", [True, False])
def test_the_cookie_of_a_known_browser_is_never_forwarded(name: bytes, with_session: bool) -> None:
    """If a login endpoint is among the application's paths, browsers send the cookie there, too."""
    note = name + b"=1800000000." + b"A" * 43
    own = b"sid" if b"sid" in name else b"doorward"
    session = b"; " + own + b"=" + TOKEN if with_session else b""
    for cookies in (Cookies(False, name=own.decode()), Cookies(True, name=own.decode())):
        for line in (b"a=b; " + note + session, note + session + b"; a=b"):
            assert cookies.take([line])[1] == (b"a=b",)


def test_the_cookie_name_can_be_set(tmp_path: Path) -> None:
    cookies = build_cookies(
        settings_of(
            tmp_path, public_url="https://a.test:8443", sessions={"cookie": {"name": "sid"}}
        )
    )
    assert cookies.name == cookies.own == b"__Host-sid"
    assert cookies.take([b"__Host-sid=" + TOKEN + b"; a=1"]) == ((TOKEN,), (b"a=1",))
    assert cookies.companion_name("browser") == "__Secure-sid-browser"


def settings_of(folder: Path, **values: Any) -> Settings:
    return settings_from({"routes": [{"upstream": "http://127.0.0.1:9"}]} | values, folder)


PAIR_NAMES = st.sampled_from(
    "doorward __Host-doorward doorward-8080 wiki __Host-wiki theme x-doorward".split()
)
PAIR_VALUES = st.sampled_from(["a", "doorward", TOKEN.decode(), f'"{TOKEN.decode()}"', "", "a=b"])


@given(
    st.sampled_from(["doorward", "doorward-8080", "wiki"]),
    st.lists(st.tuples(PAIR_NAMES, PAIR_VALUES), max_size=4),
    st.sampled_from([";", "; ", " ;\t"]),
)
def test_every_own_cookie_is_removed_from_a_line(
    name: str, pairs: list[tuple[str, str]], between: str
) -> None:
    cookies = Cookies(secure=False, name=name)
    line = between.join(f"{key}={value}" for key, value in pairs).encode()
    own: list[bytes] = []
    default: list[bytes] = []
    expected = cookies._without_ours(line, own, default)
    ours, rest = cookies.take([line])
    assert ours == tuple(own or default)
    assert [each.strip(b" \t") for each in rest] == ([expected] if expected else [])


SISTERS = Cookies(secure=True, domain="example.com")


def test_a_cookie_for_a_domain_has_the_prefix_that_allows_one() -> None:
    """RFC 6265bis 4.1.3: browsers drop a cookie whose name begins with __Host- and has a Domain."""
    _, line = SISTERS.set_line(TOKEN.decode(), None)
    assert line.startswith(b"__Secure-doorward=") and b"; Domain=example.com; Path=/;" in line
    _, plain = Cookies(secure=False, domain="example.com").set_line(TOKEN.decode(), None)
    assert plain.startswith(b"doorward=") and b"; Domain=example.com; Path=/;" in plain
    assert SISTERS.companion_name("browser") == "__Secure-doorward-browser"
    assert SISTERS.take([b"a=1; __Secure-doorward=" + TOKEN]) == ((TOKEN,), (b"a=1",))


def test_a_host_cookie_from_before_the_domain_was_set_is_removed() -> None:
    assert SISTERS.take([b"__Host-doorward=%b; a=1" % TOKEN]) == ((), (b" a=1".strip(),))


def test_every_variant_of_a_cookie_for_a_domain_is_ended() -> None:
    lines = [value for _, value in SISTERS.expire_lines("app.example.com")]
    assert all(b"; Max-Age=0" in line and b"; Secure" in line for line in lines)
    for variant in (
        b"__Host-doorward=; Max-Age=0; Path=/",
        b"__Secure-doorward=; Max-Age=0; Path=/",
        b"__Secure-doorward=; Max-Age=0; Domain=example.com; Path=/",
        b"doorward=; Max-Age=0; Path=/",
        b"doorward=; Max-Age=0; Domain=example.com; Path=/",
    ):
        assert sum(line.startswith(variant) for line in lines) == 1, variant
