"""`POST /v1/cards/{card_id}/close`: what goes at once, what stays, and the way back."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ehc.clock import local_day
from ehc.outside.signed_http import PartyKey
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import at_once, poster, problem, wrong
from tests.contract.rights import agree, close, proved
from tests.support.service import Service, citizen_number
from tests.support.service import told as answered

DETAILS = "phone, phone_index, phone_proved_at, address, employer, ethnicity"


def details(service: Service) -> list[tuple[Any, ...]]:
    with service.session() as session:
        return [tuple(row) for row in session.execute(text(f"SELECT {DETAILS} FROM resident"))]


def erase_after(service: Service) -> date | None:
    with service.session() as session:
        found: date | None = session.scalars(text("SELECT erase_after FROM resident")).one()
    return found


def test_closing_tells_until_when_the_rest_is_kept(start: ServiceMaker) -> None:
    service = start(keep_days=200)
    card_id = service.app.register()["card_id"]
    answer = close(service.app, card_id)
    kept_until = local_day(service.clock.now()) + timedelta(days=200)
    assert (answer.status_code, answered(answer)) == (
        200,
        {"card_id": card_id, "status": "cancelled", "cause": "closed", "kept_until": kept_until.isoformat()},
    )
    assert erase_after(service) == kept_until


def test_closing_ends_the_card_and_every_apps_access_at_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    code = service.app.code(card_id)
    assert close(service.app, card_id).status_code == 200
    scan = service.terminal.scan(code)
    assert (scan["reason"], scan.get("resident")) == ("card-cancelled", None)
    for api in (service.app, service.other_app):
        told = answered(api.get(f"/v1/cards/{card_id}"))
        assert (told["status"], told["cause"]) == ("cancelled", "closed")
        assert set(told["resident"].values()) == {None}
        assert problem(api.post(f"/v1/cards/{card_id}/export", {})) == (404, "card-not-found")


def test_closing_forgets_what_no_law_keeps(service: Service) -> None:
    more: dict[str, Any] = {"address": "解放路1号", "employer": "第三小学", "nation": "壮族"}
    card_id = service.app.register(phone_proof=proved(service, service.app), **more)["card_id"]
    assert all(value is not None for value in details(service)[0])
    assert close(service.app, card_id).status_code == 200
    assert details(service) == [(None,) * 6]
    with service.session() as session:  # the name and the number stay for now
        assert session.execute(text("SELECT name IS NOT NULL, birth_date FROM resident")).one() == (
            True,
            date(1990, 3, 7),
        )


def test_closing_forgets_the_details_of_joined_records_too(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
    service.app.register(phone="13900139000", address="解放路9号", **passport)
    body = passport | {"name": "王小明", "verification": {"method": "document-seen"}}
    assert service.app.post(f"/v1/cards/{card_id}/documents", body).status_code == 200
    assert close(service.app, card_id).status_code == 200
    assert details(service) == [(None,) * 6] * 2


def test_closing_withdraws_every_consent(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    for api, purpose in ((service.app, "account"), (service.app, "app-access"), (service.other_app, "app-access")):
        agree(api, card_id, purpose)
    close(service.app, card_id)
    with service.session() as session:
        ended = session.scalars(text("SELECT withdrawn_at FROM consent")).all()
    assert ended == [service.clock.now()] * 3


def test_closing_ends_the_family_on_both_sides(service: Service) -> None:
    guardian = service.app.register(1)["card_id"]
    proof = {"verification": {"method": "document-seen"}}
    child = {"name": "王小宝", "id_type": "01", "id_number": citizen_number(5, born="20160501")}
    body = {
        "relation": "2",
        "member": child | proof,
        "verification": {"method": "document-seen", "reference": "户口簿"},
    }
    added = service.app.post(f"/v1/cards/{guardian}/family", body)
    assert added.status_code == 201, added.text
    child_id = answered(added)["card"]["card_id"]
    assert close(service.app, guardian).status_code == 200
    assert problem(service.app.get(f"/v1/cards/{child_id}")) == (404, "card-not-found")
    with service.session() as session:
        shown = text("SELECT guardian_id, status FROM card WHERE id = :id")
        assert session.execute(shown, {"id": child_id}).one() == (None, "active")
        assert session.scalars(text("SELECT ended_at FROM family_link")).all() == [service.clock.now()]


def test_a_person_who_registers_again_has_the_card_back(service: Service) -> None:
    card = service.app.register()
    service.terminal.scan(service.app.code(card["card_id"]))
    close(service.app, card["card_id"])
    again = service.app.register()
    assert (again["card_id"], again["status"], again["ehc_id"]) == (card["card_id"], "active", card["ehc_id"])
    assert erase_after(service) is None
    seen = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    assert len(seen) == 1


def test_sharing_that_was_agreed_to_is_agreed_to_anew_after_closing(service: Service) -> None:
    first, second = service.app.register(1)["card_id"], service.app.register(2)["card_id"]
    agree(service.app, first, "institution-sharing")
    for serial, card_id, told in ((1, first, False), (2, second, True)):
        close(service.app, card_id)
        service.app.register(serial)
        assert (service.terminal.scan(service.app.code(card_id))["resident"] is not None) is told
    service.clock.advance(1)
    again = [{"purpose": "institution-sharing", "text_version": "v1"}]
    close(service.app, first)
    service.app.register(1, consents=again)
    assert service.terminal.scan(service.app.code(first))["resident"] is not None


@pytest.mark.parametrize("status", ["suspend", "report-loss"])
def test_an_account_is_closed_from_other_states_too(service: Service, status: str) -> None:
    card_id = service.app.register()["card_id"]
    assert service.app.post(f"/v1/cards/{card_id}/{status}", {"reason": "r"}).status_code == 200
    assert close(service.app, card_id).status_code == 200


def test_an_account_is_closed_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    calls = [poster(service, service.app, f"/v1/cards/{card_id}/close", {"reason": "r"}) for _ in range(4)]
    codes = sorted(answer.status_code for answer in at_once(*calls))
    assert codes[0] == 200
    assert set(codes[1:]) <= {404, 409}
    assert problem(close(service.app, card_id)) == (404, "card-not-found")
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM card_event WHERE action = 'closed'")) == 1


def test_a_stale_etag_closes_nothing(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    etag = service.app.get(f"/v1/cards/{card_id}").headers["ETag"]
    agree(service.app, card_id, "institution-sharing")
    body = {"reason": "r"}
    stale = service.app.post(f"/v1/cards/{card_id}/close", body, If_Match=etag)
    assert problem(stale) == (412, "precondition-failed")
    assert answered(service.app.get(f"/v1/cards/{card_id}"))["status"] == "active"
    assert details(service)[0][0] is not None
    assert service.app.post(f"/v1/cards/{card_id}/close", body, If_Match="*").status_code == 200


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({}, ("/reason", "required")),
        ({"reason": ""}, ("/reason", "length")),
        ({"reason": "x" * 201}, ("/reason", "length")),
        ({"reason": "r", "phone_proof": "x"}, ("/phone_proof", "type")),
        ({"reason": "r", "at_once": True}, ("/at_once", "unknown-member")),
    ],
    ids=lambda value: "" if isinstance(value, dict) else " ".join(value),
)
def test_a_wrong_request_closes_nothing(
    shared: Service, newcomer: dict[str, Any], body: dict[str, Any], fault: tuple[str, str]
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    assert wrong(shared.app.post(f"/v1/cards/{card_id}/close", body)) == [fault]
    assert answered(shared.app.get(f"/v1/cards/{card_id}"))["status"] == "active"


def test_a_registered_phone_has_to_be_proved(start: ServiceMaker, tmp_path: Path) -> None:
    PartyKey.make_file(tmp_path / "sms.key", "gateway")
    service = start(sms_url="http://127.0.0.1:9", sms_key_file=tmp_path / "sms.key")
    card_id = service.app.register()["card_id"]
    assert problem(close(service.app, card_id)) == (409, "phone-proof-required")
    stranger = proved(service, service.app, "13900139001")
    assert wrong(close(service.app, card_id, phone_proof=stranger)) == [("/phone_proof", "phone-proof")]
    assert answered(service.app.get(f"/v1/cards/{card_id}"))["status"] == "active"
    assert close(service.app, card_id, phone_proof=proved(service, service.app)).status_code == 200


def test_closing_and_taking_consent_back_at_once_both_count(service: Service) -> None:
    for serial in range(6):
        card_id = service.app.register(serial)["card_id"]
        made = agree(service.app, card_id, "institution-sharing")
        take = poster(service, service.app, f"/v1/cards/{card_id}/consents/{made['consent_id']}/withdraw", None)
        end = poster(service, service.app, f"/v1/cards/{card_id}/close", {"reason": "r"})
        taken, ended = at_once(take, end)
        assert ended.status_code == 200
        assert taken.status_code in {200, 404}
