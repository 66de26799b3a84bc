"""Public keys of clients as they send them (JWK, RFC 7517), and what they sign (JWS, RFC 7515). P-256 and ES256 alone.

It is what terminals, codes and tokens are made with here and what every key store makes, and one algorithm leaves nothing to
be confused. A key is known by its thumbprint (RFC 7638). Keys that a JWS brings with it, or points at (`jwk`, `jku`, `x5c`,
`x5u`), are never looked at.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey, EllipticCurvePublicNumbers

from ehc.errors import Text

_COORDINATE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_KID = re.compile(r"[!-~]{1,100}", re.ASCII)
_JWS = jwt.PyJWS(algorithms=["ES256"])


class NotAKey(Exception):
    """Not a public key that counts here. `code` names the rule, `detail` says what to do."""

    def __init__(self, code: str, detail: Text) -> None:
        super().__init__(code)
        self.code, self.detail = code, detail


class NotSigned(Exception):
    """Not a JWS that counts here, or not signed by this key."""


@dataclass(frozen=True, slots=True)
class Jwk:
    """A public key on P-256, its thumbprint, and what its owner calls it: the thumbprint, if nothing else."""

    kid: str
    thumbprint: str
    public: EllipticCurvePublicKey
    members: Mapping[str, str]
    """`crv`, `kty`, `x`, `y` and `kid`: all that is kept of it."""


@dataclass(frozen=True, slots=True)
class Unproved:
    """What a JWS says. Nothing of it is true before `require_signed`."""

    text: str
    header: Mapping[str, Any]
    payload: Mapping[str, Any]


def read_jwk(found: Mapping[str, Any]) -> Jwk:
    """A JSON Web Key as a client sends it. Raises `NotAKey`, also for a private key and for a point beside the curve."""
    if "d" in found or "k" in found:
        raise NotAKey(
            "private-key",
            Text(
                "请只提交公钥；私钥已泄露，请另行生成密钥对。",
                "Send the public key alone. The private one has now been seen by others: make a new pair.",
            ),
        )
    if found.get("kty") != "EC" or found.get("crv") != "P-256" or found.get("alg", "ES256") != "ES256":
        raise NotAKey("key-kind", Text("仅支持 P-256 公钥（ES256）。", "Only keys on P-256 (ES256) count here."))
    if found.get("use", "sig") != "sig":
        raise NotAKey("key-use", Text("该密钥不用于签名。", "The key is not for signatures."))
    kid = found.get("kid")
    if kid is not None and not (isinstance(kid, str) and _KID.fullmatch(kid)):
        raise _misshapen()
    x, y = _coordinate(found.get("x")), _coordinate(found.get("y"))
    try:
        public = EllipticCurvePublicNumbers(x, y, SECP256R1()).public_key()
    except ValueError:
        raise _misshapen() from None
    members = {"crv": "P-256", "kty": "EC", "x": _text(x), "y": _text(y)}
    thumbprint = base64url(sha256(orjson.dumps(members, option=orjson.OPT_SORT_KEYS)).digest())
    return Jwk(kid or thumbprint, thumbprint, public, members | {"kid": kid or thumbprint})


def _misshapen() -> NotAKey:
    return NotAKey(
        "key-shape",
        Text(
            "公钥的 x、y 或 kid 不合法。",
            "x and y are 32 bytes in base64url, a point of the curve; kid is short ASCII.",
        ),
    )


def read_jws(text: str, *, longest: int) -> Unproved:
    """The parts of a compact JWS of JSON, if it says ES256 and asks for nothing special (`crit`). Raises `NotSigned`."""
    if len(text) > longest or not text.isascii():
        raise NotSigned
    try:
        parts = _JWS.decode_complete(text, options={"verify_signature": False})
        payload = orjson.loads(parts["payload"])
    except (jwt.InvalidTokenError, orjson.JSONDecodeError, RecursionError, ValueError, TypeError):
        raise NotSigned from None
    header = parts["header"]
    if not isinstance(payload, dict) or header.get("alg") != "ES256" or "crit" in header or "b64" in header:
        raise NotSigned
    return Unproved(text, header, payload)


def require_signed(said: Unproved, public: EllipticCurvePublicKey) -> None:
    """Raises `NotSigned` unless this key signed it."""
    try:
        _JWS.decode_complete(said.text, public, algorithms=["ES256"])
    except (jwt.InvalidTokenError, ValueError, TypeError):
        raise NotSigned from None


def base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 section 2)."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _coordinate(given: object) -> int:
    if not isinstance(given, str) or not _COORDINATE.fullmatch(given):
        raise _misshapen()
    return int.from_bytes(urlsafe_b64decode(given + "="), "big")


def _text(coordinate: int) -> str:
    return base64url(coordinate.to_bytes(32, "big"))
