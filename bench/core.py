"""The check of a code in this process, over one signature check by itself."""

import time
from collections.abc import Callable

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from bench.ground import Ground
from ehc.codes.signed import open_envelope
from ehc.keystore import secret_keys
from ehc.keystore.refreshed import Refreshed
from ehc.verify.service import check_code

_CODES, _ROUNDS = 200, 31
_ECDSA = ec.ECDSA(hashes.SHA256())


def measure(ground: Ground) -> list[float]:
    """One ratio a round: checking valid codes and reading whose they are, over verifying the same signatures."""
    codes = ground.codes(ground.cards[:_CODES])
    now = ground.place.clock.now()
    rings = Refreshed(ground.ring, every=3600)
    with ground.place.work() as session:
        cti = secret_keys.load(session, ground.place.kek).cti
    (key,) = (key for key in rings.get() if key.id == open_envelope(codes[0]).key_id)
    bare = [(_der(opened.signature), opened.signed) for opened in map(open_envelope, codes)]

    def checks() -> None:
        for code in codes:
            claims, _ = check_code(code, rings, now=now)
            cti.serial(claims.cti)

    def signatures() -> None:
        for signature, signed in bare:
            key.public.verify(signature, signed, _ECDSA)

    checks()
    signatures()
    return [_seconds(checks) / _seconds(signatures) for _ in range(_ROUNDS)]


def _der(signature: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))


def _seconds(act: Callable[[], None]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began
