"""Hospital patient ids: bound after a check there, told to that hospital alone, followed when records merge or split."""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ehc.binding import proofs
from tests.contract.helpers import at_once, poster, problem, wrong
from tests.support.service import Api, Service, told

REPEATS = 200

Checked = Callable[..., dict[str, Any]]


@pytest.fixture
def checked(service: Service) -> Checked:
    """A card of somebody, checked at a terminal just now: `card_id`, and `verification_id` of the check."""

    def make(serial: int = 1, *, at: Api | None = None) -> dict[str, Any]:
        card = service.app.register(serial)
        scan = (at or service.terminal).scan(service.app.code(card["card_id"]))
        return {"card_id": card["card_id"], "verification_id": scan["verification_id"]}

    return make


def path(card: dict[str, Any]) -> str:
    return f"/v1/cards/{card['card_id']}/bindings/patient-ids"


def wanted(card: dict[str, Any], number: str = "P-1", **changes: Any) -> dict[str, Any]:
    return {"id_type": "outpatient", "patient_id": number, "verification_id": card["verification_id"]} | changes


def ended(service: Service) -> list[tuple[str, bool]]:
    with service.session() as session:
        rows = session.execute(
            text("SELECT ended_for, replaced_by IS NOT NULL FROM patient_id WHERE ended_at IS NOT NULL ORDER BY id")
        )
        return [tuple(row) for row in rows]


def test_an_institution_binds_its_own_id_after_a_check(service: Service, checked: Checked) -> None:
    card = checked()
    answer = service.terminal.post(path(card), wanted(card))
    assert answer.status_code == 201, answer.text
    assert {name: told(answer)[name] for name in ("id_type", "patient_id", "institution", "source")} == {
        "id_type": "outpatient",
        "patient_id": "P-1",
        "institution": "第一医院",
        "source": "check",
    }
    again = service.terminal.post(path(card), wanted(card))
    assert (again.status_code, told(again)["binding_id"]) == (200, told(answer)["binding_id"])


def test_the_holder_sees_it_masked_and_no_other_institution_sees_it(service: Service, checked: Checked) -> None:
    card = checked()
    service.terminal.post(path(card), wanted(card, "P-12345678"))
    assert [one["patient_id"] for one in told(service.app.get(path(card)))["items"]] == ["P-******78"]
    assert [one["patient_id"] for one in told(service.terminal.get(path(card)))["items"]] == ["P-12345678"]
    assert told(service.second_terminal.get(path(card)))["items"] == []
    assert problem(service.other_app.get(path(card))) == (404, "card-not-found")


def test_the_proof_is_a_check_of_this_card_at_this_institution(service: Service, checked: Checked) -> None:
    mine, other = checked(1), checked(2)
    elsewhere = checked(1, at=service.second_terminal)
    for proof in (other["verification_id"], elsewhere["verification_id"], str(uuid4()), mine["card_id"]):
        answer = service.terminal.post(path(mine), wanted(mine, verification_id=proof))
        assert problem(answer) == (409, "check-not-of-this-card")


def test_a_check_proves_for_thirty_minutes(service: Service, checked: Checked) -> None:
    first, second = checked(1), checked(2)
    service.clock.advance(30 * 60)
    service.terminal.headers.update(Api(service.client(), service.terminal.credentials).headers)
    assert service.terminal.post(path(first), wanted(first)).status_code == 201
    service.clock.advance(0.001)
    assert problem(service.terminal.post(path(second), wanted(second, "P-2"))) == (409, "check-expired")


def test_a_static_code_alone_does_not_prove_who_was_there(service: Service, checked: Checked) -> None:
    card = checked()
    with service.session() as session:
        session.execute(
            text("UPDATE verification SET assurance = 'static' WHERE id = :id"), {"id": card["verification_id"]}
        )
    assert problem(service.terminal.post(path(card), wanted(card))) == (409, "check-too-weak")


def test_a_refused_check_proves_nothing(service: Service, checked: Checked) -> None:
    card = checked()
    code = service.app.code(card["card_id"])
    service.terminal.scan(code)
    refused = service.second_terminal.scan(code)
    assert refused["reason"] == "already-used"
    answer = service.second_terminal.post(path(card), wanted(card, verification_id=refused["verification_id"]))
    assert problem(answer) == (409, "check-not-of-this-card")


@pytest.mark.parametrize(
    ("move", "code"), [("suspend", "card-suspended"), ("report-loss", "card-suspended"), ("cancel", "card-not-active")]
)
def test_nothing_is_bound_to_a_card_that_is_not_active(
    service: Service, checked: Checked, move: str, code: str
) -> None:
    card = checked()
    assert service.app.post(f"/v1/cards/{card['card_id']}/{move}", {"reason": "遗失"}).status_code == 200
    assert problem(service.terminal.post(path(card), wanted(card))) == (409, code)


def test_nothing_is_bound_to_the_card_of_somebody_who_died(service: Service, checked: Checked) -> None:
    card = checked()
    with service.session() as session:
        session.execute(text("UPDATE card SET status = 'cancelled', cause = 'deceased'"))
    assert problem(service.terminal.post(path(card), wanted(card))) == (409, "holder-deceased")


def test_an_id_leads_to_one_card(service: Service, checked: Checked) -> None:
    first, second = checked(1), checked(2)
    assert service.terminal.post(path(first), wanted(first)).status_code == 201
    assert problem(service.terminal.post(path(second), wanted(second))) == (409, "already-bound")
    # another type, and another institution, number their patients for themselves
    assert service.terminal.post(path(second), wanted(second, id_type="inpatient")).status_code == 201
    there = checked(2, at=service.second_terminal)
    assert service.second_terminal.post(path(there), wanted(there)).status_code == 201


def test_a_card_has_one_id_of_a_type_at_an_institution(service: Service, checked: Checked) -> None:
    card = checked()
    service.terminal.post(path(card), wanted(card))
    assert problem(service.terminal.post(path(card), wanted(card, "P-2"))) == (409, "patient-id-in-place")


@pytest.mark.parametrize("number", ["", "P 1", "-1", "P-1\n", "患者1", "x" * 65])
def test_what_is_no_patient_id_is_refused(service: Service, checked: Checked, number: str) -> None:
    card = checked()
    assert [pointer for pointer, _ in wrong(service.terminal.post(path(card), wanted(card, number)))] == ["/patient_id"]


def test_the_longest_patient_id_is_taken(service: Service, checked: Checked) -> None:
    card = checked()
    assert service.terminal.post(path(card), wanted(card, "x" * 64)).status_code == 201


def test_an_app_binds_no_patient_id(service: Service, checked: Checked) -> None:
    card = checked()
    assert problem(service.app.post(path(card), wanted(card))) == (404, "binding-not-found")
    change = {"change": "merge", "id_type": "outpatient", "patient_id": "P-1", "into": "P-2"}
    assert problem(service.app.post("/v1/patient-ids/changes", change)) == (404, "binding-not-found")


def test_holder_and_institution_end_it_and_nobody_else(service: Service, checked: Checked) -> None:
    card = checked()
    binding = told(service.terminal.post(path(card), wanted(card)))["binding_id"]
    for api, code in ((service.second_terminal, "binding-not-found"), (service.other_app, "card-not-found")):
        answer = api.http.delete(f"{path(card)}/{binding}", headers=api.headers)
        assert problem(answer) == (404, code)
    app = service.app
    first, again = (app.http.delete(f"{path(card)}/{binding}", headers=app.headers) for _ in range(2))
    assert first.status_code == again.status_code == 200
    assert told(first) == told(again)
    assert told(service.terminal.get(path(card)))["items"] == []
    assert ended(service) == [("holder", False)]
    assert service.terminal.post(path(card), wanted(card)).status_code == 201


@pytest.mark.parametrize(("how", "why"), [("merge", "merged"), ("split", "split")])
def test_a_change_of_records_is_followed(service: Service, checked: Checked, how: str, why: str) -> None:
    card = checked()
    service.terminal.post(path(card), wanted(card))
    change = {"change": how, "id_type": "outpatient", "patient_id": "P-1", "into": "P-9"}
    first, again = (service.terminal.post("/v1/patient-ids/changes", change) for _ in range(2))
    assert first.status_code == 200, first.text
    assert told(first) == told(again)
    assert [one["patient_id"] for one in told(service.terminal.get(path(card)))["items"]] == ["P-9"]
    assert ended(service) == [(why, True)]
    assert problem(service.second_terminal.post("/v1/patient-ids/changes", change)) == (404, "binding-not-found")


@pytest.mark.parametrize("move", ["suspend", "report-loss"])
def test_a_change_of_records_is_followed_whatever_the_state_of_the_card(
    service: Service, checked: Checked, move: str
) -> None:
    """Else the card, active again, would lead to a record that is no more."""
    card = checked()
    service.terminal.post(path(card), wanted(card))
    assert service.app.post(f"/v1/cards/{card['card_id']}/{move}", {"reason": "遗失"}).status_code == 200
    change = {"change": "merge", "id_type": "outpatient", "patient_id": "P-1", "into": "P-9"}
    assert service.terminal.post("/v1/patient-ids/changes", change).status_code == 200
    assert [one["patient_id"] for one in told(service.terminal.get(path(card)))["items"]] == ["P-9"]


def test_a_change_that_is_told_again_after_the_next_one_is_known(service: Service, checked: Checked) -> None:
    card = checked()
    service.terminal.post(path(card), wanted(card))
    first = {"change": "merge", "id_type": "outpatient", "patient_id": "P-1", "into": "P-5"}
    assert service.terminal.post("/v1/patient-ids/changes", first).status_code == 200
    second = service.terminal.post("/v1/patient-ids/changes", first | {"patient_id": "P-5", "into": "P-9"})
    again = service.terminal.post("/v1/patient-ids/changes", first)
    assert (again.status_code, told(again)) == (200, told(second))  # the record that goes on now
    never = first | {"into": "P-7"}
    assert problem(service.terminal.post("/v1/patient-ids/changes", never)) == (404, "binding-not-found")


def test_a_change_is_followed_to_the_card_that_goes_on(
    service: Service, checked: Checked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The card is joined to another just when the hospital merges its records."""
    first, second = checked(1), checked(2)
    service.terminal.post(path(first), wanted(first))
    hold = proofs.hold
    held: list[Any] = []

    def joined(session: Any, card: Any) -> None:
        if not held:
            with service.session() as other:
                moved = text("UPDATE patient_id SET card_serial = (SELECT serial FROM card WHERE id = :id)")
                other.execute(moved, {"id": second["card_id"]})
        held.append(card)
        hold(session, card)

    monkeypatch.setattr(proofs, "hold", joined)
    change = {"change": "merge", "id_type": "outpatient", "patient_id": "P-1", "into": "P-9"}
    assert service.terminal.post("/v1/patient-ids/changes", change).status_code == 200
    assert [one["patient_id"] for one in told(service.terminal.get(path(second)))["items"]] == ["P-9"]


def test_an_answer_kept_for_a_key_does_not_outlive_the_patient_id(service: Service, checked: Checked) -> None:
    """A wrong one that was ended is a wrong patient at each repetition."""
    card = checked()
    service.terminal.post(path(card), wanted(card))
    inpatient = wanted(card, "I-1", id_type="inpatient")
    binding = told(service.terminal.post(path(card), inpatient))["binding_id"]
    body = {"code": service.app.code(card["card_id"]), "step": "registration"}

    def scan() -> dict[str, Any]:
        return told(service.terminal.post("/v1/verifications", body, Idempotency_Key="k"))

    first = scan()
    assert (first["patient_id"], first["patient_ids"]) == ("P-1", {"outpatient": "P-1", "inpatient": "I-1"})
    assert scan() == first
    change = {"change": "merge", "id_type": "outpatient", "patient_id": "P-1", "into": "P-9"}
    assert service.terminal.post("/v1/patient-ids/changes", change).status_code == 200
    assert scan() == first | {"patient_id": "P-9", "patient_ids": {"outpatient": "P-9", "inpatient": "I-1"}}
    service.terminal.http.delete(f"{path(card)}/{binding}", headers=service.terminal.headers)
    assert scan() == first | {"patient_id": "P-9", "patient_ids": {"outpatient": "P-9"}}
    for one in told(service.terminal.get(path(card)))["items"]:
        service.terminal.http.delete(f"{path(card)}/{one['binding_id']}", headers=service.terminal.headers)
    assert scan() == {name: value for name, value in first.items() if name not in {"patient_id", "patient_ids"}}


def test_records_of_two_people_are_not_merged(service: Service, checked: Checked) -> None:
    first, second = checked(1), checked(2)
    service.terminal.post(path(first), wanted(first))
    service.terminal.post(path(second), wanted(second, "P-2"))
    change = {"change": "merge", "id_type": "outpatient", "patient_id": "P-1", "into": "P-2"}
    assert problem(service.terminal.post("/v1/patient-ids/changes", change)) == (409, "already-bound")
    assert wrong(service.terminal.post("/v1/patient-ids/changes", change | {"into": "P-1"})) == [("/into", "same")]
    assert ended(service) == []


def test_cancelling_ends_it_and_leaves_a_trace(service: Service, checked: Checked) -> None:
    card = checked()
    service.terminal.post(path(card), wanted(card))
    service.app.post(f"/v1/cards/{card['card_id']}/cancel", {"reason": "不再使用"})
    assert ended(service) == [("cancelled", False)]
    with service.session() as session:
        actions = session.scalars(text("SELECT action FROM binding_event ORDER BY seq")).all()
        acts = session.scalars(text("SELECT action FROM audit WHERE action LIKE 'card.patient-id-%'")).all()
    assert actions == ["bound", "ended"]
    assert sorted(acts) == ["card.patient-id-bound", "card.patient-id-ended"]


def test_of_cards_that_claim_one_id_at_once_one_has_it(service: Service, checked: Checked) -> None:
    cards = [checked(serial) for serial in range(1, 5)]
    for number in range(REPEATS):
        calls = [poster(service, service.terminal, path(card), wanted(card, f"P-{number}")) for card in cards]
        answers = at_once(*calls)
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [201, 409, 409, 409]
        assert {problem(one) for one in answers if one.status_code == 409} == {(409, "already-bound")}
        winner = next(card for card, one in zip(cards, answers, strict=True) if one.status_code == 201)
        binding = next(told(one)["binding_id"] for one in answers if one.status_code == 201)
        gone = service.terminal.http.delete(f"{path(winner)}/{binding}", headers=service.terminal.headers)
        assert gone.status_code == 200


def test_an_id_that_is_bound_while_its_card_is_cancelled_does_not_live_on(service: Service, checked: Checked) -> None:
    seen: Counter[int] = Counter()
    for serial in range(1, REPEATS + 1):
        card = checked(serial)
        bind = poster(service, service.terminal, path(card), wanted(card, f"P-{serial}"))
        bound, cancelled = at_once(
            bind, poster(service, service.app, f"/v1/cards/{card['card_id']}/cancel", {"reason": "不再使用"})
        )
        assert cancelled.status_code == 200
        assert bound.status_code == 201 or problem(bound) == (409, "card-not-active")
        seen[bound.status_code] += 1
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM patient_id WHERE ended_at IS NULL")) == 0
        assert session.scalar(text("SELECT count(*) FROM patient_id")) == seen[201]


def test_two_institutions_that_bind_at_once_each_have_their_own(service: Service, checked: Checked) -> None:
    for serial in range(1, REPEATS + 1):
        here, there = checked(serial), checked(serial, at=service.second_terminal)
        answers = at_once(
            poster(service, service.terminal, path(here), wanted(here, f"P-{serial}")),
            poster(service, service.second_terminal, path(there), wanted(there, f"P-{serial}")),
        )
        assert [one.status_code for one in answers] == [201, 201]
    with service.session() as session:
        kept = "SELECT count(*), count(DISTINCT card_serial) FROM patient_id WHERE ended_at IS NULL GROUP BY institution_id"
        assert [tuple(row) for row in session.execute(text(kept))] == [(REPEATS, REPEATS)] * 2
