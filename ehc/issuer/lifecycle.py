"""What happens to a card after it was made: suspended, lost, resumed, cancelled, restored, at death. None commits.

The moves and who may make them are one table (`ehc/cards/states.py`). Whatever ends a card also ends what hangs on it: its
printed codes, who may see it, and for whom its holder acts (`Move.follows`). A check reads the card's row each time, so
every move counts from the next scan on.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards import bindings, events
from ehc.cards import store as cards
from ehc.cards.code_models import PrintRow
from ehc.cards.events import NO_WORDS, Words
from ehc.cards.models import CardRow
from ehc.cards.states import (
    APPROVE,
    CANCEL,
    HOLD,
    HOLD_LOST,
    JOIN,
    REJECT,
    SUSPEND,
    CardStatus,
    Effect,
    Kind,
    Move,
    Party,
)
from ehc.cards.store import Acting
from ehc.cards.store import acting as acting_for
from ehc.errors import EhcError, Text
from ehc.issuer import family_links
from ehc.keystore.secret_keys import Secrets
from ehc.sessions import identities

_STAFF = "staff"


class HeldByStaff(EhcError):
    """Staff stopped the card, so staff must set it going again."""

    code = "held-by-staff"


def change_status(
    session: Session,
    card_id: UUID,
    how: Move,
    *,
    caller: Caller,
    reason: str,
    secrets: Secrets,
    now: datetime,
    version: int | None = None,
) -> CardRow:
    """Move a card that an app has a grant for. Raises `NoSuchCard`, `Conflict`, `StaleVersion` or `HeldByStaff`."""
    card, party, open_grant = cards.known_as(session, card_id, caller.id, at=now)
    if not open_grant:
        raise cards.wrong_state()
    apply(
        session,
        card,
        how,
        acting=acting_for(caller, party),
        words=Words(reason),
        secrets=secrets,
        now=now,
        version=version,
    )
    return card


def apply(
    session: Session,
    card: CardRow,
    how: Move,
    *,
    acting: Acting,
    secrets: Secrets,
    now: datetime,
    words: Words = NO_WORDS,
    version: int | None = None,
    proved: bool = False,
    **values: Any,
) -> None:
    """Make one move, with everything that follows from it, and write it into the card's history and the audit log.

    `proved` is whether the identity was proved anew; a move that needs that is not to be asked for without. Raises
    `Conflict`, `StaleVersion` or `HeldByStaff`.
    """
    if how.fresh_proof and not proved:
        raise ValueError(f"{how.name} needs a fresh proof of identity")
    values["held_by"] = _hold(card, how, acting.party)
    if Effect.CODES in how.follows:  # never back in time: two moves may have read the clock in the other order
        values["codes_since"] = max(now, card.codes_since or now)
    if Effect.STATIC in how.follows:
        values["static_allowed"] = False
    if Effect.ACCESS in how.follows:
        values |= {"guardian_id": None, "guardian_relation": None, "guardian_until": None}
        family_links.hold(session, family_links.family_of(session, card.resident_id))
    old = cards.move(session, card, how, acting=acting, at=now, version=version, **values)
    events.note(session, card, how.name, old=old, acting=acting, sealer=secrets.sealer, at=now, words=words)
    if how.target is CardStatus.CANCELLED and card.kind == Kind.FORMAL:
        identities.untie_person(session, card.resident_id, why="card-ended", now=now)
    _follow(session, card, how, acting=acting, secrets=secrets, at=now)


def review(
    session: Session, card: CardRow, *, approve: bool, actor: str, reason: str | None, secrets: Secrets, now: datetime
) -> None:
    """Decide an application that waits for review. Raises `Conflict` if it does not, or no longer, wait."""
    how = APPROVE if approve else REJECT
    apply(session, card, how, acting=Acting(actor, Party.STAFF), words=Words(reason), secrets=secrets, now=now)


def stop(session: Session, card: CardRow, *, acting: Acting, words: Words, secrets: Secrets, now: datetime) -> None:
    """Suspend a card by decision of staff; one that its holder suspended or lost already is held where it is.

    Raises `Conflict`.
    """
    how = {CardStatus.SUSPENDED: HOLD, CardStatus.LOST: HOLD_LOST}.get(CardStatus(card.status), SUSPEND)
    apply(session, card, how, acting=acting, words=words, secrets=secrets, now=now)


def revoke_prints(session: Session, card: CardRow, *, refusal: str, at: datetime) -> None:
    """Stop the printed code of a card; a check of it answers `refusal` from now on."""
    live = (PrintRow.card_serial == card.serial) & PrintRow.revoked_at.is_(None)
    session.execute(
        update(PrintRow).where(live).values(revoked_at=at, refusal=refusal).execution_options(synchronize_session=False)
    )


def require_not_held(card: CardRow, party: Party) -> None:
    """Raises `HeldByStaff` for a card that staff stopped, unless it is staff who act."""
    if card.held_by == _STAFF and party is not Party.STAFF:
        raise HeldByStaff(
            Text(
                "该卡由工作人员停用，请联系发卡机构恢复。",
                "Staff stopped this card. Ask the issuing institution to set it going again.",
            )
        )


def _hold(card: CardRow, how: Move, party: Party) -> str | None:
    """Whose word sets a card going after this move. What staff stopped, no detour by way of a loss or an end does."""
    if how in {HOLD, HOLD_LOST} or (how in {SUSPEND, CANCEL} and party is Party.STAFF):
        return _STAFF
    if how is SUSPEND:
        return None
    if how is not JOIN and how.target in {CardStatus.LOST, CardStatus.CANCELLED}:
        return card.held_by
    if card.status in how.sources:
        require_not_held(card, party)
    return None


def _follow(session: Session, card: CardRow, how: Move, *, acting: Acting, secrets: Secrets, at: datetime) -> None:
    if Effect.STATIC in how.follows:
        refusal = "card-cancelled" if card.status == CardStatus.CANCELLED else "expired"
        revoke_prints(session, card, refusal=refusal, at=at)
    if Effect.ACCESS in how.follows:
        cards.close_grants(session, card, at=at)
    if Effect.FAMILY in how.follows:
        for link in family_links.links_of(session, card.resident_id):
            family_links.end(session, link, why=how.name, acting=acting, sealer=secrets.sealer, at=at)
    if Effect.BINDINGS in how.follows:
        goes_on = session.get(CardRow, card.joined_to) if card.joined_to else None
        if goes_on is None:
            bindings.end_all(session, card, why=how.name, acting=acting, sealer=secrets.sealer, at=at)
        else:
            bindings.hand_over(session, card, goes_on, acting=acting, sealer=secrets.sealer, at=at)
