"""Sealing and indexing by the thousand: what `Sealer` and `BlindIndex` make, for less time a value.

Nonces are drawn together, the keyed start of the HMAC is computed once, and the security key's cipher is made once. What comes
out is opened and found by the ordinary classes; tests hold the two together.
"""

import os
from collections.abc import Iterator
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from ehc.codes.national import card_plaintext
from ehc.core.documents import Document
from ehc.crypto.sealed import BlindIndex, Sealer

_NONCE, _TAG = 12, 16
_BLOCK = 64
"""Bytes of a block of SHA-256, to which HMAC fills its key (RFC 2104)."""
_HALF = (1 << 64) - 1
_LENGTHS = tuple(length.to_bytes(4, "big") for length in range(2048))


class BulkSealer(Sealer):
    """Seals with a sealer's newest key; for at most `count` values."""

    def __init__(self, sealer: Sealer, count: int) -> None:
        self._keys, self._newest = sealer._keys, sealer._newest
        self._encrypt = self._keys[self._newest].encrypt
        self._head = b"\x01" + self._newest
        self._added = len(self._head) + _NONCE + _TAG
        drawn = os.urandom(_NONCE * count)
        self._nonces: Iterator[bytes] = (drawn[at : at + _NONCE] for at in range(0, len(drawn), _NONCE))

    def field(self, text: str, place: bytes) -> bytes:
        """`text` sealed for a place, its length in four bytes in front. Raises `StopIteration` after `count` values."""
        plain, nonce = text.encode(), next(self._nonces)
        length = _LENGTHS[len(plain) + self._added]
        return length + self._head + nonce + self._encrypt(nonce, plain, place)


class BulkIndex(BlindIndex):
    """Indexes values of one kind, under the key of a blind index."""

    def __init__(self, blind_index: BlindIndex, kind: str) -> None:
        super().__init__(blind_index._key)
        key = self._key if len(self._key) <= _BLOCK else sha256(self._key).digest()
        filled = key.ljust(_BLOCK, b"\x00")
        self._inner = sha256(bytes(byte ^ 0x36 for byte in filled) + kind.encode() + b"\x00")
        self._outer = sha256(bytes(byte ^ 0x5C for byte in filled))

    def index(self, value: str) -> bytes:
        """What `BlindIndex.of` gives for the kind and this value."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(value.encode())
        outer.update(inner.digest())
        return outer.digest()


class CardIds:
    """Card ids under one security key (national rules 1.2), as `national.card_id` makes them."""

    def __init__(self, security_key: bytes) -> None:
        self._encrypt = Cipher(algorithms.SM4(security_key), modes.ECB()).encryptor().update  # noqa: S305  as in sm.py

    def of(self, id_type: str, number: str, index: bytes) -> str:
        """The card id of a document whose holder's index id is given, 64 hex digits."""
        folded = int.from_bytes(index, "big")
        folded ^= folded >> 128
        factor = (folded ^ folded >> 64) & _HALF
        key = self._encrypt((factor << 64 | factor ^ _HALF).to_bytes(16, "big"))
        cipher = Cipher(algorithms.SM4(key), modes.ECB()).encryptor()  # noqa: S305  as in sm.py
        return cipher.update(card_plaintext(Document(id_type, number))).hex().upper()
