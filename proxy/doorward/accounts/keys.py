"""The secrets of the instance, and the keys each use derives from them.

It knows no file: `doorward.settings.keys` reads them. The first secret signs, all of them verify.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class Keys:
    """One derived key per secret and purpose (HKDF-SHA-256, RFC 5869), the secrets' order kept.

    The purpose is part of the derivation, so that a value made for one use is nothing in another
    (CVE-2024-47616).
    """

    __slots__ = ("_secrets",)

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        if not secrets or not all(secrets):
            raise ValueError("at least one key is needed, and none may be empty")
        self._secrets = secrets

    def __repr__(self) -> str:
        return f"Keys({len(self._secrets)} secrets)"

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """The keys of 32 bytes for this purpose; the first is the one to sign with."""
        info = f"doorward {purpose}".encode()
        return tuple(
            HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(secret)
            for secret in self._secrets
        )
