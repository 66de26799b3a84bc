"""Passwords of the staff: the first one, what may be one, what comes again, and what a change ends."""

from itertools import pairwise

import pytest

from ehc.callers import Role
from tests.contract.helpers import wrong
from tests.contract.test_staff_accounts import made
from tests.support.service import Service, StaffApi, told
from tests.support.staff import CURRENT, ME, PASSWORD, log_in, person


@pytest.fixture
def system(service: Service) -> StaffApi:
    return service.staff(Role.SYSTEM_ADMIN)


@pytest.mark.parametrize(("days", "status"), [(7 * 86400 - 1, 201), (7 * 86400, 401)])
def test_a_first_password_lives_seven_days(service: Service, system: StaffApi, days: int, status: int) -> None:
    account = made(system)
    service.clock.advance(days)
    assert log_in(service.flask, login="wang.wu", password=account["initial_password"]).status_code == status


def test_a_first_password_may_not_stay(service: Service, system: StaffApi) -> None:
    account = made(system)
    opened = told(log_in(service.flask, login="wang.wu", password=account["initial_password"]))
    who = StaffApi(service.flask.test_client(), account["staff_id"], opened["token"])
    same = {"password": account["initial_password"], "new_password": account["initial_password"]}
    assert wrong(who.post(f"{ME}/password", same)) == [("/new_password", "password-used")]


@pytest.mark.parametrize(
    ("new", "code"),
    [
        ("short-12345", "length"),
        ("x" * 129, "length"),
        ("wo shi Zhang.San", "password-login"),
        ("password1234", "password-common"),
        ("PassWord1234", "password-common"),
        ("abcabcabcabcabc", "password-common"),
        ("234567890123", "password-common"),
        (PASSWORD, "password-used"),
    ],
)
def test_passwords_that_are_not_taken(service: Service, new: str, code: str) -> None:
    who = person(service, Role.SYSTEM_ADMIN).enter()
    refused = who.post(f"{ME}/password", {"password": PASSWORD, "new_password": new})
    assert wrong(refused) == [("/new_password", code)]


def test_a_new_password_ends_the_other_sessions_and_the_old_password(service: Service) -> None:
    zhang = person(service, Role.SYSTEM_ADMIN)
    here, elsewhere = zhang.enter(), zhang.enter()
    new = "rain rain go away"
    assert here.post(f"{ME}/password", {"password": PASSWORD, "new_password": new}).status_code == 204
    assert (here.get(CURRENT).status_code, elsewhere.get(CURRENT).status_code) == (200, 401)
    service.clock.advance(30)
    assert zhang.try_with().status_code == 401
    assert zhang.try_with(password=new).status_code == 201


def test_the_last_five_passwords_do_not_come_again(service: Service) -> None:
    who = person(service, Role.SYSTEM_ADMIN).enter()
    used = [PASSWORD, *(f"a new one, number {number}" for number in range(5))]
    for old, new in pairwise(used):
        assert who.post(f"{ME}/password", {"password": old, "new_password": new}).status_code == 204
        service.clock.advance(1)
    refused = who.post(f"{ME}/password", {"password": used[-1], "new_password": used[1]})
    assert wrong(refused) == [("/new_password", "password-used")]
    assert who.post(f"{ME}/password", {"password": used[-1], "new_password": used[0]}).status_code == 204
