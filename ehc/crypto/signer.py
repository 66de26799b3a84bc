"""The private half: what makes signatures. `ehc/verify` can never import this (`make check` holds it so)."""

from typing import Protocol

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from ehc.crypto.keys import KeyId, VerifyKey, key_id

_ECDSA = ec.ECDSA(hashes.SHA256())


class Signer(Protocol):
    """Something that signs for one key: software today, an HSM behind the same two members later."""

    @property
    def key_id(self) -> KeyId:
        """The 8-byte name of the key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """The 64-byte `r ‖ s` signature of `data`."""
        ...


class SoftwareSigner:
    """Signs with a P-256 key held in this process's memory."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self._private = private
        self._key_id = key_id(private.public_key())

    @classmethod
    def generate(cls) -> "SoftwareSigner":
        """A new key from the operating system's randomness."""
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def load(cls, der: bytes) -> "SoftwareSigner":
        """The key in PKCS #8 DER. Raises `ValueError` for anything but a P-256 key."""
        private = load_der_private_key(der, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise ValueError("a signing key must be a P-256 key")  # noqa: TRY004 - the DER is a wrong value
        return cls(private)

    def dump(self) -> bytes:
        """The private key in PKCS #8 DER, in clear: the caller wraps it at once."""
        return self._private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    @property
    def private(self) -> ec.EllipticCurvePrivateKey:
        """The key object, for a library that signs by itself (PyJWT)."""
        return self._private

    @property
    def public(self) -> ec.EllipticCurvePublicKey:
        """The key that checks what this signer signs."""
        return self._private.public_key()

    @property
    def key_id(self) -> KeyId:
        """The 8-byte name of the key."""
        return self._key_id

    def sign(self, data: bytes) -> bytes:
        """The 64-byte `r ‖ s` signature of `data` (RFC 9053 section 2.1)."""
        r, s = decode_dss_signature(self._private.sign(data, _ECDSA))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def check_pair(signer: Signer, published: VerifyKey, probe: bytes = b"ehc start-up probe") -> None:
    """Refuse a signer that does not match the key we publish. Raises `BadSignature`."""
    published.verify(probe, signer.sign(probe))
