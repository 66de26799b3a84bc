"""Versions as ETags: a change says which version it was made from, so that nobody overwrites what another has done."""

from flask import request

from ehc.errors import InvalidValue, Text
from ehc.web.problems import HttpProblem


def etag(version: int) -> dict[str, str]:
    """The header with a version."""
    return {"ETag": f'"{version}"'}


def wanted_version() -> int | None:
    """The version in `If-Match`; None for `*`. A weak tag is taken as the strong one, since ours tell versions, not bytes.

    Raises `HttpProblem` (428) where there is none, or `InvalidValue` for one that is not ours.
    """
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise HttpProblem(
            428,
            "precondition-required",
            Text("修改须携带 If-Match（读取时得到的 ETag）。", "A change needs If-Match: the ETag that came with it."),
        )
    if header == "*":
        return None
    tag = header.removeprefix("W/").strip('"')
    if tag.isascii() and tag.isdigit() and len(tag) < 10:
        return int(tag)
    message = Text("If-Match 应为读取时得到的 ETag。", "If-Match takes the ETag that came with it.")
    raise InvalidValue.at("/If-Match", "etag", message)
