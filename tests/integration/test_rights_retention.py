"""Erasing closed accounts: on which day, what goes, what stays, and that nothing leads back to the person."""

import threading
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.cards import store as cards
from ehc.cards.states import RESTORABLE, RESTORE, Party
from ehc.cards.store import Acting, Conflict
from ehc.clock import CHINA_TIME, local_day
from ehc.core.documents import read_document
from ehc.core.names import normal_name
from ehc.errors import InvalidValue
from ehc.issuer import accounts, retention
from tests.contract.helpers import secrets_of
from tests.contract.rights import agree, close
from tests.contract.test_sealed_storage import everything
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

NAME, NUMBER, REASON = "欧阳独特", citizen_number(42, born="19770831"), "独特的原因"


def known(**changes: Any) -> dict[str, Any]:
    proof = {"method": "clerk", "reference": "卷宗独特", "clerk": {"name": "李独特", "number": "0713"}}
    return person(1, name=NAME, id_number=NUMBER, address="独特路987号", verification=proof) | changes


def erase(service: Service, at: datetime | None = None, **more: Any) -> int:
    with service.session() as session:
        return retention.erase(session, secrets=secrets_of(service), now=at or service.clock.now(), **more)


def last_day(service: Service) -> datetime:
    """The last moment of the last day on which a closed account is kept."""
    with service.session() as session:
        day = session.scalars(text("SELECT max(erase_after) FROM resident")).one()
    return datetime(day.year, day.month, day.day, 23, 59, 59, 999999, CHINA_TIME)


def after(service: Service) -> datetime:
    return last_day(service) + timedelta(microseconds=1)


def opened(session: Session, service: Service, card_id: str) -> accounts.Account:
    return accounts.account_of(session, cards.by_id(session, UUID(str(card_id))), secrets=secrets_of(service))


def live(service: Service) -> str:
    """A life with every kind of row in it, closed at its end."""
    app = service.app
    card_id = str(answered(app.post("/v1/cards", known()))["card_id"])
    agree(app, card_id, "institution-sharing")
    service.terminal.scan(app.code(card_id), operator="操作员独特", request_id="visit-1")
    headers = app.headers | {"If-Match": "*"}
    change = {"name": "欧阳独到", "static_codes": True, "verification": known()["verification"]}
    assert app.http.patch(f"/v1/cards/{card_id}", json=change, headers=headers).status_code == 200
    assert app.post(f"/v1/cards/{card_id}/codes", {"kind": "static"}).status_code == 201
    asked = {"field": "address", "wanted": "独特路1号", "reason": REASON}
    assert app.post(f"/v1/cards/{card_id}/corrections", asked).status_code == 201
    child = {"name": "欧阳小独", "id_type": "01", "id_number": citizen_number(5, born="20160501")}
    family = {
        "relation": "2",
        "member": child | {"verification": {"method": "document-seen"}},
        "verification": known()["verification"],
    }
    assert app.post(f"/v1/cards/{card_id}/family", family).status_code == 201
    assert close(app, card_id, reason=REASON).status_code == 200
    return card_id


def test_a_closed_account_is_erased_the_day_after_the_last_that_it_is_kept(service: Service) -> None:
    live(service)
    assert last_day(service).date() == local_day(service.clock.now()) + timedelta(days=15 * 365)
    for moment in (service.clock.now(), last_day(service)):
        assert erase(service, moment) == 0
    assert erase(service, after(service)) == 1


def test_erasing_ends_and_a_second_time_finds_nobody(service: Service) -> None:
    live(service)
    moment = after(service)
    assert [erase(service, moment) for _ in range(3)] == [1, 0, 0]


def test_an_open_account_is_never_erased(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    assert erase(service, service.clock.now() + timedelta(days=100 * 365)) == 0
    with service.session() as session:
        assert opened(session, service, card_id).person.name == "王小明"


def test_a_due_person_whose_card_lives_is_left_alone(service: Service) -> None:
    """It should not be; but a name must not go while somebody uses the card."""
    card_id = service.app.register()["card_id"]
    with service.session() as session:
        session.execute(text("UPDATE resident SET erase_after = '2000-01-01'"))
    assert erase(service) == 0
    with service.session() as session:
        assert opened(session, service, card_id).person.name == "王小明"


def test_nothing_that_is_left_says_who_it_was(service: Service) -> None:
    """Not the clear columns, not what the keys of the deployment open, not the blind indexes."""
    card_id = live(service)
    secrets = secrets_of(service)
    with service.session() as session:
        before = opened(session, service, card_id)
        document = accounts.document_of(before.person)
        indexes = [
            secrets.blind_index.of("identity-document", f"{document.type}:{document.number}"),
            secrets.blind_index.of("ehc-id", before.ehc_id or ""),
            secrets.blind_index.of("index-id", before.index_id or ""),
        ]
        assert all(index.hex() in everything(session) for index in indexes)  # the look does find what is there
    assert erase(service, after(service)) == 1
    with service.session() as session:
        account = opened(session, service, card_id)
        assert (account.person.name, account.ehc_id, account.index_id) == ("-", "-", "-")
        assert accounts.document_of(account.person).number == "-"
        assert (account.person.sex, account.person.birth_date, account.person.phone) == (None, None, None)
        dump = everything(session)
        assert [index for index in indexes if index.hex() in dump] == []
        assert "1977-08-31" not in dump
        words = (
            "SELECT count(*) FROM card_event WHERE card_serial = :serial AND num_nonnulls(reason, evidence, clerk) > 0"
        )
        assert session.scalar(text(words), {"serial": account.card.serial}) == 0
        for empty in (
            "SELECT count(*) FROM verification WHERE num_nonnulls(operator, request_id) > 0",
            "SELECT count(*) FROM card_alias",
            "SELECT count(*) FROM correction",
            "SELECT count(*) FROM identity_proof",
            "SELECT count(*) FROM family_link WHERE evidence IS NOT NULL",
            "SELECT count(*) FROM resident WHERE erase_after IS NOT NULL",
        ):
            assert session.scalar(text(empty)) == 0, empty


def test_what_stays_are_the_traces_without_the_person(service: Service) -> None:
    card_id = live(service)
    counts = (
        "SELECT (SELECT count(*) FROM card_event), (SELECT count(*) FROM verification), (SELECT count(*) FROM consent)"
    )
    with service.session() as session:
        kept = session.execute(text(counts)).one()
    erase(service, after(service))
    with service.session() as session:
        assert session.execute(text(counts)).one() == kept
        check = session.execute(text("SELECT step, institution_id IS NOT NULL FROM verification")).one()
        assert tuple(check) == ("registration", True)
        acts = session.scalars(text("SELECT action FROM audit WHERE subject = :id"), {"id": card_id}).all()
    assert {"card.registered", "card.closed", "card.erased"} <= set(acts)


def test_the_family_of_an_erased_person_is_untouched(service: Service) -> None:
    live(service)
    erase(service, after(service))
    with service.session() as session:
        child = session.scalars(text("SELECT id FROM card WHERE status = 'active'")).one()
        account = opened(session, service, child)
    assert account.person.name == "欧阳小独"


def test_an_erased_person_registers_as_somebody_new(service: Service) -> None:
    card_id = live(service)
    erase(service, after(service))
    again = service.app.post("/v1/cards", known())
    assert again.status_code == 201
    assert answered(again)["card_id"] != card_id
    assert answered(service.app.get(f"/v1/cards/{answered(again)['card_id']}/verifications"))["items"] == []


def test_the_day_before_the_card_is_restored_and_nothing_is_erased_later(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    close(service.app, card_id)
    day = after(service)
    assert erase(service, last_day(service)) == 0
    assert service.app.register()["card_id"] == card_id
    assert erase(service, day) == 0
    with service.session() as session:
        assert opened(session, service, card_id).person.name == "王小明"


def test_records_that_were_joined_go_with_the_person(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
    other = service.app.register(**passport)["card_id"]
    body = passport | {"name": "王小明", "verification": {"method": "document-seen"}}
    assert service.app.post(f"/v1/cards/{card_id}/documents", body).status_code == 200
    close(service.app, card_id)
    assert erase(service, after(service)) == 1
    with service.session() as session:
        assert {opened(session, service, each).person.name for each in (card_id, other)} == {"-"}


def test_whoever_is_being_restored_is_passed_over(service: Service) -> None:
    """The other transaction holds the card; erasing neither waits for it nor stands in its way."""
    card_id = service.app.register()["card_id"]
    close(service.app, card_id)
    moment = after(service)
    for held in ("SELECT 1 FROM card FOR UPDATE", "SELECT 1 FROM resident FOR UPDATE"):
        with service.session() as other:
            other.execute(text(held))
            assert erase(service, moment) == 0
    assert erase(service, moment) == 1


def test_an_account_is_not_restored_over_an_erasure_that_came_between(service: Service) -> None:
    """Registered again at the very moment of erasure: the person ends with one card that lives, under their name."""
    for serial in range(5):
        card_id = service.app.register(serial)["card_id"]
        close(service.app, card_id)
        moment = after(service)
        eraser = threading.Thread(target=erase, args=(service, moment))
        eraser.start()
        answer = service.app.post("/v1/cards", person(serial))
        eraser.join()
        assert answer.status_code in {200, 201, 409}
        if answer.status_code == 409:
            answer = service.app.post("/v1/cards", person(serial))
            assert answer.status_code in {200, 201}
        with service.session() as session:
            assert opened(session, service, answered(answer)["card_id"]).person.name == "王小明"


def test_who_read_the_card_before_it_was_erased_does_not_restore_it(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    close(service.app, card_id)
    with service.session() as session:
        card = cards.by_id(session, UUID(card_id))
        assert erase(service, after(service)) == 1
        words: dict[str, Any] = {"acting": Acting("test", Party.STAFF), "at": service.clock.now()}
        with pytest.raises(Conflict):
            cards.move(session, card, RESTORE, **words)


def test_who_reads_the_card_after_it_was_erased_finds_one_that_nothing_restores(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    close(service.app, card_id)
    erase(service, after(service))
    with service.session() as session:
        assert cards.by_id(session, UUID(card_id)).cause not in RESTORABLE


def test_many_are_erased_in_portions(service: Service) -> None:
    for serial in range(5):
        close(service.app, service.app.register(serial)["card_id"])
    moment = after(service)
    assert [erase(service, moment, most=2) for _ in range(4)] == [2, 2, 1, 0]


def test_no_name_and_no_number_is_what_stands_for_an_erased_one() -> None:
    with pytest.raises(InvalidValue):
        normal_name(retention.NEUTRAL)
    with pytest.raises(InvalidValue):
        read_document("99", retention.NEUTRAL, today=datetime(2026, 1, 1, tzinfo=CHINA_TIME).date())
