"""Vectors of static codes, part of `codes.json`. What they share with dynamic codes is tried there."""

from collections.abc import Iterator

from tests.vectors import (
    CTI,
    CURRENT,
    DAY,
    KIND,
    NOON,
    RETIRED,
    REVOKED,
    STATIC,
    STRANGER,
    Vector,
    claims,
    digits,
    envelope,
    four,
    header,
    static_claims,
    string,
    vector,
)

LONGEST = 3650 * DAY
END_OF_TIME = 2**32 - 1


def vectors() -> Iterator[Vector]:
    """All of them; their names start with "static: "."""
    for found in (*readings(), *layouts(), *keys(), *signatures(), *times()):
        yield found | {"name": f"static: {found['name']}"}


def readings() -> Iterator[Vector]:
    """Step 1, what is read from the symbol."""
    good = digits(envelope(payload=static_claims()))
    yield vector("valid", "a good code", good, "the example of the document")
    yield vector("valid", "white space at both ends", f"\r\n\t {good} \t\r\n", "hand scanners add it")
    yield vector("malformed", "cut by one digit", good[:-1], "incomplete")
    yield vector("malformed", "extended by one digit", good + "0", "too much")
    yield vector("malformed", "space inside", good[:150] + " " + good[150:], "digits only")


def layouts() -> Iterator[Vector]:
    """Step 1, the bytes."""
    payload, dynamic = static_claims(), claims()
    exp, iat, cti = b"\x04" + four(NOON + 365 * DAY), b"\x06" + four(NOON), b"\x07\x50" + CTI
    for name, kind in (
        ("kind 0", KIND + b"\x00"),
        ("kind 2", KIND + b"\x02"),
        ("kind 256", KIND + b"\x19\x01\x00"),
        ("kind -1", KIND + b"\x20"),
        ("kind true", KIND + b"\xf5"),
        ("kind null", KIND + b"\xf6"),
        ("kind as a float", KIND + b"\xf9\x3c\x00"),
        ("kind as text", KIND + b"\x611"),
        ("kind as bytes", KIND + b"\x41\x01"),
        ("kind in two bytes", KIND + b"\x18\x01"),
        ("kind without a value", KIND),
        ("label -65536", b"\x39\xff\xff\x01"),
        ("label -65538", b"\x3a\x00\x01\x00\x01\x01"),
        ("label 65536", b"\x1a\x00\x01\x00\x00\x01"),
        ("label in nine bytes", b"\x3b\x00\x00\x00\x00\x00\x01\x00\x00\x01"),
        ("label as text", b"\x66-65537\x01"),
        ("another claim in its place", b"\x08\x01"),
        ("nothing in its place", b""),
        ("byte behind the claims", STATIC + b"\x00"),
    ):
        yield vector("malformed", name, envelope(payload=static_claims(kind=kind)), "not the one layout of bytes")
    for name, body in (
        ("kind first", envelope(payload=b"\xa4" + STATIC + exp + iat + cti)),
        ("kind before cti", envelope(payload=b"\xa4" + exp + iat + STATIC + cti)),
        ("iat before exp", envelope(payload=b"\xa4" + iat + exp + cti + STATIC)),
        ("kind twice", envelope(payload=b"\xa5" + payload[1:] + STATIC)),
        ("kind twice, once in place of cti", envelope(payload=b"\xa4" + exp + iat + STATIC + STATIC)),
        ("kind twice, once in place of exp", envelope(payload=b"\xa4" + iat + cti + STATIC + STATIC)),
        ("cti missing", envelope(payload=b"\xa3" + exp + iat + STATIC)),
        ("another claim before it", envelope(payload=b"\xa5" + exp + iat + cti + b"\x08\x01" + STATIC)),
        ("another claim behind it", envelope(payload=b"\xa5" + payload[1:] + b"\x3a\x00\x01\x00\x01\x01")),
        ("behind a map of three", envelope(payload=dynamic + STATIC)),
        ("map of four without it", envelope(payload=b"\xa4" + dynamic[1:])),
        ("map length in two bytes", envelope(payload=b"\xb8\x04" + payload[1:])),
        ("map of indefinite length", envelope(payload=b"\xbf" + payload[1:] + b"\xff")),
        ("payload length of a dynamic code", envelope(payload=payload, wrap_payload=lambda data: b"\x58\x1f" + data)),
        ("payload length one too large", envelope(payload=payload, wrap_payload=lambda data: b"\x58\x26" + data)),
        ("length of a static code before three claims", envelope(wrap_payload=lambda data: b"\x58\x25" + data)),
        (
            "a dynamic code with the head of a static one",
            envelope(wrap_payload=lambda data: b"\x58\x25\xa4" + data[1:]),
        ),
        ("kind behind the claims of a dynamic code", envelope(wrap_payload=lambda data: b"\x58\x1f" + data + STATIC)),
        ("kind unprotected", envelope(unprotected=b"\xa1" + STATIC)),
        ("kind in the header", envelope(protected=b"\xa3\x01\x26\x04" + string(CURRENT.kid) + STATIC)),
        ("exp in eight bytes", envelope(payload=payload.replace(b"\x04\x1a", b"\x04\x1b\x00\x00\x00\x00"))),
        ("iat of two bytes in four", envelope(payload=static_claims(iat=65_535))),
        ("cti of fifteen bytes", envelope(payload=b"\xa4" + exp + iat + b"\x07\x4f" + CTI[:15] + STATIC)),
    ):
        yield vector("malformed", name, body, "not the one layout of bytes")


def keys() -> Iterator[Vector]:
    """Step 2."""
    payload = static_claims()
    assert RETIRED.exp is not None
    last, late = static_claims(iat=RETIRED.exp + 5), static_claims(iat=RETIRED.exp + 6)
    at = RETIRED.exp + 300 * DAY
    why = "a retired key proves what it signed in its time, for as long as that lives"
    yield vector("valid", "by a key that retired since", envelope(RETIRED, payload=last), why, at=at)
    yield vector("unknown-key", "by a key that had retired", envelope(RETIRED, payload=late), why, at=at)
    yield vector("unknown-key", "by a revoked key", envelope(REVOKED, payload=payload), "paper dies with its key")
    yield vector("unknown-key", "by nobody's key", envelope(STRANGER, payload=payload), "no such key is published")
    other = envelope(payload=payload, protected=header(b"\x3a\x00\x01\x00\x00"))
    yield vector("unknown-key", "under another alg", other, "the key is held for ES256 alone")


def signatures() -> Iterator[Vector]:
    """Step 3."""
    payload, as_is = static_claims(), header(kid=CURRENT.kid)
    good, dynamic, year = envelope(payload=payload), envelope(), static_claims(life=60)
    for name, body in (
        ("last bit of the signature changed", good[:-1] + bytes([good[-1] ^ 1])),
        ("exp a second later", good.replace(four(NOON + 365 * DAY), four(NOON + 365 * DAY + 1))),
        ("last bit of cti changed", good.replace(CTI, CTI[:-1] + bytes([CTI[-1] ^ 1]))),
        ("kind taken out", good.replace(string(payload), string(claims(life=365 * DAY)))),
        ("kind taken out, life of a minute", envelope(payload=year).replace(string(year), string(claims()))),
        ("kind put into a dynamic code", dynamic.replace(string(claims()), string(year))),
        ("kind and a year put into a dynamic code", dynamic.replace(string(claims()), string(payload))),
        ("signed by another key", envelope(STRANGER, protected=as_is, payload=payload)),
        ("signed by another published key", envelope(RETIRED, protected=as_is, payload=payload)),
    ):
        yield vector("bad-signature", name, body, "the signature does not fit the bytes")


def times() -> Iterator[Vector]:
    """Step 4."""
    five_years = 5 * 365 * DAY
    good, exp = envelope(payload=static_claims(life=five_years)), NOON + five_years
    for expect, name, at in (
        ("valid", "clock two years after iat", NOON + 730 * DAY),
        ("valid", "clock at exp", exp),
        ("valid", "clock 5 s after exp", exp + 5),
        ("expired", "clock 5.001 s after exp", exp + 5.001),
        ("valid", "clock 5 s before iat", NOON - 5),
        ("not-yet-valid", "clock 5.001 s before iat", NOON - 5.001),
    ):
        yield vector(expect, name, good, "iat - 5 s <= clock <= exp + 5 s", at=at)
    for expect, life in (
        ("valid", 1),
        ("valid", 60),
        ("valid", 61),
        ("valid", LONGEST - 1),
        ("valid", LONGEST),
        ("malformed", LONGEST + 1),
        ("malformed", 0),
        ("malformed", -1),
    ):
        code = envelope(payload=static_claims(life=life))
        yield vector(expect, f"life of {life} s", code, "a static code lives 1 s to 3650 days, whoever signed it")
    year = envelope(payload=claims(life=365 * DAY))
    yield vector("malformed", "life of a year without the kind", year, "a dynamic code lives 60 s at most")
    last = envelope(payload=static_claims(iat=END_OF_TIME - LONGEST, life=LONGEST))
    yield vector("valid", "exp at 2^32 - 1", last, "the last second that fits", at=END_OF_TIME)
