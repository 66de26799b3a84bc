"""Public keys that check codes and tokens. Nothing here can sign: private keys live in `ehc/crypto/signer.py`.

What a code says about its key is only a hint. The ring holds the keys this service trusts, and the key, not the code,
decides the algorithm and the time in which it may have signed.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import NewType

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KeyId = NewType("KeyId", bytes)
"""8 bytes that name a key: the start of its COSE Key Thumbprint (RFC 9679)."""

ES256 = -7
"""ECDSA with SHA-256 on P-256 (RFC 9053 section 2.1)."""

_COORDINATE = 32
_ECDSA = ec.ECDSA(hashes.SHA256())


class UnknownKey(Exception):
    """Signed by a key this service does not trust, or not at that time, or not for that algorithm."""


class BadSignature(Exception):
    """The signature does not fit the bytes."""


def coordinates(public: ec.EllipticCurvePublicKey) -> tuple[bytes, bytes]:
    """The x and y of a P-256 point, 32 bytes each."""
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return point[1 : 1 + _COORDINATE], point[1 + _COORDINATE :]


def cose_key(public: ec.EllipticCurvePublicKey) -> dict[int, int | bytes]:
    """The required members of the COSE_Key of a P-256 key (RFC 9053 section 7.1.1)."""
    x, y = coordinates(public)
    return {1: 2, -1: 1, -2: x, -3: y}


def key_id(public: ec.EllipticCurvePublicKey) -> KeyId:
    """The first 8 bytes of the SHA-256 COSE Key Thumbprint (RFC 9679 section 3)."""
    return KeyId(sha256(cbor2.dumps(cose_key(public), canonical=True)).digest()[:8])


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A public key and the time in which it signs. `until` None means it signs still."""

    public: ec.EllipticCurvePublicKey
    since: datetime
    until: datetime | None = None
    revoked: bool = False

    @property
    def id(self) -> KeyId:
        """The key's name, 8 bytes."""
        return key_id(self.public)

    def covers(self, issued_at: int, *, skew: int) -> bool:
        """Whether the key was signing at `issued_at` (Unix seconds), give or take `skew` seconds.

        A retired key still checks what it signed in its time, and nothing dated later: a stolen one makes no new codes.
        """
        late = self.until is not None and issued_at > self.until.timestamp() + skew
        return not self.revoked and not late and issued_at >= self.since.timestamp() - skew

    def verify(self, signed: bytes, signature: bytes) -> None:
        """Check a 64-byte `r ‖ s` signature over `signed`. Raises `BadSignature`."""
        if len(signature) != 2 * _COORDINATE:
            raise BadSignature
        r, s = int.from_bytes(signature[:_COORDINATE], "big"), int.from_bytes(signature[_COORDINATE:], "big")
        try:
            self.public.verify(encode_dss_signature(r, s), signed, _ECDSA)
        except InvalidSignature:
            raise BadSignature from None


class KeyRing:
    """The keys this service trusts, by id. Never changes: a refresh makes a new ring."""

    def __init__(self, keys: Iterable[VerifyKey]) -> None:
        self._keys = {key.id: key for key in keys}

    def __contains__(self, hint: KeyId) -> bool:
        return hint in self._keys

    def __iter__(self) -> Iterator[VerifyKey]:
        return iter(self._keys.values())

    def key_for(self, hint: KeyId, *, algorithm: int, issued_at: int, skew: int) -> VerifyKey:
        """The key a code names, if it may have signed at that time. Raises `UnknownKey`."""
        key = self._keys.get(hint)
        if key is None or algorithm != ES256 or not key.covers(issued_at, skew=skew):
            raise UnknownKey
        return key
