"""`ehc cards import` killed with all its workers, again and again: in the end everybody is there, once."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ehc.commands.people import Planted, people, write_people
from ehc.issuer.batch.reading import Cutter
from tests.e2e.processes import family, send
from tests.e2e.sites import eventually
from tests.support.imports import Imports, counted, faults

ROWS, KILLS, PIECE_KIB = 20_000, 5, 48

pytestmark = pytest.mark.xdist_group("heavy")


class Command:
    """`ehc cards import FILE` as its own group of processes."""

    def __init__(self, database_url: str, file: Path) -> None:
        words = ["cards", "import", str(file), "--workers", "2", "--piece-kib", str(PIECE_KIB)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from ehc.commands import main; main()", *words],
            env=os.environ | {"EHC_DATABASE_URL": database_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def kill(self) -> None:
        """SIGKILL to every process of it, at once."""
        send(family(self.process.pid), signal.SIGKILL)
        self.process.communicate()

    def finish(self) -> str:
        report, said = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, said
        return report


def pieces(file: Path) -> int:
    with file.open("rb") as data:
        cutter = Cutter(data.read, size=PIECE_KIB * 1024)
        cutter.header("utf-8")
        return sum(1 for _ in cutter.pieces())


def expected_faults(planted: Planted) -> int:
    return planted.faulty + planted.other_name


def test_killed_five_times_on_the_way_and_at_the_end_it_misses_nobody_and_makes_nobody_twice(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        planted = write_people(out, ROWS, seed=11)
    imports, total, chance = Imports(database_url), pieces(file), random.Random(11)

    def done() -> int:
        return int(imports.rows("SELECT count(*) FROM import_piece")[0][0])

    held: list[int] = []
    for kill in range(KILLS):
        command = Command(database_url, file)
        aim = total * (kill + 1) // (KILLS + 1)
        assert eventually(lambda aim=aim: done() >= aim, seconds=120, every=0.01)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.1))
        command.kill()
        held.append(done())
    assert held == sorted(held)
    assert held[-1] < total  # every kill was on the way
    at_the_end = Command(database_url, file)
    assert eventually(lambda: done() == total, seconds=120, every=0.002)
    at_the_end.kill()
    report = Command(database_url, file).finish()

    assert counted(report) == {
        "rows": ROWS, "made": planted.new, "known": planted.again, "bad": expected_faults(planted),
    }  # fmt: skip
    for table in ("resident", "identity_document", "card", "card_event"):
        assert imports.rows(f"SELECT count(*) FROM {table}") == [(planted.new,)]
    assert imports.rows("SELECT count(DISTINCT number_index) FROM identity_document") == [(planted.new,)]
    assert imports.rows("SELECT count(*), sum(rows) FROM import_piece") == [(total, ROWS)]
    assert imports.rows("SELECT count(*) FROM import_run WHERE state = 'done'") == [(1,)]
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'cards.imported'") == [(total,)]
    _require_right_faults(file)
    out_file = tmp_path / "out.csv"
    assert imports.run("export", str(out_file)).exit_code == 0
    with out_file.open(encoding="utf-8", newline="") as out:
        assert len({each["id_number"] for each in csv.DictReader(out)}) == planted.new


def _require_right_faults(file: Path) -> None:
    """Every faulty row is told of, and of two names for one number exactly one: whose piece was written later."""
    told = {line for line, _, _ in faults(file.with_name("people.csv.errors.csv"))}
    lines, first = _lines(file), {}
    for line, (row, kind) in zip(lines, people(ROWS, seed=11), strict=True):
        if kind == "faulty":
            assert line in told
            told.remove(line)
        elif kind == "new":
            first[row[2]] = line
        elif kind == "other_name":
            (one,) = told & {line, first[row[2]]}
            told.remove(one)
    assert not told


def _lines(file: Path) -> list[int]:
    """The line on which each row begins."""
    with file.open(encoding="utf-8", newline="") as data:
        rows = csv.reader(data)
        next(rows)
        begins, found = rows.line_num + 1, []
        for _ in rows:
            found.append(begins)
            begins = rows.line_num + 1
    return found


def test_a_killed_parent_leaves_no_worker_behind(database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        write_people(out, ROWS, seed=12)
    command = Command(database_url, file)
    imports = Imports(database_url)
    assert eventually(lambda: imports.rows("SELECT count(*) FROM import_piece")[0][0] > 0, seconds=60)
    _, *workers = family(command.process.pid)
    assert len(workers) == 2
    send([command.process.pid], signal.SIGKILL)
    command.process.communicate()
    assert eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), seconds=20)
    before = imports.people()
    time.sleep(0.3)
    assert imports.people() == before
    assert counted(Command(database_url, file).finish())["rows"] == ROWS
