"""Counts of checks are those of the journal: whatever comes late, out of order, or twice."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.place import Place
from ehc.verify import usage, usage_tasks
from tests.support.service import Service

_STEPS, _CHANNELS = ("registration", "payment", "medicine"), (None, "window", "kiosk")
_REASONS = (None, None, None, "expired", "already-used")
_HOSPITALS = [UUID(int=number) for number in range(1, 4)]


@pytest.fixture
def place(service: Service) -> Iterator[Place]:
    made = Place(service.settings, clock=service.clock)
    yield made
    made.close()


def write(session: Session, when: datetime, dice: random.Random) -> None:
    """One check as the settling statement leaves it."""
    values = {
        "at": when,
        "id": uuid4(),
        "hospital": dice.choice(_HOSPITALS),
        "step": dice.choice(_STEPS),
        "channel": dice.choice(_CHANNELS),
        "reason": dice.choice(_REASONS),
    }
    session.execute(
        text("""
            INSERT INTO verification (card_serial, verified_at, id, client_id, institution_id, step, channel, reason, disclosed)
            VALUES (1, :at, :id, :id, :hospital, :step, :channel, :reason, '{}')
        """),
        values,
    )


def counted(service: Service) -> dict[tuple[Any, ...], int]:
    with service.session() as session:
        rows = session.execute(text("SELECT hour, institution_id, step, channel, outcome, checks FROM usage_hour"))
        return {tuple(row)[:5]: row.checks for row in rows}


def plainly(service: Service) -> dict[tuple[Any, ...], int]:
    grouped = text("""
        SELECT date_trunc('hour', verified_at), institution_id, step, coalesce(channel, ''), coalesce(reason, 'accepted'),
               count(*) AS checks
        FROM verification GROUP BY 1, 2, 3, 4, 5
    """)
    with service.session() as session:
        return {tuple(row)[:5]: row.checks for row in session.execute(grouped)}


def test_the_counts_are_those_of_the_journal(service: Service, place: Place) -> None:
    dice = random.Random(1)
    with service.session() as session:
        for _ in range(500):
            write(session, service.clock.now() - timedelta(minutes=dice.randrange(179)), dice)
    usage_tasks.count_recent(place)
    assert counted(service) == plainly(service)
    assert sum(counted(service).values()) == 500


def test_counting_again_changes_nothing(service: Service, place: Place) -> None:
    with service.session() as session:
        write(session, service.clock.now(), random.Random(2))
    for _ in range(3):
        usage_tasks.count_recent(place)
    assert list(counted(service).values()) == [1]


def test_what_commits_late_is_in_the_next_count(service: Service, place: Place) -> None:
    dice, written, commit = random.Random(3), Event(), Event()

    def slowly() -> None:
        with service.session() as session:
            write(session, service.clock.now() - timedelta(minutes=1), dice)
            written.set()
            commit.wait(20)

    late = Thread(target=slowly)
    late.start()
    assert written.wait(20)
    with service.session() as session:
        write(session, service.clock.now(), dice)
    usage_tasks.count_recent(place)
    assert sum(counted(service).values()) == 1
    commit.set()
    late.join()
    usage_tasks.count_recent(place)
    assert counted(service) == plainly(service)
    assert sum(counted(service).values()) == 2


@pytest.mark.parametrize(("days", "found"), [(7.9, True), (8.1, False)])
def test_what_comes_days_late_is_counted_at_night(service: Service, place: Place, days: float, found: bool) -> None:
    usage_tasks.count_recent(place)
    with service.session() as session:
        write(session, service.clock.now() - timedelta(days=days), random.Random(4))
    usage_tasks.count_recent(place)
    assert counted(service) == {}
    usage_tasks.count_days(place)
    assert (sum(counted(service).values()) == 1) is found
    with service.session() as session:
        usage.count(session, since=service.clock.now() - timedelta(days=9), until=service.clock.now())
    assert counted(service) == plainly(service)


def test_a_check_that_was_purged_is_counted_no_more(service: Service, place: Place) -> None:
    with service.session() as session:
        write(session, service.clock.now(), random.Random(5))
    usage_tasks.count_recent(place)
    with service.session() as session:
        session.execute(text("DELETE FROM verification"))
    usage_tasks.count_recent(place)
    assert counted(service) == {}


def test_several_counts_at_once_count_once(service: Service, place: Place) -> None:
    dice = random.Random(6)
    with service.session() as session:
        for _ in range(200):
            write(session, service.clock.now() - timedelta(minutes=dice.randrange(179)), dice)
    threads = [Thread(target=usage_tasks.count_recent, args=(place,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(service) == plainly(service)


def test_a_real_check_is_counted(service: Service, place: Place) -> None:
    card_id = service.app.register()["card_id"]
    code = service.app.code(card_id)
    service.terminal.scan(code)
    service.second_terminal.scan(code)
    usage_tasks.count_recent(place)
    assert sorted((key[2], key[4]) for key in counted(service)) == [
        ("registration", "accepted"),
        ("registration", "already-used"),
    ]
