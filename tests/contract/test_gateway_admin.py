"""`/v1/admin/gateways`: what operators see of accounts and calls, of their own branch alone; secrets are told once."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from werkzeug.test import TestResponse

from ehc.access import institutions
from ehc.callers import Branch, Role
from ehc.db import unit_of_work
from ehc.gateways.calls import Call, Calls
from ehc.gateways.kinds import GatewayKind
from tests.support import gateways
from tests.support.service import Service, StaffApi, told

ADMIN = "/v1/admin/gateways"
OPEN, PROVINCIAL = GatewayKind.OPEN_PLATFORM, GatewayKind.PROVINCIAL
Made = dict[str, Any]


@pytest.fixture
def admin(service: Service) -> StaffApi:
    return service.staff(Role.SYSTEM_ADMIN)


@pytest.fixture
def make(service: Service, admin: StaffApi) -> Callable[..., Made]:
    def add(**changes: Any) -> Made:
        app_id = str(gateways.app_row_id(service, service.app))
        answer = admin.post(ADMIN, {"kind": "open-platform", "app_id": app_id, **changes})
        assert answer.status_code == 201, answer.text
        return told(answer)

    return add


def refused(answer: TestResponse, status: int) -> Made:
    """The problem document in an answer."""
    assert answer.status_code == status, answer.text
    return told(answer)


def where(made: Made) -> str:
    return f"{ADMIN}/{made['account_id']}"


def test_an_account_from_nothing_to_a_code(service: Service, admin: StaffApi, make: Callable[..., Made]) -> None:
    made = make()
    assert (made["kind"], made["state"], made["secrets"], made["places"]) == ("open-platform", "live", [], [])
    secret = admin.post(f"{where(made)}/secrets")
    assert secret.status_code == 201
    assert secret.headers["Cache-Control"] == "no-store"
    assert (told(secret)["name"], len(told(secret)["secret"])) == (made["name"], 32)
    home = str(gateways.institution_id(service))
    place = admin.post(f"{where(made)}/places", {"kind": "hospital", "code": "30001", "institution_id": home})
    assert place.status_code == 201
    whole = told(admin.get(where(made)))
    assert whole["places"] == [told(place)]
    assert [held["secret_id"] for held in whole["secrets"]] == [told(secret)["secret_id"]]
    assert told(secret)["secret"] not in str(whole)
    assert admin.call("DELETE", f"{where(made)}/places/{told(place)['place_id']}").status_code == 204
    assert admin.call("DELETE", f"{where(made)}/secrets/{told(secret)['secret_id']}").status_code == 204
    whole = told(admin.get(where(made)))
    assert (whole["places"], whole["secrets"]) == ([], [])


def test_creating_twice_with_one_key_creates_once(service: Service, admin: StaffApi) -> None:
    body = {"kind": "provincial", "app_id": str(gateways.app_row_id(service, service.app)), "name": "demo_his"}
    first, again = (admin.post(ADMIN, body, Idempotency_Key="k1") for _ in range(2))
    assert first.status_code == again.status_code == 201
    assert told(first) == told(again)
    assert refused(admin.post(ADMIN, body), 409)["code"] == "gateway-name-taken"


def test_changes_go_to_the_version_that_was_read(admin: StaffApi, make: Callable[..., Made]) -> None:
    made = make()
    tag = admin.get(where(made)).headers["ETag"]
    changed = admin.call("PATCH", where(made), {"replay": True, "window_seconds": 60}, If_Match=tag)
    assert (told(changed)["replay"], told(changed)["window_seconds"]) == (True, 60)
    assert refused(admin.call("PATCH", where(made), {"replay": False}, If_Match=tag), 412)
    assert refused(admin.call("PATCH", where(made), {"window_seconds": 29}, If_Match=tag), 422)
    assert refused(admin.call("PATCH", where(made), {"replay": False}), 428)


def test_suspending_twice_is_a_conflict(admin: StaffApi, make: Callable[..., Made]) -> None:
    made = make()
    assert told(admin.post(f"{where(made)}/suspend", {"reason": "测试"}))["state"] == "suspended"
    assert refused(admin.post(f"{where(made)}/suspend", {"reason": "测试"}), 409)["code"] == "gateway-account-state"
    assert told(admin.post(f"{where(made)}/resume", {"reason": "测试"}))["state"] == "live"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "org", "code": "1"}, "/kind"),
        ({"kind": "hospital", "code": "a b"}, "/code"),
        ({"kind": "hospital", "code": "30001"}, "/institution_id"),
        ({"kind": "hospital", "code": "30001", "institution_id": str(UUID(int=7))}, "/institution_id"),
    ],
)
def test_a_code_that_does_not_fit_is_refused(
    admin: StaffApi, make: Callable[..., Made], body: Made, pointer: str
) -> None:
    answer = refused(admin.post(f"{where(make())}/places", body), 422)
    assert [error["pointer"] for error in answer["errors"]] == [pointer]


@pytest.fixture
def regions(service: Service) -> dict[str, StaffApi]:
    """H1 lies in 110105, H2 in 370102; who works there."""
    with service.session() as session:
        for code, region in (("H1", "110105"), ("H2", "370102")):
            home = gateways.institution_id(service, code)
            institutions.change(
                session, institutions.OPERATOR, home, {"region": region}, version=None, now=service.clock.now()
            )
    people = {code: Branch(region=code) for code in ("110000", "370000")}
    found = {code: service.staff(Role.REGION_OPERATOR, branch=branch) for code, branch in people.items()}
    own = Branch(institution_id=gateways.institution_id(service))
    return found | {"H1": service.staff(Role.INSTITUTION_OPERATOR, branch=own)}


def test_a_branch_sees_accounts_that_lie_in_it_as_a_whole(service: Service, regions: dict[str, StaffApi]) -> None:
    here = gateways.account(service, OPEN, places={("hospital", "30001"): "H1"})
    gateways.account(service, PROVINCIAL, places={("org", "1"): "H1", ("org", "2"): "H2"})
    gateways.account(service, PROVINCIAL, places={("app", "QH0001"): None})

    def seen(person: StaffApi) -> set[str]:
        return {one["account_id"] for one in told(person.get(ADMIN))["accounts"]}

    assert seen(regions["110000"]) == seen(regions["H1"]) == {str(here.id)}
    assert seen(regions["370000"]) == set()
    assert len(seen(service.staff(Role.SYSTEM_ADMIN))) == 3
    for what in ("", "/usage", "/failures"):
        assert regions["110000"].get(f"{ADMIN}/{here.id}{what}").status_code == 200
        assert refused(regions["370000"].get(f"{ADMIN}/{here.id}{what}"), 404)
    assert refused(regions["110000"].get(f"{ADMIN}/failures"), 404)


def test_a_code_of_an_institution_without_a_region_hides_an_account(service: Service) -> None:
    known = gateways.account(service, PROVINCIAL, places={("org", "1"): "H1", ("org", "2"): "H2"})
    with service.session() as session:
        home = gateways.institution_id(service)
        institutions.change(
            session, institutions.OPERATOR, home, {"region": "110105"}, version=None, now=service.clock.now()
        )
    person = service.staff(Role.REGION_OPERATOR, branch=Branch(region="110000"))
    assert refused(person.get(f"{ADMIN}/{known.id}"), 404)


def test_usage_and_failures_of_an_account(service: Service, admin: StaffApi) -> None:
    known = gateways.account(service, OPEN, places={})
    calls = Calls(unit_of_work(service.engine), service.clock, every=3600)
    for number in range(3):
        failed = number == 2
        calls.record(
            Call(
                OPEN,
                known.id,
                "verifyQRCode",
                "go",
                "40003" if failed else "0",
                ok=not failed,
                milliseconds=2.0,
                reference=f"call-{number}",
                trace={"hospitalId": "30001"},
            )
        )
    calls.flush()
    usage = told(admin.get(f"{ADMIN}/{known.id}/usage"))
    (method,) = usage["methods"]
    assert (method["method"], method["calls"], method["failed"], method["error_rate"]) == ("verifyQRCode", 3, 1, 0.3333)
    items = usage["items"]
    assert [(item["dialect"], item["result"], item["calls"], item["milliseconds"]) for item in items] == [
        ("go", "0", 2, 2.0),
        ("go", "40003", 1, 2.0),
    ]
    (failure,) = told(admin.get(f"{ADMIN}/{known.id}/failures?limit=5"))["items"]
    assert (failure["result"], failure["reference"], failure["trace"]) == ("40003", "call-2", {"hospitalId": "30001"})
    assert told(admin.get(f"{ADMIN}/{known.id}/failures?before={failure['number']}"))["items"] == []
    assert told(admin.get(f"{ADMIN}/{known.id}/failures?method=getAppToken"))["items"] == []
    assert told(admin.get(f"{ADMIN}/failures"))["items"] == []
    assert told(admin.get(f"{ADMIN}/{known.id}"))["last_call_at"] is not None
    assert refused(admin.get(f"{ADMIN}/{known.id}/usage?hours=0"), 422)
    assert refused(admin.get(f"{ADMIN}/{known.id}/failures?limit=201"), 422)
