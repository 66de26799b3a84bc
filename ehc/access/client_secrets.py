"""Secrets of clients: two live at a time, so that one can replace the other without a gap. Nothing here commits."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from secrets import token_urlsafe
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.access.app_models import SecretRow
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text

SLOTS = (1, 2)


class TooManySecrets(EhcError):
    """Both secrets of the client are live."""

    code = "too-many-secrets"


class NoSuchSecret(EhcError):
    """The client has no live secret with this id."""

    code = "secret-not-found"


@dataclass(frozen=True)
class NewSecret:
    """A secret as it is told, once: only its hash is kept."""

    id: UUID
    secret: str


def add(session: Session, client: UUID, *, now: datetime, ends_at: datetime | None = None) -> NewSecret:
    """A further secret, until `ends_at` if that is given. Raises `TooManySecrets`, also when another came first."""
    over = SecretRow.client_id == client, SecretRow.ended_at.is_(None), SecretRow.ends_at <= now
    session.execute(update(SecretRow).where(*over).values(ended_at=SecretRow.ends_at))
    taken = {row.slot for row in live(session, client, now=now)}
    slot = next((number for number in SLOTS if number not in taken), None)
    if slot is None:
        raise _too_many()
    made = NewSecret(uuid7(now), token_urlsafe(32))
    row = SecretRow(id=made.id, client_id=client, slot=slot, hash=_hash(made.secret), created_at=now, ends_at=ends_at)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            raise _too_many() from None
        raise
    return made


def live(session: Session, client: UUID, *, now: datetime) -> list[SecretRow]:
    """The secrets that count now, the oldest first."""
    wanted = select(SecretRow).where(SecretRow.client_id == client, SecretRow.ended_at.is_(None))
    counts = or_(SecretRow.ends_at.is_(None), SecretRow.ends_at > now)
    return list(session.scalars(wanted.where(counts).order_by(SecretRow.created_at, SecretRow.id)))


def end(session: Session, client: UUID, secret: UUID, *, now: datetime) -> None:
    """End one secret; it gets no token from now on. Raises `NoSuchSecret`."""
    mine = SecretRow.id == secret, SecretRow.client_id == client, SecretRow.ended_at.is_(None)
    if session.execute(update(SecretRow).where(*mine).values(ended_at=now).returning(SecretRow.id)).first() is None:
        raise NoSuchSecret(Text("没有这个有效密钥。", "The app has no live secret with this id."))


def end_all(session: Session, client: UUID, *, now: datetime) -> None:
    """End every secret of a client."""
    mine = SecretRow.client_id == client, SecretRow.ended_at.is_(None)
    session.execute(update(SecretRow).where(*mine).values(ended_at=now))


def proves(session: Session, client: UUID | None, secret: str, *, now: datetime) -> bool:
    """Whether this is a secret of the client that counts now. Looks as long for a client that does not exist."""
    held = [row.hash for row in live(session, client or UUID(int=0), now=now)]
    given = _hash(secret)
    return any([hmac.compare_digest(known, given) for known in (*held, bytes(32), bytes(32))[:2]])  # noqa: C419


def _too_many() -> TooManySecrets:
    return TooManySecrets(
        Text("已有两个有效密钥，请先停用其中一个。", "Two secrets are live. End one of them before you add another.")
    )


def _hash(secret: str) -> bytes:
    # A secret is 256 random bits of our making: one hash is enough, there is nothing to guess.
    return sha256(secret.encode()).digest()
