"""A file imported from beginning to end, or from where an earlier start left off."""

import csv
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import file_digest
from pathlib import Path
from typing import BinaryIO, Protocol, TextIO
from uuid import UUID

from ehc.errors import Text
from ehc.issuer.batch import runs
from ehc.issuer.batch.holding import held
from ehc.issuer.batch.models import ImportRunRow
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.pool import Used, write_pieces
from ehc.issuer.batch.preparing import Fault
from ehc.issuer.batch.reading import BadFile, Cutter, Piece
from ehc.issuer.batch.reasons import REASONS
from ehc.issuer.batch.worker import usage
from ehc.issuer.batch.writing import Counts
from ehc.place import Place


class Teller(Protocol):
    """Who is told how far it is: see `progress.Progress`."""

    def skip(self, size: int) -> None:
        """Bytes that an earlier start has done."""

    def advance(self, size: int, rows: int) -> None:
        """Bytes and rows that are done now."""


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

    def run(self, *, again: bool) -> Report:
        """Import the file, or go on with it. One that was imported already is only reported on, unless `again`.

        Raises `BadFile`, `ImportRuns`, `ImportStopped`, `ImportIncomplete`. What was written then stays.
        """
        began = time.monotonic()
        with self._path.open("rb") as file:
            state = _state(file)
            content = file_digest(file, "sha256").digest()
            file.seek(0)
            cutter = Cutter(file.read, size=self._options.piece_bytes)
            options = replace(self._options, header=cutter.header(self._options.encoding))
            run = self._begun(runs.fingerprint(content, options), options, size=state[0], again=again)
            if run.finished_at is None:
                with held(self._place, run.id):
                    self._write(cutter, run, options)
                    _require_same(state, _state(file))
                    self._finish(run)
        return self._report(run, time.monotonic() - began)

    def _begun(self, print_: bytes, options: Options, *, size: int, again: bool) -> ImportRunRow:
        with self._place.patient_work() as session:
            found = runs.find(session, print_)
            if found is not None and (found.finished_at is None or not again):
                return found
            return runs.begin(session, print_, options, size=size, now=self._place.clock.now())

    def _write(self, cutter: Cutter, run: ImportRunRow, options: Options) -> None:
        with self._place.patient_work() as session:
            done = runs.written(session, run.id)
        order = {"run": str(run.id), "file": str(self._path.resolve()), "options": options.told()}
        self._used = write_pieces(self._missing(cutter, done), workers=self._workers, order=order, tell=self._tell)

    def _missing(self, cutter: Cutter, done: set[int]) -> Iterator[Piece]:
        for piece in cutter.pieces():
            self._cut += 1
            if piece.number in done:
                self._teller.skip(len(piece.data))
            else:
                yield piece

    def _tell(self, size: int, counts: Counts) -> None:
        self._rows_now += counts.rows
        self._teller.advance(size, counts.rows)

    def _finish(self, run: ImportRunRow) -> None:
        with self._place.patient_work() as session:
            runs.finish(session, session.merge(run), pieces=self._cut, now=self._place.clock.now())

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
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with (
        place.patient_work() as session,
        os.fdopen(
            os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8-sig", newline=""
        ) as out,
    ):
        _write_csv(out, runs.faults(session, run_id))
    draft.replace(path)


def _write_csv(out: TextIO, faults: Iterable[Fault]) -> None:
    rows = csv.writer(out)
    rows.writerow(("line", "column", "code", "reason_zh", "reason_en"))
    for fault in faults:
        rows.writerow((fault.line, fault.field, fault.code, *REASONS[fault.code]))


def _require_same(before: tuple[int, int], after: tuple[int, int]) -> None:
    if before != after:
        raise BadFile(
            Text(
                "导入期间文件被修改，请确认文件完整后重新导入。",
                "The file changed while it was imported. See that it is whole, then import it again.",
            )
        )


def _state(file: BinaryIO) -> tuple[int, int]:
    """Size and time of change."""
    told = os.fstat(file.fileno())
    return told.st_size, told.st_mtime_ns
