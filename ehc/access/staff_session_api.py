"""`/v1/admin/sessions/current`: who somebody of the staff is, and the end of their session."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Blueprint, Response
from marshmallow import Schema, fields

from ehc.access import staff_sessions
from ehc.clock import Clock
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.web.answers import Answer
from ehc.web.auth import AuthenticateStaff, staff, staff_only
from ehc.web.idempotency import Once
from ehc.web.openapi import operation


@dataclass(frozen=True)
class AdminDeps:
    """What the administration of access needs."""

    work: UnitOfWork
    once: Once
    clock: Clock
    sealer: Callable[[], Sealer]
    authenticate_staff: AuthenticateStaff


class BranchOut(Schema):
    """A part of the tree of institutions; both null is the whole."""

    region = fields.String(required=True, allow_none=True)
    institution_id = fields.UUID(required=True, allow_none=True)


class StaffSessionOut(Schema):
    """Who is logged in, and what they may do now."""

    staff_id = fields.UUID(required=True)
    roles = fields.List(fields.String(), required=True)
    rights = fields.List(fields.String(), required=True)
    branch = fields.Nested(BranchOut, required=True)
    fresh = fields.Boolean(required=True, metadata={"description": "Whether dangerous acts are possible now."})
    limited = fields.Boolean(required=True, metadata={"description": "Has still to set up the account."})


def staff_session_blueprint(deps: AdminDeps) -> Blueprint:
    """The session that the caller's token belongs to."""
    bp = Blueprint("staff_session", __name__, url_prefix="/v1/admin/sessions")
    bp.before_request(staff_only(deps.authenticate_staff))

    @bp.get("/current")
    @operation("Who is logged in", answers={200: StaffSessionOut}, staff=True)
    def get_session() -> Response:
        who = staff()
        branch = {
            "region": who.branch.region,
            "institution_id": str(who.branch.institution_id) if who.branch.institution_id else None,
        }
        return Answer(
            {
                "staff_id": str(who.id),
                "roles": sorted(who.roles),
                "rights": sorted(who.rights),
                "branch": branch,
                "fresh": who.fresh,
                "limited": who.limited,
            },
            headers={"Cache-Control": "no-store"},
        ).response()

    @bp.delete("/current")
    @operation("Log out", answers={204: None}, staff=True)
    def delete_session() -> Response:
        """The token stops at once."""
        with deps.work() as session:
            staff_sessions.end_session(session, staff(), now=deps.clock.now())
        return Response(status=204)

    return bp
