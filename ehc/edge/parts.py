"""What every room is handed: transactions, keys, a clock, and how its callers are known."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from flask import Flask, g
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import staff_sessions
from ehc.access.staff_session_api import AdminDeps
from ehc.access.tokens import Names, Tokens
from ehc.audit.sources import source_index, source_name
from ehc.clock import Clock
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.db import UnitOfWork
from ehc.edge.keys import Keys
from ehc.rates import Rates
from ehc.redis_link import RedisLink
from ehc.settings import Settings
from ehc.web.auth import Authenticate
from ehc.web.gate import Gate, Limits
from ehc.web.idempotency import Once

Made = TypeVar("Made")


@dataclass(frozen=True)
class Parts:
    """The parts of one worker that its rooms share."""

    settings: Settings
    engine: Engine
    work: UnitOfWork
    clock: Clock
    kek: KeyEncryptingKey
    keys: Keys
    redis: RedisLink
    names: Names
    gate: Gate
    authenticate: Authenticate
    once: Once
    admin: AdminDeps
    """Its transactions tell the audit log from where the request came."""
    _made: dict[Callable[["Parts"], Any], Any] = field(default_factory=dict, repr=False, compare=False)

    def shared(self, make: "Callable[[Parts], Made]") -> Made:
        """What `make` makes of these parts, made once: desks and journals keep connections and gather calls."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("Made", self._made[make])


def parts_of(
    app: Flask,
    settings: Settings,
    *,
    kek: KeyEncryptingKey,
    engine: Engine,
    work: UnitOfWork,
    keys: Keys,
    clock: Clock,
) -> Parts:
    """Make them. The gate is installed in the app."""
    redis, names = RedisLink(settings.redis_url), Names(settings.issuer, settings.audience)
    tokens = Tokens(rings=keys.token_ring, names=names, work=work, clock=clock)
    gate = Gate(Rates(redis), _limits(settings), trusted=settings.trusted_proxies, clock=clock)
    gate.install(app)
    once = Once(work, keys.secrets.get, clock)
    told = _telling(work, lambda: source_name(source_index(keys.secrets.get().blind_index, gate.address() or "")))
    known = staff_sessions.authenticator(work, clock, demo=settings.demo)
    admin = AdminDeps(told, Once(told, keys.secrets.get, clock), clock, keys.sealer, known)
    authenticate = gate.before(tokens.authenticate)
    return Parts(settings, engine, work, clock, kek, keys, redis, names, gate, authenticate, once, admin)


def _telling(work: UnitOfWork, source: Callable[[], str]) -> UnitOfWork:
    """Transactions whose acts tell the audit log from where the request came, as a keyed hash, and its id."""

    @contextmanager
    def telling() -> Iterator[Session]:
        where = source()  # before the transaction: it may read keys in one of its own
        with work() as session:
            audit.coming_from(session, where, g.request_id)
            yield session

    return telling


def _limits(settings: Settings) -> Limits:
    return Limits(
        app=settings.app_per_minute,
        app_day=settings.app_per_day,
        card=settings.card_per_minute,
        terminal=settings.terminal_per_minute,
        institution=settings.institution_per_minute,
    )
