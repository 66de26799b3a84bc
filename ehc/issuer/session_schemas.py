"""The shapes of residents' sessions."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc.issuer.log_ins import Standing
from ehc.outside.platforms import Platform
from ehc.sessions import tokens
from ehc.web.answers import instant
from ehc.web.fields import choice, text

_CODE = r"[A-Za-z0-9_-]{1,256}\Z"
_SMS_CODE = r"[0-9]{6}\Z"


class AddressField(fields.String):
    """An IPv4 or IPv6 address."""

    def _deserialize(self, value: object, attr: str | None, data: Any, **kwargs: Any) -> str:
        try:
            return str(ip_address(str(value)[:50]))
        except ValueError:
            raise ValidationError("choice") from None


class LogInIn(Schema):
    """A log-in. `code` is what `wx.login` or `my.getAuthCode` gave, or for `sms` the six digits of `proof_id`."""

    platform = choice(list(Platform), required=True, about="Where the code comes from.")
    code = fields.String(
        required=True,
        validate=validate.Regexp(_CODE, error="characters"),
        metadata={"description": "The code, once. ASCII letters, digits, `_` and `-`."},
    )
    proof_id = fields.UUID(metadata={"description": "For `sms`, and only there: from POST /v1/phone-proofs."})
    client_address = AddressField(
        metadata={"description": "The phone's address, as your back end sees it. Wrong codes are counted by it too."}
    )

    @validates_schema
    def _one_way(self, data: Mapping[str, Any], **_: Any) -> None:
        if data["platform"] == Platform.SMS and "proof_id" not in data:
            raise ValidationError("Missing data for required field.", "proof_id")
        if data["platform"] != Platform.SMS and "proof_id" in data:
            raise ValidationError("Unknown field.", "proof_id")


class SessionLinkIn(Schema):
    """Who the resident is: all three are looked at together."""

    name = text(1, 128, required=True, about="As on the document.")
    id_type = text(1, 3, required=True, about="Document type, CV02.01.101.")
    id_number = text(1, 64, required=True, about="As on the document.")
    phone_proof = fields.UUID(
        required=True,
        metadata={"description": "A confirmed proof of the registered phone; that of a log-in by `sms` will do."},
    )


class SessionOut(Schema):
    """A session of a resident."""

    session_id = fields.UUID(required=True)
    identity_id = fields.UUID(
        required=True, metadata={"description": "The same at each log-in of this person by this platform in this app."}
    )
    platform = fields.String(required=True, validate=validate.OneOf(list(Platform)))
    linked = fields.Boolean(required=True, metadata={"description": "Whether it leads to a person, so to a card."})
    card_id = fields.UUID(required=True, allow_none=True, metadata={"description": "The person's own card."})
    created_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(required=True, metadata={"description": "When it ends whatever happens."})
    idle_until = fields.AwareDateTime(required=True, metadata={"description": "When it ends if it is not used."})


class NewSessionOut(SessionOut):
    """A session that was just opened."""

    token = fields.String(required=True, metadata={"description": "Bearer token. Not kept: told once."})


def session_out(found: Standing) -> dict[str, Any]:
    """A `SessionOut`."""
    row, card = found.row, found.card
    return {
        "session_id": str(row.id),
        "identity_id": str(found.identity.id),
        "platform": found.identity.platform,
        "linked": card is not None,
        "card_id": str(card.id) if card is not None else None,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.created_at + tokens.LONGEST),
        "idle_until": instant(tokens.ends_at(row)),
    }
