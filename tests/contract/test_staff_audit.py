"""The audit log as the audit administrator reads it: what is found, by pages, and that reading leaves its row."""

import pytest

from ehc.callers import Role
from tests.contract.helpers import problem, wrong
from tests.contract.test_staff_log_in import acts
from tests.support.service import Service, StaffApi, told
from tests.support.staff import person

AUDIT = "/v1/admin/audit"


@pytest.fixture
def auditor(service: Service) -> StaffApi:
    return service.staff(Role.AUDIT_ADMIN)


@pytest.mark.parametrize("role", [Role.SYSTEM_ADMIN, Role.SECURITY_ADMIN, Role.CLERK])
def test_nobody_else_reads_it(service: Service, role: Role) -> None:
    assert problem(service.staff(role).get(AUDIT)) == (403, "right-missing")
    assert service.app.get(AUDIT).status_code == 401


def test_acts_are_found_by_who_whom_what_and_when(service: Service, auditor: StaffApi) -> None:
    zhang = person(service, Role.SYSTEM_ADMIN)
    zhang.enter(address="203.0.113.9")
    zhang.try_with(password="wrong-wrong-wrong")
    for query, actions in {
        f"actor=staff:{zhang.id}": {"staff.logged-in"},
        f"subject={zhang.id}": {"staff.logged-in", "staff.log-in-refused"},
        "action=staff.log-in-refused": {"staff.log-in-refused"},
        "action=staff.log*": {"staff.logged-in", "staff.log-in-refused"},
        "source=203.0.113.9": {"staff.logged-in"},
        "source=203.0.113.10": set(),
        "actor=operator&action=staff.*": set(),
        f"subject={zhang.id}&actor=nobody": {"staff.log-in-refused"},
        "action=staff%25": set(),
    }.items():
        found = {item["action"] for item in told(auditor.get(f"{AUDIT}?{query}"))["items"]}
        assert found == actions, query
    at = service.clock.now().isoformat().replace("+", "%2B")
    assert told(auditor.get(f"{AUDIT}?subject={zhang.id}&until={at}"))["items"] == []
    assert len(told(auditor.get(f"{AUDIT}?subject={zhang.id}&since={at}"))["items"]) == 2


def test_every_reading_is_an_act_that_names_what_was_looked_for(service: Service, auditor: StaffApi) -> None:
    auditor.get(f"{AUDIT}?action=card.*&source=203.0.113.9")
    (act,) = acts(service, "audit.read")
    assert (act["actor"], act["facts"]["wanted"]["action"]) == (f"staff:{auditor.id}", "card.*")
    assert "203.0.113.9" not in str(act)
    assert [item["action"] for item in told(auditor.get(f"{AUDIT}?action=audit.read"))["items"]] == ["audit.read"]


def test_a_refused_reading_is_no_act(service: Service, auditor: StaffApi) -> None:
    auditor.get(f"{AUDIT}?limit=0")
    assert acts(service, "audit.read") == []


def test_pages_follow_each_other_without_a_gap(service: Service, auditor: StaffApi) -> None:
    for number in range(5):
        service.app.register(number + 1)
    whole = told(auditor.get(f"{AUDIT}?action=card.*&limit=100"))["items"]
    found, cursor = [], ""
    while cursor is not None:
        answer = told(auditor.get(f"{AUDIT}?action=card.*&limit=2" + (f"&cursor={cursor}" if cursor else "")))
        found += answer["items"]
        cursor = answer["next"]
    assert [(item["chain"], item["seq"]) for item in found] == [(item["chain"], item["seq"]) for item in whole]
    assert len(whole) >= 5


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cursor=x", ("/cursor", "cursor")),
        ("cursor=MXwyfDM=", ("/cursor", "cursor")),
        ("limit=101", ("/limit", "range")),
        ("since=2026-01-09", ("/since", "datetime")),
        ("since=2020-01-01T00:00:00Z", ("/since", "range")),
        ("person=x", ("/person", "unknown-member")),
        ("actor=", ("/actor", "length")),
    ],
)
def test_what_cannot_be_looked_for_is_told(auditor: StaffApi, query: str, expected: tuple[str, str]) -> None:
    assert expected in wrong(auditor.get(f"{AUDIT}?{query}"))


def test_a_subject_is_looked_for_in_all_time(service: Service, auditor: StaffApi) -> None:
    assert auditor.get(f"{AUDIT}?subject=x&since=2020-01-01T00:00:00Z").status_code == 200
    widest = "since=0001-01-01T00:00:00%2B14:00&until=9999-12-31T23:59:59-14:00"
    assert auditor.get(f"{AUDIT}?subject=x&{widest}").status_code == 200
