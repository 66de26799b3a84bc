"""Several who move the same cards at once: whatever is answered could have happened one after the other."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from secrets import randbelow
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.core.documents import Document
from ehc.db import unit_of_work
from ehc.issuer import codes, deaths, lifecycle
from ehc.settings import Settings
from tests.contract.helpers import at_once, elsewhere, poster, problem
from tests.integration import histories
from tests.integration.card_desk import OneDeath
from tests.support.national import secrets_of
from tests.support.service import Api, Service, citizen_number, person, told

THREADS, TURNS, CARDS = 6, 80, 3
PATHS = {"suspend": "suspended", "report-loss": "loss-reported", "cancel": "cancelled", "resume": "resumed"}
STAFF = (states.SUSPEND, states.RESUME, states.REPORT_LOSS, states.RECOVER)
ROUNDS = 8


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """Cards are counted from a place of their own, since Redis is shared."""
    made = Service.start(replace(settings, codes_per_minute=10**6))
    with made.session() as session:
        session.execute(text(f"ALTER SEQUENCE card_serial_seq RESTART WITH {1 + randbelow(2**50)}"))
        session.execute(text("UPDATE institution SET static_allowed = true"))
    yield made
    made.stop()


def proof(serial: int) -> dict[str, Any]:
    return {name: person(serial)[name] for name in ("name", "id_type", "id_number", "verification")}


def patcher(service: Service, card_id: str, body: dict[str, Any]) -> Callable[[], TestResponse]:
    own = elsewhere(service.app, service.flask)
    headers = own.headers | {"If-Match": "*"}
    return lambda: own.http.patch(f"/v1/cards/{card_id}", json=body, headers=headers)


def mover(service: Service, card_id: str, how: str, **more: Any) -> Callable[[], TestResponse]:
    return poster(service, service.app, f"/v1/cards/{card_id}/{how}", {"reason": "r"} | more)


def death(service: Service, serial: int) -> Callable[[], Any]:
    authority = OneDeath(Document("01", citizen_number(serial)), service.clock.now())
    secrets, work = secrets_of(service), unit_of_work(service.engine)
    return lambda: deaths.pull(authority, work=work, secrets=secrets, now=service.clock.now())


class Hand:
    """One of those who act: a client with connections of its own, and chance of its own."""

    def __init__(self, service: Service, number: int, card_ids: list[str]) -> None:
        self.service, self.card_ids, self.chance = service, card_ids, random.Random(number)
        self.app = elsewhere(service.app, service.flask)
        self.terminal = elsewhere(service.terminal, service.flask)
        self.secrets = secrets_of(service)
        self.made: Counter[str] = Counter()
        self.codes: list[str] = []

    def __call__(self) -> None:
        for _ in range(TURNS):
            serial = self.chance.randrange(CARDS)
            act = self.chance.choices([self.move, self.staff, self.apply, self.change, self.use], [5, 2, 2, 1, 3])[0]
            act(serial, f"/v1/cards/{self.card_ids[serial]}")

    def move(self, serial: int, path: str) -> None:
        how = self.chance.choice(sorted(PATHS))
        proved = {"proof": proof(serial)} if how == "resume" else {}
        if self.expect(self.app.post(f"{path}/{how}", {"reason": "r"} | proved), 404, 409) == 200:
            self.made[PATHS[how]] += 1

    def staff(self, serial: int, path: str) -> None:
        how, by = self.chance.choice(STAFF), Acting("staff:1", Party.STAFF)
        try:
            with self.service.session() as session:
                card = cards.by_id(session, UUID(self.card_ids[serial]))
                now = self.service.clock.now()
                lifecycle.apply(session, card, how, acting=by, secrets=self.secrets, now=now, proved=True)
        except cards.Conflict:
            return
        self.made["resumed" if how is states.RECOVER else how.name] += 1

    def apply(self, serial: int, path: str) -> None:
        method = self.chance.choice(["document-seen", "external-match"])
        self.expect(self.app.post("/v1/cards", person(serial, verification={"method": method})), 409)

    def change(self, serial: int, path: str) -> None:
        body = self.chance.choice([{"static_codes": True}, {"static_codes": False}, {"employer": "厂"}])
        headers = self.app.headers | {"If-Match": "*"}
        self.expect(self.app.http.patch(path, json=body, headers=headers), 404, 409)

    def use(self, serial: int, path: str) -> None:
        wanted = self.chance.choice([{}, {"format": "national"}, {"kind": "static"}])
        answer = self.app.post(f"{path}/codes", wanted)
        if self.expect(answer, 404, 409) == 201:
            self.codes.append(told(answer)["code"])
        if self.codes:
            self.terminal.scan(self.chance.choice(self.codes))

    def expect(self, answer: TestResponse, *refusals: int) -> int:
        assert answer.status_code in {200, 201, *refusals}, answer.text
        return answer.status_code


def test_six_at_once_leave_what_one_after_the_other_could_have_left(service: Service) -> None:
    """480 acts on three cards. A deadlock would be answered 503, which nobody expects."""
    card_ids = [service.app.register(serial)["card_id"] for serial in range(CARDS)]
    hands = [Hand(service, number, card_ids) for number in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(hand) for hand in hands]:
            done.result(timeout=120)
    made = histories.assert_serial(service)
    histories.assert_sound(service)
    answered = sum((hand.made for hand in hands), Counter[str]())
    made["resumed"] += made.pop("recovered", 0)
    made.pop("restored", 0)
    assert made == answered
    assert answered.keys() == set(PATHS.values())


def test_a_death_notice_has_the_last_word_over_suspending_and_cancelling(service: Service) -> None:
    for serial in range(ROUNDS):
        card_id = service.app.register(serial)["card_id"]
        calls: list[Callable[[], Any]] = [mover(service, card_id, how) for how in ("suspend", "cancel")]
        for answer in at_once(*calls, death(service, serial))[:2]:
            assert answer.status_code in {200, 404, 409}
        with service.session() as session:
            row = session.execute(text("SELECT status, cause FROM card WHERE id = :id"), {"id": card_id}).one()
        assert tuple(row) == ("cancelled", "deceased")
        assert problem(service.app.post("/v1/cards", person(serial))) == (409, "card-cancelled")
    histories.assert_serial(service)


def test_two_who_register_a_cancelled_person_at_once_restore_one_card_and_both_see_it(service: Service) -> None:
    for serial in range(ROUNDS):
        card_id = service.app.register(serial)["card_id"]
        mover(service, card_id, "cancel")()
        calls = [poster(service, app, "/v1/cards", person(serial)) for app in (service.app, service.other_app)]
        answers = at_once(*calls)
        assert [(answer.status_code, told(answer)["card_id"]) for answer in answers] == [(200, card_id)] * 2
        for app in (service.app, service.other_app):
            assert service.terminal.scan(app.code(card_id))["outcome"] == "accepted"
    assert histories.assert_serial(service)["restored"] == ROUNDS


def test_of_prints_at_once_one_counts(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    patcher(service, card_id, {"static_codes": True})()
    for _ in range(ROUNDS):
        calls = [poster(service, service.app, f"/v1/cards/{card_id}/codes", {"kind": "static"}) for _ in range(4)]
        answers = at_once(*calls)
        assert [answer.status_code for answer in answers] == [201] * 4
        ends = Counter(service.terminal.scan(told(answer)["code"])["reason"] for answer in answers)
        assert ends == {None: 1, "expired": 3}
    histories.assert_sound(service)


@pytest.mark.parametrize("what", ["name", "switch"])
def test_a_print_under_way_does_not_outlive_what_stops_prints(service: Service, what: str) -> None:
    for serial in range(ROUNDS):
        card_id = service.app.register(serial)["card_id"]
        patcher(service, card_id, {"static_codes": True})()
        body: dict[str, Any] = {"static_codes": False}
        if what == "name":
            body = {"name": "王大明", "verification": {"method": "document-seen"}}
        made, changed = at_once(
            poster(service, service.app, f"/v1/cards/{card_id}/codes", {"kind": "static"}),
            patcher(service, card_id, body),
        )
        assert changed.status_code == 200
        if what == "switch":
            patcher(service, card_id, {"static_codes": True})()
        outcome = service.terminal.scan(told(made)["code"])["outcome"] if made.status_code == 201 else "rejected"
        assert (outcome == "accepted") == (what == "name" and _printed_last(service, card_id))


def _printed_last(service: Service, card_id: str) -> bool:
    with service.session() as session:
        wanted = "SELECT action FROM audit WHERE subject = :id AND action LIKE 'card.%' ORDER BY seq"
        acts = [act for act in session.scalars(text(wanted), {"id": card_id}) if act != "card.read"]
    return str(acts[-1]) == "card.printed"


def test_a_scan_beside_a_change_of_name_is_before_it_or_refused(service: Service) -> None:
    for serial in range(ROUNDS):
        card_id = service.app.register(serial)["card_id"]
        first, second = service.app.code(card_id), service.app.code(card_id)
        body = {"name": "王大明", "verification": {"method": "document-seen"}}
        changed, scanned = at_once(
            patcher(service, card_id, body),
            poster(service, service.terminal, "/v1/verifications", {"code": first, "step": "registration"}),
        )
        assert changed.status_code == 200
        assert told(scanned)["reason"] in {None, "expired"}
        assert service.terminal.scan(second)["reason"] == "expired"


def test_recovering_and_cancelling_at_once_are_made_in_some_order(service: Service) -> None:
    for serial in range(ROUNDS):
        card_id = service.app.register(serial)["card_id"]
        mover(service, card_id, "report-loss")()
        recovered, cancelled = at_once(
            mover(service, card_id, "resume", proof=proof(serial)), mover(service, card_id, "cancel")
        )
        status = told(service.app.get(f"/v1/cards/{card_id}"))["status"]
        outcome = (recovered.status_code, cancelled.status_code, status)
        assert outcome in {
            (200, 409, "active"),
            (409, 200, "cancelled"),
            (404, 200, "cancelled"),
            (200, 200, "cancelled"),
        }
    histories.assert_serial(service)


def lose_and_recover(service: Service, app: Api, card_id: str, serial: int) -> None:
    service.clock.advance(2)
    assert app.post(f"/v1/cards/{card_id}/report-loss", {"reason": "r"}).status_code == 200
    service.clock.advance(2)
    assert app.post(f"/v1/cards/{card_id}/resume", {"reason": "r", "proof": proof(serial)}).status_code == 200
    service.clock.advance(2)


@pytest.mark.parametrize("wanted", ["signed", "national"])
def test_a_code_asked_for_before_a_loss_is_closed_however_late_it_leaves(
    service: Service, monkeypatch: pytest.MonkeyPatch, wanted: str
) -> None:
    """The worker that makes it pauses after its look at the card, while the card is lost and found again.

    Both desks look through one door.
    """
    card_id, other = service.app.register(1)["card_id"], elsewhere(service.app, service.flask)
    paused: list[bool] = []

    def pause() -> None:
        if not paused:
            paused.append(True)
            lose_and_recover(service, other, card_id, 1)

    admitted = codes.CodeDesk._admitted

    def slow(desk: Any, *asked: Any) -> Any:
        look = admitted(desk, *asked)
        pause()
        return look

    monkeypatch.setattr(codes.CodeDesk, "_admitted", slow)
    late = told(service.app.post(f"/v1/cards/{card_id}/codes", {"format": wanted}))["code"]
    assert paused
    assert service.terminal.scan(late)["reason"] == "expired"
    fresh = told(service.app.post(f"/v1/cards/{card_id}/codes", {"format": wanted}))["code"]
    assert service.terminal.scan(fresh)["outcome"] == "accepted"


def test_codes_issued_beside_a_loss_are_never_accepted_after_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.clock, "now", lambda: datetime.now(UTC))
    for serial in range(ROUNDS):
        card_id = service.app.register(serial)["card_id"]
        path = f"/v1/cards/{card_id}/codes"
        wishes: list[dict[str, Any]] = [{}, {"format": "national"}, {}]
        lost, *answers = at_once(
            mover(service, card_id, "report-loss"), *(poster(service, service.app, path, wish) for wish in wishes)
        )
        assert lost.status_code == 200
        issued = [told(answer)["code"] for answer in answers if answer.status_code == 201]
        for code in issued:
            assert service.terminal.scan(code)["reason"] == "card-suspended"
        assert mover(service, card_id, "resume", proof=proof(serial))().status_code == 200
        for code in issued:
            assert service.terminal.scan(code)["reason"] == "expired"
