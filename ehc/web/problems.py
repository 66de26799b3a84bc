"""Problems become HTTP here and nowhere else (RFC 9457). No text of an exception and no refused value ever gets out."""

from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from flask import Flask, Response, g
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from ehc.errors import DATABASE_AWAY, EhcError, FieldError, InvalidValue, Text, Unavailable
from ehc.web.language import language, said

log = structlog.get_logger(__name__)

_TITLES: dict[int, Text] = {
    400: Text("请求有误", "Bad request"),
    401: Text("需要有效的访问令牌", "A valid access token is needed"),
    403: Text("无权执行", "Not allowed"),
    404: Text("未找到", "Not found"),
    405: Text("不支持的方法", "Method not allowed"),
    409: Text("状态冲突", "Conflict"),
    412: Text("版本已变化", "Precondition failed"),
    413: Text("请求体过大", "Body too large"),
    415: Text("不支持的内容类型", "Unsupported media type"),
    422: Text("请求内容有误", "Request not valid"),
    429: Text("请求过于频繁", "Too many requests"),
    500: Text("服务器内部错误", "Internal error"),
    503: Text("服务暂不可用", "Temporarily unavailable"),
}
_GENERIC = Text("请求无法处理，请核对地址和方法。", "The request cannot be handled. Check its address and method.")
_INTERNAL = Text(
    "服务器内部错误，已记录；请凭 request_id 联系运维。",
    "Something failed here and was logged. Quote request_id to the operators.",
)
_CROSSED = Text(
    "与另一请求冲突，本次未生效，请重试。", "Another request was in the way, and nothing was changed. Send it again."
)
_UNDONE = {"40001", "40P01"}  # serialization failure, deadlock
_TOO_LARGE = Text("请求体超过 64 KiB，请缩小后重试。", "The body is larger than 64 KiB.")


class HttpProblem(EhcError):
    """A problem of HTTP itself, such as a wrong content type."""

    def __init__(self, status: int, code: str, detail: Text, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.headers = status, code, dict(headers or {})


class Problems:
    """Knows the status of every kind of error. Each room tells its own; a test finds any kind without a status."""

    def __init__(self, statuses: Mapping[type[EhcError], int]) -> None:
        self._statuses: dict[type[EhcError], int] = {InvalidValue: 422, Unavailable: 503, **statuses}

    def install(self, app: Flask) -> None:
        """Answer every error of the app with a problem document."""
        app.register_error_handler(Exception, self.answer)

    def status_of(self, kind: type[EhcError]) -> int | None:
        """The status of a kind of error, if anyone gave it one."""
        return self._statuses.get(kind)

    def answer(self, error: Exception) -> Response:
        """The problem document for an error."""
        if isinstance(error, HttpProblem):
            return problem(error.status, error.kind, error.detail, headers=error.headers)
        if isinstance(error, EhcError) and (status := self._statuses.get(type(error))):
            return problem(status, error.code, error.detail, fields=error.fields, retry_after=error.retry_after)
        if isinstance(error, RequestEntityTooLarge):
            return problem(413, "body-too-large", _TOO_LARGE)
        if isinstance(error, HTTPException):
            return _http(error)
        return _unforeseen(error)


def crossed(error: BaseException) -> bool:
    """Whether the database undid a transaction because it and another stood in each other's way: the same again may pass."""
    return _sqlstate(error) in _UNDONE


def database_away(error: BaseException) -> bool:
    """Whether an error means that the database, not the request, is at fault and may be back soon."""
    if crossed(error):
        return False
    if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
        return True
    return isinstance(error, DBAPIError) and (error.connection_invalidated or _sqlstate(error) == "25006")  # read-only


def problem(
    status: int,
    code: str,
    detail: Text,
    *,
    fields: tuple[FieldError, ...] = (),
    retry_after: int | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """An `application/problem+json` answer in the caller's language."""
    body: dict[str, Any] = {
        "type": f"urn:ehc:problem:{code}",
        "title": said(_TITLES.get(status, _TITLES[400])),
        "status": status,
        "code": code,
        "detail": said(detail),
        "request_id": g.get("request_id"),
    }
    if fields:
        body["errors"] = [{"pointer": f.pointer, "code": f.code, "message": said(f.message)} for f in fields]
    response = Response(orjson.dumps(body), status, headers, content_type="application/problem+json")
    response.headers["Content-Language"] = language()
    response.headers["Vary"] = "Accept-Language"
    if retry_after is not None:
        response.headers["Retry-After"] = str(retry_after)
    return response


def _unforeseen(error: Exception) -> Response:
    """The problem document for an error of the database, or of the service itself."""
    if crossed(error):
        log.error("transactions crossed", sqlstate=_sqlstate(error))
        return problem(503, Unavailable.code, _CROSSED, retry_after=1)
    if database_away(error):
        log.error("database away", error=type(error).__name__)
        return problem(503, Unavailable.code, DATABASE_AWAY, retry_after=2)
    log.error("unhandled error", exc_info=without_values(error))
    return problem(500, "internal", _INTERNAL)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code = {404: "not-found", 405: "method-not-allowed"}.get(status, "http")
    allow = dict(error.get_headers()).get("Allow")
    return problem(status, code, _GENERIC, headers={"Allow": allow} if allow else None)


def _sqlstate(error: BaseException) -> str | None:
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


def without_values(error: Exception) -> tuple[type[Exception], Exception, Any]:
    """Kind and place of an error. Its text may hold a name or a number, so it is left out of the log."""
    return type(error), Exception("text withheld"), error.__traceback__
