"""Workers as processes: stopped, killed in the middle of a job, several at once, and without their database for a while."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from ehc import jobs, log, worker
from ehc.db import unit_of_work
from ehc.dev.postgres import EmbeddedPostgres
from ehc.dev.worker import WorkerProcess
from ehc.jobs import Task
from ehc.place import Place
from ehc.settings import Settings
from ehc.worker import Pace, work
from tests.e2e.sites import eventually, own_database

SECRET = "王小明"
PACE = Pace(look=0.2, heartbeat=0.3, silence=1.5, pause=0.2, take_up="* * * * * */1")
Launch = Callable[..., WorkerProcess]

pytestmark = pytest.mark.xdist_group("heavy")


def note(place: Place, word: str) -> None:
    with place.work() as session:
        session.execute(text("INSERT INTO done (word, pid) VALUES (:word, :pid)"), {"word": word, "pid": os.getpid()})


def wait_for_the_word(place: Place, word: str) -> None:
    note(place, f"{word}-began")
    told = 0
    while not told:
        time.sleep(0.05)
        with place.work() as session:
            told = session.scalar(text("SELECT count(*) FROM done WHERE word = :go"), {"go": f"{word}-go"}) or 0
    note(place, f"{word}-ended")


def hang_the_first_time(place: Place, word: str) -> None:
    note(place, f"{word}-began")
    with place.work() as session:
        first = session.scalar(text("SELECT count(*) FROM done WHERE word = :word"), {"word": f"{word}-began"}) == 1
    if first:
        time.sleep(600)
    note(place, f"{word}-ended")


def end_while_the_database_is_away(place: Place, word: str) -> None:
    note(place, f"{word}-began")
    time.sleep(1)


def fail(_: Place, word: str) -> None:
    raise RuntimeError(f"{SECRET} {word}")


TASKS = (
    Task("test.note", note),
    Task("test.wait", wait_for_the_word),
    Task("test.hang", hang_the_first_time),
    Task("test.away", end_while_the_database_is_away),
    Task("test.fail", fail, attempts=2, first_wait=0),
    Task("test.daily", lambda place: note(place, "daily"), every="0 0 * * *"),
)
PUT_IN = {task.name for task in TASKS if task.every is None}


def serve() -> None:
    """What a worker process of these tests runs."""
    settings = Settings.from_env(os.environ)
    log.configure("INFO")
    work(Place(settings), TASKS, pace=PACE)


OURS = "from tests.e2e.test_worker import serve; serve()"


class Queue:
    """The database as the test sees it."""

    def __init__(self, url: str) -> None:
        self.work = unit_of_work(create_engine(url, poolclass=NullPool))
        with self.work() as session:
            session.execute(text("CREATE TABLE done (word text, pid int)"))

    def put(self, task: str, *, word: str, lock: str | None = None) -> int:
        with self.work() as session:
            return jobs.defer(session, task, word=word, lock=lock)

    def done(self, word: str) -> list[int]:
        """The processes that noted this word."""
        with self.work() as session:
            return list(session.scalars(text("SELECT pid FROM done WHERE word = :word"), {"word": word}))

    def left(self) -> list[tuple[str, str, int]]:
        """The jobs that the test put in and that are there still; not those of the schedule, which run when they like."""
        with self.work() as session:
            found = jobs.listing(session)
        return [(job.task, job.status, job.attempts) for job in found if job.task in PUT_IN]


@pytest.fixture
def queue(database_url: str) -> Queue:
    return Queue(database_url)


@pytest.fixture
def launch(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Launch]:
    """Starts workers: `launch()`. They end with the test."""
    with ExitStack() as stack:

        def start(url: str = "", command: str = OURS) -> WorkerProcess:
            env = {
                "EHC_DATABASE_URL": url or request.getfixturevalue("database_url"),
                "EHC_LOG_LEVEL": "INFO",
            }
            worker = WorkerProcess(env, log=tmp_path / f"worker-{time.monotonic_ns()}.log", command=command)
            stack.callback(worker.stop)
            worker.start()
            return worker

        yield start


def lines(worker: WorkerProcess) -> list[dict[str, Any]]:
    return [json.loads(line) for line in worker.log.read_text(encoding="utf-8").splitlines()]


def events(worker: WorkerProcess) -> list[str]:
    return [line["event"] for line in lines(worker)]


def test_a_stopped_worker_finishes_its_job_and_no_other_takes_it_meanwhile(queue: Queue, launch: Launch) -> None:
    first = launch()
    queue.put("test.wait", word="a")
    assert eventually(lambda: queue.done("a-began") != [], seconds=30, every=0.02)
    second = launch()
    assert eventually(lambda: "worker starts" in events(second), seconds=30)
    first.signal(Signals.SIGTERM)
    queue.put("test.note", word="b")
    assert eventually(lambda: queue.done("b") != [], seconds=30)
    assert first.wait(2 * PACE.silence + 1) is None  # it does not count as dead while it stops
    assert queue.left() == [("test.wait", "doing", 0)]
    queue.put("test.note", word="a-go")
    assert first.wait(15) == 0
    assert queue.done("a-ended") == queue.done("a-began")
    assert queue.done("b") != queue.done("a-began")
    assert eventually(lambda: queue.left() == [])
    assert events(first)[-1] == "worker stopped"
    assert "job taken up" not in events(second)


def test_a_second_worker_runs_the_job_of_one_that_was_killed(queue: Queue, launch: Launch) -> None:
    first = launch()
    queue.put("test.hang", word="a", lock="chain")
    queue.put("test.note", word="b", lock="chain")
    assert eventually(lambda: queue.done("a-began") != [], seconds=30, every=0.02)
    first.signal(Signals.SIGKILL)
    assert first.wait(10) == -Signals.SIGKILL
    assert queue.left() == [("test.hang", "doing", 0), ("test.note", "todo", 0)]
    second = launch()
    assert eventually(lambda: queue.done("b") != [], seconds=30)  # what waited for its lock goes on too
    assert len(queue.done("a-began")) == 2
    assert queue.done("a-ended") == queue.done("b") != queue.done("a-began")[:1]
    assert eventually(lambda: queue.left() == [])
    assert "job taken up" in events(second)


def test_a_scheduled_task_runs_once_though_several_workers_start_and_start_again(queue: Queue, launch: Launch) -> None:
    workers = [launch() for _ in range(3)]
    words = [f"busy-{n}" for n in range(20)]
    for word in words:
        queue.put("test.note", word=word)
    assert eventually(lambda: all(queue.done(word) for word in words), seconds=30)
    workers.append(launch())
    assert eventually(lambda: all("worker starts" in events(worker) for worker in workers), seconds=30)
    assert eventually(lambda: queue.done("daily") != [], seconds=30)
    time.sleep(1.5)
    assert len(queue.done("daily")) == 1
    assert all(len(queue.done(word)) == 1 for word in words)


def test_a_worker_waits_for_its_database_and_loses_no_job(tmp_path: Path, launch: Launch) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", durable=False) as server:
        url = own_database(server)
        queue = Queue(url)
        worker = launch(url)
        queue.put("test.away", word="a")
        assert eventually(lambda: queue.done("a-began") != [], seconds=30, every=0.02)
        server.stop()
        assert eventually(lambda: "database away" in events(worker), seconds=20)
        server.start()
        queue.put("test.note", word="b")
        assert eventually(lambda: queue.done("b") != [], seconds=30)
        assert eventually(lambda: queue.left() == [])
        assert len(queue.done("a-began")) == 1  # its end was written down when that was possible again
        assert worker.wait(0) is None
        worker.signal(Signals.SIGTERM)
        assert worker.wait(15) == 0


def test_a_worker_whose_database_is_away_stops_all_the_same(tmp_path: Path, launch: Launch) -> None:
    worker = launch("postgresql://nobody@127.0.0.1:1/nothing")
    assert eventually(lambda: "worker starts" in events(worker), seconds=30)
    began = time.monotonic()
    worker.signal(Signals.SIGTERM)
    assert worker.wait(20) == 0
    assert time.monotonic() - began < 15


def done_by(process: WorkerProcess) -> set[str]:
    return {str(line["task"]) for line in lines(process) if line["event"] == "job done"}


def test_the_command_serves_until_ctrl_c_and_its_log_tells_ids_and_places_alone(queue: Queue, launch: Launch) -> None:
    ours = launch()
    queue.put("test.fail", word="told-to-the-task-alone")
    assert eventually(lambda: ("test.fail", "failed", 2) in queue.left(), seconds=30)
    ours.signal(Signals.SIGTERM)
    assert ours.wait(15) == 0
    failures = [line for line in lines(ours) if line["event"] == "job failed"]
    assert [(line["level"], line["attempt"], line["again_in"]) for line in failures] == [
        ("warning", 1, 0),
        ("error", 2, None),
    ]
    assert {line["error"] for line in failures} == {"RuntimeError"}
    written = ours.log.read_text(encoding="utf-8")
    assert SECRET not in written
    assert "told-to-the-task-alone" not in written

    with queue.work() as session:
        session.execute(text("INSERT INTO procrastinate_jobs (queue_name, task_name) VALUES ('default', 'db.upkeep')"))
    command = launch(command="from ehc.commands import main; main()")
    assert eventually(lambda: "db.upkeep" in done_by(command), seconds=30)
    command.signal(Signals.SIGINT)
    assert command.wait(15) == 0
    assert done_by(command) <= {task.name for task in worker.TASKS} | {"jobs.take-up"}
    assert events(command)[-1] == "worker stopped"


def test_without_its_tables_it_says_what_to_do(queue: Queue, launch: Launch) -> None:
    with queue.work() as session:
        session.execute(text("DROP FUNCTION procrastinate_register_worker_v1"))
    command = launch(command="from ehc.commands import main; main()")
    assert command.wait(30) == 1
    assert "run `ehc db upgrade`" in command.log.read_text(encoding="utf-8")
