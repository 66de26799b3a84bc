"""The edge for background work: which tasks there are, and the process that runs them.

A room declares a task as a plain function of what it works with and ids, and knows nothing of this module:

    def retry_proof(place: Place, card_id: str) -> None:
        with place.work() as session: ...

Here it gets a line in `TASKS`: a name, the function, and where they differ its schedule and attempts (`ehc.jobs.Task`). The
room puts a job in with `jobs.defer(session, "issuer.retry-proof", card_id=...)`. To know before writing one:

- It may run twice, even at the same time (`ehc/jobs.py`), and on another machine. Decide races in the database.
- A task of many minutes uses `place.patient_work`, commits after each part, and finds out from the database how far it
  came: a stop waits for it, but a machine that goes down does not. It holds one of the worker's threads all the while.
- Raise to be tried again. What is not worth trying again is recorded where it belongs, and the task returns.
- Renaming a task, or its arguments, strands the jobs that wait: they fail, and can be retried once a worker knows them.
"""

import asyncio
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import structlog
from procrastinate import App, BaseConnector, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, UniqueViolation
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.retry import BaseRetryStrategy
from procrastinate.worker import Worker
from psycopg_pool import AsyncConnectionPool

from ehc.access import usage_counts, webhook_tasks
from ehc.binding import bank_accounts, bank_comparison, plastic_tasks
from ehc.binding import tasks as binding_tasks
from ehc.cards.bindings import END_AT_BANK
from ehc.clock import local_day
from ehc.db import engine_options, until_none
from ehc.edge.upkeep import PURGES
from ehc.issuer import mass_cancelling, proofs, tasks
from ehc.issuer.batch import tasks as batch_tasks
from ehc.issuer.batch import uploads
from ehc.jobs import Task, take_up_stalled
from ehc.keystore import audit_keys
from ehc.place import APPLICATION, Place
from ehc.verify import uses
from ehc.verify.partitions import ensure_partitions

log = structlog.get_logger(__name__)

_MISSED = 24 * 3600
"""A scheduled task that no worker was there for is made up for within a day."""


@dataclass(frozen=True)
class Pace:
    """How often a worker looks, in seconds. A worker that is silent for `silence` is taken for dead."""

    look: float = 5
    heartbeat: float = 10
    silence: float = 30
    pause: float = 2
    take_up: str = "* * * * *"


def upkeep(place: Place) -> None:
    """Make the partitions ahead; forget spent codes and assertions, old keys, and imports that were given up."""
    with place.work() as session:
        ensure_partitions(session, today=local_day(place.clock.now()))
    for purge in PURGES:
        until_none(place.work, partial(purge, now=place.clock.now()))


def tie_audit(place: Place) -> None:
    """Tie the chains of the audit log together and sign the tie. Its number and hash in our log vouch for it from outside."""
    with place.work() as session:
        made = audit_keys.tie(session, place.settings.key_encrypting_key(), now=place.clock.now())
    if made is not None:
        log.info("audit tied", tie=made.seq, hash=made.hash.hex())


def deliver_webhooks(place: Place) -> None:
    """Send what apps subscribed to, the uses of cards among it."""
    webhook_tasks.deliver(place, lambda session, now: uses.tell(session, now=now))


def count_usage(place: Place) -> None:
    """Count the checks of the hours that were touched since the last run."""
    usage_counts.usage_job(place.patient_work, now=place.clock.now())


TASKS: tuple[Task, ...] = (
    Task("db.upkeep", upkeep, every="*/5 * * * *", longest_wait=300),
    Task("access.count-usage", count_usage, every="*/5 * * * *", longest_wait=300),
    Task("audit.tie", tie_audit, every="17 * * * *"),
    Task(proofs.RETRY, tasks.retry_proof, attempts=30, longest_wait=900, priority=1),
    Task(uploads.TASK, batch_tasks.run_import),
    Task(mass_cancelling.TASK, tasks.cancel_many),
    Task("issuer.sweep-proofs", tasks.sweep_proofs, every="*/5 * * * *", longest_wait=300),
    Task("issuer.pull-deaths", tasks.pull_deaths, every="*/10 * * * *", longest_wait=300),
    Task(bank_accounts.SETTLE, binding_tasks.settle_at_bank, attempts=30, longest_wait=900, priority=1),
    Task(END_AT_BANK, binding_tasks.end_at_bank, attempts=30, longest_wait=900, priority=1),
    Task("binding.end-losses", plastic_tasks.end_losses, every="* * * * *", longest_wait=60),
    Task("binding.sweep-bank", binding_tasks.sweep_bank, every="*/5 * * * *", longest_wait=300),
    Task("binding.read-bank-days", binding_tasks.read_bank_days, every="10 18 * * *"),
    Task(bank_comparison.COMPARE, binding_tasks.compare_with_bank, every="10 19 * * *"),
    # They overlap, so that the lock of a worker that was killed holds up no event; each has its own in the database.
    Task("access.deliver-webhooks", deliver_webhooks, every="* * * * * */5", longest_wait=60, overlaps=True),
    Task(
        "access.deliver-struggling-webhooks",
        webhook_tasks.deliver_struggling,
        every="* * * * * */5",
        longest_wait=60,
        overlaps=True,
    ),
    Task(webhook_tasks.REPLAY, webhook_tasks.replay),
    Task("issuer.end-what-is-over", tasks.end_what_is_over, every="* * * * *", longest_wait=60),
)
"""Every task of the service."""


def work(place: Place, tasks: Iterable[Task] = TASKS, *, concurrency: int = 4, pace: Pace | None = None) -> None:
    """Run jobs until SIGTERM or SIGINT, `concurrency` at a time; those that run then are finished first.

    While the database is away it waits for it. Raises `ConnectorException` where the queue's tables are not as they should
    be. Belongs into the main thread.
    """
    asyncio.run(_Runner(place, tasks, concurrency, pace or Pace()).until_stopped())


def drain(place: Place, tasks: Iterable[Task] = TASKS, *, concurrency: int = 4) -> None:
    """Run the jobs that are due now and return; puts none of a schedule in. Raises `ConnectorException`."""
    asyncio.run(_Runner(place, tasks, concurrency, Pace()).once())


class _Runner:
    """One process: a Procrastinate worker, and a new one after each outage of the database."""

    def __init__(self, place: Place, tasks: Iterable[Task], concurrency: int, pace: Pace) -> None:
        self._place, self._concurrency, self._pace = place, concurrency, pace
        # Overlaps: a lock left behind by a killed one would never be freed. First: others may wait for what it frees.
        take_up = Task("jobs.take-up", self._take_up, every=pace.take_up, attempts=3, priority=100, overlaps=True)
        self._tasks = {task.name: task for task in (*tasks, take_up)}
        self._stop = asyncio.Event()

    async def until_stopped(self) -> None:
        """Returns after a signal, when the last job is finished."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._make_threads()
        log.info("worker starts", concurrency=self._concurrency, tasks=sorted(self._tasks))
        while not self._stop.is_set():
            try:
                await self._round(scheduled=True)
            except (ConnectorException, psycopg.OperationalError) as error:
                _require_away(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), self._pace.pause)
        log.info("worker stopped")

    async def once(self) -> None:
        """Returns when nothing is due any more."""
        self._make_threads()
        await self._round(scheduled=False)

    async def _round(self, *, scheduled: bool) -> None:
        async with AsyncConnectionPool(
            kwargs=_connection_words(self._place), min_size=1, max_size=4, timeout=5, open=False,
            check=AsyncConnectionPool.check_connection,
        ) as pool:  # fmt: skip
            app = App(connector=PsycopgConnector(), periodic_defaults={"max_delay": _MISSED})
            await app.open_async(pool)
            app.job_manager = manager = _Manager(app.connector, self._stop)
            for task in self._tasks.values():
                _declare(app, self._place, task, scheduled=scheduled)
            worker = Worker(
                app,
                concurrency=self._concurrency,
                wait=scheduled,
                fetch_job_polling_interval=self._pace.look,
                update_heartbeat_interval=self._pace.heartbeat,
                stalled_worker_timeout=self._pace.silence,
                delete_jobs="successful",
                install_signal_handlers=False,
            )
            beating = asyncio.create_task(self._beat(worker, manager))
            try:
                await self._run(worker)
            finally:
                beating.cancel()

    async def _run(self, worker: Worker) -> None:
        """Run a worker until it ends, or was told to stop and has finished its jobs."""
        running = asyncio.create_task(worker.run())  # type: ignore[no-untyped-call]  # the library leaves it bare
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            worker.stop()  # type: ignore[no-untyped-call]  # as above
            await running
        finally:
            stopping.cancel()

    async def _beat(self, worker: Worker, manager: JobManager) -> None:
        """Say that this worker lives, also while it stops: its own heart stops before its last jobs are finished."""
        while True:
            await asyncio.sleep(self._pace.heartbeat)
            if worker.worker_id is not None:
                with suppress(ConnectorException):
                    await manager.update_heartbeat(worker.worker_id)

    def _make_threads(self) -> None:
        """A thread for each job, and two for the loop's own use; Python's default number follows the cores instead."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self._concurrency + 2, "job"))

    def _take_up(self, place: Place) -> None:
        with place.work() as session:
            taken = take_up_stalled(session, silence=self._pace.silence, wait=self._wait_after)
        for job in taken:
            log.warning("job taken up", task=job.task, job_id=job.id, attempt=job.attempts + 1)

    def _wait_after(self, name: str, attempt: int) -> int | None:
        """As the task has it. What this worker does not know another may: it goes back into the queue."""
        return self._tasks[name].wait_after(attempt) if name in self._tasks else 0


class _Manager(JobManager):
    """Keeps at it until the end of a job is written down: unwritten, it runs for ever while this worker lives."""

    def __init__(self, connector: BaseConnector, stop: asyncio.Event) -> None:
        super().__init__(connector)
        self._stop = stop

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        await self._insist(partial(super().finish_job, job, status, delete_job))

    async def retry_job(self, job: Job, *args: Any, **named: Any) -> None:
        try:
            await self._insist(partial(super().retry_job, job, *args, **named))
        except UniqueViolation:  # an equal one was put in meanwhile, and will do what this one did not
            await self.finish_job(job, Status.ABORTED, delete_job=True)

    async def _insist(self, write: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                return await write()
            except ConnectorException as error:
                if self._stop.is_set():
                    raise
                _require_away(error)
            await asyncio.sleep(1)


class _Backoff(BaseRetryStrategy):
    """When a failed job runs again, as its task has it."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        wait = self._task.wait_after(job.attempts + 1)
        return None if wait is None else RetryDecision(retry_in={"seconds": wait})


def _declare(app: App, place: Place, task: Task, *, scheduled: bool) -> None:
    def run(context: JobContext, /, **arguments: Any) -> None:
        _run(place, task, context.job, arguments)

    def run_scheduled(context: JobContext, /, timestamp: int = 0) -> None:
        """Takes when it was due, which Procrastinate tells and no task asks for."""
        _run(place, task, context.job, {})

    retry = _Backoff(task)
    if task.every is None:
        app.task(name=task.name, retry=retry, pass_context=True, priority=task.priority)(run)
        return
    declared = app.task(
        name=task.name,
        retry=retry,
        pass_context=True,
        priority=task.priority,
        queueing_lock=task.name,
        lock=None if task.overlaps else task.name,
    )(run_scheduled)
    if scheduled:
        app.periodic(cron=task.every)(declared)


def _run(place: Place, task: Task, job: Job, arguments: dict[str, Any]) -> None:
    facts = {"task": task.name, "job_id": job.id, "attempt": job.attempts + 1}
    began = time.monotonic()
    try:
        task.run(place, **arguments)
    except Exception:
        wait = task.wait_after(job.attempts + 1)
        tell = log.error if wait is None else log.warning
        tell("job failed", **facts, again_in=wait, exc_info=sys.exc_info())
        raise
    log.info("job done", **facts, ms=round((time.monotonic() - began) * 1000))


def _connection_words(place: Place) -> dict[str, Any]:
    """The database of the place as psycopg's own pool takes it."""
    _, words = place.engine.dialect.create_connect_args(place.engine.url)
    ours: dict[str, Any] = engine_options(pool_size=1, application=APPLICATION)["connect_args"]
    return {name: value for name, value in words.items() if name != "context"} | ours


def _require_away(error: Exception) -> None:
    """Say that the database is away, if that is what the error means; raises it again otherwise."""
    cause = error.__cause__ or error
    if not isinstance(cause, psycopg.OperationalError):
        raise error
    log.warning("database away", error=type(cause).__name__)
