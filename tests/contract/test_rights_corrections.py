"""`/v1/cards/{card_id}/corrections`: asked for through an app, decided by staff, written by the decision."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.app import STATUSES
from ehc.cards.store import Conflict
from ehc.issuer import corrections
from ehc.issuer.corrections import NoSuchCorrection
from ehc.issuer.registry import Registry
from ehc.web.answers import instant
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of, wrong
from tests.contract.rights import close, listed
from tests.support.service import Service, citizen_number
from tests.support.service import told as answered


@pytest.fixture
def card_id(shared: Service, newcomer: dict[str, Any]) -> str:
    return str(shared.app.register(**newcomer)["card_id"])


def ask(service: Service, card_id: str, field: str, wanted: str, **more: str) -> str:
    body = {"field": field, "wanted": wanted, **more}
    answer = service.app.post(f"/v1/cards/{card_id}/corrections", body)
    assert answer.status_code == 201, answer.text
    return str(answered(answer)["correction_id"])


def decide(service: Service, correction_id: str, *, grant: bool = True, reason: str = "有户口簿为证") -> None:
    registry = Registry(secrets_of(service))
    with service.session() as session:
        facts: dict[str, Any] = {"grant": grant, "by": "S-7", "reason": reason, "registry": registry}
        corrections.decide(session, UUID(correction_id), now=service.clock.now(), **facts)


def holder(service: Service, card_id: str) -> dict[str, Any]:
    return dict(answered(service.app.post(f"/v1/cards/{card_id}/export", {}))["holder"])


def test_a_request_is_open_and_does_not_repeat_what_it_asks_for(shared: Service, card_id: str) -> None:
    body = {"field": "address", "wanted": "独特路2号", "reason": "独特的原因"}
    answer = shared.app.post(f"/v1/cards/{card_id}/corrections", body)
    assert answer.status_code == 201
    made = answered(answer)
    assert made == {
        "correction_id": made["correction_id"],
        "field": "address",
        "state": "open",
        "asked_at": instant(shared.clock.now()),
        "decided_at": None,
        "answer": None,
    }
    page = shared.app.get(f"/v1/cards/{card_id}/corrections")
    assert answered(page) == {"items": [made], "next": None}
    assert holder(shared, card_id)["address"] is None
    with shared.session() as session:
        query = text("SELECT wanted FROM correction WHERE id = :id")
        sealed = session.scalars(query, {"id": made["correction_id"]}).one()
    assert "独特".encode() not in sealed


@pytest.mark.parametrize(
    ("field", "wanted", "kept"),
    [
        ("address", "解放路2号", "解放路2号"),
        ("employer", "第二小学", "第二小学"),
        ("phone", "+86 139 0013 9000", "13900139000"),
        ("sex", "female", "2"),
        ("nation", "壮族", "08"),
        ("name", " 王 大明", "王大明"),
    ],
)
def test_what_is_granted_is_written_in_normal_form(
    shared: Service, card_id: str, field: str, wanted: str, kept: str
) -> None:
    made = ask(shared, card_id, field, wanted)
    assert holder(shared, card_id)[field] != kept
    decide(shared, made)
    assert holder(shared, card_id)[field] == kept
    (told,) = listed(shared.app, f"/v1/cards/{card_id}/corrections")["items"]
    assert (told["state"], told["answer"]) == ("granted", "有户口簿为证")
    assert told["decided_at"] == instant(shared.clock.now())


def test_what_is_refused_changes_nothing_but_the_request(shared: Service, card_id: str) -> None:
    made = ask(shared, card_id, "address", "解放路2号")
    before = shared.app.get(f"/v1/cards/{card_id}")
    decide(shared, made, grant=False, reason="没有证据")
    after = shared.app.get(f"/v1/cards/{card_id}")
    assert (answered(after), after.headers["ETag"]) == (answered(before), before.headers["ETag"])
    (told,) = listed(shared.app, f"/v1/cards/{card_id}/corrections")["items"]
    assert (told["state"], told["answer"]) == ("refused", "没有证据")


def test_a_corrected_number_gives_other_ids_and_frees_the_old_number(shared: Service, newcomer: dict[str, Any]) -> None:
    card = shared.app.register(**newcomer)
    old = newcomer["id_number"]
    right = citizen_number(4, born=old[6:14])
    decide(shared, ask(shared, card["card_id"], "id_number", right))
    now = answered(shared.app.get(f"/v1/cards/{card['card_id']}"))
    assert now["ehc_id"] != card["ehc_id"]
    assert now["level"] == "clerk"
    assert shared.app.register(**newcomer | {"id_number": right})["card_id"] == card["card_id"]
    assert shared.app.register(**newcomer)["card_id"] != card["card_id"]


def test_a_birth_date_is_put_right_where_the_number_does_not_say_it(shared: Service, newcomer: dict[str, Any]) -> None:
    passport = {"id_type": "03", "id_number": f"E{newcomer['id_number'][6:14]}", "birth_date": "1991-01-01"}
    card_id = shared.app.register(**newcomer | passport)["card_id"]
    decide(shared, ask(shared, card_id, "birth_date", "1991-01-10"))
    assert holder(shared, card_id)["birth_date"] == "1991-01-10"


def test_a_childs_guardianship_ends_by_the_corrected_birth_date(service: Service) -> None:
    guardian = service.app.register(1)["card_id"]
    proof = {"verification": {"method": "document-seen"}}
    child = {"name": "王小宝", "id_type": "03", "id_number": "E55555555", "birth_date": "2016-05-01"}
    body = {
        "relation": "2",
        "member": child | proof,
        "verification": {"method": "document-seen", "reference": "户口簿"},
    }
    added = service.app.post(f"/v1/cards/{guardian}/family", body)
    assert added.status_code == 201, added.text
    child_id = answered(added)["card"]["card_id"]
    decide(service, ask(service, child_id, "birth_date", "2015-05-01"))
    (link,) = answered(service.app.post(f"/v1/cards/{child_id}/export", {}))["family"]
    assert link["until"] == "2033-04-30T16:00:00.000Z"  # the start of the day in China


def test_other_things_are_granted_in_words_only(shared: Service, card_id: str) -> None:
    made = ask(shared, card_id, "other", "上月的检查不是我", reason="我在外地")
    etag = shared.app.get(f"/v1/cards/{card_id}").headers["ETag"]
    decide(shared, made, reason="已标注")
    assert shared.app.get(f"/v1/cards/{card_id}").headers["ETag"] == etag
    assert listed(shared.app, f"/v1/cards/{card_id}/corrections")["items"][0]["state"] == "granted"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"wanted": "x"}, ("/field", "required")),
        ({"field": "level", "wanted": "x"}, ("/field", "choice")),
        ({"field": "address"}, ("/wanted", "required")),
        ({"field": "address", "wanted": ""}, ("/wanted", "length")),
        ({"field": "address", "wanted": "路" * 257}, ("/wanted", "length")),
        ({"field": "address", "wanted": "路\n"}, ("/wanted", "characters")),
        ({"field": "address", "wanted": "路", "reason": "x" * 201}, ("/reason", "length")),
        ({"field": "name", "wanted": "!"}, ("/wanted", "name-character")),
        ({"field": "phone", "wanted": "1"}, ("/wanted", "phone-form")),
        ({"field": "sex", "wanted": "x"}, ("/wanted", "choice")),
        ({"field": "nation", "wanted": "火星族"}, ("/wanted", "choice")),
        ({"field": "id_number", "wanted": "110105199003070018"}, ("/wanted", "id-number-check")),
        ({"field": "birth_date", "wanted": "1990/03/07"}, ("/wanted", "date")),
        ({"field": "birth_date", "wanted": "1990-03-08"}, ("/wanted", "birth-date-mismatch")),
        ({"field": "birth_date", "wanted": "2190-03-08"}, ("/wanted", "birth-date-future")),
    ],
    ids=lambda value: "" if isinstance(value, dict) else " ".join(value),
)
def test_a_wrong_request_is_refused_when_it_is_made(
    service: Service, body: dict[str, Any], fault: tuple[str, str]
) -> None:
    card_id = service.app.register()["card_id"]
    counts = row_counts(service)
    assert wrong(service.app.post(f"/v1/cards/{card_id}/corrections", body)) == [fault]
    assert row_counts(service) == counts


def test_twenty_requests_wait_and_no_more(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    path, body = f"/v1/cards/{card_id}/corrections", {"field": "other", "wanted": "x"}
    made = [ask(service, card_id, "other", "x") for _ in range(18)]
    answers = at_once(*(poster(service, service.app, path, body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
    assert problem(service.app.post(path, body)) == (409, "too-many-corrections")
    decide(service, made[0], grant=False)
    assert service.app.post(path, body).status_code == 201
    assert service.app.post(path, body).status_code == 409
    first = listed(service.app, path, limit=15)
    rest = listed(service.app, path, limit=15, cursor=first["next"])
    assert len({entry["correction_id"] for entry in first["items"] + rest["items"]}) == 21


def test_a_request_is_decided_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = ask(service, card_id, "address", "解放路2号")
    decide(service, made)
    with pytest.raises(NoSuchCorrection):
        decide(service, made, grant=False)
    with pytest.raises(NoSuchCorrection):
        decide(service, "0190163d-8694-739b-aea5-966c26f8ad91")
    assert STATUSES[NoSuchCorrection] == 404


def test_a_request_of_a_cancelled_card_can_only_be_refused(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = ask(service, card_id, "address", "解放路2号")
    service.app.post(f"/v1/cards/{card_id}/cancel", {"reason": "r"})
    with pytest.raises(Conflict):
        decide(service, made)
    decide(service, made, grant=False)


def test_closing_the_account_ends_what_waits(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = ask(service, card_id, "address", "解放路2号")
    assert close(service.app, card_id).status_code == 200
    with pytest.raises(NoSuchCorrection):
        decide(service, made)
    with service.session() as session:
        assert session.execute(text("SELECT decision, decided_by FROM correction")).one() == ("void", "system")


def test_a_temporary_card_has_no_name_to_correct(service: Service) -> None:
    visit = {"name": "unknown", "sex": "male", "visit_at": instant(service.clock.now())}
    card_id = answered(service.app.post("/v1/temporary-cards", visit))["card_id"]
    for field, wanted in (("name", "王小明"), ("id_number", citizen_number(1))):
        answer = service.app.post(f"/v1/cards/{card_id}/corrections", {"field": field, "wanted": wanted})
        assert problem(answer) == (409, "card-state")


def test_a_decision_is_in_the_list_of_who_looked_without_the_staffs_number(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    decide(service, ask(service, card_id, "address", "解放路2号"))
    answer = service.app.get(f"/v1/cards/{card_id}/access-log")
    kinds = [item["kind"] for item in answered(answer)["items"]]
    assert {"card.correction-asked", "card.changed", "card.correction-decided"} <= set(kinds)
    assert "S-7" not in answer.text
