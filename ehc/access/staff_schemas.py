"""Shapes of the accounts of the staff, and of the audit log."""

from typing import Any
from uuid import UUID

from marshmallow import Schema, fields, validate

from ehc.access.staff_login_models import StaffGrantRow
from ehc.access.staff_models import StaffRow
from ehc.access.staff_session_api import BranchOut
from ehc.callers import Branch, Role
from ehc.web.answers import instant
from ehc.web.fields import choice, text
from ehc.web.paging import DEFAULT_LIMIT, MAX_LIMIT, LimitField

REASONS = ("left", "moved", "misuse", "credentials-lost", "no-longer-needed", "other")
"""Why something is taken from somebody. Free text would put names into the audit log."""


class StaffIn(Schema):
    """A new account."""

    login = text(3, 40, required=True, about="A small letter, then small letters, digits or ._-")
    name = text(1, 60, required=True, about="The person's name.")


class StaffNameIn(Schema):
    """A name to correct."""

    name = text(1, 60, required=True, about="The person's name.")


class StaffReasonIn(Schema):
    """Why."""

    reason = choice(REASONS, required=True, about="Why.")


class StaffResetIn(Schema):
    """What is to be made new."""

    password = fields.Boolean(load_default=False, metadata={"description": "A new first password, told once."})
    second_factor = fields.Boolean(
        load_default=False, metadata={"description": "Take TOTP, authenticators, codes away."}
    )


class StaffBranchIn(Schema):
    """A part of the tree of institutions; neither for the three administrators."""

    region = fields.String(validate=validate.Regexp(r"[0-9]{6}\Z", error="characters"))
    institution_id = fields.UUID()


class StaffRolesIn(Schema):
    """Roles to propose."""

    roles = fields.List(
        choice([str(role) for role in Role], about="A role."),
        required=True,
        validate=validate.Length(1, len(Role), error="length"),
    )
    branch = fields.Nested(StaffBranchIn, load_default=dict)


class StaffConfirmationIn(Schema):
    """What the person whom the roles are for says, face to face."""

    confirmation = text(1, 20, required=True, about="The code that their own account shows them.")


class RoleGrantOut(Schema):
    """Roles that wait for a security administrator."""

    grant_id = fields.UUID(required=True)
    roles = fields.List(fields.String(), required=True)
    branch = fields.Nested(BranchOut, required=True)
    proposed_by = fields.UUID(required=True, allow_none=True, metadata={"description": "Null: at the command line."})
    proposed_at = fields.String(required=True)


class StaffOut(Schema):
    """An account of the staff."""

    staff_id = fields.UUID(required=True)
    login = fields.String(required=True)
    name = fields.String(required=True)
    state = fields.String(required=True, metadata={"enum": ["live", "disabled"]})
    roles = fields.List(fields.String(), required=True)
    branch = fields.Nested(BranchOut, required=True)
    proposed = fields.Nested(RoleGrantOut, required=True, allow_none=True)
    limited = fields.Boolean(required=True)
    created_at = fields.String(required=True)


class NewStaffOut(StaffOut):
    """A new account, with the password to hand over, told once."""

    initial_password = fields.String(required=True)


class StaffResetOut(StaffOut):
    """An account that was reset; with the password to hand over, told once, if one was made."""

    initial_password = fields.String(required=True, allow_none=True)


class StaffUnlockOut(Schema):
    """A device token to hand over, good for one log-in within half an hour whatever strangers do."""

    device = fields.String(required=True)


class StaffListOut(Schema):
    """A page of accounts."""

    items = fields.List(fields.Nested(StaffOut), required=True)
    next = fields.String(required=True, allow_none=True)


class AuditQuery(Schema):
    """What to look for in the audit log: `since` and `until` bound the time, the last 31 days unless said."""

    actor = text(1, 80, about="Who: `staff:ID`, `client:ID`, `operator`, `nobody`.")
    subject = text(1, 80, about="On whom or what.")
    action = text(1, 80, about="For example `staff.logged-in`; `staff.*` for all that begin so.")
    source = text(1, 45, about="An address: what came from there.")
    since = fields.AwareDateTime(metadata={"description": "From this time on."})
    until = fields.AwareDateTime(metadata={"description": "Up to, not including, this time."})
    limit = LimitField(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_LIMIT, error="range"),
        metadata={"description": "Rows in a page."},
    )
    cursor = fields.String(
        load_default=None,
        validate=[validate.Length(1, 200, error="length"), validate.Regexp(r"[A-Za-z0-9_=-]+\Z", error="cursor")],
        metadata={"description": "`next` of the page before."},
    )


class AuditActOut(Schema):
    """One act, as the log holds it."""

    chain = fields.Integer(required=True)
    seq = fields.Integer(required=True)
    at = fields.String(required=True)
    actor = fields.String(required=True)
    action = fields.String(required=True)
    subject = fields.String(required=True)
    facts = fields.Dict(required=True)
    hash = fields.String(required=True)


class AuditPageOut(Schema):
    """A page of the audit log, the newest first."""

    items = fields.List(fields.Nested(AuditActOut), required=True)
    next = fields.String(required=True, allow_none=True)


def branch_of(wanted: dict[str, Any]) -> Branch:
    """The branch in a request."""
    return Branch(wanted.get("region"), wanted.get("institution_id"))


def grant_out(row: StaffGrantRow) -> dict[str, Any]:
    """A proposal as JSON."""
    return {
        "grant_id": str(row.id),
        "roles": list(row.roles),
        "branch": {"region": row.region, "institution_id": _text(row.institution_id)},
        "proposed_by": _text(row.proposed_by),
        "proposed_at": instant(row.proposed_at),
    }


def staff_out(row: StaffRow, proposed: StaffGrantRow | None, name: str) -> dict[str, Any]:
    """An account as JSON."""
    return {
        "staff_id": str(row.id),
        "login": row.login,
        "name": name,
        "state": "disabled" if row.disabled_at else "live",
        "roles": list(row.roles),
        "branch": {"region": row.region, "institution_id": _text(row.institution_id)},
        "proposed": grant_out(proposed) if proposed else None,
        "limited": row.limited,
        "created_at": instant(row.created_at),
    }


def _text(found: UUID | None) -> str | None:
    return str(found) if found is not None else None
