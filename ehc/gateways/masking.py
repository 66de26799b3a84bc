"""What a trace of a failed call may say: member names, values that name nobody, and of all others only their shape. Pure."""

import re
from collections.abc import Mapping

MOST_MEMBERS = 40
LONGEST = 64

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")
_PLAIN = re.compile(r"[0-9A-Za-z_.:+/ -]*")
# a mobile phone number, a citizen id, or an old one of 15 digits, standing by itself
_OF_A_PERSON = re.compile(r"(?<![0-9])(1[0-9]{10}|[0-9]{15}|[0-9]{17}[0-9Xx])(?![0-9A-Za-z])")
_HEX_ID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_REFERENCE = re.compile(r"[0-9A-Za-z_-]{1,64}")


def masked(members: Mapping[str, object], clear: frozenset[str]) -> dict[str, str]:
    """What was sent, without what it said of anybody: the values of `clear` names as they are, of any other its shape.

    A clear value that holds more than plain signs, is longer than 64, or could be somebody's number is told by its shape
    too. Names that are no names are counted.
    """
    told: dict[str, str] = {}
    others = 0
    for name, value in members.items():
        if len(told) >= MOST_MEMBERS or _NAME.fullmatch(name) is None:
            others += 1
        else:
            told[name] = _clear(value) if name in clear else shape(value)
    if others:
        told["…"] = _many(others, "more member")
    return told


def shape(value: object) -> str:
    """How a value looks, for example `text of 3 characters: 2 Han, 1 digit`."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, Mapping):
        return f"object of {_many(len(value), 'member')}"
    if isinstance(value, list | tuple):
        return f"list of {len(value)}"
    return _text_shape(str(value))


def reference_of(given: object) -> str:
    """A caller's id of a call, as it may be kept; empty where it is none, or could be somebody's number."""
    text = str(given) if isinstance(given, str | int) else ""
    if _HEX_ID.fullmatch(text):
        return text
    return text if _REFERENCE.fullmatch(text) and not _OF_A_PERSON.search(text) else ""


def _clear(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return shape(value)
    text = str(value)
    if len(text) > LONGEST or _PLAIN.fullmatch(text) is None or _OF_A_PERSON.search(text):
        return shape(value)
    return text


def _text_shape(text: str) -> str:
    if not text:
        return "empty"
    if not text.strip():
        return _many(len(text), "blank")
    part = text[:4096]  # the rest of a photograph tells nothing more
    han = sum("\u3400" <= sign <= "\u9fff" or "\U00020000" <= sign <= "\U0003ffff" for sign in part)
    digits = sum("0" <= sign <= "9" for sign in part)
    upper = sum("A" <= sign <= "Z" for sign in part)
    lower = sum("a" <= sign <= "z" for sign in part)
    kinds = {"digit": digits, "capital": upper, "small letter": lower}
    kinds["other sign"] = len(part) - han - sum(kinds.values())
    told = [f"{han} Han"] if han else []
    told += [_many(count, kind) for kind, count in kinds.items() if count]
    return f"text of {_many(len(text), 'character')}: {', '.join(told)}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
