"""Fields for request schemas: every text is bounded and free of control characters. Each `error` is a code of `parsing`."""

from collections.abc import Iterable
from typing import Any

from marshmallow import fields, validate

_CLEAN = validate.Regexp(r"[^\x00-\x1f\x7f]*\Z", error="characters")
_TOKEN = validate.Regexp(r"[A-Za-z0-9._:-]+\Z", error="characters")


def text(least: int, most: int, *, required: bool = False, about: str, **more: Any) -> fields.String:
    """One line of text, its length in characters."""
    return fields.String(
        required=required,
        validate=[validate.Length(least, most, error="length"), _CLEAN],
        metadata={"description": about},
        **more,
    )


def token(most: int, *, about: str) -> fields.String:
    """An identifier of the caller's own: ASCII letters, digits and `._:-`."""
    return fields.String(validate=[validate.Length(1, most, error="length"), _TOKEN], metadata={"description": about})


def choice(values: Iterable[str], *, required: bool = False, about: str, **more: Any) -> fields.String:
    """One of a list of values."""
    one_of = validate.OneOf(list(values), error="choice")
    return fields.String(required=required, validate=one_of, metadata={"description": about}, **more)


def day(*, about: str, **more: Any) -> fields.Date:
    """A calendar date, `YYYY-MM-DD`."""
    return fields.Date(format="%Y-%m-%d", metadata={"description": about}, **more)


def whole(least: int, most: int, *, about: str, **more: Any) -> fields.Integer:
    """A whole number within bounds, both included."""
    bounds = validate.Range(least, most, error="range")
    return fields.Integer(strict=True, validate=bounds, metadata={"description": about}, **more)
