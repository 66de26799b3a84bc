"""The audit log: every act leaves a row, and whoever changes, adds or takes out a row is found."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from ehc import audit
from ehc.audit import CHAINS, broken_links
from ehc.commands import main
from tests.support.service import Service


@pytest.fixture
def lived(service: Service) -> Service:
    """A service with a few acts behind it, several of them in one chain."""
    for serial in range(3):
        card_id = service.app.register(serial)["card_id"]
        for how in ("suspend", "resume", "suspend", "cancel"):
            assert service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "私事"}).status_code == 200
    return service


def verify(service: Service) -> Result:
    env = {"EHC_DATABASE_URL": service.engine.url.render_as_string(hide_password=False)}
    return CliRunner().invoke(main, ["audit", "verify"], env=env)


def broken(service: Service) -> list[tuple[int, int]]:
    with service.session() as session:
        return list(broken_links(session))


def tamper(service: Service, statement: str) -> tuple[int, int]:
    """Carry out a statement on the second row of the longest chain; returns its place."""
    with service.session() as session:
        chain, length = session.execute(text("SELECT chain, seq FROM audit_head ORDER BY seq DESC LIMIT 1")).one()
        assert length >= 5
        assert session.execute(text(statement), {"chain": chain, "seq": 2}).rowcount  # type: ignore[attr-defined]
    return chain, 2


def test_a_whole_log_is_told_so(lived: Service) -> None:
    result = verify(lived)
    assert (result.exit_code, "The audit log is whole." in result.stdout) == (0, True)


def test_an_empty_database_has_a_whole_log(service: Service) -> None:
    assert broken(service) == []


def test_every_act_leaves_one_row_that_names_no_person(lived: Service) -> None:
    with lived.session() as session:
        rows = session.execute(text("SELECT action, entry FROM audit WHERE action LIKE 'card.%'")).all()
    counts = {action: [row.action for row in rows].count(action) for action in {row.action for row in rows}}
    assert counts == {"card.registered": 3, "card.suspended": 6, "card.resumed": 3, "card.cancelled": 3}
    for row in rows:
        entry = json.loads(row.entry)
        assert entry["actor"].startswith("app:")
        assert set(entry) == {"action", "actor", "at", "facts", "subject"}
        for secret in ("王", "1101", "1380", "私事"):
            assert secret not in row.entry


CHANGES = {
    "action": "UPDATE audit SET action = 'card.resumed!' WHERE chain = :chain AND seq = :seq",
    "subject": "UPDATE audit SET subject = 'x' WHERE chain = :chain AND seq = :seq",
    "time": "UPDATE audit SET at = at + interval '1 microsecond' WHERE chain = :chain AND seq = :seq",
    "entry": "UPDATE audit SET entry = replace(entry, 'app:', 'App:') WHERE chain = :chain AND seq = :seq",
    "entry that is not JSON": "UPDATE audit SET entry = 'x' WHERE chain = :chain AND seq = :seq",
    "hash": "UPDATE audit SET hash = sha256(hash) WHERE chain = :chain AND seq = :seq",
}


@pytest.mark.parametrize("statement", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_row_is_found(lived: Service, statement: str) -> None:
    place = tamper(lived, statement)
    assert place in broken(lived)
    result = verify(lived)
    assert result.exit_code == 1
    assert f"chain {place[0]}, row 2: does not follow" in result.stdout
    assert "broken links" in result.stderr


def test_a_row_that_was_taken_out_is_found(lived: Service) -> None:
    chain, _ = tamper(lived, "DELETE FROM audit WHERE chain = :chain AND seq = :seq")
    assert (chain, 3) in broken(lived)


def test_a_row_that_was_taken_out_and_closed_up_is_found(lived: Service) -> None:
    chain, _ = tamper(lived, "DELETE FROM audit WHERE chain = :chain AND seq = :seq")
    with lived.session() as session:
        session.execute(text("UPDATE audit SET seq = -seq WHERE chain = :chain AND seq > 2"), {"chain": chain})
        session.execute(text("UPDATE audit SET seq = -seq - 1 WHERE chain = :chain AND seq < 0"), {"chain": chain})
        session.execute(text("UPDATE audit_head SET seq = seq - 1 WHERE chain = :chain"), {"chain": chain})
    assert (chain, 2) in broken(lived)


@pytest.mark.parametrize("left", [0, 1, 4])
def test_a_log_that_was_cut_off_is_found(lived: Service, left: int) -> None:
    chain, _ = tamper(lived, f"DELETE FROM audit WHERE chain = :chain AND seq > {left} AND :seq > 0")
    assert broken(lived) == [(chain, left + 1)]


def test_a_row_that_was_added_is_found(lived: Service) -> None:
    chain, _ = tamper(
        lived,
        "INSERT INTO audit SELECT chain, seq + 1000, at, action, subject, entry, hash FROM audit "
        "WHERE chain = :chain AND seq = :seq",
    )
    assert (chain, 1002) in broken(lived)


def test_two_rows_that_changed_places_are_found(lived: Service) -> None:
    chain, _ = tamper(lived, "UPDATE audit SET seq = 0 WHERE chain = :chain AND seq = :seq")
    with lived.session() as session:
        session.execute(text("UPDATE audit SET seq = 2 WHERE chain = :chain AND seq = 3"), {"chain": chain})
        session.execute(text("UPDATE audit SET seq = 3 WHERE chain = :chain AND seq = 0"), {"chain": chain})
    assert (chain, 2) in broken(lived)


def test_a_chain_whose_head_was_taken_out_is_found(lived: Service) -> None:
    chain, _ = tamper(lived, "DELETE FROM audit_head WHERE chain = :chain AND :seq > 0")
    assert chain in {found for found, _ in broken(lived)}


def test_a_chain_that_nobody_began_is_found(lived: Service) -> None:
    tamper(
        lived,
        "INSERT INTO audit SELECT 99, 1, at, action, subject, entry, hash FROM audit WHERE chain = :chain AND seq = :seq",
    )
    assert 99 in {found for found, _ in broken(lived)}


def test_a_change_of_one_chain_leaves_the_others_whole(lived: Service) -> None:
    place = tamper(lived, CHANGES["hash"])
    assert {chain for chain, _ in broken(lived)} == {place[0]}


def test_the_acts_of_one_subject_are_in_one_chain(service: Service) -> None:
    now = service.clock.now()
    with service.session() as session:
        for number in range(5):
            at = now + timedelta(seconds=number)
            audit.record(session, "test", actor="test", subject="the same", at=at, facts={"n": number})
        rows = session.execute(text("SELECT chain, seq FROM audit WHERE subject = 'the same' ORDER BY seq")).all()
    assert len({row.chain for row in rows}) == 1
    assert [row.seq - rows[0].seq for row in rows] == [0, 1, 2, 3, 4]
    assert 0 <= rows[0].chain < CHAINS


def test_an_act_that_is_undone_leaves_no_row(service: Service) -> None:
    with suppress(ZeroDivisionError), service.session() as session:
        audit.record(session, "test", actor="test", subject="s", at=service.clock.now())
        raise ZeroDivisionError
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM audit WHERE action = 'test'")) == 0
    assert broken(service) == []
