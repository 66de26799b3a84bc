"""Brute force on log-in, second factor, recovery codes and proofs stops where `ehc/access/tries.py` says, also spread."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ehc.access.staff_login_models import StaffTryRow
from ehc.access.staff_upkeep import PURGES
from ehc.callers import Role
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import at_once, problem
from tests.support.service import Service, told
from tests.support.staff import CURRENT, PASSWORD, Person, log_in, person

QUARTER, DAY = 15 * 60, 24 * 3600
WRONG: list[Callable[[Person], dict[str, Any]]] = [
    lambda who: {"password": "wrong-wrong-wrong"},
    lambda who: {"totp": who.wrong_code()},
    lambda who: {"totp": None, "recovery_code": "AAAA-BBBB-CCCC-DDDD"},
]
KINDS = ["password", "second factor", "recovery code"]


@pytest.fixture
def zhang(service: Service) -> Person:
    return person(service, Role.SYSTEM_ADMIN, recovery=True)


def addresses(number: int) -> str:
    return f"198.51.{number // 250}.{number % 250 + 1}"


@pytest.mark.parametrize("changes", WRONG, ids=KINDS)
def test_five_wrong_tries_in_a_quarter_of_an_hour_then_none(zhang: Person, changes: Callable[..., Any]) -> None:
    """Also from an address of its own each; then not even the right one is looked at."""
    for number in range(5):
        assert problem(zhang.try_with(address=addresses(number), **changes(zhang))) == (401, "log-in-refused")
    refused = zhang.try_with(address=addresses(5))
    assert problem(refused) == (429, "too-many-tries")
    assert refused.headers["Retry-After"] == str(QUARTER + 1)


@pytest.mark.parametrize("changes", WRONG, ids=KINDS)
def test_many_at_once_over_two_workers_and_many_addresses_get_five(
    zhang: Person, worker: WorkerMaker, changes: Callable[..., Any]
) -> None:
    flasks = [zhang.service.flask, worker(zhang.service).flask]
    wrong = changes(zhang)

    def trying(number: int) -> Callable[[], TestResponse]:
        return lambda: zhang.try_with(flask=flasks[number % 2], address=addresses(number), **wrong)

    answers = Counter(answer.status_code for answer in at_once(*map(trying, range(16))))
    assert answers == {401: 5, 429: 11}


def test_a_place_is_free_again_when_the_oldest_try_is_a_quarter_of_an_hour_old(zhang: Person, service: Service) -> None:
    for _ in range(5):
        zhang.try_with(password="wrong-wrong-wrong")
        service.clock.advance(60)
    service.clock.advance(QUARTER - 5 * 60 - 1)
    assert problem(zhang.try_with()) == (429, "too-many-tries")
    service.clock.advance(1)
    assert zhang.try_with(password="wrong-wrong-wrong").status_code == 401
    assert problem(zhang.try_with()) == (429, "too-many-tries")


def test_knocking_makes_a_lock_no_longer(zhang: Person, service: Service) -> None:
    for _ in range(5):
        zhang.try_with(password="wrong-wrong-wrong")
    for _ in range(14):
        service.clock.advance(60)
        assert zhang.try_with().status_code == 429
    service.clock.advance(60)
    assert zhang.try_with().status_code == 201


def test_twenty_wrong_tries_a_day(zhang: Person, service: Service) -> None:
    for number in range(20):
        assert zhang.try_with(address=addresses(number), password="wrong-wrong-wrong").status_code == 401
        service.clock.advance(QUARTER)
    refused = zhang.try_with(address=addresses(21))
    assert problem(refused) == (429, "too-many-tries")
    wait = int(refused.headers["Retry-After"])
    assert DAY - 20 * QUARTER <= wait <= DAY - 20 * QUARTER + 1
    service.clock.advance(wait)
    assert zhang.try_with().status_code == 201


def test_a_login_that_does_not_exist_is_locked_like_one_that_does(service: Service, zhang: Person) -> None:
    for _ in range(5):
        assert log_in(service.flask, login="li.si", password="x").status_code == 401
    assert problem(log_in(service.flask, login="li.si", password="x")) == (429, "too-many-tries")
    assert zhang.try_with().status_code == 201


def test_an_address_gets_thirty_whoever_it_tries(service: Service, zhang: Person) -> None:
    for number in range(30):
        assert log_in(service.flask, login=f"guess.{number}", password="x").status_code == 401
    assert problem(zhang.try_with()) == (429, "too-many-tries")
    assert zhang.try_with(address="192.0.2.2").status_code == 201
    service.clock.advance(QUARTER)
    assert zhang.try_with().status_code == 201


def test_an_address_gets_thirty_also_at_once(
    service: Service, worker: WorkerMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ehc.access.tries.PER_ADDRESS", ((timedelta(minutes=15), 3),))
    flasks = [service.flask, worker(service).flask]
    calls = [
        lambda number=number: log_in(flasks[number % 2], login=f"guess.{number}", password="x") for number in range(12)
    ]
    assert Counter(answer.status_code for answer in at_once(*calls)) == {401: 3, 429: 9}


def test_all_of_a_small_ipv6_network_is_one_address(service: Service, zhang: Person) -> None:
    for number in range(30):
        log_in(service.flask, address=f"2001:db8::{number:x}", login=f"guess.{number}", password="x")
    assert zhang.try_with(address="2001:db8::ffff").status_code == 429
    assert zhang.try_with(address="2001:db8:0:1::1").status_code == 201


def test_strangers_cannot_lock_out_whoever_comes_with_their_device(zhang: Person, service: Service) -> None:
    zhang.enter()
    for number in range(20):
        zhang.try_with(address=addresses(number), password="wrong-wrong-wrong", device=None)
        service.clock.advance(QUARTER)
    assert zhang.try_with(device=None).status_code == 429
    for number in range(30):
        log_in(service.flask, login=f"guess.{number}", password="x")
    assert zhang.try_with().status_code == 201


def test_a_device_has_five_tries_of_its_own_and_no_more(zhang: Person, service: Service) -> None:
    zhang.enter()
    service.clock.advance(30)
    for _ in range(5):
        assert zhang.try_with(password="wrong-wrong-wrong").status_code == 401
    assert zhang.try_with().status_code == 429
    assert zhang.try_with(device=None).status_code == 201


def test_anothers_device_or_none_is_a_strangers(zhang: Person, service: Service) -> None:
    other = person(service, Role.AUDIT_ADMIN, login="li.si")
    other.enter()
    for number in range(5):
        zhang.try_with(address=addresses(number), password="wrong-wrong-wrong")
    assert zhang.try_with(device=other.device).status_code == 429
    assert zhang.try_with(device="ehcd_" + "x" * 43).status_code == 429


def test_an_unlock_lets_in_although_strangers_go_on(zhang: Person, service: Service) -> None:
    admin = service.staff(Role.SYSTEM_ADMIN)
    for number in range(5):
        zhang.try_with(address=addresses(number), password="wrong-wrong-wrong")
    device = told(admin.post(f"/v1/admin/staff/{zhang.id}/unlock"))["device"]
    for number in range(5):
        assert zhang.try_with(address=addresses(number), password="wrong-wrong-wrong").status_code == 401
    assert zhang.try_with().status_code == 429
    assert zhang.try_with(device=device).status_code == 201


def test_the_device_of_an_unlock_is_good_for_half_an_hour(zhang: Person, service: Service) -> None:
    admin = service.staff(Role.SYSTEM_ADMIN)
    device = told(admin.post(f"/v1/admin/staff/{zhang.id}/unlock"))["device"]
    service.clock.advance(30 * 60)
    for number in range(5):
        zhang.try_with(address=addresses(number), password="wrong-wrong-wrong")
    assert zhang.try_with(device=device).status_code == 429


def test_wrong_tries_are_not_forgotten_when_the_person_logs_in(zhang: Person) -> None:
    """Else whoever knows when somebody comes would get five more each time."""
    for _ in range(4):
        zhang.try_with(password="wrong-wrong-wrong")
    assert zhang.try_with().status_code == 201
    assert zhang.try_with(password="wrong-wrong-wrong").status_code == 401
    assert zhang.try_with(password="wrong-wrong-wrong").status_code == 429


def test_five_wrong_proofs_end_the_session(zhang: Person, service: Service) -> None:
    who = zhang.enter()
    for _ in range(4):
        refused = who.post(f"{CURRENT}/proof", {"password": PASSWORD, "totp": zhang.wrong_code()})
        assert problem(refused) == (403, "proof-refused")
    assert who.get(CURRENT).status_code == 200
    assert problem(who.post(f"{CURRENT}/proof", {"password": "wrong-wrong-wrong", "totp": zhang.code()}))[0] == 403
    assert problem(who.get(CURRENT)) == (401, "token-invalid")


def test_wrong_proofs_in_many_sessions_at_once_are_five(zhang: Person, worker: WorkerMaker, service: Service) -> None:
    sessions = [zhang.enter() for _ in range(8)]
    body = {"password": PASSWORD, "totp": zhang.wrong_code()}
    calls = [lambda who=who: who.post(f"{CURRENT}/proof", body) for who in sessions]
    assert Counter(answer.status_code for answer in at_once(*calls)) == {403: 5, 429: 3}
    zhang.service.clock.advance(30)
    assert zhang.try_with().status_code == 201  # a stolen session locks nobody out


def test_a_password_change_counts_as_a_proof_and_tells_no_more(zhang: Person, service: Service) -> None:
    """Also where the new password would be refused: whether the old one is right is told only within the limit."""
    who = zhang.enter()
    for _ in range(4):
        refused = who.post(
            "/v1/admin/me/password", {"password": "guess-guess-guess", "new_password": "x" * 7 + PASSWORD}
        )
        assert problem(refused) == (403, "proof-refused")
    guess = {"password": PASSWORD, "new_password": PASSWORD}
    assert problem(who.post("/v1/admin/me/password", guess))[0] == 422
    who.post(f"{CURRENT}/proof", {"password": "wrong-wrong-wrong", "totp": zhang.code()})
    again = zhang.enter()
    assert problem(again.post("/v1/admin/me/password", guess)) == (429, "too-many-tries")


def test_old_tries_are_forgotten(zhang: Person, service: Service) -> None:
    zhang.try_with(password="wrong-wrong-wrong")
    service.clock.advance(DAY - 1)
    zhang.try_with(password="wrong-wrong-wrong")
    service.clock.advance(1)
    with service.session() as session:
        assert [purge(session, now=service.clock.now()) for purge in PURGES] == [1, 0, 0]
        assert session.scalar(select(func.count()).select_from(StaffTryRow)) == 1


def test_whoever_is_locked_out_waits_for_nobody(zhang: Person, service: Service) -> None:
    """A locked login is refused before any lock is asked for, so that hammering it holds no connection."""
    for _ in range(5):
        zhang.try_with(password="wrong-wrong-wrong")
    with service.statements() as seen:
        assert zhang.try_with().status_code == 429
    assert not [statement for statement in seen if "advisory" in statement or "INSERT" in statement]
