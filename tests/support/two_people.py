"""Two security administrators, and what they decide together."""

from typing import Any

from ehc.callers import Role
from tests.support.service import Service, StaffApi, told

APPROVALS = "/v1/admin/approvals"
TABLE = "/v1/admin/disclosure"


def pair(service: Service) -> tuple[StaffApi, StaffApi]:
    """One who proposes and one who decides."""
    return service.staff(Role.SECURITY_ADMIN), service.staff(Role.SECURITY_ADMIN)


def proposed(who: StaffApi, path: str, body: dict[str, Any]) -> str:
    """The id of a new proposal."""
    answer = who.post(path, body)
    assert answer.status_code == 201, answer.text
    return str(told(answer)["approval_id"])


def approved(service: Service, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A proposal that one made and another approved."""
    one, other = pair(service)
    answer = other.post(f"{APPROVALS}/{proposed(one, path, body)}/approve")
    assert answer.status_code == 200, answer.text
    return told(answer)


def rule(fields: dict[str, str], **more: Any) -> dict[str, Any]:
    """A row for everybody unless said."""
    return {"fields": fields, "reason": "测试", **more}


def new_table(service: Service, *rules: dict[str, Any]) -> dict[str, Any]:
    """A new version of the table, in force; workers know it within ten seconds."""
    base = told(service.staff(Role.SECURITY_ADMIN).get(TABLE))["version"]
    body = {"base_version": base, "rules": list(rules), "reason": "测试"}
    return approved(service, f"{TABLE}/proposals", body)
