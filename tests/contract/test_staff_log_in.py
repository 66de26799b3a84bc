"""Log-in of the staff: password and second factor, what nobody is told, and what a session is and is not."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from argon2 import PasswordHasher
from sqlalchemy import func, select, text

from ehc.access import log_ins, totp
from ehc.access.log_ins import Desk, LogInRefused, Opened
from ehc.access.passkeys import Site
from ehc.access.passwords import Hasher
from ehc.access.second_factors import Shown
from ehc.access.staff_login_models import StaffDeviceRow, StaffPasswordRow, StaffTryRow
from ehc.access.staff_models import StaffRow
from ehc.callers import Role
from ehc.db import unit_of_work
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import at_once, problem, secrets_of, without_request_id, wrong
from tests.support.service import Service, told
from tests.support.staff import CURRENT, HASHER, ME, ORIGIN, PASSWORD, RP_ID, Person, log_in, person

SITE = Site(RP_ID, ORIGIN, "ehc")


@pytest.fixture
def zhang(service: Service) -> Person:
    return person(service, Role.SYSTEM_ADMIN, recovery=True)


def acts(service: Service, action: str) -> list[dict[str, Any]]:
    with service.session() as session:
        wanted = text("SELECT entry::jsonb FROM audit WHERE action = :action ORDER BY at, seq")
        return list(session.scalars(wanted, {"action": action}))


def test_a_password_and_a_code_open_a_session(zhang: Person, service: Service) -> None:
    answer = zhang.try_with()
    assert answer.status_code == 201
    body = told(answer)
    assert (body["limited"], body["idle_seconds"], body["recovery_codes_left"]) == (False, 900, 10)
    assert body["token"].startswith("ehcs_")
    assert answer.headers["Cache-Control"] == "no-store"
    headers = {"Authorization": f"Bearer {body['token']}"}
    assert told(service.client().get(CURRENT, headers=headers))["roles"] == ["system-admin"]
    (act,) = acts(service, "staff.logged-in")
    assert (act["actor"], act["facts"]["second"], act["facts"]["device"]) == (f"staff:{zhang.id}", "totp", False)
    assert "192.0.2.1" not in str(act)
    assert len(act["facts"]["from"]) == 32


def test_the_login_is_typed_in_any_case(zhang: Person) -> None:
    assert zhang.try_with(login="Zhang.San").status_code == 201


@pytest.mark.parametrize(
    "changes",
    [
        {"password": f"{PASSWORD}x"},
        {"password": PASSWORD[:-1]},
        {"login": "li.si"},
        {"login": "' OR 1=1 --"},
        {"totp": "wrong"},
        {"totp": None, "recovery_code": "AAAA-BBBB-CCCC-DDDD"},
    ],
)
def test_what_is_wrong_is_not_told(zhang: Person, changes: dict[str, Any]) -> None:
    changes = changes | ({"totp": zhang.wrong_code()} if changes.get("totp") == "wrong" else {})
    refused = zhang.try_with(**changes)
    assert problem(refused) == (401, "log-in-refused")
    unknown = log_in(zhang.service.flask, login="nobody.here", password="x")
    assert without_request_id(refused) == without_request_id(unknown)


def test_the_audit_log_says_why_and_holds_no_unknown_login(zhang: Person, service: Service) -> None:
    wrong_ones: list[dict[str, Any]] = [
        {"password": "wrong-wrong-wrong"},
        {"totp": zhang.wrong_code()},
        {"login": "typed.by.mistake"},
    ]
    for changes in wrong_ones:
        zhang.try_with(**changes)
        service.clock.advance(1)
    found = acts(service, "staff.log-in-refused")
    assert [(act["facts"]["why"], act["actor"]) for act in found] == [
        ("password", "nobody"),
        ("second-factor", "nobody"),
        ("unknown", "nobody"),
    ]
    assert [act["subject"] for act in found[:2]] == [str(zhang.id)] * 2
    assert "typed.by.mistake" not in str(found)
    assert found[2]["subject"].startswith("login:")


def test_an_unknown_login_takes_the_same_path(zhang: Person, service: Service) -> None:
    """The same statements and one computation of argon2id of the same cost."""
    zhang.try_with(password="wrong-wrong-wrong")  # whatever the first request alone does
    verified = []
    whole = PasswordHasher.verify

    def counted(self: PasswordHasher, hashed: str | bytes, password: str | bytes) -> bool:
        verified.append(str(hashed).split("$")[1:4])
        return whole(self, hashed, password)

    with mock.patch.object(PasswordHasher, "verify", counted), service.statements() as known:
        zhang.try_with(password="wrong-wrong-wrong")
    with mock.patch.object(PasswordHasher, "verify", counted), service.statements() as unknown:
        zhang.try_with(login="li.si", password="wrong-wrong-wrong")
    assert verified[0] == verified[1] == ["argon2id", "v=19", "m=19456,t=2,p=1"]
    assert len(verified) == 2
    assert abs(len(known) - len(unknown)) <= 1, (known, unknown)  # the newest password is read again, held


def test_the_first_step_asks_for_the_second(zhang: Person) -> None:
    answer = zhang.try_with(totp=None)
    assert answer.status_code == 200
    assert told(answer) == {"second_factor": ["totp", "recovery-code"], "webauthn": None}


def test_a_totp_code_is_accepted_once(zhang: Person) -> None:
    code = zhang.code()
    assert zhang.try_with(totp=code).status_code == 201
    assert problem(zhang.try_with(totp=code)) == (401, "log-in-refused")


def test_no_code_is_accepted_that_is_older_than_one_that_was(zhang: Person) -> None:
    assert zhang.try_with(totp=zhang.code(1)).status_code == 201
    assert problem(zhang.try_with(totp=zhang.code(0))) == (401, "log-in-refused")


def test_a_totp_code_is_accepted_once_by_many_at_once(zhang: Person) -> None:
    code = zhang.code()
    answers = at_once(*[lambda: zhang.try_with(totp=code) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401]


@pytest.mark.parametrize(("steps", "status"), [(-2, 401), (-1, 201), (0, 201), (1, 201), (2, 401)])
def test_codes_of_the_steps_beside_the_present_one_are_taken(zhang: Person, steps: int, status: int) -> None:
    assert zhang.try_with(totp=zhang.code(steps)).status_code == status


def test_a_recovery_code_is_good_once(zhang: Person) -> None:
    code = zhang.recovery_codes[0].lower().replace("-", " ")
    answer = zhang.try_with(totp=None, recovery_code=code)
    assert (answer.status_code, told(answer)["recovery_codes_left"]) == (201, 9)
    assert problem(zhang.try_with(totp=None, recovery_code=code)) == (401, "log-in-refused")


def test_a_recovery_code_of_another_person_is_not_taken(zhang: Person, service: Service) -> None:
    other = person(service, Role.AUDIT_ADMIN, login="li.si", recovery=True)
    assert problem(zhang.try_with(totp=None, recovery_code=other.recovery_codes[0])) == (401, "log-in-refused")
    assert other.try_with(totp=None, recovery_code=other.recovery_codes[0]).status_code == 201


def test_secrets_are_kept_sealed_or_hashed(zhang: Person, service: Service) -> None:
    answer = told(zhang.try_with())
    with service.session() as session:
        for table in ("staff_password", "staff_totp", "staff_recovery_code", "staff_device", "staff_session", "audit"):
            whole = str(session.execute(text(f"SELECT * FROM {table}")).all())
            for secret in (PASSWORD, zhang.secret, zhang.recovery_codes[3], answer["token"], answer["device"]):
                assert secret not in whole, table
        assert session.scalars(select(StaffPasswordRow.hash)).one().startswith("$argon2id$")


def test_a_disabled_account_does_not_log_in(zhang: Person, service: Service) -> None:
    with service.session() as session:
        session.get_one(StaffRow, zhang.id).disabled_at = service.clock.now()
    assert problem(zhang.try_with()) == (401, "log-in-refused")
    assert acts(service, "staff.log-in-refused")[0]["facts"]["why"] == "disabled"


@pytest.mark.parametrize("demo", [True, False])
def test_an_account_of_the_demo_logs_in_nowhere_else(service: Service, demo: bool) -> None:
    who = person(service, Role.SYSTEM_ADMIN)
    with service.session() as session:
        session.get_one(StaffRow, who.id).demo = True
    desk = Desk(unit_of_work(service.engine), lambda: secrets_of(service), service.clock, HASHER, SITE, demo=demo)
    shown = Shown(PASSWORD, totp=who.code())
    if demo:
        assert isinstance(log_ins.log_in(desk, who.login, shown, device=None, source=b"x" * 32), Opened)
    else:
        with pytest.raises(LogInRefused):
            log_ins.log_in(desk, who.login, shown, device=None, source=b"x" * 32)


def test_a_hash_of_other_parameters_is_made_anew(zhang: Person, service: Service) -> None:
    old = Hasher(memory_kib=8192, passes=1).hash(PASSWORD)
    with service.session() as session:
        session.scalars(select(StaffPasswordRow)).one().hash = old
    assert zhang.try_with(password="wrong-wrong-wrong").status_code == 401
    with service.session() as session:
        assert session.scalars(select(StaffPasswordRow.hash)).one() == old
    assert zhang.try_with().status_code == 201
    with service.session() as session:
        assert "m=19456,t=2,p=1" in session.scalars(select(StaffPasswordRow.hash)).one()


def test_a_session_is_never_the_callers_choice(zhang: Person, service: Service) -> None:
    """Session fixation: what a request carries has no part in the token that is made."""
    first = zhang.enter()
    service.clock.advance(totp.STEP_SECONDS)
    headers = {"Authorization": f"Bearer {first.token}", "Cookie": f"session={first.token}"}
    answer = zhang.try_with(headers=headers)
    assert answer.status_code == 201
    assert told(answer)["token"] != first.token
    assert "Set-Cookie" not in answer.headers
    refused = zhang.try_with(token=first.token)
    assert wrong(refused) == [("/token", "unknown-member")]


def test_a_token_is_dead_after_the_log_out(zhang: Person) -> None:
    who = zhang.enter()
    other = zhang.enter()
    assert who.call("DELETE", CURRENT).status_code == 204
    for method, path in (("GET", CURRENT), ("DELETE", CURRENT), ("GET", ME), ("POST", f"{CURRENT}/proof")):
        assert problem(who.call(method, path)) == (401, "token-invalid")
    assert other.get(CURRENT).status_code == 200


@pytest.mark.parametrize(("days", "limited"), [(89, False), (90, True)])
def test_a_password_of_some_age_is_to_be_changed(start: ServiceMaker, days: int, limited: bool) -> None:
    service = start(password_days=90)
    who = person(service, Role.SYSTEM_ADMIN)
    service.clock.advance(days * 86400)
    assert told(who.enter().get(CURRENT))["limited"] is limited


def test_a_device_is_known_for_ninety_days(zhang: Person, service: Service) -> None:
    zhang.enter()
    service.clock.advance(timedelta(days=90).total_seconds() - 31)
    assert told(zhang.try_with())["device"] is None
    service.clock.advance(timedelta(days=90).total_seconds())
    assert told(zhang.try_with())["device"] is not None


def test_a_person_has_ten_devices_at_most(zhang: Person, service: Service) -> None:
    for _ in range(12):
        service.clock.advance(totp.STEP_SECONDS)
        assert zhang.try_with().status_code == 201
    with service.session() as session:
        assert session.scalar(select(func.count()).select_from(StaffDeviceRow)) == 10


def test_a_right_try_leaves_no_trace_among_the_wrong(zhang: Person, service: Service) -> None:
    zhang.try_with()
    zhang.try_with(totp=None)
    with service.session() as session:
        assert session.scalar(select(func.count()).select_from(StaffTryRow)) == 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"password": None}, ("/password", "required")),
        ({"password": ""}, ("/password", "length")),
        ({"password": "x" * 513}, ("/password", "length")),
        ({"login": "x" * 201}, ("/login", "length")),
        ({"login": "a\x00b"}, ("/login", "characters")),
        ({"totp": "12345"}, ("/totp", "characters")),
        ({"totp": "１２３４５６"}, ("/totp", "characters")),
        ({"totp": "1234567"}, ("/totp", "characters")),
        ({"roles": ["system-admin"]}, ("/roles", "unknown-member")),
        ({"webauthn": {}}, ("/webauthn/challenge_id", "required")),
    ],
)
def test_bodies_are_closed_and_bounded(zhang: Person, changes: dict[str, Any], expected: tuple[str, str]) -> None:
    assert expected in wrong(zhang.try_with(**changes))


def test_too_many_passwords_at_once_wait_or_come_again() -> None:
    hasher = Hasher(at_once=1, waiting=1, patience=0.01)
    with hasher._place(), pytest.raises(Exception, match="unavailable"):
        hasher.hash("x" * 12)
    assert hasher.matches(hasher.hash("x" * 12), "x" * 12)
