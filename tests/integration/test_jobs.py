"""The queue of background jobs on a real database: what is put in, what runs, what fails and what an operator does then."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ehc import audit, jobs
from ehc.commands import main
from ehc.jobs import Task
from ehc.place import Place
from ehc.settings import Settings
from ehc.worker import TASKS, drain
from tests.support.service import HeldClock

Run = Callable[..., Result]
SECRET = "王小明"
CARD_ID = "0190163d-8694-739b-aea5-966c26f8ad91"


class Failing(RuntimeError):
    pass


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    made = Place(settings, clock=HeldClock())
    yield made
    made.close()


@pytest.fixture
def ehc(database_url: str) -> Run:
    """Runs `ehc …` on the test's database."""

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, list(words), env={"EHC_DATABASE_URL": database_url})

    return command


class Told:
    """Tasks that note what they were told: `note`, and `fail` which then fails, at once again, three times in all."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.tasks = (
            Task("test.note", self._note),
            Task("test.fail", self._fail, attempts=3, first_wait=0),
            Task("test.fail-slowly", self._fail, attempts=3, first_wait=60),
        )

    def _note(self, _: Place, **told: Any) -> None:
        self.calls.append(told)

    def _fail(self, _: Place, **told: Any) -> None:
        self.calls.append(told)
        raise Failing(SECRET)


@pytest.fixture
def told() -> Told:
    return Told()


def states(place: Place) -> list[tuple[str, str, int]]:
    with place.work() as session:
        return [(job.task, job.status, job.attempts) for job in jobs.listing(session)]


def seconds_until_due(place: Place) -> float:
    with place.work() as session:
        (job,) = jobs.listing(session)
    assert job.due is not None
    return (job.due - datetime.now(UTC)).total_seconds()


def test_a_job_runs_with_what_it_was_told_and_is_gone(place: Place, told: Told) -> None:
    with place.work() as session:
        jobs.defer(session, "test.note", card_id=CARD_ID, serial=2**63 - 1, again=False, why=None)
    assert states(place) == [("test.note", "todo", 0)]
    drain(place, told.tasks)
    assert told.calls == [{"card_id": CARD_ID, "serial": 2**63 - 1, "again": False, "why": None}]
    assert states(place) == []


def test_a_job_of_a_rolled_back_transaction_does_not_exist(place: Place, told: Told) -> None:
    def put_in_and_fail() -> None:
        with place.work() as session:
            jobs.defer(session, "test.note", card="rolled-back")
            jobs.defer(session, "test.note", card="rolled-back-too", queueing_lock="one")
            raise Failing

    with pytest.raises(Failing):
        put_in_and_fail()
    assert states(place) == []
    drain(place, told.tasks)
    assert told.calls == []


def test_a_job_does_not_run_before_its_transaction_is_committed(place: Place, told: Told) -> None:
    with place.work() as session:
        jobs.defer(session, "test.note", card="a")
        drain(place, told.tasks)
        assert told.calls == []
    drain(place, told.tasks)
    assert told.calls == [{"card": "a"}]


def test_a_job_does_not_run_before_its_time(place: Place, told: Told) -> None:
    now = datetime.now(UTC)
    with place.work() as session:
        jobs.defer(session, "test.note", at=now + timedelta(hours=1), card="later")
        jobs.defer(session, "test.note", at=now - timedelta(hours=1), card="now")
    drain(place, told.tasks)
    assert told.calls == [{"card": "now"}]
    assert 3500 < seconds_until_due(place) < 3600


@pytest.mark.parametrize(
    "value",
    [
        "王小明",
        "110105199003070017",
        "11010519900307001X",
        "11010519900307001x",
        "13800138000",
        "a" * 65,
        "",
        "two words",
        "-begins-with-a-dash",
        "line\n",
        2**63,
        -(2**63) - 1,
        1.5,
        b"bytes",
        ["a"],
        {"a": "b"},
        datetime(2026, 1, 1, tzinfo=UTC),
    ],
    ids=repr,
)
def test_what_is_not_an_id_is_refused_and_not_repeated(place: Place, value: Any) -> None:
    with place.work() as session, pytest.raises(ValueError, match="a job is told ids, nothing else") as refused:
        jobs.defer(session, "test.note", card=value)
    assert str(refused.value) == "a job is told ids, nothing else: see ehc.jobs.defer"
    assert states(place) == []


@pytest.mark.parametrize(
    "value", ["a", "a" * 64, "1234567890", "2026-01-09", "H1:T1/a_b.c", CARD_ID, 2**63 - 1, -(2**63), True, None]
)
def test_what_may_be_an_id_is_taken(place: Place, told: Told, value: jobs.Argument) -> None:
    with place.work() as session:
        jobs.defer(session, "test.note", card=value)
    drain(place, told.tasks)
    assert told.calls == [{"card": value}]


@pytest.mark.parametrize("word", ["task_name", "queue", "lock", "queueing_lock"])
@pytest.mark.parametrize("value", [SECRET, "", "a" * 129])
def test_names_and_locks_are_held_to_the_same(place: Place, word: str, value: str) -> None:
    given_words: dict[str, Any] = {"task_name": "test.note", word: value}
    with place.work() as session, pytest.raises(ValueError, match="told ids"):
        jobs.defer(session, **given_words)


@given(attempt=st.integers(1, 400))
def test_the_wait_doubles_up_to_its_cap_and_ends_after_the_last_attempt(attempt: int) -> None:
    task = Task("test.note", print, attempts=300, first_wait=10, longest_wait=3600)
    wait = task.wait_after(attempt)
    if attempt >= 300:
        assert wait is None
    else:
        assert wait == min(3600, 10 * 2 ** (attempt - 1))


def test_a_task_as_it_comes_is_tried_for_85_minutes() -> None:
    task = Task("test.note", print)
    waits = [task.wait_after(attempt) for attempt in range(1, 11)]
    assert waits[-1] is None
    assert sum(filter(None, waits)) == 5110


def test_a_failing_job_waits_before_it_runs_again(place: Place, told: Told) -> None:
    with place.work() as session:
        jobs.defer(session, "test.fail-slowly", card="a")
    drain(place, told.tasks)
    assert states(place) == [("test.fail-slowly", "todo", 1)]
    assert 50 < seconds_until_due(place) < 60
    drain(place, told.tasks)
    assert len(told.calls) == 1
    with place.work() as session:
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = now()"))
    drain(place, told.tasks)
    assert len(told.calls) == 2
    assert 110 < seconds_until_due(place) < 120


def test_a_job_that_failed_for_good_is_listed_and_can_be_retried(place: Place, told: Told, ehc: Run) -> None:
    with place.work() as session:
        number = jobs.defer(session, "test.fail", card="a")
        jobs.defer(session, "test.note", at=datetime.now(UTC) + timedelta(hours=1), card="b")
    for _ in range(4):  # one that waits 0 s may run again in the same round
        drain(place, told.tasks)
    assert len(told.calls) == 3
    (line,) = ehc("jobs", "list", "--failed").stdout.splitlines()
    assert line.split()[:3] == [str(number), "failed", "3"]
    assert line.split()[4:] == ["test.fail", "card=a"]
    for words in (("jobs", "list"), ("jobs",)):
        assert [row.split()[1] for row in ehc(*words).stdout.splitlines()] == ["failed", "todo"]

    assert ehc("jobs", "retry", str(number)).stdout.strip() == f"{number} todo"
    assert ehc("jobs", "list", "--failed").stdout == ""
    for _ in range(4):
        drain(place, told.tasks)
    assert len(told.calls) == 6  # all its attempts again
    assert ("test.fail", "failed", 3) in states(place)


@pytest.mark.parametrize("kind", ["waits", "failed"])
def test_a_cancelled_job_is_gone_and_the_audit_log_says_so(place: Place, told: Told, ehc: Run, kind: str) -> None:
    with place.work() as session:
        number = jobs.defer(session, "test.fail", card="a")
    runs = 3 if kind == "failed" else 0
    for _ in range(runs):
        drain(place, told.tasks)
    assert ehc("jobs", "cancel", str(number)).exit_code == 0
    assert states(place) == []
    drain(place, told.tasks)
    assert len(told.calls) == runs
    with place.work() as session:
        (entry,) = session.scalars(text("SELECT entry FROM audit WHERE action = 'job.cancelled'"))
    assert json.loads(entry)["facts"] == {
        "task": "test.fail",
        "status": "failed" if runs else "todo",
        "attempts": runs,
        "arguments": {"card": "a"},
    }


@pytest.mark.parametrize("words", [("retry", "7"), ("cancel", "7")])
def test_a_job_that_is_not_there_is_told_in_a_sentence(ehc: Run, words: tuple[str, ...]) -> None:
    result = ehc("jobs", *words)
    assert result.exit_code == 1
    assert "see `ehc jobs list`" in result.stderr


def test_a_job_that_waits_or_runs_is_not_retried_and_one_that_runs_is_not_cancelled(place: Place, ehc: Run) -> None:
    with place.work() as session:
        number = str(jobs.defer(session, "test.note", card="a"))
    assert ehc("jobs", "retry", number).exit_code == 1
    with place.work() as session:
        session.execute(text("UPDATE procrastinate_jobs SET status = 'doing'"))
    assert ehc("jobs", "retry", number).exit_code == 1
    assert ehc("jobs", "cancel", number).exit_code == 1
    assert states(place) == [("test.note", "doing", 0)]


def test_two_equal_jobs_are_one_while_the_first_waits(place: Place, told: Told) -> None:
    with place.work() as session:
        first = jobs.defer(session, "test.note", queueing_lock="card-a", card="a")
        assert jobs.defer(session, "test.note", queueing_lock="card-a", card="a") == first
        other = jobs.defer(session, "test.note", queueing_lock="card-b", card="b")
    with place.work() as session:
        assert jobs.defer(session, "test.note", queueing_lock="card-a", card="a") == first != other
    drain(place, told.tasks)
    assert told.calls == [{"card": "a"}, {"card": "b"}]
    with place.work() as session:
        assert jobs.defer(session, "test.note", queueing_lock="card-a", card="a") > other


def test_an_equal_job_does_not_start_before_the_transaction_that_joined_it_has_ended(place: Place, told: Told) -> None:
    with place.work() as session:
        jobs.defer(session, "test.note", queueing_lock="card-a", card="a")
    with place.work() as session:
        jobs.defer(session, "test.note", queueing_lock="card-a", card="a")
        drain(place, told.tasks)
        assert told.calls == []  # it would not have seen what this transaction writes
    drain(place, told.tasks)
    assert told.calls == [{"card": "a"}]


@pytest.mark.parametrize("ending", ["commit", "rollback"])
def test_two_transactions_that_put_in_equal_jobs_at_once_make_one(place: Place, ending: str) -> None:
    second: list[int] = []

    def put_in() -> None:
        with place.work() as session:
            second.append(jobs.defer(session, "test.note", queueing_lock="card-a", card="a"))

    with Session(place.engine) as session:
        first = jobs.defer(session, "test.note", queueing_lock="card-a", card="a")
        other = threading.Thread(target=put_in)
        other.start()
        other.join(0.3)
        assert other.is_alive()  # it waits for us: our job may come to nothing
        getattr(session, ending)()
    other.join(10)
    assert (second == [first]) is (ending == "commit")
    assert states(place) == [("test.note", "todo", 0)]


def test_the_callers_transaction_survives_an_equal_job(place: Place) -> None:
    with place.work() as session:
        jobs.defer(session, "test.note", queueing_lock="card-a", card="a")
    with place.work() as session:
        session.execute(text("CREATE TABLE before (n int)"))
        jobs.defer(session, "test.note", queueing_lock="card-a", card="a")
    with place.work() as session:
        assert session.scalar(text("SELECT count(*) FROM before")) == 0


def test_a_failing_job_whose_equal_waits_leaves_the_rest_to_it(place: Place) -> None:
    calls: list[str] = []

    def fail_once(place: Place, card: str) -> None:
        calls.append(card)
        if len(calls) == 1:
            with place.work() as session:  # while this one runs an equal one may be put in
                jobs.defer(session, "test.once", queueing_lock="card-a", card=card)
            raise Failing

    with place.work() as session:
        jobs.defer(session, "test.once", queueing_lock="card-a", card="a")
    drain(place, [Task("test.once", fail_once, first_wait=0)], concurrency=1)
    drain(place, [Task("test.once", fail_once, first_wait=0)], concurrency=1)
    assert calls == ["a", "a"]
    assert states(place) == []


def test_retrying_a_failed_job_whose_equal_waits_is_refused(place: Place, told: Told, ehc: Run) -> None:
    with place.work() as session:
        number = jobs.defer(session, "test.fail", queueing_lock="card-a", card="a")
    for _ in range(3):
        drain(place, told.tasks)
    with place.work() as session:
        jobs.defer(session, "test.fail", queueing_lock="card-a", card="a")
    assert "An equal job waits already" in ehc("jobs", "retry", str(number)).stderr
    assert [status for _, status, _ in states(place)] == ["failed", "todo"]


def test_jobs_of_one_lock_run_one_at_a_time_and_in_order(place: Place) -> None:
    running, most, order = [0], [0], []

    def run(_: Place, number: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        order.append(number)
        threading.Event().wait(0.05)
        running[0] -= 1

    with place.work() as session:
        for number in range(4):
            jobs.defer(session, "test.run", lock="chain", number=number)
    for _ in range(4):
        drain(place, [Task("test.run", run)])
    assert (most, order) == ([1], [0, 1, 2, 3])


def stalled(place: Place, *, silent: float, **job: Any) -> None:
    """A job that a worker took and then said nothing more of for so many seconds."""
    with place.work() as session:
        number = jobs.defer(session, "test.fail", card="a", **job)
        worker = session.scalar(
            text("""
                INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - make_interval(secs => :silent))
                RETURNING id
            """),
            {"silent": silent},
        )
        session.execute(
            text("UPDATE procrastinate_jobs SET status = 'doing', worker_id = :worker WHERE id = :id"),
            {"worker": worker, "id": number},
        )


def take_up(place: Place, *, attempts: int = 3) -> list[jobs.Job]:
    task = Task("test.fail", print, attempts=attempts)
    with place.work() as session:
        return jobs.take_up_stalled(session, silence=30, wait=lambda _, attempt: task.wait_after(attempt))


def test_the_job_of_a_silent_worker_is_taken_up_and_that_of_a_living_one_is_not(place: Place) -> None:
    stalled(place, silent=25)
    assert take_up(place) == []
    assert states(place) == [("test.fail", "doing", 0)]
    stalled(place, silent=35)
    assert len(take_up(place)) == 1
    assert sorted(states(place)) == [("test.fail", "doing", 0), ("test.fail", "todo", 1)]


def test_the_job_of_a_worker_that_left_the_list_is_taken_up(place: Place) -> None:
    stalled(place, silent=0)
    with place.work() as session:
        session.execute(text("DELETE FROM procrastinate_workers"))
    assert len(take_up(place)) == 1


def test_a_job_that_kills_its_workers_ends_as_failed(place: Place) -> None:
    stalled(place, silent=35)
    assert take_up(place, attempts=1)[0].attempts == 0
    assert states(place) == [("test.fail", "failed", 1)]


def test_a_stalled_job_whose_equal_waits_is_dropped(place: Place) -> None:
    stalled(place, silent=35, queueing_lock="card-a")
    with place.work() as session:
        jobs.defer(session, "test.fail", queueing_lock="card-a", card="a")
    assert len(take_up(place)) == 1
    assert states(place) == [("test.fail", "todo", 0)]


def test_two_that_take_up_at_once_do_not_take_the_same(place: Place) -> None:
    stalled(place, silent=35)
    with place.work() as session:
        first = jobs.take_up_stalled(session, silence=30, wait=lambda *_: 0)
        assert (len(first), take_up(place)) == (1, [])


def test_upkeep_is_a_task_of_the_service(place: Place) -> None:
    (upkeep,) = [task for task in TASKS if task.name == "db.upkeep"]
    assert upkeep.every is not None
    now = place.clock.now()
    with place.work() as session:
        session.execute(text(f"DROP TABLE verification_y{now:%Y}m{now:%m}"))
        session.execute(
            text("""
                INSERT INTO code_use SELECT n, '\\x00', gen_random_uuid(), gen_random_uuid(), 'other', now(),
                    now() - n * interval '7 minutes' FROM generate_series(0, 2) AS n
            """)
        )
    upkeep.run(place)
    with place.work() as session:
        assert session.scalar(text(f"SELECT to_regclass('verification_y{now:%Y}m{now:%m}') IS NOT NULL"))
        assert session.scalars(text("SELECT card_serial FROM code_use ORDER BY 1")).all() == [0, 1]


def test_every_task_of_the_service_has_a_name_of_its_own_that_a_job_may_bear(place: Place) -> None:
    names = [task.name for task in TASKS]
    assert len(set(names)) == len(names)
    with place.work() as session:
        for name in names:
            jobs.defer(session, name)


def test_a_long_task_may_wait_for_its_statement_and_a_short_one_may_not(place: Place) -> None:
    with place.patient_work() as session:
        assert session.scalar(text("SELECT current_setting('statement_timeout')")) == "0"
        assert session.scalar(text("SELECT current_setting('lock_timeout')")) == "5s"
    with place.work() as session:
        assert session.scalar(text("SELECT current_setting('statement_timeout')")) == "5500ms"
        session.execute(text("SET statement_timeout = '50ms'"))
        with pytest.raises(OperationalError, match="statement timeout"):
            session.execute(text("SELECT pg_sleep(5)"))
        session.rollback()


def test_a_task_has_the_keys(place: Place) -> None:
    sealed = place.secrets().sealer.seal("value", "table.column:row")
    assert place.secrets().sealer.unseal(sealed, "table.column:row") == "value"


@pytest.mark.parametrize("method", ["sha256", "hmac-sm3"])
def test_what_a_task_records_is_linked_as_the_settings_say(settings: Settings, method: str) -> None:
    place = Place(replace(settings, audit_hash=method))
    for work in (place.work, place.patient_work):
        with work() as session:
            audit.record(session, "test.done", actor="worker", subject="job:1", at=place.clock.now())
    with place.work() as session:
        methods = session.scalars(text("SELECT method FROM audit WHERE action = 'test.done'")).all()
    place.close()
    assert len(methods) == 2
    assert all(told.startswith(method) for told in methods)
