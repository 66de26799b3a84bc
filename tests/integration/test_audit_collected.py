"""Acts are written last, in the order of their chains: they stand or fall with what they tell of, and cross nobody."""

from threading import Barrier

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.audit import AuditHead
from ehc.audit.links import chain_of
from tests.contract.helpers import at_once
from tests.integration.audited import keyed, places
from tests.support.service import Service


def record(session: Session, service: Service, subject: str, action: str = "test") -> None:
    audit.record(session, action, actor="test", subject=subject, at=service.clock.now())


def actions(service: Service, subject: str) -> list[str]:
    with service.session() as session:
        return list(session.scalars(text("SELECT action FROM audit WHERE subject = :s ORDER BY seq"), {"s": subject}))


def test_acts_of_one_subject_stay_in_their_order(service: Service) -> None:
    done = [f"act {number}" for number in range(7)]
    for work, subject in ((service.session, "plain"), (keyed(service), "keyed")):
        for some in (done[:1], done[1:3], done[3:]):
            with work() as session:
                for action in some:
                    record(session, service, subject, action)
                    record(session, service, f"other {action}")
        assert actions(service, subject) == done
    assert places(service) == []


@pytest.mark.parametrize("fails", ["raises", "flushes"])
def test_an_act_of_a_savepoint_falls_with_it_and_no_other_does(service: Service, fails: str) -> None:
    def fail(session: Session) -> None:
        with session.begin_nested():
            record(session, service, "s", "undone")
            with session.begin_nested():
                record(session, service, "s", "undone within")
            if fails == "raises":
                raise RuntimeError
            session.add(AuditHead(chain=0, seq=0, hash=b""))
            session.flush()

    with service.session() as session:
        record(session, service, "s", "before")
        with pytest.raises((RuntimeError, IntegrityError)):
            fail(session)
        with session.begin_nested():
            record(session, service, "s", "kept")
    assert actions(service, "s") == ["before", "kept"]


def test_an_act_of_a_transaction_that_fails_is_not_in_the_next_one_of_its_session(service: Service) -> None:
    with Session(service.engine) as session:
        record(session, service, "s", "undone")
        session.rollback()
        record(session, service, "s", "closed")
        session.close()
        record(session, service, "s", "kept")
        session.commit()
    assert actions(service, "s") == ["kept"]


def test_nothing_commits_whose_act_cannot_be_written(service: Service) -> None:
    def change() -> None:
        with service.session() as session:
            session.execute(text("UPDATE institution SET name = 'changed'"))
            session.execute(text("CREATE TEMPORARY TABLE audit (chain int)"))  # shadows the log
            record(session, service, "s")

    with pytest.raises(DBAPIError):
        change()
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM institution WHERE name = 'changed'")) == 0


def test_who_reads_the_log_in_the_transaction_writes_first(service: Service) -> None:
    with service.session() as session:
        record(session, service, "s")
        audit.write(session)
        assert session.scalar(text("SELECT count(*) FROM audit WHERE subject = 's'")) == 1
        record(session, service, "s", "then")
    assert actions(service, "s") == ["test", "then"]


def test_acts_told_crosswise_do_not_wait_for_each_other(service: Service) -> None:
    one, other = "s0", next(f"s{n}" for n in range(1, 99) if chain_of(f"s{n}") != chain_of("s0"))
    met = Barrier(2)

    def tell(*subjects: str) -> None:
        with service.session() as session:
            for subject in subjects:
                record(session, service, subject)
                met.wait(timeout=10)

    at_once(lambda: tell(one, other), lambda: tell(other, one))
    assert actions(service, one) == actions(service, other) == ["test"] * 2
    assert places(service) == []
