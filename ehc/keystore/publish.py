"""The public keys that check codes, for anyone who builds a verifier: as a JWK Set (RFC 7517) and as COSE keys."""

from base64 import urlsafe_b64encode
from collections.abc import Iterable
from typing import Any

import cbor2

from ehc.crypto.keys import ES256, VerifyKey, coordinates, cose_key

_KID, _ALG, _KEY_OPS, _VERIFY = 2, 3, 4, 2


def jwk_set(keys: Iterable[VerifyKey]) -> dict[str, Any]:
    """A JWK Set. `kid` is the base64url form of the 8-byte key id; `nbf` and `exp` bound the time in which a key signs."""
    return {"keys": [_jwk(key) for key in keys]}


def cose_key_set(keys: Iterable[VerifyKey]) -> bytes:
    """A COSE_KeySet (RFC 9052 section 7): a CBOR array of COSE_Key maps."""
    return cbor2.dumps(
        [cose_key(key.public) | {_KID: key.id, _ALG: ES256, _KEY_OPS: [_VERIFY]} for key in keys], canonical=True
    )


def _jwk(key: VerifyKey) -> dict[str, Any]:
    x, y = coordinates(key.public)
    jwk = {"kty": "EC", "crv": "P-256", "x": _b64(x), "y": _b64(y), "kid": _b64(key.id), "alg": "ES256", "use": "sig"}
    dates = {"nbf": int(key.since.timestamp())} | ({"exp": int(key.until.timestamp())} if key.until else {})
    return jwk | dates


def _b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
