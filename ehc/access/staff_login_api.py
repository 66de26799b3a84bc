"""`POST /v1/admin/sessions`: log-in. `…/current/challenge` and `…/current/proof`: proving again who one is."""

from flask import Blueprint, Response
from prometheus_client import Counter

from ehc.access import log_ins, own_account, passkeys, second_factors, staff_accounts, staff_roles, tries
from ehc.access import staff_acts as acts
from ehc.access import staff_sessions as sessions
from ehc.access.log_ins import Asked, Opened
from ehc.access.staff_deps import StaffDeps
from ehc.access.staff_login_schemas import (
    FreshOut,
    StaffChallengeOut,
    StaffLogInIn,
    StaffOpenedOut,
    StaffProofIn,
    StaffSecondFactorOut,
    shown_of,
)
from ehc.errors import EhcError, Text
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import anyone, staff, staff_only
from ehc.web.openapi import operation
from ehc.web.problems import HttpProblem

STATUSES: dict[type[EhcError], int] = {
    log_ins.LogInRefused: 401,
    log_ins.ProofRefused: 403,
    tries.TooManyTries: 429,
    second_factors.LastFactor: 409,
    second_factors.NoSuchFactor: 404,
    passkeys.PasskeyRefused: 409,
    passkeys.TooManyPasskeys: 409,
    own_account.WrongCode: 409,
    acts.NoSuchStaff: 404,
    acts.OwnAccount: 403,
    acts.LastOfTheirRole: 409,
    staff_accounts.LoginTaken: 409,
    staff_accounts.StaffState: 409,
    staff_accounts.StaffChanged: 412,
    staff_accounts.AdministratorExists: 409,
    staff_roles.NoSuchGrant: 404,
    staff_roles.GrantOpen: 409,
    staff_roles.TwoPeople: 403,
    staff_roles.GrantOutdated: 409,
    staff_roles.NotSetUp: 409,
    staff_roles.WrongConfirmation: 409,
}
LOG_INS = Counter("ehc_staff_log_ins", "Log-ins of the staff, by outcome.", ["outcome"])

_LOG_IN, _PROOF = StaffLogInIn(), StaffProofIn()


def staff_login_blueprint(deps: StaffDeps) -> Blueprint:
    """Log-in, for whoever knows how."""
    bp = Blueprint("staff_login", __name__, url_prefix="/v1/admin/sessions")
    bp.before_request(anyone)

    @bp.post("")
    @operation(
        "Log in as staff",
        body=StaffLogInIn,
        answers={201: StaffOpenedOut, 200: StaffSecondFactorOut},
        problems=(401, 429),
    )
    def post_session() -> Response:
        """200 where the password is right and a second factor is still to be shown: send the same again with one."""
        wanted = parsing.body(_LOG_IN)
        try:
            found = log_ins.log_in(
                deps.desk, wanted["login"], shown_of(wanted), device=wanted.get("device"), source=deps.source()
            )
        except EhcError as error:
            LOG_INS.labels(error.code).inc()
            raise
        LOG_INS.labels("asked" if isinstance(found, Asked) else "opened").inc()
        return _asked(found) if isinstance(found, Asked) else _opened(found)

    return bp


def staff_proof_blueprint(deps: StaffDeps) -> Blueprint:
    """Proving again, in a session, who one is."""
    bp = Blueprint("staff_proof", __name__, url_prefix="/v1/admin/sessions/current")
    bp.before_request(staff_only(deps.admin.authenticate_staff))

    @bp.post("/challenge")
    @operation(
        "A challenge for the authenticator, for a proof", answers={200: StaffChallengeOut}, staff=True, problems=(404,)
    )
    def post_challenge() -> Response:
        """For `proof`, with `webauthn`. Good for five minutes, once."""
        with deps.desk.work() as session:
            person = acts.locked(session, staff().id)
            told = passkeys.ask(session, person, passkeys.PROVE, site=deps.desk.site, now=deps.desk.clock.now())
        if told is None:
            raise second_factors.no_such_factor()
        return Answer(told).response()

    @bp.post("/proof")
    @operation("Prove again who you are", body=StaffProofIn, answers={200: FreshOut}, staff=True, problems=(429,))
    def post_proof() -> Response:
        """Dangerous acts are possible for five minutes from now. Five wrong ones end the session."""
        wanted = parsing.body(_PROOF)
        if not log_ins.prove(deps.desk, staff(), shown_of(wanted), source=deps.source()):
            raise HttpProblem(
                403,
                "second-factor-missing",
                Text("请同时提交第二因素（totp 或 webauthn）。", "Send a second factor with it: totp or webauthn."),
            )
        return Answer({"fresh_seconds": int(sessions.FRESH.total_seconds())}).response()

    return bp


def _asked(found: Asked) -> Response:
    return Answer({"second_factor": found.kinds, "webauthn": found.webauthn}).response()


def _opened(found: Opened) -> Response:
    return Answer(
        {
            "token": found.token,
            "idle_seconds": int(sessions.IDLE.total_seconds()),
            "longest_seconds": int(sessions.LONGEST.total_seconds()),
            "staff_id": str(found.staff_id),
            "limited": found.limited,
            "device": found.device,
            "recovery_codes_left": found.recovery_codes_left,
        },
        201,
    ).response()
