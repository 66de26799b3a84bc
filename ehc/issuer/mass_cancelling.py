"""Cancelling many cards: two people decide on a list, a job carries it out, a card in each transaction.

Each goes the way of every cancelled card (`lifecycle.CANCEL`, by staff): in its history and in the audit log, with all that
hangs on it. The job may stop and start again, and run twice: a card's row is taken by one, and is done once.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ehc import audit, jobs
from ehc.approvals.desk import proposed_reason
from ehc.approvals.kinds import Approved, Kind, Standing
from ehc.approvals.models import ApprovalRow
from ehc.callers import Right
from ehc.cards.events import Words
from ehc.cards.models import CardRow
from ehc.cards.states import CANCEL, Party
from ehc.cards.store import Acting, by_id
from ehc.errors import EhcError, InvalidValue, Text, Unavailable
from ehc.issuer import lifecycle
from ehc.issuer.mass_models import MassCancellationRow
from ehc.keystore.secret_keys import Secrets

TASK = "issuer.cancel-many"

log = structlog.get_logger(__name__)


def approval_kind() -> Kind:
    """How a list of cards is decided on."""
    return Kind(right=Right.CARDS_CANCEL_MANY, look=_look, carry_out=_start, progress=progress)


def progress(session: Session, approval_id: UUID) -> Mapping[str, int] | None:
    """How many cards of a list are in each state; None before it was approved."""
    counted = select(MassCancellationRow.state, func.count()).where(MassCancellationRow.approval_id == approval_id)
    found = {row[0]: row[1] for row in session.execute(counted.group_by(MassCancellationRow.state))}
    return {state: found.get(state, 0) for state in ("waiting", "cancelled", "skipped")} if found else None


def cancel_next(session: Session, approval_id: UUID, *, secrets: Secrets, now: datetime) -> int:
    """Cancel the next card of a list; how many were done, 0 or 1.

    A card that may not be cancelled any more, or whose data cannot be read, is skipped: it holds up no other. Raises
    `OperationalError` or `Unavailable` where it is not the card's fault, so that the job is tried again.
    """
    mine = select(MassCancellationRow).where(MassCancellationRow.approval_id == approval_id)
    waiting = mine.where(MassCancellationRow.state == "waiting").order_by(MassCancellationRow.card_id)
    row = session.scalars(waiting.limit(1).with_for_update(skip_locked=True)).one_or_none()
    if row is None:  # what another run has in hand is looked at when that has ended: it may have died
        row = session.scalars(waiting.limit(1).with_for_update()).one_or_none()
    if row is None:
        return 0
    approval = session.get_one(ApprovalRow, approval_id)
    words = Words(proposed_reason(approval, secrets.sealer))
    by = Acting(f"staff:{approval.decided_by}", Party.STAFF)
    try:
        with session.begin_nested():
            card = by_id(session, row.card_id)
            lifecycle.apply(session, card, CANCEL, acting=by, words=words, secrets=secrets, now=now)
        row.state = "cancelled"
    except (OperationalError, Unavailable):
        raise
    except Exception as error:  # whatever is wrong with one card, the others of its list are to be cancelled
        why = error.code if isinstance(error, EhcError) else "error"
        if why == "error":
            log.exception("a card of a list cannot be cancelled", card_id=str(row.card_id))
        row.state = "skipped"
        facts = {"approval_id": str(approval_id), "why": why}
        audit.record(session, "card.cancel-skipped", actor=by.actor, subject=str(row.card_id), at=now, facts=facts)
    row.done_at = now
    session.flush()
    return 1


def _look(session: Session, arguments: Mapping[str, Any]) -> Standing:
    """The list itself is the object: what state each card is in is seen when its turn comes."""
    ids = sorted(set(map(UUID, arguments["card_ids"])))
    known = set(session.scalars(select(CardRow.id).where(CardRow.id.in_(ids))))
    for place, card_id in enumerate(arguments["card_ids"]):
        if UUID(card_id) not in known:
            raise InvalidValue.at(
                f"/card_ids/{place}", "card-not-found", Text("没有这张健康卡。", "There is no such card.")
            )
    return Standing(sha256(b"".join(card_id.bytes for card_id in ids)).hexdigest(), str(len(ids)))


def _start(session: Session, approved: Approved) -> Mapping[str, Any]:
    ids = sorted(set(map(UUID, approved.arguments["card_ids"])))
    session.add_all(MassCancellationRow(approval_id=approved.id, card_id=card_id) for card_id in ids)
    session.flush()
    lock = f"cancel-many:{approved.id}"
    jobs.defer(session, TASK, lock=lock, queueing_lock=lock, approval_id=str(approved.id))
    facts = {"cards": len(ids), "proposed_by": str(approved.proposed_by)}
    audit.record(
        session, "cards.cancel-many", actor=approved.by.actor, subject=str(approved.id), at=approved.now, facts=facts
    )
    return {"cards": len(ids)}
