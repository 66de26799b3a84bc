"""What staff and the worker do with plastic cards."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from ehc.binding.plastic_tasks import end_losses
from ehc.cards import blacklist
from ehc.commands import main
from ehc.place import Place
from ehc.worker import TASKS
from tests.support.plastic import ATR, actions, bound, checked, delete, later, listed, path, read, states
from tests.support.service import Service

REASON = {"reason": "遗失"}
Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    """Runs `ehc bindings plastic …` on the test's database."""

    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["bindings", "plastic", *words], env={"EHC_DATABASE_URL": database_url})

    return command


@pytest.fixture
def card(service: Service) -> dict[str, Any]:
    return checked(service)


def test_staff_confirm_a_loss_find_and_cancel(service: Service, card: dict[str, Any], run: Run) -> None:
    binding = bound(service, card)
    words = (card["card_id"], binding, "--by", "007", "--reason", "窗口办理")
    for command, state, scanned in (
        ("confirm-loss", "lost", "card-suspended"),
        ("found", "active", None),
        ("cancel", "cancelled", "card-cancelled"),
    ):
        done = run(command, *words)
        assert (done.exit_code, done.stdout.strip()) == (0, state), done.output
        assert read(service)["reason"] == scanned
    refused = run("found", *words)
    assert refused.exit_code == 1
    assert "Read it first" in refused.output
    told = run("list", card["card_id"]).stdout.split()
    assert told[:3] == [binding, "resident-health-card", "cancelled"]
    assert ATR.format(1) not in told
    with service.session() as session:
        rows = session.scalars(text("SELECT entry::text FROM audit WHERE action LIKE 'card.plastic-card-%'")).all()
        sealed = session.scalars(text("SELECT reason FROM binding_event WHERE party = 'staff'")).all()
    assert sum("staff:007" in row for row in rows) == 3
    assert "窗口办理" not in "".join(rows)
    assert len([reason for reason in sealed if reason]) == 3


def test_after_a_restore_the_whole_list_is_told_anew(service: Service, card: dict[str, Any], run: Run) -> None:
    """Numbers that were given after the point of the backup are given again: a terminal must not pass over them."""
    first, second, third = (bound(service, card, number) for number in (1, 2, 3))
    service.app.post(path(card, first, "report-loss"), REASON)
    before = entries(service, 0)
    restored = {name: rows_of(service, name) for name in ("plastic_blacklist", "plastic_blacklist_head")}
    service.app.post(path(card, second, "report-loss"), REASON)
    since, _ = entries(service, before[0])
    with service.session() as session:
        session.execute(text("DELETE FROM plastic_blacklist"))
        session.execute(text("DELETE FROM plastic_blacklist_head"))
        for name, rows in restored.items():
            put_back = text(
                f"INSERT INTO {name} SELECT * FROM jsonb_populate_recordset(NULL::{name}, CAST(:rows AS jsonb))"
            )
            session.execute(put_back, {"rows": rows})
    service.app.post(path(card, third, "report-loss"), REASON)
    done = run("relist", "--by", "007")
    assert (done.exit_code, done.stdout.strip()) == (0, "2 entries"), done.output
    until, told = entries(service, since)
    assert sorted(told) == sorted(listed(service))
    assert until > since
    assert entries(service, until) == (until, [])
    assert sorted(entries(service, 0)[1]) == sorted(told)


def entries(service: Service, since: int) -> tuple[int, list[str]]:
    with service.session() as session:
        found = blacklist.page(session, since, limit=1000)
        return found.until, [entry.number_hash.hex() for entry in found.entries]


def rows_of(service: Service, table: str) -> str:
    with service.session() as session:
        return str(session.scalar(text(f"SELECT coalesce(jsonb_agg(one), '[]')::text FROM {table} AS one")))


def test_of_another_card_staff_move_nothing(service: Service, card: dict[str, Any], run: Run) -> None:
    binding = bound(service, card)
    other = service.app.register(2)["card_id"]
    assert run("cancel", other, binding, "--by", "7", "--reason", "r").exit_code == 1
    assert run("cancel", card["card_id"], binding, "--by", "7").exit_code == 2
    assert states(service) == ["active"]


def test_the_worker_ends_losses_whose_time_is_over(service: Service, card: dict[str, Any]) -> None:
    kept, gone = bound(service, card, 1), bound(service, card, 2)
    for binding in (kept, gone):
        service.app.post(path(card, binding, "report-loss"), REASON)
    delete(service.app, path(card, gone))
    place = Place(service.settings, clock=service.clock)
    try:
        later(service, 7 * 86_400 - 0.001)
        end_losses(place)
        assert sorted(states(service)) == ["loss-temporary", "unbound"]
        assert list(listed(service).values()) == ["loss-temporary"] * 2
        service.clock.advance(0.001)
        end_losses(place)
        end_losses(place)
    finally:
        place.close()
    assert sorted(states(service)) == ["active", "unbound"]
    assert list(listed(service).values()) == [None, None]
    assert actions(service).count("loss-ran-out") == 1
    assert any(task.run is end_losses and task.every == "* * * * *" for task in TASKS)


def test_the_worker_waits_for_nobody(service: Service, card: dict[str, Any]) -> None:
    service.app.post(path(card, bound(service, card), "report-loss"), REASON)
    service.clock.at += timedelta(days=8)
    place = Place(service.settings, clock=service.clock)
    try:
        with service.session() as session:
            session.execute(text("SELECT 1 FROM card FOR NO KEY UPDATE"))
            end_losses(place)
            assert states(service) == ["loss-temporary"]
        end_losses(place)
    finally:
        place.close()
    assert states(service) == ["active"]


@pytest.mark.parametrize("days", [1, 30])
def test_a_deployment_says_how_long_a_loss_lasts(settings: Any, days: int) -> None:
    from dataclasses import replace

    service = Service.start(replace(settings, plastic_loss_days=days))
    try:
        card = checked(service)
        service.app.post(path(card, bound(service, card), "report-loss"), REASON)
        later(service, days * 86_400 - 0.001)
        assert read(service)["reason"] == "card-suspended"
        service.clock.advance(0.001)
        assert read(service)["outcome"] == "accepted"
    finally:
        service.stop()
