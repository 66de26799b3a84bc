"""What a move refuses is refused by every other way to the same end, too."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.cards import states
from ehc.cards import store as cards
from ehc.cards.events import Words
from ehc.cards.states import Move, Party
from ehc.cards.store import Acting
from ehc.clock import local_day
from ehc.core.documents import Document
from ehc.db import unit_of_work
from ehc.issuer import accounts, changes, closing, deaths, lifecycle
from ehc.issuer.applications import Proof
from ehc.issuer.registry import Registry
from tests.contract.helpers import problem
from tests.integration.card_desk import OneDeath
from tests.support.national import allow_static, secrets_of, static
from tests.support.service import Service, citizen_number, person, told

SEEN = {"method": "document-seen"}
PASSPORT = {"name": "王小明", "id_type": "03", "id_number": "E12345678"}
STAFF = Acting("staff:1", Party.STAFF)


def staff(service: Service, card_id: str, how: Move) -> None:
    with service.session() as session:
        card = cards.by_id(session, UUID(card_id))
        now, secrets = service.clock.now(), secrets_of(service)
        lifecycle.apply(session, card, how, acting=STAFF, secrets=secrets, now=now, proved=how.fresh_proof)


def stop(service: Service, card_id: str) -> None:
    with service.session() as session:
        card, words = cards.by_id(session, UUID(card_id)), Words("r")
        lifecycle.stop(session, card, acting=STAFF, words=words, secrets=secrets_of(service), now=service.clock.now())


def restore(service: Service, card_id: str) -> None:
    with service.session() as session:
        card, registry = cards.by_id(session, UUID(card_id)), Registry(secrets_of(service))
        closing.restore(session, card, by=STAFF, words=Words("r"), registry=registry, now=service.clock.now())


def move(service: Service, card_id: str, how: str, **more: Any) -> Any:
    return service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"} | more)


def patch(service: Service, card_id: str, body: dict[str, Any]) -> Any:
    return service.app.http.patch(f"/v1/cards/{card_id}", json=body, headers=service.app.headers | {"If-Match": "*"})


def proof(**changes: Any) -> dict[str, Any]:
    return {name: person(1)[name] for name in ("name", "id_type", "id_number", "verification")} | changes


def die(service: Service, document: Document) -> None:
    authority = OneDeath(document, service.clock.now())
    work = unit_of_work(service.engine)
    deaths.pull(authority, work=work, secrets=secrets_of(service), now=service.clock.now())


def test_what_staff_suspended_is_not_resumed_by_the_holder(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    staff(service, card_id, states.SUSPEND)
    assert problem(move(service, card_id, "resume")) == (409, "held-by-staff")
    staff(service, card_id, states.RESUME)
    assert service.terminal.scan(service.app.code(card_id))["outcome"] == "accepted"


def test_nor_by_way_of_a_loss(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    staff(service, card_id, states.SUSPEND)
    assert move(service, card_id, "report-loss").status_code == 200
    assert problem(move(service, card_id, "resume", proof=proof())) == (409, "held-by-staff")
    staff(service, card_id, states.RECOVER)
    assert told(service.app.get(f"/v1/cards/{card_id}"))["status"] == "active"


def test_nor_by_way_of_a_cancellation(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    staff(service, card_id, states.SUSPEND)
    assert move(service, card_id, "cancel").status_code == 200
    for app in (service.app, service.other_app):
        assert problem(app.post("/v1/cards", person(1))) == (409, "held-by-staff")


@pytest.mark.parametrize("how", ["suspend", "report-loss"])
def test_what_the_holder_stopped_staff_hold_where_it_is(service: Service, how: str) -> None:
    card_id = service.app.register(1)["card_id"]
    move(service, card_id, how)
    before = told(service.app.get(f"/v1/cards/{card_id}"))["status"]
    stop(service, card_id)
    assert told(service.app.get(f"/v1/cards/{card_id}"))["status"] == before
    assert problem(move(service, card_id, "resume", proof=proof())) == (409, "held-by-staff")
    move(service, card_id, "cancel")
    assert problem(service.app.post("/v1/cards", person(1))) == (409, "held-by-staff")
    restore(service, card_id)
    assert service.app.register(1)["status"] == "active"


def test_what_staff_cancelled_is_restored_by_staff_alone(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    staff(service, card_id, states.CANCEL)
    for app in (service.app, service.other_app):
        assert problem(app.post("/v1/cards", person(1))) == (409, "held-by-staff")
    restore(service, card_id)
    again = service.app.register(1)
    assert (again["card_id"], again["status"]) == (card_id, "active")


def test_a_move_that_needs_a_proof_is_not_made_without(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    staff(service, card_id, states.REPORT_LOSS)
    with service.session() as session:
        card, now = cards.by_id(session, UUID(card_id)), service.clock.now()
        with pytest.raises(ValueError, match="proof"):
            lifecycle.apply(session, card, states.RECOVER, acting=STAFF, secrets=secrets_of(service), now=now)


@pytest.mark.parametrize("party", [Party.RESIDENT, Party.GUARDIAN, Party.AUTHORITY])
def test_nobody_but_staff_revives_whom_a_notice_called_dead(service: Service, party: Party) -> None:
    card_id = service.app.register(1)["card_id"]
    die(service, Document("01", citizen_number(1)))
    with service.session() as session:
        card, by, now = cards.by_id(session, UUID(card_id)), Acting("x", party), service.clock.now()
        for how in (states.REVIVE, states.RESTORE):
            with pytest.raises(cards.Conflict):
                lifecycle.apply(session, card, how, acting=by, secrets=secrets_of(service), now=now, proved=True)
    service.clock.advance(1)
    restore(service, card_id)
    with service.session() as session:
        newest = session.scalar(text("SELECT action FROM card_event ORDER BY at DESC, id DESC LIMIT 1"))
    assert newest == "revived"


@pytest.mark.parametrize("cancelled", [False, True])
def test_nor_by_way_of_another_document(service: Service, cancelled: bool) -> None:
    held = service.app.register(1)["card_id"]
    staff(service, held, states.SUSPEND)
    if cancelled:
        move(service, held, "cancel")
    card_id = told(service.app.post("/v1/cards", person(1) | PASSPORT))["card_id"]
    assert problem(service.app.post(f"/v1/cards/{card_id}/documents", proof())) == (409, "held-by-staff")


def test_what_the_holder_suspended_is_joined_with_another_document_s_card(service: Service) -> None:
    other = service.app.register(1)["card_id"]
    move(service, other, "suspend")
    card_id = told(service.app.post("/v1/cards", person(1) | PASSPORT))["card_id"]
    assert service.app.post(f"/v1/cards/{card_id}/documents", proof()).status_code == 200


def test_a_loss_reported_by_staff_is_ended_by_the_holder_s_proof(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    staff(service, card_id, states.REPORT_LOSS)
    assert move(service, card_id, "resume", proof=proof()).status_code == 200


@pytest.mark.parametrize(("method", "status"), [("self-declared", "pending-review"), ("document-seen", "active")])
def test_cancelling_a_lost_card_is_no_way_around_the_proof(service: Service, method: str, status: str) -> None:
    card_id = service.app.register(1)["card_id"]
    move(service, card_id, "report-loss")
    weak = proof(verification={"method": "self-declared"})
    assert problem(move(service, card_id, "resume", proof=weak)) == (409, "identity-not-confirmed")
    move(service, card_id, "cancel")
    again = service.app.register(1, verification={"method": method})
    assert (again["card_id"], again["status"]) == (card_id, status)


def test_the_phone_of_a_lost_card_s_account_is_not_changed(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    move(service, card_id, "report-loss")
    for body in ({"phone": "13900139000"}, {"static_codes": True}):
        assert problem(patch(service, card_id, body)) == (409, "card-state")
    move(service, card_id, "resume", proof=proof())
    assert patch(service, card_id, {"phone": "13900139000"}).status_code == 200


def test_prints_and_static_codes_do_not_outlive_a_loss(service: Service) -> None:
    card = service.app.register(1)
    card_id = card["card_id"]
    allow_static(service, card)
    printed = told(service.app.post(f"/v1/cards/{card_id}/codes", {"kind": "static"}))["code"]
    for code in (printed, static(card)):
        assert service.terminal.scan(code)["outcome"] == "accepted"
    move(service, card_id, "report-loss")
    for code in (printed, static(card)):
        assert service.terminal.scan(code)["reason"] == "card-suspended"
    move(service, card_id, "resume", proof=proof())
    assert service.terminal.scan(printed)["reason"] == "expired"
    assert service.terminal.scan(static(card))["reason"] == "static-not-allowed"
    assert patch(service, card_id, {"static_codes": True}).status_code == 200
    assert service.terminal.scan(printed)["reason"] == "expired"


def test_a_reissue_is_a_loss_a_proof_and_another_print(service: Service) -> None:
    """补卡: the card goes on under its ids; what others may hold of it is made anew."""
    card = service.app.register(1)
    card_id = card["card_id"]
    allow_static(service, card)
    old = [told(service.app.post(f"/v1/cards/{card_id}/codes", {"kind": "static"}))["code"], service.app.code(card_id)]
    assert move(service, card_id, "report-loss").status_code == 200
    assert move(service, card_id, "resume", proof=proof()).status_code == 200
    service.clock.advance(2)
    assert patch(service, card_id, {"static_codes": True}).status_code == 200
    new = [told(service.app.post(f"/v1/cards/{card_id}/codes", {"kind": "static"}))["code"], service.app.code(card_id)]
    assert [service.terminal.scan(code)["reason"] for code in old] == ["expired"] * 2
    assert [service.terminal.scan(code)["outcome"] for code in new] == ["accepted"] * 2
    again = told(service.app.get(f"/v1/cards/{card_id}"))
    assert (again["card_id"], again["ehc_id"]) == (card_id, card["ehc_id"])


def test_the_dead_do_not_come_back_by_way_of_a_cancelled_card(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    move(service, card_id, "cancel")
    die(service, Document("01", citizen_number(1)))
    assert problem(service.app.post("/v1/cards", person(1))) == (409, "card-cancelled")
    assert told(service.app.get(f"/v1/cards/{card_id}"))["cause"] == "deceased"


def test_nor_by_way_of_another_document_s_card(service: Service) -> None:
    service.app.register(1)
    die(service, Document("01", citizen_number(1)))
    card_id = told(service.app.post("/v1/cards", person(1) | PASSPORT))["card_id"]
    assert problem(service.app.post(f"/v1/cards/{card_id}/documents", proof())) == (409, "card-cancelled")


def test_a_joined_card_does_not_die(service: Service) -> None:
    other = told(service.app.post("/v1/cards", person(1) | PASSPORT))["card_id"]
    card_id = service.app.register(1)["card_id"]
    assert service.app.post(f"/v1/cards/{card_id}/documents", PASSPORT | {"verification": SEEN}).status_code == 200
    with pytest.raises(cards.Conflict):
        staff(service, other, states.DIE)
    die(service, Document("03", "E12345678"))
    assert told(service.app.get(f"/v1/cards/{card_id}"))["cause"] == "deceased"


def test_a_temporary_card_gets_no_document_and_no_name(service: Service) -> None:
    arrival = {"name": "unknown", "sex": "male", "visit_at": service.clock.now().isoformat()}
    card_id = told(service.app.post("/v1/temporary-cards", arrival))["card_id"]
    assert problem(service.app.post(f"/v1/cards/{card_id}/documents", proof())) == (409, "card-state")
    assert problem(patch(service, card_id, {"name": "王小明", "verification": SEEN})) == (409, "card-state")
    assert service.app.register(1)["status"] == "active"


def test_the_ids_of_a_joined_card_are_not_taken_up_again(service: Service) -> None:
    told(service.app.post("/v1/cards", person(1) | PASSPORT))
    card_id = service.app.register(1)["card_id"]
    service.app.post(f"/v1/cards/{card_id}/documents", PASSPORT | {"verification": SEEN})
    body = {"id_type": "03", "id_number": "E12345678", "verification": SEEN}
    assert problem(patch(service, card_id, body)) == (409, "document-in-use")
    assert service.terminal.scan(service.app.code(card_id))["outcome"] == "accepted"


def test_an_identity_weighed_before_another_change_is_not_written_over_it(service: Service) -> None:
    card_id = service.app.register(1)["card_id"]
    registry, now = Registry(secrets_of(service)), service.clock.now()
    wanted = {"id_number": citizen_number(2), "replaced": "renewed"}
    with service.session() as session:
        card = cards.by_id(session, UUID(card_id))
        account = accounts.account_of(session, card, secrets=registry.secrets)
        seen = Proof(states.Level.DOCUMENT_SEEN)
        late, weighed = changes.weigh_identity(account, wanted, seen, registry=registry, today=local_day(now))
    assert patch(service, card_id, {"name": "王大明", "verification": SEEN}).status_code == 200
    with service.session() as session:
        card = cards.by_id(session, UUID(card_id))
        with pytest.raises(cards.StaleVersion):
            changes.change_identity(session, card, late, weighed, by=STAFF, registry=registry, now=now)
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM identity_document")) == 1
