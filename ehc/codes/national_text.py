"""National code texts: card id, code type (二维码类型) and, in a dynamic one, the validity field (national rules 1.5).

`<card id>:1` is static (静态), `<card id>:0:<validity>` is dynamic (动态): 66 and 99 characters, upper-case hexadecimal. One
value has one text, so a dynamic text can be remembered and looked up by its digest. Nothing binds the parts to one another
(national rules 2): a text that was read proves nothing, and the caller asks its record of issued codes. Pure: no clock, no
keys; what the validity field says, `ehc.codes.national.read_validity` tells.
"""

import re
from enum import StrEnum
from typing import NamedTuple

from ehc.codes.national import hex_upper
from ehc.codes.signed import MAX_DIGITS, WHITE, Malformed, UnknownFormat

_CARD_BYTES = 32
_VALIDITY_BYTES = 16

_OURS = re.compile(r"(?P<card_id>[0-9A-F]{64}):(?:1|0:(?P<validity>[0-9A-F]{32}))")
_FOREIGN = re.compile(
    r"[0-9A-Za-z]{64}:9"  # temporary static (临时静态): random characters, good in its own city only
    r"|[0-9A-F]{64}:0:[0-9A-F]{32}:[0-9A-Za-z]{1,64}"  # dynamic, with the platform that issued it
)
_LOOKS_NATIONAL = re.compile(r"[0-9A-Za-z]{64}:")


class ForeignCode(Exception):
    """A code of another platform, in a form that we never make. Only that platform can say whether it is good."""


class NationalKind(StrEnum):
    """The code type, as the text writes it."""

    DYNAMIC = "0"
    STATIC = "1"


class NationalText(NamedTuple):
    """What a national text says. `card_id` has 32 bytes; `validity` 16, None in a static one; `text` is as it was read."""

    card_id: bytes
    kind: NationalKind
    validity: bytes | None
    text: str


def read_national(text: str) -> NationalText:
    """The parts of a national text, tolerating white space at either end. Raises `UnknownFormat`, `Malformed`, `ForeignCode`.

    Checks shape only. What starts as a national text does is never of unknown format: lower-case hexadecimal, an unknown
    type, a part too many or too short are malformed. At most 1,024 characters are looked at, white space included.
    """
    if len(text) > MAX_DIGITS:  # before anything whose cost grows with it
        raise Malformed
    kept = text.strip(WHITE)
    found = _OURS.fullmatch(kept)
    if found is None:
        raise _refusal(kept)
    card_id, validity = found.groups()
    if validity is None:
        return NationalText(bytes.fromhex(card_id), NationalKind.STATIC, None, kept)
    return NationalText(bytes.fromhex(card_id), NationalKind.DYNAMIC, bytes.fromhex(validity), kept)


def national_dynamic(card_id: bytes, validity: bytes) -> str:
    """The dynamic text, 99 characters, of a card id of 32 bytes and a validity field of 16. Raises `ValueError` for others."""
    return f"{_hex(card_id, _CARD_BYTES)}:{NationalKind.DYNAMIC}:{_hex(validity, _VALIDITY_BYTES)}"


def national_static(card_id: bytes) -> str:
    """The static text, 66 characters, of a card id of 32 bytes. Raises `ValueError` for another length."""
    return f"{_hex(card_id, _CARD_BYTES)}:{NationalKind.STATIC}"


def looks_national(start: str) -> bool:
    """Whether a text, without white space before it, starts as national texts do: 64 letters or digits and a colon.

    Letters of either case and beyond F too, so that a mistyped text is malformed and a foreign one is known as such.
    """
    return _LOOKS_NATIONAL.match(start) is not None


def _refusal(kept: str) -> Exception:
    if _FOREIGN.fullmatch(kept):
        return ForeignCode()
    return Malformed() if looks_national(kept) else UnknownFormat()


def _hex(value: bytes, size: int) -> str:
    if len(value) != size:
        raise ValueError(f"a field of a national text has {size} bytes here")
    return hex_upper(value)
