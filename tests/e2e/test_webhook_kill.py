"""Events while their worker is killed, again and again: none is lost, and each card's come in order.

Worker processes as production runs them, a receiver as a process of its own. `EHC_TEST_WEBHOOK_EVENTS=10000` for the full size.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import Signals
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.core.ids import uuid7
from ehc.dev.worker import WorkerProcess
from ehc.outbox.kinds import EventKind
from ehc.outbox.models import EventRow
from ehc.settings import Settings
from tests.e2e.sites import eventually
from tests.support.webhooks import Hooks

EVENTS = int(os.environ.get("EHC_TEST_WEBHOOK_EVENTS", "1500"))
CARDS, KILLS = 50, 5

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def hooks(settings: Settings) -> Iterator[Hooks]:
    made = Hooks.start(settings)
    yield made
    made.stop()


@pytest.fixture
def launch(tmp_path: Path, database_url: str) -> Iterator[Callable[[], WorkerProcess]]:
    with ExitStack() as stack:

        def start() -> WorkerProcess:
            env = {"EHC_DATABASE_URL": database_url, "EHC_WEBHOOK_LOOPBACK": "1", "EHC_LOG_LEVEL": "INFO"}
            worker = WorkerProcess(env, log=tmp_path / f"worker-{time.monotonic_ns()}.log")
            stack.callback(worker.stop)
            worker.start()
            return worker

        yield start


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    address, log = tmp_path / "address", tmp_path / "received.jsonl"
    options = ["--bind", "127.0.0.1:0", "--log", str(log), "--address-file", str(address)]
    command = [sys.executable, "-c", "from ehc.commands import main; main()", "dev", "webhook-receiver", *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            assert eventually(lambda: address.exists() and address.read_text().startswith("http"), seconds=30)
            yield address.read_text(), log
        finally:
            process.terminate()


def received(log: Path) -> list[dict[str, Any]]:
    if not log.exists():
        return []
    return [json.loads(line) for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]


def put_in(hooks: Hooks, serials: list[int], count: int, first: int) -> list[str]:
    """Events numbered one after the other for each card, as many transactions would put them in; their ids in that order."""
    ids = []
    with hooks.place.work() as session:
        now = hooks.service.clock.now()
        for number in range(first, first + count):
            event_id = uuid7(now)
            serial = serials[number % len(serials)]
            facts = {"number": number}
            session.add(EventRow(id=event_id, card_serial=serial, kind=EventKind.CARD_CHANGED, facts=facts, at=now))
            session.flush()
            ids.append(str(event_id))
    return ids


def test_no_event_is_lost_and_each_cards_come_in_order_while_the_worker_is_killed_five_times(
    hooks: Hooks, launch: Callable[[], WorkerProcess], receiver: tuple[str, Path]
) -> None:
    url, log = receiver
    hooks.subscribe(url, ["card.changed"])
    cards = {hooks.service.app.register(serial)["card_id"] for serial in range(1, CARDS + 1)}
    with hooks.service.session() as session:
        serials = list(session.scalars(text("SELECT serial FROM card ORDER BY serial")))
    ids = put_in(hooks, serials, EVENTS // 2, 0)
    began, kills = time.monotonic(), 0
    worker = launch()
    while kills < KILLS:
        wanted = len({one["id"] for one in received(log)}) + EVENTS // (KILLS + 2)
        assert eventually(lambda: len({one["id"] for one in received(log)}) >= wanted, seconds=120, every=0.02), kills  # noqa: B023
        worker.signal(Signals.SIGKILL)
        assert worker.wait(10) == -Signals.SIGKILL
        kills += 1
        if kills == 1:
            ids += put_in(hooks, serials, EVENTS - EVENTS // 2, EVENTS // 2)
        worker = launch()
    assert eventually(lambda: {one["id"] for one in received(log)} == set(ids), seconds=300, every=0.2)
    seconds = time.monotonic() - began

    got = received(log)
    first_time: dict[str, list[int]] = {card: [] for card in cards}
    known: set[str] = set()
    for one in got:
        if one["id"] not in known:
            known.add(one["id"])
            first_time[one["data"]["card_id"]].append(one["data"]["number"])
    assert sum(map(len, first_time.values())) == EVENTS
    assert all(numbers == sorted(numbers) for numbers in first_time.values())
    again = len(got) - EVENTS
    assert again <= KILLS * 8  # what was on its way when the process was killed, no more
    assert eventually(lambda: _waiting(hooks) == 0, seconds=30)
    print(f"{EVENTS} events, {kills} kills, {again} sent twice, {seconds:.1f} s")  # noqa: T201


def _waiting(hooks: Hooks) -> int:
    with hooks.service.session() as session:
        return int(session.execute(text("SELECT count(*) FROM webhook_delivery WHERE state = 'pending'")).scalar_one())


def test_ids_of_events_are_uuids(hooks: Hooks) -> None:
    (made,) = put_in(hooks, [1], 1, 0)
    assert UUID(made).version == 7
