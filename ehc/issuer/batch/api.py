"""`/v1/imports`: many people in one file. Taken in whole, imported by a job, seen by the client that sent it alone."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from ehc.callers import Scope
from ehc.cards.states import Level
from ehc.clock import Clock
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.errors import EhcError
from ehc.files.holding import ImportRuns
from ehc.files.pieces import PIECE_BYTES, BadFile
from ehc.issuer.batch import runs, uploads
from ehc.issuer.batch.models import ImportRunRow
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.pool import ImportStopped
from ehc.issuer.batch.runs import ImportIncomplete, NoSuchImport
from ehc.issuer.batch.schemas import ErrorsOut, ErrorsQuery, ImportOut, ImportQuery, Seen, errors_out, import_out
from ehc.issuer.batch.uploads import UploadTooLarge
from ehc.web import parsing
from ehc.web.answers import Answer
from ehc.web.auth import Authenticate, bearer, caller
from ehc.web.csv_body import csv_encoding
from ehc.web.openapi import operation

STATUSES: dict[type[EhcError], int] = {
    BadFile: 422,
    UploadTooLarge: 413,
    NoSuchImport: 404,
    ImportRuns: 409,
    ImportStopped: 503,
    ImportIncomplete: 503,
}

_IMPORT, _ERRORS = ImportQuery(), ErrorsQuery()


@dataclass(frozen=True)
class ImportDeps:
    """What app.py hands this room. `most_bytes` is the largest file taken."""

    work: UnitOfWork
    clock: Clock
    sealer: Callable[[], Sealer]
    authenticate: Authenticate
    most_bytes: int


def imports_blueprint(deps: ImportDeps) -> Blueprint:
    """Imports, for apps with the scope `batch`."""
    bp = Blueprint("imports", __name__, url_prefix="/v1/imports")
    bp.before_request(bearer(deps.authenticate, Scope.BATCH))

    @bp.post("")
    @operation(
        "Import people",
        query=ImportQuery,
        upload="text/csv",
        answers={202: ImportOut},
        scope=Scope.BATCH,
        problems=(413, 415, 422),
    )
    def post_import() -> Response:
        """The body is a CSV file (`text/csv`). The same file sent again is the same import."""
        encoding = csv_encoding()
        wanted = parsing.query(_IMPORT)
        request.max_content_length = deps.most_bytes + 1
        client = caller()
        options = Options(
            header=[],
            encoding=encoding,
            level=Level(wanted["level"]),
            client_id=client.id,
            actor=f"{client.kind}:{client.id}",
            dry_run=wanted["dry_run"] == "true",
            piece_bytes=PIECE_BYTES,
        )
        now = deps.clock.now()
        read = request.stream.read
        run = uploads.receive(deps.work, read, options, most=deps.most_bytes, sealer=deps.sealer(), now=now)
        with deps.work() as session:
            seen = _seen(session, run)
        return Answer(import_out(seen, now=now), 202, {"Location": f"/v1/imports/{run.id}"}).response()

    @bp.get("/<uuid:import_id>")
    @operation("Read an import", answers={200: ImportOut}, scope=Scope.BATCH, problems=(404,))
    def get_import(import_id: UUID) -> Response:
        with deps.work() as session:
            seen = _seen(session, runs.of_client(session, import_id, caller().id))
        return Answer(import_out(seen, now=deps.clock.now())).response()

    @bp.get("/<uuid:import_id>/errors")
    @operation(
        "List what was wrong in an import",
        query=ErrorsQuery,
        answers={200: ErrorsOut},
        scope=Scope.BATCH,
        problems=(404, 422),
    )
    def get_import_errors(import_id: UUID) -> Response:
        wanted = parsing.query(_ERRORS)
        limit: int = wanted["limit"]
        with deps.work() as session:
            run = runs.of_client(session, import_id, caller().id)
            faults = list(runs.faults(session, run.id, after=wanted["cursor"], most=limit + 1))
        return Answer(errors_out(faults, limit=limit)).response()

    return bp


def _seen(session: Session, run: ImportRunRow) -> Seen:
    stopped = uploads.has_stopped(session, run)
    return Seen(run, runs.counts(session, run.id), runs.bytes_done(session, run.id), stopped)
