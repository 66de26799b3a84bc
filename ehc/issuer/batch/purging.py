"""Imports that nobody goes on with: what they keep of people goes after a time."""

from datetime import datetime, timedelta

from sqlalchemy import exists, func, or_, select
from sqlalchemy.orm import Session

from ehc.files.holding import is_free
from ehc.issuer.batch import runs
from ehc.issuer.batch.models import ImportPartRow, ImportPieceRow, ImportRunRow, ImportSeenRow
from ehc.issuer.batch.uploads import has_stopped

RECEIVING = timedelta(days=1)
"""After so long nobody is still sending."""
STOPPED = timedelta(days=7)
"""So long an import that stopped can be gone on with, after the last piece that was written."""


def purge(session: Session, *, now: datetime) -> int:
    """Close one import that came over the API, or a dry run, and was given up; whether there was one. Never commits."""
    last = select(func.max(ImportPieceRow.done_at)).where(ImportPieceRow.run_id == ImportRunRow.id).scalar_subquery()
    keeps = or_(*(exists().where(table.run_id == ImportRunRow.id) for table in (ImportPartRow, ImportSeenRow)))
    old = or_(
        (ImportRunRow.state == runs.RECEIVING) & (ImportRunRow.created_at <= now - RECEIVING),
        (ImportRunRow.state != runs.RECEIVING) & keeps
        & (func.greatest(ImportRunRow.created_at, last) <= now - STOPPED),
    )  # fmt: skip
    wanted = select(ImportRunRow).where(ImportRunRow.finished_at.is_(None), old).order_by(ImportRunRow.id)
    for run in session.scalars(wanted.with_for_update(skip_locked=True)):
        if run.state == runs.RECEIVING:
            runs.break_off(session, run, now=now)
            return 1
        if is_free(session, run.id) and has_stopped(session, run):
            runs.fail(session, run, why="abandoned", now=now)
            return 1
    return 0
