"""`/v1/institutions`: where a card can be used, for apps and terminals. No contacts."""

from dataclasses import replace
from uuid import UUID

from flask import Blueprint, Response

from ehc.access import departments, institutions, regions
from ehc.access import institution_schemas as schemas
from ehc.access.branches import require_within
from ehc.access.institution_api import filter_of, page
from ehc.callers import Branch, Scope
from ehc.db import UnitOfWork
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import Authenticate, bearer
from ehc.web.openapi import operation

_LIST = schemas.InstitutionsQuery()


def public_institutions_blueprint(work: UnitOfWork, authenticate: Authenticate) -> Blueprint:
    """Institutions, for every client, whatever its scopes."""
    bp = Blueprint("institutions", __name__, url_prefix="/v1/institutions")
    bp.before_request(bearer(authenticate, *Scope))

    @bp.get("")
    @operation(
        "Find institutions",
        query=schemas.InstitutionsQuery,
        answers={200: schemas.InstitutionsOut},
        scope=Scope.CARDS,
        problems=(422,),
    )
    def find_institutions() -> Response:
        """The live ones, newest first. Any scope will do."""
        wanted = parsing.query(_LIST)
        live = replace(filter_of(wanted), state=institutions.LIVE)
        with work() as session:
            found = institutions.listed(session, Branch(), live, after=wanted["cursor"], limit=wanted["limit"])
            body = page(session, found, wanted["limit"])
        return Answer(body).response()

    @bp.get("/<uuid:institution_id>")
    @operation(
        "Read an institution and its departments",
        answers={200: schemas.InstitutionWithDepartmentsOut},
        scope=Scope.CARDS,
        problems=(404,),
    )
    def read_institution(institution_id: UUID) -> Response:
        """Suspended and closed ones too, so that old records have their name. Any scope will do."""
        with work() as session:
            row = require_within(session, Branch(), institution_id)
            body = schemas.institution_out(row, regions.names(session, {row.region}))
            body["departments"] = [schemas.department_out(one) for one in departments.of(session, row.id)]
        return Answer(body).response()

    return bp
