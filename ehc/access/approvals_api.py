"""`/v1/admin/approvals`: what one of the staff proposes and another decides (docs/disclosure.md, Two people)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask import Blueprint, Response

from ehc.access.approval_schemas import (
    ApprovalOut,
    ApprovalsOut,
    CardCancellationIn,
    KeyRevocationIn,
    RejectionIn,
    approval_out,
    approval_read,
)
from ehc.access.staff_session_api import AdminDeps
from ehc.approvals import desk
from ehc.approvals.kinds import CARD_CANCELLATION, KEY_REVOCATION
from ehc.callers import Right, Staff
from ehc.errors import EhcError
from ehc.keystore.signing_keys import NoSuchKey
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff, staff_only
from ehc.web.openapi import operation
from ehc.web.paging import PageQuery, cursor

STATUSES: dict[type[EhcError], int] = {
    desk.NoSuchApproval: 404,
    desk.ApprovalClosed: 409,
    desk.OwnProposal: 403,
    desk.NotTheirs: 403,
    desk.OpenAlready: 409,
    desk.Outdated: 409,
    NoSuchKey: 404,
}

_KEY, _CARDS, _REJECTION, _PAGE = KeyRevocationIn(), CardCancellationIn(), RejectionIn(), PageQuery()


@dataclass(frozen=True)
class ApprovalDeps:
    """What proposals need."""

    admin: AdminDeps
    desk: desk.Desk


def approvals_blueprint(deps: ApprovalDeps) -> Blueprint:
    """Proposals, for those of the staff who hold the right that each kind asks for."""
    bp = Blueprint("approvals", __name__, url_prefix="/v1/admin/approvals")
    bp.before_request(staff_only(deps.admin.authenticate_staff))
    _add_reading(bp, deps)
    _add_proposals(bp, deps)
    _add_decisions(bp, deps)
    return bp


def propose(deps: ApprovalDeps, kind: str, arguments: Mapping[str, Any], *, who: Staff, reason: str) -> Response:
    """The answer to a proposal: 201, or 200 for the same again by the same person."""
    now = deps.admin.clock.now()
    with deps.admin.work() as session:
        row, new = deps.desk.propose(session, kind, arguments, who=who, reason=reason, now=now)
        told = approval_read(row, deps.desk, None, now=now)
    return Answer(told, 201 if new else 200).response()


def _add_reading(bp: Blueprint, deps: ApprovalDeps) -> None:
    @bp.get("")
    @operation("Proposals", query=PageQuery, answers={200: ApprovalsOut}, staff=True, problems=(422,))
    def get_approvals() -> Response:
        """Of the kinds that the caller's rights are for; an auditor sees all. The newest first."""
        who, page, now = _ready(), parsing.query(_PAGE), deps.admin.clock.now()
        with deps.admin.work() as session:
            rows, more = deps.desk.listing(session, rights=who.rights, limit=page["limit"], before=page["cursor"])
        items = [approval_out(row, deps.desk, now=now) for row in rows]
        following = cursor((rows[-1].proposed_at, rows[-1].id)) if more else None
        return Answer({"items": items, "next": following}).response()

    @bp.get("/<uuid:approval_id>")
    @operation("One proposal", answers={200: ApprovalOut}, staff=True, problems=(404,))
    def get_approval(approval_id: UUID) -> Response:
        who = _ready()
        with deps.admin.work() as session:
            row = deps.desk.read(session, approval_id, rights=who.rights)
            progress = deps.desk.kinds[row.kind].progress(session, row.id)
        return Answer(approval_read(row, deps.desk, progress, now=deps.admin.clock.now())).response()


def _add_proposals(bp: Blueprint, deps: ApprovalDeps) -> None:
    @bp.post("/key-revocations")
    @operation(
        "Propose to revoke a signing key",
        body=KeyRevocationIn,
        answers={201: ApprovalOut, 200: ApprovalOut},
        right=Right.KEYS_REVOKE,
        problems=(404, 409),
    )
    def post_key_revocation() -> Response:
        """Another security administrator approves it. In an emergency: `ehc keys revoke`, by whoever has the machine."""
        who, wanted = require(Right.KEYS_REVOKE), parsing.body(_KEY)
        return propose(deps, KEY_REVOCATION, {"key_id": wanted["key_id"]}, who=who, reason=wanted["reason"])

    @bp.post("/card-cancellations")
    @operation(
        "Propose to cancel many cards",
        body=CardCancellationIn,
        answers={201: ApprovalOut, 200: ApprovalOut},
        right=Right.CARDS_CANCEL_MANY,
        problems=(409,),
    )
    def post_card_cancellation() -> Response:
        """Once approved, a job cancels them one by one; `progress` tells how far it is."""
        who, wanted = require(Right.CARDS_CANCEL_MANY), parsing.body(_CARDS)
        arguments = {"card_ids": [str(card_id) for card_id in dict.fromkeys(wanted["card_ids"])]}
        return propose(deps, CARD_CANCELLATION, arguments, who=who, reason=wanted["reason"])


def _add_decisions(bp: Blueprint, deps: ApprovalDeps) -> None:
    @bp.post("/<uuid:approval_id>/approve")
    @operation("Approve a proposal", answers={200: ApprovalOut}, staff=True, problems=(404, 409))
    def post_approval(approval_id: UUID) -> Response:
        """By somebody else than its proposer, with the same right and a fresh proof. What it says is done with the answer."""
        now = deps.admin.clock.now()
        with deps.admin.work() as session:
            who = _decider(deps, deps.desk.read(session, approval_id, rights=_ready().rights).kind)
            row = deps.desk.approve(session, approval_id, who=who, now=now)
            progress = deps.desk.kinds[row.kind].progress(session, row.id)
            told = approval_read(row, deps.desk, progress, now=now)
        return Answer(told).response()

    @bp.post("/<uuid:approval_id>/reject")
    @operation("Turn a proposal down", body=RejectionIn, answers={200: ApprovalOut}, staff=True, problems=(404, 409))
    def post_rejection(approval_id: UUID) -> Response:
        """By somebody else than its proposer, with the same right."""
        who, now, wanted = _ready(), deps.admin.clock.now(), parsing.body(_REJECTION)
        with deps.admin.work() as session:
            require(deps.desk.kinds[deps.desk.read(session, approval_id, rights=who.rights).kind].right)
            row = deps.desk.reject(session, approval_id, who=who, reason=wanted["reason"], now=now)
        return Answer(approval_read(row, deps.desk, None, now=now)).response()

    @bp.post("/<uuid:approval_id>/withdraw")
    @operation("Take back one's own proposal", answers={200: ApprovalOut}, staff=True, problems=(404, 409))
    def post_withdrawal(approval_id: UUID) -> Response:
        who, now = _ready(), deps.admin.clock.now()
        with deps.admin.work() as session:
            row = deps.desk.withdraw(session, approval_id, who=who, now=now)
        return Answer(approval_read(row, deps.desk, None, now=now)).response()


def _ready() -> Staff:
    """The person of the staff who calls, once their account is set up."""
    person = staff()
    return require(min(person.rights)) if person.rights else person


def _decider(deps: ApprovalDeps, kind: str) -> Staff:
    return require(deps.desk.kinds[kind].right, fresh=True)
