"""`/v1/admin/institutions/{id}/departments`: the departments of an institution, for the staff of its branch."""

from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.access import departments
from ehc.access import institution_schemas as schemas
from ehc.access.branches import require_within
from ehc.access.institution_api import acting
from ehc.access.institution_models import DepartmentRow
from ehc.access.staff_session_api import AdminDeps
from ehc.callers import Right
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.etags import etag, wanted_version
from ehc.web.openapi import operation

_NEW, _CHANGE = schemas.DepartmentIn(), schemas.DepartmentChangeIn()


def departments_blueprint(deps: AdminDeps) -> Blueprint:
    """Departments, for the staff."""
    bp = Blueprint("admin_departments", __name__, url_prefix="/v1/admin/institutions/<uuid:institution_id>/departments")
    bp.before_request(staff_only(deps.authenticate_staff))
    _add_reading(bp, deps)
    _add_changes(bp, deps)
    return bp


def _add_reading(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.get("")
    @operation(
        "List departments",
        answers={200: schemas.DepartmentsOut},
        right=Right.INSTITUTIONS_READ,
        problems=(404,),
    )
    def get_departments(institution_id: UUID) -> Response:
        """All live ones, oldest first; an institution has 500 at most."""
        who = require(Right.INSTITUTIONS_READ)
        with deps.work() as session:
            rows = departments.of(session, require_within(session, who.branch, institution_id).id)
        return Answer({"items": [schemas.department_out(row) for row in rows]}).response()

    @bp.get("/<uuid:department_id>")
    @operation(
        "Read a department",
        answers={200: schemas.DepartmentOut},
        right=Right.INSTITUTIONS_READ,
        problems=(404,),
    )
    def get_department(institution_id: UUID, department_id: UUID) -> Response:
        who = require(Right.INSTITUTIONS_READ)
        with deps.work() as session:
            owner = require_within(session, who.branch, institution_id)
            row = departments.one(session, owner.id, department_id)
        return _answer(row).response()


def _add_changes(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("")
    @operation(
        "Add a department",
        body=schemas.DepartmentIn,
        answers={201: schemas.DepartmentOut},
        right=Right.INSTITUTIONS_WRITE,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_department(institution_id: UUID) -> Response:
        who, wanted = require(Right.INSTITUTIONS_WRITE), parsing.body(_NEW)

        def act(session: Session) -> Answer:
            return _answer(
                departments.add(session, acting(who), institution_id, wanted, now=deps.clock.now()), status=201
            )

        return deps.once.run(act)

    @bp.patch("/<uuid:department_id>")
    @operation(
        "Change a department",
        body=schemas.DepartmentChangeIn,
        answers={200: schemas.DepartmentOut},
        right=Right.INSTITUTIONS_WRITE,
        conditional=True,
        problems=(404, 409, 412, 422, 428),
    )
    def patch_department(institution_id: UUID, department_id: UUID) -> Response:
        """Needs `If-Match`."""
        who, wanted, version = require(Right.INSTITUTIONS_WRITE), parsing.body(_CHANGE), wanted_version()
        with deps.work() as session:
            row = departments.change(
                session, acting(who), institution_id, department_id, wanted, version=version, now=deps.clock.now()
            )
        return _answer(row).response()

    @bp.delete("/<uuid:department_id>")
    @operation("End a department", answers={204: None}, right=Right.INSTITUTIONS_WRITE, problems=(404, 409))
    def delete_department(institution_id: UUID, department_id: UUID) -> Response:
        """Not while there are others below it. Its row stays in the history."""
        who = require(Right.INSTITUTIONS_WRITE)
        with deps.work() as session:
            departments.end(session, acting(who), institution_id, department_id, now=deps.clock.now())
        return Response(status=204)


def _answer(row: DepartmentRow, *, status: int = 200) -> Answer:
    return Answer(schemas.department_out(row), status, etag(row.version))
