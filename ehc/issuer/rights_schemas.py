"""The shapes of requests and answers about a person's rights: consents, export, who looked, corrections, closing."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus
from ehc.core.tables import CHANNELS, channel
from ehc.errors import Text
from ehc.issuer.acts import Look
from ehc.issuer.corrections import Correction, Decision, Field
from ehc.issuer.rights import client_of
from ehc.residents.consents import PURPOSES, Given, Purpose
from ehc.residents.models import ConsentRow
from ehc.web.answers import instant
from ehc.web.fields import choice, text

_CHANNELS = [name for way in CHANNELS for name in (way.word, *way.codes)]
_VERSION = [
    validate.Length(1, 64, error="length"),
    validate.Regexp(r"[A-Za-z0-9._:-]+\Z", error="characters"),
]
_STATES = ["open", *Decision]
_STAFF = {"reviewer", "staff", "operator"}


class ConsentIn(Schema):
    """What the person agreed to."""

    purpose = choice(list(Purpose), required=True, about="What the data are used for.")
    text_version = fields.String(
        required=True,
        validate=_VERSION,
        metadata={"description": "Which wording the person saw: letters, digits and ._:- of the app's own choosing."},
    )
    channel = choice(_CHANNELS, load_default="other", about="Channel (用卡渠道) in which it was given: word or code.")
    given_at = fields.AwareDateTime(metadata={"description": "When; now if absent. Not before 2018."})


class ConsentOut(Schema):
    """A consent."""

    consent_id = fields.UUID(required=True)
    purpose = fields.String(required=True, validate=validate.OneOf(list(Purpose)))
    about = fields.String(required=True, metadata={"description": "The purpose in the caller's language."})
    text_version = fields.String(required=True)
    channel = fields.String(required=True)
    app = fields.String(required=True, metadata={"description": "The app through which it was given."})
    given_at = fields.AwareDateTime(required=True)
    ended_at = fields.AwareDateTime(
        required=True,
        allow_none=True,
        metadata={"description": "When it was withdrawn, or a newer version took its place."},
    )


class ConsentsOut(Schema):
    """A page of consents, newest first."""

    items = fields.List(fields.Nested(ConsentOut), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Cursor of the next page."})


class ProvedIn(Schema):
    """What shows that whoever asks is the holder."""

    phone_proof = fields.UUID(
        metadata={
            "description": "A confirmed proof of the registered phone, from /v1/phone-proofs. "
            "Required where a phone is registered and the deployment sends messages."
        }
    )


class CloseIn(ProvedIn):
    """Why the account is closed. Kept sealed."""

    reason = text(1, 200, required=True, about="In people's words.")


class ClosedOut(Schema):
    """The account is closed."""

    card_id = fields.UUID(required=True)
    status = fields.String(required=True, validate=validate.OneOf(list(CardStatus)))
    cause = fields.String(required=True)
    kept_until = fields.Date(
        required=True, metadata={"description": "The last day on which what the law keeps is kept; then it is erased."}
    )


class WhoOut(Schema):
    """Who it was."""

    type = fields.String(
        required=True, validate=validate.OneOf(["institution", "app", "terminal", "staff", "authority", "system"])
    )
    name = fields.String(
        required=True, allow_none=True, metadata={"description": "Of an institution, app or terminal."}
    )


class LookOut(Schema):
    """Somebody saw something of the holder, or did something to the card."""

    kind = fields.String(
        required=True, metadata={"description": "`check`, or the act: card.read, card.exported, card.changed, …"}
    )
    at = fields.AwareDateTime(required=True)
    who = fields.Nested(WhoOut, required=True)
    fields_ = fields.List(
        fields.String(),
        required=True,
        data_key="fields",
        metadata={"description": "Of a check, what was told; of a change, what was changed. Names, never values."},
    )
    step = fields.String(required=True, allow_none=True, metadata={"description": "Of a check: the medical step."})
    outcome = fields.String(required=True, allow_none=True, metadata={"enum": ["accepted", "rejected", None]})


class AccessLogOut(Schema):
    """A page of who looked, newest first."""

    items = fields.List(fields.Nested(LookOut), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Cursor of the next page."})


class CorrectionIn(Schema):
    """What shall be put right."""

    field = choice(list(Field), required=True, about="What is wrong; `other` for what no field holds.")
    wanted = text(1, 256, required=True, about="What it should be, in the form that registration takes. Kept sealed.")
    reason = text(1, 200, about="Why, and what proves it. Kept sealed.")


class CorrectionOut(Schema):
    """A request, without what it asks for: that is in the export."""

    correction_id = fields.UUID(required=True)
    field = fields.String(required=True, validate=validate.OneOf(list(Field)))
    state = fields.String(required=True, validate=validate.OneOf(_STATES))
    asked_at = fields.AwareDateTime(required=True)
    decided_at = fields.AwareDateTime(required=True, allow_none=True)
    answer = fields.String(required=True, allow_none=True, metadata={"description": "Why it was decided so."})


class CorrectionsOut(Schema):
    """A page of requests, newest first."""

    items = fields.List(fields.Nested(CorrectionOut), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Cursor of the next page."})


def given(wanted: Mapping[str, Any], now: datetime) -> Given:
    """A loaded `ConsentIn` as the service takes it."""
    way = channel(wanted["channel"]) or "other"
    return Given(Purpose(wanted["purpose"]), wanted["text_version"], way, wanted.get("given_at", now))


def consent_out(row: ConsentRow, apps: Mapping[UUID, str], *, english: bool) -> dict[str, Any]:
    """A consent as it leaves."""
    about: Text = PURPOSES[Purpose(row.purpose)].name
    return {
        "consent_id": str(row.id),
        "purpose": row.purpose,
        "about": about.en if english else about.zh,
        "text_version": row.text_version,
        "channel": row.channel,
        "app": apps[row.client_id],
        "given_at": instant(row.given_at),
        "ended_at": instant(row.withdrawn_at) if row.withdrawn_at else None,
    }


def correction_out(asked: Correction) -> dict[str, Any]:
    """A request as it leaves."""
    return {
        "correction_id": str(asked.id),
        "field": asked.field,
        "state": asked.decision or "open",
        "asked_at": instant(asked.asked_at),
        "decided_at": instant(asked.decided_at) if asked.decided_at else None,
        "answer": asked.answer,
    }


def closed_out(card: CardRow, kept_until: date) -> dict[str, Any]:
    """A closed account as it leaves."""
    return {
        "card_id": str(card.id),
        "status": card.status,
        "cause": card.cause,
        "kept_until": kept_until.isoformat(),
    }


def look_out(look: Look, institutions: Mapping[UUID, str], clients: Mapping[UUID, str]) -> dict[str, Any]:
    """One line of the list of who looked."""
    return {
        "kind": look.kind,
        "at": instant(look.at),
        "who": _who(look, institutions, clients),
        "fields": look.fields,
        "step": look.step,
        "outcome": look.outcome,
    }


def actor_out(actor: str, clients: Mapping[UUID, str]) -> dict[str, Any]:
    """An actor of the audit log for the holder: programs by name, staff by their part only."""
    client = client_of(actor)
    kind = actor.partition(":")[0]
    if client is not None:
        return {"type": kind, "name": clients.get(client)}
    if kind in _STAFF:
        return {"type": "staff", "name": None}
    return {"type": "authority" if kind == "identity-authority" else "system", "name": None}


def _who(look: Look, institutions: Mapping[UUID, str], clients: Mapping[UUID, str]) -> dict[str, Any]:
    if look.actor is not None:
        return actor_out(look.actor, clients)
    name = institutions.get(look.institution_id) if look.institution_id else None
    return {"type": "institution", "name": name}
