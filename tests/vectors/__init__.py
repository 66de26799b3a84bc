"""Vectors of codes (input, clock, expected end), and signed codes put together by hand.

What is here knows the formats from their document alone (`docs/code-format.md`) and imports nothing of the service.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, TypedDict, cast

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

CODES = Path(__file__).with_name("codes.json")
TEXTS = Path(__file__).with_name("texts.json")


class PublishedKey(TypedDict):
    """A public key as the service publishes it; revoked ones are in the file, and never in a published set."""

    name: str
    state: str
    jwk: dict[str, Any]


class Vector(TypedDict):
    """A text, the clock of the one who checks it, and the end: `valid` or the reason of the refusal."""

    name: str
    text: str
    clock: str
    expect: str
    why: str


class Codes(TypedDict):
    """The whole of `codes.json`."""

    format: str
    keys: list[PublishedKey]
    vectors: list[Vector]


class TextVector(TypedDict):
    """A text that is not signed, the kind it looks like, and the end of reading it: `well-formed` or the reason.

    `until` is what the validity field of a national dynamic text says under the sample protection key.
    """

    name: str
    text: str
    kind: str
    expect: str
    until: str | None
    why: str


class Texts(TypedDict):
    """The whole of `texts.json`."""

    format: str
    vectors: list[TextVector]


def load_codes() -> Codes:
    """What is in `codes.json`."""
    return cast(Codes, json.loads(CODES.read_text(encoding="utf-8")))


def load_texts() -> Texts:
    """What is in `texts.json`."""
    return cast(Texts, json.loads(TEXTS.read_text(encoding="utf-8")))


def vector(expect: str, name: str, code: bytes | str, why: str, *, at: float | None = None) -> Vector:
    """A vector of a signed code, given as its text or as its bytes, checked at `at`: Unix seconds, noon by default."""
    text = code if isinstance(code, str) else digits(code)
    clock = datetime.fromtimestamp(NOON if at is None else at, UTC).isoformat().replace("+00:00", "Z")
    return {"name": name, "text": text, "clock": clock, "expect": expect, "why": why}


def clock_of(vector: Vector) -> datetime:
    """When a vector is checked."""
    return datetime.fromisoformat(vector["clock"])


NOON = int(datetime(2026, 3, 1, 4, 0, tzinfo=UTC).timestamp())
"""When most codes are issued and checked: noon in Beijing."""
CTI = bytes.fromhex("00112233445566778899aabbccddeeff")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of P-256."""
ES256_HEADER = b"\x26"


@dataclass(frozen=True)
class Key:
    """A key pair for these vectors and nothing else: whoever reads this file can sign with it."""

    name: str
    state: str
    nbf: int
    exp: int | None = None

    @cached_property
    def private(self) -> ec.EllipticCurvePrivateKey:
        secret = int.from_bytes(sha256(f"TEST ONLY, NEVER TRUST: {self.name}".encode()).digest(), "big")
        return ec.derive_private_key(secret % (ORDER - 1) + 1, ec.SECP256R1())

    @property
    def point(self) -> tuple[bytes, bytes]:
        numbers = self.private.public_key().public_numbers()
        return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")

    @cached_property
    def kid(self) -> bytes:
        x, y = self.point
        return sha256(b"\xa4\x01\x02\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y).digest()[:8]

    def sign(self, data: bytes) -> bytes:
        der = self.private.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        return b"".join(part.to_bytes(32, "big") for part in decode_dss_signature(der))

    def published(self) -> PublishedKey:
        x, y = (_base64url(part) for part in self.point)
        jwk: dict[str, Any] = {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": _base64url(self.kid), "alg": "ES256"}
        dates = {"nbf": self.nbf} | ({} if self.exp is None else {"exp": self.exp})
        return {"name": self.name, "state": self.state, "jwk": jwk | {"use": "sig"} | dates}


DAY = 86_400
CURRENT = Key("current", "active", NOON - 60 * DAY)
RETIRED = Key("retired", "retired", NOON - 400 * DAY, NOON - 60)
NEXT = Key("next", "pending", NOON + 3600)
REVOKED = Key("revoked", "revoked", NOON - 60 * DAY)
STRANGER = Key("stranger", "never published", NOON)


KIND = b"\x3a\x00\x01\x00\x00"
"""The label of the kind, -65537."""
STATIC = KIND + b"\x01"


def claims(*, iat: int = NOON, life: int = 60) -> bytes:
    """The payload of a good code."""
    return b"\xa3\x04" + four(iat + life) + b"\x06" + four(iat) + b"\x07\x50" + CTI


def static_claims(*, iat: int = NOON, life: int = 365 * DAY, kind: bytes = STATIC) -> bytes:
    """The payload of a good static code."""
    return b"\xa4" + claims(iat=iat, life=life)[1:] + kind


def four(number: int) -> bytes:
    """An unsigned CBOR integer of four bytes."""
    return b"\x1a" + number.to_bytes(4, "big")


def string(data: bytes) -> bytes:
    """A CBOR byte string of up to 255 bytes, in its shortest form."""
    return bytes([0x40 + len(data)] if len(data) < 24 else [0x58, len(data)]) + data


def header(alg: bytes = ES256_HEADER, kid: bytes | None = None) -> bytes:
    """A protected header, by default that of a good code."""
    return b"\xa2\x01" + alg + b"\x04" + string(CURRENT.kid if kid is None else kid)


def to_be_signed(protected: bytes, payload: bytes, external: bytes = b"") -> bytes:
    return b"\x84\x6aSignature1" + string(protected) + string(external) + string(payload)


def envelope(
    key: Key = CURRENT,
    *,
    protected: bytes | None = None,
    payload: bytes | None = None,
    before: bytes = b"\xd2\x84",
    unprotected: bytes = b"\xa0",
    wrap_protected: Callable[[bytes], bytes] = string,
    wrap_payload: Callable[[bytes], bytes] = string,
    wrap_signature: Callable[[bytes], bytes] = string,
    change: Callable[[bytes], bytes] = bytes,
    signs: Callable[[bytes, bytes], bytes] = to_be_signed,
) -> bytes:
    """The bytes of a code; `change` works on its signature."""
    protected = header(kid=key.kid) if protected is None else protected
    payload = claims() if payload is None else payload
    signature = change(key.sign(signs(protected, payload)))
    return before + wrap_protected(protected) + unprotected + wrap_payload(payload) + wrap_signature(signature)


def digits(body: bytes, *, lead: bytes = b"\x01") -> str:
    return "691" + str(int.from_bytes(lead + body, "big"))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
