"""Every route of the staff that names an institution, or what belongs to one, called from other branches: it is not there.

The routes come from the app: a new one that names one of `OWNED` has to have a body here, or fails.
"""

import re
from typing import Any
from uuid import UUID

import pytest

from ehc.access.roles import RIGHTS
from ehc.callers import Branch, Role
from tests.contract.helpers import problem
from tests.support.access_rows import NOBODYS, ROWS
from tests.support.institutions import BEIJING, JINAN, PATH, SHANDONG, admin, made
from tests.support.service import Service, StaffApi, told
from tests.support.terminals import KeyTerminal, enrolment, institution_id

OWNED = ("{institution_id}", "{terminal_id}", "{enrolment_id}")
ROUTES = [route for route in ROWS if route[1].startswith("/v1/admin") and any(name in route[1] for name in OWNED)]
_REASON = {"reason": "测试"}
BODIES: dict[str, Any] = {
    "{institution_id}": {"name": "新名"},
    "suspend": _REASON,
    "resume": _REASON,
    "close": _REASON,
    "codes": {"kind": "local", "code": "A9"},
    "end": {},
    "departments": {"name": "外科"},
    "{department_id}": {"name": "外科"},
    "{terminal_id}": {"name": "新名"},
    "block": {"reason": "stolen"},
    "unblock": {},
    "replace": {},
    "cancel": {},
}
NOT_THERE = {"institution-not-found", "terminal-not-found", "enrolment-not-found"}


class Place:
    """An institution of a district of Jinan with all that may belong to one."""

    def __init__(self, service: Service) -> None:
        who = admin(service)
        found = made(who)
        self.id = str(found["institution_id"])
        department = told(who.post(f"{PATH}/{self.id}/departments", {"name": "内科"}))["department_id"]
        terminal = KeyTerminal.enrolled(service, who, institution_id=self.id).id
        waiting = enrolment(service, who, institution_id=self.id)["enrolment_id"]
        self.names = {
            "{institution_id}": self.id,
            "{code_id}": found["codes"][0]["code_id"],
            "{department_id}": department,
            "{terminal_id}": terminal,
            "{enrolment_id}": waiting,
        }

    def call(self, who: StaffApi, method: str, path: str) -> Any:
        address = re.sub(r"{\w+}", lambda name: self.names.get(name[0], NOBODYS), path)
        body = BODIES[path.rpartition("/")[2]] if method in {"POST", "PATCH"} else None
        return who.call(method, address, body, If_Match='"1"')


def operator(service: Service, role: Role, branch: Branch) -> StaffApi:
    return service.staff(role, branch=branch)


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(route) for route in ROUTES])
def test_what_lies_in_another_branch_is_not_there(service: Service, method: str, path: str) -> None:
    place, right = Place(service), ROWS[method, path].right
    other = UUID(institution_id(service, "H2"))
    for role, branch in (
        (Role.REGION_OPERATOR, Branch(region=BEIJING)),
        (Role.REGION_OPERATOR, Branch(region="370200")),
        (Role.INSTITUTION_OPERATOR, Branch(institution_id=other)),
        (Role.CLERK, Branch(institution_id=other)),
    ):
        answer = place.call(operator(service, role, branch), method, path)
        if right in RIGHTS[role]:
            assert answer.status_code == 404, answer.text
            assert problem(answer)[1] in NOT_THERE
        else:
            assert problem(answer) == (403, "right-missing")


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=[" ".join(route) for route in ROUTES])
def test_what_lies_in_ones_own_branch_is_there(service: Service, method: str, path: str) -> None:
    place, right = Place(service), ROWS[method, path].right
    for role, branch in (
        (Role.REGION_OPERATOR, Branch(region=SHANDONG)),
        (Role.REGION_OPERATOR, Branch(region=JINAN)),
        (Role.INSTITUTION_OPERATOR, Branch(institution_id=UUID(place.id))),
    ):
        if right in RIGHTS[role]:
            answer = place.call(operator(service, role, branch), method, path)
            assert answer.status_code not in {401, 403, 422}, answer.text
            assert answer.status_code != 404 or problem(answer)[1] not in NOT_THERE


def test_an_id_in_a_body_or_a_query_leads_into_no_other_branch(service: Service) -> None:
    place = Place(service)
    who = operator(service, Role.REGION_OPERATOR, Branch(region=BEIJING))
    terminal = told(admin(service).get(f"/v1/admin/terminals/{place.names['{terminal_id}']}"))["terminal_code"]
    body = {"institution_id": place.id, "terminal_code": "W-9", "name": "窗口", "kind": "window"}
    assert problem(who.post("/v1/admin/terminal-enrolments", body)) == (404, "institution-not-found")
    assert told(who.get(f"/v1/admin/terminals?institution_id={place.id}"))["items"] == []
    asked = who.get(f"/v1/admin/disclosure/explain?terminal={terminal}&step=registration")
    assert problem(asked) == (404, "client-not-found")
    bounds = "from=2026-01-01T00:00:00Z&until=2026-01-02T00:00:00Z"
    counts = told(who.get(f"/v1/usage/summary?{bounds}&institution_id={place.id}&group_by=institution"))
    assert counts["items"] == []
