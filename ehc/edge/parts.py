"""What every room is handed: transactions, keys, a clock, and how its callers are known."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from flask import Flask
from sqlalchemy import Engine

from ehc.access import staff_sessions
from ehc.access.staff_session_api import AdminDeps
from ehc.access.tokens import Names, Tokens
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
    admin = AdminDeps(work, once, clock, keys.sealer, staff_sessions.authenticator(work, clock))
    authenticate = gate.before(tokens.authenticate)
    return Parts(settings, engine, work, clock, kek, keys, redis, names, gate, authenticate, once, admin)


def _limits(settings: Settings) -> Limits:
    return Limits(
        app=settings.app_per_minute,
        app_day=settings.app_per_day,
        card=settings.card_per_minute,
        terminal=settings.terminal_per_minute,
        institution=settings.institution_per_minute,
    )
