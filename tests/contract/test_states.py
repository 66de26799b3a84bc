"""The states of a card: every move that is allowed, every one that is not, and who wins a race."""

from typing import Any

import pytest
from sqlalchemy import text

from ehc.cards.models import CardRow
from ehc.cards.states import CardStatus
from ehc.issuer import lifecycle
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of, serial_of, wrong
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

MOVES = {"suspend": "suspended", "resume": "active", "report-loss": "lost", "cancel": "cancelled"}
ALLOWED = {
    "pending-review": {"cancel"},
    "rejected": set(),
    "active": {"suspend", "report-loss", "cancel"},
    "suspended": {"resume", "report-loss", "cancel"},
    "lost": {"resume", "cancel"},
    "cancelled": set(),
}
EVERY = [(status, move) for status in ALLOWED for move in MOVES]


def decide(service: Service, card_id: str, *, approve: bool) -> None:
    with service.session() as session:
        card = session.query(CardRow).filter_by(id=card_id).one()
        facts: dict[str, Any] = {"actor": "reviewer:7", "reason": "看不清", "secrets": secrets_of(service)}
        lifecycle.review(session, card, approve=approve, now=service.clock.now(), **facts)


CLERK = {"clerk": {"name": "李办事", "number": "0713"}}


def proved(newcomer: dict[str, Any], method: str) -> dict[str, Any]:
    return newcomer | {"verification": {"method": method} | (CLERK if method == "clerk" else {})}


def proof_of(newcomer: dict[str, Any], method: str = "document-seen") -> dict[str, Any]:
    """What resuming a lost card asks for."""
    return {name: proved(newcomer, method)[name] for name in ("name", "id_type", "id_number", "verification")}


def card_in(service: Service, newcomer: dict[str, Any], status: str) -> str:
    """A newcomer's card brought into a state by the ways that lead there."""
    waits = status in {"pending-review", "rejected"}
    method = "self-declared" if waits else "document-seen"
    card_id = str(service.app.register(**proved(newcomer, method))["card_id"])
    if status == "rejected":
        decide(service, card_id, approve=False)
    elif status != "active" and not waits:
        (how,) = [name for name, end in MOVES.items() if end == status]
        assert move(service, card_id, how).status_code == 200
    assert answered(service.app.get(f"/v1/cards/{card_id}"))["status"] == status
    return card_id


def move(service: Service, card_id: str, how: str, **headers: str) -> Any:
    return service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "居民要求"}, **headers)


@pytest.mark.parametrize(("status", "how"), EVERY)
def test_a_card_moves_only_as_the_table_says(shared: Service, newcomer: dict[str, Any], status: str, how: str) -> None:
    card_id = card_in(shared, newcomer, status)
    before, counts = shared.app.get(f"/v1/cards/{card_id}"), row_counts(shared)
    proof = {"proof": proof_of(newcomer)} if (status, how) == ("lost", "resume") else {}
    answer = shared.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "居民要求"} | proof)
    after = shared.app.get(f"/v1/cards/{card_id}")
    if how in ALLOWED[status]:
        assert (answer.status_code, answered(answer)["status"]) == (200, MOVES[how])
        assert (answered(after), after.headers["ETag"]) == (answered(answer), answer.headers["ETag"])
        assert int(after.headers["ETag"].strip('"')) == int(before.headers["ETag"].strip('"')) + 1
        assert row_counts(shared)["card_event"] == counts["card_event"] + 1
        assert row_counts(shared)["audit"] == counts["audit"] + 2  # the move, and the look after it
    else:
        assert problem(answer) == (409, "card-state")
        assert (answered(after), after.headers["ETag"]) == (answered(before), before.headers["ETag"])
        assert row_counts(shared) == counts | {"audit": counts["audit"] + 1}  # the look after it


def test_the_table_knows_every_state() -> None:
    assert set(ALLOWED) == set(CardStatus)


def test_a_card_of_a_reviewed_level_waits(shared: Service, newcomer: dict[str, Any]) -> None:
    answer = shared.app.post("/v1/cards", proved(newcomer, "self-declared"))
    assert (answer.status_code, answered(answer)["status"]) == (201, "pending-review")


def test_a_card_of_another_level_does_not_wait(shared: Service, newcomer: dict[str, Any]) -> None:
    assert shared.app.register(**proved(newcomer, "document-seen"))["status"] == "active"


def test_an_approved_card_is_active_and_gets_codes(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "pending-review")
    decide(shared, card_id, approve=True)
    assert shared.terminal.scan(shared.app.code(card_id))["outcome"] == "accepted"


def test_a_rejected_person_who_applies_again_waits_again(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "rejected")
    answer = shared.app.post("/v1/cards", proved(newcomer, "self-declared"))
    assert (answer.status_code, answered(answer)["card_id"], answered(answer)["status"]) == (
        200,
        card_id,
        "pending-review",
    )


def test_a_rejected_person_with_a_better_proof_has_an_active_card(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "rejected")
    card = shared.app.register(**proved(newcomer, "clerk"))
    assert (card["card_id"], card["status"], card["level"]) == (card_id, "active", "clerk")


def test_a_waiting_person_with_a_better_proof_still_waits_for_the_review(
    shared: Service, newcomer: dict[str, Any]
) -> None:
    card_in(shared, newcomer, "pending-review")
    card = shared.app.register(**proved(newcomer, "clerk"))
    assert (card["status"], card["level"]) == ("pending-review", "clerk")


def test_a_suspended_person_who_registers_again_stays_suspended(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "suspended")
    assert shared.app.register(**newcomer)["status"] == "suspended"
    assert answered(move(shared, card_id, "resume"))["status"] == "active"


def test_a_cancelled_person_who_registers_again_has_the_card_restored(
    shared: Service, newcomer: dict[str, Any]
) -> None:
    card_id = card_in(shared, newcomer, "cancelled")
    restored = shared.other_app.post("/v1/cards", newcomer)
    assert (restored.status_code, answered(restored)["card_id"]) == (200, card_id)
    assert (answered(restored)["status"], answered(restored)["cause"]) == ("active", None)
    assert (
        answered(shared.app.get(f"/v1/cards/{card_id}"))["resident"]["name"] is None
    )  # its access ended with the card
    assert problem(shared.app.post(f"/v1/cards/{card_id}/codes", {})) == (404, "card-not-found")
    assert shared.app.register(**newcomer)["card_id"] == card_id
    assert shared.terminal.scan(shared.app.code(card_id))["outcome"] == "accepted"


def test_a_deployment_may_refuse_to_restore(start: Any, newcomer: dict[str, Any]) -> None:
    service = start(restore_cancelled=False)
    card_in(service, newcomer, "cancelled")
    before = row_counts(service)
    for app in (service.app, service.other_app):
        assert problem(app.post("/v1/cards", newcomer)) == (409, "card-cancelled")
    assert row_counts(service) == before


def test_a_lost_card_wants_its_holder_proved_anew(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "lost")
    path = f"/v1/cards/{card_id}/resume"
    assert problem(move(shared, card_id, "resume")) == (409, "proof-required")
    other = proof_of(newcomer) | {"name": "王大明"}
    assert problem(shared.app.post(path, {"reason": "r", "proof": other})) == (409, "identity-mismatch")
    stranger = proof_of(newcomer) | {"id_number": citizen_number(1, born="19490101")}
    assert problem(shared.app.post(path, {"reason": "r", "proof": stranger})) == (409, "identity-mismatch")
    weak = proof_of(newcomer, "self-declared")
    assert problem(shared.app.post(path, {"reason": "r", "proof": weak})) == (409, "identity-not-confirmed")
    assert answered(shared.app.get(f"/v1/cards/{card_id}"))["status"] == "lost"
    found = shared.app.post(path, {"reason": "r", "proof": proof_of(newcomer)})
    assert (found.status_code, answered(found)["status"]) == (200, "active")


def test_codes_from_before_a_loss_stay_closed(service: Service) -> None:
    card_id, before = service.app.register(1)["card_id"], person(1)
    dynamic = service.app.code(card_id)
    service.clock.advance(1)
    assert move(service, card_id, "report-loss").status_code == 200
    assert service.terminal.scan(dynamic)["reason"] == "card-suspended"
    service.clock.advance(1)
    proof = {name: before[name] for name in ("name", "id_type", "id_number", "verification")}
    assert service.app.post(f"/v1/cards/{card_id}/resume", {"reason": "r", "proof": proof}).status_code == 200
    assert service.terminal.scan(dynamic)["reason"] == "expired"
    assert service.terminal.scan(service.app.code(card_id))["outcome"] == "accepted"


def test_a_cancelled_person_under_another_name_is_a_mismatch_first(shared: Service, newcomer: dict[str, Any]) -> None:
    card_in(shared, newcomer, "cancelled")
    assert problem(shared.app.post("/v1/cards", newcomer | {"name": "王大明"})) == (409, "identity-mismatch")


def test_a_move_on_the_version_that_was_read_is_made(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "active")
    tag = shared.app.get(f"/v1/cards/{card_id}").headers["ETag"]
    assert move(shared, card_id, "suspend", If_Match=tag).headers["ETag"] == '"2"'


@pytest.mark.parametrize("tag", ['"0"', '"2"', '"999999999999999999"'])
def test_a_move_on_another_version_is_refused(shared: Service, newcomer: dict[str, Any], tag: str) -> None:
    card_id = card_in(shared, newcomer, "active")
    assert problem(move(shared, card_id, "suspend", If_Match=tag)) == (412, "precondition-failed")
    assert answered(shared.app.get(f"/v1/cards/{card_id}"))["status"] == "active"


def test_a_stale_version_is_told_before_a_wrong_state(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "suspended")
    assert problem(move(shared, card_id, "suspend", If_Match='"1"')) == (412, "precondition-failed")
    assert problem(move(shared, card_id, "suspend", If_Match='"2"')) == (409, "card-state")


def test_any_version_will_do_for_a_star(shared: Service, newcomer: dict[str, Any]) -> None:
    assert move(shared, card_in(shared, newcomer, "active"), "suspend", If_Match="*").status_code == 200


@pytest.mark.parametrize("tag", ['"x"', 'W/"x"', '"-1"', "", '"1", "2"', '"１"', '"1000000000000000000"'])
def test_a_tag_that_is_not_ours_is_refused(shared: Service, newcomer: dict[str, Any], tag: str) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    answer = move(shared, card_id, "suspend", If_Match=tag.encode().decode("latin-1"))
    assert wrong(answer) == [("/If-Match", "etag")]


@pytest.mark.parametrize("reason", ["由", "由" * 200], ids=["1", "200"])
@pytest.mark.parametrize("how", MOVES)
def test_a_reason_has_1_to_200_characters(shared: Service, newcomer: dict[str, Any], how: str, reason: str) -> None:
    card_id = card_in(shared, newcomer, "suspended")
    if how == "suspend":
        move(shared, card_id, "resume")
    assert shared.app.post(f"/v1/cards/{card_id}/{how}", {"reason": reason}).status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "required"),
        ({"reason": ""}, "length"),
        ({"reason": "由" * 201}, "length"),
        ({"reason": None}, "null"),
        ({"reason": 7}, "type"),
        ({"reason": "a\x00b"}, "characters"),
        ({"reason": "a\nb"}, "characters"),
    ],
)
@pytest.mark.parametrize("how", MOVES)
def test_another_reason_is_refused(
    shared: Service, newcomer: dict[str, Any], how: str, body: dict[str, Any], code: str
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    assert wrong(shared.app.post(f"/v1/cards/{card_id}/{how}", body)) == [("/reason", code)]


def test_an_unknown_member_beside_the_reason_is_refused(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    answer = shared.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "r", "until": "x"})
    assert wrong(answer) == [("/until", "unknown-member")]


def test_a_reason_rests_sealed(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = card_in(shared, newcomer, "active")
    shared.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "手机被偷了"})
    with shared.session() as session:
        serial = {"serial": serial_of(shared, card_id)}
        event_id, reason = session.execute(
            text("SELECT id, reason FROM card_event WHERE card_serial = :serial AND reason IS NOT NULL"), serial
        ).one()
    assert "手机".encode() not in reason
    assert secrets_of(shared).sealer.unseal(reason, f"card_event.reason:{event_id}") == "手机被偷了"


def test_of_two_moves_on_one_version_exactly_one_is_made(service: Service) -> None:
    for serial in range(15):
        card_id = service.app.register(serial)["card_id"]
        paths = [f"/v1/cards/{card_id}/{how}" for how in ("suspend", "cancel")]
        calls = [poster(service, service.app, path, {"reason": "r"}, If_Match='"1"') for path in paths]
        answers = at_once(*calls)
        (made,) = [answer for answer in answers if answer.status_code == 200]
        (lost,) = [answer for answer in answers if answer.status_code != 200]
        assert problem(lost) in {(409, "card-state"), (412, "precondition-failed")}
        assert answered(service.app.get(f"/v1/cards/{card_id}")) == answered(made)
    assert row_counts(service)["card_event"] == 15 + 15  # each registration is an event too


@pytest.mark.parametrize("how", ["suspend", "cancel"])
def test_of_four_equal_moves_at_once_exactly_one_is_made(service: Service, how: str) -> None:
    for serial in range(5):
        card_id = service.app.register(serial)["card_id"]
        call = poster(service, service.app, f"/v1/cards/{card_id}/{how}", {"reason": "r"})
        calls = [poster(service, service.app, f"/v1/cards/{card_id}/{how}", {"reason": "r"}) for _ in range(3)]
        answers = at_once(call, *calls)
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert row_counts(service)["card_event"] == 5 + 5  # each registration is an event too


def test_a_race_of_suspend_and_cancel_ends_cancelled_or_tells_the_loser(service: Service) -> None:
    """Without a version, cancelling may come after suspending; then both were made, one after the other."""
    for serial in range(10):
        card_id = service.app.register(serial)["card_id"]
        paths = [f"/v1/cards/{card_id}/{how}" for how in ("suspend", "cancel")]
        suspended, cancelled = at_once(*(poster(service, service.app, path, {"reason": "r"}) for path in paths))
        end = answered(service.app.get(f"/v1/cards/{card_id}"))["status"]
        outcome = (suspended.status_code, cancelled.status_code, end)
        assert outcome in {(200, 409, "suspended"), (409, 200, "cancelled"), (200, 200, "cancelled")}
