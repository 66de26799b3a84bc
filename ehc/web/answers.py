"""Answers as JSON, written with orjson: the standard library's encoder is a fifth of the time of a check."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
from flask import Response


@dataclass(frozen=True, slots=True)
class Answer:
    """What a view has to say, before it becomes bytes."""

    body: Mapping[str, Any]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """The answer as an HTTP response."""
        return json_response(orjson.dumps(self.body), self.status, self.headers)


def json_response(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Bytes that are JSON already."""
    response = Response(body, status, mimetype="application/json")
    if headers:
        response.headers.update(headers)
    return response


def instant(when: datetime) -> str:
    """RFC 3339 in UTC, to the millisecond: `2026-01-09T08:00:00.000Z`."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
