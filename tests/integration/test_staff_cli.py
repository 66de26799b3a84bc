"""`ehc staff …`: the first of each of the three, and what an operator does for an account."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from ehc.access import staff_accounts
from ehc.access.staff_accounts import AdministratorExists, Handed
from ehc.access.staff_acts import OPERATOR
from ehc.access.staff_models import StaffRow
from ehc.callers import Role
from ehc.clock import SystemClock
from ehc.commands import main
from ehc.commands.context import Deployment
from ehc.dev.administrators import administrators
from ehc.keystore import secret_keys
from tests.contract.helpers import at_once, secrets_of
from tests.support.service import Service, told
from tests.support.staff import Person, hashed, log_in, person

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str) -> Run:
    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["staff", *words], env={"EHC_DATABASE_URL": database_url})

    return command


def password_of(result: Result) -> str:
    assert result.exit_code == 0, result.output
    found = re.search(r"password (\S+)", result.output)
    assert found is not None
    return found[1]


def test_the_first_of_each_of_the_three(service: Service, run: Run) -> None:
    for role, login in (("system-admin", "zhao"), ("security-admin", "qian"), ("audit-admin", "sunsun")):
        password = password_of(run("first-admin", role, login, "赵一"))
        service.clock.at = SystemClock().now()
        opened = log_in(service.flask, login=login, password=password)
        assert (opened.status_code, told(opened)["limited"]) == (201, True)
        again = run("first-admin", role, f"{login}.second", "钱二")
        assert (again.exit_code, "There is one already" in again.output) == (1, True)
    with service.session() as session:
        assert sorted(tuple(row.roles) for row in session.scalars(select(StaffRow))) == [
            ("audit-admin",),
            ("security-admin",),
            ("system-admin",),
        ]
    assert run("first-admin", "clerk", "li.si", "李四").exit_code == 2


def test_a_first_administrator_is_refused_although_the_one_there_is_disabled(service: Service, run: Run) -> None:
    password_of(run("first-admin", "system-admin", "zhao", "赵一"))
    assert run("disable", "zhao", "--reason", "left").exit_code == 0
    assert run("first-admin", "system-admin", "qian", "钱二").exit_code == 1
    assert run("enable", "zhao").exit_code == 0


def test_an_account_is_made_without_roles_and_its_login_is_taken_then(service: Service, run: Run) -> None:
    password = password_of(run("add", "li.si", "李四"))
    service.clock.at = SystemClock().now()
    opened = log_in(service.flask, login="li.si", password=password)
    assert (opened.status_code, told(opened)["limited"]) == (201, True)
    with service.session() as session:
        assert staff_accounts.by_login(session, "li.si").roles == []
    again = run("add", "li.si", "李四")
    assert (again.exit_code, "There is an account with this login" in again.output) == (1, True)
    assert run("add", "Li Si", "李四").exit_code == 1


def test_two_first_administrators_at_once_are_one(service: Service, run: Run) -> None:
    sealer = secrets_of(service).sealer

    def making(login: str) -> Callable[[], bool]:
        def make() -> bool:
            try:
                with service.session() as session:
                    staff_accounts.first_admin(
                        session, Role.AUDIT_ADMIN, login, "孙三", Handed("x", hashed("x")), sealer=sealer, by=OPERATOR,
                        now=service.clock.now(),
                    )  # fmt: skip
            except AdministratorExists:
                return False
            return True

        return make

    assert sorted(at_once(*(making(f"sun.{number}") for number in range(4)))) == [False, False, False, True]


def test_a_reset_at_the_command_line_keeps_the_roles_of_the_last_one(service: Service, run: Run) -> None:
    zhang = person(service, Role.SECURITY_ADMIN)
    who = zhang.enter()
    password = password_of(run("reset", "zhang.san", "--password", "--second-factor"))
    assert who.get("/v1/admin/sessions/current").status_code == 401
    service.clock.at = SystemClock().now()
    opened = told(log_in(service.flask, login="zhang.san", password=password))
    assert opened["limited"] is True
    with service.session() as session:
        assert session.get_one(StaffRow, zhang.id).roles == ["security-admin"]
    assert run("reset", "zhang.san").exit_code == 2


def test_an_unlock_prints_a_device_to_hand_over(service: Service, run: Run) -> None:
    zhang: Person = person(service, Role.SECURITY_ADMIN)
    service.clock.at = SystemClock().now()
    for number in range(5):
        zhang.try_with(address=f"198.51.100.{number}", password="wrong-wrong-wrong")
    assert zhang.try_with().status_code == 429
    result = run("unlock", "zhang.san")
    assert zhang.try_with(device=result.output.split()[-1]).status_code == 201


def test_the_list_tells_state_and_roles_and_no_names(service: Service, run: Run) -> None:
    person(service, Role.SECURITY_ADMIN)
    told_ = run("list").output
    assert re.search(r"^zhang\.san +live +security-admin", told_, re.MULTILINE)
    assert "张三" not in told_


@pytest.mark.parametrize(
    "words", [("disable", "nobody", "--reason", "left"), ("enable", "nobody"), ("unlock", "nobody")]
)
def test_an_unknown_login_is_told(service: Service, run: Run, words: tuple[str, ...]) -> None:
    result = run(*words)
    assert (result.exit_code, "no such account" in result.output) == (1, True)


def test_the_demo_has_its_administrators_and_finds_them_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    monkeypatch.setenv("EHC_DATABASE_URL", database_url)
    place = Deployment(clock=service.clock)

    def making(kept: dict[str, Any]) -> dict[str, dict[str, str]]:
        secrets = lambda session: secret_keys.load(session, place.kek)  # noqa: E731
        return administrators(place.work, kept, clock=service.clock, secrets=secrets)

    demo = making({})
    assert set(demo) == {"admin", "security_admin", "second_security_admin", "audit_admin"}
    assert all(set(made) == {"login", "password", "totp_secret"} for made in demo.values())
    for made in demo.values():
        who = Person(service, uuid4(), made["login"], made["totp_secret"], made["password"])
        opened = who.try_with()
        assert (opened.status_code, told(opened)["limited"]) == (201, False)
    assert making(demo) == demo
    again = making({"admin": demo["admin"] | {"password": "lost"}})
    assert again["admin"]["password"] != demo["admin"]["password"]
    with service.session() as session:
        assert all(session.scalars(select(StaffRow.demo)))
        assert len(session.scalars(select(StaffRow.id)).all()) == len(demo)
