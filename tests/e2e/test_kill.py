"""An answer is given only after its record is durable: SIGKILL under load, and every answer is found again."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ehc.dev.granian import Granian
from tests.e2e.peers import Load, Peer, show_and_scan
from tests.e2e.sites import Site, allowed, eventually, kill_at_once

KILLS = 20
CLIENTS = 12
RESTART_SECONDS = 5

pytestmark = pytest.mark.xdist_group("heavy")


def test_after_20_kills_in_the_middle_of_load_every_answered_verification_is_in_the_database(site: Site) -> None:
    servers = [site.launch(), site.launch()]
    app = site.peer("app")
    cards = [app.register(n) for n in range(CLIENTS)]
    jobs = []
    for number, card in enumerate(cards):
        here = number % 2
        if number < 4:
            jobs.append(
                shown_twice(site.peer("app", here), site.peer("terminal-0", here), site.peer("terminal-1"), card)
            )
        else:
            jobs.append(show_and_scan(site.peer("app", here), site.peer("terminal-0", here), card))
    restarts: list[float] = []
    with Load(*jobs) as load, ThreadPoolExecutor(len(servers)) as pool:
        for _ in range(KILLS // len(servers)):
            enough = len(load.of("scan")) + 60
            assert eventually(lambda enough=enough: len(load.of("scan")) > enough, seconds=20)  # type: ignore[misc]
            restarts += pool.map(kill_and_start, servers)
        assert eventually(lambda: load.calls[-1].reply is not None, seconds=10)

    assert max(restarts) < allowed(RESTART_SECONDS)
    cut_off = [call for call in load.calls if call.reply is None]
    assert len(cut_off) >= KILLS  # the kills did hit calls that were under way
    answered = {
        (call.reply.body["verification_id"], call.reply.body["reason"])
        for call in load.of("scan")
        if call.reply is not None and call.reply.status == 200
    }
    kept = {(str(row.id), row.reason) for row in site.rows("SELECT id, reason FROM verification")}
    spent = {str(row.verification_id) for row in site.rows("SELECT verification_id FROM code_use")}
    accepted = {verification for verification, reason in answered if reason is None}
    refused = answered - {(verification, None) for verification in accepted}
    assert len(accepted) > KILLS * 10
    assert {reason for _, reason in refused} == {"already-used"}
    assert answered <= kept
    assert accepted <= spent
    assert {verification for verification, reason in kept if reason is None} == spent


def shown_twice(app: Peer, first: Peer, second: Peer, card: str) -> Callable[[Load], None]:
    """The job of a load: one code at two terminals; the second is refused, and that is on record too."""

    def job(load: Load) -> None:
        shown = load.call("code", lambda: app.post(f"/v1/cards/{card}/codes", {}))
        if shown is not None and shown.status == 201:
            code = shown.body["code"]
            load.call("scan", lambda: first.scan(code))
            load.call("scan", lambda: second.scan(code))

    return job


def kill_and_start(server: Granian) -> float:
    """The seconds from the kill to the next answer."""
    began = time.monotonic()
    kill_at_once(server)
    server.start()
    return time.monotonic() - began
