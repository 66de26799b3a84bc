"""Who may call a blueprint. Every blueprint names its callers in a `before_request`, even "anyone"; a test holds it so."""

from collections.abc import Callable
from typing import Protocol, TypeVar
from uuid import UUID

from flask import current_app, g, has_request_context, request

from ehc.callers import Caller, NotAuthentic, Reach, Right, Scope, Staff
from ehc.errors import Text
from ehc.sessions.tokens import PREFIX
from ehc.web.openapi import told_of
from ehc.web.problems import HttpProblem

Authenticate = Callable[[str], Caller]
"""From a bearer token to its caller. Raises `NotAuthentic`."""

AuthenticateStaff = Callable[[str], Staff]
"""From a bearer token to the person of the staff. Raises `NotAuthentic`."""

RESIDENTS = "ehc.residents"
"""The extension of the app that knows residents' tokens."""

MAX_TOKEN = 2048
"""Longest bearer token that is looked at."""


class ResidentDoor(Protocol):
    """From a resident's token to its caller, at a route of this reach (None: not for residents), with the card of its path."""

    def __call__(self, token: str, reach: Reach | None, card_id: UUID | None) -> Caller:
        """Raises `NotAuthentic`, `NoSuchCard`, or `HttpProblem` for what the token may not do."""
        ...


def anyone() -> None:
    """Public: keys, status and documentation."""


def bearer(authenticate: Authenticate, scope: Scope, *others: Scope, sandbox: bool = False) -> Callable[[], None]:
    """Lets callers with this scope, or one of the others, in, and nobody else (RFC 6750).

    Residents' own tokens only where the route says how far they go (`Operation.resident`).

    `sandbox`: whether clients of the sandbox may come too. Only where all that is found is found through a grant, a code, or
    the blind indexes of the caller's own world (`Secrets.of_sandbox`); nothing outside is reached from there.
    """
    enough = {scope, *others}

    def check() -> None:
        token = _token("/oauth/token")
        caller = _resident(token) if token.startswith(PREFIX) else _authentic(authenticate, token)
        if caller.sandbox and not sandbox:
            raise HttpProblem(
                403,
                "not-in-sandbox",
                Text("沙箱中不提供此功能。", "The sandbox does not have this. Try it with a real app."),
            )
        if enough.isdisjoint(caller.scopes):
            raise insufficient(scope)
        g.caller = caller

    return check


def insufficient(scope: Scope) -> HttpProblem:
    """The answer to a caller without this scope."""
    detail = Text(f"令牌没有 {scope} 权限。", f"The token does not have the scope {scope}.")
    challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
    return HttpProblem(403, "insufficient-scope", detail, headers={"WWW-Authenticate": challenge})


def caller() -> Caller:
    """The caller that the blueprint's check let in."""
    found: Caller = g.caller
    return found


def in_sandbox() -> bool:
    """Whether a client of the sandbox calls now; outside of a request nobody does."""
    found: Caller | None = g.get("caller") if has_request_context() else None
    return found is not None and found.sandbox


def whoever() -> Caller | Staff:
    """The client or person of the staff that the blueprint's check let in."""
    found: Caller | Staff = g.caller if "caller" in g else g.staff
    return found


def staff_only(authenticate: AuthenticateStaff) -> Callable[[], None]:
    """Lets the staff in, and nobody else. What each route asks of them, `require` says."""

    def check() -> None:
        g.staff = _authentic(authenticate, _token("/v1/admin/sessions"))

    return check


def require(right: Right, *, fresh: bool = False) -> Staff:
    """The person of the staff who calls, if they hold a right; `fresh` asks for a proof within the last minutes."""
    person = staff()
    if person.limited:
        raise HttpProblem(
            403,
            "first-steps-missing",
            Text(
                "请先修改初始密码并设置第二因素。",
                "Change the first password and set up the second factor before anything else.",
            ),
        )
    if right not in person.rights:
        raise HttpProblem(403, "right-missing", Text("您的角色无此权限。", "Your roles do not allow this."))
    return fresh_staff() if fresh else person


def fresh_staff() -> Staff:
    """The person of the staff who calls, whatever they may do, if they proved who they are within the last minutes."""
    person = staff()
    if not person.fresh:
        raise HttpProblem(
            403,
            "proof-too-old",
            Text(
                "请重新验证身份后再执行此操作。",
                "Prove again who you are, at /v1/admin/sessions/current/proof, then repeat.",
            ),
        )
    return person


def staff() -> Staff:
    """The person of the staff that the blueprint's check let in, whatever they may do."""
    found: Staff = g.staff
    return found


Authentic = TypeVar("Authentic")


def app_token_needed() -> HttpProblem:
    """The answer to a resident's token where only the app's own counts."""
    detail = Text(
        "此接口不接受居民会话令牌，请使用应用自己的访问令牌。",
        "A resident's token is not taken here. Use the app's own, from /oauth/token.",
    )
    return HttpProblem(403, "app-token-needed", detail)


def resident_token_needed() -> HttpProblem:
    """The answer to an app's own token where it is about a resident's session."""
    detail = Text(
        "此接口只接受居民会话令牌（POST /v1/sessions）。", "This is about a resident's session: send its token."
    )
    return HttpProblem(403, "resident-token-needed", detail)


def _resident(token: str) -> Caller:
    told = told_of(current_app.view_functions.get(request.endpoint or ""))
    reach = told.resident if told else None
    door: ResidentDoor = current_app.extensions[RESIDENTS]
    card_id = (request.view_args or {}).get("card_id")
    return _authentic(lambda sent: door(sent, reach, card_id), token)


def _authentic(authenticate: Callable[[str], Authentic], token: str) -> Authentic:
    if len(token) > MAX_TOKEN:
        raise _invalid()
    try:
        return authenticate(token)
    except NotAuthentic:
        raise _invalid() from None


def _token(where: str) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token:
        raise _refused(
            "token-missing",
            Text("请携带访问令牌（Authorization: Bearer …）。", f"Send a bearer token from {where}."),
        )
    return token


def _invalid() -> HttpProblem:
    detail = Text("访问令牌无效或已过期，请重新获取。", "The token is not valid, or no longer. Get a new one.")
    return _refused("token-invalid", detail, error="invalid_token")


def _refused(code: str, detail: Text, *, error: str = "") -> HttpProblem:
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return HttpProblem(401, code, detail, headers={"WWW-Authenticate": challenge})
