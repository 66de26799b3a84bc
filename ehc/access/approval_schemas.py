"""The shapes of proposals and decisions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from marshmallow import Schema, fields, validate

from ehc.approvals.desk import Desk, state_of
from ehc.approvals.kinds import MOST_CARDS
from ehc.approvals.models import ApprovalRow
from ehc.web.answers import instant
from ehc.web.fields import text

_STATES = ["open", "approved", "rejected", "withdrawn", "lapsed"]


def reason() -> fields.String:
    """Why somebody proposes or turns down."""
    return text(1, 500, required=True, about="Why. Kept sealed; whoever may decide reads it.")


class KeyRevocationIn(Schema):
    """A signing key that is to be stopped."""

    key_id = fields.String(
        required=True,
        validate=validate.Regexp(r"[0-9a-f]{16}\Z", error="characters"),
        metadata={"description": "16 hex digits, as in /.well-known/ehc/keys."},
    )
    reason = reason()


class CardCancellationIn(Schema):
    """Cards that are to be cancelled."""

    card_ids = fields.List(
        fields.UUID(),
        required=True,
        validate=validate.Length(1, MOST_CARDS, error="length"),
        metadata={"description": "A card named twice is cancelled once."},
    )
    reason = reason()


class RejectionIn(Schema):
    """Why a proposal is turned down."""

    reason = reason()


class ApprovalOut(Schema):
    """A proposal and what became of it."""

    approval_id = fields.UUID(required=True)
    kind = fields.String(required=True)
    state = fields.String(required=True, validate=validate.OneOf(_STATES))
    object = fields.String(required=True, metadata={"description": "What it is about."})
    arguments = fields.Dict(keys=fields.String(), required=True, metadata={"description": "What would be done."})
    reason = fields.String(required=True)
    proposed_by = fields.UUID(required=True)
    proposed_at = fields.AwareDateTime(required=True)
    ends_at = fields.AwareDateTime(required=True, metadata={"description": "Nobody can approve it from then on."})
    decided_by = fields.UUID(required=True, allow_none=True)
    decided_at = fields.AwareDateTime(required=True, allow_none=True)
    decision_reason = fields.String(required=True, allow_none=True)
    outcome = fields.Dict(
        keys=fields.String(), required=True, allow_none=True, metadata={"description": "What came of it once approved."}
    )
    progress = fields.Dict(
        keys=fields.String(),
        values=fields.Integer(),
        allow_none=True,
        metadata={"description": "Of cancelled cards: how many wait, were cancelled, were skipped."},
    )


class ApprovalsOut(Schema):
    """A page of proposals, the newest first."""

    items = fields.List(fields.Nested(ApprovalOut), required=True)
    next = fields.String(required=True, allow_none=True, metadata={"description": "Cursor of the next page."})


def approval_out(row: ApprovalRow, desk: Desk, *, now: datetime) -> dict[str, Any]:
    """A proposal as it leaves."""
    return {
        "approval_id": str(row.id),
        "kind": row.kind,
        "state": state_of(row, now),
        "object": row.subject,
        "arguments": row.arguments,
        "reason": desk.reason_of(row),
        "proposed_by": str(row.proposed_by),
        "proposed_at": instant(row.proposed_at),
        "ends_at": instant(row.ends_at),
        "decided_by": str(row.decided_by) if row.decided_by else None,
        "decided_at": instant(row.decided_at) if row.decided_at else None,
        "decision_reason": desk.decision_reason_of(row),
        "outcome": row.outcome,
    }


def approval_read(row: ApprovalRow, desk: Desk, progress: Mapping[str, int] | None, *, now: datetime) -> dict[str, Any]:
    """One proposal, with how far it came."""
    return {**approval_out(row, desk, now=now), "progress": dict(progress) if progress else None}
