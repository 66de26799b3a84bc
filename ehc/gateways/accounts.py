"""Accounts as the gateways look them up: who calls, with which secrets, and for which institutions.

What a worker found stands for five seconds, also that there is nobody of a name: an app, account or institution that is
suspended is refused everywhere within ten. How accounts come about is in `ehc/gateways/provisioning.py`.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from ehc.access import clients, institutions
from ehc.access.models import InstitutionRow
from ehc.callers import Caller, ClientKind
from ehc.clock import Clock
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.gateways.kinds import GatewayKind, name_fits
from ehc.gateways.models import AccountRow, GatewaySecretRow, PlaceRow

LIVE, SUSPENDED = "live", "suspended"
RECHECK_SECONDS = 5.0
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Account:
    """An account that may call now. `name` is its `appId` or `userName`.

    `places`: kind (`hospital`, `org`, `app`) and outside code → institution; only those of institutions that are live.
    `secrets`: open platform: each live `appSecret` itself; provincial: SHA-256 of each live password.
    """

    id: UUID
    kind: GatewayKind
    name: str
    caller: Caller
    places: Mapping[tuple[str, str], UUID | None]
    secrets: tuple[bytes, ...]
    strict: bool
    replay: bool
    window_seconds: int

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Account({self.id}, {self.kind})"

    def at(self, kind: str, code: str) -> Caller | None:
        """The caller, acting at the institution that this code means to the account; None where it is not its place."""
        if (kind, code) not in self.places:
            return None
        return replace(self.caller, institution_id=self.places[kind, code])


def load(session: Session, row: AccountRow, *, sealer: Sealer, now: datetime) -> Account | None:
    """The account of a row; None where it is suspended, or its app may not call."""
    caller = clients.by_id(session, row.client_id)
    if row.state != LIVE or caller is None or caller.kind is not ClientKind.APP:
        return None
    return Account(
        id=row.id,
        kind=GatewayKind(row.kind),
        name=row.name,
        caller=caller,
        places=_places(session, row.id),
        secrets=tuple(_secret(secret, sealer) for secret in live_secrets(session, row.id, now=now)),
        strict=row.strict,
        replay=row.replay,
        window_seconds=row.window_seconds,
    )


def live_secrets(session: Session, account: UUID, *, now: datetime) -> list[GatewaySecretRow]:
    """The secrets that count now, the oldest first."""
    mine = GatewaySecretRow.account_id == account, GatewaySecretRow.ended_at.is_(None)
    counts = or_(GatewaySecretRow.ends_at.is_(None), GatewaySecretRow.ends_at > now)
    oldest = GatewaySecretRow.created_at, GatewaySecretRow.id
    return list(session.scalars(select(GatewaySecretRow).where(*mine, counts).order_by(*oldest)))


def secret_place(secret: UUID) -> str:
    """Where a sealed secret belongs, as `Sealer` writes places."""
    return f"gateway_secret.sealed:{secret}"


class Accounts:
    """The accounts of one worker. Any thread may ask; raises what the database raises while it is away."""

    def __init__(
        self,
        work: UnitOfWork,
        sealer: Callable[[], Sealer],
        clock: Clock,
        *,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._sealer, self._clock, self._timer = work, sealer, clock, timer
        self._known: dict[tuple[GatewayKind, str] | UUID, tuple[float, Account | None]] = {}
        self._lock = Lock()

    def find(self, kind: GatewayKind, name: str) -> Account | None:
        """The account that is called so, if it may call."""
        if not name_fits(kind, name):
            return None
        return self._found((kind, name))

    def by_id(self, account: UUID) -> Account | None:
        """The account with this id, if it may call."""
        return self._found(account)

    def _found(self, key: tuple[GatewayKind, str] | UUID) -> Account | None:
        known = self._known.get(key)
        if known is not None and self._timer() - known[0] < RECHECK_SECONDS:
            return known[1]
        asked_at = self._timer()  # before we look: what changes while we do is not believed a moment longer
        account = self._look_up(key)
        with self._lock:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = asked_at, account
            if account is not None:
                self._known[account.id] = self._known[account.kind, account.name] = asked_at, account
        return account

    def _look_up(self, key: tuple[GatewayKind, str] | UUID) -> Account | None:
        sealer, now = self._sealer(), self._clock.now()
        with self._work() as session:
            row = session.scalars(select(AccountRow).where(_is(key))).one_or_none()
            return load(session, row, sealer=sealer, now=now) if row is not None else None


def _is(key: tuple[GatewayKind, str] | UUID) -> ColumnElement[bool]:
    if isinstance(key, UUID):
        return AccountRow.id == key
    kind, name = key
    return (AccountRow.kind == kind) & (AccountRow.name == name)


def _places(session: Session, account: UUID) -> dict[tuple[str, str], UUID | None]:
    wanted = select(PlaceRow.kind, PlaceRow.code, PlaceRow.institution_id)
    wanted = wanted.outerjoin(InstitutionRow, InstitutionRow.id == PlaceRow.institution_id)
    live = or_(PlaceRow.institution_id.is_(None), InstitutionRow.state == institutions.LIVE)
    mine = PlaceRow.account_id == account, PlaceRow.ended_at.is_(None), live
    return {(row.kind, row.code): row.institution_id for row in session.execute(wanted.where(*mine))}


def _secret(row: GatewaySecretRow, sealer: Sealer) -> bytes:
    if row.hash is not None:
        return row.hash
    return sealer.unseal(row.sealed or b"", secret_place(row.id)).encode()
