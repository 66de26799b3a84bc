"""Who may call what: one row for every route, written by hand, so that a route cannot open itself.

A row says which scopes let a client in, or which right lets the staff in, and what the rightful caller and a stranger with
the same scopes are answered when they send `body`.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ehc.callers import Reach, Right, Scope

CARD = "/v1/cards/{card_id}"
NOBODYS = str(UUID(int=7 << 76 | 2 << 62))
"""An id of nothing, for the parts of an address below a card."""
_REASON = {"reason": "测试"}


@dataclass(frozen=True)
class Row:
    """One route. `own` and `other` are statuses; None is any but 401 and 403. Where anyone may call, `other` is for all."""

    scopes: frozenset[Scope] = frozenset()
    right: Right | None = None
    anyone: bool = False
    any_staff: bool = False
    body: Any = None
    own: int | None = None
    other: int | None = None
    terminal: int | None = None
    """What a terminal is answered where apps may call as well."""
    headers: tuple[tuple[str, str], ...] = ()
    resident: Reach | None = None
    """How far a resident's own token goes; None: it is not taken."""
    mine: int | None = None
    """What the resident whose card it is, or whose session, is answered, where that is not what the app is."""


def anyone() -> Row:
    """Public, or known by something else than a token."""
    return Row(anyone=True)


def client(*scopes: Scope, **facts: Any) -> Row:
    """For apps and terminals that have one of these scopes; `facts` are members of `Row`."""
    return Row(frozenset(scopes), **facts)


def admin(right: Right | None = None, body: Any = None) -> Row:
    """For the staff who have a right; None is for all of them."""
    return Row(right=right, any_staff=right is None, body=body)


_CARDS, _CODES, _VERIFY, _BATCH, _BINDINGS = Scope.CARDS, Scope.CODES, Scope.VERIFY, Scope.BATCH, Scope.BINDINGS
_BANK, _PLASTIC, _PATIENT = (f"{CARD}/bindings/{kind}" for kind in ("bank-accounts", "plastic-cards", "patient-ids"))

PUBLIC = (
    {
        ("GET", path): anyone()
        for path in (
            "/docs",
            "/static/web/<path:filename>",
            "/healthz",
            "/metrics",
            "/openapi.json",
            "/readyz",
            "/.well-known/ehc/keys",
            "/.well-known/ehc/keys.cose",
            "/.well-known/ehc/list-keys",
        )
    }
    | {
        ("POST", path): anyone()
        for path in ("/oauth/token", "/v1/bank-notices", "/rest/auth/<path:path>", "/demo/wechat/codes")
    }
    | {("GET", f"/demo/wechat/{path}"): anyone() for path in ("", "open/getUserCode", "open/takeMsCard")}
)

PROVINCIAL = {
    (method, path): Row(anyone=True, other=status)
    for method, status in (("GET", 405), ("POST", 500))  # no ?wsdl, and a fault: `{}` is no envelope
    for path in ("/healthCard/services/elecHealthCardWebSevice", "/ws/elecHealthCardWebSevice", "/ws/")
}
"""Who calls is in the envelope."""

CARDS = {
    ("POST", "/v1/cards"): client(_CARDS, resident=Reach.SELF),
    ("GET", CARD): client(_CARDS, own=200, other=404, resident=Reach.FAMILY),
    ("PATCH", CARD): client(
        _CARDS, body={"address": "新地址"}, headers=(("If-Match", '"1"'),), own=200, other=404, resident=Reach.GUARDIAN
    ),
    ("POST", f"{CARD}/suspend"): client(_CARDS, body=_REASON, own=200, other=404, resident=Reach.GUARDIAN),
    ("POST", f"{CARD}/report-loss"): client(_CARDS, body=_REASON, own=200, other=404, resident=Reach.GUARDIAN),
    ("POST", f"{CARD}/resume"): client(_CARDS, body=_REASON, own=409, other=404, resident=Reach.GUARDIAN),
    ("POST", f"{CARD}/cancel"): client(_CARDS, body=_REASON, own=200, other=404, resident=Reach.GUARDIAN),
    ("POST", f"{CARD}/close"): client(_CARDS, body=_REASON, resident=Reach.OWN),
    ("POST", f"{CARD}/codes"): client(_CODES, body={}, own=201, other=404, resident=Reach.FAMILY),
    ("POST", f"{CARD}/documents"): client(_CARDS),
    ("POST", f"{CARD}/consents"): client(_CARDS, resident=Reach.OWN),
    ("GET", f"{CARD}/consents"): client(_CARDS, own=200, other=404, resident=Reach.OWN),
    ("POST", f"{CARD}/consents/{{consent_id}}/withdraw"): client(
        _CARDS, body={}, own=404, other=404, resident=Reach.OWN
    ),
    ("POST", f"{CARD}/corrections"): client(_CARDS, resident=Reach.OWN),
    ("GET", f"{CARD}/corrections"): client(_CARDS, own=200, other=404, resident=Reach.OWN),
    ("POST", f"{CARD}/export"): client(_CARDS, body={}, other=404, resident=Reach.OWN),
    ("POST", f"{CARD}/family"): client(_CARDS),
    ("GET", f"{CARD}/family"): client(_CARDS, own=200, other=404, resident=Reach.OWN),
    ("POST", f"{CARD}/family/{{link_id}}/end"): client(_CARDS, body=_REASON, own=404, other=404, resident=Reach.OWN),
    ("GET", f"{CARD}/access-log"): client(_CARDS, own=200, other=404, resident=Reach.FAMILY),
    ("GET", f"{CARD}/verifications"): client(_CARDS, own=200, other=404, resident=Reach.FAMILY),
    ("GET", f"{CARD}/print"): client(_CODES, other=404),
    ("POST", "/v1/temporary-cards"): client(_CARDS),
    ("POST", "/v1/temporary-cards/{card_id}/join"): client(_CARDS),
    ("POST", "/v1/phone-proofs"): client(_CARDS, resident=Reach.SELF),
    ("POST", "/v1/phone-proofs/{proof_id}/confirm"): client(
        _CARDS, body={"code": "000000"}, own=409, other=409, resident=Reach.SELF
    ),
    ("POST", "/v1/imports"): client(_BATCH),
    ("GET", "/v1/imports/{import_id}"): client(_BATCH, own=404, other=404),
    ("GET", "/v1/imports/{import_id}/errors"): client(_BATCH, own=404, other=404),
}

CHECKS = {("POST", "/v1/verifications"): client(_VERIFY), ("GET", "/v1/blacklist"): client(_VERIFY)}

BINDINGS = {
    ("GET", f"{CARD}/bindings"): client(_BINDINGS, _VERIFY, own=200, other=404, terminal=200, resident=Reach.FAMILY),
    ("POST", _PATIENT): client(_BINDINGS, _VERIFY),
    ("GET", _PATIENT): client(_BINDINGS, _VERIFY, own=200, other=404, terminal=200, resident=Reach.FAMILY),
    ("DELETE", f"{_PATIENT}/{{binding_id}}"): client(
        _BINDINGS, _VERIFY, own=404, other=404, terminal=404, resident=Reach.GUARDIAN
    ),
    ("POST", "/v1/patient-ids/changes"): client(_BINDINGS, _VERIFY),
    ("POST", _BANK): client(_BINDINGS, resident=Reach.OWN),
    ("GET", _BANK): client(_BINDINGS, own=200, other=404, resident=Reach.OWN),
    ("GET", f"{_BANK}/{{account_id}}"): client(_BINDINGS, own=404, other=404, resident=Reach.OWN),
    ("DELETE", f"{_BANK}/{{account_id}}"): client(_BINDINGS, own=404, other=404, resident=Reach.OWN),
    ("POST", f"{_BANK}/{{account_id}}/confirm"): client(
        _BINDINGS, body={"code": "000000"}, own=409, other=409, resident=Reach.OWN
    ),
    ("POST", f"{_BANK}/{{account_id}}/default"): client(_BINDINGS, body={}, own=404, other=404, resident=Reach.OWN),
    ("POST", _PLASTIC): client(_VERIFY),
    ("GET", _PLASTIC): client(_BINDINGS, _VERIFY, own=200, other=404, terminal=200, resident=Reach.FAMILY),
    ("DELETE", f"{_PLASTIC}/{{binding_id}}"): client(
        _BINDINGS, _VERIFY, own=404, other=404, terminal=404, resident=Reach.OWN
    ),
    ("POST", f"{_PLASTIC}/{{binding_id}}/report-loss"): client(
        _BINDINGS, _VERIFY, body=_REASON, own=404, other=404, resident=Reach.GUARDIAN
    ),
    ("POST", f"{_PLASTIC}/{{binding_id}}/withdraw-loss"): client(
        _BINDINGS, body={}, own=404, other=404, resident=Reach.OWN
    ),
    ("POST", f"{_PLASTIC}/{{binding_id}}/replace"): client(_VERIFY),
    ("POST", f"{_PLASTIC}/{{binding_id}}/found"): client(_VERIFY),
}

_INSTITUTION = "/v1/admin/institutions/{institution_id}"
_DEPARTMENT = f"{_INSTITUTION}/departments/{{department_id}}"
_READ, _WRITE = Right.INSTITUTIONS_READ, Right.INSTITUTIONS_WRITE
INSTITUTIONS = {
    ("GET", "/v1/institutions"): client(*Scope, own=200, other=200, terminal=200),
    ("GET", "/v1/institutions/{institution_id}"): client(*Scope, own=404, other=404, terminal=404),
    **{
        ("GET", path): admin(_READ)
        for path in (
            "/v1/admin/regions",
            "/v1/admin/standard-departments",
            "/v1/admin/institutions",
            _INSTITUTION,
            f"{_INSTITUTION}/departments",
            _DEPARTMENT,
        )
    },
    ("POST", "/v1/admin/institutions"): admin(_WRITE),
    ("PATCH", _INSTITUTION): admin(_WRITE),
    **{
        ("POST", f"{_INSTITUTION}/{act}"): admin(_WRITE)
        for act in ("suspend", "resume", "close", "codes", "departments")
    },
    ("POST", f"{_INSTITUTION}/codes/{{code_id}}/end"): admin(_WRITE),
    ("PATCH", _DEPARTMENT): admin(_WRITE),
    ("DELETE", _DEPARTMENT): admin(_WRITE),
    ("POST", "/v1/admin/institutions/imports"): admin(_WRITE),
    ("GET", "/v1/admin/institutions/imports/{import_id}"): admin(_WRITE),
    ("GET", "/v1/admin/institutions/imports/{import_id}/errors"): admin(_WRITE),
}

_APP = "/v1/admin/apps/{app_id}"
APPS = {
    ("GET", "/v1/admin/apps"): admin(Right.APPS_READ),
    ("POST", "/v1/admin/apps"): admin(Right.APPS_WRITE),
    ("GET", _APP): admin(Right.APPS_READ),
    ("PATCH", _APP): admin(Right.APPS_WRITE),
    **{("POST", f"{_APP}/{act}"): admin(Right.APPS_APPROVE) for act in ("approve", "suspend", "resume")},
    **{("POST", f"{_APP}/{act}"): admin(Right.APPS_WRITE) for act in ("go-live", "secrets", "keys")},
    ("DELETE", f"{_APP}/secrets/{{secret_id}}"): admin(Right.APPS_WRITE),
    ("DELETE", f"{_APP}/keys/{{key_id}}"): admin(Right.APPS_WRITE),
    ("GET", f"{_APP}/platforms"): admin(Right.APPS_READ),
    **{("PUT", f"{_APP}/platforms/{name}"): admin(Right.APPS_WRITE) for name in ("wechat", "alipay")},
    **{("DELETE", f"{_APP}/platforms/{name}"): admin(Right.APPS_WRITE) for name in ("wechat", "alipay")},
    ("POST", f"{_APP}/sessions/end"): admin(Right.APPS_WRITE),
    ("GET", "/v1/admin/cards/{card_id}/sessions"): admin(Right.APPS_READ),
    ("POST", "/v1/admin/cards/{card_id}/sessions/end"): admin(Right.APPS_WRITE),
}

_CURRENT = "/v1/sessions/current"
SESSIONS = {
    ("POST", "/v1/sessions"): client(_CARDS),
    ("GET", _CURRENT): client(_CARDS, own=403, other=403, resident=Reach.SELF, mine=200),
    ("DELETE", _CURRENT): client(_CARDS, own=403, other=403, resident=Reach.SELF, mine=204),
    ("POST", f"{_CURRENT}/link"): client(_CARDS, own=403, other=403, resident=Reach.SELF, mine=422),
    ("DELETE", f"{_CURRENT}/link"): client(_CARDS, own=403, other=403, resident=Reach.SELF, mine=204),
}

_TERMINAL, _TREAD, _TWRITE = "/v1/admin/terminals/{terminal_id}", Right.TERMINALS_READ, Right.TERMINALS_WRITE
TERMINALS = {
    ("POST", "/v1/terminals/enrol"): anyone(),
    ("GET", "/v1/terminals/self"): client(_VERIFY, terminal=200),
    ("POST", "/v1/terminals/heartbeat"): client(_VERIFY),
    **{
        ("GET", f"/v1/admin/{path}"): admin(_TREAD)
        for path in ("terminals", "terminals/attention", "terminal-enrolments", "terminal-releases")
    },
    ("GET", _TERMINAL): admin(_TREAD),
    ("PATCH", _TERMINAL): admin(_TWRITE),
    **{("POST", f"{_TERMINAL}/{act}"): admin(_TWRITE) for act in ("block", "unblock", "replace")},
    ("POST", "/v1/admin/terminal-enrolments"): admin(_TWRITE),
    ("POST", "/v1/admin/terminal-enrolments/{enrolment_id}/cancel"): admin(_TWRITE),
    ("POST", "/v1/admin/terminal-releases"): admin(_TWRITE),
}

_ME, _STAFF = "/v1/admin/me", "/v1/admin/staff/{staff_id}"
STAFF = {
    ("POST", "/v1/admin/sessions"): anyone(),
    **{("POST", f"/v1/admin/sessions/current/{act}"): admin() for act in ("challenge", "proof")},
    ("GET", _ME): admin(),
    **{
        ("POST", f"{_ME}/{act}"): admin()
        for act in ("password", "recovery-codes", "totp", "totp/confirm", "webauthn", "webauthn/confirm")
    },
    ("DELETE", f"{_ME}/totp"): admin(),
    ("DELETE", f"{_ME}/webauthn/{{passkey_id}}"): admin(),
    ("GET", "/v1/admin/staff"): admin(Right.STAFF_READ),
    ("POST", "/v1/admin/staff"): admin(Right.STAFF_WRITE),
    ("GET", _STAFF): admin(Right.STAFF_READ),
    ("PATCH", _STAFF): admin(Right.STAFF_WRITE),
    **{
        ("POST", f"{_STAFF}/{act}"): admin(Right.STAFF_WRITE)
        for act in ("reset", "disable", "enable", "unlock", "roles")
    },
    **{
        ("POST", f"{_STAFF}/roles/{act}"): admin(Right.ROLES_GRANT)
        for act in ("{grant_id}/grant", "{grant_id}/refuse", "revoke")
    },
    ("GET", "/v1/admin/audit"): admin(Right.AUDIT_READ),
}

_HOOK = "/v1/webhooks/{webhook_id}"
WEBHOOKS = {
    ("POST", "/v1/webhooks"): client(_CARDS),
    ("GET", "/v1/webhooks"): client(_CARDS, own=200, other=200),
    ("GET", _HOOK): client(_CARDS, own=404, other=404),
    ("PATCH", _HOOK): client(_CARDS),
    ("DELETE", _HOOK): client(_CARDS, own=404, other=404),
    **{("POST", f"{_HOOK}/{act}"): client(_CARDS) for act in ("secret", "test", "replay", "redeliver")},
    ("GET", f"{_HOOK}/deliveries"): client(_CARDS, own=404, other=404),
}

ADMIN = {
    ("GET", "/v1/usage/summary"): admin(Right.USAGE_READ),
    ("GET", "/v1/admin/webhooks"): admin(Right.WEBHOOKS_READ),
    ("GET", "/v1/admin/webhooks/{webhook_id}/deliveries"): admin(Right.WEBHOOKS_READ),
    **{
        ("POST", f"/v1/admin/webhooks/{{webhook_id}}/{act}"): admin(Right.WEBHOOKS_WRITE)
        for act in ("pause", "resume", "redeliver")
    },
    ("GET", "/v1/admin/sessions/current"): admin(),
    ("DELETE", "/v1/admin/sessions/current"): admin(),
    ("GET", "/v1/admin/approvals"): admin(),
    ("GET", "/v1/admin/approvals/{approval_id}"): admin(),
    ("POST", "/v1/admin/approvals/key-revocations"): admin(Right.KEYS_REVOKE),
    ("POST", "/v1/admin/approvals/card-cancellations"): admin(Right.CARDS_CANCEL_MANY),
    ("POST", "/v1/admin/approvals/{approval_id}/approve"): admin(),
    ("POST", "/v1/admin/approvals/{approval_id}/reject"): admin(body=_REASON),
    ("POST", "/v1/admin/approvals/{approval_id}/withdraw"): admin(),
    ("GET", "/v1/admin/disclosure"): admin(Right.DISCLOSURE_READ),
    ("GET", "/v1/admin/disclosure/versions"): admin(Right.DISCLOSURE_READ),
    ("GET", "/v1/admin/disclosure/diff"): admin(Right.DISCLOSURE_READ),
    ("GET", "/v1/admin/disclosure/explain"): admin(Right.DISCLOSURE_READ),
    ("POST", "/v1/admin/disclosure/proposals"): admin(Right.DISCLOSURE_WRITE),
}

_GATEWAY = "/v1/admin/gateways/{account_id}"
_GREAD, _GWRITE = Right.GATEWAYS_READ, Right.GATEWAYS_WRITE
GATEWAYS = {
    ("GET", "/v1/admin/gateways"): admin(_GREAD),
    ("POST", "/v1/admin/gateways"): admin(_GWRITE),
    ("GET", "/v1/admin/gateways/failures"): admin(_GREAD),
    ("GET", _GATEWAY): admin(_GREAD),
    ("PATCH", _GATEWAY): admin(_GWRITE),
    **{("GET", f"{_GATEWAY}/{what}"): admin(_GREAD) for what in ("usage", "failures")},
    **{("POST", f"{_GATEWAY}/{act}"): admin(_GWRITE) for act in ("suspend", "resume", "secrets", "places")},
    ("DELETE", f"{_GATEWAY}/secrets/{{secret_id}}"): admin(_GWRITE),
    ("DELETE", f"{_GATEWAY}/places/{{place_id}}"): admin(_GWRITE),
}

ROWS: dict[tuple[str, str], Row] = {
    **PUBLIC,
    **PROVINCIAL,
    **CARDS,
    **CHECKS,
    **BINDINGS,
    **WEBHOOKS,
    **INSTITUTIONS,
    **APPS,
    **SESSIONS,
    **TERMINALS,
    **STAFF,
    **ADMIN,
    **GATEWAYS,
}
