"""`/v1/terminals`: a terminal enrols itself with a one-time code, says that it is there, and reads what it is to go by."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response

from ehc.access import client_keys, enrolments, terminals
from ehc.access.enrolment_schemas import EnrolIn, EnrolledOut
from ehc.access.staff_session_api import AdminDeps
from ehc.access.terminal_schemas import (
    HeartbeatIn,
    HeartbeatOut,
    SelfOut,
    configuration_out,
    self_out,
)
from ehc.callers import Branch, Caller, ClientKind, Scope
from ehc.cards.store import StaleVersion
from ehc.crypto.jwk import Jwk, NotAKey, read_jwk
from ehc.crypto.sealed import BlindIndex
from ehc.errors import EhcError, InvalidValue, Text
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import Authenticate, anyone, bearer, caller
from ehc.web.openapi import operation
from ehc.web.problems import HttpProblem

STATUSES: dict[type[EhcError], int] = {
    StaleVersion: 412,
    client_keys.KeyTaken: 409,
    enrolments.EnrolmentOver: 409,
    enrolments.EnrolmentRefused: 403,
    enrolments.NoSuchEnrolment: 404,
    enrolments.ProofInvalid: 422,
    enrolments.TerminalCodeTaken: 409,
    terminals.NoSuchTerminal: 404,
    terminals.TerminalState: 409,
}

_ENROL, _HEARTBEAT = EnrolIn(), HeartbeatIn()


@dataclass(frozen=True)
class TerminalDeps:
    """What terminals and their administration need."""

    admin: AdminDeps
    authenticate: Authenticate
    index: Callable[[], BlindIndex]
    issuer: str

    @property
    def token_endpoint(self) -> str:
        """Where tokens are got, by the name that we publish: never by what a request calls us."""
        return f"{self.issuer}/oauth/token"


def enrolling_blueprint(deps: TerminalDeps) -> Blueprint:
    """Enrolling. Anyone may try; the one-time code decides, and is tried five times at most."""
    bp = Blueprint("terminal_enrolling", __name__, url_prefix="/v1/terminals")
    bp.before_request(anyone)

    @bp.post("/enrol")
    @operation(
        "Enrol a terminal with a one-time code",
        body=EnrolIn,
        answers={201: EnrolledOut, 200: EnrolledOut},
        problems=(403, 409),
    )
    def post_terminal_enrol() -> Response:
        """Needs no token. The same code and key again, in its time, answer 200. Whatever is wrong with a code is a 403."""
        wanted = parsing.body(_ENROL)
        jwk = _jwk(wanted["jwk"])
        enrolments.require_proof(wanted["proof"], jwk, wanted["code"], issuer=deps.issuer)
        with deps.admin.work() as session:
            made = enrolments.enrol(session, wanted["code"], jwk, index=deps.index(), now=deps.admin.clock.now())
        if made is None:  # after the commit: the try counts
            raise enrolments.EnrolmentRefused(
                Text(
                    "登记码不正确、已使用或已过期；请核对后重试，或请管理员重新生成。",
                    "The code is wrong, was used or is out of time. Check it, or have a new one made.",
                )
            )
        body = self_out(made.terminal) | {"issuer": deps.issuer, "token_endpoint": deps.token_endpoint}
        return Answer(body, 201 if made.new else 200, {"Cache-Control": "no-store"}).response()

    return bp


def terminals_blueprint(deps: TerminalDeps) -> Blueprint:
    """What a terminal with a token does about itself."""
    bp = Blueprint("terminals", __name__, url_prefix="/v1/terminals")
    bp.before_request(bearer(deps.authenticate, Scope.VERIFY))

    @bp.post("/heartbeat")
    @operation(
        "Say that a terminal is there",
        body=HeartbeatIn,
        answers={200: HeartbeatOut},
        scope=Scope.VERIFY,
        problems=(404,),
    )
    def post_terminal_heartbeat() -> Response:
        """Every `heartbeat_seconds`. Answers with our time, the measured offset and the configuration in force."""
        who, wanted = _terminal(), parsing.body(_HEARTBEAT)
        with deps.admin.work() as session:
            now = deps.admin.clock.now()
            beat = terminals.heartbeat(session, who.id, version=wanted["version"], clock=wanted["clock"], now=now)
            found = terminals.find(session, who.id, Branch())
        return Answer(
            {
                "server_time": instant(now),
                "clock_offset_ms": beat.offset_ms,
                "clock_ok": beat.good,
                "clock_limit_ms": terminals.CLOCK_LIMIT_MS,
                "configuration": configuration_out(found),
            }
        ).response()

    @bp.get("/self")
    @operation("What a terminal is", answers={200: SelfOut}, scope=Scope.VERIFY, problems=(404,))
    def get_terminal_self() -> Response:
        """Its ids, its institution and the configuration in force."""
        who = _terminal()
        with deps.admin.work() as session:
            found = terminals.find(session, who.id, Branch())
        return Answer(self_out(found)).response()

    return bp


def _terminal() -> Caller:
    who = caller()
    if who.kind is not ClientKind.TERMINAL:
        raise HttpProblem(403, "terminal-only", Text("仅限终端调用。", "This is for terminals alone."))
    return who


def _jwk(members: dict[str, str]) -> Jwk:
    try:
        return read_jwk(members)
    except NotAKey:
        message = Text("不是 P-256 曲线上的公钥。", "Not a public key: x and y are no point of P-256.")
        raise InvalidValue.at("/jwk", "key", message) from None
