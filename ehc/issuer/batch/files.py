"""A file imported from beginning to end, or from where an earlier start left off."""

import csv
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, TextIO
from uuid import UUID

from sqlalchemy.exc import IntegrityError

from ehc.errors import Text
from ehc.files.holding import held, under_way
from ehc.files.pieces import BadFile, Cutter, Piece
from ehc.files.progress import Teller
from ehc.issuer.batch import runs
from ehc.issuer.batch.columns import PEOPLE
from ehc.issuer.batch.models import ImportRunRow
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.pool import Used, file_changed, write_pieces
from ehc.issuer.batch.preparing import Fault
from ehc.issuer.batch.reasons import REASONS
from ehc.issuer.batch.worker import usage
from ehc.issuer.batch.writing import Counts
from ehc.place import Place

_BLOCK = 256 * 1024


class _Spoiled(Exception):
    """An earlier start wrote another piece than this file has in its place."""


@dataclass(frozen=True)
class Report:
    """What an import came to. `rows_now` and `seconds` are of this start; `peak_bytes` the sum over all processes."""

    run_id: UUID
    counts: Counts
    by_code: dict[str, int]
    rows_now: int
    seconds: float
    peak_bytes: float
    cpu_seconds: float


class ImportFile:
    """One file and how it is to be imported."""

    def __init__(self, place: Place, path: Path, options: Options, *, workers: int, teller: Teller) -> None:
        self._place, self._path, self._options = place, path, options
        self._workers, self._teller = workers, teller
        self._cut = self._rows_now = 0
        self._used = Used()
        self.run_id: UUID | None = None
        """The run, once there is one: what was wrong so far can be told also of one that stopped."""

    def run(self, *, again: bool) -> Report:
        """Import the file, or go on with it. One that was imported already is only reported on, unless `again`.

        Raises `BadFile`, `ImportRuns`, `ImportStopped`, `ImportIncomplete`. What was written then stays. What is written is
        what was hashed: a file that changes meanwhile is noticed before a changed piece is written.
        """
        began = time.monotonic()
        with self._path.open("rb") as file:
            state = _state(file)
            content = _Hashed(file)
            cutter = Cutter(content.read, size=self._options.piece_bytes)
            options = replace(self._options, header=cutter.header(self._options.encoding, PEOPLE))
            run = self._begun(runs.fingerprint(content.digest, options), options, size=state[0], again=again)
            self.run_id = run.id
            if run.finished_at is None:
                with held(self._place, run.id):
                    self._go_on(cutter, run, options, lambda: _require_same(state, _state(file)))
        return self._report(run, time.monotonic() - began)

    def _begun(self, print_: bytes, options: Options, *, size: int, again: bool) -> ImportRunRow:
        with self._place.patient_work() as session:
            found = runs.find(session, print_)
            if found is not None and (found.finished_at is None or not again):
                return found
            try:
                with session.begin_nested():
                    return runs.begin(session, print_, options, size=size, now=self._place.clock.now())
            except IntegrityError:  # another start of the same file was first: it has the run, or had it
                found = runs.find(session, print_)
                if found is None:
                    raise under_way() from None
                return found

    def _go_on(self, cutter: Cutter, run: ImportRunRow, options: Options, check: Callable[[], None]) -> None:
        """Do what is missing, unless another start has done it while this one waited for it."""
        if self._reloaded(run).finished_at is not None:
            return
        try:
            self._write(cutter, run, options)
        except _Spoiled:
            with self._place.patient_work() as session:
                now = self._place.clock.now()
                runs.fail(session, session.get_one(ImportRunRow, run.id), why="other-pieces", now=now)
            raise _void() from None
        check()
        self._finish(run)

    def _reloaded(self, run: ImportRunRow) -> ImportRunRow:
        with self._place.patient_work() as session:
            found = session.get_one(ImportRunRow, run.id)
        if found.state == runs.FAILED:
            raise _void()
        return found

    def _write(self, cutter: Cutter, run: ImportRunRow, options: Options) -> None:
        with self._place.patient_work() as session:
            done = runs.written(session, run.id)
        order = {"run": str(run.id), "file": str(self._path.resolve()), "options": options.told()}
        self._used = write_pieces(self._missing(cutter, done), workers=self._workers, order=order, tell=self._tell)

    def _missing(self, cutter: Cutter, done: Mapping[int, bytes]) -> Iterator[Piece]:
        for piece in cutter.pieces():
            self._cut += 1
            written = done.get(piece.number)
            if written is None:
                yield piece
            elif written == piece.digest:
                self._teller.skip(len(piece.data))
            else:
                raise _Spoiled

    def _tell(self, size: int, counts: Counts) -> None:
        self._rows_now += counts.rows
        self._teller.advance(size, counts.rows)

    def _finish(self, run: ImportRunRow) -> None:
        with self._place.patient_work() as session:
            row = session.get_one(ImportRunRow, run.id, with_for_update=True)
            runs.finish(session, row, pieces=self._cut, now=self._place.clock.now())

    def _report(self, run: ImportRunRow, seconds: float) -> Report:
        with self._place.patient_work() as session:
            counts, by_code = runs.counts(session, run.id), runs.bad_by_code(session, run.id)
        mine = usage()
        peak = mine["peak"] + sum(self._used.peaks.values())
        cpu = mine["cpu"] + sum(self._used.cpu.values())
        return Report(run.id, counts, by_code, self._rows_now, seconds, peak, cpu)


def write_faults(place: Place, run_id: UUID, path: Path) -> None:
    """Write `line,column,code,reason_zh,reason_en` for everything that was wrong, in a file for its owner alone.

    Replaces the file at once, when it is whole. UTF-8 with a mark, which spreadsheets need.
    """
    draft = _draft(path)
    try:
        with (
            place.patient_work() as session,
            os.fdopen(_opened(draft), "w", encoding="utf-8-sig", newline="") as out,
        ):
            _write_csv(out, runs.faults(session, run_id))
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def require_room(path: Path) -> None:
    """Raises `OSError` where `write_faults` could not write its file."""
    os.close(_opened(_draft(path)))
    _draft(path).unlink()


def _draft(path: Path) -> Path:
    return path.with_name(path.name + ".new")


def _opened(draft: Path) -> int:
    draft.unlink(missing_ok=True)
    return os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def _write_csv(out: TextIO, faults: Iterable[Fault]) -> None:
    rows = csv.writer(out)
    rows.writerow(("line", "column", "code", "reason_zh", "reason_en"))
    for fault in faults:
        rows.writerow((fault.line, fault.field, fault.code, *REASONS[fault.code]))


def _require_same(before: tuple[int, int], after: tuple[int, int]) -> None:
    if before != after:
        raise file_changed()


def _void() -> BadFile:
    return BadFile(
        Text(
            "此前的导入写入的内容与该文件不一致，已作废；再次运行同一命令会从头核对整个文件。",
            "An earlier start wrote other rows than this file holds, so that run is void. The same command again goes"
            " through the whole file anew.",
        )
    )


class _Hashed:
    """A file hashed from beginning to end, and read again: the same bytes, or `BadFile` before any other is given."""

    def __init__(self, file: BinaryIO) -> None:
        whole = sha256()
        self._file, self._blocks, self._held = file, list[bytes](), b""
        while block := file.read(_BLOCK):
            whole.update(block)
            self._blocks.append(sha256(block).digest())
        file.seek(0)
        self.digest = whole.digest()
        self._coming = iter(self._blocks)

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        if not self._held:
            self._held = self._file.read(_BLOCK)
            if next(self._coming, b"") != (sha256(self._held).digest() if self._held else b""):
                raise file_changed()
        part, self._held = self._held[:size], self._held[size:]
        return part


def _state(file: BinaryIO) -> tuple[int, int]:
    """Size and time of change."""
    told = os.fstat(file.fileno())
    return told.st_size, told.st_mtime_ns
