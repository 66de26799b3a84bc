"""A card's own history: what happened to it, and why. People's words in it are sealed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.cards.models import CardEventRow, CardRow
from ehc.cards.states import CardStatus
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer
from ehc.outbox import writing as outbox
from ehc.outbox.kinds import of_card


@dataclass(frozen=True)
class Words:
    """What people said about an event: why, where the proof of identity is kept, and which clerk saw it."""

    reason: str | None = None
    evidence: str | None = None
    clerk: str | None = None


@dataclass(frozen=True)
class Event:
    """One event, opened for those who may read it."""

    action: str
    at: datetime
    old_status: str | None
    new_status: str
    level: str
    party: str
    actor: str
    changed: list[str]
    words: Words


NO_WORDS = Words()


def note(
    session: Session,
    card: CardRow,
    action: str,
    *,
    old: CardStatus | None,
    acting: Acting,
    sealer: Sealer,
    at: datetime,
    words: Words = NO_WORDS,
    changed: Sequence[str] = (),
) -> None:
    """Write what happened to a card, with its status and level as they are now, for its holder and for webhooks.

    `old` None: it is new.
    """
    event_id = uuid7(at)

    def sealed(column: str, text: str | None) -> bytes | None:
        return sealer.seal(text, _place(column, event_id)) if text else None

    session.add(
        CardEventRow(
            id=event_id,
            card_serial=card.serial,
            action=action,
            old_status=old,
            new_status=card.status,
            level=card.level,
            reason=sealed("reason", words.reason),
            evidence=sealed("evidence", words.evidence),
            clerk=sealed("clerk", words.clerk),
            changed=list(changed),
            party=acting.party,
            actor=acting.actor,
            at=at,
        )
    )
    if kind := of_card(action, old, card.status):
        outbox.put(session, kind, card.serial, {"status": card.status}, at=at)
    session.flush()


def of_cards(session: Session, serials: Sequence[int], *, sealer: Sealer) -> list[Event]:
    """The events of some cards, the oldest first, opened. Raises `SealBroken` if one was altered or moved."""
    wanted = select(CardEventRow).where(CardEventRow.card_serial.in_(serials))
    order = (CardEventRow.at, CardEventRow.old_status.is_not(None), CardEventRow.id)  # what made a card comes first
    return [_opened(row, sealer) for row in session.scalars(wanted.order_by(*order))]


def _opened(row: CardEventRow, sealer: Sealer) -> Event:
    def unsealed(column: str, value: bytes | None) -> str | None:
        return sealer.unseal(value, _place(column, row.id)) if value else None

    words = Words(unsealed("reason", row.reason), unsealed("evidence", row.evidence), unsealed("clerk", row.clerk))
    return Event(
        row.action, row.at, row.old_status, row.new_status, row.level, row.party, row.actor, row.changed, words
    )


def _place(column: str, event_id: UUID) -> str:
    return f"card_event.{column}:{event_id}"
