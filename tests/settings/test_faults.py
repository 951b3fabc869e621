"""All errors are reported at once, each with its place, the problem, and what to do."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from doorward.settings import Fault, InvalidSettings, load_settings, settings_from
from doorward.settings.faults import format_path, make_printable
from doorward.settings.known import every_key
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import Faults, Load

HASH = (
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA"
    "$c29tZXNhbHRzb21lc2FsdAc29tZXNhbHRzb21lc2FsdA"
)


def user(name: str, more: str = "") -> str:
    return f'{{username: {name}, password_hash: "{HASH}"{more}}}'


COMMA = ', groups: [g, "a,b"]'
EMPTY, EDGE, CONTROL = '""', '" bob"', '"b\\tb"'

FIVE = """\
listen: 0.0.0.0:8080
sessions:
  lifetme: 24h
  idle_timeout: 90
routes:
  - upstream: http://127.0.0.1:99999
access:
  rules:
    - {path: /public/*, require: public, groups: [staff]}
"""


def test_five_different_faults_are_reported_together_from_top_to_bottom(faults: Faults) -> None:
    found = faults(FIVE)
    assert [(fault.line, fault.key) for fault in found] == [
        (3, "sessions.lifetme"),
        (4, "sessions.idle_timeout"),
        (6, "routes[0].upstream"),
        (9, "access.rules[0].groups"),
        (None, "public_url"),
    ]
    assert all(fault.hint for fault in found)


def test_a_fault_is_one_line_with_file_line_key_and_advice(faults: Faults, tmp_path: Path) -> None:
    assert str(faults("sessions: {lifetme: 24h}")[0]) == (
        f"{tmp_path}/doorward.yaml:1: sessions.lifetme: "
        "unknown key; did you mean sessions.lifetime?"
    )


def test_a_fault_never_breaks_its_line() -> None:
    assert "\n" not in str(Fault("a\nb", 1, "wrong\x1b[31m", "do\rthis", "file"))
    assert len(make_printable("x" * 9999)) == 400


# YAML text, key, a part of the message or the hint.
WRONG = [
    # Keys.
    ("lifetime: 5h", "lifetime", "there is sessions.lifetime"),
    ("idle-timeout: 5h", "idle-timeout", "the keys here are listen"),
    ("Listen: a:1", "Listen", "did you mean listen?"),
    ("limits: {body-bytes: 1}", "limits.body-bytes", "did you mean limits.body_bytes?"),
    ("workers: 1\nworkers: 1", "workers", "is given twice, first in line 1"),
    ("dialects: {xhr: {lifetime: 5h}}", "dialects.xhr.lifetime", "unknown key"),
    ("dialects: {rocket: {}}", "dialects.rocket", "did you mean dialects.rocketchat?"),
    # Types.
    ("listen:", "listen", "is empty"),
    ("limits: 5", "limits", "must be a mapping"),
    ("limits: [5]", "limits", "not a list"),
    ("routes: {upstream: 'http://a:1'}", "routes", "must be a list"),
    ("users: bob", "users", "must be a list"),
    ("dialects: {xhr: true}", "dialects.xhr", "{} stands for the defaults"),
    ("fast_lane: perhaps", "fast_lane", "neither true nor false"),
    ("fast_lane: 1", "fast_lane", "neither true nor false"),
    ("workers: 0", "workers", "out of bounds"),
    ("workers: many", "workers", "whole number"),
    ("workers: 1:30", "workers", "whole number"),
    ("workers: 010", "workers", "whole number"),
    ("second_factor: {issuer: true}", "second_factor.issuer", "quotes"),
    ("second_factor: {issuer: 'a:b'}", "second_factor.issuer", "':'"),
    ("second_factor: {issuer: ' a'}", "second_factor.issuer", "begin or end with white space"),
    ("second_factor: {attempts: 0}", "second_factor.attempts", "out of bounds"),
    # Durations and sizes.
    ("sessions: {lifetime: 60}", "sessions.lifetime", "60s, 60m, 60h or 60d"),
    ("sessions: {lifetime: 0s}", "sessions.lifetime", "longer than zero"),
    ("sessions: {lifetime: none}", "sessions.lifetime", "not a duration"),
    ("sessions: {max_lifetime: }", "sessions.max_lifetime", "none"),
    ("sessions: {max_per_user: 0}", "sessions.max_per_user", "out of bounds"),
    ("limits: {header_bytes: 64KB}", "limits.header_bytes", "write 64KiB"),
    ("limits: {header_bytes: 64k}", "limits.header_bytes", "write 64KiB"),
    ("limits: {header_bytes: 64}", "limits.header_bytes", "less than 1KiB"),
    ("limits: {header_bytes: -1}", "limits.header_bytes", "not a size"),
    ("limits: {body_bytes: 0}", "limits.body_bytes", "at least one byte"),
    ("limits: {target_bytes: 255}", "limits.target_bytes", "less than 256"),
    ("limits: {header_count: 3}", "limits.header_count", "out of bounds"),
    ("limits: {connections: 0}", "limits.connections", "out of bounds"),
    ("limits: {body_timeout: none}", "limits.body_timeout", "not a duration"),
    (
        "routes: [{upstream: 'http://a', body_bytes: big}]",
        "routes[0].body_bytes",
        "not a size",
    ),
    (
        "routes: [{upstream: 'http://a', health: {path: 'http://a/x'}}]",
        "routes[0].health.path",
        "is not a path",
    ),
    (
        "routes: [{upstream: 'http://a', concurrency: {requests: 0}}]",
        "routes[0].concurrency.requests",
        "out of bounds",
    ),
    (
        "routes: [{upstream: 'http://a', failover: {pause: 0s}}]",
        "routes[0].failover.pause",
        "longer than zero",
    ),
    # Listeners and the public URL.
    ("listen: 8080", "listen", "127.0.0.1:8080"),
    ("listen: ':8080'", "listen", "lacks a host"),
    ("listen: '*:8080'", "listen", "lacks a host"),
    ("listen: localhost", "listen", "lacks a host"),
    ("listen: '::1:8080'", "listen", "[::1]:8080"),
    ("listen: '[::g]:8080'", "listen", "not an IPv6 address"),
    ("listen: 127.0.0.1:65536", "listen", "not a port"),
    ("listen: 127.1:80", "listen", "not a host name"),
    ("listen: http://a:1", "listen", "is a URL"),
    ("listen: 'unix:'", "listen", "unix:/run/name.sock"),
    ("listen: unix://run/a.sock", "listen", "unix:/run/name.sock"),
    (f"listen: unix:/{'a' * 120}", "listen", "107 bytes"),
    ("listen: 0.0.0.0:80", "public_url", "is required, as listen is 0.0.0.0:80"),
    ("listen: '[::]:80'", "public_url", "is required"),
    ("listen: unix:/a.sock", "public_url", "is required"),
    ("admin_listen: 127.0.0.1:8080", "admin_listen", "is the same address as listen"),
    ("admin_listen: 0.0.0.0:8080", "admin_listen", "is the same address as listen"),
    ("public_url: wiki.example.com", "public_url", "does not begin with http://"),
    ("public_url: ftp://a", "public_url", "does not begin with http://"),
    ("public_url: 'https:a'", "public_url", "does not begin with http://"),
    ("public_url: https://a/b", "public_url", "path"),
    ("public_url: https://a?b", "public_url", "query"),
    ("public_url: https://a@b", "public_url", "user"),
    ("public_url: https://0.0.0.0", "public_url", "people cannot open"),
    ("public_url: https://a:0", "public_url", "not a port"),
    ("public_url: 'https://a b'", "public_url", "white space"),
    ("public_url: 'https://[::1'", "public_url", "not a URL"),
    ("public_url: https://-a.de", "public_url", "not a host name"),
    # Trusted proxies.
    ("trusted_proxies: [10.0.0.1/8]", "trusted_proxies[0]", "write 10.0.0.0/8"),
    ("trusted_proxies: ten", "trusted_proxies", "not a network"),
    ("trusted_proxies: ['::ffff:10.0.0.0/104']", "trusted_proxies[0]", "write 10.0.0.0/8"),
    ("trusted_headers: X-Forwarded-Port", "trusted_headers", "did you mean x-forwarded-port?"),
    ("trusted_headers: x-forwarded-port", "trusted_headers", "there is no trusted proxy"),
    ("admin_hosts: ['*']", "admin_hosts[0]", "not a single name"),
    # Places.
    ("data_dir: ''", "data_dir", "not a path"),
    ("storage: mysql://a/b", "storage", "neither sqlite nor"),
    ("storage: postgresql://host", "storage", "does not name a database"),
    ("storage: postgresql://host:99999/db", "storage", "not the URL"),
    ("storage: postgresql://host:5432,other:0/db", "storage", "not the URL"),
    ("secret_files: [a, ./a]", "secret_files[1]", "given twice"),
    # Routes.
    ("routes:", "routes", "there is no route"),
    ("routes: []", "routes", "there is no route"),
    ("routes: [{path: /}]", "routes[0].upstream", "is required"),
    ("routes: [{upstream: []}]", "routes[0].upstream", "must not be empty"),
    ("routes: [{upstream: 'a:1'}]", "routes[0].upstream", "does not begin with http://"),
    ("routes: [{upstream: 'http://a:1/b?c'}]", "routes[0].upstream", "has a query"),
    ("routes: [{upstream: 'http://a:1/b/../c'}]", "routes[0].upstream", "contains a dot segment"),
    ("routes: [{upstream: 'http://a:1/b c'}]", "routes[0].upstream", "contains white space"),
    ("routes: [{upstream: ['http://a/b', 'http://c']}]", "routes[0].upstream", "different paths"),
    ("routes: [{upstream: 'http://a:1/?'}]", "routes[0].upstream", "query"),
    ("routes: [{upstream: 'http://a:b@c'}]", "routes[0].upstream", "user or a password"),
    ("routes: [{upstream: ['http://a', 'http://a:80']}]", "routes[0].upstream[1]", "given twice"),
    ("routes: [{upstream: 'http://127.0.0.1:8080'}]", "routes[0].upstream", "Doorward itself"),
    ("routes: [{upstream: 'http://a', path: x}]", "routes[0].path", "does not begin with /"),
    ("routes: [{upstream: 'http://a', path: '/x/*'}]", "routes[0].path", "everything below it"),
    ("routes: [{upstream: 'http://a', path: /.doorward/x}]", "routes[0].path", "belong"),
    ("routes: [{upstream: 'http://a', host: }]", "routes[0].host", "is empty"),
    ("routes: [{upstream: 'http://a', host: '*'}]", "routes[0].host", "omit host"),
    ("routes: [{upstream: 'http://a', host: 'a.*.b'}]", "routes[0].host", "*.example.com"),
    ("routes: [{upstream: 'http://a', host: 'a:80'}]", "routes[0].host", "more than a host"),
    ("routes: [{upstream: 'http://a', identity: remote_user}]", "routes[0].identity", "did you"),
    (
        "routes: [{upstream: 'http://a', path: /b}, {upstream: 'http://c', path: /b/}]",
        "routes[1]",
        "host and path of routes[0]",
    ),
    # Rules. A requirement or condition without a value must not count as absent.
    ("access: {default: open}", "access.default", "not one of deny, public"),
    ("access: {default: }", "access.default", "is empty"),
    ("access: {rules: [null]}", "access.rules[0]", "is empty"),
    ("access: {rules: [{any: [{groups: a}, null]}]}", "access.rules[0].any[1]", "is empty"),
    ("access: {rules: [{path: }]}", "access.rules[0].path", "is empty"),
    ("access: {rules: [{path: off}]}", "access.rules[0].path", "does not begin with /"),
    ("access: {rules: [{groups: }]}", "access.rules[0].groups", "must not be empty"),
    ("access: {rules: [{groups: []}]}", "access.rules[0].groups", "must not be empty"),
    ("access: {rules: [{methods: get}]}", "access.rules[0].methods", "write GET"),
    ("access: {rules: [{methods: '*'}]}", "access.rules[0].methods", "omit methods"),
    # A list whose only item is invalid is not empty.
    ("access: {rules: [{methods: [get]}]}", "access.rules[0].methods[0]", "write GET"),
    ("access: {rules: [{groups: ['a,b']}]}", "access.rules[0].groups[0]", "no comma"),
    ("handover: {hosts: ['a:1']}", "handover.hosts[0]", "without scheme and port"),
    ("access: {rules: [{groups: 'a,b'}]}", "access.rules[0].groups", "no comma"),
    ("access: {rules: [{path: '/a*b'}]}", "access.rules[0].path", "stands for a segment"),
    ("access: {rules: [{path: '/a/**'}]}", "access.rules[0].path", "stands for a segment"),
    ("access: {rules: [{path: '/a?b'}]}", "access.rules[0].path", "query"),
    ("access: {rules: [{path: '/a#b'}]}", "access.rules[0].path", "fragment"),
    ("access: {rules: [{path: '/a%2'}]}", "access.rules[0].path", "two hexadecimal digits"),
    ("access: {rules: [{path: '/ä b'}]}", "access.rules[0].path", "/%C3%A4%20b"),
    ("access: {rules: [{path: '/a\\b'}]}", "access.rules[0].path", "separated by /"),
    ("access: {rules: [{path: /a/%2e./b}]}", "access.rules[0].path", "dot segment"),
    ("access: {rules: [{path: /.doorward/*}]}", "access.rules[0].path", "belong"),
    ("access: {rules: [{host: 'a/b'}]}", "access.rules[0].host", "more than a host"),
    ("access: {rules: [{networks: 10.0.0.1/8}]}", "access.rules[0].networks", "10.0.0.0/8"),
    ("access: {rules: [{require: deny, users: a}]}", "access.rules[0].users", "has no effect"),
    ("access: {rules: [{require: public, roles: a}]}", "access.rules[0].roles", "has no effect"),
    # Users.
    ("users: [{username: bob}]", "users[0].password_hash", "is required"),
    ("users: [{username: bob, password_hash: x}]", "users[0].password_hash", "hash-password"),
    (
        "users: [{username: bob, password_hash: $argon2id$v}]",
        "users[0].password_hash",
        "not a complete",
    ),
    (f"users: [{user('bob')}, {user('BOB')}]", "users[1].username", "spelt 'bob'"),
    (f"users: [{user('ﬁn')}, {user('FIN')}]", "users[1].username", "spelt 'ﬁn'"),
    (f"users: [{user(EMPTY)}]", "users[0].username", "1 to 190"),
    (f"users: [{user(EDGE)}]", "users[0].username", "either end"),
    (f"users: [{user(CONTROL)}]", "users[0].username", "no control characters"),
    (f"users: [{user('b' * 191)}]", "users[0].username", "1 to 190"),
    (f"users: [{user('bob', ', email: bob')}]", "users[0].email", "not an e-mail address"),
    (f"users: [{user('bob', ', email: a@b@c.de')}]", "users[0].email", "not an e-mail address"),
    (f"users: [{user('bob', COMMA)}]", "users[0].groups[1]", "no comma"),
    (
        f"users: [{user('bob', ', email: a@b.de')}, {user('eve', ', email: A@b.de')}]",
        "users[1].email",
        "user 'bob'",
    ),
    (
        f"users: [{user('bob', ', email: eve@b.de')}, {user('eve@b.de')}]",
        "users[0].email",
        "name of user",
    ),
    # Cookies, dialects, mail.
    ("sessions: {cookie: {secure: true}}", "sessions.cookie.secure", "browsers drop"),
    (
        "sessions: {cookie: {same_site: none}}",
        "sessions.cookie.same_site",
        "on secure cookies",
    ),
    ("sessions: {cookie: {same_site: Lax}}", "sessions.cookie.same_site", "did you mean lax?"),
    ("dialects: {alekeagle: {prefix: /}}", "dialects.alekeagle.prefix", "root"),
    ("dialects: {alekeagle: {prefix: //x}}", "dialects.alekeagle.prefix", "empty segment"),
    ("dialects: {alekeagle: {prefix: /a//b}}", "dialects.alekeagle.prefix", "empty segment"),
    ("dialects: {alekeagle: {prefix: '/{id}'}}", "dialects.alekeagle.prefix", "letters, digits"),
    (
        "dialects: {alekeagle: {prefix: '/{x:path}'}}",
        "dialects.alekeagle.prefix",
        "letters, digits",
    ),
    ("dialects: {alekeagle: {prefix: /%41}}", "dialects.alekeagle.prefix", "letters, digits"),
    ("dialects: {alekeagle: {prefix: /a;b}}", "dialects.alekeagle.prefix", "letters, digits"),
    ("dialects: {alekeagle: {prefix: /.doorward}}", "dialects.alekeagle.prefix", "Doorward"),
    ("dialects: {alekeagle: {rate_limit: 5}}", "dialects.alekeagle.rate_limit", "mapping"),
    (
        "dialects: {alekeagle: {login_limit: {per: 1m}}}",
        "dialects.alekeagle.login_limit.requests",
        "is required",
    ),
    ("dialects: {xhr: {cors: {origins: [a]}}}", "dialects.xhr.cors.origins[0]", "https://"),
    (
        "dialects: {xhr: {cors: {origins: 'https://a/'}}}",
        "dialects.xhr.cors.origins",
        "write 'https://a'",
    ),
    (
        "dialects: {xhr: {cors: {origins: ['*', 'https://a']}}}",
        "dialects.xhr.cors.origins",
        "cannot be combined with other",
    ),
    ("email: {smtp: 'smtp://a'}", "email.from", "is required"),
    ("email: {smtp: 'http://a', from: a@b.de}", "email.smtp", "not the URL of a mail server"),
    ("email: {smtp: 'smtp://a/b', from: a@b.de}", "email.smtp", "more than"),
    ("email: {smtp: 'smtp://u:p@@a b', from: a@b.de}", "email.smtp", "not the URL of a mail"),
    ("email: {smtp: 'smtp://a b', from: a@b.de}", "email.smtp", "not the URL of a mail server"),
    ("data_dir: ~/data", "data_dir", "only shells expand"),
    ("listen: '[::ffff:127.0.0.1]:80'", "listen", "write 127.0.0.1 without brackets"),
    ("listen: unix:~/door.sock", "listen", "only shells expand"),
]


@pytest.mark.parametrize(("text", "key", "says"), WRONG)
def test_an_invalid_value_is_reported_with_key_and_advice(
    faults: Faults, text: str, key: str, says: str
) -> None:
    found = faults(text)
    assert [fault.key for fault in found] == [key]
    assert says in str(found[0])


def test_every_peer_may_be_trusted_on_loopback_only(load: Load, faults: Faults) -> None:
    everybody = "trusted_proxies: ['0.0.0.0/0', '::/0']"
    assert len(load(everybody).trusted_proxies) == 2
    outside = faults(f"listen: 192.0.2.1:80\n{everybody}")
    assert [fault.key for fault in outside] == ["trusted_proxies[0]", "trusted_proxies[1]"]


def test_the_replacement_of_a_faulty_value_causes_no_fault(faults: Faults) -> None:
    found = faults("listen: 0.0.0.0:80\npublic_url: nonsense\nsessions: {cookie: {secure: true}}")
    assert [fault.key for fault in found] == ["public_url"]


def test_the_place_of_a_later_item_is_right_although_an_earlier_one_is_faulty(
    faults: Faults,
) -> None:
    hash_line = f'password_hash: "{HASH}"'
    found = faults(
        "users:\n- {username: a}\n"
        f"- {{username: b, {hash_line}}}\n- {{username: B, {hash_line}}}\n- {{username: c}}\n"
    )
    assert [(fault.line, fault.key) for fault in found] == [
        (2, "users[0].password_hash"),
        (4, "users[2].username"),
        (5, "users[3].password_hash"),
    ]


SECRETS = [
    "users: [{username: bob, password_hash: s3cret}]",
    "users: [{username: bob, password_hash: $argon2id$s3cret}]",
    "users: [{username: bob, password_hash: [s3cret]}]",
    "email: {smtp: 's3cret://a', from: a@b.de}",
    "email: {smtp: 'smtp://bob:s3cret@a/b', from: a@b.de}",
    "email: {smtp: 'smtp://bob:s3cret@a:99999', from: a@b.de}",
    "email: {smtp: [s3cret], from: a@b.de}",
    "storage: postgresql://bob:s3cret@a",
    "storage: postgresql://bob:s3cret@a:99999/db",
    "storage: s3cret",
    "routes: [{upstream: 'http://bob:s3cret@a'}]",
    "public_url: https://bob:s3cret@a",
]


@pytest.mark.parametrize("text", SECRETS)
def test_no_secret_is_ever_shown(faults: Faults, text: str) -> None:
    for fault in faults(text):
        assert "s3cret" not in f"{fault}{fault!r}"


DOCUMENTS: list[tuple[bytes, int | None, str]] = [
    (b"", None, "is empty"),
    (b"# nothing\n", None, "is empty"),
    (b"- a\n", 1, "not a mapping"),
    (b"a: b\n c: [\n", 2, "is not indented like the lines it belongs to"),
    (b"listen: a: b\n", 1, "not valid YAML"),
    (b"limits:\n\tbody_bytes: 1\n", 2, "is indented with a tab; YAML only allows spaces"),
    (b"limits:\n  body_bytes: 1\n\theader_bytes: 2\n", 3, "is indented with a tab"),
    (b"routes:\n  - upstream: http://a\n \t path: /\n", 3, "is indented with a tab"),
    (b"routes:\n  - upstream: http://a\n   path: /\n", 3, "is not indented like"),
    (b"routes:\n  - upstream: http://a\n      path: /\n", 3, "is not indented like"),
    (b"routes:\n- upstream: http://a\n path: /\n", 3, "is not indented like"),
    (b"limits:\n    body_bytes: 1\n  header_bytes: 2\n", 3, "is not indented like"),
    (b"access:\n  rules:\n    - path: /x\n   - path: /y\n", 4, "dashes of a list"),
    (b" listen: x\nroutes: []\n", 2, "is not indented like"),
    (b"listen: x\n  routes: []\n", 2, "is not indented like"),
    (b"listen: [::]:80\n", 1, "not valid YAML"),
    (b"a: 1\n---\nb: 2\n", 2, "more than one document"),
    (b"a: \xff\n", 1, "not UTF-8"),
    (b"a: b\nc: \x01\n", 2, "character"),
    ("a: ü".encode("utf-16"), 1, "not UTF-8"),
    (b"a: !!python/object/apply:os.system [id]\n", 1, "tag"),
    (b"a: !secret x\n", 1, "tag"),
    (b"a: &a [*a]\n", 1, "anchor"),
    (b"a: *b\n", 1, "anchor"),
    (b"? [a]\n: b\n", 1, "plain text"),
    (b"a: &a {b: 1}\nc: {<<: *a}\n", 2, "<<"),
    (b"a: " + b"[" * 50 + b"]" * 50 + b"\n", 1, "nested too deeply"),
    (b"a: " + b"[" * 500_000 + b"\n", 1, ""),
    (b"a: b\n" + b"#" * 1024 * 1024, None, "larger than 1 MiB"),
]


@pytest.mark.parametrize(("data", "line", "says"), DOCUMENTS, ids=[d[2] for d in DOCUMENTS])
def test_an_unreadable_document_is_refused_with_one_fault(
    tmp_path: Path, data: bytes, line: int | None, says: str
) -> None:
    file = tmp_path / "file.yaml"
    file.write_bytes(data)
    with pytest.raises(InvalidSettings) as caught:
        load_settings(file, {})
    (fault,) = caught.value.faults
    assert fault.line == line
    assert says in str(fault)


def test_aliases_that_unfold_without_end_are_refused_quickly(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    file = tmp_path / "bomb.yaml"
    file.write_text(bomb)
    with pytest.raises(InvalidSettings, match="expands to too many values"):
        load_settings(file, {})


def test_missing_unreadable_and_misplaced_files_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="there is no such file"):
        load_settings(tmp_path / "none.yaml", {})
    with pytest.raises(InvalidSettings, match="is a directory"):
        load_settings(tmp_path, {})
    with pytest.raises(InvalidSettings, match="cannot be read: Not a directory"):
        (tmp_path / "file").touch()
        load_settings(tmp_path / "file" / "x.yaml", {})


def test_paths_of_keys_are_formatted_as_written() -> None:
    assert format_path(("routes", 0, "upstream", 1)) == "routes[0].upstream[1]"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["off", "/a", "5m"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def nested(path: tuple[str, ...], value: object) -> object:
    """Returns the value at that place in the models."""
    for depth in range(len(path), 0, -1):
        value = {path[depth - 1]: value}
        if path[: depth - 1] in {("routes",), ("access", "rules"), ("users",)}:
            value = [value, {}]
    return value


@settings(max_examples=1500)
@given(st.sampled_from(every_key()), VALUES, VALUES)
def test_any_value_gives_settings_or_faults(
    path: tuple[str, ...], value: object, other: object
) -> None:
    given_values = nested(path, value)
    assert isinstance(given_values, dict)
    try:
        settings_from({"workers": other, **given_values})
    except InvalidSettings as error:
        assert error.faults
        assert all("\n" not in str(fault) for fault in error.faults)


@given(st.binary() | st.text(alphabet="{}[]:,-&*!|>'\"#\n a<?%@`~").map(str.encode))
def test_any_bytes_in_a_file_give_faults(data: bytes) -> None:
    with TemporaryDirectory() as directory:
        file = Path(directory) / "doorward.yaml"
        file.write_bytes(data)
        with pytest.raises(InvalidSettings):
            load_settings(file, {})


@given(st.sampled_from(every_key()), st.text())
def test_any_environment_gives_settings_or_faults(path: tuple[str, ...], text: str) -> None:
    with contextlib.suppress(InvalidSettings):
        load_settings(None, {f"DOORWARD_{'__'.join(path).upper()}": text})
