"""Residents' sessions as the staff see them, and end them: those of a card's holder, or all of an app. None commits."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards.models import CardRow
from ehc.sessions import identities, tokens
from ehc.sessions.models import PlatformIdentityRow, ResidentSessionRow

MOST = 100
"""Sessions that are told of one card."""


class Seen(NamedTuple):
    """A live session, without anything that tells who its holder is at the platform."""

    row: ResidentSessionRow
    client_id: UUID
    platform: str


def of_card(session: Session, card: CardRow, *, now: datetime) -> list[Seen]:
    """The live sessions that lead to a card's holder, the newest first."""
    found = tokens.of_identities(session, PlatformIdentityRow.resident_id == card.resident_id, now=now, most=MOST)
    wanted = select(PlatformIdentityRow).where(PlatformIdentityRow.id.in_({row.identity_id for row in found}))
    known = {identity.id: identity for identity in session.scalars(wanted)}
    return [Seen(row, known[row.identity_id].client_id, known[row.identity_id].platform) for row in found]


def end_of_card(session: Session, card: CardRow, *, actor: str, reason: str, now: datetime) -> int:
    """End every session that leads to a card's holder, and the links behind them; how many sessions."""
    count = len(of_card(session, card, now=now))
    identities.untie_person(session, card.resident_id, why="staff", now=now)
    facts = {"before": {"sessions": count}, "after": {"sessions": 0}, "reason": reason}
    audit.record(session, "card.sessions-ended", actor=actor, subject=str(card.id), at=now, facts=facts)
    return count


def end_of_app(session: Session, client_id: UUID, *, actor: str, reason: str, now: datetime) -> int:
    """End every session of an app; links stay. How many sessions."""
    count = tokens.end_of_client(session, client_id, why="staff", now=now)
    facts = {"before": {"sessions": count}, "after": {"sessions": 0}, "reason": reason}
    audit.record(session, "app.sessions-ended", actor=actor, subject=str(client_id), at=now, facts=facts)
    return count


def count_of_app(session: Session, client_id: UUID, *, now: datetime) -> dict[str, int]:
    """How many sessions of an app are live, by platform."""
    wanted = (
        select(PlatformIdentityRow.platform, func.count().label("live"))
        .join(ResidentSessionRow, ResidentSessionRow.identity_id == PlatformIdentityRow.id)
        .where(PlatformIdentityRow.client_id == client_id, *tokens.live(now))
        .group_by(PlatformIdentityRow.platform)
    )
    return {row.platform: row.live for row in session.execute(wanted)}
