"""Checks codes with the library `cwt` alone. Runs in an environment of its own, where nothing of the service is installed.

Reads a case from standard input and writes, for each key set and each code, the claims or the name of what was raised.
"""

import json
import sys
from base64 import urlsafe_b64decode
from typing import Any

import cbor2
from cwt import COSE, COSEKey  # type: ignore[import-not-found,unused-ignore]  # installed where this runs

KIND = -65537


def from_cose(key_set: bytes) -> list[Any]:
    return [COSEKey.new(key) for key in cbor2.loads(key_set)]


def from_jwks(jwks: dict[str, Any]) -> list[Any]:
    """The keys of a JWK Set. A COSE kid is bytes, of which the JWK's kid is the base64url form."""
    return [COSEKey.from_jwk(jwk | {"kid": urlsafe_b64decode(jwk["kid"] + "=")}) for jwk in jwks["keys"]]


def read(text: str) -> bytes:
    """The bytes in the digits, by the document."""
    number = int(text.strip().removeprefix("691"))
    return number.to_bytes((number.bit_length() + 7) // 8, "big").removeprefix(b"\x01")


def verdict(body: bytes, keys: list[Any]) -> dict[str, Any]:
    try:
        protected, _, payload = COSE.new(verify_kid=True).decode_with_headers(body, keys)
        claims = cbor2.loads(payload)
    except Exception as error:
        return {"refused": type(error).__name__, "because": str(error)}
    times = {"exp": claims[4], "iat": claims[6]}
    said = {"cti": claims[7].hex(), "kind": claims.get(KIND), "claims": len(claims)}
    return {"alg": protected[1], "kid": protected[4].hex(), **times, **said}


def main() -> None:
    case = json.load(sys.stdin)
    sets = {"cose": from_cose(bytes.fromhex(case["cose"])), "jwks": from_jwks(case["jwks"])}
    answer = {name: [verdict(read(text), keys) for text in case["texts"]] for name, keys in sets.items()}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
