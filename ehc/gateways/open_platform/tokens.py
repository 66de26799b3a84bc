"""`appToken`s (open-platform JSON 1.4): 32 hexadecimal digits, good for two hours, each to its own end.

Only their hashes are kept. A token that was found stands in the worker's memory until its end: nothing ends one earlier but the
suspension of its account, which `Accounts` tells within seconds.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from ehc.clock import Clock
from ehc.core.randomness import random_bytes
from ehc.db import UnitOfWork
from ehc.gateways.open_platform.models import TokenRow

LIFE_SECONDS = 7200
LENGTH = 32
_REMEMBERED = 20_000
_AT_ONCE = 10_000
_HEX = frozenset("0123456789ABCDEF")


class Tokens:
    """The tokens as one worker knows them. Any thread may ask."""

    def __init__(self, work: UnitOfWork, clock: Clock) -> None:
        self._work, self._clock = work, clock
        self._known: dict[bytes, tuple[UUID, datetime]] = {}

    def issue(self, account: UUID) -> str:
        """A new token of an account. Durable on return."""
        now, token = self._clock.now(), new_secret()
        until = now + timedelta(seconds=LIFE_SECONDS)
        with self._work() as session:
            session.add(TokenRow(hash=hash_of(token), account_id=account, issued_at=now, expires_at=until))
        return token

    def account_of(self, token: str) -> UUID | None:
        """The account that a token is of; None for one that is out of its time, or none of ours."""
        if not is_secret(token):
            return None
        key = hash_of(token)
        known = self._known.get(key) or self._look_up(key)
        return known[0] if known is not None and self._clock.now() < known[1] else None

    def _look_up(self, key: bytes) -> tuple[UUID, datetime] | None:
        with self._work() as session:
            row = session.execute(
                select(TokenRow.account_id, TokenRow.expires_at).where(TokenRow.hash == key)
            ).one_or_none()
        if row is None:
            return None
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        found = self._known[key] = row.account_id, row.expires_at
        return found


def purge(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 tokens whose time is over; returns how many. Never commits."""
    old = select(TokenRow.hash).where(TokenRow.expires_at < now).limit(_AT_ONCE).with_for_update(skip_locked=True)
    return len(session.execute(delete(TokenRow).where(TokenRow.hash.in_(old)).returning(TokenRow.hash)).all())


def new_secret() -> str:
    """32 upper-case hexadecimal digits that nobody can guess: the form of tokens and of one-time codes."""
    return random_bytes(LENGTH // 2).hex().upper()


def is_secret(text: str) -> bool:
    """Whether a text has that form."""
    return len(text) == LENGTH and _HEX.issuperset(text)


def hash_of(secret: str) -> bytes:
    """What is kept of a secret. Of 128 random bits a plain hash gives nothing away."""
    return sha256(secret.encode()).digest()
