"""Accounts of gateways: who is found, what they may call with, and how soon a change counts."""

from hashlib import sha256
from threading import Barrier, Thread
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.access import apps, institutions
from ehc.access.app_states import SUSPEND
from ehc.access.client_secrets import NoSuchSecret, TooManySecrets
from ehc.crypto.sealed import Sealer
from ehc.db import unit_of_work
from ehc.errors import InvalidValue
from ehc.gateways import provisioning
from ehc.gateways.accounts import Accounts
from ehc.gateways.kinds import GatewayKind, PlaceKind
from ehc.keystore import secret_keys
from tests.support import gateways
from tests.support.gateways import TESTER, TestAccount
from tests.support.service import Service

OPEN, PROVINCIAL = GatewayKind.OPEN_PLATFORM, GatewayKind.PROVINCIAL
HOSPITAL = ("hospital", "30001")


class Watch:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def known(service: Service) -> TestAccount:
    return gateways.account(service, OPEN, places={HOSPITAL: "H1"})


@pytest.fixture
def accounts(service: Service, watch: Watch) -> Accounts:
    return Accounts(unit_of_work(service.engine), lambda: _sealer(service), service.clock, timer=watch)


def _sealer(service: Service) -> Sealer:
    with service.session() as session:
        return secret_keys.load(session, service.settings.key_encrypting_key()).sealer


def test_account_is_found_with_its_secret_and_places(service: Service, accounts: Accounts, known: TestAccount) -> None:
    found = accounts.find(OPEN, known.name)
    assert found is not None
    assert found.secrets == (known.secret.encode(),)
    assert len(known.name) == len(known.secret) == 32
    assert found.caller.id == known.app_id
    here = found.at(*HOSPITAL)
    assert here is not None
    assert here.institution_id == gateways.institution_id(service)
    assert found.at("hospital", "30002") is None
    assert known.secret not in repr(found)
    assert accounts.by_id(known.id) is found


def test_password_of_a_provincial_account_is_only_a_hash(service: Service, accounts: Accounts) -> None:
    places: dict[tuple[str, str], str | None] = {("org", "630102001"): "H1", ("app", "QH0001"): None}
    known = gateways.account(service, PROVINCIAL, name="demo_his", places=places, strict=True)
    found = accounts.find(PROVINCIAL, "demo_his")
    assert found is not None
    assert found.secrets == (sha256(known.secret.encode()).digest(),)
    assert found.strict
    app = found.at("app", "QH0001")
    assert app is not None
    assert app.institution_id is None
    with service.session() as session:
        everything = session.execute(text("SELECT string_agg(t::text, ' ') FROM gateway_secret t")).scalar_one()
    assert known.secret not in everything


@pytest.mark.parametrize("name", ["", "nobody" * 4, "x" * 33, "\x00" * 16, "a' OR 1=1 --aaaa", "张三" * 8])
def test_nobody_is_found_by_another_name(accounts: Accounts, known: TestAccount, name: str) -> None:
    assert accounts.find(OPEN, name) is None
    assert accounts.find(PROVINCIAL, known.name) is None
    assert accounts.by_id(uuid4()) is None


def _suspend_app(service: Service, known: TestAccount, session: Session) -> None:
    apps.move(session, known.app_id, SUSPEND, by=TESTER, now=service.clock.now(), reason="测试")


def _suspend_account(service: Service, known: TestAccount, session: Session) -> None:
    provisioning.suspend(session, known.id, reason="测试", by=TESTER, now=service.clock.now())


@pytest.mark.parametrize("suspend", [_suspend_app, _suspend_account])
def test_suspended_is_not_found_five_seconds_later(
    service: Service, accounts: Accounts, known: TestAccount, watch: Watch, suspend: object
) -> None:
    assert accounts.find(OPEN, known.name) is not None
    with service.session() as session:
        suspend(service, known, session)  # type: ignore[operator]  # one of the two above
    watch.seconds = 4.9
    assert accounts.find(OPEN, known.name) is not None
    watch.seconds = 5.0
    assert accounts.find(OPEN, known.name) is None
    assert accounts.by_id(known.id) is None


def test_resumed_is_found_again_and_both_are_refused_twice(service: Service, known: TestAccount) -> None:
    now = service.clock.now()
    with service.session() as session:
        _suspend_account(service, known, session)
        with pytest.raises(provisioning.WrongAccountState):
            _suspend_account(service, known, session)
        assert provisioning.resume(session, known.id, reason="好", by=TESTER, now=now).state == "live"
        with pytest.raises(provisioning.WrongAccountState):
            provisioning.resume(session, known.id, reason="好", by=TESTER, now=now)


def test_suspended_institution_is_no_place(service: Service, accounts: Accounts, known: TestAccount) -> None:
    with service.session() as session:
        institutions.move(
            session,
            institutions.OPERATOR,
            gateways.institution_id(service),
            "suspend",
            reason="测试",
            now=service.clock.now(),
        )
    found = accounts.find(OPEN, known.name)
    assert found is not None
    assert found.at(*HOSPITAL) is None


def test_two_secrets_count_while_one_replaces_the_other(
    service: Service, accounts: Accounts, known: TestAccount, watch: Watch
) -> None:
    now = service.clock.now()
    with service.session() as session:
        sealer = _sealer(service)
        second = provisioning.add_secret(session, known.id, sealer=sealer, by=TESTER, now=now)
        with pytest.raises(TooManySecrets):
            provisioning.add_secret(session, known.id, sealer=sealer, by=TESTER, now=now)
    found = accounts.find(OPEN, known.name)
    assert found is not None
    assert set(found.secrets) == {known.secret.encode(), second.secret.encode()}
    with service.session() as session:
        provisioning.end_secret(session, known.id, second.id, by=TESTER, now=now)
        with pytest.raises(NoSuchSecret):
            provisioning.end_secret(session, known.id, second.id, by=TESTER, now=now)
    watch.seconds = 5
    found = accounts.find(OPEN, known.name)
    assert found is not None
    assert found.secrets == (known.secret.encode(),)


def test_many_at_once_add_one_second_secret(service: Service, known: TestAccount) -> None:
    barrier, ends = Barrier(8), []

    def add() -> None:
        sealer = _sealer(service)
        barrier.wait()
        try:
            with service.session() as session:
                provisioning.add_secret(session, known.id, sealer=sealer, by=TESTER, now=service.clock.now())
            ends.append("added")
        except TooManySecrets:
            ends.append("too many")

    threads = [Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["added"] + 7 * ["too many"]


def test_name_is_one_account_s_for_ever(service: Service) -> None:
    gateways.account(service, PROVINCIAL, name="demo_his", places={})
    with pytest.raises(provisioning.NameTaken):
        gateways.account(service, PROVINCIAL, name="demo_his", places={})


@pytest.mark.parametrize(
    ("kind", "code", "home"),
    [("org", "30001", "H1"), ("app", "QH0001", None), ("hospital", "3 0", "H1"), ("hospital", "3" * 33, "H1")],
)
def test_code_that_does_not_fit_is_refused(service: Service, kind: str, code: str, home: str | None) -> None:
    with pytest.raises(InvalidValue):
        gateways.account(service, OPEN, places={(kind, code): home})


@pytest.mark.parametrize(
    ("kind", "code", "home"), [("app", "QH0001", "H1"), ("org", "1", None), ("app", "QH00001", None)]
)
def test_provincial_code_that_does_not_fit_is_refused(service: Service, kind: str, code: str, home: str | None) -> None:
    with pytest.raises(InvalidValue):
        gateways.account(service, PROVINCIAL, places={(kind, code): home})


def test_code_can_move_to_another_institution(service: Service, accounts: Accounts, known: TestAccount) -> None:
    now, second = service.clock.now(), gateways.institution_id(service, "H2")
    with service.session() as session:
        with pytest.raises(provisioning.PlaceTaken):
            provisioning.add_place(session, known.id, PlaceKind.HOSPITAL, "30001", second, by=TESTER, now=now)
        old = provisioning.place_named(session, known.id, PlaceKind.HOSPITAL, "30001").id
        provisioning.end_place(session, known.id, old, by=TESTER, now=now)
        with pytest.raises(provisioning.NoSuchPlace):
            provisioning.end_place(session, known.id, old, by=TESTER, now=now)
        with pytest.raises(provisioning.NoSuchPlace):
            provisioning.place_named(session, known.id, PlaceKind.HOSPITAL, "30001")
        provisioning.add_place(session, known.id, PlaceKind.HOSPITAL, "30001", second, by=TESTER, now=now)
    found = accounts.find(OPEN, known.name)
    assert found is not None
    here = found.at(*HOSPITAL)
    assert here is not None
    assert here.institution_id == second


def test_every_act_is_audited_without_the_secret(service: Service, known: TestAccount) -> None:
    with service.session() as session:
        _suspend_account(service, known, session)
    with service.session() as session:
        acts = session.execute(
            text("SELECT action, entry FROM audit WHERE subject = :id ORDER BY seq"), {"id": str(known.id)}
        )
        told = [(row.action, row.entry) for row in acts]
    assert {action for action, _ in told} == {
        "gateway.account-added",
        "gateway.secret-added",
        "gateway.place-added",
        "gateway.account-suspended",
    }
    assert all(known.secret not in entry for _, entry in told)
