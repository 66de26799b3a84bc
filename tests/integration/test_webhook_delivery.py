"""Webhooks on a real database with real receivers: what is told to whom, in which order, and what failures do."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.access import webhook_sending, webhook_tasks
from ehc.access.webhook_places import HOLDS, WAITS, hold_after, wait_after
from ehc.commands.webhook_receiver import Receiver
from ehc.outbox import writing as outbox
from ehc.outbox.kinds import EventKind, of_card
from ehc.settings import Settings
from ehc.verify import uses
from tests.support.service import Service, told
from tests.support.webhooks import ALL, Hooks, kinds, receiving


@pytest.fixture
def hooks(settings: Settings) -> Iterator[Hooks]:
    made = Hooks.start(settings)
    yield made
    made.stop()


def until_quiet(hooks: Hooks, seconds: float = 1000, times: int = 3) -> None:
    for _ in range(times):
        hooks.advance(seconds)
        hooks.deliver()


def test_every_kind_of_event_is_told_signed_and_without_anything_about_a_person(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        receiver.manners.secrets = (made["secret"],)
        card = service.app.register()
        verification = service.terminal.scan(service.app.code(card["card_id"]))
        hooks.advance(1)
        bound = service.terminal.post(
            f"/v1/cards/{card['card_id']}/bindings/patient-ids",
            {"id_type": "outpatient", "patient_id": "P-77", "verification_id": verification["verification_id"]},
        )
        assert bound.status_code == 201, bound.text
        for act in ("suspend", "resume", "cancel"):
            hooks.advance(1)
            hooks.act(card, act)
            hooks.deliver()
        seen = receiver.manners.seen
    got = [event["type"] for event in seen]
    assert got == [
        "card.used",
        "binding.changed",
        "card.suspended",
        "card.resumed",
        "card.cancelled",
    ]
    assert all(event["signed"] for event in seen)
    assert {event["data"]["card_id"] for event in seen} == {card["card_id"]}
    assert seen[0]["data"]["verification_id"] == verification["verification_id"]
    assert seen[1]["data"] == {
        "card_id": card["card_id"],
        "binding_id": told(bound)["binding_id"],
        "binding_kind": "patient-id",
        "action": "bound",
    }
    assert [event["data"].get("status") for event in seen[2:]] == ["suspended", "active", "cancelled"]
    assert set().union(*(event["data"] for event in seen)) == {
        "card_id", "verification_id", "binding_id", "binding_kind", "action", "status"
    }  # fmt: skip
    assert all("P-77" not in str(event) and "王" not in str(event) for event in seen)


def test_a_decided_review_is_told(settings: Settings) -> None:
    hooks = Hooks.start(Settings(**{**vars(settings), "reviewed_levels": frozenset({"document-seen"})}))
    try:
        with receiving() as receiver:
            hooks.subscribe(receiver.url)
            card = hooks.service.app.register()
            assert card["status"] == "pending-review"
            _review(hooks, card["card_id"])
            hooks.deliver()
            assert [event["data"]["status"] for event in receiver.manners.seen] == ["active"]
            assert kinds(receiver) == ["review.decided"]
    finally:
        hooks.stop()


def _review(hooks: Hooks, card_id: str) -> None:
    from ehc.cards import store
    from ehc.issuer import lifecycle

    with hooks.place.work() as session:
        card = store.by_id(session, UUID(card_id))
        secrets, now = hooks.place.secrets(), hooks.service.clock.now()
        lifecycle.review(session, card, approve=True, actor="staff:1", reason=None, secrets=secrets, now=now)


@pytest.mark.parametrize(
    ("action", "old", "new", "kind"),
    [
        ("registered", None, "active", None),
        ("approved", "pending-review", "active", "review.decided"),
        ("rejected", "pending-review", "rejected", "review.decided"),
        ("held", "suspended", "suspended", "card.suspended"),
        ("loss-reported", "suspended", "lost", "card.suspended"),
        ("recovered", "lost", "active", "card.resumed"),
        ("restored", "cancelled", "active", "card.resumed"),
        ("restored", "cancelled", "pending-review", "card.changed"),
        ("deceased", "active", "cancelled", "card.cancelled"),
        ("changed", "suspended", "suspended", "card.changed"),
        ("changed", "active", "active", "card.changed"),
    ],
)
def test_what_happened_to_a_card_has_its_kind(action: str, old: str | None, new: str, kind: str | None) -> None:
    assert of_card(action, old, new) == kind


def test_an_app_is_told_of_its_own_cards_and_of_the_kinds_that_it_asked_for(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as mine, receiving() as other:
        hooks.subscribe(mine.url, ["card.suspended"])
        hooks.subscribe(other.url, app=service.other_app)
        hooks.act(service.app.register(), "suspend", "resume")
        hooks.deliver()
        assert kinds(mine) == ["card.suspended"]
        assert kinds(other) == []


def test_what_an_app_may_see_no_more_when_it_is_sent_is_not_sent(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        card = service.app.register()
        hooks.act(card, "suspend")
        hooks.place_events()
        hooks.act(card, "cancel")  # closes the grant: its end is all that is told
        hooks.deliver()
        assert kinds(receiver) == ["card.cancelled"]
        (skipped,) = hooks.deliveries(made, "skipped")
        assert (skipped["kind"], skipped["last_error"]) == ("card.suspended", "no-grant")
        with service.session() as session:
            session.execute(text("UPDATE card_grant SET closed_at = NULL, until = :now"), {"now": service.clock.now()})
            outbox.put(session, EventKind.CARD_CANCELLED, _serial(service, card), {}, at=service.clock.now())
        hooks.deliver()
        assert kinds(receiver) == ["card.cancelled"]  # a guardian's time is over: not even that


def _serial(service: Service, card: dict[str, Any]) -> int:
    with service.session() as session:
        return int(
            session.execute(text("SELECT serial FROM card WHERE id = :id"), {"id": card["card_id"]}).scalar_one()
        )


def test_an_app_that_lost_the_scope_of_bindings_is_told_of_none(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url)
        serial = _serial(service, service.app.register())
        with service.session() as session:
            outbox.put(session, EventKind.BINDING_CHANGED, serial, {}, at=service.clock.now())
        hooks.place_events()
        with service.session() as session:
            session.execute(text("UPDATE client SET scopes = '{cards}' WHERE kind = 'app'"))
        hooks.deliver()
        assert kinds(receiver) == []


@pytest.mark.parametrize("stopped", ["UPDATE client SET disabled_at = now()", "UPDATE app SET state = 'suspended'"])
def test_a_disabled_or_suspended_app_is_told_nothing(hooks: Hooks, stopped: str) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url)
        hooks.act(service.app.register(), "suspend")
        with service.session() as session:
            session.execute(text(stopped))
        hooks.deliver()
        assert kinds(receiver) == []


def test_a_change_that_is_rolled_back_is_told_to_nobody(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url)
        card = service.app.register()
        hooks.act(card, "suspend")
        assert service.app.post(f"/v1/cards/{card['card_id']}/suspend", {"reason": "再"}).status_code == 409
        hooks.deliver()
        assert kinds(receiver) == ["card.suspended"]


def test_a_receiver_that_was_down_for_a_day_gets_everything_in_order(hooks: Hooks) -> None:
    service = hooks.service
    with receiving(mode="down") as receiver:
        made = hooks.subscribe(receiver.url)
        cards = [service.app.register(serial) for serial in (1, 2, 3)]
        for _ in range(24):
            for card in cards:
                hooks.act(card, "suspend", "resume")
            hooks.deliver()
            hooks.advance(3600)
        assert hooks.shown(made)["state"] == "live"
        assert hooks.shown(made)["failing_since"]
        assert len(receiver.manners.seen) < 40  # one try at a time, not one for each event
        receiver.manners.mode = "ok"
        receiver.manners.seen.clear()
        until_quiet(hooks, 3600, 14)  # of the ones that were tried eight times the next try is 12 hours away
        for card in cards:
            got = [event["type"] for event in receiver.manners.seen if event["data"]["card_id"] == card["card_id"]]
            assert got == ["card.suspended", "card.resumed"] * 24
        shown = hooks.shown(made)
        assert (shown["waiting"], shown["dead"], shown["failing_since"]) == (0, 0, None)


@pytest.mark.parametrize(
    ("mode", "error", "status"),
    [("error", "status", 500), ("redirect", "redirect", 302), ("too-many", "too-many", 429), ("down", "broken", None)],
)
def test_a_failure_is_told_and_tried_again_after_a_while(
    hooks: Hooks, mode: str, error: str, status: int | None
) -> None:
    with receiving(mode=mode) as receiver:
        made = hooks.subscribe(receiver.url)
        hooks.act(hooks.service.app.register(), "suspend")
        hooks.deliver()
        hooks.deliver()
        assert len(receiver.manners.seen) == 1  # not at once, and no redirect is followed
        (waiting,) = hooks.deliveries(made, "pending")
        assert (waiting["attempts"], waiting["last_error"], waiting["last_status"]) == (1, error, status)
        assert (hooks.shown(made)["last_error"], hooks.shown(made)["last_status"]) == (error, status)
        receiver.manners.mode = "ok"
        hooks.advance(4)
        hooks.deliver()
        assert len(receiver.manners.seen) == 1
        hooks.advance(130)
        hooks.deliver()
        assert len(receiver.manners.seen) == 2
        assert receiver.manners.seen[0]["id"] == receiver.manners.seen[1]["id"]
        assert hooks.deliveries(made)[0]["state"] == "delivered"


def test_a_receiver_that_asks_for_time_is_given_it(hooks: Hooks) -> None:
    with receiving(mode="too-many") as receiver:
        hooks.subscribe(receiver.url)
        hooks.act(hooks.service.app.register(), "suspend")
        hooks.deliver()
        for _ in range(2):
            hooks.advance(59)
            hooks.deliver()
        assert len(receiver.manners.seen) == 1
        hooks.advance(3)
        hooks.deliver()
        assert len(receiver.manners.seen) == 2


def test_a_huge_answer_is_taken_by_its_status(hooks: Hooks) -> None:
    with receiving(mode="huge") as receiver:
        made = hooks.subscribe(receiver.url)
        hooks.act(hooks.service.app.register(), "suspend")
        began = time.monotonic()
        hooks.deliver()
        assert time.monotonic() - began < 5
        assert hooks.deliveries(made)[0]["state"] == "delivered"


def test_a_receiver_that_is_gone_is_left_alone_until_the_app_says_otherwise(hooks: Hooks) -> None:
    with receiving(mode="gone") as receiver:
        made = hooks.subscribe(receiver.url)
        card = hooks.service.app.register()
        hooks.act(card, "suspend", "resume")
        until_quiet(hooks, 3600)
        assert len(receiver.manners.seen) == 1
        shown = hooks.shown(made)
        assert (shown["state"], shown["paused_by"], shown["waiting"]) == ("paused", "receiver", 2)
        assert shown["notice"]
        receiver.manners.mode = "ok"
        assert hooks.patch(made, state="live").status_code == 200
        hooks.deliver()
        assert kinds(receiver) == ["card.suspended", "card.suspended", "card.resumed"]


def test_a_poisoned_event_dies_after_three_days_and_holds_up_its_card_until_then_and_no_other(hooks: Hooks) -> None:
    service = hooks.service
    with receiving(mode="poison") as receiver:
        made = hooks.subscribe(receiver.url, ["card.suspended", "card.resumed"])
        first, second = service.app.register(1), service.app.register(2)
        hooks.act(first, "suspend")
        hooks.deliver()
        receiver.manners.seen.clear()
        hooks.act(first, "resume")
        hooks.act(second, "suspend")
        receiver.manners.mode = "ok"
        hooks.deliver()
        assert kinds(receiver) == ["card.suspended"]  # of the second; the first card's waits for the one before it
        receiver.manners.mode = "poison"
        for hours in range(90):
            hooks.advance(3600)
            hooks.deliver()
            if hours < 60:
                assert hooks.shown(made)["dead"] == 0
        (dead,) = hooks.deliveries(made, "dead")
        assert (dead["attempts"], dead["last_status"]) == (len(WAITS) + 1, 422)
        assert hooks.shown(made)["state"] == "live"
        receiver.manners.mode = "ok"
        until_quiet(hooks, 24 * 3600)
        assert kinds(receiver)[-1] == "card.resumed"
        answer = service.app.post(f"/v1/webhooks/{made['webhook_id']}/redeliver", {})
        assert told(answer) == {"count": 1}
        hooks.deliver()
        assert kinds(receiver)[-1] == "card.suspended"
        assert hooks.shown(made)["dead"] == 0


def test_a_receiver_that_is_down_for_three_days_is_paused_and_loses_nothing(hooks: Hooks) -> None:
    service = hooks.service
    with receiving(mode="error") as receiver:
        made = hooks.subscribe(receiver.url, ["card.suspended", "card.resumed"])
        card = service.app.register()
        hooks.act(card, "suspend")
        for _ in range(90):
            hooks.deliver()
            hooks.advance(3600)
        shown = hooks.shown(made)
        assert (shown["state"], shown["paused_by"], shown["waiting"], shown["dead"]) == ("paused", "system", 1, 0)
        hooks.act(card, "resume")
        count = len(receiver.manners.seen)
        until_quiet(hooks, 3600)
        assert len(receiver.manners.seen) == count
        receiver.manners.mode = "ok"
        receiver.manners.seen.clear()
        assert hooks.patch(made, state="live").status_code == 200
        hooks.deliver()
        assert kinds(receiver) == ["card.suspended", "card.resumed"]


def test_slow_receivers_do_not_hold_up_the_others(hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sending, "_SLOW", 0.2)
    service = hooks.service
    with receiving(mode="slow", seconds=0.5) as slow, receiving() as quick:
        card = service.app.register()
        for number in range(9):  # more than there are places for
            hooks.subscribe(f"{slow.url}/{number}")
        hooks.subscribe(quick.url)
        hooks.act(card, "suspend")
        hooks.deliver()  # now they are known to be slow
        assert len(slow.manners.seen) == 9
        quick.manners.seen.clear()
        hooks.act(card, "resume")
        slow.manners.seconds = 3
        struggling = threading.Thread(target=webhook_tasks.deliver_struggling, args=[hooks.place])
        hooks.place_events()
        struggling.start()
        time.sleep(0.3)
        began = time.monotonic()
        hooks.deliver_well()
        assert time.monotonic() - began < 2
        assert kinds(quick) == ["card.resumed"]
        struggling.join()


def test_two_secrets_sign_until_the_old_one_ends(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        card = service.app.register()
        answer = service.app.post(f"/v1/webhooks/{made['webhook_id']}/secret", {"overlap_hours": 1})
        new = told(answer)["secret"]
        assert new != made["secret"]
        for hours, old_signs in ((0, True), (1, False)):
            hooks.advance(hours * 3600)
            for secret, signs in ((new, True), (made["secret"], old_signs)):
                receiver.manners.secrets, receiver.manners.seen = (secret,), []
                _fresh(receiver, service)
                hooks.act(card, "suspend", "resume")
                hooks.deliver()
                assert [event["signed"] for event in receiver.manners.seen] == [signs, signs]


def _fresh(receiver: Receiver, service: Service) -> None:
    """The receiver's clock is the machine's: what the held one signs is a little ahead, and then an hour."""
    offset = service.clock.now().timestamp() - time.time()
    import ehc.commands.webhook_receiver as module

    module._FRESH = max(300, abs(offset) + 300)  # type: ignore[assignment]  # seconds


def test_a_replay_tells_all_since_a_date_again_in_order_also_to_a_new_subscription(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver, receiving() as late:
        made = hooks.subscribe(receiver.url)
        card = service.app.register()
        hooks.act(card, "suspend")
        hooks.deliver()
        hooks.advance(3600)
        since = service.clock.now().isoformat()
        hooks.act(card, "resume", "suspend", "resume")
        hooks.deliver()
        ids = [event["id"] for event in receiver.manners.seen]
        new = hooks.subscribe(late.url)
        for one in (made, new):
            answer = service.app.post(f"/v1/webhooks/{one['webhook_id']}/replay", {"since": since})
            assert answer.status_code == 202, answer.text
        _run_replays(hooks)
        hooks.deliver()
        assert [event["id"] for event in receiver.manners.seen] == [*ids, *ids[1:]]
        assert [event["id"] for event in late.manners.seen] == ids[1:]


def _run_replays(hooks: Hooks) -> None:
    from ehc.worker import drain

    drain(hooks.place)


def test_a_use_comes_before_the_suspension_that_followed_it(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url)
        cards = [service.app.register(serial) for serial in range(1, 6)]
        for card in cards:
            for _ in range(3):
                hooks.advance(1)
                service.terminal.scan(service.app.code(card["card_id"]))
                hooks.advance(1)
                hooks.act(card, "suspend", "resume")
        hooks.deliver()
        for card in cards:
            got = [event["type"] for event in receiver.manners.seen if event["data"]["card_id"] == card["card_id"]]
            assert got == ["card.used", "card.suspended", "card.resumed"] * 3


def test_a_refused_check_is_no_use_and_a_repeated_scan_is_one(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url)
        code = service.app.code(service.app.register()["card_id"])
        first, again = service.terminal.scan(code), service.terminal.scan(code)
        assert first["verification_id"] == again["verification_id"]
        assert service.second_terminal.scan(code)["outcome"] == "rejected"
        hooks.deliver()
        hooks.deliver()
        assert kinds(receiver) == ["card.used"]


def test_a_check_that_commits_late_is_told_all_the_same(hooks: Hooks) -> None:
    """Its transaction is open while later ones are told, and while the place that is read from moves on."""
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url, ["card.used"])
        card = service.app.register()
        serial = _serial(service, card)
        with service.engine.connect() as late, late.begin():
            late.execute(
                text("""
                    INSERT INTO verification (card_serial, verified_at, id, client_id, step, disclosed)
                    VALUES (:serial, :at, gen_random_uuid(), gen_random_uuid(), 'payment', '{}')
                """),
                {"serial": serial, "at": service.clock.now()},
            )
            for _ in range(5):
                hooks.advance(600)
                service.terminal.scan(service.app.code(card["card_id"]))
                hooks.deliver()
            assert len(receiver.manners.seen) == 5
        hooks.deliver()
        assert len(receiver.manners.seen) == 6
        for _ in range(6):
            hooks.advance(600)
            hooks.deliver()
        with service.session() as session:
            since = session.execute(text("SELECT since FROM outbox_cursor")).scalar_one()
        assert service.clock.now() - since < timedelta(minutes=21)  # and it follows again
        assert len(receiver.manners.seen) == 6


def test_checks_of_an_outage_of_the_worker_are_told_piece_by_piece_in_order(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url, ["card.used", "card.suspended", "card.resumed"])
        card = service.app.register()
        hooks.deliver()
        expected = []
        for _ in range(6):
            hooks.advance(300)
            service.terminal.scan(service.app.code(card["card_id"]))
            hooks.advance(1)
            hooks.act(card, "suspend", "resume")
            expected += ["card.used", "card.suspended", "card.resumed"]
        hooks.deliver()
        hooks.deliver()
        assert kinds(receiver) == expected


def test_two_workers_place_and_send_each_event_once(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        hooks.subscribe(receiver.url)
        cards = [service.app.register(serial) for serial in range(1, 11)]
        for card in cards:
            hooks.act(card, "suspend", "resume", "suspend")
        threads = [threading.Thread(target=hooks.deliver) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        hooks.deliver()
        assert len(receiver.manners.seen) == 30
        for card in cards:
            got = [event["type"] for event in receiver.manners.seen if event["data"]["card_id"] == card["card_id"]]
            assert got == ["card.suspended", "card.resumed", "card.suspended"]


def test_a_subscription_that_another_process_serves_is_left_to_it(hooks: Hooks) -> None:
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        hooks.act(hooks.service.app.register(), "suspend")
        with hooks.service.engine.connect() as other:
            other.execute(
                text("SELECT pg_advisory_lock(:key)"), {"key": webhook_sending._key(UUID(made["webhook_id"]))}
            )
            hooks.deliver()
            assert kinds(receiver) == []
            other.execute(text("SELECT pg_advisory_unlock_all()"))
        hooks.deliver()
        assert kinds(receiver) == ["card.suspended"]


def test_a_result_that_comes_after_a_replay_does_not_undo_it(hooks: Hooks) -> None:
    from ehc.access import webhook_places, webhook_turns
    from ehc.access.webhook_turns import Outcome

    service, now = hooks.service, hooks.service.clock.now
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        hooks.act(service.app.register(), "suspend")
        hooks.place_events()
        with hooks.place.work() as session:
            to = webhook_turns.receiver(
                session, UUID(made["webhook_id"]), sealer=hooks.place.secrets().sealer, now=now()
            )
            assert to is not None
            (order,) = webhook_turns.orders(session, to, most=10, now=now())
            webhook_places.replay(session, to.webhook_id, since=now() - timedelta(days=1), now=now())
            webhook_turns.settle(session, order, Outcome(None, 200), chance=0.5, now=now())
        assert [one["state"] for one in hooks.deliveries(made)] == ["pending"]


def test_old_events_and_deleted_subscriptions_are_forgotten(hooks: Hooks) -> None:
    service = hooks.service
    with receiving() as receiver:
        made = hooks.subscribe(receiver.url)
        card = service.app.register()
        hooks.act(card, "suspend")
        hooks.deliver()
        hooks.advance(30 * 24 * 3600 - 60)
        with service.session() as session:
            assert outbox.purge(session, now=service.clock.now()) == 0
        hooks.act(card, "resume")
        hooks.deliver()
        hooks.advance(61)
        with service.session() as session:
            assert outbox.purge(session, now=service.clock.now()) == 1
        assert [one["kind"] for one in hooks.deliveries(made)] == ["card.resumed"]
        path = f"/v1/webhooks/{made['webhook_id']}"
        assert service.app.http.delete(path, headers=service.app.headers).status_code == 204
        with service.session() as session:
            assert outbox.purge_deleted(session, now=service.clock.now()) == 0
        hooks.advance(601)
        with service.session() as session:
            assert outbox.purge_deleted(session, now=service.clock.now()) == 1
            assert outbox.purge_deleted(session, now=service.clock.now()) == 1
            assert outbox.purge_deleted(session, now=service.clock.now()) == 0


def test_nothing_is_read_from_the_journal_while_nobody_asks(hooks: Hooks) -> None:
    service = hooks.service
    service.terminal.scan(service.app.code(service.app.register()["card_id"]))
    hooks.deliver()
    with service.session() as session:
        assert session.execute(text("SELECT count(*) FROM outbox_event")).scalar_one() == 0
        assert uses.tell(session, now=service.clock.now()) is None


def test_the_tries_take_three_days_and_differ_by_a_tenth() -> None:
    whole = sum(WAITS, timedelta())
    assert timedelta(hours=71) < whole < timedelta(hours=72)
    assert len(WAITS) == 10
    for attempts, wait in enumerate(WAITS, 1):
        assert wait_after(attempts, 0) == wait * 0.9
        assert wait_after(attempts, 1) == wait * 1.1
    assert wait_after(11, 0.5) is None
    assert hold_after(1, 0.5) == HOLDS[0]
    assert hold_after(99, 0.5) == HOLDS[-1]
    assert hold_after(1, 0.5, 120) == timedelta(seconds=120)
    assert hold_after(1, 0.5, 999999) == timedelta(hours=1)


def test_the_list_of_kinds_that_tests_use_is_whole() -> None:
    assert set(ALL) == {str(kind) for kind in EventKind} - {"webhook.test"}
