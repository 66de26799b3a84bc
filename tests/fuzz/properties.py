"""What must hold for any text: the service and the verifier printed in the document come to the same end.

Both see the same keys and the same clock. Besides, nothing but a refusal is ever raised, an opened code has only the one text
it was read from, and without a key nobody makes an accepted code. Texts that are not signed have one reader at most that
takes them, the one of the kind they look like, and one text for what they say.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric import ec

from ehc.codes.national_text import ForeignCode, national_dynamic, national_static, read_national
from ehc.codes.signed import MAX_DIGITS, STATIC_SECONDS, Envelope, Malformed, UnknownFormat, encode, open_envelope
from ehc.codes.temporary_text import read_temporary
from ehc.codes.text import TextKind, kind_of
from ehc.crypto.keys import KeyRing, VerifyKey
from ehc.keystore.refreshed import Refreshed
from ehc.verify.service import Refused, check_code
from tests.vectors import (
    CURRENT,
    NOON,
    PublishedKey,
    claims,
    digits,
    envelope,
    header,
    load_codes,
    load_texts,
    static_claims,
)

DOCUMENT = Path(__file__).parents[2] / "docs" / "code-format.md"

Check = Callable[[str, Mapping[str, Any], float], str]


def verify_key(published: PublishedKey) -> VerifyKey:
    """A key of the vectors as the service holds it."""
    jwk = published["jwk"]
    x, y = (int.from_bytes(urlsafe_b64decode(jwk[name] + "="), "big") for name in "xy")
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    until = datetime.fromtimestamp(jwk["exp"], UTC) if "exp" in jwk else None
    return VerifyKey(public, datetime.fromtimestamp(jwk["nbf"], UTC), until, published["state"] == "revoked")


def documented_verifier() -> Check:
    """The function `check` that is printed in the document."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(source, DOCUMENT.name, "exec"), names)
    return cast(Check, names["check"])


CODES = load_codes()
JWKS = {"keys": [key["jwk"] for key in CODES["keys"] if key["state"] != "revoked"]}
RING = KeyRing(verify_key(key) for key in CODES["keys"])
KNOWN_TEXTS = frozenset(vector["text"].strip(" \t\r\n") for vector in CODES["vectors"])

_rings = Refreshed(lambda: RING)
_documented = documented_verifier()


def service_verdict(text: str, clock: float) -> str:
    """The end of the service's check: "valid" or its reason."""
    try:
        check_code(text, _rings, now=datetime.fromtimestamp(clock, UTC))
    except Refused as refused:
        return str(refused.reason)
    return "valid"


def opened(text: str) -> Envelope | None:
    """The code in a text, or None where it is refused. Any other exception is a fault."""
    try:
        return open_envelope(text)
    except (Malformed, UnknownFormat):
        return None


def written_again(code: Envelope) -> str:
    """The one text of an opened code."""
    head = len(b"\x84\x6aSignature1")
    end = head + 1 + code.signed[head] - 0x40
    protected, payload = code.signed[head:end], code.signed[end + 1 :]
    return encode(b"\xd2\x84" + protected + b"\xa0" + payload + b"\x58\x40" + code.signature)


def examine(text: str, clock: float = NOON) -> str:
    """Check a text in every way; returns the end they agree on."""
    code = opened(text)
    if code is not None:
        assert len(text) <= MAX_DIGITS
        assert written_again(code) == text.strip(" \t\r\n")
    verdict = service_verdict(text, clock)
    assert verdict == _documented(text, JWKS, clock)
    return verdict


def read_again(text: str) -> str:
    """What the reader of national texts makes of a text, written anew; or the reason. Any other exception is a fault."""
    try:
        code = read_national(text)
    except Malformed:
        return "malformed"
    except UnknownFormat:
        return "unknown-format"
    except ForeignCode:
        return "wrong-region"
    assert len(code.card_id) == 32
    return national_static(code.card_id) if code.validity is None else national_dynamic(code.card_id, code.validity)


def read_temporary_again(text: str) -> str:
    """What the reader of temporary codes makes of a text, or the reason. Any other exception is a fault."""
    try:
        return read_temporary(text)
    except Malformed:
        return "malformed"
    except UnknownFormat:
        return "unknown-format"


def examine_readers(text: str) -> dict[TextKind, str]:
    """Let every reader try a text; returns their ends by kind. Only that of the kind the text looks like may take it."""
    stripped = text.strip(" \t\r\n")
    ends = {
        TextKind.SIGNED: "malformed" if opened(text) is None else stripped,
        TextKind.NATIONAL: read_again(text),
        TextKind.TEMPORARY: read_temporary_again(text),
    }
    refusals = {"malformed", "unknown-format", "wrong-region"}
    takers = [kind for kind, end in ends.items() if end not in refusals]
    assert takers in ([], [kind_of(text)])
    assert all(ends[kind] == stripped and len(text) <= MAX_DIGITS for kind in takers)
    foreign = ends[TextKind.NATIONAL] == "wrong-region"
    assert not foreign or kind_of(text) == TextKind.NATIONAL
    if len(text) <= MAX_DIGITS:
        looks_national = kind_of(text) == TextKind.NATIONAL
        assert (ends[TextKind.NATIONAL] == "unknown-format") == (not looks_national)
    return ends


def examine_unsigned(text: str) -> str:
    """Check a text that was made without a key: unless it is one of the vectors, it is not accepted."""
    examine_readers(text)
    verdict = examine(text)
    assert verdict != "valid" or text.strip(" \t\r\n") in KNOWN_TEXTS
    return verdict


def examine_bytes(data: bytes) -> None:
    """What a fuzzer tries; the first byte says how the rest is taken."""
    kind, rest = data[:1], data[1:]
    if kind == b"t":
        examine_unsigned(rest.decode("utf-8", "surrogateescape"))
    elif kind == b"n":
        examine_unsigned("691" + rest.decode("ascii", "ignore"))
    elif kind == b"b":
        examine_unsigned(encode(rest[:1024]))  # longer ones are more digits than Python writes
    else:  # whoever has the key may sign anything: a clock, a payload and a header of anyone's making
        clock = NOON + int.from_bytes(rest[:2], "big", signed=True) / 64
        size = len(static_claims() if kind == b"p" else claims())  # "p" for paper
        payload, protected = rest[2 : 2 + size], rest[2 + size :][:200]
        examine(digits(envelope(CURRENT, payload=payload, protected=protected)), clock)


def seeds() -> list[bytes]:
    """Where a fuzzer starts: the vectors as text and as bytes, and claims to be signed."""
    texts = [vector["text"] for vector in (*CODES["vectors"], *load_texts()["vectors"])]
    bodies = [int(text[3:]) for text in texts if text.isascii() and text.isdigit() and text[:3] == "691" and text[3:]]
    return [
        *(b"t" + text.encode("utf-8", "surrogateescape") for text in texts),
        *(b"n" + text[3:].encode("ascii", "ignore") for text in texts),
        *(b"b" + number.to_bytes((number.bit_length() + 7) // 8, "big")[1:] for number in bodies),
        *(
            b"s\x00\x00" + claims(iat=NOON + shift, life=life) + header()
            for shift in (-60, 0, 5)
            for life in (1, 60, 61)
        ),
        *(b"p\x00\x00" + static_claims(life=life) + header() for life in (1, 61, STATIC_SECONDS, STATIC_SECONDS + 1)),
    ]
