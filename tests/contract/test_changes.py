"""Changing an account over HTTP: plain facts, the identity, linked documents."""

from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.contract.helpers import at_once, elsewhere, problem, row_counts, secrets_of, serial_of, wrong
from tests.support.service import Api, Service, citizen_number, person
from tests.support.service import told as answered

SEEN = {"method": "document-seen", "reference": "窗口 3"}


def patch(api: Api, card_id: str, body: Any, tag: str | None = "*") -> TestResponse:
    headers = api.headers | ({"If-Match": tag} if tag is not None else {})
    return api.http.patch(f"/v1/cards/{card_id}", json=body, headers=headers)


def tag_of(api: Api, card_id: str) -> str:
    return str(api.get(f"/v1/cards/{card_id}").headers["ETag"])


def events_of(service: Service, card_id: str) -> list[Any]:
    with service.session() as session:
        wanted = text("SELECT action, changed FROM card_event WHERE card_serial = :serial ORDER BY at, id")
        return [tuple(row) for row in session.execute(wanted, {"serial": serial_of(service, card_id)})]


def test_plain_facts_change_at_once(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    body = {"phone": "+86 139-0013-9000", "address": "新街 1 号", "employer": "一厂", "nation": "藏族", "sex": "female"}
    answer = patch(shared.app, card_id, body, tag_of(shared.app, card_id))
    assert answer.status_code == 200
    resident = answered(answer)["resident"]
    assert (resident["phone"], resident["sex"], answer.headers["ETag"]) == ("139****9000", "2", '"2"')
    assert ("changed", ["phone", "address", "employer", "ethnicity", "sex"]) in events_of(shared, card_id)
    with shared.session() as session:
        row = session.execute(
            text(
                "SELECT phone_index, employer FROM resident JOIN card ON resident.id = resident_id WHERE card.id = :id"
            ),
            {"id": card_id},
        ).one()
    assert row.phone_index == secrets_of(shared).blind_index.of("phone", "13900139000")
    assert "一厂".encode() not in row.employer


def test_nothing_is_written_where_nothing_differs(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    before = row_counts(shared)
    answer = patch(shared.app, card_id, {"phone": newcomer["phone"]})
    assert (answer.status_code, answer.headers["ETag"]) == (200, '"1"')
    assert row_counts(shared) == before


def test_an_address_can_be_forgotten(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer, address="旧街")["card_id"]
    assert patch(shared.app, card_id, {"address": None}).status_code == 200
    with shared.session() as session:
        wanted = text("SELECT address FROM resident JOIN card ON resident.id = resident_id WHERE card.id = :id")
        assert session.scalar(wanted, {"id": card_id}) is None


def test_a_change_needs_the_version_that_was_read(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    body = {"employer": "一厂"}
    assert problem(patch(shared.app, card_id, body, None)) == (428, "precondition-required")
    assert problem(patch(shared.app, card_id, body, '"0"')) == (412, "precondition-failed")
    assert problem(patch(shared.app, card_id, body, '"2"')) == (412, "precondition-failed")
    assert patch(shared.app, card_id, body, '"1"').status_code == 200
    assert problem(patch(shared.app, card_id, {"employer": "二厂"}, '"1"')) == (412, "precondition-failed")


def test_of_ten_changes_of_one_version_one_is_made(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]

    def changer(number: int) -> Any:
        own = elsewhere(service.app, service.flask)
        return lambda: patch(own, card_id, {"employer": f"{number} 厂"}, '"1"').status_code

    statuses = at_once(*(changer(number) for number in range(10)))
    assert sorted(set(statuses)) in ([200, 412], [200, 409, 412], [200, 409])
    assert statuses.count(200) == 1


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"phone": "1234567"}, [("/phone", "phone-form")]),
        ({"phone": None}, [("/phone", "null")]),
        ({"address": ""}, [("/address", "length")]),
        ({"employer": "厂" * 129}, [("/employer", "length")]),
        ({"nation": "火星族"}, [("/nation", "choice")]),
        ({"static_codes": "yes"}, [("/static_codes", "type")]),
        ({"name": "王大明"}, [("/verification", "required")]),
        ({"id_number": "1"}, [("/verification", "required")]),
        (
            {"name": "!", "id_number": "1", "verification": SEEN},
            [("/name", "name-character"), ("/id_number", "id-number-length")],
        ),
        ({"status": "active"}, [("/status", "unknown-member")]),
        ({"phone_proof": "x"}, [("/phone_proof", "type")]),
        ({"phone_proof": "01a20062-4168-7000-8920-fa694d6c1c52"}, [("/phone_proof", "phone-proof")]),
    ],
)
def test_a_wrong_change_is_refused(shared: Service, newcomer: dict[str, Any], body: Any, errors: Any) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    before = row_counts(shared)
    assert sorted(wrong(patch(shared.app, card_id, body))) == sorted(errors)
    assert row_counts(shared) == before


def test_somebody_elses_card_cannot_be_changed(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    for body in ({"employer": "厂"}, {"name": "王大明", "verification": SEEN}):
        assert problem(patch(shared.other_app, card_id, body)) == (404, "card-not-found")


def test_a_new_name_gives_new_ids_and_keeps_the_card(shared: Service, newcomer: dict[str, Any]) -> None:
    before = shared.app.register(**newcomer)
    card_id = before["card_id"]
    assert shared.terminal.scan(shared.app.code(card_id))["outcome"] == "accepted"
    answer = patch(shared.app, card_id, {"name": "王大明", "verification": SEEN})
    after = answered(answer)
    assert (after["card_id"], after["status"]) == (card_id, "active")
    assert after["ehc_id"] != before["ehc_id"]
    assert after["index_id"] != before["index_id"]
    assert ("identity-changed", ["name"]) in events_of(shared, card_id)
    history = answered(shared.app.get(f"/v1/cards/{card_id}/verifications"))["items"]
    assert [entry["outcome"] for entry in history] == ["accepted"]
    assert shared.app.register(**newcomer | {"name": "王大明"})["card_id"] == card_id
    assert problem(shared.app.post("/v1/cards", newcomer)) == (409, "identity-mismatch")


@pytest.mark.parametrize("method", ["self-declared"])
def test_an_identity_changes_only_with_a_document_that_was_seen(
    shared: Service, newcomer: dict[str, Any], method: str
) -> None:
    card = shared.app.register(**newcomer)
    body = {"name": "王大明", "verification": {"method": method}}
    assert problem(patch(shared.app, card["card_id"], body)) == (409, "identity-not-confirmed")
    assert answered(shared.app.get(f"/v1/cards/{card['card_id']}"))["ehc_id"] == card["ehc_id"]


def test_a_renewed_number_still_leads_to_its_person(service: Service) -> None:
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678", "birth_date": "1990-03-07"}
    card_id = service.app.register(**passport)["card_id"]
    body = {"id_number": "E87654321", "verification": SEEN}
    assert patch(service.app, card_id, body).status_code == 200
    for number in ("E12345678", "E87654321"):
        assert service.other_app.register(**passport | {"id_number": number})["card_id"] == card_id


def test_a_corrected_number_is_free_for_its_owner(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    body = {"id_number": citizen_number(2), "replaced": "corrected", "verification": SEEN}
    assert patch(service.app, card_id, body).status_code == 200
    owner = service.other_app.register(1, name="李四")
    assert owner["card_id"] != card_id
    assert service.app.register(2)["card_id"] == card_id


def test_an_old_name_that_comes_back_brings_its_ids_back(service: Service) -> None:
    before = service.app.register(1)
    patch(service.app, before["card_id"], {"name": "王大明", "verification": SEEN})
    after = answered(patch(service.app, before["card_id"], {"name": before_name(), "verification": SEEN}))
    assert (after["ehc_id"], after["card_id"]) == (before["ehc_id"], before["card_id"])
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM card_alias")) == 2


def before_name() -> str:
    return str(person(1)["name"])


def test_a_number_of_somebody_else_is_refused(service: Service) -> None:
    first, second = service.app.register(1), service.app.register(2)
    body = {"id_number": citizen_number(2), "verification": SEEN}
    assert problem(patch(service.app, first["card_id"], body)) == (409, "document-in-use")
    assert answered(service.app.get(f"/v1/cards/{second['card_id']}"))["status"] == "active"


def test_of_two_people_who_take_one_number_one_gets_it(service: Service) -> None:
    for n in range(10):
        cards = [service.app.register(100 + 3 * n)["card_id"], service.app.register(101 + 3 * n)["card_id"]]
        body = {"id_number": citizen_number(102 + 3 * n), "verification": SEEN}

        def changer(card_id: str, wanted: dict[str, Any] = body) -> Any:
            own = elsewhere(service.app, service.flask)
            return lambda: patch(own, card_id, wanted).status_code

        assert sorted(at_once(*(changer(card_id) for card_id in cards))) == [200, 409]


def test_a_linked_document_leads_to_the_same_card(service: Service) -> None:
    card = service.app.register(1)
    passport = {"name": "WANG XIAOMING", "id_type": "03", "id_number": "E12345678", "verification": SEEN}
    answer = service.app.post(f"/v1/cards/{card['card_id']}/documents", passport)
    assert (answer.status_code, answered(answer)["ehc_id"]) == (200, card["ehc_id"])
    again = service.app.post(f"/v1/cards/{card['card_id']}/documents", passport)
    assert again.headers["ETag"] == answer.headers["ETag"]


def test_the_card_of_a_linked_document_is_joined(service: Service) -> None:
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678", "birth_date": "1990-03-07"}
    other = service.other_app.register(**passport)["card_id"]
    assert service.terminal.scan(service.other_app.code(other))["outcome"] == "accepted"
    card = service.app.register(1)["card_id"]
    body = {name: person()[name] for name in ("name",)} | passport | {"verification": SEEN}
    body.pop("birth_date")
    assert service.app.post(f"/v1/cards/{card}/documents", body).status_code == 200
    gone = answered(service.other_app.get(f"/v1/cards/{other}"))
    assert (gone["status"], gone["cause"]) == ("cancelled", "joined")
    assert service.other_app.register(**passport)["card_id"] == card
    history = answered(service.app.get(f"/v1/cards/{card}/verifications"))["items"]
    assert [entry["outcome"] for entry in history] == ["accepted"]


def test_another_name_is_not_joined(service: Service) -> None:
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
    other = service.other_app.register(**passport, name="李四")["card_id"]
    card = service.app.register(1)["card_id"]
    body = {"name": person()["name"], **passport, "verification": SEEN}
    assert problem(service.app.post(f"/v1/cards/{card}/documents", body)) == (409, "identity-mismatch")
    assert answered(service.other_app.get(f"/v1/cards/{other}"))["status"] == "active"


def test_a_further_application_fills_what_is_missing_and_replaces_nothing(service: Service) -> None:
    card_id = service.app.register(1, address="旧街")["card_id"]
    again = service.other_app.register(1, phone="13900139000", address="新街", employer="一厂")
    assert again["resident"]["phone"] == "138****8000"
    assert ("changed", ["employer"]) in events_of(service, card_id)
    service.clock.advance(1)
    assert service.app.post(f"/v1/cards/{card_id}/close", {"reason": "搬走了"}).status_code == 200
    assert service.app.register(1, phone="13900139000")["resident"]["phone"] == "139****9000"
