"""The shapes of the verifier's requests and answers."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ehc.cards.states import Level
from ehc.core.tables import CHANNELS, MEDICAL_STEPS, channel, medical_step
from ehc.errors import Text
from ehc.verify.history import Entry
from ehc.verify.journal import Settled
from ehc.verify.reasons import ADVICE, Reason
from ehc.verify.service import Presentation
from ehc.web.answers import instant
from ehc.web.fields import choice, text, token

MAX_CODE = 8192
"""Longest text that a scanner may send; anything else that was read is answered, not refused as a request."""

_ACCEPTED = Text("验证通过。", "Accepted.")
_STEPS = [name for step in MEDICAL_STEPS for name in (step.word, *step.codes)]
_CHANNELS = [name for way in CHANNELS for name in (way.word, *way.codes)]


class ScanIn(Schema):
    """A code as read by a scanner, and where and for what it was read."""

    code = fields.String(
        required=True, validate=validate.Length(1, MAX_CODE, error="length"), metadata={"description": "As read."}
    )
    step = choice(_STEPS, required=True, about="Medical step (诊疗环节): its word or its 6-digit code.")
    channel = choice(_CHANNELS, about="Channel (用卡渠道): its word or its code.")
    department = text(1, 32, about="Department (科室): standard code or name.")
    operator = text(1, 64, about="Staff number or name of the operator. Kept sealed.")
    request_id = token(64, about="The caller's own id of this request; kept with the record.")


class CheckedCardOut(Schema):
    """The card that was accepted."""

    card_id = fields.UUID(required=True)
    status = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf(list(Level)))


class CheckedResidentOut(Schema):
    """What is disclosed by default."""

    name = fields.String(required=True, metadata={"description": "Masked."})
    sex = fields.String(required=True, allow_none=True)
    age = fields.Integer(required=True, allow_none=True)


class ScanOut(Schema):
    """The answer to a scan. A refused code is an answer, not an error."""

    verification_id = fields.UUID(required=True)
    outcome = fields.String(required=True, validate=validate.OneOf(["accepted", "rejected"]))
    reason = fields.String(required=True, allow_none=True, metadata={"enum": [*Reason, None]})
    message = fields.String(required=True, metadata={"description": "What to do, in the caller's language."})
    verified_at = fields.AwareDateTime(required=True)
    card = fields.Nested(CheckedCardOut)
    resident = fields.Nested(CheckedResidentOut)


class EntryOut(Schema):
    """One check of a card, as its holder may read it."""

    verification_id = fields.UUID(required=True)
    verified_at = fields.AwareDateTime(required=True)
    outcome = fields.String(required=True, validate=validate.OneOf(["accepted", "rejected"]))
    reason = fields.String(required=True, allow_none=True)
    institution = fields.String(required=True, allow_none=True)
    step = fields.String(required=True)
    channel = fields.String(required=True, allow_none=True)
    department = fields.String(required=True, allow_none=True)
    disclosed = fields.List(fields.String(), required=True, metadata={"description": "The fields that were told."})


class HistoryOut(Schema):
    """A page of checks, newest first."""

    items = fields.List(fields.Nested(EntryOut), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Cursor of the next page."})


def presentation(wanted: Mapping[str, Any]) -> Presentation:
    """A loaded `ScanIn` as the service takes it."""
    way = wanted.get("channel")
    return Presentation(
        text=wanted["code"],
        step=medical_step(wanted["step"]) or "other",
        channel=way and channel(way),
        department=wanted.get("department"),
        operator=wanted.get("operator"),
        request_id=wanted.get("request_id"),
    )


def scan_out(settled: Settled, person: Mapping[str, Any] | None, *, english: bool) -> dict[str, Any]:
    """The answer to a scan; `person` is what may be disclosed."""
    advice = ADVICE[settled.reason] if settled.reason else _ACCEPTED
    out: dict[str, Any] = {
        "verification_id": str(settled.id),
        "outcome": "rejected" if settled.reason else "accepted",
        "reason": settled.reason,
        "message": advice.en if english else advice.zh,
        "verified_at": instant(settled.at),
    }
    if settled.reason is None:
        out["card"] = {"card_id": str(settled.card_id), "status": "active", "level": settled.level}
        out["resident"] = person
    return out


def history_out(entries: list[Entry], names: Mapping[UUID, str], following: str | None) -> dict[str, Any]:
    """A page of a card's checks."""
    items = [
        {
            "verification_id": str(entry.id),
            "verified_at": instant(entry.verified_at),
            "outcome": "rejected" if entry.reason else "accepted",
            "reason": entry.reason,
            "institution": names.get(entry.institution_id) if entry.institution_id else None,
            "step": entry.step,
            "channel": entry.channel,
            "department": entry.department,
            "disclosed": entry.disclosed,
        }
        for entry in entries
    ]
    return {"items": items, "next": following}
