"""Members of what an outside party answers, read strictly: what is not as its format says is no answer."""

import re
from collections.abc import Mapping

from ehc.outside.signed_http import Misshapen


def member(holder: object, name: str) -> object:
    """The member of an object; None where there is none, or no object."""
    return holder.get(name) if isinstance(holder, Mapping) else None


def text(holder: object, name: str, form: re.Pattern[str] | None = None) -> str:
    """A member that is text, of a form where one is given. Raises `Misshapen`."""
    value = member(holder, name)
    if not isinstance(value, str) or (form is not None and not form.fullmatch(value)):
        raise Misshapen
    return value


def whole(holder: object, name: str, least: int, most: int) -> int:
    """A member that is a whole number within bounds, both included. Raises `Misshapen`."""
    value = member(holder, name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise Misshapen
    return value
