"""Runs: begun or taken up again, told about, finished. Nothing here commits."""

import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.orm import Session

from ehc import audit
from ehc.core.ids import uuid7
from ehc.errors import EhcError, Text
from ehc.issuer.batch.models import ImportErrorRow, ImportPartRow, ImportPieceRow, ImportRunRow, ImportSeenRow
from ehc.issuer.batch.options import OPERATOR, Options
from ehc.issuer.batch.preparing import Fault
from ehc.issuer.batch.writing import Counts

RECEIVING, WAITING, RUNNING, DONE, FAILED = "receiving", "waiting", "running", "done", "failed"
"""The states of a run."""


class NoSuchImport(EhcError):
    """No import with this id that the caller may see."""

    code = "import-not-found"


class ImportIncomplete(EhcError):
    """An import ended although a piece of it was not written."""

    code = "import-incomplete"


def fingerprint(content: bytes, options: Options) -> bytes:
    """What names an import, 32 bytes: the SHA-256 of its content together with how it is to be read and written."""
    told = json.dumps(options.told(), sort_keys=True)
    return sha256(content + told.encode()).digest()


def find(session: Session, print_: bytes) -> ImportRunRow | None:
    """The import with this fingerprint that is under way; where there is none, the newest that was done for good.

    A dry run that is done tells of a moment that has passed: it is not found. Nor is a run that failed.
    """
    mine = select(ImportRunRow).where(ImportRunRow.fingerprint == print_, ImportRunRow.state != FAILED)
    lasting = mine.where(ImportRunRow.finished_at.is_(None) | ImportRunRow.dry_run.is_(False))
    newest = lasting.order_by(ImportRunRow.finished_at.desc().nulls_first()).limit(1)
    return session.scalars(newest).one_or_none()


def begin(session: Session, print_: bytes, options: Options, *, size: int, now: datetime) -> ImportRunRow:
    """A new run of a file at hand. Raises `IntegrityError` if one with this fingerprint is under way."""
    run = add(session, options, now=now)
    run.state, run.started_at = RUNNING, now
    name(session, run, print_, size=size, now=now)
    return run


def add(session: Session, options: Options, *, now: datetime) -> ImportRunRow:
    """A run whose content has yet to come; `name` follows when it is there."""
    run_id = uuid7(now)
    run = ImportRunRow(
        id=run_id,
        client_id=None if options.actor == OPERATOR else options.client_id,
        fingerprint=run_id.bytes,
        options=options.told(),
        state=RECEIVING,
        dry_run=options.dry_run,
        size=0,
        created_at=now,
    )
    session.add(run)
    session.flush()
    return run


def name(session: Session, run: ImportRunRow, print_: bytes, *, size: int, now: datetime) -> None:
    """Give a run the fingerprint of its content. Raises `IntegrityError` if one with it is under way."""
    run.fingerprint, run.size = print_, size
    run.state = WAITING if run.state == RECEIVING else run.state
    session.flush()
    facts = {"dry_run": run.dry_run, "size": size}
    audit.record(session, "import.begun", actor=run.options["actor"], subject=str(run.id), at=now, facts=facts)


def written(session: Session, run_id: UUID) -> dict[int, bytes]:
    """The pieces that were written, by number: the SHA-256 of each."""
    mine = select(ImportPieceRow.number, ImportPieceRow.digest).where(ImportPieceRow.run_id == run_id)
    return {row.number: row.digest for row in session.execute(mine)}


def bytes_done(session: Session, run_id: UUID) -> int:
    """How much of the content was gone through."""
    mine = select(func.coalesce(func.sum(ImportPieceRow.size), 0)).where(ImportPieceRow.run_id == run_id)
    return int(session.scalars(mine).one())


def counts(session: Session, run_id: UUID) -> Counts:
    """What became of the rows so far."""
    sums = (func.coalesce(func.sum(getattr(ImportPieceRow, name)), 0) for name in Counts._fields)
    return Counts(*map(int, session.execute(select(*sums).where(ImportPieceRow.run_id == run_id)).one()))


def bad_by_code(session: Session, run_id: UUID) -> dict[str, int]:
    """How often each reason was given, the most frequent first. A row may have several."""
    often = func.count().label("often")
    grouped = select(ImportErrorRow.code, often).where(ImportErrorRow.run_id == run_id).group_by(ImportErrorRow.code)
    return {row.code: row.often for row in session.execute(grouped.order_by(often.desc(), ImportErrorRow.code))}


def of_client(session: Session, run_id: UUID, client_id: UUID) -> ImportRunRow:
    """A run, if this client sent it. Raises `NoSuchImport`."""
    mine = select(ImportRunRow).where(ImportRunRow.id == run_id, ImportRunRow.client_id == client_id)
    mine = mine.where(ImportRunRow.fingerprint != func.uuid_send(ImportRunRow.id))  # those never received whole
    run = session.scalars(mine).one_or_none()
    if run is None:
        raise NoSuchImport(
            Text("没有这个导入任务，或不是本应用提交的。", "There is no such import, or another client sent it.")
        )
    return run


def faults(
    session: Session, run_id: UUID, *, after: tuple[int, int] | None = None, most: int | None = None
) -> Iterator[Fault]:
    """Every reason, by line and place; those after a line and place, at most so many. Read a thousand at a time."""
    order = (ImportErrorRow.line, ImportErrorRow.position)
    mine = select(ImportErrorRow).where(ImportErrorRow.run_id == run_id)
    if after is not None:
        mine = mine.where(tuple_(*order) > tuple_(*after))
    ordered = mine.order_by(*order).limit(most).execution_options(yield_per=1000)
    with session.execute(ordered) as rows:
        for row in rows.scalars():
            yield Fault(row.line, row.position, row.field, row.code)


def finish(session: Session, run: ImportRunRow, *, pieces: int, now: datetime) -> None:
    """Close a run, all of whose pieces were written. Raises `ImportIncomplete` if one was not."""
    if written(session, run.id).keys() != set(range(pieces)):
        raise ImportIncomplete(
            Text(
                "有一部分没有写入；请再次运行同一命令。",
                "A piece of the import was not written. Run the same command again.",
            )
        )
    total = counts(session, run.id)
    run.state, run.pieces, run.finished_at = DONE, pieces, now
    run.rows, run.made, run.known, run.bad = total
    drop_content(session, run.id)
    session.flush()
    actor = run.options["actor"]
    audit.record(session, "import.done", actor=actor, subject=str(run.id), at=now, facts=total._asdict())


def fail(session: Session, run: ImportRunRow, *, why: str, now: datetime) -> None:
    """Close a run for good although it is not done; what it wrote stays. The same content again is another run."""
    run.state, run.finished_at = FAILED, now
    run.rows, run.made, run.known, run.bad = counts(session, run.id)
    drop_content(session, run.id)
    session.flush()
    actor, facts = run.options["actor"], {"why": why}
    audit.record(session, "import.failed", actor=actor, subject=str(run.id), at=now, facts=facts)


def break_off(session: Session, run: ImportRunRow, *, now: datetime) -> None:
    """Close a run whose content never came whole. It was never begun, so the audit log does not know it."""
    run.state, run.finished_at = FAILED, now
    drop_content(session, run.id)


def drop_content(session: Session, run_id: UUID) -> None:
    """Forget what came and whom a dry run came across."""
    for leftover in (ImportSeenRow, ImportPartRow):
        session.execute(delete(leftover).where(leftover.run_id == run_id))
