"""The shapes of imports over the API."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from ehc.issuer.batch import runs
from ehc.issuer.batch.models import ImportRunRow
from ehc.issuer.batch.preparing import APP_LEVELS, Fault
from ehc.issuer.batch.reasons import REASONS
from ehc.issuer.batch.writing import Counts
from ehc.web.answers import instant
from ehc.web.fields import choice
from ehc.web.language import said
from ehc.web.paging import DEFAULT_LIMIT, LimitField

MAX_ERRORS = 1000


class ImportQuery(Schema):
    """How a file is to be imported."""

    dry_run = choice(["true", "false"], load_default="false", about="true: check everything, write nobody.")
    level = choice(
        list(map(str, APP_LEVELS)), load_default="document-seen", about="How people were proved whose row does not say."
    )


class LineField(fields.Field[tuple[int, int]]):
    """An opaque cursor: a line and a place in it."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> tuple[int, int]:
        try:
            told = urlsafe_b64decode(str(value)[:100].encode()).decode()
        except ValueError:
            raise ValidationError("cursor") from None
        if not re.fullmatch(r"\d{1,18}\|\d{1,4}", told, re.ASCII) or _encoded(told) != value:
            raise ValidationError("cursor")
        line, position = told.split("|")
        return int(line), int(position)


class ErrorsQuery(Schema):
    """The query of a list of errors."""

    limit = LimitField(
        load_default=DEFAULT_LIMIT,
        validate=validate.Range(1, MAX_ERRORS, error="range"),
        metadata={"description": "Errors in a page."},
    )
    cursor = LineField(load_default=None, metadata={"description": "`next` of the page before.", "type": "string"})


class ImportOut(Schema):
    """An import."""

    import_id = fields.UUID(required=True)
    state = fields.String(
        required=True,
        validate=validate.OneOf([runs.WAITING, runs.RUNNING, runs.DONE, runs.FAILED]),
        metadata={"description": "failed: it stopped. Send the same file again; it goes on where it was."},
    )
    dry_run = fields.Boolean(required=True)
    rows = fields.Integer(required=True, metadata={"description": "Gone through so far."})
    made = fields.Integer(required=True, metadata={"description": "New cards."})
    known = fields.Integer(required=True, metadata={"description": "People who had a card; this app sees it now."})
    bad = fields.Integer(required=True, metadata={"description": "Rows that were not imported; see errors."})
    size = fields.Integer(required=True, metadata={"description": "Bytes of the file."})
    bytes_done = fields.Integer(required=True, metadata={"description": "Gone through so far."})
    rows_per_second = fields.Float(required=True, allow_none=True)
    seconds_left = fields.Integer(required=True, allow_none=True, metadata={"description": "At the rate so far."})
    created_at = fields.AwareDateTime(required=True)
    finished_at = fields.AwareDateTime(required=True, allow_none=True)


class RowErrorOut(Schema):
    """One reason why a row was not imported."""

    line = fields.Integer(required=True, metadata={"description": "Where the row begins; the header is line 1."})
    column = fields.String(required=True, metadata={"description": "Empty: the whole row."})
    code = fields.String(required=True)
    message = fields.String(required=True)


class ErrorsOut(Schema):
    """A page of errors, by line."""

    items = fields.List(fields.Nested(RowErrorOut), required=True)
    next = fields.String(required=True, allow_none=True)


@dataclass(frozen=True)
class Seen:
    """An import at a moment: its counts, the bytes that it has gone through, and whether nothing works on it any more."""

    run: ImportRunRow
    counts: Counts
    bytes_done: int
    stopped: bool


def import_out(seen: Seen, *, now: datetime) -> dict[str, Any]:
    """An import as its client sees it."""
    run, counts, stopped = seen.run, seen.counts, seen.stopped
    seconds = ((run.finished_at or now) - run.started_at).total_seconds() if run.started_at else 0.0
    done = run.size if run.state == runs.DONE else min(seen.bytes_done, run.size)
    left = round((run.size - done) * seconds / done) if done and not stopped and run.state != runs.FAILED else None
    return {
        "import_id": str(run.id),
        "state": runs.FAILED if stopped else run.state,
        "dry_run": run.dry_run,
        **counts._asdict(),
        "size": run.size,
        "bytes_done": done,
        "rows_per_second": round(counts.rows / seconds, 1) if seconds > 0 else None,
        "seconds_left": left,
        "created_at": instant(run.created_at),
        "finished_at": instant(run.finished_at) if run.finished_at else None,
    }


def errors_out(faults: Sequence[Fault], *, limit: int) -> dict[str, Any]:
    """A page; `faults` holds one more than `limit` where there is another."""
    page, more = faults[:limit], len(faults) > limit
    items = [
        {"line": fault.line, "column": fault.field, "code": fault.code, "message": said(REASONS[fault.code])}
        for fault in page
    ]
    following = _encoded(f"{page[-1].line}|{page[-1].position}") if more else None
    return {"items": items, "next": following}


def _encoded(text: str) -> str:
    return urlsafe_b64encode(text.encode()).decode()
