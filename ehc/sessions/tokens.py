"""Sessions of residents: opaque tokens of one app for one person as a platform knows them. Nothing here commits.

Everything that may end a session is read with each request: its times, its end, the link, the phone it hangs on, the card.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from sqlalchemy import ColumnElement, exists, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from ehc.cards.models import CardRow
from ehc.cards.states import LIVE, Kind
from ehc.core.ids import uuid7
from ehc.residents.models import ResidentRow
from ehc.sessions.models import PlatformIdentityRow, ResidentSessionRow

PREFIX = "ehcr_"
"""How a token of a resident begins, so that it is told from an app's at a glance, and one that leaked is known."""
IDLE = timedelta(hours=24)
LONGEST = timedelta(days=7)
MOST_LIVE = 10
"""Sessions that live at a time for one identity; a further one ends the oldest."""
_NOTED = timedelta(minutes=5)


@dataclass(frozen=True)
class Live:
    """A session that counts now, and to whom it leads; None while nobody is linked."""

    row: ResidentSessionRow
    identity: PlatformIdentityRow
    resident_id: UUID | None


def open_session(session: Session, identity: PlatformIdentityRow, *, now: datetime) -> tuple[str, ResidentSessionRow]:
    """Begin a session; its token, which is not kept, and its row. The caller holds the identity."""
    token = PREFIX + token_urlsafe(32)
    row = ResidentSessionRow(
        id=uuid7(now), token_hash=_hash(token), identity_id=identity.id, created_at=now, seen_at=now
    )
    session.add(row)
    session.flush()
    newest = select(ResidentSessionRow.id).where(*_live_of(identity.id, now))
    newest = newest.order_by(ResidentSessionRow.created_at.desc(), ResidentSessionRow.id.desc()).limit(MOST_LIVE)
    surplus = *_live_of(identity.id, now), ResidentSessionRow.id.not_in(newest.scalar_subquery())
    _end(session, *surplus, why="too-many", now=now)
    return token, row


def ends_at(row: ResidentSessionRow) -> datetime:
    """When a session ends by itself if it is not used from its last use that was noted on."""
    return min(row.seen_at + IDLE, row.created_at + LONGEST)


def find(session: Session, token: str, *, now: datetime) -> Live | None:
    """The session of a token, if it counts now. Notes, at most every five minutes, that it was used.

    One that led to somebody whose card has ended counts no more, whatever ended the card.
    """
    wanted = (
        select(ResidentSessionRow, PlatformIdentityRow, ResidentRow, _has_card(PlatformIdentityRow.resident_id))
        .join(PlatformIdentityRow, PlatformIdentityRow.id == ResidentSessionRow.identity_id)
        .outerjoin(ResidentRow, ResidentRow.id == PlatformIdentityRow.resident_id)
        .where(ResidentSessionRow.token_hash == _hash(token))
    )
    found = session.execute(wanted).one_or_none()
    if found is None:
        return None
    row, identity, resident, has_card = found
    if row.ended_at or now >= ends_at(row) or (resident is not None and not has_card):
        return None
    if now >= row.seen_at + _NOTED:
        later = ResidentSessionRow.id == row.id, ResidentSessionRow.seen_at < now
        noted = update(ResidentSessionRow).where(*later).values(seen_at=now)
        session.execute(noted.execution_options(synchronize_session="fetch"))
    return Live(row, identity, resident.id if resident is not None and same_phone(identity, resident) else None)


def leads_to(session: Session, identity: PlatformIdentityRow) -> ResidentRow | None:
    """The person to whom the link of an identity leads now, if it counts."""
    wanted = select(ResidentRow).where(ResidentRow.id == identity.resident_id)
    wanted = wanted.where(_has_card(ResidentRow.id))
    resident = session.scalars(wanted).one_or_none()
    return resident if resident is not None and same_phone(identity, resident) else None


def same_phone(identity: PlatformIdentityRow, resident: ResidentRow) -> bool:
    """Whether the phone that proved the link is the person's own registered one still."""
    return (
        identity.phone_index is not None
        and identity.phone_index == resident.phone_index
        and not resident.phone_by_guardian
    )


def of_identities(session: Session, *whose: ColumnElement[bool], now: datetime, most: int) -> list[ResidentSessionRow]:
    """The live sessions of identities that a condition names, the newest first."""
    wanted = select(ResidentSessionRow).join(
        PlatformIdentityRow, PlatformIdentityRow.id == ResidentSessionRow.identity_id
    )
    newest = ResidentSessionRow.created_at.desc(), ResidentSessionRow.id.desc()
    return list(session.scalars(wanted.where(*whose, *live(now)).order_by(*newest).limit(most)))


def end(session: Session, session_id: UUID, *, why: str, now: datetime) -> bool:
    """End one session; whether it was live."""
    return _end(session, ResidentSessionRow.id == session_id, *live(now), why=why, now=now) == 1


def end_of_identities(
    session: Session, *whose: ColumnElement[bool], why: str, now: datetime, but: UUID | None = None
) -> int:
    """End every session of identities that a condition names, save one perhaps; how many there were."""
    theirs = select(PlatformIdentityRow.id).where(*whose)
    others = () if but is None else (ResidentSessionRow.id != but,)
    return _end(session, ResidentSessionRow.identity_id.in_(theirs), *others, why=why, now=now)


def end_of_client(session: Session, client_id: UUID, *, why: str, now: datetime) -> int:
    """End every session that an app holds; how many there were."""
    return end_of_identities(session, PlatformIdentityRow.client_id == client_id, why=why, now=now)


def _has_card(resident_id: InstrumentedAttribute[UUID] | InstrumentedAttribute[UUID | None]) -> ColumnElement[bool]:
    """Whether the person has a card that has not ended."""
    return exists().where(CardRow.resident_id == resident_id, CardRow.kind == Kind.FORMAL, CardRow.status.in_(LIVE))


def live(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """What a session fulfils that has not ended."""
    return (
        ResidentSessionRow.ended_at.is_(None),
        ResidentSessionRow.seen_at > now - IDLE,
        ResidentSessionRow.created_at > now - LONGEST,
    )


def _live_of(identity_id: UUID, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return ResidentSessionRow.identity_id == identity_id, *live(now)


def _end(session: Session, *which: ColumnElement[bool], why: str, now: datetime) -> int:
    # In one order: a log-in that ends what is too much may meet a suspension that ends all of them.
    wanted = select(ResidentSessionRow.id).where(*which, ResidentSessionRow.ended_at.is_(None))
    found = session.scalars(wanted.order_by(ResidentSessionRow.id).with_for_update()).all()
    ended = update(ResidentSessionRow).where(ResidentSessionRow.id.in_(found)).values(ended_at=now, ended_for=why)
    session.execute(ended.execution_options(synchronize_session=False))
    return len(found)


def _hash(token: str) -> bytes:
    # A token is 256 random bits of our making: one hash is enough, there is nothing to guess.
    return sha256(token.encode()).digest()
