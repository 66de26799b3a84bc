"""Photographs that come with an application: sealed evidence for whoever reviews it, kept for some days and no longer.

Nobody reads them but staff with an application before them, and each look is in the audit log. Closing the account lets them
go at once. Nothing here commits.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards.models import CardRow
from ehc.cards.store import Acting
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer
from ehc.issuer.models import PhotoRow

KINDS = ("front", "reverse", "face")
"""The document's front and reverse, the applicant's face."""
_AT_ONCE = 200


class Photo(NamedTuple):
    """A photograph in clear."""

    kind: str
    media_type: str
    data: bytes


def keep(
    session: Session,
    card: CardRow,
    photos: Iterable[Photo],
    *,
    client_id: UUID,
    days: int,
    by: Acting,
    sealer: Sealer,
    now: datetime,
    instead: bool = True,
) -> None:
    """Keep photographs of an application with its card, instead of those before: of anybody, or of this client alone."""
    sent = list(photos)
    if not sent:
        return
    before = PhotoRow.card_serial == card.serial
    before = before if instead else before & (PhotoRow.client_id == client_id)
    session.execute(delete(PhotoRow).where(before).execution_options(synchronize_session=False))
    for photo in sent:
        photo_id = uuid7(now)
        session.add(
            PhotoRow(
                id=photo_id,
                card_serial=card.serial,
                client_id=client_id,
                kind=photo.kind,
                media_type=photo.media_type,
                picture=sealer.seal_bytes(photo.data, place(photo_id)),
                sent_at=now,
                kept_until=now + timedelta(days=days),
            )
        )
    session.flush()
    facts = {"kinds": [photo.kind for photo in sent], "days": days}
    audit.record(session, "card.photos-kept", actor=by.actor, subject=str(card.id), at=now, facts=facts)


def read(session: Session, card: CardRow, kind: str, *, actor: str, sealer: Sealer, now: datetime) -> Photo | None:
    """The photograph of a kind that is kept with a card, for staff; the look is audited. Raises `SealBroken`."""
    wanted = select(PhotoRow).where(PhotoRow.card_serial == card.serial, PhotoRow.kind == kind)
    row = session.scalars(wanted.order_by(PhotoRow.sent_at.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    audit.record(session, "card.photo-read", actor=actor, subject=str(card.id), at=now, facts={"kind": kind})
    return Photo(row.kind, row.media_type, sealer.unseal_bytes(row.picture, place(row.id)))


def of_cards(session: Session, serials: Collection[int]) -> list[PhotoRow]:
    """What photographs are kept with some cards, without the pictures."""
    return list(session.scalars(select(PhotoRow).where(PhotoRow.card_serial.in_(serials)).order_by(PhotoRow.id)))


def forget(session: Session, serials: Collection[int]) -> None:
    """Let the photographs of some cards go."""
    session.execute(
        delete(PhotoRow).where(PhotoRow.card_serial.in_(serials)).execution_options(synchronize_session=False)
    )


def purge(session: Session, *, now: datetime) -> int:
    """Let go of photographs whose time is over; returns how many. Call until it returns 0."""
    over = select(PhotoRow.id).where(PhotoRow.kept_until <= now).order_by(PhotoRow.kept_until).limit(_AT_ONCE)
    gone = delete(PhotoRow).where(PhotoRow.id.in_(over.with_for_update(skip_locked=True))).returning(PhotoRow.id)
    return len(session.execute(gone.execution_options(synchronize_session=False)).all())


def place(photo_id: UUID) -> str:
    """Where a photograph is sealed."""
    return f"photo.picture:{photo_id}"
