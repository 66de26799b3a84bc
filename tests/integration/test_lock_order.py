"""Whoever writes about one person takes the same locks in the same order: no two wait for each other."""

import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.errors import EhcError
from ehc.issuer import closing, corrections
from ehc.issuer.registry import Registry
from tests.contract.helpers import at_once, elsewhere, poster, problem
from tests.contract.rights import agree
from tests.integration.test_detours import STAFF
from tests.integration.test_move_races import patcher
from tests.support.national import secrets_of
from tests.support.service import Api, Service, person, told

SEEN = {"method": "document-seen"}
ROUNDS = 25
ANSWERS = {200, 201, 404, 409, 412, 422}


def patch(api: Api, card_id: str, **body: Any) -> TestResponse:
    return api.http.patch(f"/v1/cards/{card_id}", json=body, headers=api.headers | {"If-Match": "*"})


def withdraw(api: Api, card_id: str) -> TestResponse:
    found = told(api.get(f"/v1/cards/{card_id}/consents")).get("items", [])
    live = [item for item in found if item["ended_at"] is None and item["purpose"] == "institution-sharing"]
    return api.post(f"/v1/cards/{card_id}/consents/{live[0]['consent_id'] if live else UUID(int=0)}/withdraw")


def give(api: Api, card_id: str) -> TestResponse:
    wanted = {"purpose": "institution-sharing", "text_version": f"v{random.randrange(10**9)}"}
    return api.post(f"/v1/cards/{card_id}/consents", wanted)


def decide(service: Service, api: Api, card_id: str) -> TestResponse:
    """Ask for a correction, then grant it as staff do."""
    wanted = random.choice([("phone", f"139{random.randrange(10**8):08}"), ("name", "王大明"), ("name", "王小明")])
    answer = api.post(f"/v1/cards/{card_id}/corrections", dict(zip(("field", "wanted"), wanted, strict=True)))
    if answer.status_code == 201:
        registry, asked = Registry(secrets_of(service)), UUID(told(answer)["correction_id"])
        try:
            with service.session() as session:
                corrections.decide(
                    session, asked, grant=True, by="7", reason="r", registry=registry, now=service.clock.now()
                )
        except EhcError:
            pass  # a faster writer: the answer that staff get
    return answer


def move(how: str) -> Callable[[Api, str], TestResponse]:
    return lambda api, card_id: api.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"})


def writers(service: Service, card_id: str) -> list[Callable[[Api], TestResponse]]:
    """One of each who write about a card and its holder, the card staying alive."""
    return [
        lambda api: patch(api, card_id, phone=f"138{random.randrange(10**8):08}"),
        lambda api: patch(api, card_id, name=random.choice(["王大明", "王小明"]), verification=SEEN),
        lambda api: withdraw(api, card_id),
        lambda api: give(api, card_id),
        lambda api: decide(service, api, card_id),
        lambda api: move("suspend")(api, card_id),
        lambda api: move("resume")(api, card_id),
    ]


def test_all_who_write_about_one_person_at_once_get_an_answer(service: Service) -> None:
    def run(act: Callable[[Api], TestResponse]) -> Counter[int]:
        own = elsewhere(service.app, service.flask)
        return Counter(act(own).status_code for _ in range(ROUNDS))

    acts = writers(service, service.app.register(1)["card_id"])
    with ThreadPoolExecutor(len(acts)) as pool:
        seen = list(pool.map(run, acts))
    answers = sum(seen, Counter())
    assert set(answers) <= ANSWERS
    assert answers[200]
    assert answers[201]


def test_an_account_is_closed_beside_all_of_them(service: Service) -> None:
    for serial in range(1, ROUNDS + 1):
        card_id = service.app.register(serial)["card_id"]
        agree(service.app, card_id, "institution-sharing")
        calls = [partial(act, elsewhere(service.app, service.flask)) for act in writers(service, card_id)]
        answers = at_once(*calls, poster(service, service.app, f"/v1/cards/{card_id}/close", {"reason": "r"}))
        assert {answer.status_code for answer in answers} <= ANSWERS
        assert told(service.app.get(f"/v1/cards/{card_id}"))["status"] in {"active", "suspended", "cancelled"}
        with service.session() as session:
            live = text("SELECT count(*) FROM consent WHERE withdrawn_at IS NULL AND resident_id = :person")
            held = text("SELECT resident_id, status FROM card WHERE id = :id")
            row = session.execute(held, {"id": card_id}).one()
            assert row.status != "cancelled" or session.scalar(live, {"person": row.resident_id}) == 0


@pytest.mark.parametrize("other", ["give", "patch", "close"])
def test_a_withdrawal_beside_another_writer_is_never_undone(service: Service, other: str) -> None:
    for serial in range(1, 11):
        card = f"/v1/cards/{service.app.register(serial)['card_id']}"
        consent = agree(service.app, card.rpartition("/")[2], "institution-sharing")["consent_id"]
        given = {"purpose": "app-access", "text_version": "v1"}
        beside = {
            "give": poster(service, service.app, f"{card}/consents", given),
            "patch": patcher(service, card.rpartition("/")[2], {"employer": "一厂"}),
            "close": poster(service, service.app, f"{card}/close", {"reason": "r"}),
        }[other]
        answer, _ = at_once(poster(service, service.app, f"{card}/consents/{consent}/withdraw", None), beside)
        assert answer.status_code == 200 or (other == "close" and problem(answer) == (404, "card-not-found"))
        with service.session() as session:
            ended = text("SELECT withdrawn_at IS NOT NULL FROM consent WHERE id = :id")
            assert session.scalar(ended, {"id": consent})


def test_a_request_is_decided_beside_the_closing_of_its_account(service: Service) -> None:
    registry = Registry(secrets_of(service))
    for serial in range(1, 11):
        card_id = service.app.register(serial)["card_id"]
        body = {"field": "employer", "wanted": "二厂"}
        asked = UUID(told(service.app.post(f"/v1/cards/{card_id}/corrections", body))["correction_id"])
        own = elsewhere(service.app, service.flask)

        def decided(asked: UUID = asked) -> str:
            try:
                with service.session() as session:
                    done = corrections.decide(
                        session, asked, grant=True, by="7", reason="r", registry=registry, now=service.clock.now()
                    )
                    return str(done.decision)
            except corrections.NoSuchCorrection:
                return "void"

        def closed(card_id: str = card_id, api: Api = own) -> str:
            return str(api.post(f"/v1/cards/{card_id}/close", {"reason": "r"}).status_code)

        assert at_once(decided, closed) in [["granted", "200"], ["void", "200"]]


def test_a_card_is_restored_beside_its_holder_s_registration(service: Service) -> None:
    """The one takes a card that ended from staff's side, the other from the app's."""
    registry = Registry(secrets_of(service))
    for serial in range(1, 11):
        card_id = service.app.register(serial)["card_id"]
        service.app.post(f"/v1/cards/{card_id}/close", {"reason": "r"})
        own = elsewhere(service.app, service.flask)

        def restored(card_id: str = card_id) -> int:
            try:
                with service.session() as session:
                    card = cards.by_id(session, UUID(card_id))
                    words = Words("r")
                    closing.restore(session, card, by=STAFF, words=words, registry=registry, now=service.clock.now())
            except EhcError:
                return 409
            return 200

        def registered(serial: int = serial, api: Api = own) -> int:
            return api.post("/v1/cards", person(serial)).status_code

        assert set(at_once(restored, registered)) <= {200, 409}
