"""Institutions for tests: right bodies, right codes."""

from typing import Any

from ehc.callers import Branch, Role
from ehc.core.institution_codes import credit_check, organisation_check
from tests.support.service import Service, StaffApi, told

SHANDONG, JINAN, LIXIA, BEIJING = "370000", "370100", "370102", "110000"
PATH = "/v1/admin/institutions"


def ws218(serial: int = 1, *, region: str = LIXIA) -> str:
    """An institution code with its check character."""
    first = f"{serial:08}"
    return f"{first}{organisation_check(first)}{region}11A1001"


def credit(serial: int = 1, *, region: str = LIXIA) -> str:
    """A unified social credit code with its check character."""
    first = f"12{region}{serial:09}"
    return first + credit_check(first)


def hospital(serial: int = 1, **changes: Any) -> dict[str, Any]:
    """A right body for a new institution in a district of Jinan."""
    return {
        "name": f"第 {serial} 人民医院",
        "kind": "hospital",
        "region": LIXIA,
        "codes": [{"kind": "ws-218", "code": ws218(serial)}],
    } | changes


def admin(service: Service) -> StaffApi:
    """Somebody who may change every institution."""
    return service.staff(Role.SYSTEM_ADMIN)


def operator(service: Service, region: str = SHANDONG) -> StaffApi:
    """Somebody who may change the institutions of a region."""
    return service.staff(Role.REGION_OPERATOR, branch=Branch(region=region))


def made(who: StaffApi, serial: int = 1, **changes: Any) -> dict[str, Any]:
    """A new institution."""
    answer = who.post(PATH, hospital(serial, **changes))
    assert answer.status_code == 201, answer.text
    return told(answer)
