"""The public keys of clients: the one place that says which keys a client proves itself with. Nothing here commits."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.access import app_keys
from ehc.access.terminal_models import ClientKeyRow
from ehc.core.ids import uuid7
from ehc.crypto.jwk import Jwk, read_jwk
from ehc.errors import EhcError, Text

MOST_KEYS = 5
"""So many keys of one client are tried at most."""


class KeyTaken(EhcError):
    """The key belongs, or belonged, to a client."""

    code = "key-taken"


def keys_of(session: Session, client_row_id: UUID, *, now: datetime, kid: str | None = None) -> tuple[Jwk, ...]:
    """The keys of a client that count now: a terminal's, the newest first; an app's, by value and at its address.

    `kid` is what an assertion says: one that an app's address did not have before makes us look there again. Raises `KeysDue`.
    """
    live = ClientKeyRow.client_id == client_row_id, ClientKeyRow.ended_at.is_(None)
    kept = select(ClientKeyRow.jwk).where(*live).order_by(ClientKeyRow.created_at.desc()).limit(MOST_KEYS)
    enrolled = tuple(read_jwk(jwk) for jwk in session.scalars(kept))
    return enrolled or app_keys.keys_for(session, client_row_id, now=now, kid=kid)


def add_key(session: Session, client_row_id: UUID, jwk: Jwk, *, now: datetime) -> None:
    """Keep a key that its client has proved. Raises `KeyTaken`: also for one that has ended, since whoever had it may still."""
    row = ClientKeyRow(
        id=uuid7(now), client_id=client_row_id, thumbprint=jwk.thumbprint, jwk=dict(jwk.members), created_at=now
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        raise KeyTaken(
            Text("该公钥已登记过，请生成新的密钥对。", "This key was enrolled before. Make a new pair, then try again.")
        ) from None


def end_keys(session: Session, client_row_id: UUID, *, now: datetime) -> list[str]:
    """End every key of a client; their thumbprints."""
    live = ClientKeyRow.client_id == client_row_id, ClientKeyRow.ended_at.is_(None)
    return list(
        session.scalars(update(ClientKeyRow).where(*live).values(ended_at=now).returning(ClientKeyRow.thumbprint))
    )
