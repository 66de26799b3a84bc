"""What happened to the bindings (绑定) of a card: one row for each change, written with it, for the holder and for webhooks."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from ehc import audit
from ehc.cards.models import CardRow, one_of
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer
from ehc.db import Base
from ehc.outbox import writing as outbox
from ehc.outbox.kinds import EventKind


class BindingKind(StrEnum):
    """What is bound to a card."""

    PLASTIC_CARD = "plastic-card"
    PATIENT_ID = "patient-id"
    BANK_ACCOUNT = "bank-account"


class BindingEventRow(Base):
    """A change of one binding. The changes of a card are in the order of `seq`: whoever makes one holds the card.

    `institution_id` is whose it is, where it is an institution's own: others are not told of it.
    """

    __tablename__ = "binding_event"
    __table_args__ = (
        CheckConstraint(one_of("kind", BindingKind), name="kind"),
        CheckConstraint(one_of("party", Party), name="party"),
        Index("ix_binding_event_card_serial_seq", "card_serial", "seq"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, Identity())
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"))
    kind: Mapped[str] = mapped_column(Text)
    binding_id: Mapped[UUID]
    action: Mapped[str] = mapped_column(Text)
    institution_id: Mapped[UUID | None]
    party: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    reason: Mapped[bytes | None] = mapped_column(LargeBinary)
    """Why, in people's words; sealed."""


_NOTE_ALL = text("""
    INSERT INTO binding_event (id, card_serial, kind, binding_id, action, institution_id, party, actor, at)
    SELECT id, card_serial, :kind, binding_id, :action, CAST(:institution AS uuid), :party, :actor, :at
    FROM unnest(CAST(:ids AS uuid[]), CAST(:serials AS bigint[]), CAST(:bindings AS uuid[]))
        WITH ORDINALITY AS change (id, card_serial, binding_id, place)
    ORDER BY place
""")


@dataclass(frozen=True)
class Why:
    """People's words about a change, and what seals them."""

    words: str
    sealer: Sealer


class Changed(NamedTuple):
    """One of many bindings that changed, and its card."""

    card_serial: int
    card_id: UUID
    binding_id: UUID


def note(
    session: Session,
    card: CardRow,
    kind: BindingKind,
    binding_id: UUID,
    action: str,
    *,
    acting: Acting,
    at: datetime,
    institution_id: UUID | None = None,
    why: Why | None = None,
) -> None:
    """Write a change of a binding into its card's history, the outbox and the audit log, as part of who makes it."""
    event_id = uuid7(at)
    session.add(
        BindingEventRow(
            id=event_id,
            card_serial=card.serial,
            kind=kind,
            binding_id=binding_id,
            action=action,
            institution_id=institution_id,
            party=acting.party,
            actor=acting.actor,
            at=at,
            reason=why.sealer.seal(why.words, f"binding_event.reason:{event_id}") if why else None,
        )
    )
    outbox.put(session, EventKind.BINDING_CHANGED, card.serial, _told(kind, binding_id, action), at=at)
    session.flush()
    facts = {"binding_id": str(binding_id), "party": acting.party}
    audit.record(session, f"card.{kind}-{action}", actor=acting.actor, subject=str(card.id), at=at, facts=facts)


def note_all(
    session: Session,
    kind: BindingKind,
    action: str,
    changed: Iterable[Changed],
    *,
    acting: Acting,
    at: datetime,
    institution_id: UUID | None = None,
) -> None:
    """Write one change of many bindings as `note` does, in a statement for each place that it goes to."""
    changed = list(changed)
    if not changed:
        return
    values = {
        "ids": [uuid7(at) for _ in changed],
        "serials": [one.card_serial for one in changed],
        "bindings": [one.binding_id for one in changed],
    }
    alike = {
        "kind": kind,
        "action": action,
        "institution": institution_id,
        "party": acting.party,
        "actor": acting.actor,
    }
    session.execute(_NOTE_ALL, values | alike | {"at": at})
    told = [(one.card_serial, _told(kind, one.binding_id, action)) for one in changed]
    outbox.put_all(session, EventKind.BINDING_CHANGED, told, at=at)
    name, facts = f"card.{kind}-{action}", {"party": acting.party}
    acts = [audit.Act(name, str(one.card_id), facts | {"binding_id": str(one.binding_id)}) for one in changed]
    audit.record_all(session, acts, actor=acting.actor, at=at)


def _told(kind: BindingKind, binding_id: UUID, action: str) -> dict[str, str]:
    return {"binding_id": str(binding_id), "binding_kind": kind, "action": action}
