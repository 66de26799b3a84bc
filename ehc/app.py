"""The edge: one Flask app of all rooms. How each is joined is in `ehc/edge`."""

from collections.abc import Callable
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine

from ehc import audit, log
from ehc.clock import Clock, SystemClock
from ehc.crypto.sm import self_test
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.db import Base, bound_waits, engine_options, unit_of_work
from ehc.edge import access, binding, gateways, issuer, verify
from ehc.edge.keys import Keys
from ehc.edge.parts import parts_of
from ehc.edge.readiness import readiness
from ehc.edge.residents import Door
from ehc.errors import EhcError
from ehc.keystore import publish, secret_keys
from ehc.settings import Settings
from ehc.web import idempotency, observe, status
from ehc.web.auth import RESIDENTS
from ehc.web.parsing import MAX_BODY
from ehc.web.problems import Problems

STATUSES: dict[type[EhcError], int] = {
    **access.STATUSES,
    **issuer.STATUSES,
    **binding.STATUSES,
    **gateways.STATUSES,
    idempotency.KeyReused: 422,
    idempotency.KeyInProgress: 409,
    secret_keys.SampleKeyRefused: 500,
}

database = SQLAlchemy(metadata=Base.metadata)
"""Owns the engine. Tables are declared in the rooms, on `ehc.db.Base`."""

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def create_app(settings: Settings, *, clock: Clock | None = None) -> Flask:
    """The service for these settings. Opens no connection; keys are loaded with the first request that needs them.

    Raises `KekError`, `SettingsError`, or `RuntimeError` where OpenSSL lacks SM3 or SM4.
    """
    log.configure(settings.log_level)
    self_test()
    kek = settings.key_encrypting_key()
    app = _bare_app(settings)
    with app.app_context():
        bound_waits(database.engine)
        _join(app, settings, kek, database.engine, clock or SystemClock())
    return app


class NoSessions(SessionInterface):
    """Callers carry tokens: there is no session, and none is made for every request."""

    _none = NullSession()

    def open_session(self, app: Flask, request: Request) -> NullSession:
        """The one session that holds nothing and takes nothing."""
        return self._none


class App(Flask):
    """Flask without what a service of tokens and plain views has no use for, and pays for with every request."""

    session_interface = NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself."""
        return func


def _bare_app(settings: Settings) -> Flask:
    app = App("ehc", static_folder=None)
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(pool_size=settings.pool_size, application="ehc")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY
    app.config["MAX_FORM_PARTS"] = 20
    app.url_map.strict_slashes = False
    database.init_app(app)
    Migrate(app, database, directory=str(MIGRATIONS))
    return app


def _join(app: Flask, settings: Settings, kek: KeyEncryptingKey, engine: Engine, clock: Clock) -> None:
    work = unit_of_work(engine, info=audit.hashing(settings.audit_hash, lambda _: keys.secrets.get().audit_key))
    keys = Keys(work, kek, wary=not settings.demo)
    parts = parts_of(app, settings, kek=kek, engine=engine, work=work, keys=keys, clock=clock)
    about = status.StatusDeps(
        version=version("ehc"),
        readiness=lambda: readiness(work, keys, parts.redis, clock),
        jwk_set=lambda: publish.jwk_set(keys.code_ring.get()),
        cose_key_set=lambda: publish.cose_key_set(keys.code_ring.get()),
        list_jwk_set=lambda: publish.jwk_set(keys.list_ring.get()),
    )
    app.extensions[RESIDENTS] = Door(work, clock, parts.gate)
    observe.install(app)
    Problems(STATUSES).install(app)
    rooms = (room.blueprints(parts) for room in (access, issuer, verify, binding, gateways))
    for blueprint in chain(*rooms, [status.blueprint(about)]):
        app.register_blueprint(blueprint)
