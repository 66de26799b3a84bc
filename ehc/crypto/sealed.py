"""Sealed fields and blind indexes: how personal data rest in the database, and how they are still found.

A sealed value is `0x01 ‖ key version (2 bytes) ‖ nonce (12) ‖ AES-256-GCM ciphertext and tag`. Its table, column and row
are the associated data, so a value moved to another row does not open.
"""

import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ehc.core.randomness import random_bytes

_FORMAT = b"\x01"
_HEADER, _NONCE = 3, 12


class SealBroken(Exception):
    """A sealed value does not open: other row, other key, or altered."""


class Sealer:
    """Seals with the newest key version, opens with any it holds."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self._keys = {version.to_bytes(2, "big"): AESGCM(key) for version, key in keys.items()}
        self._newest = max(keys).to_bytes(2, "big")

    def seal(self, text: str, place: str) -> bytes:
        """`text` enciphered for one place, written `table.column:row`. Adds 31 bytes to its UTF-8 form."""
        return self.seal_bytes(text.encode(), place)

    def seal_bytes(self, data: bytes, place: str) -> bytes:
        """What is no text, enciphered for one place. Adds 31 bytes."""
        nonce = random_bytes(_NONCE)
        return _FORMAT + self._newest + nonce + self._keys[self._newest].encrypt(nonce, data, place.encode())

    def unseal(self, sealed: bytes, place: str) -> str:
        """The text that was sealed for that place. Raises `SealBroken`."""
        try:
            return self.unseal_bytes(sealed, place).decode()
        except ValueError:
            raise SealBroken from None

    def unseal_bytes(self, sealed: bytes, place: str) -> bytes:
        """The bytes that were sealed for that place. Raises `SealBroken`."""
        key = self._keys.get(sealed[1:_HEADER])
        if key is None or sealed[:1] != _FORMAT:
            raise SealBroken
        nonce, body = sealed[_HEADER : _HEADER + _NONCE], sealed[_HEADER + _NONCE :]
        try:
            return key.decrypt(nonce, body, place.encode())
        except (InvalidTag, ValueError):
            raise SealBroken from None


class BlindIndex:
    """Turns a value into 32 bytes that find it again and tell nothing without the key (HMAC-SHA256)."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def of(self, kind: str, value: str) -> bytes:
        """The index of a value; the same value of another kind has another index."""
        return hmac.digest(self._key, kind.encode() + b"\x00" + value.encode(), "sha256")
