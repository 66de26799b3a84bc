"""Texts of QR codes as this interface has them (open-platform JSON 6), and the text that the rooms know. Pure.

`<card id>:1` is static; `<card id>:0:<32 hex>` is dynamic, and may go on with the issuer's code and one more field. Ours
have three fields. Those that follow are left out: whose a text is, our memory of issued codes says, not the text.
"""

import re

from ehc.codes.signed import MAX_DIGITS
from ehc.codes.text import TextKind, kind_of
from ehc.gateways.open_platform.results import Refusal, Result

_CARD_ID = re.compile(r"[0-9A-Fa-f]{64}")
_VALIDITY = re.compile(r"[0-9A-Fa-f]{32}")
_MOST_FIELDS = 5


def as_known(scanned: str) -> str:
    """A scanned text as the rooms read it. Raises `Refusal` (40002) for what is no card's code.

    Signed and temporary codes, which have no colon, are taken as they are: whoever scans does not choose what a phone shows.
    """
    if len(scanned) > MAX_DIGITS:
        raise Refusal(Result.BAD_CODE)
    text = scanned.strip().replace("：", ":")
    if ":" not in text:
        if kind_of(text) is TextKind.UNKNOWN:
            raise Refusal(Result.BAD_CODE)
        return text
    fields = text.split(":")
    if not 2 <= len(fields) <= _MOST_FIELDS or not _CARD_ID.fullmatch(fields[0]):
        raise Refusal(Result.BAD_CODE)
    kind, validity = fields[1], fields[2] if len(fields) > 2 else ""
    if kind == "1" and not validity:
        return f"{fields[0].upper()}:1"
    if kind == "0" and _VALIDITY.fullmatch(validity):
        return f"{fields[0].upper()}:0:{validity.upper()}"
    raise Refusal(Result.BAD_CODE)


def card_id_in(known: str) -> str | None:
    """The health card id in a text that `as_known` gave; None in a signed or temporary one, which hold none."""
    return known[:64] if ":" in known else None


def is_static(known: str) -> bool:
    """Whether a text that `as_known` gave is a static one."""
    return known.endswith(":1")


def health_card_id(text: str) -> str:
    """A health card id in upper case. Raises `Refusal` (40001) for what cannot be one."""
    if not _CARD_ID.fullmatch(text):
        raise Refusal(Result.NO_SUCH_CARD)
    return text.upper()
