"""`/v1/sessions`: residents log in through an app, say who they are, and log out."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, Response

from ehc.callers import Reach, ResidentParty, Scope
from ehc.clock import local_day
from ehc.core.documents import read_document
from ehc.core.names import normal_name
from ehc.errors import EhcError, WrongFields
from ehc.issuer import identity_links, log_ins
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.identity_links import Shown
from ehc.issuer.log_ins import LogInDesk, Source
from ehc.issuer.metrics import LOG_INS
from ehc.issuer.session_schemas import LogInIn, NewSessionOut, SessionLinkIn, SessionOut, session_out
from ehc.keystore import platforms as credentials
from ehc.outside import platforms
from ehc.outside.platforms import Platform
from ehc.sessions import tries
from ehc.sessions.tries import PER_DOCUMENT, PER_IDENTITY
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import bearer, caller, resident_token_needed
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {
    platforms.LoginCodeInvalid: 409,
    platforms.LoginCodeUsed: 409,
    platforms.LoginBlocked: 403,
    platforms.PlatformBusy: 503,
    platforms.PlatformAway: 503,
    platforms.PlatformRefused: 409,
    credentials.PlatformNotSet: 409,
    identity_links.LinkRefused: 409,
    identity_links.AlreadyLinked: 409,
}

_LOG_IN, _LINK = LogInIn(), SessionLinkIn()
_NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True)
class SessionDeps:
    """What residents' sessions need: the issuer's own, the desk, and how the address of a caller is told."""

    issuer: IssuerDeps
    desk: LogInDesk
    address: Callable[[], str | None]


def sessions_blueprint(deps: SessionDeps) -> Blueprint:
    """Log-in, for apps with the scope `cards`; the rest is for the session's own token."""
    bp = Blueprint("sessions", __name__, url_prefix="/v1/sessions")
    bp.before_request(bearer(deps.issuer.authenticate, Scope.CARDS))
    _add_log_in(bp, deps)
    _add_current(bp, deps)
    _add_links(bp, deps)
    return bp


def counted_try(deps: IssuerDeps, address: str | None, *subjects: tuple[bytes, tries.Limits]) -> list[UUID]:
    """Write down that somebody tries to be linked, and let them, or not. Raises `TooManyWrong`."""
    told = log_ins.subjects(deps.registry().secrets, caller(), Source(address)) | dict(subjects)
    with deps.work() as session:
        return tries.begin(session, told, now=deps.clock.now())


def party() -> ResidentParty:
    """The resident whose token came. Raises `HttpProblem` for an app's own."""
    found = caller().resident
    if found is None:
        raise resident_token_needed()
    return found


def _add_log_in(bp: Blueprint, deps: SessionDeps) -> None:
    @bp.post("")
    @operation(
        "Log a resident in",
        body=LogInIn,
        answers={201: NewSessionOut},
        scope=Scope.CARDS,
        problems=(403, 409, 422, 429),
    )
    def post_resident_session() -> Response:
        """With the app's own token. No `Idempotency-Key`: a code counts once; if no answer comes, log in with a new one."""
        wanted = parsing.body(_LOG_IN)
        source = Source(deps.address(), wanted.get("client_address"))
        platform, code, who = Platform(wanted["platform"]), wanted["code"], caller()
        try:
            if platform is Platform.SMS:
                token, found = log_ins.by_phone(deps.desk, wanted["proof_id"], code, caller=who, source=source)
            else:
                token, found = log_ins.by_platform(deps.desk, platform, code, caller=who, source=source)
        except EhcError as error:
            LOG_INS.labels(platform, error.code).inc()
            raise
        LOG_INS.labels(platform, "opened").inc()
        return Answer({"token": token, **session_out(found)}, 201, _NO_STORE).response()


def _add_current(bp: Blueprint, deps: SessionDeps) -> None:
    issuer = deps.issuer

    @bp.get("/current")
    @operation("The session of a resident's token", answers={200: SessionOut}, scope=Scope.CARDS, resident=Reach.SELF)
    def get_resident_session() -> Response:
        session_id = party().session_id
        with issuer.work() as session:
            answer = session_out(log_ins.standing(session, session_id))
        return Answer(answer, headers=_NO_STORE).response()

    @bp.delete("/current")
    @operation("Log out", answers={204: None}, scope=Scope.CARDS, resident=Reach.SELF)
    def delete_resident_session() -> Response:
        """The token stops at once."""
        party()
        with issuer.work() as session:
            log_ins.log_out(session, caller(), now=issuer.clock.now())
        return Response(status=204)


def _add_links(bp: Blueprint, deps: SessionDeps) -> None:
    issuer = deps.issuer

    @bp.post("/current/link")
    @operation(
        "Link the log-in to the holder of a card",
        body=SessionLinkIn,
        answers={200: SessionOut},
        scope=Scope.CARDS,
        resident=Reach.SELF,
        problems=(409, 422, 429),
    )
    def post_session_link() -> Response:
        """By name, document and registered phone together. The app sees the card from now on, as after a registration."""
        mine, wanted, now = party(), parsing.body(_LINK), issuer.clock.now()
        wrong = WrongFields()
        with wrong:
            name = normal_name(wanted["name"])
        with wrong:
            document = read_document(wanted["id_type"], wanted["id_number"], today=local_day(now))
        wrong.require_none()
        index = issuer.registry().secrets.blind_index
        tried = counted_try(
            issuer,
            deps.address(),
            (identity_links.identity_subject(index, caller()), PER_IDENTITY),
            (identity_links.document_subject(index, document), PER_DOCUMENT),
        )
        shown, secrets = Shown(name, document, wanted["phone_proof"]), issuer.registry().secrets
        with issuer.work() as session:
            identity_links.link(session, shown, caller=caller(), secrets=secrets, now=issuer.clock.now())
            tries.not_wrong(session, tried)
            answer = session_out(log_ins.standing(session, mine.session_id))
        return Answer(answer, headers=_NO_STORE).response()

    @bp.delete("/current/link")
    @operation("End the link of the log-in", answers={204: None}, scope=Scope.CARDS, resident=Reach.SELF)
    def delete_session_link() -> Response:
        """Its other sessions end; this one goes on and touches no card."""
        party()
        with issuer.work() as session:
            identity_links.untie(session, caller=caller(), now=issuer.clock.now())
        return Response(status=204)
