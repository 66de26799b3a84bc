"""Monthly partitions of the journal: made ahead, made twice, and filled from the default one when they come late."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.verify.models import CodeUseRow, VerificationRow
from ehc.verify.partitions import ensure_partitions, missing_partitions, purge_spent_codes
from tests.support.service import Service
from tests.support.service import told as answered

NOW = datetime(2031, 12, 31, 23, 59, tzinfo=UTC)


def check(session: Session, at: datetime, serial: int = 1) -> UUID:
    """A check at some time, written by itself."""
    row = VerificationRow(card_serial=serial, verified_at=at, id=uuid4(), client_id=uuid4(), step="other", disclosed=[])
    session.add(row)
    session.flush()
    return row.id


def homes(session: Session) -> dict[UUID, str]:
    """In which partition each check rests."""
    return {
        row.id: row.home
        for row in session.execute(text("SELECT id, tableoid::regclass::text AS home FROM verification"))
    }


@pytest.mark.parametrize(
    ("today", "names"),
    [
        (date(2031, 1, 31), ["y2031m01", "y2031m02", "y2031m03", "y2031m04"]),
        (date(2031, 11, 1), ["y2031m11", "y2031m12", "y2032m01", "y2032m02"]),
        (date(2031, 12, 31), ["y2031m12", "y2032m01", "y2032m02", "y2032m03"]),
    ],
)
def test_this_month_and_three_ahead_are_made(service: Service, today: date, names: list[str]) -> None:
    with service.session() as session:
        assert ensure_partitions(session, today=today) == [f"verification_{name}" for name in names]
        assert ensure_partitions(session, today=today) == []
        assert missing_partitions(session, today=today) == []


def test_a_month_that_was_not_made_ahead_is_missed(service: Service) -> None:
    with service.session() as session:
        ensure_partitions(session, today=date(2031, 1, 1), months_ahead=1)
        assert missing_partitions(session, today=date(2031, 1, 31)) == []
        assert missing_partitions(session, today=date(2031, 2, 1)) == ["verification_y2031m03"]


def test_the_service_starts_with_its_partitions(service: Service) -> None:
    with service.session() as session:
        assert missing_partitions(session, today=service.clock.now().date()) == []


def test_a_check_rests_in_the_partition_of_its_month(service: Service) -> None:
    with service.session() as session:
        ensure_partitions(session, today=date(2031, 12, 1))
        moment = timedelta(microseconds=1)
        midnight = datetime(2032, 1, 1, tzinfo=UTC)
        last, first = check(session, midnight - moment), check(session, midnight)
        found = homes(session)
    assert (found[last], found[first]) == ("verification_y2031m12", "verification_y2032m01")


def test_a_check_without_a_partition_waits_in_the_default_one_and_moves_out(service: Service) -> None:
    with service.session() as session:
        early = [
            check(session, NOW - timedelta(days=40)),
            check(session, NOW),
            check(session, NOW + timedelta(hours=1)),
        ]
        assert set(homes(session).values()) == {"verification_default"}
        ensure_partitions(session, today=NOW.date())
        found = homes(session)
    places = ["verification_default", "verification_y2031m12", "verification_y2032m01"]
    assert [found[scan] for scan in early] == places


def test_a_card_finds_its_checks_wherever_they_rest(service: Service) -> None:
    card = service.app.register()
    with service.session() as session:
        serial = session.scalar(text("SELECT serial FROM card")) or 0
        at = service.clock.now()
        scans = [check(session, at - timedelta(days=31 * month), serial) for month in range(4)]
    items = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    assert [item["verification_id"] for item in items] == [str(scan) for scan in scans]


def test_two_runs_at_once_make_each_partition_once(service: Service) -> None:
    def run(_: int) -> list[str]:
        with service.session() as session:
            return ensure_partitions(session, today=date(2033, 1, 1))

    with ThreadPoolExecutor(4) as pool:
        made = [name for names in pool.map(run, range(4)) for name in names]
    assert sorted(made) == [f"verification_y2033m0{month}" for month in (1, 2, 3, 4)]


def test_a_partition_has_the_key_of_its_parent(service: Service) -> None:
    with service.session() as session:
        ensure_partitions(session, today=NOW.date())
        keys = session.scalars(
            text("""
                SELECT count(*) FROM pg_index JOIN pg_inherits ON inhrelid = indrelid
                WHERE inhparent = 'verification'::regclass AND indisprimary GROUP BY indrelid
            """)
        ).all()
        partitions = session.scalar(text("SELECT count(*) FROM pg_inherits WHERE inhparent = 'verification'::regclass"))
    assert keys == [1] * (partitions or 0)


@pytest.mark.parametrize(("seconds", "forgotten"), [(599, 0), (600, 0), (601, 1)])
def test_a_spent_code_is_kept_ten_minutes_longer_than_it_lives(service: Service, seconds: int, forgotten: int) -> None:
    with service.session() as session:
        ids = {"verification_id": uuid4(), "client_id": uuid4()}
        row = CodeUseRow(card_serial=1, cti=b"\x00" * 16, step="other", used_at=NOW, expires_at=NOW, **ids)
        session.add(row)
        session.flush()
        assert purge_spent_codes(session, now=NOW + timedelta(seconds=seconds)) == forgotten
        assert purge_spent_codes(session, now=NOW + timedelta(seconds=seconds)) == 0
