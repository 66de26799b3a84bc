"""The audit log: every act leaves a row, and whoever changes, adds, moves or takes out a row is found, and told where."""

import json
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import text

from ehc import audit
from ehc.audit import CHAINS, Fault, Keys, verify
from tests.integration.audited import after, length, live, longest, places, run, swapping, tamper
from tests.support.service import Service


@pytest.fixture
def lived(service: Service) -> Service:
    """A service with a few acts behind it, several of them in one chain."""
    live(service)
    return service


def test_a_whole_log_is_told_so(lived: Service) -> None:
    result = run(lived, "audit", "verify")
    assert (result.exit_code, "The audit log is whole" in result.stdout) == (0, True)


def test_an_empty_database_has_a_whole_log(service: Service) -> None:
    assert places(service) == []


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


def test_a_check_writes_nothing_into_the_log(lived: Service) -> None:
    code = lived.app.code(lived.app.register(9)["card_id"])
    with lived.statements() as sent:
        assert lived.terminal.scan(code)["outcome"] == "accepted"
    assert sent
    assert not [statement for statement in sent if "audit" in statement]


_COLUMNS = "at, action, subject, entry, hash, method"
_AT = "WHERE chain = :chain AND seq = :seq"
CHANGES = {
    "action": f"UPDATE audit SET action = 'card.resumed!' {_AT}",
    "subject": f"UPDATE audit SET subject = 'x' {_AT}",
    "time": f"UPDATE audit SET at = at + interval '1 microsecond' {_AT}",
    "method": f"UPDATE audit SET method = 'hmac-sm3:1' {_AT}",
    "one byte of the entry": f"UPDATE audit SET entry = overlay(entry placing 'A' from 3 for 1) {_AT}",
    "entry that is not JSON": f"UPDATE audit SET entry = 'x' {_AT}",
    "entry that is no object": f"UPDATE audit SET entry = '[]' {_AT}",
    "one bit of the hash": f"UPDATE audit SET hash = set_bit(hash, 255, 1 - get_bit(hash, 255)) {_AT}",
}


@pytest.mark.parametrize("seq", [1, 2, 5])
def test_a_changed_row_is_found_and_no_other_is_blamed(lived: Service, seq: int) -> None:
    chain = longest(lived)
    for name, statement in CHANGES.items():
        assert after(lived, statement, chain=chain, seq=seq) == [(Fault.CHANGED, chain, seq, None)], name


def test_the_row_is_named_to_the_operator(lived: Service) -> None:
    chain = longest(lived)
    tamper(lived, CHANGES["subject"], chain=chain, seq=2)
    result = run(lived, "audit", "verify")
    assert result.exit_code == 1
    assert f"chain {chain}, row 2: changed" in result.stdout
    assert "1 findings" in result.stderr
    with lived.session() as session:
        assert [(found.chain, found.seq) for found in verify(session, Keys())] == [(chain, 2)]


def test_an_unknown_method_is_told_apart(lived: Service) -> None:
    chain = longest(lived)
    changed = after(lived, f"UPDATE audit SET method = 'md5' {_AT}", chain=chain, seq=2)
    assert changed == [(Fault.NO_KEY, chain, 2, None)]


def test_rows_that_were_taken_out_are_missed(lived: Service) -> None:
    chain = longest(lived)
    for first, last in ((1, 1), (2, 2), (2, 4), (1, 4)):
        took = f"DELETE FROM audit WHERE chain = :chain AND seq BETWEEN {first} AND {last}"
        assert after(lived, took, chain=chain) == [(Fault.MISSING, chain, first, last)]


def test_a_row_that_was_taken_out_and_closed_up_is_found(lived: Service) -> None:
    chain = longest(lived)
    found = after(
        lived,
        "DELETE FROM audit WHERE chain = :chain AND seq = 2",
        "UPDATE audit SET seq = -seq WHERE chain = :chain AND seq > 2",
        "UPDATE audit SET seq = -seq - 1 WHERE chain = :chain AND seq < 0",
        "UPDATE audit_head SET seq = seq - 1 WHERE chain = :chain",
        chain=chain,
    )
    assert found == [(Fault.CHANGED, chain, 2, None)]


def test_a_log_that_was_cut_off_is_found(lived: Service) -> None:
    chain = longest(lived)
    end = length(lived, chain)
    for left in (0, 1, end - 1):
        cut = after(lived, f"DELETE FROM audit WHERE chain = :chain AND seq > {left}", chain=chain)
        assert cut == [(Fault.CUT_OFF, chain, left + 1, end)]


def test_a_row_that_was_added_is_found(lived: Service) -> None:
    chain = longest(lived)
    end = length(lived, chain)
    for seq in (end + 1, 1002, 0, -1):
        added = f"INSERT INTO audit SELECT chain, {seq}, {_COLUMNS} FROM audit WHERE chain = :chain AND seq = 2"
        assert after(lived, added, chain=chain) == [(Fault.ADDED, chain, seq, None)]


def test_two_rows_that_changed_places_are_both_found(lived: Service) -> None:
    chain = longest(lived)
    for one, other in ((2, 3), (1, 2), (2, 5), (1, 4), (4, 5)):
        moved = [(Fault.MOVED, chain, one, None), (Fault.MOVED, chain, other, None)]
        assert after(lived, *swapping(one, other), chain=chain) == moved


def test_a_row_that_was_moved_is_told_with_the_one_it_followed(lived: Service) -> None:
    chain = longest(lived)
    tamper(lived, *swapping(2, 5), chain=chain)
    told = run(lived, "audit", "verify").stdout
    assert f"chain {chain}, row 5: out of order: written after the row that is now 1." in told


def test_texts_that_changed_places_are_found(lived: Service) -> None:
    chain = longest(lived)
    told = "action = other.action, subject = other.subject, at = other.at, entry = other.entry"
    found = after(
        lived,
        f"UPDATE audit SET {told} FROM audit other WHERE audit.chain = :chain AND other.chain = :chain "
        "AND (audit.seq, other.seq) IN ((2, 3), (3, 2))",
        chain=chain,
    )
    assert found == [(Fault.CHANGED, chain, 2, None), (Fault.CHANGED, chain, 3, None)]


def test_two_whole_chains_that_changed_places_are_found(lived: Service) -> None:
    chain = longest(lived)
    with lived.session() as session:
        other = session.execute(
            text("SELECT chain FROM audit_head WHERE seq > 0 AND chain <> :c"), {"c": chain}
        ).scalar()
    swapped = [
        f"UPDATE {table} SET chain = {new} WHERE chain = {old}"
        for table in ("audit", "audit_head")
        for old, new in ((chain, 100), (other, chain), (100, other))
    ]
    found = after(lived, *swapped)
    assert {place[:3] for place in found} >= {(Fault.CHANGED, chain, 1), (Fault.CHANGED, other, 1)}


def test_a_chain_whose_head_was_taken_out_is_found(lived: Service) -> None:
    chain = longest(lived)
    ((fault, where, _, _),) = after(lived, "DELETE FROM audit_head WHERE chain = :chain", chain=chain)
    assert (fault, where) == (Fault.HEAD_CHANGED, chain)


def test_a_head_that_was_changed_is_found(lived: Service) -> None:
    chain = longest(lived)
    end = length(lived, chain)
    for change, found in {
        "hash = sha256(hash)": (Fault.HEAD_CHANGED, chain, end + 1, None),
        "seq = seq + 1": (Fault.CUT_OFF, chain, end + 1, end + 1),
        "seq = seq - 1": (Fault.ADDED, chain, end, None),
    }.items():
        assert found in after(lived, f"UPDATE audit_head SET {change} WHERE chain = :chain", chain=chain)


@pytest.mark.parametrize("chain", [-1, 64, 99])
def test_a_chain_that_nobody_began_is_found(lived: Service, chain: int) -> None:
    begun = f"INSERT INTO audit SELECT {chain}, 1, {_COLUMNS} FROM audit LIMIT 1"
    assert after(lived, begun) == [(Fault.ADDED, chain, 1, None)]


def test_the_acts_of_one_subject_are_in_one_chain(service: Service) -> None:
    now = service.clock.now()
    with service.session() as session:
        for number in range(5):
            at = now + timedelta(seconds=number)
            audit.record(session, "test", actor="test", subject="the same", at=at, facts={"n": number})
        audit.write(session)
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
    assert places(service) == []


def test_by_sha256_an_act_is_one_statement(service: Service) -> None:
    with service.statements() as sent, service.session() as session:
        audit.record(session, "test", actor="test", subject="s", at=service.clock.now())
    assert len([statement for statement in sent if "audit" in statement]) == 1
