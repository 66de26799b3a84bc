"""A log-in leads to a person once they registered in it, or proved their card; then it touches that card and the family's."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ehc.access import apps, clients
from ehc.access.app_states import RESUME, SUSPEND
from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.launcher import Simulators
from tests.contract.helpers import at_once, problem, wrong
from tests.integration.outside import asking, outside, simulators
from tests.support import families
from tests.support.service import Api, Service, citizen_number, person, told
from tests.support.sessions import (
    PHONE,
    Resident,
    by_wechat,
    later,
    logged_in,
    proved,
    sent,
    set_up,
    shown,
)

__all__ = ["asking", "outside", "simulators"]

LINK = "/v1/sessions/current/link"


@pytest.fixture
def service(asking: Service, simulators: Simulators) -> Service:
    set_up(asking, simulators.mini_program, asking.app, asking.other_app)
    return asking


def own(serial: int, proof_id: str, **changes: Any) -> dict[str, Any]:
    """A registration in a resident's own session."""
    return person(serial, verification={"method": "self-declared"}, phone_proof=proof_id) | changes


def linked(
    service: Service, outside: Controls, name: str = "a", serial: int = 1, *, api: Api | None = None
) -> Resident:
    """Somebody with a card, registered by the app, who has logged in and linked the log-in to it."""
    phone = f"1380013{8000 + serial}"
    (api or service.app).register(serial, phone=phone)
    found = by_wechat(service, outside, name, api=api)
    answer = found.post(LINK, shown(proved(service, outside, phone, api=api), serial))
    assert answer.status_code == 200, answer.text
    found.told |= told(answer)
    return found


def card(found: Resident) -> str:
    return f"/v1/cards/{found.told['card_id']}"


def test_whoever_is_not_linked_touches_no_card(service: Service, outside: Controls) -> None:
    known = service.app.register(1)["card_id"]
    found = by_wechat(service, outside)
    for answer in (found.get(f"/v1/cards/{known}"), found.post(f"/v1/cards/{known}/codes")):
        assert problem(answer) == (403, "session-not-linked")


def test_who_registers_in_a_session_is_linked(service: Service, outside: Controls) -> None:
    found = by_wechat(service, outside)
    body = own(1, proved(service, outside))
    first = found.post("/v1/cards", body, Idempotency_Key="k")
    assert first.status_code == 201, first.text
    again = found.post("/v1/cards", body, Idempotency_Key="k")
    assert (again.status_code, told(again)) == (201, told(first))
    card_id = told(first)["card_id"]
    assert told(found.get("/v1/sessions/current"))["card_id"] == card_id
    assert found.post(f"/v1/cards/{card_id}/codes").status_code == 201
    assert problem(found.post("/v1/cards", own(2, "01a20062-4168-7000-8920-fa694d6c1c52"))) == (409, "already-linked")
    again_in = by_wechat(service, outside)
    assert again_in.told["card_id"] == card_id  # the next log-in finds the link


def test_a_session_vouches_for_nobody(service: Service, outside: Controls) -> None:
    found = by_wechat(service, outside)
    vouched = own(1, proved(service, outside), verification={"method": "document-seen"})
    assert wrong(found.post("/v1/cards", vouched)) == [("/verification/method", "self-declared-only")]
    unproved = own(1, "") | {}
    del unproved["phone_proof"]
    assert wrong(found.post("/v1/cards", unproved)) == [("/phone_proof", "required")]


@pytest.mark.parametrize("registered", [PHONE, "13900139000"])
def test_registering_again_in_a_session_is_for_who_holds_the_registered_phone(
    service: Service, outside: Controls, registered: str
) -> None:
    known = service.other_app.register(1, phone=registered)["card_id"]
    found = by_wechat(service, outside)
    answer = found.post("/v1/cards", own(1, proved(service, outside)))
    if registered == PHONE:
        assert (answer.status_code, told(answer)["card_id"]) == (200, known)
        assert found.get(f"/v1/cards/{known}").status_code == 200
    else:
        assert problem(answer) == (409, "link-refused")
        assert problem(service.app.get(f"/v1/cards/{known}")) == (404, "card-not-found")


def test_a_card_is_linked_by_name_document_and_phone_together(service: Service, outside: Controls) -> None:
    known = service.other_app.register(1)["card_id"]  # registered elsewhere: this app does not see it yet
    found = by_wechat(service, outside)
    proof_id = proved(service, outside)
    answer = found.post(LINK, shown(proof_id))
    assert told(answer)["card_id"] == known
    assert found.get(f"/v1/cards/{known}").status_code == 200
    assert service.app.get(f"/v1/cards/{known}").status_code == 200
    used = by_wechat(service, outside, "b").post(LINK, shown(proof_id))
    assert problem(used) == (409, "link-refused")


def test_the_code_of_a_log_in_by_phone_links_too(service: Service, outside: Controls) -> None:
    known = service.app.register(1)["card_id"]
    proof_id, code = sent(service, outside)
    found = logged_in(service, service.app, platform="sms", proof_id=proof_id, code=code)
    assert told(found.post(LINK, shown(proof_id)))["card_id"] == known


def test_who_is_refused_learns_not_why(service: Service, outside: Controls) -> None:
    service.app.register(1)
    service.app.register(2, phone="13900139000")
    found = by_wechat(service, outside)
    answers = []
    for changes in (
        {"name": "李大明"},
        {"id_number": citizen_number(3)},
        {"id_number": citizen_number(2)},
        {"phone_proof": "01a20062-4168-7000-8920-fa694d6c1c52"},
    ):
        answers.append(found.post(LINK, shown("01a20062-4168-7000-8920-fa694d6c1c52") | changes))
    assert {problem(answer) for answer in answers} == {(409, "link-refused")}
    assert len({told(answer)["detail"] for answer in answers}) == 1


def test_an_identity_has_five_wrong_links_an_hour(service: Service, outside: Controls) -> None:
    service.app.register(1)
    found, proof_id = by_wechat(service, outside), proved(service, outside)
    for _ in range(5):
        assert problem(found.post(LINK, shown(proof_id, name="李大明"))) == (409, "link-refused")
    locked = found.post(LINK, shown(proof_id))
    assert problem(locked) == (429, "too-many-wrong-tries")
    assert 0 < int(locked.headers["Retry-After"]) <= 3601
    later(service, 3600)
    assert found.post(LINK, shown(families.proved_phone(service, service.app, PHONE))).status_code == 200


def test_a_document_has_ten_wrong_links_a_day_whoever_tries(service: Service, outside: Controls) -> None:
    service.app.register(1)
    body = shown("01a20062-4168-7000-8920-fa694d6c1c52")
    for name in ("a", "b"):
        found = by_wechat(service, outside, name)
        for _ in range(5):
            assert problem(found.post(LINK, body)) == (409, "link-refused")
    third = by_wechat(service, outside, "c", api=service.other_app)
    assert problem(third.post(LINK, body)) == (429, "too-many-wrong-tries")


def test_two_links_at_once_with_one_proof_are_one(service: Service, outside: Controls) -> None:
    service.app.register(1)
    first, second = by_wechat(service, outside, "a"), by_wechat(service, outside, "b")
    body = shown(proved(service, outside))
    answers = at_once(lambda: first.post(LINK, body).status_code, lambda: second.post(LINK, body).status_code)
    assert sorted(answers) == [200, 409]


def test_a_resident_reaches_nobody_else(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    stranger = service.app.register(2)["card_id"]
    for method, path in [
        ("GET", ""),
        ("POST", "/codes"),
        ("POST", "/suspend"),
        ("GET", "/verifications"),
        ("GET", "/access-log"),
        ("GET", "/bindings"),
        ("POST", "/export"),
        ("GET", "/bindings/bank-accounts"),
        ("GET", "/family"),
    ]:
        body = {"reason": "测试"} if path == "/suspend" else {}
        answer = mine.call(method, f"/v1/cards/{stranger}{path}", body if method == "POST" else None)
        assert problem(answer) == (404, "card-not-found"), path
    # the same person's card, where this app has no grant for it
    with service.session() as session:
        session.execute(
            text("DELETE FROM card_grant WHERE card_serial = (SELECT serial FROM card WHERE id = :id)"),
            {"id": mine.told["card_id"]},
        )
    assert problem(mine.get(card(mine))) == (404, "card-not-found")


def test_a_resident_does_what_a_holder_does(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    assert mine.get(card(mine)).status_code == 200
    assert mine.post(f"{card(mine)}/codes").status_code == 201
    assert mine.post(f"{card(mine)}/suspend", {"reason": "手机丢了"}).status_code == 200
    assert mine.post(f"{card(mine)}/resume", {"reason": "找到了"}).status_code == 200
    acts = [item for item in told(mine.get(f"{card(mine)}/access-log"))["items"] if item["kind"] == "resident.linked"]
    assert [item["who"]["type"] for item in acts] == ["app"]


def test_what_apps_vouch_for_a_session_does_not(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    version = mine.get(card(mine)).headers["ETag"]
    identity = {"name": "王小亮", "verification": {"method": "document-seen"}}
    refused = [
        mine.call("PATCH", card(mine), identity, If_Match=version),
        mine.post(f"{card(mine)}/family", {}),
        mine.post(f"{card(mine)}/documents", {}),
        mine.post("/v1/temporary-cards", {}),
        mine.post("/v1/sessions", {"platform": "wechat", "code": "a"}),
        mine.get("/v1/webhooks"),
        mine.get("/v1/institutions"),
    ]
    assert {problem(answer) for answer in refused} == {(403, "app-token-needed")}
    mine.post(f"{card(mine)}/report-loss", {"reason": "手机丢了"})
    proof = shown("", 1) | {"verification": {"method": "document-seen"}}
    del proof["phone_proof"]
    lost = mine.post(f"{card(mine)}/resume", {"reason": "找到了", "proof": proof})
    assert problem(lost) == (403, "app-token-needed")


def test_an_apps_own_token_is_not_a_session(service: Service) -> None:
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/link"), ("DELETE", "/link")]:
        answer = service.app.http.open(
            f"/v1/sessions/current{path}", method=method, headers=service.app.headers, json={}
        )
        assert problem(answer) == (403, "resident-token-needed")


def test_a_guardian_reaches_the_familys_cards_and_no_further(service: Service, outside: Controls) -> None:
    mine, other = linked(service, outside), linked(service, outside, "b", 2)
    added = families.add(service.app, mine.told["card_id"], families.wanted(9))
    child = f"/v1/cards/{added['card']['card_id']}"
    assert mine.get(child).status_code == 200
    assert mine.post(f"{child}/codes").status_code == 201
    assert mine.post(f"{child}/suspend", {"reason": "测试"}).status_code == 200
    assert mine.post(f"{child}/resume", {"reason": "测试"}).status_code == 200
    for path in ("/family", "/consents", "/corrections"):  # the holder's own
        assert problem(mine.get(f"{child}{path}")) == (404, "card-not-found")
    assert problem(other.get(child)) == (404, "card-not-found")
    ended = mine.post(f"{card(mine)}/family/{added['link_id']}/end", {"reason": "测试"})
    assert ended.status_code == 200, ended.text
    assert problem(mine.get(child)) == (404, "card-not-found")


def test_a_guardian_does_not_change_a_card_that_the_member_uses_in_the_same_app(
    service: Service, outside: Controls
) -> None:
    mine = linked(service, outside)
    added = families.add(service.app, mine.told["card_id"], families.wanted(9))
    child = f"/v1/cards/{added['card']['card_id']}"
    born = person(9, name="王小宝", id_number=citizen_number(9, born=families.CHILD_BORN))
    assert service.app.post("/v1/cards", born).status_code == 200  # an own registration, whose grant outweighs
    assert mine.get(child).status_code == 200
    assert problem(mine.post(f"{child}/suspend", {"reason": "测试"})) == (404, "card-not-found")


def test_a_suspended_app_ends_its_sessions_and_they_do_not_come_back(service: Service, outside: Controls) -> None:
    mine, other = linked(service, outside), by_wechat(service, outside, api=service.other_app)
    by = apps.By("operator:1")
    with service.session() as session:
        app_id = clients.named(session, service.app.credentials.client_id).id
        apps.move(session, app_id, SUSPEND, by=by, now=service.clock.now())
    assert problem(mine.get("/v1/sessions/current")) == (401, "token-invalid")
    with service.session() as session:
        apps.move(session, app_id, RESUME, by=by, now=service.clock.now())
    assert problem(mine.get("/v1/sessions/current")) == (401, "token-invalid")
    assert other.get("/v1/sessions/current").status_code == 200
    again = by_wechat(service, outside)
    assert again.told["card_id"] == mine.told["card_id"]  # the link outlives the sessions


def test_a_cancelled_card_ends_the_sessions_that_lead_to_it(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    assert mine.post(f"{card(mine)}/cancel", {"reason": "测试"}).status_code == 200
    assert problem(mine.get("/v1/sessions/current")) == (401, "token-invalid")
    service.app.register(1, phone="13800138001")  # the card comes back, and the sessions do not
    assert problem(mine.get("/v1/sessions/current")) == (401, "token-invalid")
    assert by_wechat(service, outside).told["linked"] is False


def test_closing_an_account_forgets_as_whom_platforms_know_the_person(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    later(service, 61)
    proof_id = proved(service, outside, "13800138001")
    closed = mine.post(f"{card(mine)}/close", {"reason": "不用了", "phone_proof": proof_id})
    assert closed.status_code == 200, closed.text
    with service.session() as session:
        for table in ("platform_identity", "resident_session"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    assert problem(mine.get("/v1/sessions/current")) == (401, "token-invalid")


def test_a_link_hangs_on_the_registered_phone(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    version = mine.get(card(mine)).headers["ETag"]
    changed = service.app.http.patch(
        card(mine), json={"phone": "13700137000"}, headers=service.app.headers | {"If-Match": version}
    )
    assert changed.status_code == 200, changed.text
    assert problem(mine.get(card(mine))) == (403, "session-not-linked")
    assert told(mine.get("/v1/sessions/current"))["linked"] is False
    assert mine.post(LINK, shown(proved(service, outside, "13700137000"))).status_code == 200
    assert mine.get(card(mine)).status_code == 200


def test_who_proves_another_phone_in_their_own_session_stays_linked(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    version = mine.get(card(mine)).headers["ETag"]
    wanted = {"phone": "13700137000", "phone_proof": proved(service, outside, "13700137000")}
    assert mine.call("PATCH", card(mine), wanted, If_Match=version).status_code == 200
    assert mine.get(card(mine)).status_code == 200


def test_a_link_by_phone_alone_that_was_not_used_for_sixty_days_is_over(service: Service, outside: Controls) -> None:
    service.app.register(1)
    proof_id, code = sent(service, outside)
    first = logged_in(service, service.app, platform="sms", proof_id=proof_id, code=code)
    assert first.post(LINK, shown(proof_id)).status_code == 200
    for days, still in [(59, True), (60, False)]:
        with service.session() as session:  # the gateway takes no message of another day: the past moves instead
            session.execute(text("UPDATE phone_proof SET sent_at = sent_at - interval '2 minutes'"))
            session.execute(
                text("UPDATE platform_identity SET seen_at = :at"), {"at": service.clock.now() - timedelta(days=days)}
            )
        proof_id, code = sent(service, outside)
        again = logged_in(service, service.app, platform="sms", proof_id=proof_id, code=code)
        assert again.told["linked"] is still


def test_ending_a_link_leaves_a_session_that_touches_nothing(service: Service, outside: Controls) -> None:
    mine = linked(service, outside)
    elsewhere = by_wechat(service, outside)
    assert mine.call("DELETE", LINK).status_code == 204
    assert mine.call("DELETE", LINK).status_code == 204
    assert told(mine.get("/v1/sessions/current"))["linked"] is False
    assert problem(elsewhere.get("/v1/sessions/current")) == (401, "token-invalid")


def test_the_same_key_of_two_residents_is_two_requests(service: Service, outside: Controls) -> None:
    mine, other = linked(service, outside), linked(service, outside, "b", 2)
    first = mine.post(f"{card(mine)}/codes", {}, Idempotency_Key="k")
    assert first.status_code == 201
    taken = other.post(f"{card(other)}/codes", {}, Idempotency_Key="k")
    assert problem(taken) == (422, "idempotency-key-reused")
