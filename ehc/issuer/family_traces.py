"""What a guardian leaves behind when a link ends, and what goes with it: their phone, their prints, their consent to prints.

A phone that came through a guardian's app reaches the guardian: kept, it would let them agree in the member's name. A print
that they hold is a bearer token for the member's card.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ehc.cards.code_models import PrintRow
from ehc.cards.models import CardEventRow, CardRow, GrantRow
from ehc.cards.states import CardStatus, Kind, Party
from ehc.residents.models import ResidentRow

STATIC_CODES = "static_codes"
"""How a card's history names the switch for static codes."""


def remove(session: Session, member_id: UUID, *, at: datetime) -> list[str]:
    """Remove what a guardian left on a member whose link ended; which facts changed. The caller holds card and holder."""
    changed = ["phone"] if forget_phone(session.get_one(ResidentRow, member_id, populate_existing=True)) else []
    wanted = select(CardRow).where(CardRow.resident_id == member_id, CardRow.kind == Kind.FORMAL)
    wanted = wanted.where(CardRow.status != CardStatus.CANCELLED)
    for card in session.scalars(wanted.execution_options(populate_existing=True)):
        if card.static_allowed and _allowed_by(session, card) == Party.GUARDIAN:
            card.static_allowed = False
            changed.append(STATIC_CODES)
        if changed:
            card.version += 1
        session.flush()
        _revoke_prints(session, card, at)
    session.flush()
    return changed


def forget_phone(resident: ResidentRow) -> bool:
    """Forget a phone that came through a guardian; whether there was one."""
    if not resident.phone_by_guardian:
        return False
    resident.phone = resident.phone_index = resident.phone_proved_at = None
    resident.phone_by_guardian = False
    resident.version += 1
    return True


def _allowed_by(session: Session, card: CardRow) -> str | None:
    """Through whom static codes were switched last."""
    switched = (CardEventRow.card_serial == card.serial) & CardEventRow.changed.contains([STATIC_CODES])
    newest = select(CardEventRow.party).where(switched).order_by(CardEventRow.at.desc(), CardEventRow.id.desc())
    return session.scalars(newest.limit(1)).first()


def _revoke_prints(session: Session, card: CardRow, at: datetime) -> None:
    """Stop the print of a client that may not see the card any more, or of anybody where static codes were switched off."""
    see = select(GrantRow.client_id).where(GrantRow.card_serial == card.serial, GrantRow.closed_at.is_(None))
    see = see.where(GrantRow.until.is_(None) | (GrantRow.until > at))
    lost = (PrintRow.card_serial == card.serial) & PrintRow.revoked_at.is_(None)
    refusal = "expired" if card.static_allowed else "static-not-allowed"
    if card.static_allowed:
        lost &= PrintRow.client_id.not_in(see)
    revoked = update(PrintRow).where(lost).values(revoked_at=at, refusal=refusal)
    session.execute(revoked.execution_options(synchronize_session=False))
