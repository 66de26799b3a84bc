"""An import that comes over the API: its content kept in sealed parts until a job has imported it.

Each part is a transaction of its own, and the run is `receiving` until the last one, which puts the job in too. The same
content sent again by the same client, in the same way, is the same import: it is found by its fingerprint.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import jobs
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.errors import Text, Unavailable
from ehc.files.pieces import Cutter, Piece, UploadTooLarge
from ehc.issuer.batch import runs
from ehc.issuer.batch.columns import PEOPLE
from ehc.issuer.batch.models import ImportPartRow, ImportRunRow
from ehc.issuer.batch.options import Options

TASK = "issuer.run-import"
"""The job that imports what came."""

_AT_ONCE = Text("相同文件正在提交，请稍后查询。", "The same file was sent at this moment. Send it again shortly.")


class _Known(Exception):
    """The content came before."""


class _Content:
    """The stream of a request, counted and hashed while it is read."""

    def __init__(self, read: Callable[[int], bytes], most: int) -> None:
        self._read, self._most = read, most
        self.size, self.digest = 0, sha256()

    def read(self, size: int) -> bytes:
        part = self._read(size)
        self.size += len(part)
        if self.size > self._most:
            megabytes = self._most // 2**20
            raise UploadTooLarge(
                Text(
                    f"文件超过 {megabytes} MiB，请分成几个文件，或用 ehc cards import 导入。",
                    f"The file is larger than {megabytes} MiB. Send it in several, or import it with `ehc cards import`.",
                )
            )
        self.digest.update(part)
        return part


def receive(
    work: UnitOfWork, read: Callable[[int], bytes], options: Options, *, most: int, sealer: Sealer, now: datetime
) -> ImportRunRow:
    """Take in what `read(size)` gives, at most `most` bytes; the import that it is, durably. Raises `BadFile`,
    `UploadTooLarge`. No transaction is open while it reads: a slow sender costs no connection."""
    content = _Content(read, most)
    cutter = Cutter(content.read, size=options.piece_bytes)
    options = replace(options, header=cutter.header(options.encoding, PEOPLE))
    with work() as session:
        run = runs.add(session, options, now=now)
    try:
        pieces = sum(_keep(work, run.id, piece, sealer) for piece in cutter.pieces())
        print_ = runs.fingerprint(content.digest.digest(), options)
        try:
            with work() as session:
                return _named(session, run.id, print_, pieces=pieces, size=content.size, now=now)
        except _Known:
            _drop(work, run.id, now)
            with work() as session:
                return _taken_up(session, print_)
    except BaseException:
        _drop(work, run.id, now)
        raise


def _named(session: Session, run_id: UUID, print_: bytes, *, pieces: int, size: int, now: datetime) -> ImportRunRow:
    """A run that was received whole, its job with it. Raises `_Known` for content that came before, or comes twice at
    this moment."""
    if runs.find(session, print_) is not None:
        raise _Known
    run = session.get_one(ImportRunRow, run_id, with_for_update=True)
    if run.state != runs.RECEIVING:  # it took so long that it was given up
        raise _Known
    run.pieces = pieces
    try:
        runs.name(session, run, print_, size=size, now=now)
    except IntegrityError:
        raise _Known from None
    jobs.defer(session, TASK, queueing_lock=lock_of(run.id), run_id=str(run.id))
    return run


def _taken_up(session: Session, print_: bytes) -> ImportRunRow:
    """The import that came before. Where it stopped, for whatever reason, it goes on now."""
    found = runs.find(session, print_)
    if found is None:
        raise Unavailable(_AT_ONCE, retry_after=2)
    if has_stopped(session, found):
        jobs.defer(session, TASK, queueing_lock=lock_of(found.id), run_id=str(found.id))
    return found


def has_stopped(session: Session, run: ImportRunRow) -> bool:
    """Whether an import is not done and no job is there to do it: cancelled, or failed too often."""
    return run.finished_at is None and not jobs.is_coming(session, lock_of(run.id))


def lock_of(run_id: UUID) -> str:
    """The queueing lock of the job of an import."""
    return f"{TASK}:{run_id}"


def piece_of(session: Session, run_id: UUID, number: int, *, sealer: Sealer) -> Piece:
    """A part as it came. Raises `NoResultFound`, or `SealBroken` if it was altered or moved."""
    row = session.scalars(
        select(ImportPartRow).where(ImportPartRow.run_id == run_id, ImportPartRow.number == number)
    ).one()
    data = sealer.unseal(row.data, _place(run_id, number)).encode("latin-1")
    return Piece(number, 0, row.first_line, data)


def _keep(work: UnitOfWork, run_id: UUID, piece: Piece, sealer: Sealer) -> bool:
    # Latin-1 has a character for every byte: what is no text in the file's encoding must come back as it was.
    data = sealer.seal(piece.data.decode("latin-1"), _place(run_id, piece.number))
    with work() as session:
        part = ImportPartRow(run_id=run_id, number=piece.number, first_line=piece.first_line, data=data)
        session.add(part)
    return True


def _drop(work: UnitOfWork, run_id: UUID, now: datetime) -> None:
    """Forget what came of a run that was never received whole."""
    with work() as session:
        runs.break_off(session, session.get_one(ImportRunRow, run_id), now=now)


def _place(run_id: UUID, number: int) -> str:
    return f"import_part.data:{run_id}:{number}"
