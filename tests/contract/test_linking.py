"""Linking a document: whose it may be, what becomes of a card that it had, and under which name it leads to the holder."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.issuer import lifecycle, retention
from ehc.outside.signed_http import PartyKey
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import problem, row_counts, secrets_of
from tests.contract.rights import agree, listed, proved, withdraw
from tests.support.service import Api, Service, citizen_number, person
from tests.support.service import told as answered

SEEN = {"method": "document-seen"}
CLERK = {"method": "clerk", "clerk": {"name": "李办事", "number": "0713"}}
PASSPORT: dict[str, Any] = {"name": "WANG XIAOMING", "id_type": "03", "id_number": "E12345678"}
BORN: dict[str, Any] = {"birth_date": "1990-03-07"}  # as in citizen_number
SHARING = "institution-sharing"
MISMATCH = (409, "identity-mismatch")


@pytest.fixture
def asking(start: ServiceMaker, tmp_path: Path) -> Service:
    """A service that sends messages, so that it asks for proofs of phones."""
    PartyKey.make_file(tmp_path / "sms.key", "gateway")
    return start(sms_url="http://127.0.0.1:9", sms_key_file=tmp_path / "sms.key")


def link(api: Api, card_id: str, document: dict[str, Any], **headers: str) -> Any:
    wanted = {name: document[name] for name in ("name", "id_type", "id_number", "phone_proof") if name in document}
    proof = {"verification": document.get("verification", SEEN)}
    return api.post(f"/v1/cards/{card_id}/documents", wanted | proof, **headers)


def state(api: Api, card_id: str) -> tuple[str, str | None]:
    told = answered(api.get(f"/v1/cards/{card_id}"))
    return told["status"], told.get("cause")


def move(api: Api, card_id: str, how: str) -> None:
    assert api.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"}).status_code == 200


def test_somebody_else_s_citizen_id_is_not_linked_and_her_card_lives_on(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    her: dict[str, Any] = {"name": "李秀英", "id_type": "01", "id_number": citizen_number(2, born="19400501")}
    hers = service.other_app.register(**her)["card_id"]
    before = row_counts(service)
    assert problem(link(service.app, card_id, her)) == MISMATCH
    assert row_counts(service) == before
    assert state(service.other_app, hers) == ("active", None)
    assert service.other_app.register(**her)["card_id"] == hers


@pytest.mark.parametrize("number", [citizen_number(2), citizen_number(2, born="19400501")])
def test_a_second_citizen_id_is_not_linked(service: Service, number: str) -> None:
    """Nor with the same name and birth date: a number that changed is a change."""
    card_id = service.app.register(1)["card_id"]
    assert problem(link(service.app, card_id, {"name": "王小明", "id_type": "01", "id_number": number})) == MISMATCH


def test_nor_is_a_passport_whose_holder_has_another_citizen_id(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    other = service.app.register(2)["card_id"]
    assert link(service.app, other, PASSPORT).status_code == 200
    assert problem(link(service.app, card_id, PASSPORT)) == MISMATCH
    assert state(service.app, other) == ("active", None)


def test_a_citizen_id_is_linked_to_a_passport_s_card_of_the_same_birth_date_and_sex(service: Service) -> None:
    card_id = service.app.register(**PASSPORT, **BORN, sex="male")["card_id"]
    for number in (citizen_number(1, born="19900308"), citizen_number(2)):  # another day; a woman
        assert problem(link(service.app, card_id, {"name": "王小明", "id_type": "01", "id_number": number})) == MISMATCH
    mine: dict[str, Any] = {"name": "王小明", "id_type": "01", "id_number": citizen_number(1)}
    assert link(service.app, card_id, mine).status_code == 200
    assert service.app.register(**mine)["card_id"] == card_id


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        (BORN, 200),
        (BORN | {"sex": "male"}, 200),
        (BORN | {"sex": "female"}, 409),
        ({"birth_date": "1940-05-01"}, 409),
        ({}, 409),  # neither name nor birth date says that the two are one
        ({"name": "王小明"}, 200),
        ({"name": "王小明", "birth_date": "1990-03-08"}, 409),
    ],
)
def test_another_record_is_taken_over_only_if_it_is_like_the_holder(
    service: Service, facts: dict[str, Any], status: int
) -> None:
    card_id = service.app.register(1)["card_id"]
    other = service.app.register(**PASSPORT | facts)["card_id"]
    assert link(service.app, card_id, PASSPORT | facts).status_code == status
    assert state(service.app, other) == (("cancelled", "joined") if status == 200 else ("active", None))


@pytest.mark.parametrize("how", ["suspend", "report-loss", "pending"])
def test_no_card_is_joined_into_one_that_is_not_active(service: Service, how: str) -> None:
    known = PASSPORT | BORN
    other = service.app.register(**known)["card_id"]
    if how == "pending":
        card_id = service.app.register(1)["card_id"]
        with service.session() as session:
            session.execute(text("UPDATE card SET status = 'pending-review' WHERE id = :id"), {"id": card_id})
    else:
        card_id = service.app.register(1)["card_id"]
        move(service.app, card_id, how)
    assert problem(link(service.app, card_id, known)) == (409, "card-state")
    assert problem(link(service.app, card_id, known | {"id_number": "E7654321"})) == (409, "card-state")
    assert state(service.app, other) == ("active", None)


def test_a_temporary_card_is_not_joined_into_one_that_is_not_active(service: Service) -> None:
    arrival = {"name": "unknown", "sex": "male", "visit_at": service.clock.now().isoformat()}
    temporary = answered(service.app.post("/v1/temporary-cards", arrival))["card_id"]
    card_id = service.app.register(1)["card_id"]
    body = {"card_id": card_id, "reason": "r"}
    move(service.app, card_id, "suspend")
    assert problem(service.app.post(f"/v1/temporary-cards/{temporary}/join", body)) == (409, "card-state")
    assert state(service.app, temporary) == ("active", None)
    move(service.app, card_id, "resume")
    assert service.app.post(f"/v1/temporary-cards/{temporary}/join", body).status_code == 200


def test_a_lost_card_is_joined_only_with_the_proof_that_would_give_it_back(service: Service) -> None:
    known = PASSPORT | BORN
    other = service.app.register(**known, verification=CLERK)["card_id"]
    move(service.app, other, "report-loss")
    card_id = service.app.register(1)["card_id"]
    assert problem(link(service.app, card_id, known)) == (409, "identity-not-confirmed")
    assert state(service.app, other) == ("lost", None)
    assert link(service.app, card_id, known | {"verification": CLERK}).status_code == 200


def test_a_card_that_another_app_uses_is_joined_with_the_proof_of_its_phone(asking: Service) -> None:
    known = PASSPORT | BORN | {"phone": "13900139000"}
    other = asking.other_app.register(**known)["card_id"]
    card_id = asking.app.register(1)["card_id"]
    assert problem(link(asking.app, card_id, known)) == (409, "phone-proof-required")
    wrong = {"phone_proof": proved(asking, asking.app)}
    assert link(asking.app, card_id, known | wrong).status_code == 422
    assert state(asking.other_app, other) == ("active", None)
    right = {"phone_proof": proved(asking, asking.app, "13900139000")}
    assert link(asking.app, card_id, known | right).status_code == 200
    assert state(asking.other_app, other) == ("cancelled", "joined")


def test_a_card_that_only_this_app_uses_needs_none(asking: Service) -> None:
    known = PASSPORT | BORN
    asking.app.register(**known)
    assert link(asking.app, asking.app.register(1)["card_id"], known).status_code == 200


def test_linking_heeds_the_version_that_is_sent(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    assert problem(link(service.app, card_id, PASSPORT, If_Match='"2"')) == (412, "precondition-failed")
    assert link(service.app, card_id, PASSPORT, If_Match='"1"').status_code == 200


def test_a_linked_document_leads_to_the_card_under_the_name_in_it(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    assert link(service.app, card_id, PASSPORT).status_code == 200
    assert service.other_app.register(**PASSPORT)["card_id"] == card_id
    assert service.app.register(1)["card_id"] == card_id
    for name in ("王小明", "LI SI"):
        assert problem(service.app.post("/v1/cards", person(1, **PASSPORT | {"name": name}))) == MISMATCH
        assert problem(link(service.app, card_id, PASSPORT | {"name": name})) == MISMATCH
    assert link(service.app, card_id, PASSPORT).status_code == 200


def test_so_it_does_after_its_card_was_joined(service: Service) -> None:
    service.app.register(**PASSPORT, **BORN)
    card_id = service.app.register(1)["card_id"]
    link(service.app, card_id, PASSPORT)
    assert service.app.register(**PASSPORT)["card_id"] == service.app.register(1)["card_id"] == card_id


def test_a_lost_card_is_resumed_with_a_linked_document(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    link(service.app, card_id, PASSPORT)
    move(service.app, card_id, "report-loss")
    body = {"reason": "r", "proof": PASSPORT | {"name": "王小明", "verification": SEEN}}
    assert problem(service.app.post(f"/v1/cards/{card_id}/resume", body)) == MISMATCH
    body["proof"] = PASSPORT | {"verification": SEEN}
    assert service.app.post(f"/v1/cards/{card_id}/resume", body).status_code == 200


def test_the_card_goes_over_to_a_linked_document_and_back(service: Service) -> None:
    card = service.app.register(1)
    card_id = card["card_id"]
    link(service.app, card_id, PASSPORT)
    citizen = {"name": "王小明", "id_type": "01", "id_number": citizen_number(1)}
    for there in (PASSPORT, citizen):
        headers = service.app.headers | {"If-Match": "*"}
        answer = service.app.http.patch(f"/v1/cards/{card_id}", json=there | {"verification": SEEN}, headers=headers)
        assert answer.status_code == 200, answer.text
        for document in (PASSPORT, citizen):
            assert service.app.register(**document)["card_id"] == card_id
    assert answered(answer)["ehc_id"] == card["ehc_id"]


def test_the_name_in_a_document_is_sealed_exported_and_erased(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    link(service.app, card_id, PASSPORT)
    told = answered(service.app.post(f"/v1/cards/{card_id}/export", {}))
    assert [document["name"] for document in told["documents"]] == [None, "WANG XIAOMING"]
    names = text("SELECT name FROM identity_document WHERE name IS NOT NULL")
    with service.session() as session:
        (sealed,) = session.scalars(names).all()
        assert b"WANG" not in sealed
    service.app.post(f"/v1/cards/{card_id}/close", {"reason": "r"})
    service.clock.advance(86400 * (service.settings.keep_days + 2))
    with service.session() as session:
        assert retention.erase(session, secrets=secrets_of(service), now=service.clock.now()) == 1
        assert session.scalars(names).all() == []


@pytest.mark.parametrize("withdrawn_on", ["other", "mine"])
def test_sharing_that_was_withdrawn_stays_so_when_two_cards_are_joined(service: Service, withdrawn_on: str) -> None:
    other = service.app.register(**PASSPORT, **BORN)["card_id"]
    card_id = service.app.register(1)["card_id"]
    for one in (other, card_id):
        consent = agree(service.app, one, SHARING)["consent_id"]
        if (one == other) is (withdrawn_on == "other"):
            service.clock.advance(1)
            withdraw(service.app, one, consent)
    assert link(service.app, card_id, PASSPORT).status_code == 200
    assert service.terminal.scan(service.app.code(card_id))["resident"] is None
    consents = listed(service.app, f"/v1/cards/{card_id}/consents")["items"]
    assert len(consents) == 2
    assert None not in {item["ended_at"] for item in consents}
    service.clock.advance(1)
    agree(service.app, card_id, SHARING)
    assert service.terminal.scan(service.app.code(card_id))["resident"] is not None


def test_the_consents_of_a_joined_card_are_listed_and_can_be_withdrawn(service: Service) -> None:
    other = service.other_app.register(**PASSPORT, **BORN)["card_id"]
    consent = agree(service.other_app, other, SHARING)["consent_id"]
    card_id = service.app.register(1)["card_id"]
    assert link(service.app, card_id, PASSPORT).status_code == 200
    (entry,) = listed(service.app, f"/v1/cards/{card_id}/consents")["items"]
    assert (entry["consent_id"], entry["ended_at"]) == (consent, None)
    assert service.terminal.scan(service.app.code(card_id))["resident"] is not None
    assert withdraw(service.app, card_id, consent).status_code == 200
    assert service.terminal.scan(service.app.code(card_id))["resident"] is None


def test_of_two_consents_through_one_app_the_later_counts(service: Service) -> None:
    other = service.app.register(**PASSPORT, **BORN)["card_id"]
    card_id = service.app.register(1)["card_id"]
    early = agree(service.app, card_id, SHARING)["consent_id"]
    service.clock.advance(1)
    late = agree(service.app, other, SHARING, "v2")["consent_id"]
    assert link(service.app, card_id, PASSPORT).status_code == 200
    ended = {
        item["consent_id"]: item["ended_at"] for item in listed(service.app, f"/v1/cards/{card_id}/consents")["items"]
    }
    assert ended[late] is None
    assert ended[early] is not None


@pytest.mark.parametrize(("how", "told"), [("cancel", False), ("close", True)])
def test_a_withdrawal_on_a_card_that_was_cancelled_counts_too(service: Service, how: str, told: bool) -> None:
    """Closing ends every consent, which is no word about sharing under another card."""
    other = service.app.register(**PASSPORT, **BORN)["card_id"]
    consent = agree(service.app, other, SHARING)["consent_id"]
    if how == "cancel":
        withdraw(service.app, other, consent)
    move(service.app, other, how)
    card_id = service.app.register(1)["card_id"]
    assert link(service.app, card_id, PASSPORT).status_code == 200
    assert (service.terminal.scan(service.app.code(card_id))["resident"] is not None) is told
    assert len(listed(service.app, f"/v1/cards/{card_id}/consents")["items"]) == 1


def test_what_staff_stopped_is_not_joined_by_the_holder(service: Service) -> None:
    other = service.app.register(**PASSPORT, **BORN)["card_id"]
    with service.session() as session:
        card = cards.by_id(session, UUID(other))
        staff = Acting("staff:1", Party.STAFF)
        secrets = secrets_of(service)
        lifecycle.apply(session, card, states.SUSPEND, acting=staff, secrets=secrets, now=service.clock.now())
    card_id = service.app.register(1)["card_id"]
    assert problem(link(service.app, card_id, PASSPORT)) == (409, "held-by-staff")
