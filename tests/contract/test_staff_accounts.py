"""Accounts of the staff: made, set up, given roles by two people, reset, disabled; and what nobody can do alone."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from werkzeug.test import TestResponse

from ehc.access import totp
from ehc.access.models import InstitutionRow
from ehc.access.staff_models import StaffRow
from ehc.callers import Branch, Role
from tests.contract.helpers import at_once, problem, wrong
from tests.contract.test_staff_log_in import acts
from tests.support.service import Service, StaffApi, told
from tests.support.staff import CURRENT, ME, PASSWORD, Authenticator, Person, add_passkey, log_in, person
from tests.support.terminals import institution_id

STAFF = "/v1/admin/staff"
NEW = {"login": "wang.wu", "name": "王五"}


@pytest.fixture
def system(service: Service) -> StaffApi:
    return service.staff(Role.SYSTEM_ADMIN)


@pytest.fixture
def security(service: Service) -> StaffApi:
    return service.staff(Role.SECURITY_ADMIN)


def made(system: StaffApi, login: str = "wang.wu") -> dict[str, Any]:
    answer = system.post(STAFF, NEW | {"login": login})
    assert answer.status_code == 201, answer.text
    return told(answer)


def set_up(service: Service, account: dict[str, Any], password: str = PASSWORD) -> Person:
    """The first steps of whoever has the first password."""
    opened = told(log_in(service.flask, login=account["login"], password=account["initial_password"]))
    who = StaffApi(service.flask.test_client(), account["staff_id"], opened["token"])
    answer = who.post(f"{ME}/password", {"password": account["initial_password"], "new_password": password})
    assert answer.status_code == 204, answer.text
    secret = told(who.post(f"{ME}/totp"))["secret"]
    code = totp.code(secret, totp.step_at(service.clock.now()))
    codes = told(who.post(f"{ME}/totp/confirm", {"totp": code}))["recovery_codes"]
    return Person(service, account["staff_id"], account["login"], secret, password, recovery_codes=codes)


def confirmation(who: StaffApi) -> str:
    return str(told(who.get(ME))["confirmation"])


def propose(system: StaffApi, staff_id: Any, *roles: str, **branch: str) -> TestResponse:
    return system.post(f"{STAFF}/{staff_id}/roles", {"roles": list(roles), "branch": branch})


def grant(security: StaffApi, staff_id: Any, grant_id: str, code: str) -> TestResponse:
    return security.post(f"{STAFF}/{staff_id}/roles/{grant_id}/grant", {"confirmation": code})


def test_from_a_new_account_to_a_role_in_effect(service: Service, system: StaffApi, security: StaffApi) -> None:
    account = made(system)
    assert (account["roles"], account["limited"], account["proposed"]) == ([], True, None)
    wang = set_up(service, account)
    assert len(wang.recovery_codes) == 10
    who = wang.enter()
    assert told(who.get(CURRENT))["limited"] is False
    assert problem(who.get(STAFF)) == (403, "right-missing")
    proposal = told(propose(system, wang.id, "audit-admin"))
    assert problem(who.get("/v1/admin/audit")) == (403, "right-missing")
    answer = grant(security, wang.id, proposal["grant_id"], confirmation(who))
    assert (answer.status_code, told(answer)["roles"]) == (200, ["audit-admin"])
    assert who.get("/v1/admin/audit").status_code == 200
    told_of = [act for act in acts(service, "staff.roles-granted") if act["subject"] == str(wang.id)]
    assert told_of[0]["actor"] == f"staff:{security.id}"
    assert told_of[0]["facts"]["before"]["roles"] == []
    assert told_of[0]["facts"]["after"]["roles"] == ["audit-admin"]
    assert len(told_of[0]["facts"]["from"]) == 32


def test_before_the_first_steps_nothing_else_is_possible(service: Service, system: StaffApi) -> None:
    account = made(system)
    opened = told(log_in(service.flask, login="wang.wu", password=account["initial_password"]))
    assert opened["limited"] is True
    who = StaffApi(service.flask.test_client(), account["staff_id"], opened["token"])
    assert problem(who.get(STAFF)) == (403, "first-steps-missing")
    secret = told(who.post(f"{ME}/totp"))["secret"]
    code = totp.code(secret, totp.step_at(service.clock.now()))
    assert who.post(f"{ME}/totp/confirm", {"totp": code}).status_code == 200
    assert told(who.get(CURRENT))["limited"] is True
    assert told(who.get(ME))["confirmation"] is None


def test_an_authenticator_is_a_first_second_factor_too(service: Service, system: StaffApi) -> None:
    account = made(system)
    opened = told(log_in(service.flask, login="wang.wu", password=account["initial_password"]))
    who = StaffApi(service.flask.test_client(), account["staff_id"], opened["token"])
    assert (
        who.post(f"{ME}/password", {"password": account["initial_password"], "new_password": PASSWORD}).status_code
        == 204
    )
    add_passkey(who, Authenticator())
    assert told(who.get(CURRENT))["limited"] is False
    assert told(who.get(ME))["recovery_codes_left"] == 10


def test_a_proof_makes_dangerous_acts_possible_for_five_minutes(service: Service) -> None:
    zhang = person(service, Role.SYSTEM_ADMIN)
    who = zhang.enter()
    service.clock.advance(300)
    assert problem(who.post(STAFF, NEW)) == (403, "proof-too-old")
    assert problem(who.post(f"{CURRENT}/proof", {"password": PASSWORD})) == (403, "second-factor-missing")
    assert problem(who.post(STAFF, NEW)) == (403, "proof-too-old")
    assert who.post(f"{CURRENT}/proof", {"password": PASSWORD, "totp": zhang.code()}).status_code == 200
    assert who.post(STAFF, NEW).status_code == 201
    recovery = {"password": PASSWORD, "recovery_code": "AAAA-BBBB-CCCC-DDDD"}
    assert wrong(who.post(f"{CURRENT}/proof", recovery)) == [("/recovery_code", "unknown-member")]


def test_nobody_proposes_grants_or_takes_their_own_roles(
    service: Service, system: StaffApi, security: StaffApi
) -> None:
    service.staff(Role.SYSTEM_ADMIN)
    assert problem(propose(system, system.id, "security-admin")) == (403, "own-account")
    grant_id = told(propose(system, security.id, "system-admin"))["grant_id"]
    assert problem(grant(security, security.id, grant_id, "AAAAAAAA")) == (403, "own-account")
    reason = {"reason": "other"}
    assert problem(security.post(f"{STAFF}/{security.id}/roles/revoke", reason)) == (403, "own-account")
    assert problem(system.post(f"{STAFF}/{system.id}/disable", reason)) == (403, "own-account")
    assert problem(system.post(f"{STAFF}/{system.id}/reset", {"password": True})) == (403, "own-account")
    assert problem(system.post(f"{STAFF}/{system.id}/unlock")) == (403, "own-account")


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.SYSTEM_ADMIN])
def test_only_a_system_administrator_makes_accounts_and_proposes(
    service: Service, role: Role, system: StaffApi
) -> None:
    branch = Branch() if role.value.endswith("-admin") else Branch(region="370000")
    who = service.staff(role, branch=branch if role is not Role.CLERK else Branch())
    account = made(system)
    own = f"/{account['staff_id']}"
    asked: list[tuple[str, dict[str, Any]]] = [
        ("", NEW),
        (f"{own}/roles", {"roles": ["clerk"]}),
        (f"{own}/reset", {"password": True}),
        (f"{own}/unlock", {}),
        (f"{own}/disable", {"reason": "left"}),
        (f"{own}/enable", {}),
    ]
    for path, body in asked:
        assert problem(who.post(STAFF + path, body)) == (403, "right-missing")


def test_a_system_administrator_grants_nothing(service: Service, system: StaffApi) -> None:
    wang = set_up(service, made(system))
    grant_id = told(propose(system, wang.id, "security-admin"))["grant_id"]
    code = confirmation(wang.enter())
    assert problem(grant(service.staff(Role.SYSTEM_ADMIN), wang.id, grant_id, code)) == (403, "right-missing")
    alone = text("UPDATE staff_grant SET decided_by = proposed_by, decided_at = now(), outcome = 'granted'")
    with service.session() as session, pytest.raises(IntegrityError, match="two_people"):
        session.execute(alone)


def test_roles_are_granted_only_to_who_set_the_account_up(
    service: Service, system: StaffApi, security: StaffApi
) -> None:
    """A system administrator who uses the first password has another code than the person who comes to the grant."""
    account = made(system)
    grant_id = told(propose(system, account["staff_id"], "security-admin"))["grant_id"]
    assert problem(grant(security, account["staff_id"], grant_id, "AAAAAAAA")) == (409, "account-not-set-up")
    impostor = set_up(service, account)
    first = confirmation(impostor.enter())
    reset = told(system.post(f"{STAFF}/{account['staff_id']}/reset", {"password": True, "second_factor": True}))
    service.clock.advance(1)
    wang = set_up(service, account | {"initial_password": reset["initial_password"]}, "another good password")
    assert problem(grant(security, account["staff_id"], grant_id, first)) == (409, "wrong-confirmation")
    assert grant(security, account["staff_id"], grant_id, confirmation(wang.enter()).lower()).status_code == 200


@pytest.mark.parametrize("lost", ["disabled_at = now()", "roles = '{}'", "limited = true"])
def test_who_may_propose_no_more_has_proposed_nothing(
    service: Service, system: StaffApi, security: StaffApi, lost: str
) -> None:
    wang = set_up(service, made(system))
    code = confirmation(wang.enter())
    grant_id = told(propose(system, wang.id, "clerk", institution_id=institution_id(service)))["grant_id"]
    with service.session() as session:
        session.execute(text(f"UPDATE staff SET {lost} WHERE id = :id"), {"id": system.id})
    assert problem(grant(security, wang.id, grant_id, code)) == (409, "grant-outdated")
    assert security.post(f"{STAFF}/{wang.id}/roles/{grant_id}/refuse", {"reason": "other"}).status_code == 200
    again = propose(service.staff(Role.SYSTEM_ADMIN), wang.id, "clerk", institution_id=institution_id(service))
    assert grant(security, wang.id, told(again)["grant_id"], code).status_code == 200


def test_a_reset_takes_roles_out_of_effect(service: Service, system: StaffApi, security: StaffApi) -> None:
    """Else whoever resets could log in as an administrator."""
    zhang = person(service, Role.SECURITY_ADMIN)
    who = zhang.enter()
    answer = told(system.post(f"{STAFF}/{zhang.id}/reset", {"password": True, "second_factor": True}))
    assert (answer["roles"], answer["proposed"]["roles"]) == ([], ["security-admin"])
    assert who.get(CURRENT).status_code == 401
    taken = set_up(service, answer, "another good password").enter()
    assert told(taken.get(CURRENT))["rights"] == []
    assert problem(grant(system, zhang.id, answer["proposed"]["grant_id"], "x")) == (403, "right-missing")
    assert grant(security, zhang.id, answer["proposed"]["grant_id"], confirmation(taken)).status_code == 200


def test_a_reset_of_the_password_alone_leaves_the_second_factor(service: Service, system: StaffApi) -> None:
    service.staff(Role.AUDIT_ADMIN)
    zhang = person(service, Role.AUDIT_ADMIN)
    zhang.enter()
    answer = told(system.post(f"{STAFF}/{zhang.id}/reset", {"password": True}))
    zhang.password = answer["initial_password"]
    assert told(zhang.try_with(totp=None))["second_factor"] == ["totp"]
    service.clock.advance(30)
    opened = told(zhang.try_with())
    assert (opened["limited"], opened["device"] is not None) == (True, True)


def test_a_reset_says_what(system: StaffApi) -> None:
    account = made(system)
    assert wrong(system.post(f"{STAFF}/{account['staff_id']}/reset", {})) == [("/password", "required")]


def test_who_is_enabled_again_waits_for_the_roles(service: Service, system: StaffApi, security: StaffApi) -> None:
    zhang = person(service, Role.SYSTEM_ADMIN)
    who = zhang.enter()
    assert told(system.post(f"{STAFF}/{zhang.id}/disable", {"reason": "left"}))["state"] == "disabled"
    assert who.get(CURRENT).status_code == 401
    assert zhang.try_with().status_code == 401
    assert problem(system.post(f"{STAFF}/{zhang.id}/disable", {"reason": "left"})) == (409, "staff-state")
    answer = told(system.post(f"{STAFF}/{zhang.id}/enable"))
    assert (answer["state"], answer["roles"], answer["proposed"]["roles"]) == ("live", [], ["system-admin"])
    assert problem(system.post(f"{STAFF}/{zhang.id}/enable")) == (409, "staff-state")
    assert who.get(CURRENT).status_code == 401
    assert grant(security, zhang.id, answer["proposed"]["grant_id"], "AAAAAAAA").status_code == 409


@pytest.mark.parametrize("role", [Role.SECURITY_ADMIN, Role.AUDIT_ADMIN])
def test_the_last_of_the_three_stays(service: Service, system: StaffApi, role: Role) -> None:
    last, other = service.staff(role), service.staff(role, limited=True)
    for path, body in (("disable", {"reason": "left"}), ("reset", {"password": True})):
        assert problem(system.post(f"{STAFF}/{last.id}/{path}", body)) == (409, "last-administrator")
    with service.session() as session:
        session.get_one(StaffRow, other.id).limited = False
    assert system.post(f"{STAFF}/{last.id}/disable", {"reason": "left"}).status_code == 200
    assert problem(system.post(f"{STAFF}/{other.id}/disable", {"reason": "left"})) == (409, "last-administrator")


def test_two_of_a_kind_cannot_be_disabled_at_the_same_time(service: Service) -> None:
    first, second = service.staff(Role.SYSTEM_ADMIN), service.staff(Role.SYSTEM_ADMIN)
    reason = {"reason": "other"}
    answers = at_once(
        lambda: first.post(f"{STAFF}/{second.id}/disable", reason),
        lambda: second.post(f"{STAFF}/{first.id}/disable", reason),
    )
    assert sorted(answer.status_code for answer in answers) in ([200, 401], [200, 409])
    with service.session() as session:
        assert session.scalar(select(func.count()).where(StaffRow.disabled_at.is_(None))) == 1


def test_the_last_administrator_keeps_the_role(service: Service, security: StaffApi, system: StaffApi) -> None:
    reason = {"reason": "moved"}
    assert problem(security.post(f"{STAFF}/{system.id}/roles/revoke", reason)) == (409, "last-administrator")
    clerk = service.staff(Role.CLERK, branch=Branch(institution_id=_institution(service)))
    assert told(security.post(f"{STAFF}/{clerk.id}/roles/revoke", reason))["roles"] == []
    assert told(clerk.get(CURRENT))["rights"] == []


def _institution(service: Service) -> Any:
    with service.session() as session:
        return session.scalars(select(InstitutionRow.id)).first()


@pytest.mark.parametrize(
    ("roles", "branch", "expected"),
    [
        (["system-admin", "audit-admin"], {}, (422, "roles-apart")),
        (["security-admin", "clerk"], {}, (422, "roles-apart")),
        (["audit-admin"], {"region": "370000"}, (422, "roles-apart")),
        (["clerk"], {}, (422, "roles-apart")),
        (["region-operator"], {}, (422, "roles-apart")),
        (["clerk"], {"institution_id": str(uuid4())}, (422, "invalid-request")),
        (["clerk"], {"region": "37000"}, (422, "invalid-request")),
        (["king"], {}, (422, "invalid-request")),
        ([], {}, (422, "invalid-request")),
        (["region-operator"], {"region": "370000"}, None),
    ],
)
def test_roles_fit_together_and_their_branch(
    system: StaffApi, roles: list[str], branch: dict[str, str], expected: tuple[int, str] | None
) -> None:
    answer = propose(system, made(system)["staff_id"], *roles, **branch)
    assert answer.status_code == 201 if expected is None else problem(answer) == expected


def test_one_proposal_waits_at_a_time_also_of_many_at_once(
    service: Service, system: StaffApi, security: StaffApi
) -> None:
    account = made(system)
    answers = at_once(*[lambda: propose(system, account["staff_id"], "audit-admin") for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    held = told(system.get(f"{STAFF}/{account['staff_id']}"))["proposed"]
    assert problem(propose(system, account["staff_id"], "audit-admin")) == (409, "grant-open")
    path = f"{STAFF}/{account['staff_id']}/roles/{held['grant_id']}/refuse"
    assert told(security.post(path, {"reason": "other"}))["proposed"] is None
    assert problem(security.post(path, {"reason": "other"})) == (404, "grant-not-found")
    assert propose(system, account["staff_id"], "audit-admin").status_code == 201
    service.clock.advance(30 * 86400)
    assert propose(service.staff(Role.SYSTEM_ADMIN), account["staff_id"], "audit-admin").status_code == 201


def test_a_proposal_is_granted_once(service: Service, system: StaffApi) -> None:
    wang = set_up(service, made(system))
    grant_id, code = told(propose(system, wang.id, "audit-admin"))["grant_id"], confirmation(wang.enter())
    granting = [service.staff(Role.SECURITY_ADMIN) for _ in range(4)]
    answers = at_once(*[lambda who=who: grant(who, wang.id, grant_id, code) for who in granting])
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404, 404]


def test_a_login_is_one_persons(service: Service, system: StaffApi) -> None:
    made(system)
    assert problem(system.post(STAFF, NEW)) == (409, "login-taken")
    answers = at_once(*[lambda: system.post(STAFF, NEW | {"login": "zhao.liu"}) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    for login in ("Wang.Wu", "1wang", "wang wu", "王五五", "w" * 41):
        assert problem(system.post(STAFF, NEW | {"login": login}))[0] == 422


def test_a_name_is_corrected_by_whoever_saw_the_account(system: StaffApi) -> None:
    account = made(system)
    path = f"{STAFF}/{account['staff_id']}"
    tag = system.get(path).headers["ETag"]
    assert problem(system.call("PATCH", path, {"name": "王武"})) == (428, "precondition-required")
    answer = system.call("PATCH", path, {"name": "王武"}, If_Match=tag)
    assert (answer.status_code, told(answer)["name"]) == (200, "王武")
    assert problem(system.call("PATCH", path, {"name": "王五"}, If_Match=tag)) == (412, "staff-changed")
    assert problem(system.call("PATCH", path, {"name": "王五"}, If_Match="*")) == (412, "staff-changed")
    assert wrong(system.call("PATCH", path, {"roles": ["clerk"]}, If_Match=tag))[-1] == ("/roles", "unknown-member")


def test_accounts_are_listed_a_page_at_a_time(service: Service, system: StaffApi) -> None:
    for number in range(3):
        service.clock.advance(1)
        made(system, f"wang.{number}")
    first = told(system.get(f"{STAFF}?limit=2"))
    assert [item["login"] for item in first["items"]] == ["wang.2", "wang.1"]
    second = told(system.get(f"{STAFF}?limit=2&cursor={first['next']}"))
    assert second["items"][0]["login"] == "wang.0"
    assert second["next"] is None
    assert "initial_password" not in str(first)


def test_an_unknown_account_is_not_found(system: StaffApi, security: StaffApi) -> None:
    path = f"{STAFF}/{uuid4()}"
    assert problem(system.get(path)) == (404, "staff-not-found")
    assert problem(system.post(f"{path}/reset", {"password": True})) == (404, "staff-not-found")
    assert problem(propose(system, uuid4(), "audit-admin")) == (404, "staff-not-found")
    assert problem(security.post(f"{path}/roles/{uuid4()}/grant", {"confirmation": "A"})) == (404, "staff-not-found")


def test_names_and_passwords_are_in_no_audit_row(service: Service, system: StaffApi) -> None:
    account = made(system)
    set_up(service, account)
    for action in ("staff.added", "staff.password-changed", "staff.totp-begun", "staff.second-factor-added"):
        (act,) = acts(service, action)
        for secret in ("王五", account["initial_password"], PASSWORD):
            assert secret not in str(act)


@pytest.mark.parametrize("region", ["000000", "999999", "37010"])
def test_a_region_operator_is_for_a_region_that_there_is(service: Service, system: StaffApi, region: str) -> None:
    who = person(service)
    body = {"roles": ["region-operator"], "branch": {"region": region}}
    answer = system.post(f"{STAFF}/{who.id}/roles", body)
    assert answer.status_code == 422, answer.text
    assert [found["pointer"] for found in told(answer)["errors"]] == ["/branch/region"]
