"""Patients of a hospital's list whom only a person may bind (待审核): listed, shown, decided. Nothing here commits.

The list shows who waits and why, without names; one entry is opened to decide it, which is an act of its own in the audit log.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.binding import patient_ids, proofs
from ehc.binding.patient_ids import PatientNumber
from ehc.binding.proofs import NoSuchBinding
from ehc.cards import binding_events as events
from ehc.cards.binding_events import BindingKind
from ehc.cards.bindings import number_place
from ehc.cards.models import CardRow
from ehc.cards.patient_id_models import PatientIdRow, PatientReviewRow
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.core.masking import mask_name
from ehc.errors import EhcError, Text
from ehc.keystore.secret_keys import Secrets
from ehc.residents.models import ResidentRow
from ehc.residents.store import name_place


class NoCardToBind(EhcError):
    """The patient's document leads to no card: there is nothing to bind, only to dismiss."""

    code = "no-card-to-bind"


@dataclass(frozen=True)
class Shown:
    """One entry, opened. `holder` is the masked name on the card that the document leads to."""

    number: str = field(repr=False)
    name: str = field(repr=False)
    holder: str | None


def waiting(session: Session, institution_id: UUID) -> Iterator[PatientReviewRow]:
    """The patients of an institution who wait for a person, the oldest first: all of them, read bit by bit."""
    mine = (PatientReviewRow.institution_id == institution_id) & PatientReviewRow.decided_at.is_(None)
    in_order = select(PatientReviewRow).where(mine).order_by(PatientReviewRow.run_id, PatientReviewRow.line)
    return iter(session.scalars(in_order.execution_options(yield_per=1000)))


def show(session: Session, review_id: UUID, *, by: str, secrets: Secrets, now: datetime) -> Shown:
    """One entry in clear, as the audit log notes. Raises `NoSuchBinding` if it is not there or was decided."""
    row = _open(session, review_id)
    audit.record(session, "patient-ids.review-read", actor=by, subject=str(review_id), at=now)
    card = session.get(CardRow, row.card_serial) if row.card_serial is not None else None
    holder = None
    if card is not None:
        resident = session.get_one(ResidentRow, card.resident_id)
        holder = mask_name(secrets.sealer.unseal(resident.name, name_place(resident.id)))
    return Shown(*_clear(row, secrets), holder)


def bind(session: Session, review_id: UUID, *, by: str, secrets: Secrets, now: datetime) -> PatientIdRow:
    """Bind the patient id after all, by decision of staff who compared the two.

    Raises `NoSuchBinding`, `NoCardToBind`, `PatientIdInPlace`, `AlreadyBound`, and those of `proofs.hold_active`.
    """
    row = _open(session, review_id)
    card = session.get(CardRow, row.card_serial) if row.card_serial is not None else None
    if card is None:
        raise NoCardToBind(
            Text("该患者的证件没有对应的健康卡，只能驳回。", "This patient's document leads to no card. Dismiss it.")
        )
    proofs.hold_active(session, card)
    number = PatientNumber(row.id_type, _clear(row, secrets)[0])
    index = number.index(row.institution_id, secrets.blind_index)
    patient_ids.require_none(session, card, row.institution_id, row.id_type)
    bound = patient_ids.add(session, card, number, row.institution_id, index, source="review", secrets=secrets, now=now)
    bound.run_id = row.run_id
    _decide(session, row, "bound", by=by, now=now)
    events.note(
        session,
        card,
        BindingKind.PATIENT_ID,
        bound.id,
        "bound",
        acting=Acting(by, Party.STAFF),
        at=now,
        institution_id=row.institution_id,
    )
    return bound


def dismiss(session: Session, review_id: UUID, *, by: str, now: datetime) -> None:
    """Leave the patient id unbound; what was known of the patient goes. Raises `NoSuchBinding`."""
    _decide(session, _open(session, review_id), "dismissed", by=by, now=now)


def dismiss_alike(session: Session, institution_id: UUID, reason: str, *, by: str, now: datetime) -> int:
    """Dismiss up to 1,000 of those who wait at an institution for one reason; how many. Call until it returns 0.

    Most who wait have no card here, and nobody can bind them: what the list told of them need not stay.
    """
    mine = (PatientReviewRow.institution_id == institution_id) & PatientReviewRow.decided_at.is_(None)
    wanted = select(PatientReviewRow).where(mine, PatientReviewRow.reason == reason).order_by(PatientReviewRow.id)
    rows = session.scalars(wanted.limit(1000).with_for_update(skip_locked=True)).all()
    for row in rows:
        _decide(session, row, "dismissed", by=by, now=now)
    return len(rows)


def _open(session: Session, review_id: UUID) -> PatientReviewRow:
    mine = (PatientReviewRow.id == review_id) & PatientReviewRow.decided_at.is_(None)
    row = session.scalars(select(PatientReviewRow).where(mine).with_for_update()).one_or_none()
    if row is None:
        raise NoSuchBinding(Text("没有这条待审记录，或已处理。", "There is no such entry, or it was decided."))
    return row


def _clear(row: PatientReviewRow, secrets: Secrets) -> tuple[str, str]:
    if row.number is None or row.name is None:
        raise LookupError("an entry that waits is whole")
    return (
        secrets.sealer.unseal(row.number, number_place("patient_review", row.id)),
        secrets.sealer.unseal(row.name, f"patient_review.name:{row.id}"),
    )


def _decide(session: Session, row: PatientReviewRow, decision: str, *, by: str, now: datetime) -> None:
    session.execute(
        update(PatientReviewRow)
        .where(PatientReviewRow.id == row.id)
        .values(decided_at=now, decision=decision, decided_by=by, number=None, name=None)
    )
    facts = {"decision": decision, "reason": row.reason}
    audit.record(session, "patient-ids.review-decided", actor=by, subject=str(row.id), at=now, facts=facts)
