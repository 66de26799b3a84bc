"""Who is calling: an app (a mini-program's or hospital app's back end), a terminal of one institution, or one of the staff."""

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from uuid import UUID


class Scope(StrEnum):
    """What a client may do."""

    CARDS = "cards"
    CODES = "codes"
    VERIFY = "verify"
    BATCH = "batch"
    BINDINGS = "bindings"


class ClientKind(StrEnum):
    """An app acts for residents; a terminal belongs to one institution and only checks."""

    APP = "app"
    TERMINAL = "terminal"


class Reach(StrEnum):
    """How far a resident's own token goes at a route; a route that says nothing takes none."""

    OWN = "own"
    """The card of the path is the resident's own."""
    GUARDIAN = "guardian"
    """Their own; or one of a member they act for, where the app's grant for it is a guardian's and the room sees it so."""
    FAMILY = "family"
    """Their own, or one of a member they act for, whichever grant the app has: for what a guardian may as the holder may."""
    SELF = "self"
    """No card in the path: it is about the session or the person behind it, linked or not."""


@dataclass(frozen=True, slots=True)
class ResidentParty:
    """The resident for whom an app calls with their token: who is linked, if anybody is, and through which log-in."""

    session_id: UUID
    identity_id: UUID
    resident_id: UUID | None


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated client, as the rooms see it."""

    id: UUID
    kind: ClientKind
    scopes: frozenset[Scope]
    institution_id: UUID | None = None
    sandbox: bool = False
    """Sees synthetic people and nobody else."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """From where it may call; empty: from anywhere."""
    per_minute: int | None = None
    per_day: int | None = None
    """Limits of its own, instead of the deployment's."""
    steps: frozenset[str] | None = None
    """The medical steps that a terminal may check at; None: all."""
    resident: ResidentParty | None = None
    """Where it came with a resident's token, not its own."""


class Role(StrEnum):
    """What somebody of the staff is there for. Nobody holds two of the first three (三员分立, GB/T 22239-2019)."""

    SYSTEM_ADMIN = "system-admin"
    """系统管理员: institutions, apps, terminals and accounts."""
    SECURITY_ADMIN = "security-admin"
    """安全管理员: roles, approvals, keys and what is disclosed."""
    AUDIT_ADMIN = "audit-admin"
    """审计管理员: reads what the others did, and changes nothing."""
    REGION_OPERATOR = "region-operator"
    """区域管理员: the institutions and terminals of one region."""
    INSTITUTION_OPERATOR = "institution-operator"
    """机构管理员: the terminals of one institution."""
    CLERK = "clerk"
    """窗口人员: the counter of one institution."""


class Right(StrEnum):
    """What somebody of the staff may do. `ehc/access/roles.py` says which roles carry which."""

    INSTITUTIONS_READ = "institutions.read"
    INSTITUTIONS_WRITE = "institutions.write"
    APPS_READ = "apps.read"
    APPS_WRITE = "apps.write"
    APPS_APPROVE = "apps.approve"
    TERMINALS_READ = "terminals.read"
    TERMINALS_WRITE = "terminals.write"
    STAFF_READ = "staff.read"
    STAFF_WRITE = "staff.write"
    ROLES_GRANT = "roles.grant"
    DISCLOSURE_READ = "disclosure.read"
    DISCLOSURE_WRITE = "disclosure.write"
    KEYS_REVOKE = "keys.revoke"
    CARDS_CANCEL_MANY = "cards.cancel-many"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_WRITE = "webhooks.write"
    GATEWAYS_READ = "gateways.read"
    GATEWAYS_WRITE = "gateways.write"
    USAGE_READ = "usage.read"
    AUDIT_READ = "audit.read"


@dataclass(frozen=True, slots=True)
class Branch:
    """The part of the tree of institutions that somebody works in; both None is the whole of it.

    `region` is a GB/T 2260 code of six digits, and means all below it.
    """

    region: str | None = None
    institution_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Staff:
    """Somebody of the staff who has logged in.

    `fresh`: proved who they are within the last minutes, as dangerous acts ask. `limited`: may do nothing yet but change
    the first password and set up the second factor.
    """

    id: UUID
    session_id: UUID
    roles: frozenset[Role]
    rights: frozenset[Right]
    branch: Branch
    fresh: bool = False
    limited: bool = False

    @property
    def actor(self) -> str:
        """The person in the audit log."""
        return f"staff:{self.id}"


class NotAuthentic(Exception):
    """A token that is not one of ours, or out of date, or of a client or person that was disabled."""
