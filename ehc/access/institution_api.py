"""`/v1/admin/institutions`, `/v1/admin/regions`: institutions, their states and codes, for the staff of their branch."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import Blueprint, Response
from sqlalchemy.orm import Session

from ehc.access import departments, institution_codes, institution_files, institutions, regions
from ehc.access import institution_schemas as schemas
from ehc.access.branches import NoSuchInstitution, require_within
from ehc.access.institutions import Acting, Filter
from ehc.access.models import InstitutionRow
from ehc.access.staff_session_api import AdminDeps
from ehc.callers import Right, Staff
from ehc.core import tables
from ehc.core.institution_codes import CodeKind, read_code
from ehc.errors import EhcError
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.etags import etag, wanted_version
from ehc.web.openapi import operation
from ehc.web.paging import cursor

STATUSES: dict[type[EhcError], int] = {
    NoSuchInstitution: 404,
    regions.NoSuchRegion: 404,
    institution_codes.NoSuchCode: 404,
    institution_files.NoSuchFile: 404,
    departments.NoSuchDepartment: 404,
    departments.DepartmentRefused: 409,
    institutions.CodeInUse: 409,
    institutions.WrongState: 409,
}

_NEW, _CHANGE, _MOVE = schemas.InstitutionIn(), schemas.InstitutionChangeIn(), schemas.MoveIn()
_CODE, _CODE_END = schemas.NewCodeIn(), schemas.CodeEndIn()
_LIST, _REGIONS = schemas.AdminInstitutionsQuery(), schemas.RegionsQuery()
_SUMMARIES = {
    "suspend": "Suspend an institution",
    "resume": "Resume an institution",
    "close": "Close an institution for good",
}


def acting(who: Staff) -> Acting:
    """Somebody of the staff, as the domain knows them."""
    return Acting(who.actor, who.branch)


def institutions_blueprint(deps: AdminDeps) -> Blueprint:
    """Institutions, for the staff."""
    bp = Blueprint("admin_institutions", __name__, url_prefix="/v1/admin")
    bp.before_request(staff_only(deps.authenticate_staff))
    _add_tables(bp, deps)
    _add_reading(bp, deps)
    _add_making(bp, deps)
    for name, summary in _SUMMARIES.items():
        _add_move(bp, deps, name, summary)
    _add_codes(bp, deps)
    return bp


def _add_tables(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.get("/regions")
    @operation(
        "List regions",
        query=schemas.RegionsQuery,
        answers={200: schemas.RegionsOut},
        right=Right.INSTITUTIONS_READ,
        problems=(404, 422),
    )
    def get_regions() -> Response:
        """The regions right below `parent`; without it the top of the caller's branch."""
        who, wanted = require(Right.INSTITUTIONS_READ), parsing.query(_REGIONS)
        with deps.work() as session:
            rows = regions.listed(session, who.branch, parent=wanted["parent"])
        return Answer({"items": [schemas.region_out(row) for row in rows]}).response()

    @bp.get("/standard-departments")
    @operation(
        "List the standard departments",
        answers={200: schemas.StandardDepartmentsOut},
        right=Right.INSTITUTIONS_READ,
    )
    def get_standard_departments() -> Response:
        require(Right.INSTITUTIONS_READ)
        items = [{"code": d.code, "name": d.name_zh, "parent": d.parent} for d in tables.departments().values()]
        return Answer({"items": items}).response()


def _add_reading(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.get("/institutions")
    @operation(
        "List institutions",
        query=schemas.AdminInstitutionsQuery,
        answers={200: schemas.InstitutionsOut},
        right=Right.INSTITUTIONS_READ,
        problems=(422,),
    )
    def get_institutions() -> Response:
        """Those of the caller's branch, newest first."""
        who, wanted = require(Right.INSTITUTIONS_READ), parsing.query(_LIST)
        with deps.work() as session:
            found = institutions.listed(
                session, who.branch, filter_of(wanted), after=wanted["cursor"], limit=wanted["limit"]
            )
            body = page(session, found, wanted["limit"])
        return Answer(body).response()

    @bp.get("/institutions/<uuid:institution_id>")
    @operation(
        "Read an institution",
        answers={200: schemas.AdminInstitutionOut},
        right=Right.INSTITUTIONS_READ,
        problems=(404,),
    )
    def get_institution(institution_id: UUID) -> Response:
        """With all its codes, ended ones too. Contacts are in clear for who may change it and for its own staff."""
        who = require(Right.INSTITUTIONS_READ)
        with deps.work() as session:
            answer = _answer(session, deps, who, require_within(session, who.branch, institution_id))
        return answer.response()


def _add_making(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("/institutions")
    @operation(
        "Add an institution",
        body=schemas.InstitutionIn,
        answers={201: schemas.AdminInstitutionOut},
        right=Right.INSTITUTIONS_WRITE,
        idempotent=True,
        problems=(409, 422),
    )
    def post_institution() -> Response:
        """In the caller's branch."""
        who, wanted = require(Right.INSTITUTIONS_WRITE), parsing.body(_NEW)
        codes = [
            (CodeKind(code["kind"]), read_code(CodeKind(code["kind"]), code["code"], pointer=f"/codes/{place}/code"))
            for place, code in enumerate(wanted["codes"])
        ]

        def act(session: Session) -> Answer:
            row = institutions.add(
                session,
                acting(who),
                name=wanted["name"],
                kind=wanted["kind"],
                region=wanted["region"],
                codes=codes,
                contacts=wanted.get("contacts"),
                sealer=deps.sealer(),
                now=deps.clock.now(),
            )
            return _answer(session, deps, who, row, 201)

        return deps.once.run(act)

    @bp.patch("/institutions/<uuid:institution_id>")
    @operation(
        "Change an institution",
        body=schemas.InstitutionChangeIn,
        answers={200: schemas.AdminInstitutionOut},
        right=Right.INSTITUTIONS_WRITE,
        conditional=True,
        problems=(404, 409, 412, 422, 428),
    )
    def patch_institution(institution_id: UUID) -> Response:
        """Needs `If-Match`. Never out of the caller's branch."""
        who, wanted, version = require(Right.INSTITUTIONS_WRITE), parsing.body(_CHANGE), wanted_version()
        if "static_codes" in wanted:
            wanted["static_allowed"] = wanted.pop("static_codes")
        if "contacts" in wanted:
            wanted["contacts"] = wanted["contacts"] or {}
        with deps.work() as session:
            row = institutions.change(
                session,
                acting(who),
                institution_id,
                wanted,
                version=version,
                sealer=deps.sealer(),
                now=deps.clock.now(),
            )
            answer = _answer(session, deps, who, row)
        return answer.response()


def _add_move(bp: Blueprint, deps: AdminDeps, name: str, summary: str) -> None:
    def post_move(institution_id: UUID) -> Response:
        who, wanted = require(Right.INSTITUTIONS_WRITE, fresh=True), parsing.body(_MOVE)
        with deps.work() as session:
            row = institutions.move(
                session, acting(who), institution_id, name, reason=wanted["reason"], now=deps.clock.now()
            )
            answer = _answer(session, deps, who, row)
        return answer.response()

    post_move.__doc__ = (
        "Terminals of one that is not live get no token, and those they hold stop within ten seconds; its staff are let in "
        "no more. Asks for a proof of the last five minutes."
    )
    marked = operation(
        summary,
        body=schemas.MoveIn,
        answers={200: schemas.AdminInstitutionOut},
        right=Right.INSTITUTIONS_WRITE,
        problems=(404, 409, 422),
    )
    bp.add_url_rule(
        f"/institutions/<uuid:institution_id>/{name}", f"post_institution_{name}", marked(post_move), methods=["POST"]
    )


def _add_codes(bp: Blueprint, deps: AdminDeps) -> None:
    @bp.post("/institutions/<uuid:institution_id>/codes")
    @operation(
        "Add a code of an institution",
        body=schemas.NewCodeIn,
        answers={201: schemas.InstitutionCodeOut},
        right=Right.INSTITUTIONS_WRITE,
        idempotent=True,
        problems=(404, 409, 422),
    )
    def post_institution_code(institution_id: UUID) -> Response:
        """One live code of a kind; end the old one first."""
        who, wanted = require(Right.INSTITUTIONS_WRITE), parsing.body(_CODE)

        def act(session: Session) -> Answer:
            kind, now = CodeKind(wanted["kind"]), deps.clock.now()
            row = institution_codes.add(
                session,
                acting(who),
                institution_id,
                kind,
                wanted["code"],
                valid_from=wanted.get("valid_from"),
                now=now,
            )
            return Answer(schemas.code_out(row), 201)

        return deps.once.run(act)

    @bp.post("/institutions/<uuid:institution_id>/codes/<uuid:code_id>/end")
    @operation(
        "End a code of an institution",
        body=schemas.CodeEndIn,
        answers={200: schemas.InstitutionCodeOut},
        right=Right.INSTITUTIONS_WRITE,
        problems=(404, 422),
    )
    def post_institution_code_end(institution_id: UUID, code_id: UUID) -> Response:
        """It stays in the history. Twice is once."""
        who, wanted = require(Right.INSTITUTIONS_WRITE), parsing.body(_CODE_END)
        with deps.work() as session:
            row = institution_codes.end(
                session,
                acting(who),
                institution_id,
                code_id,
                valid_until=wanted.get("valid_until"),
                now=deps.clock.now(),
            )
        return Answer(schemas.code_out(row)).response()


def filter_of(wanted: Mapping[str, Any]) -> Filter:
    """Which institutions a query asks for."""
    names = ("region", "kind", "state", "name", "code")
    return Filter(**{name: wanted.get(name) for name in names})


def page(session: Session, found: list[InstitutionRow], limit: int) -> dict[str, Any]:
    """A page of institutions; `found` has one more than `limit` where others follow."""
    rows = found[:limit]
    names = regions.names(session, {row.region for row in rows})
    following = cursor((rows[-1].created_at, rows[-1].id)) if len(found) > limit else None
    return {"items": [schemas.institution_out(row, names) for row in rows], "next": following}


def _answer(session: Session, deps: AdminDeps, who: Staff, row: InstitutionRow, status: int = 200) -> Answer:
    clear = Right.INSTITUTIONS_WRITE in who.rights or who.branch.institution_id == row.id
    body = schemas.admin_institution_out(
        row,
        regions.names(session, {row.region}),
        institution_codes.of(session, row.id),
        institutions.opened(row, deps.sealer()),
        clear=clear,
    )
    return Answer(body, status, {**etag(row.version), "Cache-Control": "no-store"})
