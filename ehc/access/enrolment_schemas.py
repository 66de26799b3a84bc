"""The shapes of requests and answers about enrolling terminals."""

from base64 import b64encode
from datetime import datetime
from typing import Any

from marshmallow import Schema, fields

from ehc.access import enrolments
from ehc.access.enrolments import Plan
from ehc.access.terminal_models import EnrolmentRow
from ehc.access.terminal_schemas import DEPARTMENT_ABOUT, KIND_ABOUT, SelfOut, matching, ordered, steps_field
from ehc.access.terminals import Kind
from ehc.codes.images import DEFAULT_SIZE, MAX_SIZE, MIN_SIZE, Picture
from ehc.web.answers import instant
from ehc.web.fields import choice, text, token, whole


class _PictureIn(Schema):
    image = choice(["svg", "png"], about="Draw the code as a QR symbol.")
    size = whole(
        MIN_SIZE, MAX_SIZE, load_default=DEFAULT_SIZE, about="Edge of the picture in pixels, quiet zone included."
    )


class EnrolmentIn(_PictureIn):
    """A terminal that is to be enrolled."""

    institution_id = fields.UUID(required=True)
    terminal_code = matching(r"[A-Za-z0-9._-]{1,40}", about="Your own code for it (终端编号): unique on the platform.")
    name = text(1, 100, required=True, about="What people call it.")
    kind = choice(list(Kind), required=True, about=KIND_ABOUT)
    department = text(1, 32, about=DEPARTMENT_ABOUT)
    steps = steps_field()


class ReplaceIn(_PictureIn):
    """How to answer with the code of the terminal that takes the place."""


class JwkIn(Schema):
    """The terminal's public key: P-256."""

    kty = choice(["EC"], required=True, about="EC.")
    crv = choice(["P-256"], required=True, about="P-256.")
    x = matching("[A-Za-z0-9_-]{43}", about="32 bytes in base64url.")
    y = matching("[A-Za-z0-9_-]{43}", about="32 bytes in base64url.")
    kid = token(100, about="What you call it. Its RFC 7638 thumbprint counts too.")
    alg = choice(["ES256"], about="ES256.")
    use = choice(["sig"], about="sig.")


class EnrolIn(Schema):
    """What a terminal enrols itself with."""

    code = text(
        1, 40, required=True, about="The one-time code as it was typed or read; capitals and hyphens do not matter."
    )
    jwk = fields.Nested(JwkIn, required=True)
    proof = text(
        1,
        2048,
        required=True,
        about="A compact JWS with ES256 by that key: header typ ehc-enrolment+jwt, payload {aud: the issuer, challenge: "
        "base64url of SHA-256 of `code`}.",
    )


class EnrolledOut(SelfOut):
    """A terminal that was enrolled, and what its assertions say as `aud`."""

    issuer = fields.String(required=True)
    token_endpoint = fields.String(required=True)


class QrOut(Schema):
    """A drawn symbol."""

    media_type = fields.String(required=True)
    data = fields.String(required=True, metadata={"description": "Base64."})


class EnrolmentOut(Schema):
    """An enrolment, without its code."""

    enrolment_id = fields.UUID(required=True)
    state = fields.String(required=True, metadata={"description": "waiting, used, expired, tried-out or cancelled."})
    institution_id = fields.UUID(required=True)
    terminal_code = fields.String(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True)
    department = fields.String(required=True, allow_none=True)
    steps = fields.List(fields.String(), required=True, allow_none=True)
    replaces = fields.UUID(required=True, allow_none=True)
    tries = fields.Integer(required=True)
    created_at = fields.AwareDateTime(required=True)
    expires_at = fields.AwareDateTime(required=True)
    used_at = fields.AwareDateTime(required=True, allow_none=True)
    terminal_id = fields.UUID(required=True, allow_none=True)


class NewEnrolmentOut(EnrolmentOut):
    """An enrolment with its code, told this once."""

    code = fields.String(required=True)
    qr_text = fields.String(required=True)
    qr = fields.Nested(QrOut)


class EnrolmentsOut(Schema):
    """A page of enrolments, newest first."""

    items = fields.List(fields.Nested(EnrolmentOut), required=True)
    next = fields.String(required=True, allow_none=True)


def plan_of(wanted: dict[str, Any]) -> Plan:
    """What a terminal will be, of a loaded request."""
    return Plan(
        wanted["institution_id"],
        wanted["terminal_code"],
        wanted["name"],
        wanted["kind"],
        wanted.get("department"),
        ordered(wanted.get("steps")),
    )


def enrolment_out(row: EnrolmentRow, *, now: datetime) -> dict[str, Any]:
    """An enrolment, without its code."""
    return {
        "enrolment_id": str(row.id),
        "state": enrolments.state_of(row, now=now),
        "institution_id": str(row.institution_id),
        "terminal_code": row.terminal_code,
        "name": row.name,
        "kind": row.kind,
        "department": row.department,
        "steps": row.steps,
        "replaces": str(row.replaces) if row.replaces else None,
        "tries": row.tries,
        "created_at": instant(row.created_at),
        "expires_at": instant(row.expires_at),
        "used_at": instant(row.used_at) if row.used_at else None,
        "terminal_id": str(row.client_id) if row.client_id else None,
    }


def picture_out(picture: Picture) -> dict[str, str]:
    """A drawn symbol."""
    return {"media_type": picture.media_type, "data": b64encode(picture.data).decode()}
