"""Recognises and verifies password hashes that other programs made.

The only module that uses libpass and bcrypt. Knows formats of hashes; must not know users. The
first login replaces such a hash with Doorward's own, except in files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from doorward.accounts.refusals import InvalidHash

# bcrypt reads no further, and the programs that made these hashes silently cut longer passwords.
BCRYPT_BYTES = 72
SCRYPT_BYTES = 256 * 1024 * 1024
# Both costs of argon2 together: libsodium's SENSITIVE, 1 GiB four times over. Some two seconds.
ARGON2_KIB = 4 * 1024 * 1024
# SHA-crypt hashes the password in each round: 656,000 rounds over 1,024 bytes take ten seconds.
# This many bytes take two seconds. At 656,000 rounds that allows 152 bytes, more than anyone types.
SHA_CRYPT_BYTES = 100_000_000
MADE_HERE = "$argon2id$v=19$m=19456,t=2,p=1$"  # others make these, too


@dataclass(frozen=True, slots=True)
class HashKind:
    """`most` limits the cost that a hash may demand: a file must not be able to block all
    logins."""

    form: re.Pattern[str]
    verify: Callable[[bytes, str], bool]
    most: Mapping[str, int]


def _libpass(name: str) -> Callable[[bytes, str], bool]:
    def verify(password: bytes, stored: str) -> bool:
        import passlib.hash  # type: ignore[import-untyped]  # 50 ms

        return bool(getattr(passlib.hash, name).verify(password, stored))

    return verify


def _bcrypt(password: bytes, stored: str) -> bool:
    import bcrypt

    return bcrypt.checkpw(password[:BCRYPT_BYTES], stored.encode())


def _argon2(password: bytes, stored: str) -> bool:
    verify = _libpass("argon2")
    if verify(password, stored):
        return True
    # A line that `doorward hash-password` made; only such a hash is tried in a second way.
    return stored.startswith(MADE_HERE) and verify(sha256(password).hexdigest().encode(), stored)


_CRYPT = r"[./0-9A-Za-z]"
_BASE64 = r"[./0-9A-Za-z+]"
_ROUNDS = {"rounds": 1_000_000}  # of SHA-crypt; 5000 to 656,000 are common
CUSTOMARY_ROUNDS = 5000  # if a SHA-crypt hash contains none

# Scheme → format, verifier, maximum cost. OWASP's and Authelia's parameters are all far below the
# maximum.
KINDS: Mapping[str, HashKind] = {
    "bcrypt": HashKind(  # the last character of the salt has two bits
        re.compile(rf"\$2[aby]\$(?P<cost>\d\d)\${_CRYPT}{{21}}[.Oeu]{_CRYPT}{{31}}"),
        _bcrypt,
        {"cost": 15},
    ),
    "sha512-crypt": HashKind(
        re.compile(rf"\$6\$(rounds=(?P<rounds>[1-9]\d{{3,8}})\$)?{_CRYPT}{{0,16}}\${_CRYPT}{{86}}"),
        _libpass("sha512_crypt"),
        _ROUNDS,
    ),
    "sha256-crypt": HashKind(
        re.compile(rf"\$5\$(rounds=(?P<rounds>[1-9]\d{{3,8}})\$)?{_CRYPT}{{0,16}}\${_CRYPT}{{43}}"),
        _libpass("sha256_crypt"),
        _ROUNDS,
    ),
    "apr1": HashKind(
        re.compile(rf"\$apr1\${_CRYPT}{{0,8}}\${_CRYPT}{{22}}"), _libpass("apr_md5_crypt"), {}
    ),
    "sha1": HashKind(re.compile(r"\{SHA\}[0-9A-Za-z+/]{27}="), _libpass("ldap_sha1"), {}),
    "argon2": HashKind(
        re.compile(
            r"\$argon2(id|i|d)\$v=19\$m=(?P<m>[1-9]\d{0,8}),t=(?P<t>[1-9]\d{0,3}),p=(?P<p>[1-9]\d?)"
            rf"\${_BASE64}{{11,86}}\${_BASE64}{{16,172}}"
        ),
        _argon2,
        {"m": 1024 * 1024, "t": 32, "p": 64},
    ),
    "pbkdf2": HashKind(
        re.compile(rf"\$pbkdf2\$(?P<rounds>[1-9]\d{{0,8}})\${_BASE64}+\${_BASE64}{{27}}"),
        _libpass("pbkdf2_sha1"),
        {"rounds": 5_000_000},
    ),
    "pbkdf2-sha256": HashKind(
        re.compile(rf"\$pbkdf2-sha256\$(?P<rounds>[1-9]\d{{0,8}})\${_BASE64}+\${_BASE64}{{43}}"),
        _libpass("pbkdf2_sha256"),
        {"rounds": 5_000_000},
    ),
    "pbkdf2-sha512": HashKind(
        re.compile(rf"\$pbkdf2-sha512\$(?P<rounds>[1-9]\d{{0,8}})\${_BASE64}+\${_BASE64}{{86}}"),
        _libpass("pbkdf2_sha512"),
        {"rounds": 5_000_000},
    ),
    "scrypt": HashKind(
        re.compile(
            r"\$scrypt\$ln=(?P<ln>[1-9]\d?),r=(?P<r>[1-9]\d?),p=(?P<p>[1-9]\d?)"
            rf"\${_BASE64}+\${_BASE64}{{43}}"
        ),
        _libpass("scrypt"),
        {"ln": 20, "r": 32, "p": 16},
    ),
}
WEAK = frozenset({"sha1"})  # unsalted and fast: with the file, all passwords are found in a day


def get_scheme(stored: str) -> str:
    """The scheme of a hash with its cost, such as `bcrypt 12`. Raises InvalidHash."""
    for name, kind in KINDS.items():
        if (costs := _costs(kind, stored)) is not None:
            if _huge(kind, costs):
                raise InvalidHash("This password hash would take too much time or memory.")
            return " ".join([name, ",".join(f"{k}={v}" for k, v in costs.items())]).strip()
    raise InvalidHash


def _costs(kind: HashKind, stored: str) -> Mapping[str, int] | None:
    """The cost in a hash of this kind; None if it is of another."""
    if (found := kind.form.fullmatch(stored)) is None:
        return None
    return {key: int(found[key]) for key in kind.most if found[key] is not None}


def _huge(kind: HashKind, costs: Mapping[str, int]) -> bool:
    """Whether one of the costs, or all of them together, is too high."""
    if any(value > kind.most[key] for key, value in costs.items()):
        return True
    if "ln" in costs:  # RFC 7914 2
        return bool(128 * costs["r"] * 2 ** costs["ln"] > SCRYPT_BYTES)
    return costs.get("m", 0) * costs.get("t", 0) > ARGON2_KIB


def is_weak(scheme: str) -> bool:
    """Whether this scheme is accepted with a warning only."""
    return scheme.partition(" ")[0] in WEAK


def matches(stored: str, scheme: str, password: str) -> bool:
    """Whether this is the password. A hash that cannot be read, or that costs more than `scheme_of`
    allows, never matches: rows and files may contain hashes that were never imported."""
    kind = KINDS.get(scheme.partition(" ")[0])
    costs = None if kind is None else _costs(kind, stored)
    if kind is None or costs is None or _huge(kind, costs):
        return False
    text = password.encode("utf-8", "surrogatepass")
    if kind.most is _ROUNDS and costs.get("rounds", CUSTOMARY_ROUNDS) * len(text) > SHA_CRYPT_BYTES:
        return False  # the same for every user, as it depends only on the input
    try:
        return kind.verify(text, stored)
    except (ValueError, TypeError):  # a hash damaged beyond its form; NUL in the password
        return False
