"""Links by HMAC-SM3: who has the database and not the key cannot make one, nor go back to SHA-256 unseen."""

from dataclasses import replace
from hashlib import sha256

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.audit import HMAC_SM3, SHA256, Fault, HmacKey
from ehc.audit.links import chain_of
from ehc.commands.context import Deployment
from ehc.crypto.sm import sm3
from ehc.db import unit_of_work
from ehc.keystore import audit_keys, secret_keys
from ehc.keystore.secret_keys import SecretPurpose
from ehc.settings import Settings
from tests.integration.audited import (
    act,
    after,
    hmac_key,
    kek_of,
    keyed,
    places,
    quiet,
    rebuild,
    run,
    swapping,
    tamper,
    tie,
)
from tests.support.service import Service


@pytest.fixture
def subject(service: Service) -> str:
    """One whose acts are alone in their chain."""
    return quiet(service)


def methods(service: Service, subject: str) -> list[str]:
    with service.session() as session:
        rows = session.scalars(text("SELECT method FROM audit WHERE subject = :s ORDER BY seq"), {"s": subject})
        return list(rows)


def test_a_link_is_the_hmac_of_the_standards() -> None:
    """HMAC (GB/T 15852.2, RFC 2104) written out over SM3."""
    key = HmacKey(3, bytes(range(32)))
    inner, outer = (bytes(byte ^ pad for byte in key.secret.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    previous, entry = bytes(31) + b"\1", '{"action":"测试"}'
    assert key.link(previous, entry) == sm3(outer + sm3(inner + previous + entry.encode()))
    assert key.method == "hmac-sm3:3"
    assert bytes(range(32)).hex() not in repr(key)


def test_a_log_may_change_its_method_midway(service: Service, subject: str) -> None:
    act(service, subject, 2)
    act(service, subject, 3, keyed(service))
    assert methods(service, subject) == ["sha256"] * 2 + ["hmac-sm3:1"] * 3
    assert places(service, method=HMAC_SM3) == []
    assert places(service, method=SHA256) == []


def test_a_keyed_act_is_two_statements_and_the_key_is_asked_for_once_in_a_session(
    service: Service, subject: str
) -> None:
    key = hmac_key(service)
    asked: list[Session] = []

    def source(session: Session) -> HmacKey:
        asked.append(session)
        return key

    info = audit.hashing(HMAC_SM3, source)
    with service.statements() as sent, unit_of_work(service.engine, info=info)() as session:
        for number in range(2):
            audit.record(session, "test", actor="test", subject=f"{number}", at=service.clock.now())
    assert len([statement for statement in sent if "audit" in statement]) == 4
    assert len(asked) == 1


def test_the_key_never_goes_to_the_database(service: Service, subject: str) -> None:
    secret = hmac_key(service).secret
    with service.statements() as sent, keyed(service)() as session:
        audit.record(session, "test", actor="test", subject="s", at=service.clock.now())
    assert sent
    assert secret.hex() not in "".join(sent)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET entry = overlay(entry placing 'A' from 3 for 1) WHERE chain = :chain AND seq = 2",
        "UPDATE audit SET method = 'sha256' WHERE chain = :chain AND seq = 2",
        "UPDATE audit SET hash = set_bit(hash, 0, 1 - get_bit(hash, 0)) WHERE chain = :chain AND seq = 2",
    ],
)
def test_a_changed_row_is_found(service: Service, subject: str, statement: str) -> None:
    act(service, subject, 4, keyed(service))
    chain = chain_of(subject)
    assert (Fault.CHANGED, chain, 2, None) in after(service, statement, chain=chain)


def test_rows_that_changed_places_are_found(service: Service, subject: str) -> None:
    act(service, subject, 5, keyed(service))
    chain = chain_of(subject)
    assert after(service, *swapping(2, 4), chain=chain) == [(Fault.MOVED, chain, n, None) for n in (2, 4)]


def test_a_row_of_a_version_that_is_not_there_is_told_apart(service: Service, subject: str) -> None:
    act(service, subject, 3, keyed(service))
    chain = chain_of(subject)
    changed = "UPDATE audit SET method = 'hmac-sm3:2' WHERE chain = :chain AND seq = 2"
    assert after(service, changed, chain=chain) == [(Fault.NO_KEY, chain, 2, None)]


def test_old_versions_of_the_key_still_check_their_links(service: Service, subject: str) -> None:
    act(service, subject, 2, keyed(service))
    with service.session() as session:
        secret_keys.store(session, kek_of(service), SecretPurpose.AUDIT, bytes(range(32)), at=service.clock.now())
    act(service, subject, 2, keyed(service))
    assert methods(service, subject) == ["hmac-sm3:1"] * 2 + ["hmac-sm3:2"] * 2
    assert places(service) == []


def test_a_tail_computed_anew_without_the_key_is_found_even_before_it_is_tied(service: Service, subject: str) -> None:
    work = keyed(service)
    act(service, subject, 2, work)
    tie(service, work)
    act(service, subject, 3, work)
    rebuild(service, chain_of(subject), 4)
    assert places(service, method=HMAC_SM3) == [(Fault.WEAKENED, chain_of(subject), 4, None)]


def test_a_tail_computed_anew_without_the_key_is_found_after_it_was_tied(service: Service, subject: str) -> None:
    work = keyed(service)
    act(service, subject, 2, work)
    tie(service, work)
    act(service, subject, 3, work)
    rebuild(service, chain_of(subject), 4)
    tie(service, work)
    for method in (SHA256, HMAC_SM3):
        assert places(service, method=method) == [(Fault.WEAKENED, chain_of(subject), 4, None)]


def test_an_operator_may_go_back_to_sha256(service: Service, subject: str) -> None:
    work = keyed(service)
    act(service, subject, 2, work)
    tie(service, work)
    act(service, subject, 2)
    assert places(service, method=SHA256) == []
    assert places(service, method=HMAC_SM3) == [(Fault.WEAKENED, chain_of(subject), 3, None)]
    tie(service)
    act(service, subject, 2, work)
    tie(service, work)
    act(service, subject, 2, work)
    assert places(service, method=HMAC_SM3) == []


def test_workers_that_change_the_method_one_after_the_other_make_no_finding(service: Service, subject: str) -> None:
    act(service, subject)
    tie(service)
    for work in (keyed(service), service.session) * 3:
        act(service, subject, 1, work)
    tie(service, keyed(service))
    act(service, subject, 2, keyed(service))
    assert places(service, method=HMAC_SM3) == []


def test_commands_link_as_the_setting_says(service: Service) -> None:
    added = run(service, "clients", "add-institution", "H9", "第九医院", EHC_AUDIT_HASH="hmac-sm3")
    assert added.exit_code == 0
    with service.session() as session:
        added_to = session.scalars(text("SELECT method FROM audit WHERE action = 'institution.added'"))
        assert sorted(added_to) == ["hmac-sm3:1", "sha256", "sha256"]
    assert run(service, "audit", "verify", EHC_AUDIT_HASH="hmac-sm3").exit_code == 0


def test_the_first_keys_of_a_deployment_are_recorded_with_the_key_that_was_just_made(service: Service) -> None:
    tamper(service, "DELETE FROM secret_key", "DELETE FROM signing_key")
    assert run(service, "keys", "init", EHC_AUDIT_HASH="hmac-sm3").exit_code == 0
    assert methods(service, "audit:1")[-1] == methods(service, "seal:1")[-1] == "hmac-sm3:1"
    assert places(service) == []


def test_without_its_key_nothing_is_recorded_and_the_operator_is_told(service: Service) -> None:
    tamper(service, "DELETE FROM secret_key WHERE purpose = 'audit'")
    result = run(service, "clients", "add-institution", "H9", "第九医院", EHC_AUDIT_HASH="hmac-sm3")
    assert (result.exit_code, "ehc keys init" in result.stderr) == (1, True)
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM institution WHERE code = 'H9'")) == 0


def test_the_service_links_as_its_setting_says(settings: Settings) -> None:
    service = Service.start(replace(settings, audit_hash=HMAC_SM3))
    try:
        card_id = service.app.register()["card_id"]
        assert methods(service, card_id) == ["hmac-sm3:1"]
        assert places(service, method=HMAC_SM3) == []
    finally:
        service.stop()


def test_the_key_is_wrapped_and_of_its_own(service: Service) -> None:
    with service.session() as session:
        secrets = secret_keys.load(session, kek_of(service))
        wrapped = session.execute(text("SELECT wrapped_key FROM secret_key WHERE purpose = 'audit'")).scalar_one()
    assert secrets.audit_key == hmac_key(service)
    assert len(secrets.audit_key.secret) == 32
    assert secrets.audit_key.secret not in wrapped
    assert sha256(secrets.audit_key.secret).hexdigest() not in repr(secrets)


def test_a_deployment_gives_its_key_only_where_it_is_needed(settings: Settings) -> None:
    place = Deployment()
    place.settings = settings
    with place.work() as session:
        assert "ehc.audit.key" not in session.info
    place = Deployment()
    place.settings = replace(settings, audit_hash=HMAC_SM3)
    with place.work() as session:
        key = session.info["ehc.audit.key"](session)
        assert key == audit_keys.newest(session, place.kek)
