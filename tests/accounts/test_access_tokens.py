"""Access tokens: their claims, and that they cannot be forged."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest
from doorward.accounts.keys import Keys
from doorward.accounts.sessions.access_tokens import READ_LIMIT, AccessTokens

from tests.support.core import Core
from tests.support.memory import NOW

KEYS = Keys((b"k" * 32,))
TOKENS = AccessTokens(KEYS)
SECRET = KEYS.follow(lambda derive: derive("access token"))()[0]
CLAIMS: dict[str, Any] = {
    "iss": "lumen-jwt",
    "sub": 1,
    "iat": int(NOW),
    "exp": int(NOW) + 3600,
    "session": "abcdefgh",
}


def part(content: object) -> str:
    packed = json.dumps(content, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def parts_of(token: str) -> list[Any]:
    """Header and claims as text, to compare their order."""
    texts = token.split(".")[:2]
    return [base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() for text in texts]


async def test_a_token_has_the_documented_header_and_claims(core: Core) -> None:
    await core.add()
    session = (await core.login()).session
    token = TOKENS.issue(session, 3600.0, NOW + 0.75)
    header, claims = parts_of(token)
    assert header == '{"typ":"JWT","alg":"HS256"}'
    assert list(json.loads(claims)) == ["iss", "sub", "iat", "exp", "session"]
    assert json.loads(claims) == CLAIMS | {"sub": session.user.number, "session": session.id}
    read = TOKENS.read(token.encode())
    assert read is not None
    assert (read.session, read.user) == (session.id, session.user.number)


async def test_a_token_is_valid_from_its_issue_to_its_expiry(core: Core) -> None:
    """CVE-2025-64708: an expired token is still recognized as ours, but invalid, without leeway."""
    await core.add()
    token = TOKENS.read(TOKENS.issue((await core.login()).session, 60.9, NOW).encode())
    assert token is not None
    assert [token.is_due(NOW + after) for after in (-1, 0, 59.9, 60)] == [False, True, True, False]
    assert [token.is_expired(NOW + after) for after in (-1, 59.9, 60)] == [False, False, True]


def test_every_key_verifies_and_the_first_signs() -> None:
    old, new = AccessTokens(Keys((b"a" * 32,))), AccessTokens(Keys((b"b" * 32, b"a" * 32)))
    signed = jwt.encode(
        CLAIMS,
        Keys((b"a" * 32,)).follow(lambda derive: derive("access token"))()[0],
        sort_headers=False,
    )
    assert old.read(signed.encode()) == new.read(signed.encode()) is not None
    newer = jwt.encode(
        CLAIMS,
        Keys((b"b" * 32,)).follow(lambda derive: derive("access token"))()[0],
        sort_headers=False,
    )
    assert old.read(newer.encode()) is None and new.read(newer.encode()) is not None


def signed(claims: Any = CLAIMS, key: Any = SECRET, algorithm: str = "HS256", **more: Any) -> str:
    return jwt.encode(claims, key, algorithm, sort_headers=False, **more)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "0",
        "a.b.c",
        "A" * 43,
        signed(key=b"x" * 32),
        signed(key=Keys((b"k" * 32,)).follow(lambda derive: derive("session cookie"))()[0]),
        signed(key=SECRET * 2, algorithm="HS512"),
        signed(headers={"kid": "1"}),
        jwt.encode(CLAIMS, "", "none"),
        part({"typ": "JWT", "alg": "none"}) + "." + part(CLAIMS) + ".",
        part({"typ": "JWT", "alg": "HS256"}) + "." + part(CLAIMS) + ".",
        part({"typ": "JWT", "alg": "HS256"}) + "." + part(CLAIMS) + "." + "A" * 43,
        signed() + "\n",
        signed() + ".",
        " " + signed(),
        signed()[:-2],
        signed(CLAIMS | {"session": 5}),
        signed(CLAIMS | {"sub": "1"}),
        signed(CLAIMS | {"sub": True}),
        signed(CLAIMS | {"exp": 1e300}),
        signed({name: CLAIMS[name] for name in CLAIMS if name != "exp"}),
        signed({name: CLAIMS[name] for name in CLAIMS if name != "session"}),
        signed(CLAIMS | {"more": "x" * 600}),
    ],
)
def test_a_token_that_we_did_not_issue_is_invalid(token: str) -> None:
    """CVE-2024-47616, CVE-2020-14359 and the classic attacks: `alg: none`, another algorithm, the
    key of another purpose, claims that are read before the signature is checked."""
    assert TOKENS.read(token.encode()) is None


def test_no_changed_byte_is_accepted() -> None:
    token = signed().encode()
    for at in range(len(token) - 1):  # the last character contains unused bits
        other = b"A" if token[at : at + 1] != b"A" else b"B"
        assert TOKENS.read(token[:at] + other + token[at + 1 :]) is None


def test_a_cached_token_is_invalid_after_a_change_of_keys() -> None:
    keys = Keys((b"k" * 32,))
    tokens, value = AccessTokens(keys), signed().encode()
    assert tokens.read(value) is not None
    keys.replace(Keys((b"n" * 32,)))
    assert tokens.read(value) is None


def test_the_cache_of_tokens_is_bounded() -> None:
    tokens = AccessTokens(KEYS)
    for number in range(READ_LIMIT + 5):
        assert tokens.read(signed(CLAIMS | {"sub": number}).encode()) is not None
    assert len(tokens._keys().verified) == READ_LIMIT
