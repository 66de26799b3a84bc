"""From where the staff, apps and terminals change things: in the audit log for every act, and never as an address."""

from typing import Any
from uuid import uuid4

import orjson
from sqlalchemy import text

from ehc.callers import Role
from ehc.settings import Settings
from tests.contract.test_staff_log_in import acts
from tests.support.apps import APPS, Office
from tests.support.institutions import PATH, hospital
from tests.support.service import Service, StaffApi, told
from tests.support.terminals import ADMIN, enrolling, enrolment, new_key
from tests.support.two_people import APPROVALS, TABLE, pair, rule
from tests.support.webhooks import Hooks

AUDIT = "/v1/admin/audit"
HERE = "203.0.113.9"


def at(service: Service, who: StaffApi, address: str = HERE) -> StaffApi:
    """The same person, calling from an address."""
    http = service.client()
    http.environ_base["REMOTE_ADDR"] = address
    return StaffApi(http, who.id, who.token)


def acted(service: Service, address: str) -> set[str]:
    """The actions that came from an address, as the audit administrator finds them."""
    found = told(service.staff(Role.AUDIT_ADMIN).get(f"{AUDIT}?source={address}&limit=100"))["items"]
    return {item["action"] for item in found}


def changed(who: StaffApi, path: str, body: dict[str, Any]) -> None:
    answer = who.call("PATCH", path, body, If_Match=who.get(path).headers["ETag"])
    assert answer.status_code == 200, answer.text


def test_every_act_of_the_staff_tells_from_where_whatever_it_is_about(service: Service) -> None:
    admin = at(service, service.staff(Role.SYSTEM_ADMIN))
    made = told(admin.post(PATH, hospital()))
    changed(admin, f"{PATH}/{made['institution_id']}", {"name": "改名医院"})
    admin.post(f"{PATH}/{made['institution_id']}/departments", {"name": "内科"})
    admin.post(f"{PATH}/{made['institution_id']}/suspend", {"reason": "other"})
    code = enrolment(service, admin)["code"]
    http = service.client()
    http.environ_base["REMOTE_ADDR"] = HERE
    terminal = told(http.post("/v1/terminals/enrol", json=enrolling(service, code, new_key())))["terminal_id"]
    admin.post(f"{ADMIN}/{terminal}/block", {"reason": "stolen"})
    office = Office(service)
    office.writer = admin
    office.secret(office.draft()["app_id"])
    one, other = (at(service, who) for who in pair(service))
    body = {"base_version": 0, "rules": [rule({"name": "clear"})], "reason": "测试"}
    approval = told(one.post(f"{TABLE}/proposals", body))["approval_id"]
    assert other.post(f"{APPROVALS}/{approval}/approve").status_code == 200
    admin.call("DELETE", "/v1/admin/sessions/current")
    expected = {
        *("institution.added", "institution.changed", "department.added", "institution.suspended"),
        *("terminal.enrolment-made", "terminal.enrolled", "client.added", "terminal.blocked"),
        *("app.drafted", "app.secret-added", "staff.logged-out"),
        *("approval.proposed", "approval.approved", "disclosure.changed"),
    }
    assert acted(service, HERE) == expected
    assert acted(service, "203.0.113.10") == set()


def test_what_an_app_does_about_its_webhooks_tells_from_where(settings: Settings) -> None:
    hooks = Hooks.start(settings)
    try:
        hooks.service.app.http.environ_base["REMOTE_ADDR"] = HERE
        hooks.subscribe("http://127.0.0.1:9/hook", ["card.changed"])
        assert acted(hooks.service, HERE) == {"webhook.created"}
    finally:
        hooks.stop()


def test_no_address_stands_in_the_log_in_clear(service: Service) -> None:
    office = Office(service)
    office.writer = at(service, office.writer)
    app_id, _ = office.live(scopes=["cards"])
    changed(office.writer, f"{APPS}/{app_id}", {"per_minute": 7})
    with service.session() as session:
        entries = session.scalars(text("SELECT entry FROM audit")).all()
    assert len(entries) > 5
    assert not [entry for entry in entries if HERE in entry]
    told_of = next(found for found in map(orjson.loads, entries) if found["action"] == "app.changed")
    assert len(told_of["facts"]["from"]) == 32


def test_an_act_of_the_staff_names_its_request_as_the_log_does(service: Service) -> None:
    request_id = uuid4().hex
    answer = service.staff(Role.SYSTEM_ADMIN).post(PATH, hospital(), X_Request_Id=request_id)
    assert answer.headers["X-Request-Id"] == request_id
    found = [act["facts"].get("request") for act in acts(service, "institution.added")]
    assert [one for one in found if one] == [request_id]  # the others are of the command line
