"""Who acts for whom in a family (家庭成员), as links between two people. Nothing here commits.

Whoever writes about people holds their rows first (`hold`), all that it needs at once and in one order: so acts on a family
wait for one another, and for moves of its cards, and no two wait for each other (docs/architecture.md, Order of locks).
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, literal, or_, select, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards import events, paying
from ehc.cards import store as cards
from ehc.cards.events import NO_WORDS, Words
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import CardStatus, Kind
from ehc.cards.store import Acting
from ehc.crypto.sealed import Sealer
from ehc.issuer import family_traces
from ehc.residents import store as residents
from ehc.residents.models import FamilyLinkRow

_OPEN = FamilyLinkRow.ended_at.is_(None)
JOINED = "joined"
"""Why a link ends that another one, of the same two people, goes on as."""
_OLDEST_FIRST = (FamilyLinkRow.created_at, FamilyLinkRow.id)


def hold(session: Session, people: Collection[UUID]) -> None:
    """Lock the cards of people, then the people, until the transaction ends. What was read before may have changed."""
    held = select(CardRow.serial).where(CardRow.resident_id.in_(people)).order_by(CardRow.serial)
    session.execute(held.with_for_update(key_share=True)).all()
    residents.lock(session, people)


def family_of(session: Session, resident_id: UUID) -> set[UUID]:
    """A person, with everybody whom an open link ties to them."""
    return {resident_id} | {
        end for link in links_of(session, resident_id) for end in (link.guardian_id, link.member_id)
    }


def members_of(session: Session, guardian_id: UUID, *, at: datetime) -> list[FamilyLinkRow]:
    """The links under which a person acts for others now, the oldest first."""
    wanted = select(FamilyLinkRow).where(FamilyLinkRow.guardian_id == guardian_id, _OPEN, _lasts(at))
    return list(session.scalars(wanted.order_by(*_OLDEST_FIRST)))


def guardians_of(session: Session, member_id: UUID, *, at: datetime) -> list[FamilyLinkRow]:
    """The links under which others act for a person now, the oldest first."""
    wanted = select(FamilyLinkRow).where(FamilyLinkRow.member_id == member_id, _OPEN, _lasts(at))
    return list(session.scalars(wanted.order_by(*_OLDEST_FIRST)))


def links_of(session: Session, resident_id: UUID) -> list[FamilyLinkRow]:
    """Every link of a person that has not been ended, as guardian or as member."""
    mine = or_(FamilyLinkRow.guardian_id == resident_id, FamilyLinkRow.member_id == resident_id)
    return list(session.scalars(select(FamilyLinkRow).where(mine, _OPEN).order_by(*_OLDEST_FIRST)))


def between(session: Session, guardian_id: UUID, member_id: UUID) -> FamilyLinkRow | None:
    """The link from a guardian to a member that has not been ended, also one whose time is over."""
    pair = and_(FamilyLinkRow.guardian_id == guardian_id, FamilyLinkRow.member_id == member_id)
    return session.scalars(select(FamilyLinkRow).where(pair, _OPEN)).one_or_none()


def ever_between(session: Session, guardian_id: UUID, member_id: UUID) -> bool:
    """Whether a guardian acts for a member, or once did."""
    pair = and_(FamilyLinkRow.guardian_id == guardian_id, FamilyLinkRow.member_id == member_id)
    return session.scalars(select(FamilyLinkRow.id).where(pair).limit(1)).first() is not None


def acts_for(session: Session, guardian_id: UUID, member_id: UUID, *, at: datetime) -> bool:
    """Whether somebody acts for a person now, themselves or through others; for oneself, everybody does."""
    reached = select(literal(guardian_id).label("id")).cte("reached", recursive=True)
    further = select(FamilyLinkRow.member_id).join(reached, FamilyLinkRow.guardian_id == reached.c.id)
    reached = reached.union(further.where(_OPEN, _lasts(at)))
    return session.scalar(select(func.count()).select_from(reached).where(reached.c.id == member_id)) == 1


def overdue(session: Session, *, at: datetime, most: int) -> list[FamilyLinkRow]:
    """Links whose member came of age, not ended yet."""
    return list(session.scalars(select(FamilyLinkRow).where(_OPEN, FamilyLinkRow.until <= at).limit(most)))


def count(session: Session, guardian_id: UUID, *, at: datetime) -> int:
    """For how many people somebody acts now."""
    wanted = select(func.count()).where(FamilyLinkRow.guardian_id == guardian_id, _OPEN, _lasts(at))
    return session.scalar(wanted) or 0


def end(
    session: Session,
    link: FamilyLinkRow,
    *,
    why: str,
    acting: Acting,
    sealer: Sealer,
    at: datetime,
    words: Words = NO_WORDS,
) -> bool:
    """End a link, and note it on both cards; False if it had ended.

    The guardian's grants go, with the phone and the prints that came by them, and the member's card is no longer shown as
    acted for by them.
    """
    hold(session, {link.guardian_id, link.member_id})
    ended = session.execute(
        update(FamilyLinkRow)
        .where(FamilyLinkRow.id == link.id, _OPEN)
        .values(ended_at=at, ended_for=why)
        .returning(FamilyLinkRow.id)
        .execution_options(synchronize_session=False)
    ).first()
    session.refresh(link)
    if ended is None:
        return False
    _pass_on_grants(session, link, at)
    cards.drop_grants(session, link_id=link.id)
    left = [] if why == JOINED else family_traces.remove(session, link.member_id, at=at)
    show_guardian(session, link.member_id, at=at)
    facts: dict[str, Any] = {"why": why}
    note(session, link, "family-ended", acting=acting, sealer=sealer, at=at, words=words, facts=facts, left=left)
    still = {one.guardian_id for one in guardians_of(session, link.member_id, at=at)}
    paying.end_of_guardians(session, link.member_id, still=still, acting=acting, at=at)
    return True


def set_until(session: Session, link: FamilyLinkRow, until: datetime) -> None:
    """Let a link, and the grants that it gave, end at another time."""
    link.until = until
    session.flush()
    mine = update(GrantRow).where(GrantRow.link_id == link.id).values(until=until)
    session.execute(mine.execution_options(synchronize_session=False))


def show_guardian(session: Session, member_id: UUID, *, at: datetime) -> None:
    """Write onto a member's card who acts for them now: the first of those who do, or nobody. Not onto cancelled ones."""
    first = next(iter(guardians_of(session, member_id, at=at)), None)
    shown = (first.guardian_id, first.relation, first.until) if first else (None, None, None)
    wanted = select(CardRow).where(CardRow.resident_id == member_id, CardRow.kind == Kind.FORMAL)
    wanted = wanted.where(CardRow.status != CardStatus.CANCELLED).with_for_update(key_share=True)
    for card in session.scalars(wanted.execution_options(populate_existing=True)):
        if (card.guardian_id, card.guardian_relation, card.guardian_until) != shown:
            card.guardian_id, card.guardian_relation, card.guardian_until = shown
            card.version += 1
    session.flush()


def note(
    session: Session,
    link: FamilyLinkRow,
    action: str,
    *,
    acting: Acting,
    sealer: Sealer,
    at: datetime,
    words: Words = NO_WORDS,
    facts: Mapping[str, Any],
    left: Collection[str] = (),
) -> None:
    """Write what happened to a link into the histories of both cards and into the audit log. `left`: what else changed on
    the member's.
    """
    found = (
        (cards.of_resident(session, link.member_id), ["guardian", *left]),
        (cards.of_resident(session, link.guardian_id), ["family"]),
    )
    told = [(card, changed) for card, changed in found if card is not None]
    for card, changed in told:
        old = CardStatus(card.status)
        events.note(session, card, action, old=old, acting=acting, sealer=sealer, at=at, words=words, changed=changed)
        told_of = {"link": str(link.id), "party": acting.party, **facts}
        audit.record(session, f"card.{action}", actor=acting.actor, subject=str(card.id), at=at, facts=told_of)


def hand_over(
    session: Session, old_id: UUID, card: CardRow, *, most: int, acting: Acting, sealer: Sealer, at: datetime
) -> None:
    """Two records turned out to be one person: the family of one goes on with the other, whose card is `card`.

    A link ends that would make somebody act for whoever acts for them, or for more than `most` members.
    """
    new_id = card.resident_id
    taken = {(link.guardian_id, link.member_id) for link in links_of(session, new_id)}
    for link in links_of(session, old_id):
        guardian_id, member_id = (new_id if end == old_id else end for end in (link.guardian_id, link.member_id))
        if guardian_id == member_id or (guardian_id, member_id) in taken:
            end(session, link, why=JOINED, acting=acting, sealer=sealer, at=at)
            continue
        too_many = guardian_id == new_id and count(session, new_id, at=at) >= most
        if too_many or acts_for(session, member_id, guardian_id, at=at):
            end(session, link, why="family-full" if too_many else "family-loop", acting=acting, sealer=sealer, at=at)
            continue
        link.guardian_id, link.member_id = guardian_id, member_id
        session.flush()
        if member_id == new_id:  # where it was the guardian who moved, the member's card is the one it was
            for grant in session.scalars(select(GrantRow).where(GrantRow.link_id == link.id)).all():
                cards.grant(session, card, grant.client_id, at=at, link_id=link.id, until=grant.until)
        show_guardian(session, member_id, at=at)


def _pass_on_grants(session: Session, link: FamilyLinkRow, at: datetime) -> None:
    """An app has one grant for a card. If it serves another guardian of the member too, it keeps it for that one."""
    others = guardians_of(session, link.member_id, at=at)
    for grant in session.scalars(select(GrantRow).where(GrantRow.link_id == link.id)) if others else ():
        for other in others:
            if _serves(session, grant.client_id, other.guardian_id):
                grant.link_id, grant.until = other.id, other.until
                break
    session.flush()


def _serves(session: Session, client_id: UUID, resident_id: UUID) -> bool:
    """Whether a client has an open grant of the holder's own for a person's card."""
    own = select(GrantRow.client_id).join(CardRow, CardRow.serial == GrantRow.card_serial)
    own = own.where(CardRow.resident_id == resident_id, GrantRow.client_id == client_id)
    return session.scalars(own.where(GrantRow.link_id.is_(None), GrantRow.closed_at.is_(None))).first() is not None


def _lasts(at: datetime) -> ColumnElement[bool]:
    return or_(FamilyLinkRow.until.is_(None), FamilyLinkRow.until > at)
