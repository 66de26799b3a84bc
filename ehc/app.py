"""The edge: joins the rooms into one Flask app. The only module that knows them all."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask import Flask, Request
from flask.sessions import NullSession, SessionInterface
from flask_migrate import Migrate
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from ehc import audit, log
from ehc.access import api as access_api
from ehc.access import (
    app_api,
    approvals_api,
    audit_api,
    branches,
    department_api,
    disclosure_api,
    institution_api,
    institution_import_api,
    institution_public_api,
    roles,
    staff_api,
    staff_login_api,
    staff_me_api,
    staff_session_api,
    staff_sessions,
    terminal_admin_api,
    terminal_api,
    usage_api,
    webhook_admin_api,
    webhook_api,
)
from ehc.access.clients import institution_kinds, institution_names
from ehc.access.explaining import entitled
from ehc.access.log_ins import Desk as LogInDesk
from ehc.access.passkeys import Site
from ehc.access.passwords import Hasher
from ehc.access.staff_deps import StaffDeps
from ehc.access.tokens import Names, Tokens
from ehc.access.webhook_tasks import poster
from ehc.approvals.desk import Desk
from ehc.approvals.kinds import CARD_CANCELLATION, DISCLOSURE_VERSION, KEY_REVOCATION
from ehc.binding import api as binding_api
from ehc.binding import bank_api, bank_numbers, bank_webhook, blacklist_api, patient_api, plastic_api, statuses
from ehc.binding.deps import BindingDeps
from ehc.clock import Clock, SystemClock, local_day
from ehc.crypto.keys import KeyRing
from ehc.crypto.sealed import Sealer
from ehc.crypto.sm import self_test
from ehc.crypto.wrapping import KekError, KeyEncryptingKey
from ehc.db import Base, UnitOfWork, bound_waits, engine_options, unit_of_work
from ehc.disclosure import versions
from ehc.disclosure.table import Table
from ehc.errors import EhcError
from ehc.issuer import api as issuer_api
from ehc.issuer import code_api, family_api, mass_cancelling, phone_api, rights_api
from ehc.issuer.batch import api as batch_api
from ehc.issuer.codes import CodeDesk
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.limits import IssueLimit
from ehc.issuer.national_codes import NationalDesk
from ehc.issuer.registry import registry_of
from ehc.keystore import publish, revoking, ring, secret_keys, signing_keys
from ehc.keystore.refreshed import Refreshed
from ehc.keystore.ring import Purpose
from ehc.keystore.secret_keys import Secrets
from ehc.keystore.signing_keys import DatedSigner
from ehc.parties import bank_gateway, bank_key, identity_authority, sms_gateway
from ehc.rates import Rates
from ehc.redis_link import RedisLink
from ehc.settings import Settings, SettingsError
from ehc.verify import api as verify_api
from ehc.verify.history import checks_of
from ehc.verify.journal import Journal
from ehc.verify.partitions import missing_partitions
from ehc.verify.service import Tools
from ehc.web import idempotency, observe, status
from ehc.web.auth import in_sandbox
from ehc.web.gate import Gate, Limits
from ehc.web.parsing import MAX_BODY
from ehc.web.problems import Problems

STATUSES: dict[type[EhcError], int] = {
    **access_api.STATUSES,
    **institution_api.STATUSES,
    **app_api.STATUSES,
    **approvals_api.STATUSES,
    **disclosure_api.STATUSES,
    **usage_api.STATUSES,
    **issuer_api.STATUSES,
    **batch_api.STATUSES,
    **code_api.STATUSES,
    **phone_api.STATUSES,
    **family_api.STATUSES,
    **rights_api.STATUSES,
    **statuses.STATUSES,
    **patient_api.STATUSES,
    **plastic_api.STATUSES,
    **bank_api.STATUSES,
    **webhook_api.STATUSES,
    **terminal_api.STATUSES,
    branches.NoSuchInstitution: 404,
    **staff_login_api.STATUSES,
    roles.RolesApart: 422,
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
    redis = RedisLink(settings.redis_url)
    names = Names(settings.issuer, settings.audience)
    tokens = Tokens(rings=keys.token_ring, names=names, work=work, clock=clock)
    gate = Gate(Rates(redis), _limits(settings), trusted=settings.trusted_proxies, clock=clock)
    gate.install(app)
    authenticate = gate.before(tokens.authenticate)
    once = idempotency.Once(work, keys.secrets.get, clock)
    limit = IssueLimit(redis, per_minute=settings.codes_per_minute)
    desk = CodeDesk(engine, signers=keys.code_signers, cti_key=lambda: keys.secrets.get().cti, limit=limit, clock=clock)
    authority = identity_authority(settings, clock)
    issuer = IssuerDeps(
        work=work,
        once=once,
        clock=clock,
        registry=lambda: registry_of(settings, keys.of_caller(), authority=None if in_sandbox() else authority),
        desk=desk,
        national_desk=NationalDesk(
            desk,
            work,
            secrets=keys.of_caller,
            clock=clock,
            seconds=settings.national_seconds,
            uses=settings.national_uses,
        ),
        print_signers=keys.print_signers,
        cti_key=lambda: keys.secrets.get().cti,
        sms=sms_gateway(settings, clock),
        print_days=settings.print_days,
        issuer_name=settings.issuer_name,
        authenticate=authenticate,
    )
    rules = Refreshed(lambda: _rules(work))
    verify = verify_api.VerifyDeps(
        work=work,
        once=once,
        tools=Tools(
            clock=clock,
            rings=keys.code_ring,
            cti_key=lambda: keys.secrets.get().cti,
            sealer=keys.sealer,
            blind_index=lambda: keys.of_caller().blind_index,
            protection_keys=lambda: keys.secrets.get().protection_keys,
            rules=rules.get,
            national_seconds=settings.national_seconds,
        ),
        journal=Journal(engine),
        authenticate=authenticate,
        institution_names=institution_names,
    )
    bindings = BindingDeps(
        work=work,
        once=once,
        clock=clock,
        secrets=keys.secrets.get,
        list_signer=lambda: signing_keys.signer_at(keys.list_signers.get(), clock.now()),
        institution_names=institution_names,
        authenticate=authenticate,
        bank_bins=settings.bank_bins_file,
    )
    plastic = plastic_api.PlasticDeps(bindings, loss_days=settings.plastic_loss_days)
    about = status.StatusDeps(
        version=version("ehc"),
        readiness=lambda: _readiness(work, keys, redis, clock),
        jwk_set=lambda: publish.jwk_set(keys.code_ring.get()),
        cose_key_set=lambda: publish.cose_key_set(keys.code_ring.get()),
        list_jwk_set=lambda: publish.jwk_set(keys.list_ring.get()),
    )
    observe.install(app)
    Problems(STATUSES).install(app)
    app.register_blueprint(
        access_api.blueprint(access_api.AccessDeps(work, clock, keys.token_signers, names, gate.admit))
    )
    authenticate_staff = staff_sessions.authenticator(work, clock)
    admin = staff_session_api.AdminDeps(work, once, clock, keys.sealer, authenticate_staff)
    app.register_blueprint(staff_session_api.staff_session_blueprint(admin))
    hooks = webhook_api.WebhookDeps(work, clock, keys.sealer, poster(settings), authenticate)
    app.register_blueprint(webhook_api.webhooks_blueprint(hooks))
    app.register_blueprint(webhook_admin_api.admin_webhooks_blueprint(admin))
    app.register_blueprint(institution_api.institutions_blueprint(admin))
    app.register_blueprint(institution_import_api.institution_imports_blueprint(admin))
    app.register_blueprint(department_api.departments_blueprint(admin))
    app.register_blueprint(institution_public_api.public_institutions_blueprint(work, authenticate))
    app.register_blueprint(app_api.apps_blueprint(admin, gate.address))
    terminals = terminal_api.TerminalDeps(admin, authenticate, lambda: keys.secrets.get().blind_index, settings.issuer)
    app.register_blueprint(terminal_api.enrolling_blueprint(terminals))
    app.register_blueprint(terminal_api.terminals_blueprint(terminals))
    app.register_blueprint(terminal_admin_api.terminal_admin_blueprint(terminals))
    app.register_blueprint(terminal_admin_api.enrolment_admin_blueprint(terminals))
    app.register_blueprint(terminal_admin_api.release_admin_blueprint(terminals))
    _join_staff(app, settings, admin, LogInDesk(
        work, keys.secrets.get, clock, Hasher(),
        Site(settings.webauthn_rp_id, settings.admin_origin, settings.issuer_name),
        password_days=settings.password_days, demo=settings.demo,
    ))  # fmt: skip
    _register_two_people(app, admin, keys, kek)
    app.register_blueprint(usage_api.usage_blueprint(admin))
    app.register_blueprint(issuer_api.cards_blueprint(issuer))
    app.register_blueprint(code_api.codes_blueprint(issuer))
    app.register_blueprint(code_api.temporary_blueprint(issuer))
    app.register_blueprint(phone_api.phones_blueprint(issuer))
    most = settings.import_megabytes * 2**20
    imports = batch_api.ImportDeps(work, clock, keys.sealer, authenticate, most)
    app.register_blueprint(batch_api.imports_blueprint(imports))
    app.register_blueprint(family_api.family_blueprint(issuer))
    app.register_blueprint(rights_api.rights_blueprint(rights_api.RightsDeps(issuer, checks_of, institution_names)))
    app.register_blueprint(verify_api.verifications_blueprint(verify))
    app.register_blueprint(verify_api.history_blueprint(verify))
    app.register_blueprint(binding_api.bindings_blueprint(bindings))
    app.register_blueprint(plastic_api.plastic_terminal_blueprint(plastic))
    app.register_blueprint(plastic_api.plastic_holder_blueprint(plastic))
    app.register_blueprint(plastic_api.plastic_shared_blueprint(plastic))
    app.register_blueprint(blacklist_api.blacklist_blueprint(bindings, issuer=settings.issuer))
    app.register_blueprint(patient_api.patient_ids_blueprint(bindings))
    _require_bins(settings)
    bank = bank_api.BankDeps(bindings, bank_gateway(settings, clock), most=settings.bank_accounts)
    app.register_blueprint(bank_api.bank_accounts_blueprint(bank))
    notices = bank_webhook.WebhookDeps(work, clock, bank_key(settings))
    app.register_blueprint(bank_webhook.bank_notices_blueprint(notices))
    app.register_blueprint(status.blueprint(about))


def _limits(settings: Settings) -> Limits:
    return Limits(
        app=settings.app_per_minute,
        app_day=settings.app_per_day,
        card=settings.card_per_minute,
        terminal=settings.terminal_per_minute,
        institution=settings.institution_per_minute,
    )


def _join_staff(app: Flask, settings: Settings, admin: staff_session_api.AdminDeps, desk: LogInDesk) -> None:
    """Log-in of the staff, their accounts, and what the audit administrator reads."""
    staff = StaffDeps(admin, desk, settings.trusted_proxies)
    app.register_blueprint(staff_login_api.staff_login_blueprint(staff))
    app.register_blueprint(staff_login_api.staff_proof_blueprint(staff))
    app.register_blueprint(staff_me_api.staff_me_blueprint(staff))
    app.register_blueprint(staff_api.staff_blueprint(staff))
    app.register_blueprint(audit_api.audit_blueprint(staff))


def _register_two_people(app: Flask, admin: staff_session_api.AdminDeps, keys: "Keys", kek: KeyEncryptingKey) -> None:
    """Where two of the staff decide, with what carries out each kind of act."""
    kinds = {
        KEY_REVOCATION: revoking.approval_kind(kek),
        DISCLOSURE_VERSION: versions.approval_kind(keys.sealer),
        CARD_CANCELLATION: mass_cancelling.approval_kind(),
    }
    deps = approvals_api.ApprovalDeps(admin, Desk(kinds, keys.sealer, entitled))
    app.register_blueprint(approvals_api.approvals_blueprint(deps))
    app.register_blueprint(disclosure_api.disclosure_blueprint(deps))


def _rules(work: UnitOfWork) -> Table:
    with work() as session:
        return versions.in_force(session, institution_kinds)


def _require_bins(settings: Settings) -> None:
    """Raises `SettingsError` for a table of bank issuer numbers that cannot be used."""
    try:
        bank_numbers.bins(settings.bank_bins_file)
    except LookupError as error:
        raise SettingsError(f"EHC_BANK_BINS_FILE: {error}") from None


class Keys:
    """The keys of one worker, each reloaded every ten seconds.

    `wary`: the first loading also looks whether the database role could change the audit log, and warns. Loading is the
    first that any worker does on the database.
    """

    def __init__(self, work: UnitOfWork, kek: KeyEncryptingKey, *, wary: bool = True) -> None:
        self._work, self._kek, self._wary = work, kek, wary
        self.secrets = Refreshed(self._secrets, every=300)
        self.code_ring = Refreshed(lambda: self._ring(Purpose.CODE, Purpose.PRINT))
        self.token_ring = Refreshed(lambda: self._ring(Purpose.TOKEN))
        self.list_ring = Refreshed(lambda: self._ring(Purpose.LIST))
        self.code_signers = Refreshed(lambda: self._signers(Purpose.CODE))
        self.print_signers = Refreshed(lambda: self._signers(Purpose.PRINT))
        self.token_signers = Refreshed(lambda: self._signers(Purpose.TOKEN))
        self.list_signers = Refreshed(lambda: self._signers(Purpose.LIST))

    def sealer(self) -> Sealer:
        """What seals and opens fields."""
        return self.secrets.get().sealer

    def of_caller(self) -> Secrets:
        """The symmetric keys as they are for whoever calls now: a client of the sandbox finds nobody real with them."""
        found = self.secrets.get()
        return found.of_sandbox() if in_sandbox() else found

    def _secrets(self) -> Secrets:
        with self._work() as session:
            if self._wary:
                audit.warn_if_too_strong(session)
            loaded = secret_keys.load(session, self._kek)
        self._wary = False
        return loaded

    def _ring(self, *purposes: Purpose) -> KeyRing:
        with self._work() as session:
            return ring.load_ring(session, *purposes)

    def _signers(self, purpose: Purpose) -> tuple[DatedSigner, ...]:
        with self._work() as session:
            return signing_keys.load_signers(session, self._kek, purpose)


def _readiness(work: UnitOfWork, keys: Keys, redis: RedisLink, clock: Clock) -> dict[str, bool | None]:
    shared = redis.answers()
    checks: dict[str, bool | None] = {"database": False, "keys": False, "partitions": False, "redis": shared}
    checks["limits"] = shared  # without Redis each worker counts for itself
    try:
        with work() as session:
            session.execute(text("SELECT 1"))
            checks["database"] = True
            checks["partitions"] = not missing_partitions(session, today=local_day(clock.now()))
        signing_keys.signer_at(keys.code_signers.get(), clock.now())
        keys.secrets.get()
        checks["keys"] = True
    except (SQLAlchemyError, EhcError, KekError, LookupError):
        pass
    return checks
