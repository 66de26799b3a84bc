"""The one block in a code that names a card, and only to the platform.

`cti` = AES-128 of (card serial, 8 bytes big-endian ‖ 8 random bytes). One block under one key and half of it random, so
no two codes look alike and none can be linked to a person or to another code. The signature, not this, proves it is ours.
"""

from threading import local

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from ehc.core.randomness import random_bytes

_SERIAL, _RANDOM = 8, 8


class CtiKey:
    """Makes and reads the `cti` of codes under one 16-byte key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = Cipher(algorithms.AES128(key), modes.ECB())  # noqa: S305 - single blocks, half of each random
        self._own = local()

    def make(self, serial: int) -> bytes:
        """A fresh 16-byte block for the card with this serial."""
        block = serial.to_bytes(_SERIAL, "big") + random_bytes(_RANDOM)
        return self._context("encryptor").update(block)

    def serial(self, cti: bytes) -> int:
        """The card serial in a 16-byte block. Any block gives some number: believe it only after the signature.

        Signed, as PostgreSQL's `bigint` is: a block that is not ours gives a negative number half of the time.
        """
        if len(cti) != _SERIAL + _RANDOM:  # a part of a block would stay in the kept context and spoil the next
            raise ValueError("a cti has 16 bytes")
        return int.from_bytes(self._context("decryptor").update(cti)[:_SERIAL], "big", signed=True)

    def _context(self, kind: str) -> CipherContext:
        # ECB carries nothing from block to block, so a thread can keep its context: making one costs ten times the block.
        context: CipherContext | None = getattr(self._own, kind, None)
        if context is None:
            context = getattr(self._cipher, kind)()
            setattr(self._own, kind, context)
        return context
