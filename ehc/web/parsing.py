"""Requests, parsed: bounded, closed (unknown members are refused), and answered member by member when wrong."""

import re
from collections.abc import Mapping
from typing import Any, cast

import orjson
from flask import request
from marshmallow import Schema, ValidationError
from marshmallow.exceptions import SCHEMA
from werkzeug.exceptions import RequestEntityTooLarge

from ehc.errors import FieldError, InvalidValue, Text
from ehc.web.problems import HttpProblem

MAX_BODY = 64 * 1024
"""Largest body in bytes, unless a route says otherwise."""

_SAFE_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
# What marshmallow says, and what our own fields say (`ehc/web/fields.py`), as a stable code and a sentence.
_RULES: dict[str, tuple[str, Text]] = {
    "Missing data for required field.": ("required", Text("此项必填。", "This member is required.")),
    "Unknown field.": ("unknown-member", Text("没有这个成员，请删去。", "There is no such member. Leave it out.")),
    "Field may not be null.": (
        "null",
        Text("此项不能为 null，可以不填。", "This member cannot be null. Leave it out."),
    ),
    "Not a valid string.": ("type", Text("此项应为字符串。", "This member is a string.")),
    "Not a valid integer.": ("type", Text("此项应为整数。", "This member is an integer.")),
    "Not a valid UUID.": ("type", Text("此项应为 UUID。", "This member is a UUID.")),
    "Not a valid boolean.": ("type", Text("此项应为 true 或 false。", "This member is true or false.")),
    "Not a valid aware datetime.": (
        "datetime",
        Text(
            "时间应带时区，例如 2026-01-09T16:00:00+08:00。",
            "Write the time with its offset: 2026-01-09T16:00:00+08:00.",
        ),
    ),
    "Not a valid datetime.": (
        "datetime",
        Text(
            "时间应带时区，例如 2026-01-09T16:00:00+08:00。",
            "Write the time with its offset: 2026-01-09T16:00:00+08:00.",
        ),
    ),
    "Not a valid date.": ("date", Text("日期格式应为 YYYY-MM-DD。", "Write the date as YYYY-MM-DD.")),
    "length": ("length", Text("长度超出范围，请查阅接口文档。", "Too short or too long. See /docs for the limits.")),
    "range": ("range", Text("数值超出范围，请查阅接口文档。", "Out of range. See /docs for the limits.")),
    "choice": ("choice", Text("取值不在规定的列表中，请查阅接口文档。", "Not one of the listed values. See /docs.")),
    "characters": (
        "characters",
        Text("含有不允许的字符（如控制字符）。", "It holds characters that are not allowed here."),
    ),
    "cursor": (
        "cursor",
        Text(
            "游标无效，请原样使用上一页给出的 next。", "Not a cursor of ours. Use `next` of the page before, as it is."
        ),
    ),
}
_WRONG = (
    "invalid",
    Text("此项的类型或取值不符合要求，请查阅接口文档。", "This member has the wrong type or value. See /docs."),
)
_NOT_JSON = Text("请求体不是合法的 JSON 对象（UTF-8）。", "The body is not a JSON object in UTF-8.")
_JSON_ONLY = Text("请以 application/json 提交。", "Send the body as application/json.")
_SEE_ERRORS = Text("请求内容有误，请按 errors 中的说明修改后重试。", "The request is not valid; see errors.")


def body(schema: Schema) -> Any:
    """The request's JSON body as the schema loads it. Raises `HttpProblem` (400, 413, 415) or `InvalidValue` (422)."""
    if request.mimetype != "application/json":
        raise HttpProblem(415, "unsupported-media-type", _JSON_ONLY, headers={"Accept": "application/json"})
    raw = request.get_data(cache=True)
    if request.content_length is None and len(raw) >= MAX_BODY:  # chunked: reading stopped here, without a word
        raise RequestEntityTooLarge
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise HttpProblem(400, "malformed-json", _NOT_JSON)
    return load(schema, found)


def query(schema: Schema) -> Any:
    """The query string as the schema loads it. Raises `InvalidValue`."""
    return load(schema, request.args.to_dict())


def load(schema: Schema, found: Mapping[str, Any]) -> Any:
    """Members as the schema loads them. Raises `InvalidValue` with a pointer, a code and a sentence for each wrong one."""
    try:
        return schema.load(found)
    except ValidationError as error:
        raise InvalidValue(_SEE_ERRORS, fields=tuple(_fields(cast("dict[Any, Any]", error.messages)))) from None


def _fields(messages: Mapping[Any, Any], above: str = "") -> list[FieldError]:
    found: list[FieldError] = []
    for name, told in messages.items():
        # A name that is not one of ours may hold anything: it is not repeated.
        # The place in a list is a number of our own counting.
        safe = isinstance(name, int) or _SAFE_NAME.fullmatch(str(name))
        pointer = f"{above}/{name}" if safe else f"{above}/"
        if name == SCHEMA:  # not an object at all: the fault is the member's own
            pointer = above
        if isinstance(told, Mapping):
            found += _fields(told, pointer)
        else:
            code, message = _RULES.get(told[0], _WRONG)
            found.append(FieldError(pointer, code, message))
    return found[:20]
