"""Shapes of log-in, of one's own account and of the accounts of the staff."""

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ehc.access import passwords
from ehc.access.passkeys import Answered
from ehc.access.second_factors import Shown
from ehc.access.staff_login_models import StaffGrantRow
from ehc.access.staff_models import StaffRow
from ehc.access.staff_session_api import BranchOut
from ehc.callers import Branch, Role
from ehc.web.answers import instant
from ehc.web.fields import choice, text
from ehc.web.paging import DEFAULT_LIMIT, MAX_LIMIT, LimitField

REASONS = ("left", "moved", "misuse", "credentials-lost", "no-longer-needed", "other")
"""Why something is taken from somebody. Free text would put names into the audit log."""

_WEBAUTHN_NAMES = {
    "client_data": "clientDataJSON",
    "authenticator_data": "authenticatorData",
    "attestation_object": "attestationObject",
    "signature": "signature",
    "user_handle": "userHandle",
}
_ENCODED = validate.Regexp(r"[A-Za-z0-9_-]*={0,2}\Z", error="characters")


def _encoded(most: int, *, required: bool = False, key: str | None = None) -> fields.String:
    bounds = [validate.Length(0, most, error="length"), _ENCODED]
    return fields.String(required=required, data_key=key, validate=bounds, metadata={"description": "base64url."})


def _password(**more: Any) -> fields.String:
    length = validate.Length(1, 4 * passwords.LONGEST, error="length")
    return fields.String(
        required=True, validate=length, metadata={"description": "As typed.", "format": "password"}, **more
    )


def _totp(*, required: bool = False) -> fields.String:
    six = validate.Regexp(r"[0-9]{6}\Z", error="characters")
    return fields.String(required=required, validate=six, metadata={"description": "Six digits of the app."})


class CredentialResponseIn(Schema):
    """What the authenticator made, in base64url."""

    client_data = _encoded(4096, required=True, key="clientDataJSON")
    authenticator_data = _encoded(4096, key="authenticatorData")
    attestation_object = _encoded(32768, key="attestationObject")
    signature = _encoded(2048)
    user_handle = fields.String(
        data_key="userHandle", allow_none=True, validate=[validate.Length(0, 128, error="length"), _ENCODED]
    )
    public_key = fields.String(data_key="publicKey", allow_none=True, validate=validate.Length(0, 4096, error="length"))
    public_key_algorithm = fields.Integer(data_key="publicKeyAlgorithm", strict=True)
    transports = fields.List(text(1, 40, about="A transport."), validate=validate.Length(0, 10, error="length"))


class CredentialIn(Schema):
    """What `PublicKeyCredential.toJSON()` gives (WebAuthn level 3)."""

    id = _encoded(1400, required=True)
    raw_id = _encoded(1400, required=True, key="rawId")
    type = choice(["public-key"], required=True, about="Always public-key.")
    authenticator_attachment = fields.String(
        data_key="authenticatorAttachment", allow_none=True, validate=validate.Length(0, 40, error="length")
    )
    client_extension_results = fields.Dict(data_key="clientExtensionResults", keys=fields.String())
    response = fields.Nested(CredentialResponseIn, required=True)


class PasskeyIn(Schema):
    """An authenticator's answer, and to which challenge."""

    challenge_id = fields.UUID(required=True)
    credential = fields.Nested(CredentialIn, required=True)


class StaffProofIn(Schema):
    """The password, and a second factor unless the account has none yet."""

    password = _password()
    totp = _totp()
    webauthn = fields.Nested(PasskeyIn)


class StaffLogInIn(StaffProofIn):
    """A log-in. `device` is the token that an earlier log-in on this device gave, or that an unlock gave."""

    login = text(1, 200, required=True, about="The login.")
    recovery_code = text(1, 40, about="One of the ten, instead of a second factor that is lost.")
    device = text(1, 100, about="Makes this device one that strangers cannot lock out.")


class StaffSecondFactorOut(Schema):
    """The password is right; send the same again with a second factor."""

    second_factor = fields.List(fields.String(), required=True)
    webauthn = fields.Dict(
        required=True, allow_none=True, metadata={"description": "`challenge_id`, and `options` for the browser."}
    )


class StaffOpenedOut(Schema):
    """A session. `token` and `device` are told once."""

    token = fields.String(required=True)
    idle_seconds = fields.Integer(required=True)
    longest_seconds = fields.Integer(required=True)
    staff_id = fields.UUID(required=True)
    limited = fields.Boolean(
        required=True, metadata={"description": "The account has still to be set up: /v1/admin/me."}
    )
    device = fields.String(required=True, allow_none=True, metadata={"description": "For the next log-in here."})
    recovery_codes_left = fields.Integer(required=True)


class FreshOut(Schema):
    """How long dangerous acts are possible now."""

    fresh_seconds = fields.Integer(required=True)


class StaffPasswordIn(Schema):
    """A change of one's own password."""

    password = _password()
    new_password = _password()


class TotpIn(Schema):
    """A code of the secret that is being set up."""

    totp = _totp(required=True)


class TotpOut(Schema):
    """A new secret, told once."""

    secret = fields.String(required=True, metadata={"description": "Base32."})
    uri = fields.String(required=True, metadata={"description": "What an authenticator app reads as a QR code."})


class RecoveryCodesOut(Schema):
    """Recovery codes, told once; none where a second factor was there already."""

    recovery_codes = fields.List(fields.String(), required=True)


class StaffChallengeOut(Schema):
    """A challenge, and what the browser is to be given."""

    challenge_id = fields.UUID(required=True)
    options = fields.Dict(required=True)


class NewPasskeyIn(PasskeyIn):
    """An authenticator to be added."""

    label = text(1, 40, required=True, about="What its owner calls it.")


class PasskeyOut(Schema):
    """An authenticator."""

    passkey_id = fields.UUID(required=True)
    label = fields.String(required=True)
    created_at = fields.String(required=True)


class NewPasskeyOut(PasskeyOut):
    """One that was added; with recovery codes where it is the first second factor."""

    recovery_codes = fields.List(fields.String(), required=True)


class StaffMeOut(Schema):
    """One's own account. `confirmation` is for the security administrator who grants roles, and for nobody else."""

    staff_id = fields.UUID(required=True)
    login = fields.String(required=True)
    name = fields.String(required=True)
    limited = fields.Boolean(required=True)
    second_factor = fields.List(fields.String(), required=True)
    passkeys = fields.List(fields.Nested(PasskeyOut), required=True)
    recovery_codes_left = fields.Integer(required=True)
    confirmation = fields.String(required=True, allow_none=True)


class StaffIn(Schema):
    """A new account."""

    login = text(3, 40, required=True, about="A small letter, then small letters, digits or ._-")
    name = text(1, 60, required=True, about="The person's name.")


class StaffNameIn(Schema):
    """A name to correct."""

    name = text(1, 60, required=True, about="The person's name.")


class StaffReasonIn(Schema):
    """Why."""

    reason = choice(REASONS, required=True, about="Why.")


class StaffResetIn(Schema):
    """What is to be made new."""

    password = fields.Boolean(load_default=False, metadata={"description": "A new first password, told once."})
    second_factor = fields.Boolean(
        load_default=False, metadata={"description": "Take TOTP, authenticators, codes away."}
    )


class StaffBranchIn(Schema):
    """A part of the tree of institutions; neither for the three administrators."""

    region = fields.String(validate=validate.Regexp(r"[0-9]{6}\Z", error="characters"))
    institution_id = fields.UUID()


class StaffRolesIn(Schema):
    """Roles to propose."""

    roles = fields.List(
        choice([str(role) for role in Role], about="A role."),
        required=True,
        validate=validate.Length(1, len(Role), error="length"),
    )
    branch = fields.Nested(StaffBranchIn, load_default=dict)


class StaffConfirmationIn(Schema):
    """What the person whom the roles are for says, face to face."""

    confirmation = text(1, 20, required=True, about="The code that their own account shows them.")


class RoleGrantOut(Schema):
    """Roles that wait for a security administrator."""

    grant_id = fields.UUID(required=True)
    roles = fields.List(fields.String(), required=True)
    branch = fields.Nested(BranchOut, required=True)
    proposed_by = fields.UUID(required=True, allow_none=True, metadata={"description": "Null: at the command line."})
    proposed_at = fields.String(required=True)


class StaffOut(Schema):
    """An account of the staff."""

    staff_id = fields.UUID(required=True)
    login = fields.String(required=True)
    name = fields.String(required=True)
    state = fields.String(required=True, metadata={"enum": ["live", "disabled"]})
    roles = fields.List(fields.String(), required=True)
    branch = fields.Nested(BranchOut, required=True)
    proposed = fields.Nested(RoleGrantOut, required=True, allow_none=True)
    limited = fields.Boolean(required=True)
    created_at = fields.String(required=True)


class NewStaffOut(StaffOut):
    """A new account, with the password to hand over, told once."""

    initial_password = fields.String(required=True)


class StaffResetOut(StaffOut):
    """An account that was reset; with the password to hand over, told once, if one was made."""

    initial_password = fields.String(required=True, allow_none=True)


class StaffUnlockOut(Schema):
    """A device token to hand over, good for one log-in within half an hour whatever strangers do."""

    device = fields.String(required=True)


class StaffListOut(Schema):
    """A page of accounts."""

    items = fields.List(fields.Nested(StaffOut), required=True)
    next = fields.String(required=True, allow_none=True)


class AuditQuery(Schema):
    """What to look for in the audit log: `since` and `until` bound the time, the last 31 days unless said."""

    actor = text(1, 80, about="Who: `staff:ID`, `client:ID`, `operator`, `nobody`.")
    subject = text(1, 80, about="On whom or what.")
    action = text(1, 80, about="For example `staff.logged-in`; `staff.*` for all that begin so.")
    source = text(1, 45, about="An address: what came from there.")
    since = fields.AwareDateTime(metadata={"description": "From this time on."})
    until = fields.AwareDateTime(metadata={"description": "Up to, not including, this time."})
    limit = LimitField(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT, error="range"),
        metadata={"description": "Rows in a page."},
    )
    cursor = fields.String(
        load_default=None,
        validate=[validate.Length(1, 200, error="length"), validate.Regexp(r"[A-Za-z0-9_=-]+\Z", error="cursor")],
        metadata={"description": "`next` of the page before."},
    )


class AuditActOut(Schema):
    """One act, as the log holds it."""

    chain = fields.Integer(required=True)
    seq = fields.Integer(required=True)
    at = fields.String(required=True)
    actor = fields.String(required=True)
    action = fields.String(required=True)
    subject = fields.String(required=True)
    facts = fields.Dict(required=True)
    hash = fields.String(required=True)


class AuditPageOut(Schema):
    """A page of the audit log, the newest first."""

    items = fields.List(fields.Nested(AuditActOut), required=True)
    next = fields.String(required=True, allow_none=True)


def shown_of(wanted: dict[str, Any]) -> Shown:
    """What a request shows."""
    passkey = answered_of(wanted["webauthn"]) if "webauthn" in wanted else None
    return Shown(wanted["password"], wanted.get("totp"), wanted.get("recovery_code"), passkey)


def answered_of(wanted: dict[str, Any]) -> Answered:
    """An authenticator's answer, under the names that WebAuthn gives its members."""
    held = wanted["credential"]
    response = {_WEBAUTHN_NAMES[name]: held["response"][name] for name in _WEBAUTHN_NAMES if name in held["response"]}
    return Answered(
        wanted["challenge_id"], {"id": held["id"], "rawId": held["raw_id"], "type": held["type"], "response": response}
    )


def branch_of(wanted: dict[str, Any]) -> Branch:
    """The branch in a request."""
    return Branch(wanted.get("region"), wanted.get("institution_id"))


def grant_out(row: StaffGrantRow) -> dict[str, Any]:
    """A proposal as JSON."""
    return {
        "grant_id": str(row.id),
        "roles": list(row.roles),
        "branch": {"region": row.region, "institution_id": _text(row.institution_id)},
        "proposed_by": _text(row.proposed_by),
        "proposed_at": instant(row.proposed_at),
    }


def staff_out(row: StaffRow, proposed: StaffGrantRow | None, name: str) -> dict[str, Any]:
    """An account as JSON."""
    return {
        "staff_id": str(row.id),
        "login": row.login,
        "name": name,
        "state": "disabled" if row.disabled_at else "live",
        "roles": list(row.roles),
        "branch": {"region": row.region, "institution_id": _text(row.institution_id)},
        "proposed": grant_out(proposed) if proposed else None,
        "limited": row.limited,
        "created_at": instant(row.created_at),
    }


def _text(found: UUID | None) -> str | None:
    return str(found) if found is not None else None
