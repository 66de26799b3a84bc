"""How far a resident's own token goes: their own card, and those of members of the family for whom they act."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from ehc.callers import Reach
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.store import no_such_card
from ehc.residents.models import FamilyLinkRow


def require(
    session: Session, resident_id: UUID, card_id: UUID, reach: Reach, *, client_id: UUID, now: datetime
) -> None:
    """Let a resident pass to a card that the app may see. Raises `NoSuchCard`, whether there is none or it is another's.

    A member's card that the app holds by a grant of the member's own is not for a guardian to change through it: the rooms
    would take the guardian for the member. Nor is one's own, of which only somebody's guardian gave the app a grant, one's own
    there.
    """
    wanted = select(CardRow.resident_id, GrantRow.link_id).join(GrantRow, GrantRow.card_serial == CardRow.serial)
    granted = GrantRow.client_id == client_id, GrantRow.closed_at.is_(None)
    lasting = or_(GrantRow.until.is_(None), GrantRow.until > now)
    found = session.execute(wanted.where(CardRow.id == card_id, *granted, lasting)).one_or_none()
    if found is None:
        raise no_such_card()
    if found.resident_id == resident_id:
        allowed = reach is not Reach.OWN or found.link_id is None
    else:
        links = set() if reach is Reach.OWN else _links(session, resident_id, found.resident_id, now)
        allowed = bool(links) and (reach is Reach.FAMILY or found.link_id in links)
    if not allowed:
        raise no_such_card()


def _links(session: Session, guardian_id: UUID, member_id: UUID, now: datetime) -> set[UUID]:
    lasting = FamilyLinkRow.ended_at.is_(None), or_(FamilyLinkRow.until.is_(None), FamilyLinkRow.until > now)
    pair = FamilyLinkRow.guardian_id == guardian_id, FamilyLinkRow.member_id == member_id
    return set(session.scalars(select(FamilyLinkRow.id).where(*pair, *lasting)))
