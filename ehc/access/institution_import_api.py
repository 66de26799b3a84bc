"""`/v1/admin/institutions/imports`: many institutions in one file, and the error file that comes of it."""

from io import StringIO
from uuid import UUID

from flask import Blueprint, Response, request

from ehc.access import institution_files
from ehc.access import institution_schemas as schemas
from ehc.access.institution_api import acting
from ehc.access.staff_session_api import AdminDeps
from ehc.callers import Right
from ehc.web.answers import Answer
from ehc.web.auth import require, staff_only
from ehc.web.csv_body import csv_encoding
from ehc.web.openapi import operation


def institution_imports_blueprint(deps: AdminDeps) -> Blueprint:
    """Files of institutions, for the staff."""
    bp = Blueprint("admin_institution_imports", __name__, url_prefix="/v1/admin/institutions/imports")
    bp.before_request(staff_only(deps.authenticate_staff))

    @bp.post("")
    @operation(
        "Import institutions",
        upload="text/csv",
        answers={201: schemas.InstitutionImportOut},
        right=Right.INSTITUTIONS_WRITE,
        problems=(413, 415, 422),
    )
    def post_institution_import() -> Response:
        """The body is a CSV file of at most 256 KiB. Right rows are applied at once; the same file again changes nothing."""
        who = require(Right.INSTITUTIONS_WRITE)
        encoding = csv_encoding()
        request.max_content_length = institution_files.MOST_BYTES + 1
        row = institution_files.bring(
            deps.work,
            request.stream.read,
            acting(who),
            encoding=encoding,
            sealer=deps.sealer(),
            now=deps.clock.now,
        )
        where = {"Location": f"/v1/admin/institutions/imports/{row.id}"}
        return Answer(schemas.import_out(row), 201, where).response()

    @bp.get("/<uuid:import_id>")
    @operation(
        "Read an import of institutions",
        answers={200: schemas.InstitutionImportOut},
        right=Right.INSTITUTIONS_WRITE,
        problems=(404,),
    )
    def get_institution_import(import_id: UUID) -> Response:
        """The caller's own; whoever sees the whole tree sees all."""
        who = require(Right.INSTITUTIONS_WRITE)
        with deps.work() as session:
            row = institution_files.seen_by(session, acting(who), import_id)
        return Answer(schemas.import_out(row)).response()

    @bp.get("/<uuid:import_id>/errors")
    @operation(
        "Read the error file of an import",
        answers={200: "text/csv"},
        right=Right.INSTITUTIONS_WRITE,
        problems=(404,),
    )
    def get_institution_import_errors(import_id: UUID) -> Response:
        """`line,column,reason,message_zh,message_en`: what is wrong, never the content of a cell."""
        who, out = require(Right.INSTITUTIONS_WRITE), StringIO()
        with deps.work() as session:
            row = institution_files.seen_by(session, acting(who), import_id)
            institution_files.write_faults(session, row.id, out)
        answer = Response(out.getvalue(), mimetype="text/csv")
        answer.headers["Content-Disposition"] = 'attachment; filename="errors.csv"'
        return answer

    return bp
