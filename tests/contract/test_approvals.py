"""The two-person rule: what one proposes another decides, once, in time, and about the world as it was."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from ehc.access.staff_models import StaffRow
from ehc.callers import Role
from ehc.cards.models import CardRow
from ehc.cards.store import NoSuchCard
from ehc.errors import Text, Unavailable
from ehc.issuer import lifecycle, mass_cancelling, tasks
from ehc.keystore import signing_keys
from ehc.place import Place
from ehc.worker import drain
from tests.contract.helpers import at_once, problem, signer_of, wrong
from tests.contract.test_staff_log_in import acts
from tests.support.service import Service, StaffApi, citizen_number, person, told
from tests.support.two_people import APPROVALS, TABLE, approved, pair, proposed, rule

HOURS = 3600
KEYS, CARDS, RULES = f"{APPROVALS}/key-revocations", f"{APPROVALS}/card-cancellations", f"{TABLE}/proposals"


def key_body(service: Service) -> dict[str, Any]:
    return {"key_id": signer_of(service).key_id.hex(), "reason": "私钥可能泄露"}


def table_body(base: int = 0) -> dict[str, Any]:
    return {"base_version": base, "rules": [rule({"name": "clear"}, step="surgery")], "reason": "手术核对"}


def revoked(service: Service) -> int:
    with service.session() as session:
        return int(session.scalar(text("SELECT count(*) FROM signing_key WHERE revoked_at IS NOT NULL")) or 0)


def later(service: Service, who: StaffApi, seconds: float) -> StaffApi:
    """Somebody who has logged in anew, after a time."""
    service.clock.advance(seconds)
    fresh = service.staff(Role.SECURITY_ADMIN)
    with service.session() as session:
        session.execute(
            text("UPDATE staff_session SET staff_id = :old WHERE staff_id = :new"), {"old": who.id, "new": fresh.id}
        )
    return StaffApi(fresh.http, who.id, fresh.token)


def decide(who: StaffApi, approval_id: str, how: str = "approve") -> TestResponse:
    return who.post(f"{APPROVALS}/{approval_id}/{how}", {"reason": "不同意"} if how == "reject" else None)


def deciding(service: Service, who: StaffApi, approval_id: str, how: str = "approve") -> Callable[[], TestResponse]:
    """A decision to be made later, in a thread."""
    own = StaffApi(service.client(), who.id, who.token)
    return lambda: decide(own, approval_id, how)


def test_a_key_is_revoked_when_a_second_person_approves_it_and_not_before(service: Service) -> None:
    one, other = pair(service)
    body = key_body(service)
    approval_id = proposed(one, KEYS, body)
    assert revoked(service) == 0
    answer = told(decide(other, approval_id))
    assert (answer["state"], answer["proposed_by"], answer["decided_by"]) == ("approved", str(one.id), str(other.id))
    assert (answer["reason"], len(answer["outcome"]["successor"])) == ("私钥可能泄露", 16)
    assert revoked(service) == 1
    with service.session() as session:
        entry = session.scalars(text("SELECT entry FROM audit WHERE action = 'key.revoked'")).one()
        assert f"staff:{other.id}" in entry
        assert approval_id in entry
        actions = set(session.scalars(text("SELECT action FROM audit WHERE subject = :id"), {"id": approval_id}))
    assert actions == {"approval.proposed", "approval.approved"}


@pytest.mark.parametrize("how", ["approve", "reject"])
def test_nobody_decides_on_their_own_proposal(service: Service, how: str) -> None:
    one, _ = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    assert problem(decide(one, approval_id, how)) == (403, "approval-own")
    again = later(service, one, 60)  # nor in another session
    assert problem(decide(again, approval_id, how)) == (403, "approval-own")
    assert revoked(service) == 0


def test_the_database_holds_that_there_are_two(service: Service) -> None:
    one, _ = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    forged = text("UPDATE approval SET state = 'approved', decided_by = proposed_by WHERE id = :id")
    with service.session() as session, pytest.raises(IntegrityError, match="two_people"):
        session.execute(forged, {"id": approval_id})


def test_to_approve_takes_a_fresh_proof_and_to_reject_does_not(service: Service) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    service.clock.advance(299)
    stale = service.staff(Role.SECURITY_ADMIN)
    service.clock.advance(300)
    assert problem(decide(stale, approval_id)) == (403, "proof-too-old")
    assert revoked(service) == 0
    assert told(decide(other, approval_id, "reject"))["decision_reason"] == "不同意"


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMIN, Role.AUDIT_ADMIN])
def test_who_lacks_the_right_decides_nothing(service: Service, role: Role) -> None:
    one, _ = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    stranger = service.staff(role)
    for how in ("approve", "reject", "withdraw"):
        answer = decide(stranger, approval_id, how)
        assert answer.status_code in {403, 404}, how
    listed = told(stranger.get(APPROVALS))["items"]
    assert [item["approval_id"] for item in listed] == ([approval_id] if role is Role.AUDIT_ADMIN else [])
    assert revoked(service) == 0


def test_a_proposal_lives_for_72_hours_and_no_longer(service: Service) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    other = later(service, other, 72 * HOURS)
    assert problem(decide(other, approval_id)) == (409, "approval-closed")
    assert told(other.get(f"{APPROVALS}/{approval_id}"))["state"] == "lapsed"
    assert revoked(service) == 0
    second = proposed(other, KEYS, key_body(service))  # and it is in nobody's way
    one = later(service, one, 72 * HOURS - 1)
    assert told(decide(one, second))["state"] == "approved"
    with service.session() as session:
        actions = session.scalars(text("SELECT action FROM audit WHERE subject = :id"), {"id": approval_id}).all()
    assert "approval.lapsed" in actions


def test_one_object_has_one_open_proposal(service: Service) -> None:
    one, other = pair(service)
    body = key_body(service)
    approval_id = proposed(one, KEYS, body)
    again = one.post(KEYS, body)
    assert (again.status_code, told(again)["approval_id"]) == (200, approval_id)
    assert problem(other.post(KEYS, body)) == (409, "approval-open-already")
    assert decide(one, approval_id, "withdraw").status_code == 200
    assert other.post(KEYS, body).status_code == 201


@pytest.mark.parametrize("end", ["approve", "reject", "withdraw"])
def test_what_is_decided_is_decided_once(service: Service, end: str) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    assert decide(one if end == "withdraw" else other, approval_id, end).status_code == 200
    for who, how in ((other, "approve"), (other, "reject"), (one, "withdraw")):
        assert problem(decide(who, approval_id, how)) == (409, "approval-closed")
    assert revoked(service) == (1 if end == "approve" else 0)


def test_only_its_proposer_withdraws_a_proposal(service: Service) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    assert problem(decide(other, approval_id, "withdraw")) == (403, "approval-not-yours")


def test_of_several_who_approve_at_once_one_does(service: Service) -> None:
    one, _ = pair(service)
    approval_id = proposed(one, RULES, table_body())
    others = [service.staff(Role.SECURITY_ADMIN) for _ in range(6)]

    codes = sorted(answer.status_code for answer in at_once(*(deciding(service, who, approval_id) for who in others)))
    assert codes == [200, 409, 409, 409, 409, 409]
    assert told(one.get(TABLE))["version"] == 1


def test_approving_and_withdrawing_at_once_is_one_of_them(service: Service) -> None:
    for _ in range(5):
        one, other = pair(service)
        approval_id = proposed(one, RULES, table_body(told(one.get(TABLE))["version"]))
        before = told(one.get(TABLE))["version"]
        ends = at_once(deciding(service, one, approval_id, "withdraw"), deciding(service, other, approval_id))
        assert sorted(answer.status_code for answer in ends) == [200, 409]
        assert told(one.get(TABLE))["version"] == before + (1 if ends[1].status_code == 200 else 0)


def test_what_the_machine_s_operator_did_meanwhile_is_not_done_again(service: Service) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    key_id = signer_of(service).key_id
    with service.session() as session:
        signing_keys.revoke(session, service.settings.key_encrypting_key(), key_id, now=service.clock.now())
    assert problem(decide(other, approval_id)) == (404, "key-not-found")
    assert told(one.get(f"{APPROVALS}/{approval_id}"))["state"] == "open"
    assert revoked(service) == 1


@pytest.mark.parametrize("loss", ["disabled", "role"])
def test_a_proposal_of_somebody_who_lost_the_right_is_not_approved(service: Service, loss: str) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    with service.session() as session:
        row = session.get_one(StaffRow, one.id)
        if loss == "disabled":
            row.disabled_at = service.clock.now()
        else:
            row.roles = [Role.SYSTEM_ADMIN]
    assert problem(decide(other, approval_id)) == (409, "approval-outdated")
    assert revoked(service) == 0


def test_a_key_that_is_not_there_is_not_proposed(service: Service) -> None:
    one, _ = pair(service)
    assert problem(one.post(KEYS, {"key_id": "00" * 8, "reason": "r"})) == (404, "key-not-found")
    assert wrong(one.post(KEYS, {"key_id": "xyz", "reason": ""})) == [("/key_id", "characters"), ("/reason", "length")]


def test_the_list_is_paged_newest_first(service: Service) -> None:
    one, _ = pair(service)
    made = []
    for _ in range(3):
        made.append(proposed(one, KEYS, key_body(service)))
        decide(one, made[-1], "withdraw")
        service.clock.advance(1)
    first = told(one.get(f"{APPROVALS}?limit=2"))
    second = told(one.get(f"{APPROVALS}?limit=2&cursor={first['next']}"))
    assert [item["approval_id"] for item in first["items"] + second["items"]] == made[::-1]
    assert second["next"] is None


def cards(service: Service, number: int) -> list[str]:
    return [
        service.app.register(**person(1, id_number=citizen_number(n, born="19800101")))["card_id"]
        for n in range(1, number + 1)
    ]


def states(service: Service, ids: list[str]) -> list[str]:
    wanted = text("SELECT id::text, status FROM card WHERE id = ANY(CAST(:ids AS uuid[]))")
    with service.session() as session:
        found = {row.id: row.status for row in session.execute(wanted, {"ids": ids})}
    return [found[card_id] for card_id in ids]


def work_off(service: Service) -> None:
    place = Place(service.settings, clock=service.clock)
    try:
        drain(place)
    finally:
        place.close()


def test_many_cards_are_cancelled_by_a_job_each_with_its_trace(service: Service) -> None:
    ids = cards(service, 4)
    service.app.post(f"/v1/cards/{ids[0]}/cancel", {"reason": "r"})
    answer = approved(service, CARDS, {"card_ids": [*ids[:3], ids[1]], "reason": "批量重复发卡"})
    assert (answer["outcome"], answer["progress"]) == ({"cards": 3}, {"waiting": 3, "cancelled": 0, "skipped": 0})
    assert states(service, ids)[1:] == ["active"] * 3
    work_off(service)
    assert states(service, ids) == ["cancelled", "cancelled", "cancelled", "active"]
    reader = service.staff(Role.AUDIT_ADMIN)
    read = told(reader.get(f"{APPROVALS}/{answer['approval_id']}"))
    assert read["progress"] == {"waiting": 0, "cancelled": 2, "skipped": 1}
    with service.session() as session:
        by = session.scalars(text("SELECT actor FROM card_event WHERE action = 'cancelled' AND party = 'staff'")).all()
        audited = session.scalars(text("SELECT subject FROM audit WHERE action = 'card.cancelled'")).all()
    assert by == [f"staff:{answer['decided_by']}"] * 2
    assert sorted(audited) == sorted(ids[:3])


def test_a_job_that_was_stopped_goes_on_where_it_was(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = cards(service, 4)
    approval_id = approved(service, CARDS, {"card_ids": ids, "reason": "r"})["approval_id"]
    step, left = mass_cancelling.cancel_next, [2]

    def stopping(*args: Any, **named: Any) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return step(*args, **named)

    place = Place(service.settings, clock=service.clock)
    try:
        with monkeypatch.context() as broken:
            broken.setattr(mass_cancelling, "cancel_next", stopping)
            with pytest.raises(KeyboardInterrupt):
                tasks.cancel_many(place, approval_id)
        assert sorted(states(service, ids)) == ["active", "active", "cancelled", "cancelled"]
        at_once(*[lambda: tasks.cancel_many(place, approval_id)] * 2)
    finally:
        place.close()
    assert states(service, ids) == ["cancelled"] * 4
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM card_event WHERE action = 'cancelled'")) == 4


@pytest.mark.parametrize(
    ("error", "why"),
    [(ValueError("王小明"), "error"), (NoSuchCard(Text("无", "none")), "card-not-found")],
    ids=["unforeseen", "of ours"],
)
def test_a_card_that_cannot_be_cancelled_holds_up_no_other(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception, why: str
) -> None:
    ids = sorted(cards(service, 3))
    approval_id = approved(service, CARDS, {"card_ids": ids, "reason": "r"})["approval_id"]
    failing(monkeypatch, ids[0], error)
    run_list(service, approval_id)
    assert states(service, ids) == ["active", "cancelled", "cancelled"]
    (act,) = acts(service, "card.cancel-skipped")
    assert (act["subject"], act["facts"]["why"]) == (ids[0], why)
    assert "王小明" not in str(act)


def test_a_database_that_is_away_is_no_fault_of_a_card(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = sorted(cards(service, 2))
    approval_id = approved(service, CARDS, {"card_ids": ids, "reason": "r"})["approval_id"]
    for error in (OperationalError("", None, Exception()), Unavailable(Text("忙", "busy"))):
        with monkeypatch.context() as broken:
            failing(broken, ids[0], error)
            with pytest.raises(type(error)):
                run_list(service, approval_id)
    assert states(service, ids) == ["active", "active"]
    run_list(service, approval_id)
    assert states(service, ids) == ["cancelled", "cancelled"]


def test_a_card_that_another_run_had_in_hand_when_it_died_is_not_left(service: Service) -> None:
    ids = cards(service, 1)
    approval_id = approved(service, CARDS, {"card_ids": ids, "reason": "r"})["approval_id"]
    with Session(service.engine) as dying:
        dying.execute(text("SELECT 1 FROM mass_cancellation FOR UPDATE"))
        other = threading.Thread(target=run_list, args=(service, approval_id))
        other.start()
        other.join(1)
        assert other.is_alive()
        dying.rollback()
    other.join(10)
    assert states(service, ids) == ["cancelled"]


def failing(patch: pytest.MonkeyPatch, card_id: str, error: Exception) -> None:
    """Have the cancelling of one card end in an error."""
    apply = lifecycle.apply

    def broken(session: Session, card: CardRow, *args: Any, **named: Any) -> Any:
        if str(card.id) == card_id:
            raise error
        return apply(session, card, *args, **named)

    patch.setattr(lifecycle, "apply", broken)


def run_list(service: Service, approval_id: str) -> None:
    place = Place(service.settings, clock=service.clock)
    try:
        tasks.cancel_many(place, approval_id)
    finally:
        place.close()


def test_cards_that_are_not_there_are_not_proposed_and_a_list_is_bounded(service: Service) -> None:
    one, _ = pair(service)
    known = cards(service, 1)
    assert wrong(one.post(CARDS, {"card_ids": [*known, str(uuid4())], "reason": "r"})) == [
        ("/card_ids/1", "card-not-found")
    ]
    assert wrong(one.post(CARDS, {"card_ids": [], "reason": "r"})) == [("/card_ids", "length")]
    many = [str(uuid4()) for _ in range(1001)]
    assert wrong(one.post(CARDS, {"card_ids": many, "reason": "r"})) == [("/card_ids", "length")]
    assert one.post(CARDS, {"card_ids": many[:1000], "reason": "r"}).status_code == 422


def test_somebody_whose_account_is_not_set_up_neither_sees_nor_proposes(service: Service) -> None:
    new = service.staff(Role.SECURITY_ADMIN, limited=True)
    assert problem(new.get(APPROVALS)) == (403, "first-steps-missing")
    assert problem(new.post(KEYS, key_body(service))) == (403, "first-steps-missing")


def test_reasons_are_sealed_where_they_rest(service: Service) -> None:
    one, other = pair(service)
    approval_id = proposed(one, KEYS, key_body(service))
    decide(other, approval_id, "reject")
    with service.session() as session:
        found = session.execute(text("SELECT reason, decision_reason FROM approval")).one()
    assert all("私钥".encode() not in bytes(value) and "不同意".encode() not in bytes(value) for value in found)
