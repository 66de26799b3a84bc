"""The key-encrypting key (KEK): the one secret that comes from a file, and wraps every other key before it is stored."""

from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_PRODUCTION, _DEMO = "ehc-kek-1:", "ehc-demo-kek-1:"
_NONCE = 12


class KekError(Exception):
    """The key-encrypting key cannot be used; the text says what to do and holds no part of the key."""


@dataclass(frozen=True)
class KeyEncryptingKey:
    """32 bytes that wrap the stored keys with AES-256-GCM. `demo` marks one that production must refuse."""

    secret: bytes = field(repr=False)
    demo: bool

    @classmethod
    def make_file(cls, path: Path, *, demo: bool) -> None:
        """Write a new random key to `path`, readable by its owner alone. Raises `FileExistsError` rather than overwrite."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text((_DEMO if demo else _PRODUCTION) + token_bytes(32).hex() + "\n", encoding="ascii")

    @classmethod
    def from_file(cls, path: Path) -> "KeyEncryptingKey":
        """The key in a file made by `ehc keys make-kek`. Raises `KekError` if it is absent, open to all, or not a key."""
        try:
            mode, text = path.stat().st_mode, path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise KekError(f"the key-encrypting key file cannot be read: {type(error).__name__}") from None
        if mode & 0o007:
            raise KekError("the key-encrypting key file is open to every user of this machine: chmod o= it")
        for mark, demo in ((_PRODUCTION, False), (_DEMO, True)):
            digits = text.removeprefix(mark)
            if digits != text and len(digits) == 64 and set(digits) <= set("0123456789abcdef"):
                return cls(bytes.fromhex(digits), demo)
        raise KekError("the key-encrypting key file does not hold a key made by `ehc keys make-kek`")

    def wrap(self, plain: bytes, context: str) -> bytes:
        """`plain` enciphered; `context` names what it is and must be given again to unwrap it."""
        nonce = token_bytes(_NONCE)
        return nonce + AESGCM(self.secret).encrypt(nonce, plain, context.encode())

    def unwrap(self, wrapped: bytes, context: str) -> bytes:
        """The bytes that were wrapped under the same context. Raises `KekError` for another key or context."""
        try:
            return AESGCM(self.secret).decrypt(wrapped[:_NONCE], wrapped[_NONCE:], context.encode())
        except (InvalidTag, ValueError):
            raise KekError(
                "the stored keys were wrapped by another key-encrypting key; give the file they belong to"
            ) from None
