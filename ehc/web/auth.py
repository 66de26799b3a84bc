"""Who may call a blueprint. Every blueprint names its callers in a `before_request`, even "anyone"; a test holds it so."""

from collections.abc import Callable

from flask import g, request

from ehc.callers import Caller, NotAuthentic, Scope
from ehc.errors import Text
from ehc.web.problems import HttpProblem

Authenticate = Callable[[str], Caller]
"""From a bearer token to its caller. Raises `NotAuthentic`."""

MAX_TOKEN = 2048
"""Longest bearer token that is looked at."""


def anyone() -> None:
    """Public: keys, status and documentation."""


def bearer(authenticate: Authenticate, scope: Scope, *others: Scope) -> Callable[[], None]:
    """Lets callers with this scope, or one of the others, in, and nobody else (RFC 6750)."""
    enough = {scope, *others}

    def check() -> None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise _refused(
                "token-missing",
                Text("请携带访问令牌（Authorization: Bearer …）。", "Send a bearer token from /oauth/token."),
            )
        if len(token) > MAX_TOKEN:
            raise _invalid()
        try:
            caller = authenticate(token)
        except NotAuthentic:
            raise _invalid() from None
        if enough.isdisjoint(caller.scopes):
            detail = Text(f"令牌没有 {scope} 权限。", f"The token does not have the scope {scope}.")
            challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
            raise HttpProblem(403, "insufficient-scope", detail, headers={"WWW-Authenticate": challenge})
        g.caller = caller

    return check


def caller() -> Caller:
    """The caller that the blueprint's check let in."""
    found: Caller = g.caller
    return found


def _invalid() -> HttpProblem:
    detail = Text(
        "访问令牌无效或已过期，请重新获取。", "The token is not valid, or no longer. Get a new one from /oauth/token."
    )
    return _refused("token-invalid", detail, error="invalid_token")


def _refused(code: str, detail: Text, *, error: str = "") -> HttpProblem:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return HttpProblem(401, code, detail, headers={"WWW-Authenticate": challenge})
