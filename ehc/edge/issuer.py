"""The room `issuer`, joined."""

from collections.abc import Iterator

from flask import Blueprint

from ehc.access.clients import institution_names
from ehc.edge.parts import Parts
from ehc.errors import EhcError
from ehc.issuer import api as issuer_api
from ehc.issuer import code_api, family_api, phone_api, rights_api, session_api
from ehc.issuer.batch import api as batch_api
from ehc.issuer.codes import CodeDesk
from ehc.issuer.deps import IssuerDeps
from ehc.issuer.limits import IssueLimit
from ehc.issuer.log_ins import LogInDesk
from ehc.issuer.national_codes import NationalDesk
from ehc.issuer.registry import registry_of
from ehc.parties import alipay, identity_authority, sms_gateway, wechat
from ehc.verify.history import checks_of
from ehc.web.auth import in_sandbox

STATUSES: dict[type[EhcError], int] = {
    **issuer_api.STATUSES,
    **batch_api.STATUSES,
    **code_api.STATUSES,
    **phone_api.STATUSES,
    **family_api.STATUSES,
    **rights_api.STATUSES,
    **session_api.STATUSES,
}


def blueprints(parts: Parts) -> Iterator[Blueprint]:
    """Every blueprint of the room. Raises `SettingsError` or `SetupError` for a party that cannot be reached as configured."""
    deps = parts.shared(issuer_deps)
    yield issuer_api.cards_blueprint(deps)
    yield code_api.codes_blueprint(deps)
    yield code_api.temporary_blueprint(deps)
    yield phone_api.phones_blueprint(deps)
    most = parts.settings.import_megabytes * 2**20
    yield batch_api.imports_blueprint(
        batch_api.ImportDeps(parts.work, parts.clock, parts.keys.sealer, parts.authenticate, most)
    )
    yield family_api.family_blueprint(deps)
    yield rights_api.rights_blueprint(rights_api.RightsDeps(deps, checks_of, institution_names))
    yield session_api.sessions_blueprint(session_api.SessionDeps(deps, _desk(parts), parts.gate.address))


def _desk(parts: Parts) -> LogInDesk:
    settings, clock = parts.settings, parts.clock
    to_wechat, to_alipay = wechat(settings), alipay(settings, clock)
    return LogInDesk(parts.work, parts.keys.secrets.get, clock, to_wechat, to_alipay, demo=settings.demo)


def issuer_deps(parts: Parts) -> IssuerDeps:
    """What the room is handed. Raises `SettingsError` or `SetupError` as `blueprints` does."""
    settings, keys, clock = parts.settings, parts.keys, parts.clock
    limit = IssueLimit(parts.redis, per_minute=settings.codes_per_minute)
    desk = CodeDesk(
        parts.engine, signers=keys.code_signers, cti_key=lambda: keys.secrets.get().cti, limit=limit, clock=clock
    )
    authority = identity_authority(settings, clock)
    return IssuerDeps(
        work=parts.work,
        once=parts.once,
        clock=clock,
        registry=lambda: registry_of(settings, keys.of_caller(), authority=None if in_sandbox() else authority),
        desk=desk,
        national_desk=NationalDesk(
            desk,
            parts.work,
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
        authenticate=parts.authenticate,
    )
