"""The shapes of the verifier's requests and answers."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import UUID

from marshmallow import Schema, ValidationError, fields, validate, validates_schema

from ehc.cards.states import Kind, Level
from ehc.core.plastic_kinds import plastic_kinds
from ehc.core.tables import CHANNELS, MEDICAL_STEPS, channel, medical_step
from ehc.errors import Text
from ehc.verify.history import Entry
from ehc.verify.reasons import ADVICE, PLASTIC_ADVICE, PRINT_ADVICE, TEMPORARY_ADVICE, Reason
from ehc.verify.scans import Assurance, Factor, Holder, Settled, StandingKind
from ehc.verify.service import Presentation
from ehc.web.answers import instant
from ehc.web.fields import choice, text, token

MAX_CODE = 8192
"""Longest text that a scanner may send; anything else that was read is answered, not refused as a request."""

_ACCEPTED = Text("验证通过。", "Accepted.")
_STEPS = [name for step in MEDICAL_STEPS for name in (step.word, *step.codes)]
_NO_CLERK = frozenset({"kiosk", "gate", "mobile", "service-account", "mini-program"})
"""Channels at which no clerk stands who could compare anybody with a document."""
_CHANNELS = [name for way in CHANNELS for name in (way.word, *way.codes)]


class SecondFactorIn(Schema):
    """Exactly one of the two."""

    phone_last4 = fields.String(
        validate=[validate.Length(4, 4, error="length"), validate.Regexp(r"[0-9]{4}\Z", error="characters")],
        metadata={"description": "The last 4 digits of the holder's phone, as the holder says them."},
    )
    document_seen = fields.Boolean(
        truthy={True},
        falsy={False},
        validate=validate.Equal(True, error="choice"),
        metadata={
            "description": "The operator, who must be named, saw the holder's identity document. Not from a channel "
            "without a clerk: kiosk, gate, mobile, service-account, mini-program."
        },
    )

    @validates_schema
    def _one(self, given: Mapping[str, Any], **_: object) -> None:
        if len(given) != 1:
            raise ValidationError("choice")


class ScanIn(Schema):
    """A code as read by a scanner, and where and for what it was read."""

    code = fields.String(
        validate=validate.Length(1, MAX_CODE, error="length"),
        metadata={"description": "As read. Either this, or `card_number` and `kind`."},
    )
    card_number = text(1, 64, about="The number of a plastic card (实体卡), as the reader returns it.")
    kind = choice(list(plastic_kinds()), about="The kind of that plastic card.")
    step = choice(_STEPS, required=True, about="Medical step (诊疗环节): its word or its 6-digit code.")
    channel = choice(_CHANNELS, about="Channel (用卡渠道): its word or its code.")
    department = text(1, 32, about="Department (科室): standard code or name.")
    operator = text(1, 64, about="Staff number or name of the operator. Kept sealed.")
    request_id = token(64, about="The caller's own id of this request; kept with the record.")
    second_factor = fields.Nested(
        SecondFactorIn,
        metadata={
            "description": "For static codes and plastic cards; with any other it says nothing and is not looked at."
        },
    )

    @validates_schema
    def _code_or_card(self, given: Mapping[str, Any], **_: object) -> None:
        if "code" in given:
            if odd := sorted({"card_number", "kind"} & set(given)):
                raise ValidationError({name: ["Unknown field."] for name in odd})
            return
        missing = {"card_number", "kind"} - set(given)
        if len(missing) == 2:
            raise ValidationError("Missing data for required field.", "code")
        if missing:
            raise ValidationError("Missing data for required field.", missing.pop())

    @validates_schema
    def _named_operator(self, given: Mapping[str, Any], **_: object) -> None:
        if "document_seen" not in given.get("second_factor", {}):
            return
        if "operator" not in given:
            raise ValidationError("Missing data for required field.", "operator")
        if channel(given.get("channel", "")) in _NO_CLERK:
            raise ValidationError({"second_factor": {"document_seen": ["choice"]}})


class ActedForOut(Schema):
    """Who acts for the holder."""

    relation = fields.String(required=True, metadata={"description": "What the holder is to them, GB/T 4761."})
    guardian = fields.String(
        metadata={"description": "Masked name. Not with a static code alone, nor where the holder has ended sharing."}
    )


class CheckedCardOut(Schema):
    """The card that was accepted."""

    card_id = fields.UUID(
        metadata={"description": "Not with a static code alone: it would be one name for all visits."}
    )
    status = fields.String(required=True)
    level = fields.String(required=True, validate=validate.OneOf(list(Level)))
    kind = fields.String(required=True, validate=validate.OneOf(list(Kind)))
    verified = fields.Boolean(required=True, metadata={"description": "False: nobody proved who the holder is."})
    assurance = fields.String(required=True, validate=validate.OneOf(list(Assurance)))
    acted_for = fields.Nested(ActedForOut)


class CheckedResidentOut(Schema):
    """What the table of disclosure lets be told at this step; of a static code without a second factor, the name alone.

    By default masked name, sex and age. A member that may not be told is left out; one that is not known is null.
    """

    name = fields.String(required=True, metadata={"description": "Masked, unless the table says clear."})
    sex = fields.String(allow_none=True)
    age = fields.Integer(allow_none=True)
    birth_date = fields.String(allow_none=True, metadata={"description": "1990-03-07, masked 1990-**-**."})
    id_type = fields.String(allow_none=True, metadata={"description": "Comes with `id_number`."})
    id_number = fields.String(allow_none=True, metadata={"description": "Masked: first 4 and last 2 characters."})
    phone = fields.String(allow_none=True, metadata={"description": "Masked: 138****1234."})
    address = fields.String(allow_none=True, metadata={"description": "Masked: its first 6 characters."})
    nation = fields.String(allow_none=True, metadata={"description": "GB/T 3304."})


class SecondFactorOut(Schema):
    """What came of the second factor."""

    state = fields.String(required=True, validate=validate.OneOf(list(Factor)))
    tries_left = fields.Integer(metadata={"description": "Wrong ones left before the code is locked for 24 hours."})


class PatientIdsByTypeOut(Schema):
    """The asking institution's own ids of this patient."""

    outpatient = fields.String()
    inpatient = fields.String()


class ScanOut(Schema):
    """The answer to a scan. A refused code is an answer, not an error."""

    verification_id = fields.UUID(required=True)
    outcome = fields.String(required=True, validate=validate.OneOf(["accepted", "rejected"]))
    reason = fields.String(required=True, allow_none=True, metadata={"enum": [*Reason, None]})
    message = fields.String(required=True, metadata={"description": "What to do, in the caller's language."})
    verified_at = fields.AwareDateTime(required=True)
    card = fields.Nested(CheckedCardOut)
    resident = fields.Nested(
        CheckedResidentOut, allow_none=True, metadata={"description": "Null where the holder has ended sharing."}
    )
    patient_id = fields.String(
        allow_none=True,
        metadata={
            "description": "The asking institution's own id (院内ID) of this patient, if it bound one: at the step"
            " `inpatient` the inpatient one, else the outpatient one."
        },
    )
    patient_ids = fields.Nested(PatientIdsByTypeOut)
    second_factor = fields.Nested(SecondFactorOut)


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
    assurance = fields.String(required=True, validate=validate.OneOf(list(Assurance)))
    disclosed = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "The fields that were told; with `:masked` those of which only the masked form was."},
    )


class HistoryOut(Schema):
    """A page of checks, newest first."""

    items = fields.List(fields.Nested(EntryOut), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Cursor of the next page."})


def presentation(wanted: Mapping[str, Any]) -> Presentation:
    """A loaded `ScanIn` as the service takes it."""
    way = wanted.get("channel")
    return Presentation(
        text=wanted["code"] if "code" in wanted else wanted["card_number"],
        step=medical_step(wanted["step"]) or "other",
        channel=way and channel(way),
        department=wanted.get("department"),
        operator=wanted.get("operator"),
        request_id=wanted.get("request_id"),
        plastic=plastic_kinds()[wanted["kind"]] if "kind" in wanted else None,
        **wanted.get("second_factor", {}),
    )


class Told(NamedTuple):
    """What is told of an accepted card's holder, as it leaves; None where it may not be, or there is nothing."""

    resident: Mapping[str, Any] | None = None
    acted_for: Mapping[str, Any] | None = None
    patient_ids: Mapping[str, str] | None = None


def scan_out(settled: Settled, told: Told, *, english: bool) -> dict[str, Any]:
    """The answer to a scan."""
    advice = _advice(settled.reason, settled.code) if settled.reason else _ACCEPTED
    out: dict[str, Any] = {
        "verification_id": str(settled.id),
        "outcome": "rejected" if settled.reason else "accepted",
        "reason": settled.reason,
        "message": advice.en if english else advice.zh,
        "verified_at": instant(settled.at),
    }
    if settled.holder is not None:
        out["card"] = _card(settled.holder, settled.assurance, told.acted_for)
        out["resident"] = told.resident
    if told.patient_ids:
        kind = "inpatient" if settled.step == "inpatient" else "outpatient"
        out["patient_id"] = told.patient_ids.get(kind)
        out["patient_ids"] = dict(told.patient_ids)
    if settled.factor is not None:
        left = {} if settled.tries_left is None else {"tries_left": settled.tries_left}
        out["second_factor"] = {"state": settled.factor, **left}
    return out


def _card(holder: Holder, assurance: Assurance, acted_for: Mapping[str, Any] | None) -> dict[str, Any]:
    named = {} if assurance is Assurance.STATIC else {"card_id": str(holder.card_id)}
    card: dict[str, Any] = {
        **named,
        "status": "active",
        "level": holder.level,
        "kind": holder.kind,
        "verified": holder.kind != Kind.TEMPORARY,
        "assurance": assurance,
    }
    return card if acted_for is None else {**card, "acted_for": acted_for}


def _advice(reason: Reason, code: StandingKind | None) -> Text:
    if code is None:
        return ADVICE[reason]
    special = {StandingKind.TEMPORARY: TEMPORARY_ADVICE, StandingKind.PLASTIC: PLASTIC_ADVICE}.get(code, PRINT_ADVICE)
    return special.get(reason, ADVICE[reason])


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
            "assurance": entry.assurance or Assurance.DYNAMIC,
            "disclosed": entry.disclosed,
        }
        for entry in entries
    ]
    return {"items": items, "next": following}
