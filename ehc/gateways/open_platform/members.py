"""The members of a request, read one by one: bounded, and answered by name where one is missing or wrong."""

from collections.abc import Mapping
from typing import Any
from unicodedata import category

from ehc.gateways.open_platform.results import Refusal, Result

_NO_TEXT = frozenset({"Cc", "Cs"})
"""Control characters, of which NUL fits into no column, and halves of surrogate pairs, which have no bytes."""


class Members:
    """The members of `req`, or of one item in it. Those that nobody asks for are let be: newer clients send more."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def text(self, name: str, most: int = 64, *, needed: bool = False) -> str:
        """A text without white space around it, empty where there is none; a whole number as its digits.

        Raises `Refusal` (10002) where it is of another kind, too long, has control characters, or is needed and missing.
        """
        value = self._found.get(name)
        if value is None:
            value = ""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise _wrong(name, "应为字符串")
        if len(value) > most:
            raise _wrong(name, f"不超过 {most} 个字符")
        text = value.strip()
        if not text.isprintable() and any(category(sign) in _NO_TEXT for sign in text):
            raise _wrong(name, "含有不允许的字符")
        if needed and not text:
            raise _wrong(name, "必填")
        return text

    def given(self, *names: str) -> str:
        """The first of these names that something is under; the first of all where nothing is."""
        return next((name for name in names if self._found.get(name) is not None), names[0])

    def items(self, name: str, *, most: int) -> list["Members"]:
        """A list of 1 to `most` objects. Raises `Refusal` (10002)."""
        value = self._found.get(name)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise _wrong(name, "应为对象数组")
        if not 1 <= len(value) <= most:
            raise _wrong(name, f"应有 1 至 {most} 项")
        return [Members(item) for item in value]


def _wrong(name: str, why: str) -> Refusal:
    return Refusal(Result.BAD_MEMBER, f"{name} {why}")
