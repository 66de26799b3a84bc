"""`ETag` and `If-Match`: a change goes to the version that its caller read."""

from flask import request

from ehc.errors import InvalidValue, Text
from ehc.web.problems import HttpProblem


def etag(version: int) -> dict[str, str]:
    """The header with a version."""
    return {"ETag": f'"{version}"'}


def if_match() -> int:
    """The version in `If-Match`. A weak tag is taken as the strong one: ours tell versions, not bytes.

    Raises `HttpProblem` (428) where there is none, `InvalidValue` for one that is not ours.
    """
    header = request.headers.get("If-Match")
    if header is None:
        detail = Text("须携带 If-Match（读取时得到的 ETag）。", "Send If-Match: the ETag that came with what you read.")
        raise HttpProblem(428, "precondition-required", detail)
    tag = header.strip().removeprefix("W/").strip('"')
    if tag.isascii() and tag.isdigit() and len(tag) < 19:
        return int(tag)
    message = Text("If-Match 应为读取时得到的 ETag。", "If-Match takes the ETag that came with what was read.")
    raise InvalidValue.at("/If-Match", "etag", message)
