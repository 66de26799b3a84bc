"""The envelope of requests and answers (open-platform JSON 1.2, 1.3). Pure.

Read with Python's own `json`, not orjson: the signature is over numbers as they were written, and orjson makes a float
of an integer that is longer than 64 bits.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import orjson

from ehc.gateways.open_platform.results import Refusal, Result

MAX_DEPTH = 8
"""Deeper than any request goes: a batch's `childInfo` is at five."""
MAX_PARTS = 20_000
"""As many brackets and commas: a picture has none, and a megabyte of empty lists would take fifty in memory."""
MAX_REQUEST_ID = 64
_MARKS = (b"{", b"[", b",")
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Inexact:
    """A number with a point or an exponent, as it was written: no request has one, but a signature may be over it."""

    text: str


@dataclass(frozen=True, slots=True)
class Request:
    """The two halves of a request. Nothing in them is trusted yet."""

    common: Mapping[str, Any] = field(repr=False)
    req: Mapping[str, Any] = field(repr=False)

    @property
    def request_id(self) -> str:
        """The client's own id of this request, to be said again; empty where there is none that can be."""
        found = self.common.get("requestId")
        return found if isinstance(found, str) and len(found) <= MAX_REQUEST_ID and found.isprintable() else ""


NO_REQUEST = Request(_NOTHING, _NOTHING)


def read(raw: bytes) -> Request:
    """A body as a request, whatever its content type says (1). Raises `Refusal` (10001).

    A member that is there twice is refused: which of the two was signed, and which another reader would take, nobody can say.
    """
    if sum(map(raw.count, _MARKS)) > MAX_PARTS:
        raise Refusal(Result.NOT_A_REQUEST, "成员过多")
    try:
        found = json.loads(
            raw.decode("utf-8-sig"), object_pairs_hook=_once, parse_float=Inexact, parse_constant=_no_number
        )
    except (ValueError, RecursionError):
        raise Refusal(Result.NOT_A_REQUEST) from None
    if not isinstance(found, dict):
        raise Refusal(Result.NOT_A_REQUEST)
    common, req = found.get("commonIn"), found.get("req")
    if not isinstance(common, dict) or not isinstance(req, dict):
        raise Refusal(Result.NOT_A_REQUEST, "应为含 commonIn 与 req 的 JSON 对象")
    _require_flat(found, MAX_DEPTH)
    return Request(common, req)


def answer(request_id: str, rsp: Mapping[str, Any], *, app_id: str | None = None) -> bytes:
    """A success. `app_id` is told where a token is given, as the one real answer that is known does (1.3)."""
    out = {"requestId": request_id, "resultCode": int(Result.OK), "errMsg": "成功"}
    if app_id is not None:
        out["appId"] = app_id
    return orjson.dumps({"commonOut": out, "rsp": rsp})


def refused(request_id: str, refusal: Refusal) -> bytes:
    """A refusal: `rsp` is an object here too, since clients call methods on it (1.3)."""
    out = {"requestId": request_id, "resultCode": int(refusal.result), "errMsg": refusal.message}
    return orjson.dumps({"commonOut": out, "rsp": {}})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _no_number(_: str) -> NoReturn:
    """`NaN` and `Infinity` are no JSON."""
    raise ValueError


def _require_flat(value: Any, left: int) -> None:
    if isinstance(value, dict | list):
        if not left:
            raise Refusal(Result.NOT_A_REQUEST, "嵌套过深")
        for item in value.values() if isinstance(value, dict) else value:
            _require_flat(item, left - 1)
