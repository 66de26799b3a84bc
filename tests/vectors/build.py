"""Builds `codes.json` and `texts.json`: `make vectors`. Every vector differs from a good code in one thing.

What is signed is signed as changed, so that one thing is all a verifier can hold against a code. Signatures are
deterministic (RFC 6979): the same script gives the same file.
"""

import json
import struct
from collections.abc import Callable, Iterator

from tests.vectors import (
    CODES,
    CTI,
    CURRENT,
    DAY,
    NEXT,
    NOON,
    ORDER,
    RETIRED,
    REVOKED,
    STRANGER,
    TEXTS,
    Codes,
    Vector,
    claims,
    digits,
    envelope,
    four,
    header,
    static,
    string,
    texts,
    to_be_signed,
    vector,
)

KEYS = (CURRENT, RETIRED, NEXT, REVOKED)
END_OF_TIME = 2**32 - 1


def halves(change: Callable[[int, int], tuple[int, int]]) -> Callable[[bytes], bytes]:
    """A change of the two numbers of a signature."""

    def changed(signature: bytes) -> bytes:
        r, s = change(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return changed


def in_two(data: bytes) -> bytes:
    """A byte string of indefinite length, in two pieces."""
    return b"\x5f" + string(data[:1]) + string(data[1:]) + b"\xff"


def readings() -> Iterator[Vector]:
    """Step 1, what is read from the symbol."""
    good = digits(envelope())
    rest = good[3:]
    yield vector("valid", "a good code", good, "the example of the document")
    for name, white in ("space", " "), ("tab", "\t"), ("carriage return", "\r"), ("line feed", "\n"):
        yield vector("valid", f"{name} at both ends", white + good + white, "hand scanners add them")
    yield vector("valid", "1024 characters with white space", good + " " * (1024 - len(good)), "the longest text")
    yield vector("malformed", "1025 characters with white space", good + " " * (1025 - len(good)), "one too long")
    yield vector("malformed", "1024 digits", "691" + "1" * 1021, "as long as is looked at; another lead byte")
    yield vector("malformed", "1025 digits", "691" + "1" * 1022, "longer than is looked at")
    yield vector("malformed", "1025 characters of another kind", "x" * 1025, "length comes before kind")
    yield vector("unknown-format", "1024 characters of another kind", "x" * 1024, "another kind of text")
    for name, mark in ("space", " "), ("line feed", "\n"), ("underscore", "_"), ("point", "."), ("NUL", "\0"):
        yield vector("malformed", f"{name} inside", good[:100] + mark + good[100:], "digits only")
        yield vector("malformed", f"{name} after 691", "691" + mark + rest, "digits only")
    for name, mark in ("plus", "+"), ("minus", "-"), ("superscript digit", "²"), ("letter", "A"):
        yield vector("malformed", f"{name} after 691", "691" + mark + rest, "digits only")
    for name, mark in (
        ("vertical tab", "\v"),
        ("no-break space", "\xa0"),
        ("ideographic space", "\u3000"),
        ("BOM", "\ufeff"),
    ):
        yield vector("malformed", f"{name} at the end", good + mark, "not a tolerated white space")
        yield vector("unknown-format", f"{name} at the start", mark + good, "does not start with 691")
    for name, zero in ("full-width", "０"), ("Arabic-Indic", "٠"):
        other = good.translate({ord("0") + i: chr(ord(zero) + i) for i in range(10)})
        yield vector("unknown-format", f"{name} digits", other, "does not start with ASCII 691")
        yield vector("malformed", f"{name} digits after 691", "691" + other[3:], "ASCII digits only")
    yield vector("malformed", "a leading zero", "6910" + rest, "a second text of the same number")
    for start in "690", "692", "961":
        yield vector("unknown-format", f"prefix {start}", start + rest, "another kind of code")
    yield vector("unknown-format", "no prefix", rest, "another kind of code")
    for name, other in (
        ("national static text", "0123456789ABCDEF" * 4 + ":1"),
        ("national dynamic text", "0123456789ABCDEF" * 4 + ":0:" + "0123456789ABCDEF" * 2),
        ("web address", "https://example.org/691"),
        ("empty text", ""),
        ("white space alone", " \t\r\n"),
        ("two digits", "69"),
    ):
        yield vector("unknown-format", name, other, "does not start with 691")
    yield vector("malformed", "nothing after 691", "691", "no number")
    yield vector("malformed", "one digit", "6911", "a lead byte alone")
    yield vector("malformed", "zero", "6910", "no lead byte")
    yield vector("malformed", "cut by one digit", good[:-1], "incomplete")
    yield vector("malformed", "extended by one digit", good + "0", "too much")
    yield vector("malformed", "read twice", good + good, "two codes in one reading")
    yield vector("malformed", "lead byte 2", digits(envelope(), lead=b"\x02"), "the lead byte is 1")
    yield vector("malformed", "no lead byte", digits(envelope(), lead=b""), "the lead byte is 1")


def layouts() -> Iterator[Vector]:
    """Step 1, the bytes."""
    protected, payload, kid = header(), claims(), string(CURRENT.kid)
    exp, iat, cti = b"\x04" + four(NOON + 60), b"\x06" + four(NOON), b"\x07\x50" + CTI
    swap = payload.replace
    for name, body in (
        ("byte 00 behind", envelope() + b"\x00"),
        ("CBOR null behind", envelope() + b"\xf6"),
        ("last byte missing", envelope()[:-1]),
        ("byte behind the claims", envelope(payload=payload + b"\x00")),
        ("untagged", envelope(before=b"\x84")),
        ("tag 17, a MAC", envelope(before=b"\xd1\x84")),
        ("tag 98, many signatures", envelope(before=b"\xd8\x62\x84")),
        ("tag 61 outside tag 18", envelope(before=b"\xd8\x3d\xd2\x84")),
        ("tag in two bytes", envelope(before=b"\xd8\x12\x84")),
        ("array length in two bytes", envelope(before=b"\xd2\x98\x04")),
        ("array of indefinite length", envelope(before=b"\xd2\x9f") + b"\xff"),
        ("array of five", envelope(before=b"\xd2\x85") + b"\xa0"),
        ("header length in two bytes", envelope(wrap_protected=lambda data: b"\x58" + bytes([len(data)]) + data)),
        ("header length one too small", envelope(wrap_protected=lambda data: b"\x4c" + data)),
        ("header length one too large", envelope(wrap_protected=lambda data: b"\x4e" + data)),
        ("header of indefinite length", envelope(wrap_protected=in_two)),
        ("header map length in two bytes", envelope(protected=b"\xb8\x02" + protected[1:])),
        ("header map of indefinite length", envelope(protected=b"\xbf" + protected[1:] + b"\xff")),
        ("header empty", envelope(protected=b"")),
        ("header not wrapped", envelope(wrap_protected=bytes)),
        ("alg in two bytes", envelope(protected=header(b"\x38\x06"))),
        ("alg in three bytes", envelope(protected=header(b"\x39\x00\x06"))),
        ("alg in five bytes", envelope(protected=header(b"\x3a\x00\x00\x00\x06"))),
        ("alg in nine bytes", envelope(protected=header(b"\x3b" + bytes(7) + b"\x06"))),
        ("alg as text", envelope(protected=header(b"\x65ES256"))),
        ("alg missing", envelope(protected=b"\xa1\x04" + kid)),
        ("kid missing", envelope(protected=b"\xa1\x01\x26")),
        ("kid before alg", envelope(protected=b"\xa2\x04" + kid + b"\x01\x26")),
        ("kid of seven bytes", envelope(protected=header(kid=CURRENT.kid[:7]))),
        ("kid of nine bytes", envelope(protected=header(kid=CURRENT.kid + b"\x00"))),
        ("kid length in two bytes", envelope(protected=b"\xa2\x01\x26\x04\x58\x08" + CURRENT.kid)),
        ("another protected entry", envelope(protected=b"\xa3\x01\x26\x03\x18\x3d\x04" + kid)),
        ("unprotected entry", envelope(unprotected=b"\xa1\x03\x18\x3d")),
        ("kid unprotected", envelope(protected=b"\xa1\x01\x26", unprotected=b"\xa1\x04" + kid)),
        ("unprotected length in two bytes", envelope(unprotected=b"\xb8\x00")),
        ("unprotected of indefinite length", envelope(unprotected=b"\xbf\xff")),
        ("payload length in three bytes", envelope(wrap_payload=lambda data: b"\x59\x00" + bytes([len(data)]) + data)),
        ("payload of indefinite length", envelope(wrap_payload=in_two)),
        ("payload detached", envelope(wrap_payload=lambda _: b"\xf6")),
        ("claims map length in two bytes", envelope(payload=b"\xb8\x03" + payload[1:])),
        ("claims map of indefinite length", envelope(payload=b"\xbf" + payload[1:] + b"\xff")),
        ("claim label in two bytes", envelope(payload=swap(b"\xa3\x04", b"\xa3\x18\x04"))),
        ("exp in eight bytes", envelope(payload=swap(b"\x04\x1a", b"\x04\x1b\x00\x00\x00\x00"))),
        ("exp as a float", envelope(payload=b"\xa3\x04\xfb" + struct.pack(">d", NOON + 60) + iat + cti)),
        ("exp below zero", envelope(payload=swap(b"\x04\x1a", b"\x04\x3a"))),
        ("times of two bytes in four", envelope(payload=claims(iat=65_000))),
        ("iat of two bytes in four", envelope(payload=claims(iat=65_530))),
        ("exp of two bytes in four", envelope(payload=claims(iat=65_590, life=-60))),
        ("cti length in two bytes", envelope(payload=swap(b"\x07\x50", b"\x07\x58\x10"))),
        ("cti of indefinite length", envelope(payload=b"\xa3" + exp + iat + b"\x07" + in_two(CTI))),
        ("cti as text", envelope(payload=swap(b"\x07\x50", b"\x07\x70"))),
        ("cti of fifteen bytes", envelope(payload=b"\xa3" + exp + iat + b"\x07\x4f" + CTI[:15])),
        ("cti of seventeen bytes", envelope(payload=b"\xa3" + exp + iat + b"\x07\x51" + CTI + b"\x00")),
        ("iat before exp", envelope(payload=b"\xa3" + iat + exp + cti)),
        ("cti first", envelope(payload=b"\xa3" + cti + exp + iat)),
        ("another claim", envelope(payload=b"\xa4\x02\x61x" + exp + iat + cti)),
        ("exp missing", envelope(payload=b"\xa2" + iat + cti)),
        ("iat missing", envelope(payload=b"\xa2" + exp + cti)),
        ("cti missing", envelope(payload=b"\xa2" + exp + iat)),
        ("exp twice", envelope(payload=b"\xa3" + exp + exp + cti)),
        ("signature of 63 bytes", envelope(change=lambda signature: signature[:63])),
        ("signature of 65 bytes", envelope(change=lambda signature: signature + b"\x00")),
        (
            "signature of 96 bytes under alg ES384",
            envelope(protected=header(b"\x38\x22"), change=lambda raw: raw + bytes(32)),
        ),
        ("signature length in three bytes", envelope(wrap_signature=lambda data: b"\x59\x00\x40" + data)),
        ("signature of indefinite length", envelope(wrap_signature=in_two)),
    ):
        yield vector("malformed", name, body, "not the one layout of bytes")


def keys() -> Iterator[Vector]:
    """Step 2."""
    for name, alg in (
        ("ES384", b"\x38\x22"),
        ("EdDSA", b"\x27"),
        ("ESP256, the same mathematics by another name", b"\x28"),
        ("RS256", b"\x39\x01\x00"),
        ("HMAC 256", b"\x05"),
        ("of private use", b"\x3a\x00\x01\x00\x00"),
    ):
        yield vector("unknown-key", f"alg {name}", envelope(protected=header(alg)), "the key is held for ES256 alone")
    yield vector("unknown-key", "kid of nobody", envelope(STRANGER), "no such key is published")
    yield vector(
        "unknown-key", "kid with one bit changed", envelope(protected=header(kid=flip(CURRENT.kid, 0))), "no such key"
    )
    yield vector("unknown-key", "revoked key", envelope(REVOKED), "a revoked key proves nothing, of any time")
    assert RETIRED.exp is not None
    for key, iat, name, good in (
        (RETIRED, RETIRED.exp - 1, "key in its last second", True),
        (RETIRED, RETIRED.exp + 5, "retired key, iat 5 s after it", True),
        (RETIRED, RETIRED.exp + 6, "retired key, iat 6 s after it", False),
        (NEXT, NEXT.nbf, "key in its first second", True),
        (NEXT, NEXT.nbf - 5, "next key, iat 5 s before it", True),
        (NEXT, NEXT.nbf - 6, "next key, iat 6 s before it", False),
        (CURRENT, CURRENT.nbf - 6, "current key, iat 6 s before it", False),
    ):
        why = "the key signs from nbf to exp, give or take 5 s"
        yield vector("valid" if good else "unknown-key", name, envelope(key, payload=claims(iat=iat)), why, at=iat)
    yield vector(
        "unknown-key", "first times that fit the layout", envelope(payload=claims(iat=65_536)), "no key is that old"
    )


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


def signatures() -> Iterator[Vector]:
    """Step 3."""
    good = envelope()
    as_is = header(kid=CURRENT.kid)
    for name, body in (
        ("last bit of the signature changed", flip(good, 0)),
        ("first bit of the signature changed", flip(good, 511)),
        ("last bit of cti changed", flip(good, 66 * 8)),
        ("iat a second later", good.replace(four(NOON), four(NOON + 1))),
        ("exp a second later", good.replace(four(NOON + 60), four(NOON + 61))),
        ("r is zero", envelope(change=halves(lambda r, s: (0, s)))),
        ("s is zero", envelope(change=halves(lambda r, s: (r, 0)))),
        ("both are zero", envelope(change=halves(lambda r, s: (0, 0)))),
        ("r is the order", envelope(change=halves(lambda r, s: (ORDER, s)))),
        ("s is the order", envelope(change=halves(lambda r, s: (r, ORDER)))),
        ("all bits set", envelope(change=halves(lambda r, s: (2**256 - 1, 2**256 - 1)))),
        ("s before r", envelope(change=halves(lambda r, s: (s, r)))),
        ("signed by another key", envelope(STRANGER, protected=as_is)),
        ("signed by another published key", envelope(RETIRED, protected=as_is)),
        ("signed without its header", envelope(signs=lambda protected, payload: to_be_signed(b"", payload))),
        (
            "signed with external data",
            envelope(signs=lambda protected, payload: to_be_signed(protected, payload, b"ehc")),
        ),
        ("claims alone signed", envelope(signs=lambda protected, payload: payload)),
    ):
        yield vector("bad-signature", name, body, "the signature does not fit the bytes")
    other = envelope(change=halves(lambda r, s: (r, ORDER - s)))
    yield vector("valid", "s replaced by the order less s", other, "ES256 allows both; cti is the same, so one use is")


def times() -> Iterator[Vector]:
    """Step 4."""
    good, exp = envelope(), NOON + 60
    for expect, name, at in (
        ("valid", "clock at exp", exp),
        ("valid", "clock 5 s after exp", exp + 5),
        ("expired", "clock 5.001 s after exp", exp + 5.001),
        ("expired", "clock 6 s after exp", exp + 6),
        ("expired", "clock a year after exp", exp + 365 * DAY),
        ("valid", "clock 5 s before iat", NOON - 5),
        ("not-yet-valid", "clock 5.001 s before iat", NOON - 5.001),
        ("not-yet-valid", "clock 6 s before iat", NOON - 6),
    ):
        yield vector(expect, name, good, "iat - 5 s <= clock <= exp + 5 s", at=at)
    for expect, life in (
        ("valid", 1),
        ("valid", 59),
        ("valid", 60),
        ("malformed", 61),
        ("malformed", 0),
        ("malformed", -1),
    ):
        code = envelope(payload=claims(life=life))
        yield vector(expect, f"life of {life} s", code, "a dynamic code lives 1 to 60 s, whoever signed it")
    hour = envelope(payload=claims(life=3600))
    yield vector("malformed", "life of an hour, expired", hour, "life comes before the clock", at=NOON + 2 * 3600)
    last = envelope(payload=claims(iat=END_OF_TIME - 60))
    yield vector("valid", "exp at 2^32 - 1", last, "the last second that fits", at=END_OF_TIME)
    yield vector("not-yet-valid", "exp at 2^32 - 1, today", last, "unsigned, so a date in 2106")
    both = envelope(payload=claims(iat=END_OF_TIME, life=0))
    yield vector("malformed", "iat and exp at 2^32 - 1", both, "life 0", at=END_OF_TIME)


def build() -> str:
    """The text of `codes.json`."""
    vectors = [*readings(), *layouts(), *keys(), *signatures(), *times(), *static.vectors()]
    content: Codes = {
        "format": "Vectors of ehc signed codes; docs/code-format.md says what they mean.",
        "keys": [key.published() for key in KEYS],
        "vectors": vectors,
    }
    return json.dumps(content, ensure_ascii=True, indent=1) + "\n"


if __name__ == "__main__":
    CODES.write_text(build(), encoding="utf-8")
    TEXTS.write_text(texts.build(), encoding="utf-8")
