"""A code is good for one acceptance, however many ask for it and wherever they ask."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import Found
from tests.e2e.peers import Peer, Reply
from tests.e2e.sites import Site

CODES = 6
SCANNERS = 64

pytestmark = pytest.mark.xdist_group("heavy")


def at_once(peers: list[Peer], code: str) -> list[Reply]:
    """Every peer scans the code at the same moment."""
    gate = threading.Barrier(len(peers))

    def scan(peer: Peer) -> Reply:
        peer.get("/healthz")  # the connection is open before the start
        gate.wait(30)
        return peer.scan(code)

    with ThreadPoolExecutor(len(peers)) as pool:
        return list(pool.map(scan, peers))


@pytest.fixture
def crowd(found: Found, database_url: str) -> Site:
    """Two server processes on one database, and 64 terminals."""
    site = found(database_url, terminals=SCANNERS)
    site.launch(threads=SCANNERS)
    site.launch(threads=SCANNERS)
    return site


def test_of_64_terminals_at_two_server_processes_exactly_one_is_answered_accepted(crowd: Site) -> None:
    app = crowd.peer("app")
    card = app.register()
    terminals = [crowd.peer(f"terminal-{n}", n % 2) for n in range(SCANNERS)]
    winners: set[str] = set()
    told: set[str] = set()
    for _ in range(CODES):
        bodies = [reply.body for reply in at_once(terminals, app.code(card))]
        ends = Counter((body["outcome"], body["reason"]) for body in bodies)
        assert ends == {("accepted", None): 1, ("rejected", "already-used"): SCANNERS - 1}
        winners |= {body["verification_id"] for body in bodies if body["outcome"] == "accepted"}
        told |= {body["verification_id"] for body in bodies}
    assert len(told) == CODES * SCANNERS
    assert {str(row.verification_id) for row in crowd.rows("SELECT verification_id FROM code_use")} == winners
    rows = crowd.rows("SELECT id, reason FROM verification")
    assert {str(row.id) for row in rows} == told
    assert {str(row.id) for row in rows if row.reason is None} == winners
    assert len(rows) == CODES * SCANNERS


def test_one_terminal_that_reads_32_times_through_both_processes_gets_one_verification(crowd: Site) -> None:
    app = crowd.peer("app")
    card = app.register()
    readings = [crowd.peer("terminal-0", n % 2) for n in range(32)]
    for number in range(1, CODES + 1):
        bodies = [reply.body for reply in at_once(readings, app.code(card))]
        assert {body["outcome"] for body in bodies} == {"accepted"}
        assert len({(body["verification_id"], body["verified_at"]) for body in bodies}) == 1
        assert crowd.count("code_use") == crowd.count("verification") == number


def test_the_winner_s_second_reading_elsewhere_is_told_the_same_while_others_are_refused(crowd: Site) -> None:
    app = crowd.peer("app")
    code = app.code(app.register())
    here, there = crowd.peer("terminal-0"), crowd.peer("terminal-0", 1)
    first, second, third = here.scan(code).body, there.scan(code).body, crowd.peer("terminal-1", 1).scan(code).body
    assert first["outcome"] == second["outcome"] == "accepted"
    assert first["verification_id"] == second["verification_id"] != third["verification_id"]
    assert third["reason"] == "already-used"
    assert "resident" not in third
    assert [row.reason for row in crowd.rows("SELECT reason FROM verification ORDER BY id")] == [None, "already-used"]
