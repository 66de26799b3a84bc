"""Shapes of log-in, and of one's own account."""

from typing import Any

from marshmallow import Schema, fields, validate

from ehc.access import passwords
from ehc.access.passkeys import Answered
from ehc.access.second_factors import Shown
from ehc.web.fields import choice, text

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
