"""Background jobs, as the rooms see them: a job is put into the queue in the transaction that causes it.

A job that a rolled-back transaction put in does not exist, and one that was committed is run at least once: again after a
failure, and again when its worker was killed in the middle, perhaps while a worker that was only taken for dead still runs
it. A task is therefore written so that a second run does no harm. The queue is Procrastinate's: its tables and functions
are in the database (`migrations/procrastinate-3.10.sql`), and who only puts jobs in needs no more of it than these.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

Argument = str | int | bool | None
"""What a job may be told: ids, never the things they stand for."""

LISTED = 1000
"""How many jobs `listing` tells of at most."""

_WAITING_INDEX = "procrastinate_jobs_queueing_lock_idx_v1"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_ID_LENGTH = 64
# eleven digits are a phone's, fifteen or eighteen a citizen's; a serial is passed as a number
_NUMBER_OF_A_PERSON = re.compile(r"\d{11,}[Xx]?")


@dataclass(frozen=True)
class Task:
    """What a worker does for a job of this name: `run(place, **arguments)`, in a thread. A failure is any exception.

    A failed job is tried again `first_wait` seconds later, then after twice that, and so on up to `longest_wait`; after
    `attempts` runs in all it stays as failed. As it stands here that takes 85 minutes. `every` is a schedule in cron's
    five fields, UTC (six: the last is seconds): such a job has no arguments, is put in once however many workers run, and
    does not run twice at the same time unless it `overlaps`. It is not put in while one waits, be it to be tried again: a
    task of a short period has a short `longest_wait`.
    """

    name: str
    run: Callable[..., None]
    every: str | None = None
    attempts: int = 10
    first_wait: int = 10
    longest_wait: int = 3600
    priority: int = 0
    overlaps: bool = False

    def wait_after(self, attempt: int) -> int | None:
        """Seconds between the end of this attempt (the first is 1) and the next; None after the last."""
        if attempt >= self.attempts:
            return None
        return min(self.longest_wait, self.first_wait << (attempt - 1))


@dataclass(frozen=True)
class Job:
    """A job in the queue. `attempts` are the runs that ended; `since` is when it came into its state."""

    id: int
    task: str
    status: str
    attempts: int
    since: datetime
    due: datetime | None
    arguments: dict[str, Argument]


_PUT_IN = text("""
    SELECT unnest(procrastinate_defer_jobs_v1(ARRAY[
        ROW(:queue, :task, 0, :lock, :queueing_lock, CAST(:arguments AS jsonb), CAST(:at AS timestamptz))
    ]::procrastinate_job_to_defer_v1[]))
""")
_EQUAL_ONE = text("SELECT id FROM procrastinate_jobs WHERE queueing_lock = :lock AND status = 'todo' FOR SHARE")


def defer(
    session: Session,
    task_name: str,
    *,
    at: datetime | None = None,
    queue: str = "default",
    lock: str | None = None,
    queueing_lock: str | None = None,
    **arguments: Argument,
) -> int:
    """Put a job into the queue as part of the caller's transaction; its id. Never commits.

    It runs once the transaction is committed, not before `at`. Of jobs with one `lock` one runs at a time, in the order
    they were put in. While a job with this `queueing_lock` waits no second one is put in: the id is then that one's, and
    it does not start before this transaction has ended. Raises `ValueError` for what is not an id: text longer than 64,
    other characters than ASCII letters, digits and `._:/-`, or the bare digits of a phone or a document.
    """
    for word in (task_name, queue, lock, queueing_lock):
        _require(word is None or _NAME.fullmatch(word))
    for value in arguments.values():
        _require(_is_id(value))
    values = {
        "task": task_name,
        "at": at,
        "queue": queue,
        "lock": lock,
        "queueing_lock": queueing_lock,
        "arguments": json.dumps(arguments),
    }
    if queueing_lock is None:
        return int(session.execute(_PUT_IN, values).scalar_one())
    return _put_in_once(session, values)


def is_coming(session: Session, queueing_lock: str) -> bool:
    """Whether a job with this lock waits, for its turn or to be tried again, or runs."""
    asked = text("""
        SELECT EXISTS (
            SELECT FROM procrastinate_jobs WHERE queueing_lock = :lock AND status IN ('todo', 'doing')
        )
    """)
    return bool(session.execute(asked, {"lock": queueing_lock}).scalar_one())


def _put_in_once(session: Session, values: dict[str, Any]) -> int:
    """The job that waits, kept from starting, or a new one.

    The row's lock matters: a worker that took the job now would not see what this transaction has yet to commit.
    """
    while True:
        waiting = session.execute(_EQUAL_ONE, {"lock": values["queueing_lock"]}).scalar()
        if waiting is not None:
            return int(waiting)
        try:
            with session.begin_nested():
                return int(session.execute(_PUT_IN, values).scalar_one())
        except IntegrityError as error:  # another transaction was first; its job may be running by now
            if not _waits_already(error):
                raise


def listing(session: Session, *, failed: bool = False) -> list[Job]:
    """The jobs that wait, run or have failed, the oldest first, at most 1,000; with `failed`, only those."""
    rows = session.execute(
        text("""
            SELECT id, task_name, status::text, attempts, scheduled_at, args,
                (SELECT max(at) FROM procrastinate_events AS event WHERE job_id = job.id AND type <> 'scheduled') AS since
            FROM procrastinate_jobs AS job
            WHERE status = 'failed' OR (NOT :failed AND status IN ('todo', 'doing'))
            ORDER BY id LIMIT :most
        """),
        {"failed": failed, "most": LISTED},
    )
    return [_job(row) for row in rows]


def retry(session: Session, job_id: int) -> Job:
    """Let a failed job run again, now and with all its attempts; what it was. Never commits.

    Raises `LookupError` where no failed job has this id, or an equal one waits already.
    """
    job = _held(session, job_id, "failed")
    again = text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)")
    try:
        with session.begin_nested():
            session.execute(again, {"id": job_id})
            session.execute(text("UPDATE procrastinate_jobs SET attempts = 0 WHERE id = :id"), {"id": job_id})
    except IntegrityError as error:
        if not _waits_already(error):
            raise
        raise LookupError("已有相同的任务在等待，请取消此任务。 An equal job waits already; cancel this one.") from None
    return job


def cancel(session: Session, job_id: int) -> Job:
    """Take a job that waits or has failed out of the queue; what it was. Never commits.

    Raises `LookupError` where there is none: it runs, or has ended.
    """
    job = _held(session, job_id, "todo", "failed")
    session.execute(text("DELETE FROM procrastinate_jobs WHERE id = :id"), {"id": job_id})
    return job


def take_up_stalled(session: Session, *, silence: float, wait: Callable[[str, int], int | None]) -> list[Job]:
    """Put back the running jobs whose worker has ended without a word, or said nothing for `silence` seconds.

    What each was comes back. The end of its worker counts as a failed attempt: `wait(task, attempts)` is `Task.wait_after`
    of its task, so that a job that kills its workers ends as failed. It is due at once, since it was not the job that
    failed. One that has an equal waiting is dropped. Never commits; two callers at the same time share the jobs.
    """
    stalled = text("""
        SELECT job.id, task_name, status::text, attempts, scheduled_at, args,
            coalesce(last_heartbeat, now()) AS since
        FROM procrastinate_jobs AS job LEFT JOIN procrastinate_workers AS worker ON worker.id = job.worker_id
        WHERE status = 'doing'
            AND (worker.id IS NULL OR last_heartbeat < now() - make_interval(secs => :silence))
        FOR UPDATE OF job SKIP LOCKED
    """)
    jobs = [_job(row) for row in session.execute(stalled, {"silence": silence})]
    for job in jobs:
        if wait(job.task, job.attempts + 1) is None:
            session.execute(text("SELECT procrastinate_finish_job_v1(:id, 'failed', false)"), {"id": job.id})
        else:
            _put_back(session, job.id)
    return jobs


def _put_back(session: Session, job_id: int) -> None:
    try:
        with session.begin_nested():
            session.execute(text("SELECT procrastinate_retry_job_v2(:id, now(), NULL, NULL, NULL)"), {"id": job_id})
    except IntegrityError as error:
        if not _waits_already(error):
            raise
        session.execute(text("DELETE FROM procrastinate_jobs WHERE id = :id"), {"id": job_id})


def _held(session: Session, job_id: int, *states: str) -> Job:
    found = session.execute(
        text("""
            SELECT id, task_name, status::text, attempts, scheduled_at, args, now() AS since
            FROM procrastinate_jobs WHERE id = :id AND status::text = ANY(:states) FOR UPDATE
        """),
        {"id": job_id, "states": list(states)},
    ).one_or_none()
    if found is None:
        raise LookupError(
            "没有处于此状态的该任务，请用 `ehc jobs list` 查看。 No such job in a state that allows this; see `ehc jobs list`."
        )
    return _job(found)


def _job(row: Row[Any]) -> Job:
    return Job(row.id, row.task_name, row.status, row.attempts, row.since, row.scheduled_at, row.args)


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _ID_LENGTH and bool(_NAME.fullmatch(value)) and not _NUMBER_OF_A_PERSON.fullmatch(value)
    return value is None or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _require(rule: object) -> None:
    if not rule:
        raise ValueError("a job is told ids, nothing else: see ehc.jobs.defer")


def _waits_already(error: IntegrityError) -> bool:
    return getattr(getattr(error.orig, "diag", None), "constraint_name", None) == _WAITING_INDEX
