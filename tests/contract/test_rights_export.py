"""`POST /v1/cards/{card_id}/export`: everything about a person, in clear, for whoever holds the registered phone."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ehc.issuer import rights
from ehc.outside.signed_http import PartyKey
from ehc.web.answers import instant
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import problem, serial_of, wrong
from tests.contract.rights import PHONE, agree, listed, proved, withdraw
from tests.contract.test_history import checked
from tests.support import plastic
from tests.support.service import Api, Service, citizen_number, person
from tests.support.service import told as answered

GUARDIAN, CHILD = "13900139000", {"born": "20160501"}


@pytest.fixture
def texting(start: ServiceMaker, tmp_path: Path) -> Service:
    """A service with a gateway for messages, which nobody needs to reach here."""
    PartyKey.make_file(tmp_path / "sms.key", "gateway")
    return start(sms_url="http://127.0.0.1:9", sms_key_file=tmp_path / "sms.key")


def export(api: Api, card_id: str, **body: Any) -> dict[str, Any]:
    answer = api.post(f"/v1/cards/{card_id}/export", body)
    assert answer.status_code == 200, answer.text
    return answered(answer)


def test_an_export_holds_the_person_in_clear(service: Service) -> None:
    more: dict[str, Any] = {"address": "解放路1号", "employer": "第三小学", "nation": "壮族", "sex": "female"}
    card = service.app.register(name="王 小明", **more)
    told = export(service.app, card["card_id"])
    assert told["holder"] == {
        "name": "王小明",
        "phone": PHONE,
        "sex": "2",
        "birth_date": "1990-03-07",
        "nation": "08",
        "address": "解放路1号",
        "employer": "第三小学",
    }
    now = instant(service.clock.now())
    assert told["exported_at"] == now
    document = {"name": None, "id_type": "01", "id_number": citizen_number(1), "since": now, "closed_at": None}
    assert told["documents"] == [document]
    (held,) = told["cards"]
    assert (held["card_id"], held["ehc_id"], held["index_id"]) == (card["card_id"], card["ehc_id"], card["index_id"])
    assert told["apps"] == [{"app": "小程序", "since": now, "until": None, "closed_at": None}]
    assert (told["joined_records"], told["former_ids"], told["more_checks"], told["more_acts"]) == ([], [], None, None)


def test_an_export_holds_the_whole_history(service: Service) -> None:
    app, card_id = service.app, service.app.register()["card_id"]
    made = agree(app, card_id, "institution-sharing")
    service.terminal.scan(app.code(card_id), "payment", department="0301", operator="李")
    withdraw(app, card_id, made["consent_id"])
    app.post(f"/v1/cards/{card_id}/suspend", {"reason": "手机找不到了"})
    app.post(f"/v1/cards/{card_id}/resume", {"reason": "找到了"})
    app.post(f"/v1/cards/{card_id}/corrections", {"field": "other", "wanted": "不是我", "reason": "那天在外地"})
    etag = app.get(f"/v1/cards/{card_id}").headers["ETag"]
    proof = {"method": "clerk", "reference": "卷9", "clerk": {"name": "李办事", "number": "0713"}}
    renamed = app.http.patch(
        f"/v1/cards/{card_id}",
        json={"name": "王大明", "verification": proof, "static_codes": True},
        headers=app.headers | {"If-Match": etag},
    )
    assert renamed.status_code == 200, renamed.text
    assert app.post(f"/v1/cards/{card_id}/codes", {"kind": "static"}).status_code == 201
    answer = app.post(f"/v1/cards/{card_id}/export", {})
    told = answered(answer)
    assert told["holder"]["name"] == "王大明"
    assert len(told["former_ids"]) == 1
    events = {event["action"]: event for event in told["events"]}
    assert (events["suspended"]["reason"], events["suspended"]["old_status"]) == ("手机找不到了", "active")
    assert events["suspended"]["who"] == {"type": "app", "name": "小程序"}
    assert (events["identity-changed"]["evidence"], events["identity-changed"]["changed"]) == ("卷9", ["name"])
    assert [(consent["purpose"], consent["ended_at"] is None) for consent in told["consents"]] == [
        ("institution-sharing", False)
    ]
    (asked,) = told["corrections"]
    assert (asked["wanted"], asked["reason"], asked["state"]) == ("不是我", "那天在外地", "open")
    (check,) = told["checks"]
    assert (check["institution"], check["step"], check["department"]) == ("第一医院", "payment", "0301")
    assert [printed["layout"] for printed in told["prints"]] == ["code"]
    assert "card.exported" in {act["kind"] for act in told["acts"]}
    assert "李" not in answer.text  # clerks and operators are other people


def test_an_export_holds_the_records_that_were_joined(service: Service) -> None:
    app, card_id = service.app, service.app.register()["card_id"]
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
    other = app.register(**passport)["card_id"]
    service.terminal.scan(app.code(other))
    proof = {"verification": {"method": "document-seen"}, "name": "王小明"}
    assert app.post(f"/v1/cards/{card_id}/documents", passport | proof).status_code == 200
    told = export(app, card_id)
    assert {held["card_id"] for held in told["cards"]} == {card_id, other}
    assert [document["id_type"] for document in told["documents"]] == ["01", "03"]
    assert [record["name"] for record in told["joined_records"]] == ["王小明"]
    assert len(told["checks"]) == 1


def test_an_export_holds_what_is_and_was_bound(service: Service) -> None:
    card = plastic.checked(service)
    first = plastic.bound(service, card, 1)
    plastic.bound(service, card, "V-0001", kind="visit-card")
    plastic.delete(service.app, plastic.path(card, first))
    body = {"id_type": "outpatient", "patient_id": "P-1", "verification_id": card["verification_id"]}
    assert service.terminal.post(f"/v1/cards/{card['card_id']}/bindings/patient-ids", body).status_code == 201
    with service.session() as session:
        account = text("""
            INSERT INTO bank_account (id, card_serial, client_id, payer, payer_id, bank, kind, last4, state, start_request,
                                      tries, started_at, expires_at, changed_at, version, failed_for)
            SELECT gen_random_uuid(), serial, (SELECT id FROM client LIMIT 1), payer, resident_id, 'ICBC', 'debit', '0128',
                   'failed', gen_random_uuid(), 0, :now, :now, :now, 1, 'factors-mismatch'
            FROM card, unnest(ARRAY['self', 'guardian']) AS payer
        """)
        session.execute(account, {"now": service.clock.now()})
    told = export(service.app, card["card_id"])
    assert [(one["kind"], one["card_number"], one["institution"], one["state"]) for one in told["plastic_cards"]] in (
        [
            ("resident-health-card", plastic.ATR.format(1), None, "unbound"),
            ("visit-card", "V-0001", "第一医院", "active"),
        ],
        [
            ("visit-card", "V-0001", "第一医院", "active"),
            ("resident-health-card", plastic.ATR.format(1), None, "unbound"),
        ],
    )
    assert [(one["patient_id"], one["institution"], one["ended_at"]) for one in told["patient_ids"]] == [
        ("P-1", "第一医院", None)
    ]
    assert sorted((one["payer"], one["last4"], one["why"]) for one in told["bank_accounts"]) == [
        ("guardian", None, "factors-mismatch"),
        ("self", "0128", "factors-mismatch"),
    ]


def test_an_export_holds_nothing_of_anybody_else(service: Service) -> None:
    service.app.register(2, name="欧阳独特", address="独特路1号")
    card_id = service.app.register(1)["card_id"]
    answer = service.app.post(f"/v1/cards/{card_id}/export", {})
    assert "独特" not in answer.text
    assert citizen_number(2) not in answer.text


def test_an_export_goes_on_where_it_ends(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights, "MOST", 3)
    card_id = service.app.register()["card_id"]
    expected = checked(service, card_id, 5)
    told = export(service.app, card_id)
    rest = listed(service.app, f"/v1/cards/{card_id}/verifications", cursor=told["more_checks"])["items"]
    assert [check["verification_id"] for check in told["checks"] + rest] == expected
    assert serial_of(service, card_id) > 0


def test_a_registered_phone_has_to_be_proved(texting: Service) -> None:
    card_id = texting.app.register()["card_id"]
    path = f"/v1/cards/{card_id}/export"
    assert problem(texting.app.post(path, {})) == (409, "phone-proof-required")
    proof = proved(texting, texting.app)
    assert texting.app.post(path, {"phone_proof": proof}).status_code == 200
    assert wrong(texting.app.post(path, {"phone_proof": proof})) == [("/phone_proof", "phone-proof")]  # once


def test_a_proof_of_another_phone_or_app_is_none(texting: Service) -> None:
    card_id = texting.app.register()["card_id"]
    texting.other_app.register()
    path = f"/v1/cards/{card_id}/export"
    for proof in (proved(texting, texting.app, "13900139001"), proved(texting, texting.other_app)):
        assert wrong(texting.app.post(path, {"phone_proof": proof})) == [("/phone_proof", "phone-proof")]
    assert problem(texting.app.post(path, {})) == (409, "phone-proof-required")


def test_a_refused_export_is_not_in_the_list_of_who_looked(texting: Service) -> None:
    card_id = texting.app.register()["card_id"]
    texting.app.post(f"/v1/cards/{card_id}/export", {})
    kinds = {look["kind"] for look in listed(texting.app, f"/v1/cards/{card_id}/access-log")["items"]}
    assert kinds == {"card.registered"}


def test_a_phone_that_no_message_reaches_is_not_asked_for(texting: Service) -> None:
    card_id = texting.app.register(phone="010-62345678")["card_id"]
    assert export(texting.app, card_id)["holder"]["phone"] == "01062345678"


def test_a_proof_counts_also_where_none_is_needed(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    stranger = proved(service, service.app, "13900139001")
    path = f"/v1/cards/{card_id}/export"
    assert wrong(service.app.post(path, {"phone_proof": stranger})) == [("/phone_proof", "phone-proof")]


def test_for_a_child_without_a_phone_the_guardian_proves_theirs(texting: Service) -> None:
    guardian = texting.app.register(1, phone=GUARDIAN)["card_id"]
    child = {"name": "王小宝", "id_type": "01", "id_number": citizen_number(5, **CHILD)}
    proof = {"verification": {"method": "document-seen"}}
    body = {
        "relation": "2",
        "member": child | proof,
        "verification": {"method": "document-seen", "reference": "户口簿"},
    }
    added = texting.app.post(f"/v1/cards/{guardian}/family", body)
    assert added.status_code == 201, added.text
    path = f"/v1/cards/{answered(added)['card']['card_id']}/export"
    assert problem(texting.app.post(path, {})) == (409, "phone-proof-required")
    answer = texting.app.post(path, {"phone_proof": proved(texting, texting.app, GUARDIAN)})
    assert answer.status_code == 200, answer.text
    (relation,) = answered(answer)["family"]
    assert (relation["part"], relation["relation"], relation["other"]) == ("member", "2", "王**")
    assert person()["name"] not in answer.text  # the guardian stays masked


def test_an_unknown_member_of_the_body_is_refused(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    assert wrong(shared.app.post(f"/v1/cards/{card_id}/export", {"all": True})) == [("/all", "unknown-member")]
