"""PostgreSQL goes away under load: 503 until it is back, nothing accepted meanwhile, no restart of the server."""

import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from signal import Signals

import pytest

from ehc.dev.postgres import EmbeddedPostgres
from tests.e2e.conftest import Found
from tests.e2e.peers import Call, Load, show_and_scan
from tests.e2e.processes import family, send
from tests.e2e.sites import Site, allowed, eventually, own_database

CLIENTS = 12
RECOVERY_SECONDS = 5
PATIENCE_SECONDS = 5
"""How long a call waits for its turn; one that asks the database itself is given 6 s."""

Act = Callable[[EmbeddedPostgres], None]

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres")
    server.start()
    yield server
    if server.running():
        resume(server)
    server.stop()


@pytest.fixture
def loaded(found: Found, postgres: EmbeddedPostgres) -> Site:
    """A site on a PostgreSQL of this test's own, which it may stop."""
    site = found(own_database(postgres))
    site.launch()
    return site


def stop_fast(postgres: EmbeddedPostgres) -> None:
    postgres.stop()


def kill(postgres: EmbeddedPostgres) -> None:
    postgres.kill()


def pause(postgres: EmbeddedPostgres) -> None:
    """Nobody answers and every connection stays open, as when the machine's disk hangs."""
    send(_processes(postgres), Signals.SIGSTOP)


def resume(postgres: EmbeddedPostgres) -> None:
    send(_processes(postgres), Signals.SIGCONT)


def start_again(postgres: EmbeddedPostgres) -> None:
    postgres.start()


def _processes(postgres: EmbeddedPostgres) -> list[int]:
    return family(int((postgres.data_dir / "postmaster.pid").read_text().split()[0]))


def answered(calls: list[Call]) -> dict[str, float]:
    """Each verification that was answered, with the time it carries."""
    bodies = [call.reply.body for call in calls if call.reply is not None and call.reply.status == 200]
    return {body["verification_id"]: datetime.fromisoformat(body["verified_at"]).timestamp() for body in bodies}


@pytest.mark.parametrize(
    ("take_away", "bring_back", "seconds"),
    [(stop_fast, start_again, 5.0), (kill, start_again, 5.0), (pause, resume, 9.0)],
    ids=["stopped", "killed", "paused"],
)
def test_without_its_database_the_service_says_503_and_accepts_nothing_until_it_is_back(
    loaded: Site, postgres: EmbeddedPostgres, take_away: Act, bring_back: Act, seconds: float
) -> None:
    app, terminal = loaded.peer("app"), loaded.peer("terminal-0")
    cards = [app.register(n) for n in range(CLIENTS)]
    workers = family(loaded.servers[0].pid)
    with Load(*(show_and_scan(app, terminal, card) for card in cards)) as load:
        time.sleep(1)
        take_away(postgres)
        away = time.time()
        time.sleep(seconds)
        returning = time.time()
        bring_back(postgres)
        back = time.time()
        assert eventually(lambda: any(call.accepted and call.began > back for call in load.of("scan")), seconds=30)
        recovery = time.time() - back
        time.sleep(1)

    assert recovery < allowed(RECOVERY_SECONDS)
    assert family(loaded.servers[0].pid) == workers
    while_away = [call for call in load.calls if away + 0.5 < call.ended < returning]  # an answer has a way to go
    assert len(while_away) >= CLIENTS
    assert all(call.reply is not None and call.reply.is_a_refusal_for_now() for call in while_away)
    assert all(call.reply is not None and call.reply.status in {200, 201, 503} for call in load.calls)
    assert max(call.ended - call.began for call in load.calls) < allowed(2 * PATIENCE_SECONDS)

    accepted = answered([call for call in load.of("scan") if call.accepted])
    assert len(accepted) > CLIENTS
    # a call that was under way when the database came back is answered then, with the time at which it was made
    assert not [at for at in accepted.values() if away < at < returning - PATIENCE_SECONDS]
    kept = {str(row.id) for row in loaded.rows("SELECT id FROM verification WHERE reason IS NULL")}
    assert set(accepted) <= kept
    assert set(answered(load.of("scan"))) <= {str(row.id) for row in loaded.rows("SELECT id FROM verification")}


def test_a_service_that_started_while_its_database_hangs_answers_503_in_bounded_time_and_then_serves(
    loaded: Site, postgres: EmbeddedPostgres
) -> None:
    app = loaded.peer("app")
    card = app.register()
    pause(postgres)
    loaded.launch(ready="/healthz")
    late_app = loaded.peer("app", 1)

    def ask(load: Load) -> None:
        load.call("code", lambda: late_app.post(f"/v1/cards/{card}/codes", {}))

    with Load(*[ask] * CLIENTS) as load:
        time.sleep(12)
        resume(postgres)
        back = time.time()
        assert eventually(lambda: any(call.reply and call.reply.status == 201 for call in load.of("code")), seconds=30)
        recovery = time.time() - back
    refused = [call for call in load.calls if call.ended < back]
    assert len(refused) >= CLIENTS  # nobody waited for the others' time-outs one after another
    assert all(call.reply is not None and call.reply.is_a_refusal_for_now() for call in refused)
    assert max(call.ended - call.began for call in load.calls) < allowed(2 * PATIENCE_SECONDS)
    assert recovery < allowed(RECOVERY_SECONDS)
