"""`/v1/admin/disclosure`: the table of what a check may tell, its versions, and what a terminal would see."""

from flask import Blueprint, Response
from marshmallow import Schema, fields, validate

from ehc.access.approval_schemas import ApprovalOut
from ehc.access.approvals_api import ApprovalDeps, propose
from ehc.access.disclosure_schemas import (
    DifferenceOut,
    ExplainedOut,
    ExplainQuery,
    TableIn,
    TableOut,
    VersionsOut,
    difference_out,
    explained_out,
    rules_of,
    table_out,
)
from ehc.access.explaining import explain
from ehc.approvals.kinds import DISCLOSURE_VERSION
from ehc.callers import Right
from ehc.core.tables import medical_step
from ehc.disclosure import versions
from ehc.disclosure.fields import DEFAULT
from ehc.disclosure.models import DisclosureVersionRow
from ehc.disclosure.table import difference
from ehc.errors import EhcError
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {versions.NoSuchVersion: 404, versions.StaleTable: 409}


class _Version(fields.Integer):
    """A number in plain digits."""

    def __init__(self, about: str) -> None:
        super().__init__(validate=validate.Range(0, 2**31 - 1, error="range"), metadata={"description": about})


class VersionQuery(Schema):
    """Which version."""

    version = _Version("Without it, the one in force.")


class DifferenceQuery(Schema):
    """From which version to which."""

    old = _Version("Without it, the one before `new`.")
    new = _Version("Without it, the one in force.")


_TABLE, _VERSION, _DIFFERENCE, _EXPLAIN = TableIn(), VersionQuery(), DifferenceQuery(), ExplainQuery()


def disclosure_blueprint(deps: ApprovalDeps) -> Blueprint:
    """The table, for the staff."""
    bp = Blueprint("disclosure", __name__, url_prefix="/v1/admin/disclosure")
    bp.before_request(staff_only(deps.admin.authenticate_staff))
    _add_table(bp, deps)
    _add_answers(bp, deps)
    return bp


def _add_table(bp: Blueprint, deps: ApprovalDeps) -> None:
    @bp.get("")
    @operation(
        "What checks may tell",
        query=VersionQuery,
        answers={200: TableOut},
        right=Right.DISCLOSURE_READ,
        problems=(404, 422),
    )
    def get_disclosure() -> Response:
        """A version of the table. The most exact row wins, whole; where none decides, the default is told."""
        require(Right.DISCLOSURE_READ)
        wanted = parsing.query(_VERSION)
        with deps.admin.work() as session:
            table = versions.table_of(session, wanted.get("version"))
        return Answer(table_out(table, DEFAULT)).response()

    @bp.get("/versions")
    @operation("Versions of the table", answers={200: VersionsOut}, right=Right.DISCLOSURE_READ)
    def get_disclosure_versions() -> Response:
        require(Right.DISCLOSURE_READ)
        with deps.admin.work() as session:
            rows = versions.history(session)
        return Answer({"items": [_version_out(row, deps) for row in rows]}).response()

    @bp.post("/proposals")
    @operation(
        "Propose a new table",
        body=TableIn,
        answers={201: ApprovalOut, 200: ApprovalOut},
        right=Right.DISCLOSURE_WRITE,
        problems=(409,),
    )
    def post_disclosure_proposal() -> Response:
        """Another security administrator approves it at /v1/admin/approvals; every check goes by it within 10 seconds."""
        who, wanted = require(Right.DISCLOSURE_WRITE), parsing.body(_TABLE)
        with deps.admin.work() as session:
            arguments = versions.arguments(session, wanted["base_version"], rules_of(wanted["rules"]))
        return propose(deps, DISCLOSURE_VERSION, arguments, who=who, reason=wanted["reason"])


def _add_answers(bp: Blueprint, deps: ApprovalDeps) -> None:
    @bp.get("/diff")
    @operation(
        "What changed between versions",
        query=DifferenceQuery,
        answers={200: DifferenceOut},
        right=Right.DISCLOSURE_READ,
        problems=(404, 422),
    )
    def get_disclosure_diff() -> Response:
        require(Right.DISCLOSURE_READ)
        wanted = parsing.query(_DIFFERENCE)
        with deps.admin.work() as session:
            new = versions.table_of(session, wanted.get("new"))
            old = versions.table_of(session, wanted.get("old", max(new.version - 1, 0)))
        return Answer(difference_out(difference(old, new))).response()

    @bp.get("/explain")
    @operation(
        "What a terminal would see at a step",
        query=ExplainQuery,
        answers={200: ExplainedOut},
        right=Right.DISCLOSURE_READ,
        problems=(404, 422),
    )
    def get_disclosure_explanation() -> Response:
        """Of a terminal in the caller's branch: the row that decides, and why the others do not."""
        who, wanted = require(Right.DISCLOSURE_READ), parsing.query(_EXPLAIN)
        at, step = wanted.get("at", deps.admin.clock.now()), medical_step(wanted["step"]) or "other"
        with deps.admin.work() as session:
            found = explain(session, wanted["terminal"], step, branch=who.branch, at=at)
        return Answer(explained_out(found)).response()


def _version_out(row: DisclosureVersionRow, deps: ApprovalDeps) -> dict[str, object]:
    return {
        "version": row.version,
        "since": instant(row.since),
        "approval_id": str(row.approval_id),
        "proposed_by": str(row.proposed_by),
        "approved_by": str(row.approved_by),
        "reason": versions.reason_of(row, deps.admin.sealer()),
    }
