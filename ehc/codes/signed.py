"""Signed codes: what the digits in the QR say (the format, for others to implement: `docs/code-format.md`).

A code is `691` and the decimal form of the big-endian integer `0x01 ‖ COSE_Sign1` (RFC 9052), whose payload is a CWT
(RFC 8392) with `exp`, `iat` and `cti`; a static code, for paper, has one claim more that says so. The encoding is
deterministic (RFC 8949 section 4.2.1), which leaves one layout of bytes for each kind, so one pattern reads a code: no
general decoder ever sees what a stranger holds before a scanner, and one code has one text. Opening trusts nothing: the
caller asks a key ring for the key, checks `signature` over `signed`, and only then believes the claims and holds the life
against that of the kind. Pure: no clock, no keys, no storage.
"""

import re
from typing import NamedTuple

from ehc.crypto.keys import KeyId

PREFIX = "691"
MAX_DIGITS = 1024
"""Longest text that is looked at, outer white space included. A dynamic code has 283 digits, a static one 298."""
WHITE = " \t\r\n"
"""What a hand scanner may add at either end of a text."""
DYNAMIC_SECONDS = 60
"""How long a dynamic code lives. A longer life is refused, whoever signed it."""
STATIC_SECONDS = 3650 * 86_400
"""The longest life of a static code: ten years of 365 days. A longer one is refused, whoever signed it."""
SKEW_SECONDS = 5
"""How far two clocks may be apart."""
CTI_BYTES = 16

_LEAD = b"\x01"

_LAYOUT = re.compile(
    rb"\xd2\x84"  # tag 18, array of 4
    rb"(?P<protected>[\x4d-\x51]\xa2\x01"
    rb"(?P<alg>[\x00-\x17\x20-\x37]|[\x18\x38][\x18-\xff]|[\x19\x39](?!\x00)..|[\x1a\x3a](?!\x00\x00)....)"
    rb"\x04\x48(?P<kid>.{8}))"
    rb"\xa0"  # nothing unprotected: it would not be signed
    rb"(?P<payload>\x58(?:\x1f\xa3|(?P<static>\x25\xa4))"  # three claims, or four
    rb"\x04\x1a(?P<exp>(?!\x00\x00).{4})\x06\x1a(?P<iat>(?!\x00\x00).{4})\x07\x50(?P<cti>.{16})"
    rb"(?(static)\x3a\x00\x01\x00\x00\x01))"  # the fourth: -65537, of private use (RFC 8392 section 9.1.1), is 1
    rb"\x58\x40(?P<signature>.{64})",
    re.DOTALL,
)
_ONE_BYTE_ALG = 13
_SIGNED_HEAD = b"\x84\x6aSignature1"  # RFC 9052 section 4.4: context, protected, no external data, payload
_NO_EXTERNAL = b"\x40"


class Malformed(Exception):
    """Not one of our codes: cut, extended, mistyped or made up."""


class UnknownFormat(Exception):
    """Some other kind of text, for example a web address."""


class Claims(NamedTuple):
    """What a code says of itself. Times are Unix seconds; `cti` is 16 bytes that only the platform can read.

    `static` is for a code on paper: it may live for `STATIC_SECONDS`, any other for `DYNAMIC_SECONDS`.
    """

    issued_at: int
    expires_at: int
    cti: bytes
    static: bool = False


class Envelope(NamedTuple):
    """An opened code. Nothing in it is to be believed before `signature` was checked over `signed`."""

    key_id: KeyId
    algorithm: int
    claims: Claims
    signed: bytes
    signature: bytes


def open_envelope(text: str) -> Envelope:
    """The parts of a signed code. Raises `UnknownFormat` or `Malformed`. Checks shape only, not how long a code may live.

    White space and line ends that a hand scanner adds at either end are tolerated; anything else is not.
    """
    found = _LAYOUT.fullmatch(_decode(text))
    if found is None:
        raise Malformed
    protected, alg, kid, payload, static, exp, iat, cti, signature = found.groups()
    if protected[0] - 0x40 != _ONE_BYTE_ALG - 1 + len(alg):
        raise Malformed
    claims = Claims(int.from_bytes(iat, "big"), int.from_bytes(exp, "big"), cti, static is not None)
    signed = _SIGNED_HEAD + protected + _NO_EXTERNAL + payload
    return Envelope(KeyId(kid), _small_int(alg), claims, signed, signature)


def encode(body: bytes) -> str:
    """Bytes as the digits of a code."""
    return PREFIX + str(int.from_bytes(_LEAD + body, "big"))


def _decode(text: str) -> bytes:
    """The bytes in the digits of a code."""
    if len(text) > MAX_DIGITS:  # before anything whose cost grows with the length
        raise Malformed
    digits = text.strip(WHITE)
    if not digits.startswith(PREFIX):
        raise UnknownFormat
    number = digits[len(PREFIX) :]
    if not (number.isascii() and number.isdigit()) or number[0] == "0":  # a leading zero would be a second text
        raise Malformed
    value = int(number)
    body = value.to_bytes((value.bit_length() + 7) // 8, "big")
    if body[:1] != _LEAD:
        raise Malformed
    return body[1:]


def _small_int(item: bytes) -> int:
    """A CBOR integer of up to 4 argument bytes (RFC 8949 section 3.1)."""
    argument = int.from_bytes(item[1:], "big") if len(item) > 1 else item[0] & 0x1F
    return -1 - argument if item[0] & 0x20 else argument
