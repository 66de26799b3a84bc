"""Real-name proof through the identity authority's simulator: what its answers make of cards, and what its silence costs."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from ehc.issuer import proofs, tasks
from ehc.outside.identity_authority import AuthorityAway
from ehc.place import Place
from ehc.worker import TASKS, drain
from tests.contract.helpers import problem
from tests.integration.outside import asking, outside, place, simulators
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

__all__ = ["asking", "outside", "place", "simulators"]

SELF = {"verification": {"method": "self-declared"}}


def known(outside: Controls, serial: int, **changes: Any) -> None:
    outside.add_person(**{"name": "王小明", "id_type": "01", "id_number": citizen_number(serial)} | changes)


def card_of(service: Service, card_id: str) -> dict[str, Any]:
    return answered(service.app.get(f"/v1/cards/{card_id}"))


def proofs_of(service: Service) -> list[Any]:
    with service.session() as session:
        return [
            tuple(row) for row in session.execute(text("SELECT finding, tries FROM identity_proof ORDER BY asked_at"))
        ]


def test_a_match_sets_the_level(asking: Service) -> None:
    card = asking.app.register(1, **SELF)
    assert (card["status"], card["level"]) == ("active", "external-match")
    assert asking.terminal.scan(asking.app.code(card["card_id"]))["card"]["level"] == "external-match"


def test_an_app_cannot_claim_a_match_of_its_own(asking: Service, outside: Controls) -> None:
    known(outside, 1, name="李四")
    card = asking.app.register(1, verification={"method": "external-match"})
    assert (card["status"], card["level"]) == ("pending-review", "self-declared")


@pytest.mark.parametrize("method", ["self-declared", "document-seen"])
def test_what_is_not_confirmed_waits_for_review(asking: Service, outside: Controls, method: str) -> None:
    known(outside, 1, name="李四")
    card = asking.app.register(1, verification={"method": method})
    assert (card["status"], card["level"]) == ("pending-review", method)
    assert proofs_of(asking) == [("mismatch", 1)]
    assert problem(asking.app.post(f"/v1/cards/{card['card_id']}/codes", {})) == (409, "card-not-active")


def test_a_reviewer_is_told_what_was_found(asking: Service, outside: Controls) -> None:
    known(outside, 1, name="李四")
    mismatch = asking.app.register(1, **SELF)["card_id"]
    outside.set_mode("down")
    open_question = asking.app.register(2, **SELF)["card_id"]
    outside.set_mode("normal")
    with asking.session() as session:
        found = [(str(card.id), finding) for card, finding in proofs.pending(session)]
    assert found == [(mismatch, "mismatch"), (open_question, "no-answer")]


def test_the_authority_is_not_asked_about_whom_it_confirmed(asking: Service, outside: Controls) -> None:
    asking.app.register(1, **SELF)
    outside.set_mode("down")
    assert asking.other_app.register(1, **SELF)["status"] == "active"


@pytest.mark.parametrize("mode", ["down", "lost-answer", "wrong-signature", "garbage", "http-500"])
def test_a_silent_authority_loses_no_application(asking: Service, outside: Controls, place: Place, mode: str) -> None:
    outside.set_mode(mode)
    card_id = asking.app.register(1, **SELF)["card_id"]
    assert card_of(asking, card_id)["status"] == "pending-review"
    assert proofs_of(asking) == [(None, 1)]
    asking.clock.advance(60)
    with pytest.raises(AuthorityAway):
        tasks.retry_proof(place, card_id)
    assert proofs_of(asking) == [(None, 2)]
    outside.set_mode("normal")
    asking.clock.advance(60)
    tasks.retry_proof(Place(asking.settings, clock=asking.clock), card_id)  # a place of its own: the pause is over
    card = card_of(asking, card_id)
    assert (card["status"], card["level"]) == ("active", "external-match")
    assert proofs_of(asking) == [("match", 3)]


def test_the_job_is_in_the_queue_with_the_card_and_the_worker_runs_it(asking: Service, outside: Controls) -> None:
    outside.set_mode("down")
    card_id = asking.app.register(1, **SELF)["card_id"]
    outside.set_mode("normal")
    place = Place(asking.settings)
    drain(place, TASKS)
    place.close()
    assert card_of(asking, card_id)["status"] == "active"


def test_a_sweep_asks_about_whoever_was_forgotten(asking: Service, outside: Controls, place: Place) -> None:
    outside.set_mode("down")
    asking.app.register(1, **SELF)
    with asking.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
    for minutes, jobs in ((4, 0), (2, 1), (0, 1)):
        asking.clock.advance(60 * minutes)
        tasks.sweep_proofs(place)
        with asking.session() as session:
            assert session.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == jobs


def test_a_late_refusal_stays_for_the_reviewer(asking: Service, outside: Controls, place: Place) -> None:
    outside.set_mode("down")
    card_id = asking.app.register(1, **SELF)["card_id"]
    outside.set_mode("normal")
    known(outside, 1, name="李四")
    tasks.retry_proof(place, card_id)
    assert card_of(asking, card_id)["status"] == "pending-review"
    assert proofs_of(asking) == [("mismatch", 2)]
    tasks.retry_proof(place, card_id)  # a second run does no harm
    assert proofs_of(asking) == [("mismatch", 2)]


def test_an_identity_changes_only_when_the_authority_knows_the_new_one(asking: Service, outside: Controls) -> None:
    card = asking.app.register(1, **SELF)
    path, headers = f"/v1/cards/{card['card_id']}", asking.app.headers | {"If-Match": "*"}
    body = {"name": "王大明", "verification": {"method": "document-seen"}}
    known(outside, 1)
    assert problem(asking.app.http.patch(path, json=body, headers=headers)) == (409, "identity-not-confirmed")
    outside.clear()
    known(outside, 1, name="王大明")
    outside.set_mode("down")
    assert problem(asking.app.http.patch(path, json=body, headers=headers)) == (503, "authority-away")
    outside.set_mode("normal")


def test_a_lost_card_wants_a_match_again(asking: Service, outside: Controls) -> None:
    card_id = asking.app.register(1, **SELF)["card_id"]
    asking.app.post(f"/v1/cards/{card_id}/report-loss", {"reason": "丢了"})
    proof = {name: person(1)[name] for name in ("name", "id_type", "id_number")} | SELF
    known(outside, 1, name="李四")
    answer = asking.app.post(f"/v1/cards/{card_id}/resume", {"reason": "找到了", "proof": proof})
    assert problem(answer) == (409, "identity-not-confirmed")
    outside.clear()
    answer = asking.app.post(f"/v1/cards/{card_id}/resume", {"reason": "找到了", "proof": proof})
    assert (answer.status_code, answered(answer)["status"]) == (200, "active")


def test_a_death_notice_ends_the_card_at_the_next_scan(asking: Service, outside: Controls, place: Place) -> None:
    card_id = asking.app.register(1, **SELF)["card_id"]
    code = asking.app.code(card_id)
    tasks.pull_deaths(place)
    assert card_of(asking, card_id)["status"] == "active"
    outside.mark_dead(id_type="01", id_number=citizen_number(1), death_date=date(2026, 11, 1))
    outside.mark_dead(id_type="01", id_number=citizen_number(2), death_date=date(2026, 11, 1))  # nobody of ours
    tasks.pull_deaths(place)
    tasks.pull_deaths(place)
    assert asking.terminal.scan(code)["reason"] == "card-cancelled"
    card = card_of(asking, card_id)
    assert (card["status"], card["cause"]) == ("cancelled", "deceased")
    assert problem(asking.other_app.post("/v1/cards", person(1, **SELF))) == (409, "card-cancelled")
    with asking.session() as session:
        actors = session.scalars(
            text("SELECT entry::json ->> 'actor' FROM audit WHERE subject = :id AND action = 'card.deceased'"),
            {"id": card_id},
        ).all()
    assert actors == ["identity-authority"]


def test_nothing_personal_is_in_the_queue(asking: Service, outside: Controls) -> None:
    outside.set_mode("down")
    card_id = asking.app.register(1, **SELF)["card_id"]
    with asking.session() as session:
        args = session.scalars(text("SELECT args FROM procrastinate_jobs")).all()
    assert args == [{"card_id": card_id}]
    assert UUID(args[0]["card_id"])
