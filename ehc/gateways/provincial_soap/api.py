"""The routes of the provincial interface: the service's own path, its misspelling included, and those of Spring-WS."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
from flask import Blueprint, Response, request

from ehc.errors import DATABASE_AWAY, Unavailable
from ehc.gateways.bodies import TooLarge, read_body
from ehc.gateways.calls import Call, Calls
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.provincial_soap.envelope import (
    MAX_BODY,
    NotACall,
    content_type_of,
    read_call,
    write_answer,
    write_fault,
)
from ehc.gateways.provincial_soap.serving import Desk, Served
from ehc.gateways.provincial_soap.wsdl import wsdl
from ehc.web.auth import anyone
from ehc.web.problems import crossed, database_away, without_values

PATHS = ("/healthCard/services/elecHealthCardWebSevice", "/ws/elecHealthCardWebSevice", "/ws/")

log = structlog.get_logger(__name__)
_CROSSED = "操作冲突，请稍后重试"


@dataclass(frozen=True)
class ProvincialDeps:
    """What the edge hands this interface."""

    desk: Desk
    calls: Calls
    origin: Callable[[], str]
    """Scheme and host under which the caller reached us."""


def blueprint(deps: ProvincialDeps) -> Blueprint:
    """Calls and the WSDL. Who calls, and whether they may, is in the call: `serving.Desk`."""
    bp = Blueprint("provincial_soap", __name__)
    bp.before_request(anyone)

    def get_wsdl() -> Response:
        if "wsdl" not in {name.lower() for name in request.args}:
            return _fault(NotACall("GET serves the WSDL alone, with ?wsdl; calls are POSTed"), 405)
        return Response(wsdl(deps.origin() + request.path), content_type="text/xml; charset=UTF-8")

    def post_call() -> Response:
        began = time.perf_counter()
        try:
            call = read_call(read_body(MAX_BODY), request.content_type or "")
        except TooLarge:
            _record(deps.calls, Served(code="too-large"), "", began)
            return _fault(NotACall(f"a body has at most {MAX_BODY} bytes"), 413)
        except NotACall as error:
            served = Served(code="fault", members={"fault": error.what.replace(":", ",").partition(",")[0]})
            _record(deps.calls, served, error.version, began)
            return _fault(error, 500)
        served = _served(deps.desk, call.action, call.message)
        _record(deps.calls, served, call.dialect, began)
        return Response(write_answer(call.version, served.told), content_type=content_type_of(call.version))

    for number, path in enumerate(PATHS):
        bp.add_url_rule(path, f"get_wsdl_{number}", get_wsdl, methods=["GET"])
        bp.add_url_rule(path, f"post_call_{number}", post_call, methods=["POST"])
    return bp


def _served(desk: Desk, action: str, message: str) -> Served:
    """The result of a call, also where the database is away or we are at fault: a client of this interface reads no other."""
    served = Served()
    try:
        desk.serve(action, message, served)
    except Exception as error:  # whatever it is, the caller is answered in the interface's own words
        served.end_with_fault(_at_fault(error))
    return served


def _at_fault(error: Exception) -> str:
    """What to say of an error that is not the caller's; it is logged, without its text."""
    if crossed(error):
        log.error("transactions crossed")
        return _CROSSED
    if database_away(error) or isinstance(error, Unavailable):
        log.error("database away", error=type(error).__name__)
        return DATABASE_AWAY.zh
    log.error("unhandled error", exc_info=without_values(error))
    return ""


def _record(calls: Calls, served: Served, dialect: str, began: float) -> None:
    calls.record(
        Call(
            kind=GatewayKind.PROVINCIAL,
            account=served.account,
            method=served.method,
            dialect=dialect,
            result=served.code,
            ok=served.good,
            milliseconds=(time.perf_counter() - began) * 1000,
            reference=served.reference,
            trace=served.trace(),
        )
    )


def _fault(error: NotACall, status: int) -> Response:
    return Response(write_fault(error.version, error.what), status, content_type=content_type_of(error.version))
