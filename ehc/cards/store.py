"""Cards and grants. Moves are guarded by the database: whoever loses a race gets a `Conflict`. Nothing here commits."""

from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import CursorResult, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc.cards.models import CardEventRow, CardRow, GrantRow
from ehc.cards.states import LIVE, CardStatus, Level, Move
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, Text


class NoSuchCard(EhcError):
    """No card with this id that the caller may see. Whether there is one that it may not see is not told."""

    code = "card-not-found"


class Conflict(EhcError):
    """The card is in a state, or has just moved to one, from which this move does not start."""

    code = "card-state"


class StaleVersion(EhcError):
    """The card changed since the caller last read it."""

    code = "precondition-failed"


def granted(session: Session, card_id: UUID, client_id: UUID) -> CardRow:
    """The card, if this client has a grant for it. Raises `NoSuchCard`."""
    mine = select(CardRow).join(GrantRow, GrantRow.card_serial == CardRow.serial)
    card = session.scalars(mine.where(CardRow.id == card_id, GrantRow.client_id == client_id)).one_or_none()
    if card is None:
        raise no_such_card()
    return card


def no_such_card() -> NoSuchCard:
    """The one answer for a card that is not there and for one that is somebody else's."""
    return NoSuchCard(
        Text("没有这张健康卡，或本应用无权访问。", "There is no such card, or this client has no grant for it.")
    )


def wrong_state() -> Conflict:
    """The answer for a move that the card's state, or a faster writer, does not allow."""
    return Conflict(
        Text(
            "卡的当前状态不能执行该操作，请先查询卡状态。", "The card's state does not allow this. Read the card first."
        )
    )


def of_resident(session: Session, resident_id: UUID) -> CardRow | None:
    """The person's live card; where there is none, the newest of the others."""
    newest = select(CardRow).where(CardRow.resident_id == resident_id).order_by(CardRow.serial.desc())
    cards = session.scalars(newest).all()
    return next((card for card in cards if card.status in LIVE), cards[0] if cards else None)


def grant(session: Session, card: CardRow, client_id: UUID, *, at: datetime) -> bool:
    """Let a client see a card; returns whether it could not before."""
    row = insert(GrantRow).values(card_serial=card.serial, client_id=client_id, created_at=at)
    return session.execute(row.on_conflict_do_nothing().returning(GrantRow.card_serial)).first() is not None


def move(
    session: Session,
    card: CardRow,
    how: Move,
    *,
    actor: str,
    reason: str | None,
    sealer: Sealer,
    at: datetime,
    version: int | None = None,
) -> None:
    """Move a card and note why. Raises `StaleVersion` or `Conflict`, also when another writer got there first."""
    if version is not None and version != card.version:
        raise StaleVersion(
            Text("该卡已被修改，请重新读取后再试。", "The card changed meanwhile. Read it again, then repeat.")
        )
    old = CardStatus(card.status)
    if old not in how.sources or not _guarded_move(session, card, old, how.target, at):
        raise wrong_state()
    note(session, card, old, actor=actor, sealer=sealer, at=at, reason=reason)


def note(
    session: Session,
    card: CardRow,
    old: CardStatus | None,
    *,
    actor: str,
    sealer: Sealer,
    at: datetime,
    reason: str | None = None,
    evidence: str | None = None,
) -> None:
    """Write what happened to a card into its history, with its status and level as they are now. `old` None: it is new."""
    event_id = uuid7(at)
    session.add(
        CardEventRow(
            id=event_id,
            card_serial=card.serial,
            old_status=old,
            new_status=card.status,
            level=card.level,
            reason=sealer.seal(reason, f"card_event.reason:{event_id}") if reason else None,
            evidence=sealer.seal(evidence, f"card_event.evidence:{event_id}") if evidence else None,
            actor=actor,
            at=at,
        )
    )
    session.flush()


def raise_level(session: Session, card: CardRow, new: Level) -> None:
    """Give a card the level of a better proof of identity."""
    session.execute(
        update(CardRow)
        .where(CardRow.serial == card.serial, CardRow.level == card.level)
        .values(level=new, version=CardRow.version + 1)
    )
    session.refresh(card)


def _guarded_move(session: Session, card: CardRow, old: CardStatus, new: CardStatus, at: datetime) -> bool:
    moved = session.execute(
        update(CardRow)
        .where(CardRow.serial == card.serial, CardRow.status == old, CardRow.version == card.version)
        .values(status=new, status_changed_at=at, version=CardRow.version + 1)
        .execution_options(synchronize_session=False)
    )
    session.refresh(card)
    return cast("CursorResult[Any]", moved).rowcount == 1
