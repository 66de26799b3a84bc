"""Plastic cards: bound by the number that a reader returns, after a check, to the holder whose document is in sight."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ehc.access import clients
from ehc.callers import Scope
from tests.contract.helpers import problem, wrong
from tests.support.plastic import (
    ATR,
    actions,
    again,
    bound,
    checked,
    delete,
    holder,
    later,
    listed,
    path,
    read,
    states,
    wanted,
)
from tests.support.service import Api, Service, citizen_number, told

DAY = 86_400
REASON = {"reason": "遗失"}


def test_a_terminal_binds_the_card_in_its_reader(service: Service) -> None:
    card = checked(service)
    answer = service.terminal.post(path(card), wanted(card))
    assert answer.status_code == 201, answer.text
    one = told(answer)
    assert (one["kind"], one["state"], one["institution"]) == ("resident-health-card", "active", None)
    assert one["card_number"] == "00AB**********01"
    repeated = service.terminal.post(path(card), wanted(card))
    assert (repeated.status_code, told(repeated)) == (200, one)
    assert actions(service) == ["bound"]
    assert listed(service) == {}


def test_a_number_is_taken_in_one_form(service: Service) -> None:
    card = checked(service)
    bound(service, card, ATR.format(10).lower())
    assert service.terminal.post(path(card), wanted(card, 10)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("resident-health-card", ["0" * 16, "F" * 16], ["0" * 15, "0" * 17, "G" * 16, "０" * 16]),
        (
            "social-security-card",
            ["370100-A12345678"],
            ["A12345678", "370100-A1234567", "370100-A123456789", "37010-A12345678"],
        ),
        ("visit-card", ["a-12", "x" * 32], ["x12", "x" * 33, "-123", "a 12", citizen_number(5)]),
        (
            "rural-cooperative-card",
            ["630105-6301051234", f"630105-{'x' * 24}"],
            ["6301051234", f"630105-{'6' * 9}", f"630105-{'6' * 25}", "630105-630105/234", citizen_number(5)],
        ),
        (
            "citizen-card",
            ["370100-12345678", f"370100-{'x' * 24}"],
            [
                "12345678",
                "370100-1234567",
                f"370100-{'1' * 25}",
                citizen_number(5),
                f"370100-{citizen_number(5).lower()}",
            ],
        ),
        ("wristband", ["W001"], ["W01", "腕带0001"]),
    ],
)
def test_each_kind_has_a_form(service: Service, kind: str, good: list[str], bad: list[str]) -> None:
    card = checked(service)
    for number in bad:
        assert wrong(service.terminal.post(path(card), wanted(card, number, kind=kind))) == [("/card_number", "form")]
        assert read(service, number, kind=kind)["reason"] == "malformed"
    for number in good:
        assert service.terminal.post(path(card), wanted(card, number, kind=kind)).status_code == 201
        assert read(service, number, kind=kind)["outcome"] == "accepted"


def test_an_unknown_kind_is_a_wrong_request(service: Service) -> None:
    card = checked(service)
    assert wrong(service.terminal.post(path(card), wanted(card, kind="bus-card"))) == [("/kind", "choice")]


def test_the_proof_is_a_check_of_this_card_at_this_institution(service: Service) -> None:
    mine, other = checked(service, 1), checked(service, 2)
    elsewhere = again(service, mine, at=service.second_terminal)
    for proof in (other["verification_id"], elsewhere["verification_id"], str(uuid4()), mine["card_id"]):
        answer = service.terminal.post(path(mine), wanted(mine, verification_id=proof))
        assert problem(answer) == (409, "check-not-of-this-card")


def test_a_check_proves_for_thirty_minutes(service: Service) -> None:
    first, second = checked(service, 1), checked(service, 2)
    later(service, 30 * 60)
    assert service.terminal.post(path(first), wanted(first)).status_code == 201
    service.clock.advance(0.001)
    assert problem(service.terminal.post(path(second), wanted(second, 2))) == (409, "check-expired")


@pytest.mark.parametrize(
    ("assurance", "proves"),
    [
        ("static", False),
        ("unverified", False),
        ("plastic", False),
        ("plastic-confirmed", False),
        ("static-confirmed", True),
    ],
)
def test_only_some_checks_prove_who_was_there(service: Service, assurance: str, proves: bool) -> None:
    card = checked(service)
    with service.session() as session:
        session.execute(text("UPDATE verification SET assurance = :as"), {"as": assurance})
    answer = service.terminal.post(path(card), wanted(card))
    assert answer.status_code == 201 if proves else problem(answer) == (409, "check-too-weak")


def test_a_plastic_scan_is_no_proof_for_the_next_plastic_card(service: Service) -> None:
    card = checked(service)
    bound(service, card)
    scan = read(service, second_factor={"document_seen": True}, operator="李")
    assert scan["card"]["assurance"] == "plastic-confirmed"
    answer = service.terminal.post(path(card), wanted(card, 2, verification_id=scan["verification_id"]))
    assert problem(answer) == (409, "check-too-weak")


@pytest.mark.parametrize("changes", [{"name": "王大明"}, {"id_number": citizen_number(9)}])
def test_the_right_number_with_another_name_is_refused(service: Service, changes: dict[str, Any]) -> None:
    card = checked(service)
    answer = service.terminal.post(path(card), wanted(card, holder=holder(card, **changes)))
    assert problem(answer) == (409, "holder-mismatch")
    assert states(service) == []


def test_a_formal_card_needs_its_holder(service: Service) -> None:
    card = checked(service)
    body = wanted(card)
    body.pop("holder")
    assert wrong(service.terminal.post(path(card), body)) == [("/holder", "required")]


@pytest.mark.parametrize(
    ("move", "code"), [("suspend", "card-suspended"), ("report-loss", "card-suspended"), ("cancel", "card-not-active")]
)
def test_nothing_is_bound_to_a_card_that_is_not_active(service: Service, move: str, code: str) -> None:
    card = checked(service)
    assert service.app.post(f"/v1/cards/{card['card_id']}/{move}", REASON).status_code == 200
    assert problem(service.terminal.post(path(card), wanted(card))) == (409, code)


def test_nothing_is_bound_to_the_card_of_somebody_who_died(service: Service) -> None:
    card = checked(service)
    with service.session() as session:
        session.execute(text("UPDATE card SET status = 'cancelled', cause = 'deceased'"))
    assert problem(service.terminal.post(path(card), wanted(card))) == (409, "holder-deceased")


def test_a_plastic_card_is_on_one_account(service: Service) -> None:
    first, second = checked(service, 1), checked(service, 2)
    binding = bound(service, first)
    assert problem(service.terminal.post(path(second), wanted(second))) == (409, "already-bound")
    assert delete(service.app, path(first, binding)).status_code == 200
    assert read(service)["reason"] == "not-issued"
    assert service.terminal.post(path(second), wanted(second)).status_code == 201
    assert read(service)["card"]["card_id"] == second["card_id"]
    assert sorted(states(service)) == ["active", "unbound"]


def test_numbers_of_visit_cards_are_each_hospital_s_own(service: Service) -> None:
    here, there = checked(service, 1), checked(service, 2, at=service.second_terminal)
    bound(service, here, "V-0001", kind="visit-card")
    body = wanted(there, "V-0001", kind="visit-card")
    answer = service.second_terminal.post(path(there), body)
    assert answer.status_code == 201, answer.text
    assert told(answer)["institution"] == "第二医院"
    assert read(service, "V-0001", kind="visit-card")["card"]["card_id"] == here["card_id"]
    scan = read(service, "V-0001", kind="visit-card", at=service.second_terminal)
    assert scan["card"]["card_id"] == there["card_id"]


def test_one_number_of_two_regions_is_two_cards(service: Service) -> None:
    """Regions number their cards apart: a card of the one must not lead to who bound that of the other."""
    first, second = checked(service, 1), checked(service, 2)
    bound(service, first, "370100-A12345678", kind="social-security-card")
    unknown = read(service, "370200-A12345678", kind="social-security-card")
    assert (unknown["outcome"], unknown["reason"]) == ("rejected", "not-issued")
    bound(service, second, "370200-A12345678", kind="social-security-card")
    for region, card in (("370100", first), ("370200", second)):
        scan = read(service, f"{region}-A12345678", kind="social-security-card")
        assert scan["card"]["card_id"] == card["card_id"]


def test_who_sees_which(service: Service) -> None:
    card = checked(service)
    bound(service, card)
    own = bound(service, card, "V-0001", kind="visit-card")
    there = again(service, card, at=service.second_terminal)

    def seen(api: Any, query: str = "") -> list[str]:
        return sorted(one["kind"] for one in told(api.get(path(card) + query))["items"])

    both = ["resident-health-card", "visit-card"]
    assert seen(service.app) == both
    assert seen(service.terminal) == ["visit-card"]
    assert seen(service.second_terminal) == []
    assert seen(service.terminal, f"?verification_id={card['verification_id']}") == both
    assert seen(service.second_terminal, f"?verification_id={there['verification_id']}") == both[:1]
    stolen = service.second_terminal.get(f"{path(card)}?verification_id={card['verification_id']}")
    assert problem(stolen) == (409, "check-not-of-this-card")
    assert problem(service.other_app.get(path(card))) == (404, "card-not-found")
    whole = told(service.app.get(f"/v1/cards/{card['card_id']}/bindings"))
    assert [len(whole[name]) for name in ("plastic_cards", "patient_ids", "bank_accounts")] == [2, 0, 0]
    whole = told(service.second_terminal.get(f"/v1/cards/{card['card_id']}/bindings"))
    assert [len(whole[name]) for name in ("plastic_cards", "patient_ids", "bank_accounts")] == [0, 0, 0]
    assert problem(service.other_app.get(f"/v1/cards/{card['card_id']}/bindings")) == (404, "card-not-found")
    body = REASON | {"verification_id": there["verification_id"]}
    answer = service.second_terminal.post(path(card, own, "report-loss"), body)
    assert problem(answer) == (404, "binding-not-found")


def test_an_app_is_told_of_past_plastic_cards_where_it_asks(service: Service) -> None:
    card = checked(service)
    first = bound(service, card)
    body = wanted(card, 2)
    del body["kind"]
    second = told(service.terminal.post(path(card, first, "replace"), body))["binding_id"]
    third = bound(service, card, 3)
    later(service, 1)
    ended = told(delete(service.app, path(card, third)))["ended_at"]
    now = [(one["binding_id"], one["state"]) for one in told(service.app.get(path(card)))["items"]]
    assert now == [(second, "active")]
    whole = {one["binding_id"]: one for one in told(service.app.get(f"{path(card)}?past=true"))["items"]}
    assert {name: one["state"] for name, one in whole.items()} == {
        first: "replaced",
        second: "active",
        third: "unbound",
    }
    assert (whole[first]["replaced_by"], whole[third]["ended_at"]) == (second, ended)
    assert "ended_at" not in whole[second]
    assert wrong(service.terminal.get(f"{path(card)}?past=true")) == [("/past", "unknown-member")]


def test_an_app_sends_no_number(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    assert problem(service.app.post(path(card), wanted(card, 2))) == (403, "insufficient-scope")
    replacement = {"card_number": ATR.format(2), "verification_id": card["verification_id"]}
    assert problem(service.app.post(path(card, binding, "replace"), replacement)) == (403, "insufficient-scope")
    found = {"verification_id": card["verification_id"]}
    assert problem(service.app.post(path(card, binding, "found"), found)) == (403, "insufficient-scope")
    body = {"card_number": ATR.format(1), "kind": "resident-health-card", "step": "registration"}
    assert problem(service.app.post("/v1/verifications", body)) == (403, "insufficient-scope")
    assert wrong(service.app.post(path(card, binding, "report-loss"), REASON | found)) == [
        ("/verification_id", "unknown-member")
    ]


def test_an_app_without_the_scope_of_bindings_sees_and_moves_nothing(service: Service) -> None:
    scopes = frozenset({Scope.CARDS, Scope.VERIFY})
    with service.session() as session:
        made = clients.add_app(session, name="验卡应用", scopes=scopes, now=service.clock.now())
    api = Api(service.flask.test_client(), made)
    card = checked(service)
    binding = bound(service, card)
    assert api.register(1)["card_id"] == card["card_id"]
    whole = f"/v1/cards/{card['card_id']}/bindings"
    for answer in (
        api.get(whole),
        api.get(path(card)),
        api.post(path(card, binding, "report-loss"), REASON),
        delete(api, path(card, binding)),
        api.get(f"{whole}/patient-ids"),
        delete(api, f"{whole}/patient-ids/{binding}"),
    ):
        assert problem(answer) == (403, "insufficient-scope")
    assert states(service) == ["active"]


def test_an_app_without_a_grant_moves_nothing(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    for answer in (
        service.other_app.post(path(card, binding, "report-loss"), REASON),
        service.other_app.post(path(card, binding, "withdraw-loss")),
        delete(service.other_app, path(card, binding)),
    ):
        assert problem(answer) == (404, "card-not-found")
    mine = checked(service, 2)
    assert problem(delete(service.app, path(mine, binding))) == (404, "binding-not-found")
    assert states(service) == ["active"]


def test_a_loss_by_app_ends_by_itself(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    answer = service.app.post(path(card, binding, "report-loss"), REASON)
    assert (answer.status_code, told(answer)["state"]) == (200, "loss-temporary")
    assert list(listed(service).values()) == ["loss-temporary"]
    assert read(service)["reason"] == "card-suspended"
    later(service, 7 * DAY - 0.001)
    assert read(service)["reason"] == "card-suspended"
    assert told(service.app.get(path(card)))["items"][0]["state"] == "loss-temporary"
    service.clock.advance(0.001)
    assert read(service)["outcome"] == "accepted"
    assert told(service.app.get(path(card)))["items"][0]["state"] == "active"
    assert states(service) == ["loss-temporary"]  # no job came by
    repeated = service.app.post(path(card, binding, "report-loss"), REASON)
    assert told(repeated)["state"] == "loss-temporary"
    assert actions(service) == ["bound", "loss-reported", "loss-ran-out", "loss-reported"]


def test_a_loss_by_app_is_taken_back(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    assert problem(service.app.post(path(card, binding, "withdraw-loss"))) == (409, "plastic-state")
    service.app.post(path(card, binding, "report-loss"), REASON)
    assert problem(service.app.post(path(card, binding, "report-loss"), REASON)) == (409, "plastic-state")
    assert told(service.app.post(path(card, binding, "withdraw-loss")))["state"] == "active"
    assert list(listed(service).values()) == [None]
    assert read(service)["outcome"] == "accepted"


def test_a_loss_at_a_terminal_lasts_until_the_card_is_found(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    assert wrong(service.terminal.post(path(card, binding, "report-loss"), REASON)) == [
        ("/verification_id", "required")
    ]
    body = REASON | {"verification_id": card["verification_id"]}
    assert told(service.terminal.post(path(card, binding, "report-loss"), body))["state"] == "lost"
    for answer in (service.app.post(path(card, binding, "withdraw-loss")), delete(service.app, path(card, binding))):
        assert problem(answer) == (409, "plastic-state")
    later(service, 365 * DAY)
    assert read(service)["reason"] == "card-suspended"
    found = path(card, binding, "found")
    stale = service.terminal.post(found, {"verification_id": card["verification_id"]})
    assert problem(stale) == (409, "check-expired")
    fresh = again(service, card)
    assert told(service.terminal.post(found, {"verification_id": fresh["verification_id"]}))["state"] == "active"
    assert list(listed(service).values()) == [None]
    assert actions(service) == ["bound", "loss-confirmed", "found"]


@pytest.mark.parametrize("lost", [False, True])
def test_a_card_is_replaced_for_ever(service: Service, lost: bool) -> None:
    card, other = checked(service, 1), checked(service, 2)
    binding = bound(service, card)
    if lost:
        service.app.post(path(card, binding, "report-loss"), REASON)
    body = {name: wanted(card, 2)[name] for name in ("card_number", "holder", "verification_id")}
    assert wrong(service.terminal.post(path(card, binding, "replace"), body | {"card_number": ATR.format(1)})) == [
        ("/card_number", "same")
    ]
    answer = service.terminal.post(path(card, binding, "replace"), body)
    assert answer.status_code == 201, answer.text
    repeated = service.terminal.post(path(card, binding, "replace"), body)
    assert (repeated.status_code, told(repeated)) == (200, told(answer))
    third = service.terminal.post(path(card, binding, "replace"), body | {"card_number": ATR.format(3)})
    assert problem(third) == (409, "plastic-state")
    assert [read(service, number)["reason"] for number in (1, 2)] == ["card-cancelled", None]
    for claim in (card, other):
        assert problem(service.terminal.post(path(claim), wanted(claim, 1))) == (409, "already-bound")
    assert list(listed(service).values()) == ["replaced"]
    service.app.post(f"/v1/cards/{card['card_id']}/cancel", REASON)
    assert problem(service.terminal.post(path(other), wanted(other, 1))) == (409, "already-bound")
    assert sorted(state for state in states(service)) == ["cancelled", "replaced"]


def test_a_card_is_not_replaced_by_somebody_else_s(service: Service) -> None:
    card, other = checked(service, 1), checked(service, 2)
    binding = bound(service, card)
    bound(service, other, 2)
    body = {name: wanted(card, 2)[name] for name in ("card_number", "holder", "verification_id")}
    assert problem(service.terminal.post(path(card, binding, "replace"), body)) == (409, "already-bound")
    assert states(service) == ["active", "active"]


def test_a_lost_card_that_is_unbound_stays_on_the_list_until_its_time(service: Service) -> None:
    card = checked(service)
    binding = bound(service, card)
    service.app.post(path(card, binding, "report-loss"), REASON)
    first, second = (delete(service.app, path(card, binding)) for _ in range(2))
    assert (first.status_code, told(first)["state"]) == (200, "unbound")
    assert told(second) == told(first)
    assert list(listed(service).values()) == ["loss-temporary"]
    assert actions(service) == ["bound", "loss-reported", "unbound"]
    fresh = again(service, card)
    bound(service, fresh)
    assert list(listed(service).values()) == [None]


def test_a_lost_card_that_is_unbound_is_nobody_else_s_until_its_time(service: Service) -> None:
    """Whoever stole card and phone must not set the card free by binding it to an account of their own."""
    card, thief = checked(service, 1), checked(service, 2)
    binding = bound(service, card)
    service.app.post(path(card, binding, "report-loss"), REASON)
    delete(service.app, path(card, binding))
    assert problem(service.terminal.post(path(thief), wanted(thief))) == (409, "already-bound")
    assert list(listed(service).values()) == ["loss-temporary"]
    bound(service, card)  # its holder, checked at the window with the card in the reader
    assert list(listed(service).values()) == [None]
    binding = told(service.app.get(path(card)))["items"][0]["binding_id"]
    service.app.post(path(card, binding, "report-loss"), REASON)
    delete(service.app, path(card, binding))
    later(service, 7 * DAY)
    bound(service, again(service, thief))


def test_cancelling_the_account_cancels_its_plastic_cards(service: Service) -> None:
    card, other = checked(service, 1), checked(service, 2)
    bound(service, card)
    service.app.post(f"/v1/cards/{card['card_id']}/cancel", REASON)
    assert (states(service), list(listed(service).values())) == (["cancelled"], ["cancelled"])
    assert read(service)["reason"] == "card-cancelled"
    bound(service, other)
    assert list(listed(service).values()) == [None]
    assert read(service)["card"]["card_id"] == other["card_id"]


def test_a_wristband_leads_to_a_temporary_card_and_no_other_kind_does(service: Service) -> None:
    arrival = {"name": "unknown", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()}
    made = told(service.app.post("/v1/temporary-cards", arrival))
    scan = service.terminal.scan(made["code"])
    card = {"card_id": made["card_id"], "verification_id": scan["verification_id"], "serial": 1}
    body = wanted(card, "W001", kind="wristband")
    body.pop("holder")
    answer = service.terminal.post(path(card), body | {"kind": "visit-card"})
    assert problem(answer) == (409, "card-not-active")
    assert service.terminal.post(path(card), body).status_code == 201
    told_of = read(service, "W001", kind="wristband", second_factor={"document_seen": True}, operator="李")
    assert (told_of["card"]["assurance"], told_of["card"]["verified"]) == ("unverified", False)
    assert "second_factor" not in told_of


def test_an_institution_unbinds_what_it_numbers_and_nothing_else(service: Service) -> None:
    """The wristband of somebody whom nobody can name comes off, and its number goes to the next patient."""
    arrival = {"name": "unknown", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()}
    made = told(service.app.post("/v1/temporary-cards", arrival))
    check = service.terminal.scan(made["code"])["verification_id"]
    card = {"card_id": made["card_id"], "verification_id": check, "serial": 1}
    body = wanted(card, "W-0001", kind="wristband")
    del body["holder"]
    wristband = told(service.terminal.post(path(card), body))["binding_id"]
    assert problem(delete(service.second_terminal, path(card, wristband))) == (404, "binding-not-found")
    for _ in range(2):
        assert told(delete(service.terminal, path(card, wristband)))["state"] == "unbound"
    following = checked(service)
    bound(service, following, "W-0001", kind="wristband")
    assert read(service, "W-0001", kind="wristband")["card"]["card_id"] == following["card_id"]
    everybody_s = bound(service, following)
    assert problem(delete(service.terminal, path(following, everybody_s))) == (404, "binding-not-found")


def test_the_same_key_is_one_binding(service: Service) -> None:
    card = checked(service)
    first, second = (service.terminal.post(path(card), wanted(card), Idempotency_Key="k") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotency-Replayed"] == "true"


def test_no_number_is_in_the_log_the_audit_or_an_error(
    written: Callable[[], str], start: Callable[..., Service]
) -> None:
    service = start(log_level="DEBUG")
    card, number, secret = checked(service), "C0FFEE0123456789", "丢在公交车上了"
    binding = bound(service, card, number)
    service.app.post(path(card, binding, "report-loss"), {"reason": secret})
    answers = [
        service.terminal.post(path(card), wanted(card, number + "0")),
        service.terminal.post(path(checked(service, 2)), wanted(checked(service, 2), number)),
        service.app.get(path(card)),
    ]
    read(service, number)
    read(service, number + "0")
    with service.session() as session:
        tables = ("audit", "binding_event", "plastic_card", "plastic_blacklist", "verification")
        rows = [row for name in tables for row in session.scalars(text(f"SELECT t::text FROM {name} t"))]
    everything = "\n".join([written(), *rows, *(answer.text for answer in answers)])
    assert '"event"' in everything
    assert not [mark for mark in (number, number.lower(), number[4:14], secret) if mark in everything]
