"""Which kind of code a text is, by a look at its start, so that a check can choose who reads it.

The kinds cannot be taken for one another: a national text has a colon behind its 64th character, the others have none. So a
card id that happens to start with 691 or 692, as one in 2,048 does, is no trap.
"""

from enum import StrEnum

from ehc.codes.national_text import looks_national
from ehc.codes.signed import MAX_DIGITS, PREFIX, WHITE
from ehc.codes.temporary_text import TEMPORARY_PREFIX

_COLON_AT = slice(64, 65)


class TextKind(StrEnum):
    """Whose text it is: the reader of that kind finds out whether it is a good one."""

    SIGNED = "signed"
    NATIONAL = "national"
    TEMPORARY = "temporary"
    UNKNOWN = "unknown"


def kind_of(text: str) -> TextKind:
    """The kind that the first 1,024 characters of a text look like, after white space. Never raises.

    The readers refuse what only looks like theirs. Give an unknown text to `open_envelope`: it tells one that is too long,
    which is malformed, from one of unknown format.
    """
    start = text[:MAX_DIGITS].lstrip(WHITE)
    if start[_COLON_AT] == ":" and looks_national(start):
        return TextKind.NATIONAL
    if start.startswith(PREFIX):
        return TextKind.SIGNED
    return TextKind.TEMPORARY if start.startswith(TEMPORARY_PREFIX) else TextKind.UNKNOWN
