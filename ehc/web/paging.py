"""Cursor paging: `?limit=…&cursor=…`, answered with `next` (null on the last page)."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, validate

DEFAULT_LIMIT, MAX_LIMIT = 20, 100

Position = tuple[datetime, UUID]
"""Where a page ended: the time and the id of its last row."""


class CursorField(fields.Field[Position]):
    """An opaque cursor. It holds a time and an id, no personal data."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> Position:
        try:
            when, row = urlsafe_b64decode(str(value)[:200].encode()).decode().split("|")
            position = datetime.fromisoformat(when), UUID(row)
        except ValueError:
            raise ValidationError("cursor") from None
        if position[0].tzinfo is None:
            raise ValidationError("cursor")
        return position


class LimitField(fields.Integer):
    """A whole number in plain digits: `int` alone would take `1_0` and digits of other scripts too."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **kwargs: Any) -> int:
        if not re.fullmatch(r"-?[0-9]{1,9}", str(value)):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class PageQuery(Schema):
    """The query of every list."""

    limit = LimitField(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT, error="range"),
        metadata={"description": "Rows in a page."},
    )
    cursor = CursorField(load_default=None, metadata={"description": "`next` of the page before.", "type": "string"})


def cursor(position: Position) -> str:
    """A position as the text of a cursor."""
    return urlsafe_b64encode(f"{position[0].isoformat()}|{position[1]}".encode()).decode()
