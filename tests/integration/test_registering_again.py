"""Registering somebody who is known: what of it counts, what never does, and the trace that it leaves."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from ehc.issuer import accounts, proofs, tasks
from ehc.outside.identity_authority import HttpIdentityAuthority
from ehc.place import Place
from tests.contract.helpers import problem, secrets_of, wrong
from tests.integration.outside import asking, outside, place, simulators
from tests.integration.test_phone_proofs import confirm, sent
from tests.integration.test_proofs import known
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

__all__ = ["asking", "outside", "place", "simulators"]

PHONE, OTHER = "13800138000", "13900139000"
SELF = {"verification": {"method": "self-declared"}}
CLERK = {"verification": {"method": "clerk", "reference": "窗口-3", "clerk": {"name": "赵敏", "number": "S-7"}}}


def proved(service: Service, outside: Controls, phone: str) -> str:
    """A confirmed proof of a phone."""
    proof_id, code = sent(service, outside, phone)
    assert confirm(service, proof_id, code).status_code == 200
    return proof_id


def trace(service: Service, card_id: str) -> list[Any]:
    """All that is kept of a card's life, and of its holder's phone."""
    with service.session() as session:
        row = session.execute(
            text(
                "SELECT card.version, status, level, resident.phone, phone_proved_at FROM card"
                " JOIN resident ON resident.id = resident_id WHERE card.id = :id"
            ),
            {"id": card_id},
        ).one()
        events = session.scalars(
            text("SELECT action FROM card_event JOIN card ON serial = card_serial WHERE card.id = :id"),
            {"id": card_id},
        ).all()
        acts = session.scalars(
            text("SELECT action FROM audit WHERE subject = :id AND action <> 'card.read'"), {"id": card_id}
        ).all()
    return [*row, sorted(events), sorted(acts)]


def put(service: Service, card_id: str, **columns: Any) -> None:
    """Put a card into a state, as if that had happened."""
    with service.session() as session:
        for name, value in columns.items():
            session.execute(text(f"UPDATE card SET {name} = :value WHERE id = :id"), {"value": value, "id": card_id})


def forget_phone(service: Service) -> None:
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL"))


def etag_of(service: Service, card_id: str) -> str:
    return service.app.get(f"/v1/cards/{card_id}").headers["ETag"]


@pytest.mark.parametrize("status", ["active", "suspended", "lost", "pending-review"])
def test_registering_again_never_replaces_the_phone(asking: Service, outside: Controls, status: str) -> None:
    card = asking.app.register(1)
    put(asking, card["card_id"], status=status, level="external-match" if status != "pending-review" else "clerk")
    outside.set_mode("down", party="identity")
    before = trace(asking, card["card_id"])
    again = asking.app.register(1, phone=OTHER, phone_proof=proved(asking, outside, OTHER))
    assert again["resident"]["phone"] == card["resident"]["phone"]
    assert trace(asking, card["card_id"])[3:5] == before[3:5]
    newly = proved(asking, outside, "13700137000")
    close = asking.app.post(f"/v1/cards/{card['card_id']}/close", {"reason": "不用了", "phone_proof": newly})
    assert close.status_code >= 400


def test_the_phone_on_record_is_proved_by_registering_again(asking: Service, outside: Controls) -> None:
    card_id = asking.app.register(1)["card_id"]
    before = trace(asking, card_id)
    answer = asking.app.post("/v1/cards", person(1, phone_proof=proved(asking, outside, PHONE)))
    after = trace(asking, card_id)
    assert after[4] == asking.clock.now()
    assert after[0] == before[0] + 1
    assert answer.headers["ETag"] == etag_of(asking, card_id) == f'"{after[0]}"'
    assert after[5] == sorted([*before[5], "changed"])
    assert after[6] == sorted([*before[6], "card.changed"])


@pytest.mark.parametrize("status", ["lost", "pending-review"])
def test_no_phone_is_proved_or_filled_on_a_card_that_waits_for_its_holder(
    asking: Service, outside: Controls, status: str
) -> None:
    card_id = asking.app.register(1)["card_id"]
    put(asking, card_id, status=status, level="clerk")
    outside.set_mode("down", party="identity")
    asking.app.register(1, phone_proof=proved(asking, outside, PHONE))
    assert trace(asking, card_id)[4] is None
    forget_phone(asking)
    asking.app.register(1, phone=OTHER, phone_proof=proved(asking, outside, OTHER))
    assert trace(asking, card_id)[3:5] == [None, None]


def test_a_person_without_a_phone_gets_one_and_the_answer_shows_it(asking: Service, outside: Controls) -> None:
    card_id = asking.app.register(1)["card_id"]
    forget_phone(asking)
    answer = asking.app.post("/v1/cards", person(1, phone=OTHER, phone_proof=proved(asking, outside, OTHER)))
    assert answered(answer)["resident"]["phone"] == "139****9000"
    assert trace(asking, card_id)[4] == asking.clock.now()
    assert answer.headers["ETag"] == etag_of(asking, card_id)


def test_a_card_restored_for_review_keeps_its_phone(asking: Service, outside: Controls) -> None:
    card_id = asking.app.register(1)["card_id"]
    assert asking.app.post(f"/v1/cards/{card_id}/cancel", {"reason": "不用了"}).status_code == 200
    before = trace(asking, card_id)
    outside.set_mode("down", party="identity")
    again = asking.app.register(1, **SELF, phone=OTHER, phone_proof=proved(asking, outside, OTHER))
    assert (again["status"], again["card_id"]) == ("pending-review", card_id)
    assert trace(asking, card_id)[3:5] == before[3:5]


def test_a_proof_alone_in_a_change_leaves_an_event(asking: Service, outside: Controls) -> None:
    card_id = asking.app.register(1)["card_id"]
    before = trace(asking, card_id)
    headers = asking.app.headers | {"If-Match": "*"}
    proof = {"phone_proof": proved(asking, outside, PHONE)}
    answer = asking.app.http.patch(f"/v1/cards/{card_id}", json=proof, headers=headers)
    after = trace(asking, card_id)
    assert (answer.status_code, answer.headers["ETag"]) == (200, f'"{before[0] + 1}"')
    assert after[4] == asking.clock.now()
    assert (after[5], after[6]) == (sorted([*before[5], "changed"]), sorted([*before[6], "card.changed"]))


def approved(service: Service, outside: Controls) -> str:
    """A card in use whose holder the authority does not confirm."""
    known(outside, 1, name="李四")
    card_id = str(service.app.register(1, **SELF)["card_id"])
    put(service, card_id, status="active")
    return card_id


@pytest.mark.parametrize("mode", ["normal", "down"])
def test_what_the_authority_did_not_confirm_raises_no_card_in_use(
    asking: Service, outside: Controls, mode: str
) -> None:
    card_id = approved(asking, outside)
    outside.set_mode(mode, party="identity")
    asking.clock.advance(1)
    assert asking.app.register(1, **CLERK)["level"] == "self-declared"
    with asking.session() as session:
        findings = session.scalars(text("SELECT finding FROM identity_proof ORDER BY asked_at")).all()
    assert findings == ["mismatch", "mismatch" if mode == "normal" else None]
    assert "proof-shown" in trace(asking, card_id)[5]


def test_a_question_about_a_card_in_use_is_asked_again_and_raises_it(
    asking: Service, outside: Controls, place: Place
) -> None:
    card_id = approved(asking, outside)
    outside.set_mode("down", party="identity")
    asking.app.register(1, **CLERK)
    with asking.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
    asking.clock.advance(6 * 60)
    tasks.sweep_proofs(place)
    with asking.session() as session:
        assert session.scalars(text("SELECT args FROM procrastinate_jobs")).all() == [{"card_id": card_id}]
    outside.clear()
    outside.set_mode("normal")
    asking.clock.advance(-6 * 60)  # the authority's clock goes on by itself, and would not believe ours
    before = trace(asking, card_id)
    tasks.retry_proof(place, card_id)
    after = trace(asking, card_id)
    assert after[1:3] == ["active", "external-match"]
    assert after[0] == before[0] + 1
    assert after[5] == sorted([*before[5], "level-raised"])


def test_a_card_has_one_open_question(asking: Service, outside: Controls) -> None:
    outside.set_mode("down", party="identity")
    for _ in range(2):  # after a third silence nobody would be asked for a moment
        asking.app.register(1, **SELF)
        asking.clock.advance(1)
    with asking.session() as session:
        assert session.scalar(text("SELECT count(*) FROM identity_proof WHERE finding IS NULL")) == 1
    outside.set_mode("normal")
    asking.app.register(1, **SELF)
    with asking.session() as session:
        assert session.scalar(text("SELECT count(*) FROM identity_proof WHERE finding IS NULL")) == 0


@pytest.mark.parametrize("state", ["unknown", "active", "pending-review", "cancelled", "rejected"])
def test_a_match_that_is_only_claimed_counts_for_nothing_when_the_card_changed_in_between(
    asking: Service, outside: Controls, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority was spared for a card that had its match; by the time of the transaction the card is another."""
    if state != "unknown":
        card_id = asking.app.register(1, **SELF)["card_id"]
        put(asking, card_id, level="self-declared")
        with asking.session() as session:
            session.execute(
                text("UPDATE card SET status = :state, cause = :cause"),
                {"state": state, "cause": "cancelled" if state == "cancelled" else None},
            )
    known(outside, 1, name="李四")
    monkeypatch.setattr(accounts, "needs_proof", lambda *_, **__: False)
    asking.app.post("/v1/cards", person(1, verification={"method": "external-match"}))
    with asking.session() as session:
        assert session.scalars(text("SELECT level FROM card WHERE level = 'external-match'")).all() == []
        restored = text("SELECT status FROM card WHERE status = 'active'")
        assert session.scalars(restored).all() == (["active"] if state == "active" else [])


def test_an_answer_about_who_the_holder_was_raises_nothing(
    asking: Service, outside: Controls, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the authority is asked, the holder is given another birth date: the match is not about this person."""
    card_id = approved(asking, outside)
    outside.set_mode("down", party="identity")
    asking.app.register(1, **SELF)
    outside.clear()
    outside.set_mode("normal")
    ask = HttpIdentityAuthority.ask

    def slow(authority: HttpIdentityAuthority, question: Any) -> Any:
        found = ask(authority, question)
        with asking.session() as session:
            session.execute(text("UPDATE resident SET birth_date = '1991-01-01'"))
        return found

    monkeypatch.setattr(HttpIdentityAuthority, "ask", slow)
    tasks.retry_proof(place, card_id)
    assert trace(asking, card_id)[1:3] == ["active", "self-declared"]
    with asking.session() as session:
        assert session.scalar(text("SELECT count(*) FROM identity_proof WHERE finding IS NULL")) == 1


def test_a_spared_authority_is_asked_when_the_application_is_sent_again(asking: Service, outside: Controls) -> None:
    """The card is cancelled between the two steps of a registration: refused, and nothing of it is kept."""
    card_id = asking.app.register(1, **SELF)["card_id"]
    needs_proof, body = accounts.needs_proof, person(1, verification={"method": "external-match"})

    def and_then_cancelled(*args: Any, **named: Any) -> bool:
        needed = needs_proof(*args, **named)
        monkey.undo()
        assert asking.other_app.post("/v1/cards", body).status_code == 200
        assert asking.other_app.post(f"/v1/cards/{card_id}/cancel", {"reason": "不用了"}).status_code == 200
        return needed

    with pytest.MonkeyPatch.context() as monkey:
        monkey.setattr(accounts, "needs_proof", and_then_cancelled)
        assert problem(asking.app.post("/v1/cards", body)) == (409, "card-state")
    assert trace(asking, card_id)[1] == "cancelled"
    assert answered(asking.app.post("/v1/cards", body))["status"] == "active"


@pytest.mark.parametrize("first", ["clerk", "external-match"])
def test_a_clerk_who_sees_a_known_person_leaves_a_trace(service: Service, first: str) -> None:
    card_id = service.app.register(1, verification={"method": first})["card_id"]
    before = trace(service, card_id)
    answer = service.app.post("/v1/cards", person(1, **CLERK))
    after = trace(service, card_id)
    assert after[5] == sorted([*before[5], "proof-shown"])
    assert after[6] == sorted([*before[6], "card.proof-shown"])
    assert answer.headers["ETag"] == etag_of(service, card_id)
    with service.session() as session:
        row = session.execute(text("SELECT id, evidence, clerk FROM card_event WHERE action = 'proof-shown'")).one()
    sealer = secrets_of(service).sealer
    assert sealer.unseal(row.evidence, f"card_event.evidence:{row.id}") == "窗口-3"
    assert sealer.unseal(row.clerk, f"card_event.clerk:{row.id}") == "赵敏 S-7"


def test_the_clerk_of_a_registration_is_kept_sealed(service: Service) -> None:
    service.app.register(1, **CLERK)
    with service.session() as session:
        row = session.execute(text("SELECT id, clerk FROM card_event WHERE action = 'registered'")).one()
    assert "赵敏".encode() not in row.clerk
    assert secrets_of(service).sealer.unseal(row.clerk, f"card_event.clerk:{row.id}") == "赵敏 S-7"


def test_ids_that_a_card_holds_without_the_document_are_a_conflict(service: Service) -> None:
    service.app.register(1)
    with service.session() as session:
        session.execute(text("UPDATE identity_document SET closed_at = now()"))
    assert problem(service.app.post("/v1/cards", person(1))) == (409, "card-cancelled")


@pytest.mark.parametrize(
    ("told", "finding"),
    [
        ({"status": "expired"}, "document-invalid"),
        ({"status": "lost"}, "document-invalid"),
        ({"dead": True}, "deceased"),
    ],
)
def test_an_invalid_document_or_a_dead_holder_waits_for_review(
    asking: Service, outside: Controls, told: dict[str, Any], finding: str
) -> None:
    if told.get("dead"):
        outside.mark_dead(id_type="01", id_number=citizen_number(1), death_date=date(2026, 11, 1))
    else:
        known(outside, 1, **told)
    card = asking.app.register(1, verification={"method": "external-match"})
    assert (card["status"], card["level"]) == ("pending-review", "self-declared")
    with asking.session() as session:
        assert session.scalars(text("SELECT finding FROM identity_proof")).all() == [finding]


def test_an_authority_that_answers_too_late_has_not_answered(asking: Service, outside: Controls, place: Place) -> None:
    outside.set_mode("slow", party="identity", seconds=4)
    card_id = asking.app.register(1, **SELF)["card_id"]
    assert trace(asking, card_id)[1] == "pending-review"
    with asking.session() as session:
        assert session.scalars(text("SELECT finding FROM identity_proof")).all() == [None]
    outside.set_mode("normal")
    tasks.retry_proof(place, card_id)
    assert trace(asking, card_id)[1:3] == ["active", "external-match"]


def test_a_change_that_cannot_be_asks_nobody(asking: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    card_id = asking.app.register(1)["card_id"]
    path, body = f"/v1/cards/{card_id}", {"name": "王大明", "verification": {"method": "document-seen"}}
    monkeypatch.delattr(proofs, "weigh")  # who asked would be answered 500

    def changed(tag: str) -> tuple[int, str]:
        headers = asking.app.headers | {"If-Match": tag}
        return problem(asking.app.http.patch(path, json=body, headers=headers))

    assert changed('"9"') == (412, "precondition-failed")
    put(asking, card_id, status="pending-review")
    assert changed("*") == (409, "card-state")


def test_a_weak_tag_matches_as_a_strong_one(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]

    def suspended(tag: str) -> Any:
        return service.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "外出"}, If_Match=tag)

    assert problem(suspended('W/"9"')) == (412, "precondition-failed")
    assert wrong(suspended('W/"x"')) == [("/If-Match", "etag")]
    assert suspended('W/"1"').status_code == 200
