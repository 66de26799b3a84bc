"""Departments of an institution over the API: a tree that stays one, and nobody else's."""

from threading import Barrier, Thread
from typing import Any

import pytest

from tests.contract.test_institutions import acts, entries, problem
from tests.support.institutions import BEIJING, PATH, admin, made, operator
from tests.support.service import Service, StaffApi, told


def place(who: StaffApi, serial: int = 1) -> str:
    return f"{PATH}/{made(who, serial)['institution_id']}/departments"


def department(who: StaffApi, path: str, name: str = "内科", **facts: Any) -> str:
    answer = who.post(path, {"name": name} | facts)
    assert answer.status_code == 201, answer.text
    return str(told(answer)["department_id"])


def test_a_department_is_made_changed_read_and_ended(service: Service) -> None:
    who = admin(service)
    path = place(who)
    top = department(who, path, standard_code="0300", local_code="NK")
    below = department(who, path, "呼吸内科", standard_code="0301", parent_id=top)
    assert {one["parent_id"] for one in told(who.get(path))["items"]} == {None, top}
    read = who.get(f"{path}/{below}")
    assert read.headers["ETag"] == '"1"'
    changed = who.call("PATCH", f"{path}/{below}", {"name": "呼吸科", "local_code": "HX"}, If_Match='"1"')
    assert (told(changed)["name"], changed.headers["ETag"]) == ("呼吸科", '"2"')
    assert problem(who.call("PATCH", f"{path}/{below}", {"name": "x"}, If_Match='"1"')) == (412, "precondition-failed")
    assert problem(who.call("PATCH", f"{path}/{below}", {"name": "x"})) == (428, "precondition-required")
    assert problem(who.call("DELETE", f"{path}/{top}")) == (409, "department-conflict")
    assert who.call("DELETE", f"{path}/{below}").status_code == 204
    assert who.call("DELETE", f"{path}/{top}").status_code == 204
    assert problem(who.get(f"{path}/{top}")) == (404, "department-not-found")
    assert problem(who.call("DELETE", f"{path}/{top}")) == (404, "department-not-found")
    assert acts(service, below) == ["department.added", "department.changed", "department.ended"]
    assert "呼吸内科" in entries(service, below)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"name": ""}, "length"),
        ({"name": "x" * 101}, "length"),
        ({"standard_code": "9999"}, "unknown-department"),
        ({"standard_code": "03"}, "length"),
        ({"local_code": "x" * 41}, "length"),
        ({"parent_id": "019a0000-0000-7000-8000-000000000000"}, "unknown-parent"),
        ({"institution_id": "x"}, "unknown-member"),
    ],
)
def test_a_wrong_member_is_named(service: Service, body: dict[str, Any], code: str) -> None:
    who = admin(service)
    assert problem(who.post(place(who), {"name": "内科"} | body)) == (422, code)


def test_a_local_code_is_taken_once_and_free_again_with_the_end(service: Service) -> None:
    who = admin(service)
    path, other = place(who), place(who, 2)
    first = department(who, path, local_code="NK")
    assert problem(who.post(path, {"name": "内科二", "local_code": "NK"})) == (409, "department-conflict")
    department(who, other, local_code="NK")
    second = department(who, path, "外科", local_code="WK")
    taken = who.call("PATCH", f"{path}/{second}", {"local_code": "NK"}, If_Match="*")
    assert problem(taken) == (409, "department-conflict")
    assert who.call("DELETE", f"{path}/{first}").status_code == 204
    department(who, path, local_code="NK")


def test_no_department_lies_below_itself_or_in_another_institution(service: Service) -> None:
    who = admin(service)
    path, other = place(who), place(who, 2)
    top = department(who, path)
    middle = department(who, path, "呼吸", parent_id=top)
    low = department(who, path, "哮喘", parent_id=middle)
    for below in (top, middle, low):
        answer = who.call("PATCH", f"{path}/{top}", {"parent_id": below}, If_Match="*")
        assert problem(answer) == (422, "unknown-parent")
    assert problem(who.post(other, {"name": "内科", "parent_id": top})) == (422, "unknown-parent")
    for method in ("GET", "PATCH", "DELETE"):
        answer = who.call(method, f"{other}/{top}", {"name": "x"} if method == "PATCH" else None, If_Match="*")
        assert problem(answer) == (404, "department-not-found")
    assert who.call("PATCH", f"{path}/{low}", {"parent_id": None}, If_Match="*").status_code == 200


def test_departments_go_five_levels_deep_and_no_deeper(service: Service) -> None:
    who = admin(service)
    path = place(who)
    above: dict[str, Any] = {}
    for level in range(5):
        above = {"parent_id": department(who, path, f"第 {level} 级", **above)}
    assert problem(who.post(path, {"name": "第六级"} | above)) == (422, "too-deep")
    (root,) = [one["department_id"] for one in told(who.get(path))["items"] if one["parent_id"] is None]
    apart = department(who, path, "另一科")
    answer = who.call("PATCH", f"{path}/{root}", {"parent_id": apart}, If_Match="*")
    assert problem(answer) == (422, "too-deep")


def test_two_moves_at_once_close_no_circle(service: Service) -> None:
    who = admin(service)
    path = place(who)
    for _ in range(5):
        pair = department(who, path, "甲"), department(who, path, "乙")
        barrier = Barrier(2)
        answers: list[int] = []

        def put(one: str, other: str, barrier: Barrier = barrier, answers: list[int] = answers) -> None:
            barrier.wait()
            answer = who.call("PATCH", f"{path}/{one}", {"parent_id": other}, If_Match="*")
            answers.append(answer.status_code)

        threads = [Thread(target=put, args=ends) for ends in (pair, pair[::-1])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answers) == [200, 422]


def test_an_institution_has_so_many_departments_and_no_more(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ehc.access.departments.MOST", 2)
    who = admin(service)
    path = place(who)
    department(who, path)
    department(who, path, "外科")
    assert problem(who.post(path, {"name": "儿科"})) == (409, "department-conflict")


def test_departments_elsewhere_are_not_there(service: Service) -> None:
    path = place(admin(service))
    one = department(admin(service), path)
    who = operator(service, BEIJING)
    answers = (
        who.get(path),
        who.get(f"{path}/{one}"),
        who.post(path, {"name": "外科"}),
        who.call("PATCH", f"{path}/{one}", {"name": "外科"}, If_Match="*"),
        who.call("DELETE", f"{path}/{one}"),
    )
    assert {problem(answer) for answer in answers} == {(404, "institution-not-found")}
