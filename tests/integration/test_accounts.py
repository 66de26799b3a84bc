"""Registration below HTTP: what it writes, that it is all or nothing, and that its indexes find people again."""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc.callers import Caller, ClientKind, Scope
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import CANCEL, SUSPEND, CardStatus, Cause, Level, Party
from ehc.cards.store import Acting, Conflict, NoSuchCard, StaleVersion
from ehc.core.documents import Document
from ehc.core.ids import uuid7
from ehc.errors import InvalidValue
from ehc.issuer import accounts, proofs
from ehc.issuer.accounts import IdentityMismatch
from ehc.issuer.applications import Application, Proof, read_person
from ehc.issuer.registry import Registry
from ehc.keystore import secret_keys
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from tests.support.service import Service, citizen_number


def application(serial: int = 1, **changes: Any) -> Application:
    """A valid application."""
    known: dict[str, Any] = {"name": "王小明", "id_type": "01", "id_number": citizen_number(serial)}
    known |= {"phone": "13800138000", "proof": Proof(Level.DOCUMENT_SEEN)}
    return Application(**known | changes)


@pytest.fixture
def secrets(service: Service) -> Secrets:
    with service.session() as session:
        return secret_keys.load(session, service.settings.key_encrypting_key())


@pytest.fixture
def caller(service: Service) -> Caller:
    with service.session() as session:
        query = text("SELECT id FROM client WHERE client_id = :name")
        found = session.scalar(query, {"name": service.app.credentials.client_id})
    return Caller(found, ClientKind.APP, frozenset({Scope.CARDS}))


def register(session: Session, service: Service, caller: Caller, secrets: Secrets, **changes: Any) -> Any:
    registry, wanted, now = Registry(secrets), application(**changes), service.clock.now()
    person = read_person(wanted, today=now.date())
    weighed = proofs.weigh(registry, wanted.proof, person)
    return accounts.register(session, person, wanted, weighed, caller=caller, registry=registry, now=now)


def test_a_registration_that_is_rolled_back_leaves_nothing(service: Service, caller: Caller, secrets: Secrets) -> None:
    with suppress(ZeroDivisionError), service.session() as session:
        register(session, service, caller, secrets)
        raise ZeroDivisionError
    with service.session() as session:
        for table in ("resident", "identity_document", "card", "card_grant"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0


def test_an_account_tells_the_person_in_normal_form(service: Service, caller: Caller, secrets: Secrets) -> None:
    with service.session() as session:
        account, new = register(
            session, service, caller, secrets, name=" 王 小明", phone="+86 138 0013 8000", address="路"
        )
        serial = account.card.serial
    assert new
    assert (account.person.name, account.person.phone, account.person.address) == ("王小明", "13800138000", "路")
    assert account.person.document == Document("01", citizen_number(1))
    with service.session() as session:
        card = session.get_one(CardRow, serial)
        assert accounts.account_of(session, card, secrets=secrets).person == account.person


def test_a_stored_person_is_found_by_type_and_number_together(
    service: Service, caller: Caller, secrets: Secrets
) -> None:
    with service.session() as session:
        account, _ = register(session, service, caller, secrets)
        for document, found in (
            (Document("01", citizen_number(1)), True),
            (Document("02", citizen_number(1)), False),
            (Document("01", citizen_number(2)), False),
        ):
            row = residents.find(session, document, blind_index=secrets.blind_index)
            assert (row is not None and row.id == account.card.document_id) is found


def test_a_document_is_stored_once(service: Service, caller: Caller, secrets: Secrets) -> None:
    """The database itself refuses the second row, whatever the code above it believes."""
    with service.session() as session:
        account, _ = register(session, service, caller, secrets)
        keys: dict[str, Any] = {"sealer": secrets.sealer, "blind_index": secrets.blind_index}
        with pytest.raises(IntegrityError), session.begin_nested():
            residents.add(session, account.person, at=service.clock.now(), **keys)


def test_a_person_has_one_live_card(service: Service, caller: Caller, secrets: Secrets) -> None:
    with service.session() as session:
        register(session, service, caller, secrets)
        again = text("""
            INSERT INTO card (id, resident_id, document_id, status, cause, level, ehc_id, ehc_id_index, index_id,
                              index_id_index, security_key_version, version, created_at, status_changed_at)
            SELECT :id, resident_id, document_id, :status, :cause, level, ehc_id, sha256(:new), index_id, index_id_index,
                   security_key_version, version, created_at, status_changed_at FROM card LIMIT 1
        """)
        for status, refused in (
            ("suspended", True),
            ("lost", True),
            ("pending-review", True),
            ("cancelled", False),
            ("rejected", False),
        ):
            cause = "cancelled" if status == "cancelled" else None
            values = {"id": uuid7(service.clock.now()), "status": status, "cause": cause, "new": status.encode()}
            if refused:
                with pytest.raises(IntegrityError, match="uq_card_live"), session.begin_nested():
                    session.execute(again, values)
            else:
                session.execute(again, values)


def test_the_live_card_is_found_among_older_ones(service: Service, caller: Caller, secrets: Secrets) -> None:
    with service.session() as session:
        account, _ = register(session, service, caller, secrets)
        account.card.status, account.card.cause = CardStatus.CANCELLED, Cause.CANCELLED
        session.flush()
        found = cards.of_resident(session, account.card.resident_id)
        assert found is not None
        assert found.serial == account.card.serial
        assert cards.of_resident(session, uuid7(service.clock.now())) is None


def test_another_name_is_a_mismatch_and_changes_nothing(service: Service, caller: Caller, secrets: Secrets) -> None:
    with service.session() as session:
        register(session, service, caller, secrets)
        with pytest.raises(IdentityMismatch) as caught:
            register(session, service, caller, secrets, name="王大明", proof=Proof(Level.EXTERNAL_MATCH))
        assert caught.value.fields == ()
        assert "明" not in caught.value.detail.zh
        assert session.scalar(text("SELECT level FROM card")) == "document-seen"


def test_all_wrong_members_are_named_at_once(service: Service) -> None:
    with pytest.raises(InvalidValue) as caught:
        read_person(application(name="!", phone="1", id_type="77"), today=service.clock.now().date())
    assert [field.pointer for field in caught.value.fields] == ["/name", "/phone", "/id_type"]


def test_a_move_from_a_version_that_passed_is_a_conflict(service: Service, caller: Caller, secrets: Secrets) -> None:
    """Another transaction moved the card after this one read it."""
    with service.session() as session:
        card_id = register(session, service, caller, secrets)[0].card.id
    more: dict[str, Any] = {"acting": Acting("test", Party.RESIDENT), "at": datetime.now(UTC)}
    with service.session() as slow:
        card = cards.granted(slow, card_id, caller.id, at=service.clock.now())
        with service.session() as quick:
            cards.move(quick, cards.granted(quick, card_id, caller.id, at=service.clock.now()), CANCEL, **more)
        with pytest.raises(Conflict):
            cards.move(slow, card, SUSPEND, **more)
        assert card.status == CardStatus.CANCELLED


def test_a_move_on_a_stale_version_says_so(service: Service, caller: Caller, secrets: Secrets) -> None:
    more: dict[str, Any] = {"acting": Acting("test", Party.RESIDENT), "at": datetime.now(UTC)}
    with service.session() as session:
        account, _ = register(session, service, caller, secrets)
        with pytest.raises(StaleVersion):
            cards.move(session, account.card, SUSPEND, version=2, **more)
        cards.move(session, account.card, SUSPEND, version=1, **more)
        assert account.card.version == 2


def test_a_client_without_a_grant_finds_no_card(service: Service, caller: Caller, secrets: Secrets) -> None:
    with service.session() as session:
        account, _ = register(session, service, caller, secrets)
        with pytest.raises(NoSuchCard):
            cards.granted(session, account.card.id, uuid7(service.clock.now()), at=service.clock.now())
        assert not cards.grant(session, account.card, caller.id, at=service.clock.now())
