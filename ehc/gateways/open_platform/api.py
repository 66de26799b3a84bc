"""`POST /rest/auth/…/<method>`: open the envelope, find out who calls, carry it out, and say so with HTTP 200.

Clients take any other status for a broken network (open-platform JSON 1). How each call was signed and what came of it is
counted; of one that failed the operator reads a trace without personal values (`ehc gateways log`).
"""

import time

import structlog
from flask import Blueprint, Response
from sqlalchemy.exc import SQLAlchemyError

from ehc.errors import EhcError
from ehc.gateways import limits
from ehc.gateways.bodies import TooLarge, read_body
from ehc.gateways.calls import UNKNOWN, masked
from ehc.gateways.calls import Call as Counted
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.open_platform import envelope
from ehc.gateways.open_platform.deps import Call, OpenPlatformDeps
from ehc.gateways.open_platform.entrance import Visitor, admitted
from ehc.gateways.open_platform.envelope import NO_REQUEST, Request
from ehc.gateways.open_platform.mapping import refusal_of
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.methods import CLOSED, GET_TOKEN, NAMES, OCR, OPEN
from ehc.gateways.open_platform.reading import MAX_TEXT
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.gateways.open_platform.signing import signed_names
from ehc.gateways.open_platform.tokens import LIFE_SECONDS
from ehc.web.auth import anyone

MAX_BODY = 64 * 1024
_MAX_OCR_BODY = MAX_TEXT + MAX_BODY
_CLEAR = frozenset(
    {
        "hospitalId",
        "timestamp",
        "channelNum",
        "codeType",
        "idType",
        "cardType",
        "medicalStep",
        "channelCode",
        "scene",
        "cardChannel",
        "cardCostTypes",
    }
)
"""Members whose values name nobody."""

log = structlog.get_logger(__name__)


def open_platform_blueprint(deps: OpenPlatformDeps) -> Blueprint:
    """Everything below `/rest/auth/`: which prefix stands before a method differs from client to client (1.1)."""
    bp = Blueprint("open_platform", __name__, url_prefix="/rest/auth")
    bp.before_request(anyone)  # the envelope says who calls, and its signature proves it

    @bp.post("/<path:path>")
    def post_call(path: str) -> Response:
        began = time.perf_counter()
        told = _Telling(path.rpartition("/")[2])
        try:
            body = _answered(deps, told)
        except Refusal as refusal:
            body = _refused(told, refusal)
        except (TooLarge, EhcError) as error:
            body = _refused(told, refusal_of(error))
        except SQLAlchemyError as error:
            log.warning("call not carried out", error=type(getattr(error, "orig", error)).__name__)
            body = _refused(told, Refusal(Result.BUSY))
        except Exception:
            log.exception("unhandled error")
            body = _refused(told, Refusal(Result.BUSY))
        _count(deps, told, milliseconds=(time.perf_counter() - began) * 1000)
        return Response(body, mimetype="application/json")

    return bp


class _Telling:
    """A call as far as it came, to be counted."""

    def __init__(self, method: str) -> None:
        self.method, self.request, self.visitor = method, NO_REQUEST, Visitor()
        self.refusal: Refusal | None = None


def _answered(deps: OpenPlatformDeps, told: _Telling) -> bytes:
    told.request = request = envelope.read(read_body(_MAX_OCR_BODY if told.method == OCR else MAX_BODY))
    try:
        account, caller = admitted(deps, told.method, request, told.visitor)
    except Refusal:
        if told.method not in NAMES:  # it would not help to mend the signature first
            raise Refusal(Result.NOT_OPEN) from None
        raise
    if told.method == GET_TOKEN:
        rsp = {"appToken": deps.tokens.issue(account.id), "expiresIn": LIFE_SECONDS}
        return envelope.answer(request.request_id, rsp, app_id=account.name)
    method = OPEN.get(told.method)
    if method is None:
        raise Refusal(Result.NOT_OPEN, CLOSED.get(told.method, ""))
    if method.scope is not None:
        limits.require_scope(caller, method.scope, sandbox=method.sandbox)
    rsp = method.act(Call(deps, account, caller, request.request_id), Members(request.req))
    return envelope.answer(request.request_id, rsp)


def _refused(told: _Telling, refusal: Refusal) -> bytes:
    told.refusal = refusal
    return envelope.refused(told.request.request_id, refusal)


def _count(deps: OpenPlatformDeps, told: _Telling, *, milliseconds: float) -> None:
    result = told.refusal.result if told.refusal is not None else Result.OK
    account = told.visitor.account
    deps.calls.record(
        Counted(
            kind=GatewayKind.OPEN_PLATFORM,
            account=account.id if account is not None else None,
            method=told.method if told.method in NAMES else UNKNOWN,
            dialect=told.visitor.profile,
            result=str(int(result)),
            ok=result is Result.OK,
            milliseconds=milliseconds,
            reference=told.request.request_id,
            trace=_trace(told.request, told.refusal) if told.refusal is not None else None,
        )
    )


def _trace(request: Request, refusal: Refusal) -> dict[str, str]:
    """What an integrator needs to be told: which members came, how they look, and what we said."""
    members = {name: value for name, value in request.common.items() if name not in {"sign", "appToken"}}
    told = {**masked({**members, **request.req}, _CLEAR), "errMsg": refusal.whole}
    return told | {"signed": signed_names(request)} if refusal.result is Result.BAD_SIGNATURE else told
