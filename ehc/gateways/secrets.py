"""Secrets of accounts: two live at a time. Nothing here commits or audits; `ehc/gateways/provisioning.py` does.

The open platform computes signatures with an `appSecret`, so it is kept sealed. Of a `userPwd` only the hash is kept.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.access.client_secrets import SLOTS, NoSuchSecret, TooManySecrets
from ehc.core.ids import uuid7
from ehc.core.randomness import random_bytes
from ehc.crypto.sealed import Sealer
from ehc.errors import Text
from ehc.gateways.accounts import live_secrets, secret_place
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.models import AccountRow, GatewaySecretRow


@dataclass(frozen=True)
class NewSecret:
    """A secret as it is told, once: 32 small hex digits, which every client of both interfaces carries."""

    id: UUID
    secret: str


def add(
    session: Session, row: AccountRow, *, sealer: Sealer, now: datetime, ends_at: datetime | None = None
) -> NewSecret:
    """A further secret. Raises `TooManySecrets`, also when another came first."""
    over = GatewaySecretRow.account_id == row.id, GatewaySecretRow.ended_at.is_(None), GatewaySecretRow.ends_at <= now
    session.execute(update(GatewaySecretRow).where(*over).values(ended_at=GatewaySecretRow.ends_at))
    taken = {held.slot for held in live_secrets(session, row.id, now=now)}
    slot = next((number for number in SLOTS if number not in taken), None)
    if slot is None:
        raise _too_many()
    made = NewSecret(uuid7(now), random_bytes(16).hex())
    held = GatewaySecretRow(id=made.id, account_id=row.id, slot=slot, created_at=now, ends_at=ends_at)
    if row.kind == GatewayKind.OPEN_PLATFORM:
        held.sealed = sealer.seal(made.secret, secret_place(made.id))
    else:
        held.hash = hashed(made.secret.encode())
    try:
        with session.begin_nested():
            session.add(held)
    except IntegrityError as error:
        if isinstance(error.orig, UniqueViolation):
            raise _too_many() from None
        raise
    return made


def end(session: Session, row: AccountRow, secret: UUID, *, now: datetime) -> None:
    """End one secret. Raises `NoSuchSecret`."""
    mine = GatewaySecretRow.id == secret, GatewaySecretRow.account_id == row.id, GatewaySecretRow.ended_at.is_(None)
    ended = update(GatewaySecretRow).where(*mine).values(ended_at=now).returning(GatewaySecretRow.id)
    if session.execute(ended).first() is None:
        raise NoSuchSecret(Text("没有这个有效密钥。", "The account has no live secret with this id."))


def hashed(password: bytes) -> bytes:
    """A password as it is kept and compared. 128 random bits of our making: one hash is enough, there is nothing to guess."""
    return sha256(password).digest()


def _too_many() -> TooManySecrets:
    return TooManySecrets(
        Text("已有两个有效密钥，请先停用其中一个。", "Two secrets are live. End one of them before you add another.")
    )
