"""Assertions: signed tokens that identify the user to an application, as compact JWS (RFC 7515).

They are for applications that verify a signature and cannot trust a header. The keys follow from
the instance's secrets and turn over with them: the first signs, the public halves of all are
published.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from doorward.accounts.keys import Derive, Keys
from doorward.accounts.sessions.sessions import Session

ES256, EDDSA = "ES256", "EdDSA"
LIFE_S = 120
# The order of P-256 (FIPS 186-5; SEC 2, 2.4.2).
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# The parts of a session's `method`. RFC 8176 has no word for recovery codes.
METHODS = {"password": "pwd", "totp": "otp", "email": "otp", "recovery": "recovery"}

Jwk = dict[str, str]


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _make_es256(low: bytes, high: bytes) -> tuple[Any, Jwk]:
    """A key of P-256 from 512 bits, so that no key is likelier than another (FIPS 186-5 A.2.1)."""
    number = int.from_bytes(high + low) % (_ORDER - 1) + 1
    private = ec.derive_private_key(number, ec.SECP256R1())
    point = private.public_key().public_numbers()
    x, y = (_base64url(each.to_bytes(32)) for each in (point.x, point.y))
    return private, {"crv": "P-256", "kty": "EC", "x": x, "y": y}


def _make_eddsa(low: bytes, high: bytes) -> tuple[Any, Jwk]:
    """RFC 8037 2."""
    private = ed25519.Ed25519PrivateKey.from_private_bytes(low)
    raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return private, {"crv": "Ed25519", "kty": "OKP", "x": _base64url(raw)}


_MAKERS = {ES256: _make_es256, EDDSA: _make_eddsa}


@dataclass(frozen=True, slots=True)
class _KeyPairs:
    """`private` signs; its public half is the first of `public`."""

    private: Any
    public: tuple[Jwk, ...]


class AssertionKeys:
    """The keys of one algorithm."""

    __slots__ = ("_pairs", "algorithm")

    def __init__(self, keys: Keys, algorithm: str) -> None:
        self.algorithm = algorithm
        self._pairs = keys.published.follow(self._make)

    def _make(self, derive: Derive) -> _KeyPairs:
        purposes = (f"assertion {self.algorithm}", f"assertion {self.algorithm} 2")
        pairs = zip(*map(derive, purposes), strict=True)
        made = [_MAKERS[self.algorithm](*pair) for pair in pairs]
        public = (
            {**jwk, "kid": _thumbprint(jwk), "alg": self.algorithm, "use": "sig"} for _, jwk in made
        )
        return _KeyPairs(made[0][0], tuple(public))

    @property
    def public(self) -> tuple[Jwk, ...]:
        """The JWKs for verifiers, one per secret, the one that signs first."""
        return self._pairs().public

    def sign(self, session: Session, issuer: str, audience: str, now: float) -> str:
        """A token about this session that is valid for two minutes."""
        user, at, pairs = session.user, int(now), self._pairs()
        claims: dict[str, object] = {
            "iss": issuer,
            "aud": audience,
            "sub": user.id,
            "preferred_username": user.username,
            "groups": list(user.groups),
            "roles": list(user.roles),
            "amr": _list_methods(session),
            "auth_time": int(session.created_at),
            "sid": session.id,
            "iat": at,
            "exp": at + LIFE_S,
        }
        claims |= {"email": user.email} if user.email else {}
        claims |= {"name": user.name} if user.name else {}
        key_id = pairs.public[0]["kid"]
        return jwt.encode(claims, pairs.private, self.algorithm, {"kid": key_id})


def _thumbprint(jwk: Jwk) -> str:
    """RFC 7638 3."""
    text = json.dumps(jwk, separators=(",", ":"), sort_keys=True)
    return _base64url(hashlib.sha256(text.encode()).digest())


def _list_methods(session: Session) -> list[str]:
    """How the user was authenticated (RFC 8176), as far as there is a word for it."""
    shown = [METHODS[each] for each in session.method.split("+") if each in METHODS]
    if session.second_factor_at is not None:
        shown.append("mfa")
    return list(dict.fromkeys(shown))
