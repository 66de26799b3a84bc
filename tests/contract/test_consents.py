"""Consents: recorded for each purpose with version, time and channel; taking one back counts at once."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ehc.web.answers import instant
from tests.contract.helpers import at_once, poster, problem, row_counts, serial_of, wrong
from tests.contract.rights import agree, listed, withdraw
from tests.support.service import Service, person
from tests.support.service import told as answered

SHARING = "institution-sharing"


@pytest.fixture
def card_id(shared: Service, newcomer: dict[str, Any]) -> str:
    return str(shared.app.register(**newcomer)["card_id"])


def consents(service: Service, card_id: str) -> list[dict[str, Any]]:
    return list(listed(service.app, f"/v1/cards/{card_id}/consents")["items"])


def test_a_consent_says_to_what_when_and_how(shared: Service, card_id: str) -> None:
    wanted = {"purpose": SHARING, "text_version": "2026-03:zh_CN.1", "channel": "0402"}
    answer = shared.app.post(f"/v1/cards/{card_id}/consents", wanted, Accept_Language="en")
    assert answer.status_code == 201
    made = answered(answer)
    assert made == {
        "consent_id": made["consent_id"],
        "purpose": SHARING,
        "about": "Telling institutions masked facts about the holder when a code is checked",
        "text_version": "2026-03:zh_CN.1",
        "channel": "mini-program",
        "app": "小程序",
        "given_at": instant(shared.clock.now()),
        "ended_at": None,
    }
    assert [entry["consent_id"] for entry in consents(shared, card_id)] == [made["consent_id"]]
    assert consents(shared, card_id)[0]["about"] == "验卡时向医疗机构告知脱敏信息"


def test_a_consent_without_a_channel_is_kept_as_other(shared: Service, card_id: str) -> None:
    assert agree(shared.app, card_id, "account")["channel"] == "other"


def test_the_same_version_again_is_the_same_record(shared: Service, card_id: str) -> None:
    first = agree(shared.app, card_id, SHARING, channel="window")
    counts = row_counts(shared)
    again = shared.app.post(
        f"/v1/cards/{card_id}/consents", {"purpose": SHARING, "text_version": "v1", "channel": "kiosk"}
    )
    assert (again.status_code, answered(again)) == (200, first)
    assert row_counts(shared) == counts


def test_a_newer_version_takes_the_place_of_the_older(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    first = agree(service.app, card_id, SHARING)
    service.clock.advance(1)
    second = agree(service.app, card_id, SHARING, "v2")
    newest, oldest = consents(service, card_id)
    assert newest == second
    assert oldest == first | {"ended_at": instant(service.clock.now())}
    assert service.terminal.scan(service.app.code(card_id))["resident"] is not None


def test_withdrawing_what_was_replaced_names_the_newer(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    first, second = agree(service.app, card_id, SHARING), agree(service.app, card_id, SHARING, "v2")
    assert problem(withdraw(service.app, card_id, first["consent_id"])) == (409, "consent-replaced")
    assert withdraw(service.app, card_id, second["consent_id"]).status_code == 200
    assert withdraw(service.app, card_id, first["consent_id"]).status_code == 200  # now nothing of it is live


def test_withdrawing_sharing_silences_the_very_next_check(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = agree(service.app, card_id, SHARING)
    before, after = service.app.code(card_id), service.app.code(card_id)
    assert service.terminal.scan(before)["resident"]["name"] == "王**"
    service.clock.advance(1)
    answer = withdraw(service.app, card_id, made["consent_id"])
    assert (answer.status_code, answered(answer)["ended_at"]) == (200, instant(service.clock.now()))
    scan = service.terminal.scan(after)  # issued while it was shared: the state at the check counts
    assert (scan["outcome"], scan["resident"]) == ("accepted", None)
    assert answered(service.app.get(f"/v1/cards/{card_id}/verifications"))["items"][0]["disclosed"] == []


def test_sharing_begins_again_with_a_new_consent(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    withdraw(service.app, card_id, agree(service.app, card_id, SHARING)["consent_id"])
    service.clock.advance(1)
    agree(service.app, card_id, SHARING)
    assert service.terminal.scan(service.app.code(card_id))["resident"]["name"] == "王**"
    assert [entry["ended_at"] is None for entry in consents(service, card_id)] == [True, False]


def test_withdrawing_twice_is_withdrawing_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = agree(service.app, card_id, SHARING)
    first = answered(withdraw(service.app, card_id, made["consent_id"]))
    counts = row_counts(service)
    service.clock.advance(60)
    again = withdraw(service.app, card_id, made["consent_id"])
    assert (again.status_code, answered(again)) == (200, first)
    assert row_counts(service) == counts


def test_the_person_withdraws_sharing_for_every_app_at_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    mine, theirs = agree(service.app, card_id, SHARING), agree(service.other_app, card_id, SHARING, "w9")
    assert withdraw(service.app, card_id, theirs["consent_id"]).status_code == 200
    assert {entry["consent_id"]: entry["ended_at"] is None for entry in consents(service, card_id)} == {
        mine["consent_id"]: False,
        theirs["consent_id"]: False,
    }
    assert service.terminal.scan(service.app.code(card_id))["resident"] is None


def test_a_consent_older_than_the_withdrawal_does_not_undo_it(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    at = service.clock.now()
    withdraw(service.app, card_id, agree(service.app, card_id, SHARING)["consent_id"])
    service.clock.advance(60)
    for api, late in ((service.app, 1), (service.other_app, 60)):
        body = {"purpose": SHARING, "text_version": "late", "given_at": instant(at - timedelta(seconds=late))}
        assert wrong(api.post(f"/v1/cards/{card_id}/consents", body)) == [("/given_at", "consent-outdated")]
    assert service.terminal.scan(service.app.code(card_id))["resident"] is None
    agree(service.app, card_id, SHARING, "late", given_at=instant(at))  # at that very moment: the later word


def test_an_older_version_that_comes_late_does_not_replace_a_newer(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.clock.advance(60)
    made = agree(service.app, card_id, SHARING, "v2")
    body = {"purpose": SHARING, "text_version": "v1", "given_at": instant(service.clock.now() - timedelta(seconds=1))}
    assert wrong(service.app.post(f"/v1/cards/{card_id}/consents", body)) == [("/given_at", "consent-outdated")]
    assert consents(service, card_id) == [made]


def test_the_replacement_in_another_app_outdates_nothing_here(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    at = service.clock.now()
    agree(service.other_app, card_id, SHARING, "v1")
    service.clock.advance(60)
    agree(service.other_app, card_id, SHARING, "v2")
    agree(service.app, card_id, SHARING, "v1", given_at=instant(at))


def test_the_consent_to_the_card_itself_is_not_withdrawn_alone(shared: Service, card_id: str) -> None:
    made = agree(shared.app, card_id, "account")
    answer = withdraw(shared.app, card_id, made["consent_id"], Accept_Language="en")
    assert problem(answer) == (409, "account-consent")
    assert "close the account" in answered(answer)["detail"]
    assert consents(shared, card_id) == [made]


def test_an_app_whose_access_is_withdrawn_sees_the_card_no_more(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    made, theirs = agree(service.app, card_id, "app-access"), agree(service.other_app, card_id, "app-access")
    assert withdraw(service.app, card_id, made["consent_id"]).status_code == 200
    for answer in (
        service.app.get(f"/v1/cards/{card_id}"),
        service.app.get(f"/v1/cards/{card_id}/consents"),
        service.app.post(f"/v1/cards/{card_id}/codes", {}),
        withdraw(service.app, card_id, made["consent_id"]),
    ):
        assert problem(answer) == (404, "card-not-found")
    assert service.other_app.get(f"/v1/cards/{card_id}").status_code == 200
    items = listed(service.other_app, f"/v1/cards/{card_id}/consents")["items"]
    assert {entry["consent_id"] for entry in items if entry["ended_at"] is None} == {theirs["consent_id"]}
    assert service.app.register()["card_id"] == card_id  # the person comes back to the app
    assert service.app.get(f"/v1/cards/{card_id}").status_code == 200


def test_an_app_does_not_withdraw_the_access_of_another(
    shared: Service, newcomer: dict[str, Any], card_id: str
) -> None:
    shared.other_app.register(**newcomer)
    theirs = agree(shared.other_app, card_id, "app-access")
    assert problem(withdraw(shared.app, card_id, theirs["consent_id"])) == (409, "other-apps-consent")
    assert shared.other_app.get(f"/v1/cards/{card_id}").status_code == 200


def test_a_consent_of_somebody_else_is_not_found(shared: Service, newcomer: dict[str, Any], card_id: str) -> None:
    stranger = shared.app.register(id_type="99", id_number=newcomer["id_number"])["card_id"]
    theirs = agree(shared.app, stranger, SHARING)
    assert problem(withdraw(shared.app, card_id, theirs["consent_id"])) == (404, "consent-not-found")
    assert consents(shared, stranger)[0]["ended_at"] is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"text_version": "v1"}, ("/purpose", "required")),
        ({"purpose": "marketing", "text_version": "v1"}, ("/purpose", "choice")),
        ({"purpose": SHARING}, ("/text_version", "required")),
        ({"purpose": SHARING, "text_version": ""}, ("/text_version", "length")),
        ({"purpose": SHARING, "text_version": "v" * 65}, ("/text_version", "length")),
        ({"purpose": SHARING, "text_version": "第一版"}, ("/text_version", "characters")),
        ({"purpose": SHARING, "text_version": "v1\n"}, ("/text_version", "characters")),
        ({"purpose": SHARING, "text_version": "v1", "channel": "phone"}, ("/channel", "choice")),
        ({"purpose": SHARING, "text_version": "v1", "given_at": "2026-01-01"}, ("/given_at", "datetime")),
        ({"purpose": SHARING, "text_version": "v1", "given_at": "2017-12-31T15:59:59Z"}, ("/given_at", "consent-time")),
        (
            {"purpose": SHARING, "text_version": "v1", "given_at": "0001-01-01T00:00:00+23:59"},
            ("/given_at", "consent-time"),
        ),
        ({"purpose": SHARING, "text_version": "v1", "until": "x"}, ("/until", "unknown-member")),
    ],
    ids=lambda value: "" if isinstance(value, dict) else " ".join(value),
)
def test_a_wrong_consent_is_refused(
    shared: Service, card_id: str, body: dict[str, Any], fault: tuple[str, str]
) -> None:
    counts = row_counts(shared)
    faults = wrong(shared.app.post(f"/v1/cards/{card_id}/consents", body))
    assert fault in faults
    assert row_counts(shared) == counts


def test_the_bounds_of_the_time_are_taken(service: Service) -> None:
    card_id, now = service.app.register()["card_id"], service.clock.now()
    agree(service.app, card_id, "account", "x" * 64, given_at="2018-01-01T00:00:00+08:00")
    ahead = now + timedelta(minutes=5)
    made = agree(service.app, card_id, SHARING, given_at=instant(ahead))
    assert made["given_at"] == instant(now)  # nobody agrees in the future: a clock was ahead
    late = {"purpose": "app-access", "text_version": "v1", "given_at": instant(ahead + timedelta(milliseconds=1))}
    assert wrong(service.app.post(f"/v1/cards/{card_id}/consents", late)) == [("/given_at", "consent-time")]


def test_a_registration_brings_its_consents(service: Service) -> None:
    body = person(
        consents=[
            {"purpose": "account", "text_version": "v1", "channel": "window"},
            {"purpose": SHARING, "text_version": "v3", "given_at": "2026-01-09T16:00:00+08:00"},
        ]
    )
    answer = service.app.post("/v1/cards", body)
    assert answer.status_code == 201
    card_id = answered(answer)["card_id"]
    assert answer.headers["ETag"] == service.app.get(f"/v1/cards/{card_id}").headers["ETag"]
    found = {(entry["purpose"], entry["channel"], entry["given_at"]) for entry in consents(service, card_id)}
    assert found == {
        ("account", "window", instant(service.clock.now())),
        (SHARING, "other", "2026-01-09T08:00:00.000Z"),
    }
    assert service.app.post("/v1/cards", body).status_code == 200
    assert len(consents(service, card_id)) == 2


def test_a_registration_with_a_wrong_consent_registers_nobody(shared: Service, newcomer: dict[str, Any]) -> None:
    counts = row_counts(shared)
    good = {"purpose": "account", "text_version": "v1"}
    outdated = good | {"given_at": "2017-01-01T00:00:00Z"}
    answer = shared.app.post("/v1/cards", newcomer | {"consents": [good, outdated]})
    assert wrong(answer) == [("/consents/1/given_at", "consent-time")]
    for many, status in ((11, 422), (10, 201)):
        assert row_counts(shared) == counts
        sent = [good | {"text_version": f"v{number}"} for number in range(many)]
        assert shared.app.post("/v1/cards", newcomer | {"consents": sent}).status_code == status


def test_of_two_consents_at_once_one_is_live(service: Service) -> None:
    for serial in range(8):
        card_id = service.app.register(serial)["card_id"]
        path = f"/v1/cards/{card_id}/consents"
        bodies = [{"purpose": SHARING, "text_version": version} for version in ("v1", "v1", "v2", "v2")]
        answers = at_once(*(poster(service, service.app, path, body) for body in bodies))
        assert {answer.status_code for answer in answers} <= {200, 201}
        live = [entry for entry in consents(service, card_id) if entry["ended_at"] is None]
        assert len(live) == 1


def test_giving_and_withdrawing_at_once_leaves_the_switch_as_the_record_says(service: Service) -> None:
    for serial in range(8):
        card_id = service.app.register(serial)["card_id"]
        first = agree(service.app, card_id, SHARING)
        path = f"/v1/cards/{card_id}/consents"
        give = poster(service, service.app, path, {"purpose": SHARING, "text_version": "v2"})
        take = poster(service, service.app, f"{path}/{first['consent_id']}/withdraw", None)
        given, taken = at_once(give, take)
        assert (given.status_code, taken.status_code) in {(201, 200), (201, 409), (422, 200)}
        live = any(entry["ended_at"] is None for entry in consents(service, card_id))
        with service.session() as session:
            query = text("SELECT sharing FROM card WHERE serial = :serial")
            assert session.scalar(query, {"serial": serial_of(service, card_id)}) is live


def test_a_withdrawal_waits_for_no_other_change_of_the_card(service: Service) -> None:
    for serial in range(8):
        card_id = service.app.register(serial)["card_id"]
        made = agree(service.app, card_id, SHARING)
        take = poster(service, service.app, f"/v1/cards/{card_id}/consents/{made['consent_id']}/withdraw", None)
        suspend = poster(service, service.app, f"/v1/cards/{card_id}/suspend", {"reason": "r"})
        taken, _ = at_once(take, suspend)
        assert taken.status_code == 200


def test_pages_hold_every_consent_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = [agree(service.app, card_id, SHARING, f"v{number}")["consent_id"] for number in range(7)]
    seen, query = [], {"limit": 3}
    while True:
        page = listed(service.app, f"/v1/cards/{card_id}/consents", **query)
        seen += [entry["consent_id"] for entry in page["items"]]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    assert sorted(seen) == sorted(made)
    assert len(page["items"]) == 1


def test_what_was_agreed_and_taken_back_is_in_the_history_and_the_audit_log(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = agree(service.app, card_id, SHARING)
    withdraw(service.app, card_id, made["consent_id"])
    with service.session() as session:
        told = session.execute(text("SELECT action, changed FROM card_event WHERE action LIKE 'consent%'")).all()
        acts = session.scalars(text("SELECT entry FROM audit WHERE action LIKE 'card.consent%' ORDER BY seq")).all()
    assert [tuple(row) for row in told] == [("consent-given", [SHARING]), ("consent-withdrawn", [SHARING])]
    assert all(made["consent_id"] in entry and '"version":"v1"' in entry for entry in acts)
    assert len(acts) == 2


def test_one_key_records_one_consent(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    body = {"purpose": SHARING, "text_version": "v1"}
    first = service.app.post(f"/v1/cards/{card_id}/consents", body, Idempotency_Key="k")
    withdraw(service.app, card_id, answered(first)["consent_id"])
    again = service.app.post(f"/v1/cards/{card_id}/consents", body, Idempotency_Key="k")
    assert (again.headers["Idempotency-Replayed"], answered(again)) == ("true", answered(first))
    assert len(consents(service, card_id)) == 1


def test_times_come_back_as_they_were_sent(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    made = agree(service.app, card_id, SHARING, given_at="2026-01-09T16:00:00.123+08:00")
    assert datetime.fromisoformat(made["given_at"]) == datetime.fromisoformat("2026-01-09T08:00:00.123+00:00")
