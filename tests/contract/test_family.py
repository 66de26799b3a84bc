"""Families: who is added, what the apps and the checks then see, and how it ends."""

from typing import Any

import pytest
from sqlalchemy import text

from ehc.cards import events
from ehc.cards.models import CardRow
from tests.contract.helpers import problem, row_counts, secrets_of
from tests.support.families import add, end, family, member, post, proved_phone, seen, wanted
from tests.support.service import Api, Service, citizen_number, person
from tests.support.service import told as answered


@pytest.fixture
def guardian(service: Service) -> str:
    """The card of 王小明, who is an adult."""
    return str(service.app.register(1)["card_id"])


def card_of(api: Api, card_id: str) -> dict[str, Any]:
    answer = api.get(f"/v1/cards/{card_id}")
    assert answer.status_code == 200, answer.text
    return answered(answer)


def acts(service: Service, card_id: str) -> list[str]:
    """What the audit log says was done to a card."""
    rows = text("SELECT action FROM audit WHERE subject = :id ORDER BY seq")
    with service.session() as session:
        return [
            action
            for action in session.scalars(rows, {"id": card_id})
            if action.startswith(("card.family-added", "card.family-ended"))
        ]


def history(service: Service, card_id: str) -> list[events.Event]:
    with service.session() as session:
        serial = session.query(CardRow.serial).filter(CardRow.id == card_id).scalar()
        return events.of_cards(session, [serial], sealer=secrets_of(service).sealer)


def test_a_child_without_a_card_is_registered_in_the_same_step(service: Service, guardian: str) -> None:
    answer = post(service.app, guardian, wanted())
    told = answered(answer)
    assert answer.status_code == 201
    assert told["card"] == card_of(service.app, told["card"]["card_id"])
    assert told["card"]["status"] == "active"
    assert told["card"]["acted_for"] == {"relation": "2"}
    assert told["card"]["resident"]["phone"] is None
    assert (told["relation"], told["until"]) == ("2", "2038-05-31T16:00:00.000Z")  # midnight in China
    assert seen(service.app, told["card"]["card_id"]) == (200, 201)
    assert seen(service.other_app, told["card"]["card_id"]) == (404, 404)


@pytest.mark.parametrize(("typed", "code"), [("2", "2"), ("子", "2"), ("son", "2"), ("8", "8"), ("父母", "5")])
def test_a_relation_has_a_code_and_names(service: Service, guardian: str, typed: str, code: str) -> None:
    assert add(service.app, guardian, wanted(relation=typed))["relation"] == code


def test_a_check_says_who_acts_for_the_holder_until_they_do_not(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    checked = service.terminal.scan(service.app.code(card_id))
    assert checked["card"]["acted_for"] == {"relation": "2", "guardian": "王**"}
    service.other_app.register(**member())
    assert end(service.app, guardian, told["link_id"]).status_code == 200
    assert "acted_for" not in service.terminal.scan(service.other_app.code(card_id))["card"]
    assert card_of(service.other_app, card_id)["acted_for"] is None


def test_the_same_member_again_is_the_same_link(service: Service, guardian: str) -> None:
    first = add(service.app, guardian, wanted())
    before = row_counts(service)
    assert add(service.app, guardian, wanted(relation="8"), status=200) == first
    assert row_counts(service) == before


def test_the_same_request_again_is_answered_from_the_first(service: Service, guardian: str) -> None:
    first = post(service.app, guardian, wanted(), Idempotency_Key="k1")
    again = post(service.app, guardian, wanted(), Idempotency_Key="k1")
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(family(service.app, guardian)["items"]) == 1


def test_another_app_of_the_guardian_gains_access_by_asking_too(service: Service, guardian: str) -> None:
    card_id = add(service.app, guardian, wanted())["card"]["card_id"]
    service.other_app.register(1)
    assert seen(service.other_app, card_id) == (404, 404)
    add(service.other_app, guardian, wanted(), status=200)
    assert seen(service.other_app, card_id) == (200, 201)


def test_a_family_is_read_from_both_ends_with_names_masked(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    link = {"link_id": told["link_id"], "relation": "2", "until": told["until"], "name": "王**"}
    card_id = told["card"]["card_id"]
    assert family(service.app, guardian) == {
        "items": [{**link, "card_id": card_id, "status": "active"}],
        "acted_for_by": [],
    }
    assert family(service.app, card_id) == {"items": [], "acted_for_by": [link]}
    assert problem(service.other_app.get(f"/v1/cards/{guardian}/family")) == (404, "card-not-found")


def test_both_cards_remember_who_was_added_and_why_it_ended(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    service.clock.advance(1)
    end(service.app, guardian, told["link_id"])
    for subject, changed in ((guardian, ["family"]), (card_id, ["guardian"])):
        assert acts(service, subject) == ["card.family-added", "card.family-ended"]
        added, ended = [event for event in history(service, subject) if event.action.startswith("family-")]
        assert (added.changed, ended.changed, added.party, ended.party) == (changed, changed, "guardian", "guardian")
        assert (added.words.evidence, ended.words.reason) == ("户口簿", "分开生活")


def test_an_end_by_the_guardian_takes_the_access_at_once(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    assert seen(service.app, card_id) == (200, 201)
    answer = end(service.app, guardian, told["link_id"])
    assert (answer.status_code, answered(answer)["link_id"]) == (200, told["link_id"])
    assert seen(service.app, card_id) == (404, 404)
    assert family(service.app, guardian)["items"] == []
    assert problem(end(service.app, guardian, told["link_id"])) == (404, "family-link-not-found")


def test_the_member_withdraws_through_an_app_of_their_own(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = service.other_app.register(**member())["card_id"]
    assert card_id == told["card"]["card_id"]
    assert end(service.other_app, card_id, told["link_id"]).status_code == 200
    assert seen(service.app, card_id) == (404, 404)
    assert seen(service.other_app, card_id) == (200, 201)
    assert [event.party for event in history(service, guardian) if event.action == "family-ended"] == ["resident"]


def test_the_guardians_app_ends_no_other_guardians_link(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted())
    second = service.other_app.register(2)["card_id"]
    other = add(service.other_app, second, wanted(relation="8"))
    assert problem(end(service.app, told["card"]["card_id"], other["link_id"])) == (409, "holder-only")
    assert problem(end(service.app, guardian, other["link_id"])) == (404, "family-link-not-found")
    assert problem(end(service.other_app, guardian, told["link_id"])) == (404, "card-not-found")
    assert seen(service.other_app, told["card"]["card_id"]) == (200, 201)


def test_a_child_has_two_guardians_and_shows_the_first(service: Service, guardian: str) -> None:
    first = add(service.app, guardian, wanted())
    service.clock.advance(1)
    second = service.other_app.register(2)["card_id"]
    card_id = first["card"]["card_id"]
    assert add(service.other_app, second, wanted(relation="8"))["card"]["acted_for"] == {"relation": "2"}
    end(service.app, guardian, first["link_id"])
    assert seen(service.app, card_id) == (404, 404)
    assert card_of(service.other_app, card_id)["acted_for"] == {"relation": "8"}
    checked = service.terminal.scan(service.other_app.code(card_id))
    assert checked["card"]["acted_for"] == {"relation": "8", "guardian": "王**"}


def test_an_app_that_serves_both_parents_keeps_the_child_for_the_other(service: Service, guardian: str) -> None:
    first = add(service.app, guardian, wanted())
    second = service.app.register(2)["card_id"]
    other = add(service.app, second, wanted(relation="8"))
    card_id = first["card"]["card_id"]
    end(service.app, guardian, first["link_id"])
    assert seen(service.app, card_id) == (200, 201)
    end(service.app, second, other["link_id"])
    assert seen(service.app, card_id) == (404, 404)


def test_a_grant_of_the_apps_own_stays_when_the_link_ends(service: Service, guardian: str) -> None:
    card_id = service.app.register(**member())["card_id"]
    told = add(service.app, guardian, wanted())
    end(service.app, guardian, told["link_id"])
    assert seen(service.app, card_id) == (200, 201)


def test_an_adult_without_an_app_of_their_own_is_added_without_an_end(service: Service, guardian: str) -> None:
    told = add(service.app, guardian, wanted(relation="5", born="19550101"))
    assert told["until"] is None
    assert card_of(service.app, told["card"]["card_id"])["acted_for"] == {"relation": "5"}


def test_an_adult_with_an_app_of_their_own_agrees_by_their_phone(service: Service, guardian: str) -> None:
    own = proved_phone(service, service.other_app, "13900139000")
    card_id = service.other_app.register(2, phone="13900139000", phone_proof=own)["card_id"]
    body = wanted(relation="1", member=person(2, phone="13800138000"))
    assert problem(post(service.app, guardian, body)) == (409, "agreement-required")
    assert seen(service.app, card_id) == (404, 404)
    theirs = proved_phone(service, service.app, "13900139000")
    given = proved_phone(service, service.app, "13800138000")
    elsewhere = proved_phone(service, service.other_app, "13900139000")
    for unfit in (given, elsewhere):
        assert problem(post(service.app, guardian, body | {"phone_proof": unfit})) == (422, "invalid-request")
    told = add(service.app, guardian, body | {"phone_proof": theirs})
    assert (told["card"]["card_id"], told["until"]) == (card_id, None)
    assert seen(service.app, card_id) == (200, 201)


def test_an_adult_who_cancelled_the_card_agrees_too(service: Service, guardian: str) -> None:
    card_id = service.other_app.register(2)["card_id"]
    service.other_app.post(f"/v1/cards/{card_id}/cancel", {"reason": "不再使用"})
    body = wanted(relation="1", member=person(2))
    assert problem(post(service.app, guardian, body)) == (409, "agreement-required")
    assert answered(service.other_app.get(f"/v1/cards/{card_id}"))["status"] == "cancelled"


@pytest.mark.parametrize(("method", "status"), [("document-seen", 409), ("clerk", 201)])
def test_an_adult_without_a_phone_agrees_before_a_clerk(
    service: Service, guardian: str, method: str, status: int
) -> None:
    service.other_app.register(2)
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL WHERE birth_date = '1955-01-01'"))
    elder = person(3, id_number=citizen_number(3, born="19550101"))
    service.other_app.register(**elder)
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL WHERE birth_date = '1955-01-01'"))
    shown = {"method": method} | ({"clerk": {"name": "李四", "number": "C1"}} if method == "clerk" else {})
    body = wanted(relation="5", member=elder | {"verification": shown})
    assert post(service.app, guardian, body).status_code == status


def test_a_proved_phone_of_a_new_member_is_kept_as_proved(service: Service, guardian: str) -> None:
    body = wanted(member=member(phone="13900139000"), phone_proof=proved_phone(service, service.app, "13900139000"))
    assert add(service.app, guardian, body)["card"]["resident"]["phone"] == "139****9000"
    with service.session() as session:
        assert session.scalar(text("SELECT phone_proved_at FROM resident WHERE phone_proved_at IS NOT NULL"))


@pytest.mark.parametrize("whose", ["guardian", "member"])
def test_a_cancelled_card_ends_its_links(service: Service, guardian: str, whose: str) -> None:
    told = add(service.app, guardian, wanted())
    card_id = told["card"]["card_id"]
    service.other_app.register(**member())
    ending = guardian if whose == "guardian" else card_id
    assert service.app.post(f"/v1/cards/{ending}/cancel", {"reason": "迁出"}).status_code == 200
    assert seen(service.app, card_id)[0] == 404
    if whose == "guardian":
        assert card_of(service.other_app, card_id)["acted_for"] is None
    else:
        assert family(service.app, guardian)["items"] == []
    assert acts(service, guardian) == acts(service, card_id) == ["card.family-added", "card.family-ended"]


def test_a_link_may_be_made_again(service: Service, guardian: str) -> None:
    first = add(service.app, guardian, wanted())
    end(service.app, guardian, first["link_id"])
    second = add(service.app, guardian, wanted())
    assert second["link_id"] != first["link_id"]
    assert seen(service.app, second["card"]["card_id"]) == (200, 201)


def test_a_suspended_guardian_still_sees_the_child(service: Service, guardian: str) -> None:
    card_id = add(service.app, guardian, wanted())["card"]["card_id"]
    service.app.post(f"/v1/cards/{guardian}/suspend", {"reason": "出国"})
    assert seen(service.app, card_id) == (200, 201)


def test_links_of_a_second_record_go_on_with_the_first(service: Service, guardian: str) -> None:
    """A child known by a birth certificate, and by a citizen id, turns out to be one."""
    born: dict[str, Any] = {"birth_date": "2020-06-01", "id_type": "08", "id_number": "A123456789"}
    told = add(service.app, guardian, wanted(member=member(**born)))
    kept = service.other_app.register(**member())["card_id"]
    assert kept != told["card"]["card_id"]
    shown = member(**born)
    shown.pop("birth_date")
    assert service.other_app.post(f"/v1/cards/{kept}/documents", shown).status_code == 200
    assert seen(service.app, kept) == (200, 201)
    assert card_of(service.other_app, kept)["acted_for"] == {"relation": "2"}
    assert [item["card_id"] for item in family(service.app, guardian)["items"]] == [kept]
    end(service.app, guardian, told["link_id"])
    assert seen(service.app, kept) == (404, 404)
