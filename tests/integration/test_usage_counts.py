"""Counts of checks stay true of the record, whatever is written late, commits out of order, or kills a run."""

from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random
from time import sleep
from uuid import UUID, uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.access import usage_counts
from ehc.commands import main
from ehc.db import unit_of_work
from ehc.verify.partitions import ensure_partitions
from ehc.worker import TASKS
from tests.support.bank import worker_of
from tests.support.service import Service

_TRUE = """
    SELECT date_trunc('hour', verified_at, 'UTC'), coalesce(institution_id, '00000000-0000-0000-0000-000000000000'),
           step, coalesce(channel, ''), coalesce(reason, 'accepted'), count(*)
    FROM verification GROUP BY 1, 2, 3, 4, 5
"""
_KEPT = "SELECT hour, institution_id, step, channel, outcome, checks FROM usage_hour"
_WRITE = text("""
    INSERT INTO verification (card_serial, verified_at, id, client_id, institution_id, step, channel, reason, disclosed)
    VALUES (1, :at, :id, :id, :institution, :step, :channel, :reason, '{}')
""")
INSTITUTIONS = [uuid4(), uuid4(), None]


class Killed(Exception):
    """The run was killed here."""


def write(session: Session, at: datetime, draw: Random) -> None:
    """A check at some time."""
    facts = {
        "institution": draw.choice(INSTITUTIONS),
        "step": draw.choice(["registration", "payment"]),
        "channel": draw.choice(["window", None]),
        "reason": draw.choice([None, None, "expired"]),
    }
    session.execute(_WRITE, {"at": at, "id": uuid4()} | facts)


def now() -> datetime:
    """By the machine's clock, as the database has it."""
    return datetime.now(UTC)


def true_of(service: Service) -> bool:
    """Whether the counts are what a plain GROUP BY says."""
    with service.session() as session:
        counted = sorted(map(str, session.execute(text(_KEPT)).all()))
        return counted == sorted(map(str, session.execute(text(_TRUE)).all()))


def count(service: Service, *, killed_after: int | None = None) -> int:
    """One run, which may be killed after so many transactions; one more is then begun and rolled back."""
    whole, begun = unit_of_work(service.engine), 0

    class Work:
        def __enter__(self) -> Session:
            nonlocal begun
            self._open = whole()
            begun += 1
            return self._open.__enter__()

        def __exit__(self, *error: object) -> bool | None:
            if killed_after is not None and begun > killed_after and error[0] is None:
                killed = Killed()
                self._open.__exit__(Killed, killed, None)
                raise killed
            return self._open.__exit__(*error)  # type: ignore[arg-type]  # as handed over

    return usage_counts.count(Work)


def few_runs_are_kept(service: Service) -> bool:
    """Whether runs are forgotten; later while another database of these servers has a transaction open."""
    for _ in range(200):
        if runs(service) <= 2:
            return True
        count(service)
        sleep(0.05)
    return False


def runs(service: Service) -> int:
    with service.session() as session:
        return session.scalar(text("SELECT count(*) FROM usage_run")) or 0


@pytest.mark.parametrize("seed", range(6))
def test_counts_are_exact_whatever_happens(service: Service, seed: int) -> None:
    draw, opened = Random(seed), list[Session]()
    for _ in range(60):
        act = draw.random()
        if act < 0.5 or not opened:
            session = Session(service.engine)
            for _ in range(draw.randint(1, 4)):
                back = draw.choice([0, 0, 9, 11, 60, 5000])
                write(session, now() - timedelta(minutes=back + draw.random() * 5), draw)
            opened.append(session)
        elif act < 0.75:
            session = opened.pop(draw.randrange(len(opened)))
            session.commit() if draw.random() < 0.8 else session.rollback()
            session.close()
        elif act < 0.85:
            with suppress(Killed):
                count(service, killed_after=draw.randint(0, 2))
        else:
            count(service)
        if len(opened) > 4:
            session = opened.pop(0)
            session.commit()
            session.close()
    while opened:
        session = opened.pop(draw.randrange(len(opened)))
        session.commit()
        session.close()
        count(service)
    assert true_of(service)
    assert few_runs_are_kept(service)


def test_a_check_that_commits_behind_two_runs_is_counted_by_the_third(service: Service) -> None:
    draw = Random(1)
    with service.session() as session:
        write(session, now(), draw)
    count(service)
    slow = Session(service.engine)
    write(slow, now(), draw)
    with service.session() as session:  # so that runs do find something newer
        write(session, now(), draw)
    count(service)
    count(service)
    slow.commit()
    slow.close()
    assert not true_of(service)
    count(service)
    assert true_of(service)


@pytest.mark.parametrize(("minutes", "noted"), [(9.9, 0), (10.1, 1)])
def test_only_a_check_that_is_written_late_leaves_a_note(service: Service, minutes: float, noted: int) -> None:
    with service.session() as session:
        write(session, now() - timedelta(minutes=minutes), Random(1))
        assert session.scalar(text("SELECT count(*) FROM usage_touched")) == noted


def test_an_upload_of_last_month_is_counted_where_it_belongs(service: Service) -> None:
    with service.session() as session:
        ensure_partitions(session, today=(now() - timedelta(days=31)).date(), months_ahead=0)
        write(session, now(), Random(1))
    count(service)
    with service.session() as session:
        for hour in range(3):
            write(session, now() - timedelta(days=31, hours=hour), Random(hour))
    assert count(service) >= 3
    assert true_of(service)


def test_checks_that_move_to_their_partition_are_counted_once(service: Service) -> None:
    later = now() + timedelta(days=400)
    with service.session() as session:
        write(session, later, Random(1))
    count(service)
    with service.session() as session:
        ensure_partitions(session, today=later.date(), months_ahead=0)
        write(session, later, Random(2))
    count(service)
    assert true_of(service)


def test_a_database_that_was_restored_into_another_cluster_is_counted_anew(service: Service) -> None:
    count(service)
    with service.session() as session:
        session.execute(
            text("UPDATE usage_run SET next_xid = next_xid + 1000000, seen_until = now() + interval '1 day'")
        )
        session.execute(text("ALTER TABLE verification DISABLE TRIGGER usage_late"))
        write(session, now() - timedelta(days=3), Random(1))
    count(service)
    assert true_of(service)


def test_the_real_check_is_counted_by_the_job(service: Service) -> None:
    card = service.app.register()
    service.terminal.scan(service.app.code(card["card_id"]))
    task = next(task for task in TASKS if task.name == "access.count-usage")
    with worker_of(service) as place:
        task.run(place)
        task.run(place)
    assert true_of(service)
    with service.session() as session:
        assert session.scalar(text("SELECT sum(checks) FROM usage_hour")) == 1


def test_checks_of_the_sandbox_are_not_counted(service: Service) -> None:
    with service.session() as session:
        session.execute(text("UPDATE client SET sandbox = true WHERE terminal_code = 'T2'"))
    code = service.app.code(service.app.register()["card_id"])
    service.second_terminal.scan(code)
    service.terminal.scan(code)
    count(service)
    with service.session() as session:
        kept = session.execute(text("SELECT sum(checks), (SELECT count(*) FROM verification) FROM usage_hour")).one()
    assert tuple(kept) == (1, 2)


def test_a_rebuild_mends_what_was_spoilt_and_touches_nothing_else(service: Service) -> None:
    with service.session() as session:
        for hours in (1, 30, 60):
            write(session, now() - timedelta(hours=hours), Random(hours))
    count(service)
    with service.session() as session:
        session.execute(text("UPDATE usage_hour SET checks = checks + 7"))
    day = (now() - timedelta(days=5)).date()
    words = ["usage", "rebuild", "--from", str(day), "--until", str(day + timedelta(days=8))]
    done = CliRunner().invoke(main, words, env={"EHC_DATABASE_URL": service.settings.database_url})
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) == 8
    assert true_of(service)


def test_a_rebuild_ends_behind_its_beginning(service: Service) -> None:
    words = ["usage", "rebuild", "--from", "2031-01-02", "--until", "2031-01-02"]
    done = CliRunner().invoke(main, words, env={"EHC_DATABASE_URL": service.settings.database_url})
    assert done.exit_code == 2


@pytest.mark.parametrize(("days", "left"), [(1096, 1), (1097, 0)])
def test_counts_are_kept_for_three_years(service: Service, days: int, left: int) -> None:
    at = now()
    with service.session() as session:
        session.execute(
            text("INSERT INTO usage_hour VALUES (:hour, :id, 'payment', '', 'accepted', 1)"),
            {"hour": at - timedelta(days=days), "id": UUID(int=0)},
        )
        usage_counts.purge(session, now=at)
        kept: Counter[str] = Counter(map(str, session.scalars(text("SELECT step FROM usage_hour"))))
    assert kept.total() == left
