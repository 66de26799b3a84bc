"""`ehc cards import` and the job of `/v1/imports` killed, again and again: in the end everybody is there, once.

`EHC_KILL_PEOPLE=1000000 pytest -n 0 -s tests/e2e/test_import_kill.py -k five_times` does it with a province.
"""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import Any, TextIO
from unittest import mock

import pytest

from ehc import log, worker
from ehc.access import clients
from ehc.callers import Scope
from ehc.commands import imports as command
from ehc.commands import main
from ehc.commands.people import Planted, people, write_people
from ehc.dev.worker import WorkerProcess
from ehc.files.pieces import PIECE_BYTES, Cutter
from ehc.issuer.batch import files, runs
from ehc.issuer.batch.columns import PEOPLE
from ehc.place import Place
from ehc.settings import Settings
from ehc.worker import Pace, work
from tests.e2e.processes import family, send
from tests.e2e.sites import eventually
from tests.support.imports import Imports, counted, faults
from tests.support.service import Api, Service, told

ROWS, KILLS = int(os.environ.get("EHC_KILL_PEOPLE", "20000")), 5
PIECE_KIB = 48 if ROWS < 100_000 else PIECE_BYTES // 1024
SECONDS = max(120, ROWS // 1000)
"""The longest that one start may take."""
PACE = Pace(look=0.2, heartbeat=0.3, silence=1.5, pause=0.2, take_up="* * * * * */1")
MOMENTS = {"before the end": "running", "before the error file": "done", "in the error file": "done"}
"""Where the command halts, and the state that its run has then."""

pytestmark = pytest.mark.xdist_group("heavy")


def halting(moment: str) -> None:
    """What a command of these tests runs: `ehc …`, which comes to a moment, says so and goes no further."""

    def halt(*_: object, **__: object) -> None:
        sys.stdout.write("here\n")
        sys.stdout.flush()
        time.sleep(600)

    def begin(out: TextIO, _: object) -> None:
        out.write("line,column\n2,")
        out.flush()
        halt()

    if moment == "before the end":
        mock.patch.object(runs, "finish", halt).start()
    elif moment == "before the error file":
        mock.patch.object(command, "write_faults", halt).start()
    else:
        mock.patch.object(files, "_write_csv", begin).start()
    main()


def serve() -> None:
    """What a worker process of these tests runs."""
    log.configure("INFO")
    work(Place(Settings.from_env(os.environ)), worker.TASKS, pace=PACE)


class Command:
    """`ehc cards import FILE` as its own group of processes."""

    def __init__(self, database_url: str, file: Path, *, moment: str = "") -> None:
        code = "from ehc.commands import main; main()"
        if moment:
            code = f"from tests.e2e.test_import_kill import halting; halting({moment!r})"
        words = ["cards", "import", str(file), "--workers", "2", "--piece-kib", str(PIECE_KIB)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            env=os.environ | {"EHC_DATABASE_URL": database_url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def come(self) -> None:
        """Wait for the moment."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "here\n"

    def kill(self) -> None:
        """SIGKILL to every process of it, at once."""
        send(family(self.process.pid), signal.SIGKILL)
        self.process.communicate()

    def finish(self) -> str:
        report, said = self.process.communicate(timeout=3 * SECONDS)
        assert self.process.returncode == 0, said
        return report


def pieces(file: Path, size: int = PIECE_KIB * 1024) -> int:
    with file.open("rb") as data:
        cutter = Cutter(data.read, size=size)
        cutter.header("utf-8", PEOPLE)
        return sum(1 for _ in cutter.pieces())


def expected_faults(planted: Planted) -> int:
    return planted.faulty + planted.other_name


def test_killed_five_times_on_the_way_and_three_times_at_the_end_it_misses_nobody_and_makes_nobody_twice(
    database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "people.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        planted = write_people(out, ROWS, seed=11)
    errors = file.with_name("people.csv.errors.csv")
    imports, total, chance = Imports(database_url), pieces(file), random.Random(11)

    def done() -> int:
        return int(imports.rows("SELECT count(*) FROM import_piece")[0][0])

    held: list[int] = []
    for kill in range(KILLS):
        command = Command(database_url, file)
        aim = total * (kill + 1) // (KILLS + 1)
        assert eventually(lambda aim=aim: done() >= aim, seconds=SECONDS, every=0.01)  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.1 * max(1, ROWS // 100_000)))
        command.kill()
        held.append(done())
    assert held == sorted(held)
    assert held[-1] < total  # every kill was on the way
    sys.stdout.write(f"\nkilled at {held} of {total} pieces\n")
    for moment, state in MOMENTS.items():
        at_the_end = Command(database_url, file, moment=moment)
        at_the_end.come()
        at_the_end.kill()
        assert imports.rows("SELECT state FROM import_run") == [(state,)]
        assert not errors.exists()
    assert done() == total
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
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'import.done'") == [(1,)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["people.csv", errors.name]
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


def test_the_job_of_a_killed_worker_is_done_by_another(service: Service, database_url: str, tmp_path: Path) -> None:
    file, imports = tmp_path / "people.csv", Imports(database_url)
    with file.open("w", encoding="utf-8", newline="") as out:
        planted = write_people(out, 20_000, seed=13)
    sender = _importer(service)
    answer = sender.http.post(
        "/v1/imports", data=file.read_bytes(), headers=sender.headers, content_type="text/csv; charset=utf-8"
    )
    assert answer.status_code == 202, answer.text
    total = pieces(file, PIECE_BYTES)

    def done() -> int:
        return int(imports.rows("SELECT count(*) FROM import_piece")[0][0])

    with ExitStack() as stack:
        for aim in (total // 4, total // 2):
            killed = _worker(database_url, tmp_path, stack)
            assert eventually(lambda aim=aim: done() >= aim, seconds=120, every=0.01)  # type: ignore[misc]
            killed.signal(Signals.SIGKILL)
            assert killed.wait(10) == -Signals.SIGKILL
            assert imports.rows("SELECT state FROM import_run") == [("running",)]
        assert done() < total
        _worker(database_url, tmp_path, stack)
        assert eventually(lambda: imports.rows("SELECT state FROM import_run") == [("done",)], seconds=120)
    seen: dict[str, Any] = told(sender.get(f"/v1/imports/{told(answer)['import_id']}"))
    assert {name: seen[name] for name in ("state", "rows", "made", "known", "bad")} == {
        "state": "done", "rows": 20_000, "made": planted.new, "known": planted.again, "bad": expected_faults(planted),
    }  # fmt: skip
    for table in ("resident", "identity_document", "card", "card_event", "card_grant"):
        assert imports.rows(f"SELECT count(*) FROM {table}") == [(planted.new,)]
    assert imports.rows("SELECT count(*), count(DISTINCT subject) FROM audit WHERE action = 'cards.imported'") == [
        (total, 1)
    ]
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'import.done'") == [(1,)]
    assert imports.rows("SELECT count(*) FROM import_part") == [(0,)]


def _importer(service: Service) -> Api:
    with service.session() as session:
        scopes = frozenset({Scope.BATCH, Scope.CARDS})
        made = clients.add_app(session, name="卫生统计平台", scopes=scopes, now=service.clock.now())
    return Api(service.client(), made)


def _worker(database_url: str, folder: Path, stack: ExitStack) -> WorkerProcess:
    made = WorkerProcess(
        {"EHC_DATABASE_URL": database_url, "EHC_LOG_LEVEL": "INFO"},
        log=folder / f"worker-{time.monotonic_ns()}.log",
        command="from tests.e2e.test_import_kill import serve; serve()",
    )
    stack.callback(made.stop)
    made.start()
    return made
