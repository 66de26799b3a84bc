"""`/v1/admin/me`: one's own account. What a new account has to do first is all here, so limited sessions are let in."""

from uuid import UUID

from flask import Blueprint, Response

from ehc.access import own_account, passkeys, second_factors, staff_acts, staff_roles, totp
from ehc.access.staff_accounts import name_of
from ehc.access.staff_deps import StaffDeps
from ehc.access.staff_login_models import StaffPasskeyRow
from ehc.access.staff_login_schemas import (
    NewPasskeyIn,
    NewPasskeyOut,
    RecoveryCodesOut,
    StaffChallengeOut,
    StaffMeOut,
    StaffPasswordIn,
    TotpIn,
    TotpOut,
    answered_of,
)
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import fresh_staff, staff, staff_only
from ehc.web.openapi import operation

_PASSWORD, _TOTP, _PASSKEY = StaffPasswordIn(), TotpIn(), NewPasskeyIn()


def staff_me_blueprint(deps: StaffDeps) -> Blueprint:
    """One's own account, for anybody of the staff."""
    bp = Blueprint("staff_me", __name__, url_prefix="/v1/admin/me")
    bp.before_request(staff_only(deps.admin.authenticate_staff))
    _add_account(bp, deps)
    _add_totp(bp, deps)
    _add_passkeys(bp, deps)
    return bp


def _add_account(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.get("")
    @operation("One's own account", answers={200: StaffMeOut}, staff=True, problems=(404,))
    def get_me() -> Response:
        """`confirmation` is what to tell the security administrator who grants roles, face to face."""
        with deps.desk.work() as session:
            row, secrets = staff_acts.found(session, staff().id), deps.desk.secrets()
            body = {
                "staff_id": str(row.id),
                "login": row.login,
                "name": name_of(row, secrets.sealer),
                "limited": row.limited,
                "second_factor": second_factors.kinds(session, row.id),
                "passkeys": [_passkey(held) for held in own_account.passkeys_of(session, row.id)],
                "recovery_codes_left": second_factors.recovery_codes_left(session, row.id),
                "confirmation": staff_roles.confirmation(secrets.blind_index, row),
            }
        return Answer(body).response()

    @bp.post("/password")
    @operation("Change one's own password", body=StaffPasswordIn, answers={204: None}, staff=True, problems=(404, 429))
    def post_password() -> Response:
        """12 to 128 characters of any kind. Every other session ends."""
        wanted, who = parsing.body(_PASSWORD), staff()
        with deps.desk.work() as session:
            login = staff_acts.found(session, who.id).login
        own_account.change_password(
            deps.desk,
            who,
            wanted["password"],
            wanted["new_password"],
            login=login,
            source=deps.source(),
            by=deps.by(),
        )
        return Response(status=204)

    @bp.post("/recovery-codes")
    @operation("New recovery codes", answers={201: RecoveryCodesOut}, staff=True, problems=(404,))
    def post_recovery_codes() -> Response:
        """Told once; the old ones stop."""
        who = fresh_staff()
        with deps.desk.work() as session:
            codes = own_account.new_recovery_codes(
                session, who, blind_index=deps.desk.secrets().blind_index, by=deps.by(), now=deps.desk.clock.now()
            )
        return Answer({"recovery_codes": codes}, 201).response()


def _add_totp(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.post("/totp")
    @operation("Begin to set up an authenticator app", answers={201: TotpOut}, staff=True, problems=(404,))
    def post_totp() -> Response:
        """It counts, in the place of the one before, once `confirm` was given a code of it."""
        who = fresh_staff()
        with deps.desk.work() as session:
            secret, login = own_account.begin_totp(
                session, who, secrets=deps.desk.secrets(), by=deps.by(), now=deps.desk.clock.now()
            )
        uri = totp.uri(secret, login=login, issuer=deps.desk.site.name)
        return Answer({"secret": secret, "uri": uri}, 201).response()

    @bp.post("/totp/confirm")
    @operation(
        "Let the authenticator app count", body=TotpIn, answers={200: RecoveryCodesOut}, staff=True, problems=(404, 409)
    )
    def post_totp_confirm() -> Response:
        """Answers with ten recovery codes where this is the first second factor. Keep them on paper."""
        who, wanted = fresh_staff(), parsing.body(_TOTP)
        with deps.desk.work() as session:
            codes = own_account.confirm_totp(
                session, who, wanted["totp"], secrets=deps.desk.secrets(), by=deps.by(), now=deps.desk.clock.now()
            )
        return Answer({"recovery_codes": codes}).response()

    @bp.delete("/totp")
    @operation("Take the authenticator app away", answers={204: None}, staff=True, problems=(404, 409))
    def delete_totp() -> Response:
        """Not the last second factor."""
        who = fresh_staff()
        with deps.desk.work() as session:
            own_account.remove_totp(session, who, by=deps.by(), now=deps.desk.clock.now())
        return Response(status=204)


def _add_passkeys(bp: Blueprint, deps: StaffDeps) -> None:
    @bp.post("/webauthn")
    @operation("Begin to add an authenticator", answers={200: StaffChallengeOut}, staff=True, problems=(404, 409))
    def post_webauthn() -> Response:
        """Give `options` to `navigator.credentials.create`, and its answer to `confirm`, within five minutes."""
        who = fresh_staff()
        with deps.desk.work() as session:
            told = own_account.begin_passkey(session, deps.desk, who)
        return Answer(told).response()

    @bp.post("/webauthn/confirm")
    @operation("Add an authenticator", body=NewPasskeyIn, answers={201: NewPasskeyOut}, staff=True, problems=(404, 409))
    def post_webauthn_confirm() -> Response:
        """Answers with ten recovery codes where this is the first second factor."""
        who, wanted = fresh_staff(), parsing.body(_PASSKEY)
        with deps.desk.work() as session:
            made = own_account.confirm_passkey(
                session, deps.desk, who, answered_of(wanted), wanted["label"], by=deps.by()
            )
        if made is None:
            raise passkeys.refused()
        row, codes = made
        return Answer(_passkey(row) | {"recovery_codes": codes}, 201).response()

    @bp.delete("/webauthn/<uuid:passkey_id>")
    @operation("Take an authenticator away", answers={204: None}, staff=True, problems=(404, 409))
    def delete_webauthn(passkey_id: UUID) -> Response:
        """Not the last second factor."""
        who = fresh_staff()
        with deps.desk.work() as session:
            own_account.remove_passkey(session, who, passkey_id, by=deps.by(), now=deps.desk.clock.now())
        return Response(status=204)


def _passkey(row: StaffPasskeyRow) -> dict[str, object]:
    return {"passkey_id": str(row.id), "label": row.label, "created_at": instant(row.created_at)}
