"""The room `access`, joined: tokens, institutions, apps, terminals, staff, disclosure, webhooks, counts."""

from collections.abc import Iterator

from flask import Blueprint

from ehc.access import api as token_api
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
    platform_api,
    roles,
    staff_api,
    staff_login_api,
    staff_me_api,
    staff_session_api,
    terminal_admin_api,
    terminal_api,
    usage_api,
    webhook_admin_api,
    webhook_api,
)
from ehc.access.log_ins import Desk as LogInDesk
from ehc.access.passkeys import Site
from ehc.access.passwords import Hasher
from ehc.access.staff_acts import entitled
from ehc.access.staff_deps import StaffDeps
from ehc.access.webhook_tasks import poster
from ehc.approvals.desk import Desk
from ehc.approvals.kinds import CARD_CANCELLATION, DISCLOSURE_VERSION, KEY_REVOCATION
from ehc.disclosure import versions
from ehc.edge.parts import Parts
from ehc.errors import EhcError
from ehc.issuer import mass_cancelling
from ehc.keystore import revoking

STATUSES: dict[type[EhcError], int] = {
    **token_api.STATUSES,
    **institution_api.STATUSES,
    **app_api.STATUSES,
    **approvals_api.STATUSES,
    **disclosure_api.STATUSES,
    **usage_api.STATUSES,
    **webhook_api.STATUSES,
    **terminal_api.STATUSES,
    **staff_login_api.STATUSES,
    branches.NoSuchInstitution: 404,
    roles.RolesApart: 422,
}


def blueprints(parts: Parts) -> Iterator[Blueprint]:
    """Every blueprint of the room."""
    keys = parts.keys
    tokens = token_api.AccessDeps(parts.work, parts.clock, keys.token_signers, parts.names, parts.gate.admit)
    yield token_api.blueprint(tokens)
    yield from _institutions(parts)
    yield app_api.apps_blueprint(parts.admin)
    platforms = platform_api.PlatformDeps(parts.admin, demo=parts.settings.demo)
    yield platform_api.app_platforms_blueprint(platforms)
    yield platform_api.resident_sessions_blueprint(platforms)
    yield from _terminals(parts)
    yield from _staff(parts)
    yield from _two_people(parts)
    hooks = webhook_api.WebhookDeps(
        parts.admin.work, parts.clock, keys.sealer, poster(parts.settings), parts.authenticate
    )
    yield webhook_api.webhooks_blueprint(hooks)
    yield webhook_admin_api.admin_webhooks_blueprint(parts.admin)
    yield usage_api.usage_blueprint(parts.admin)


def _institutions(parts: Parts) -> Iterator[Blueprint]:
    yield institution_api.institutions_blueprint(parts.admin)
    yield institution_import_api.institution_imports_blueprint(parts.admin)
    yield department_api.departments_blueprint(parts.admin)
    yield institution_public_api.public_institutions_blueprint(parts.work, parts.authenticate)


def _terminals(parts: Parts) -> Iterator[Blueprint]:
    deps = terminal_api.TerminalDeps(
        parts.admin, parts.authenticate, lambda: parts.keys.secrets.get().blind_index, parts.settings.issuer
    )
    yield terminal_api.enrolling_blueprint(deps)
    yield terminal_api.terminals_blueprint(deps)
    yield terminal_admin_api.terminal_admin_blueprint(deps)
    yield terminal_admin_api.enrolment_admin_blueprint(deps)
    yield terminal_admin_api.release_admin_blueprint(deps)


def _staff(parts: Parts) -> Iterator[Blueprint]:
    """Log-in of the staff, their accounts, and what the audit administrator reads."""
    settings = parts.settings
    desk = LogInDesk(
        parts.admin.work,
        parts.keys.secrets.get,
        parts.clock,
        Hasher(),
        Site(settings.webauthn_rp_id, settings.admin_origin, settings.issuer_name),
        password_days=settings.password_days,
        demo=settings.demo,
    )
    deps = StaffDeps(parts.admin, desk, settings.trusted_proxies)
    yield staff_session_api.staff_session_blueprint(parts.admin)
    yield staff_login_api.staff_login_blueprint(deps)
    yield staff_login_api.staff_proof_blueprint(deps)
    yield staff_me_api.staff_me_blueprint(deps)
    yield staff_api.staff_blueprint(deps)
    yield audit_api.audit_blueprint(deps)


def _two_people(parts: Parts) -> Iterator[Blueprint]:
    """Where two of the staff decide, with what carries out each kind of act."""
    kinds = {
        KEY_REVOCATION: revoking.approval_kind(parts.kek),
        DISCLOSURE_VERSION: versions.approval_kind(parts.keys.sealer),
        CARD_CANCELLATION: mass_cancelling.approval_kind(),
    }
    deps = approvals_api.ApprovalDeps(parts.admin, Desk(kinds, parts.keys.sealer, entitled))
    yield approvals_api.approvals_blueprint(deps)
    yield disclosure_api.disclosure_blueprint(deps)
