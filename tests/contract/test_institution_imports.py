"""Institutions from a file: right rows are applied, each wrong one has its reason, and the same file again changes nothing."""

import csv
from io import StringIO
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ehc.access.institution_models import InstitutionCodeRow
from ehc.access.models import InstitutionRow
from ehc.callers import Role
from tests.contract.test_institutions import acts, problem, together
from tests.support.institutions import BEIJING, JINAN, LIXIA, PATH, admin, credit, made, operator, ws218
from tests.support.service import Service, StaffApi, told

IMPORTS = f"{PATH}/imports"
HEADER = "name,kind,region,ws218_code,uscc,clinic_code,local_code,contact_name,contact_phone"


def file_of(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join((header, *rows, "")).encode()


def send(who: StaffApi, content: bytes, kind: str = "text/csv") -> TestResponse:
    return who.http.post(IMPORTS, data=content, headers=who.headers, content_type=kind)


def counts(answer: TestResponse) -> tuple[int, int, int, int]:
    assert answer.status_code == 201, answer.text
    found = told(answer)
    assert found["finished_at"]
    return found["added"], found["changed"], found["unchanged"], found["bad"]


def faults(who: StaffApi, sent: TestResponse) -> list[tuple[str, str, str]]:
    answer = who.get(f"{IMPORTS}/{told(sent)['import_id']}/errors")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    return [(row["line"], row["column"], row["reason"]) for row in csv.DictReader(StringIO(answer.text))]


def all_institutions(service: Service) -> list[Any]:
    with service.session() as session:
        found = session.execute(select(InstitutionRow.code, InstitutionRow.name, InstitutionRow.version))
        return sorted(map(tuple, found))


def test_right_rows_are_applied_and_each_wrong_one_has_its_reason(service: Service) -> None:
    who = admin(service)
    taken = made(who, 50)
    wrong = [
        (f"医院,zoo,{LIXIA},,,,A1,,", "kind", "kind"),
        ("医院,hospital,379999,,,,A2,,", "region", "unknown-region"),
        (f",hospital,{LIXIA},,,,A3,,", "name", "length"),
        (f"医院,hospital,{LIXIA},,,,,,", "", "no-code"),
        (f"医院,hospital,{LIXIA},{'1' + ws218(9)[1:]},,,,,", "ws218_code", "code-check"),
        (f"医院,hospital,{LIXIA},,,123,,,", "clinic_code", "code-form"),
        (f"医院,hospital,{LIXIA},,,990102000101,,,", "clinic_code", "code-region"),
        (f"医院,hospital,{LIXIA}", "", "columns"),
        (f"医院,hospital,{LIXIA},{ws218(50)},,,H1,,", "", "codes-apart"),
        (f"医\x07院,hospital,{LIXIA},,,,A4,,", "name", "characters"),
        (f'"医院,hospital,{LIXIA},,,,A5,,', "", "quote"),
        (f"医院,hospital,{LIXIA},,,,A6,{'王' * 101},", "contact_name", "length"),
    ]
    first = f"第一医院,hospital,{LIXIA},{ws218(1)},{credit(1)},,,王主任,0531-1"
    rows = [first, *(line for line, _, _ in wrong), f"村卫生室,village-room,{JINAN},,,370102000101,,,"]
    sent = send(who, file_of(*rows))
    assert counts(sent) == (2, 0, 0, len(wrong))
    assert faults(who, sent) == [(str(n), column, reason) for n, (_, column, reason) in enumerate(wrong, 3)]
    errors = who.get(f"{IMPORTS}/{told(sent)['import_id']}/errors").text
    assert "王" not in errors
    assert ws218(9)[1:] not in errors
    found = told(who.get(f"{PATH}?code={credit(1)}"))["items"][0]
    assert (found["code"], found["name"]) == (ws218(1), "第一医院")
    assert told(who.get(f"{PATH}/{taken['institution_id']}"))["name"] == taken["name"]


def test_the_same_file_again_changes_nothing(service: Service) -> None:
    who = admin(service)
    rows = [f"医院{n},hospital,{LIXIA},{ws218(n)},{credit(n)},,,王,1{n}" for n in range(1, 300)]
    assert counts(send(who, file_of(*rows))) == (299, 0, 0, 0)
    before = all_institutions(service)
    assert counts(send(who, file_of(*rows))) == (0, 0, 299, 0)
    assert all_institutions(service) == before
    there = told(who.get(f"{PATH}?code={ws218(7)}"))["items"][0]["institution_id"]
    assert acts(service, there) == ["institution.added"]


def test_two_files_at_once_make_each_institution_once(service: Service) -> None:
    who = admin(service)
    rows = [f"医院{n},hospital,{LIXIA},{ws218(n)},{credit(n)},,,," for n in range(1, 200)]
    files = file_of(*rows), file_of(*rows[::-1])
    answers = [counts(answer) for answer in together(*(lambda f=f: send(who, f) for f in files))]
    assert [sum(numbers) for numbers in zip(*answers, strict=True)] == [199, 0, 199, 0]
    assert len(all_institutions(service)) == 201


def test_a_row_changes_the_institution_that_has_its_code(service: Service) -> None:
    who = admin(service)
    found = made(who, contacts={"phone": "1", "name": "旧"})
    sent = send(who, file_of(f"新名,clinic,{JINAN},{ws218()},{credit()},,,新,"))
    assert counts(sent) == (0, 1, 0, 0)
    read = told(who.get(f"{PATH}/{found['institution_id']}"))
    assert (read["name"], read["kind"], read["region"]) == ("新名", "clinic", JINAN)
    assert read["contacts"] == {"phone": "1", "name": "新"}
    assert {code["kind"] for code in read["codes"]} == {"ws-218", "uscc"}


def test_a_second_live_code_of_a_kind_is_a_fault_and_leaves_the_row_undone(service: Service) -> None:
    who = admin(service)
    found = made(who, codes=[{"kind": "ws-218", "code": ws218()}, {"kind": "uscc", "code": credit()}])
    sent = send(who, file_of(f"新名,hospital,{LIXIA},{ws218()},{credit(2)},,,,"))
    assert faults(who, sent) == [("2", "", "code-in-use")]
    assert told(who.get(f"{PATH}/{found['institution_id']}")) == found
    assert acts(service, found["institution_id"]) == ["institution.added"]


def test_a_closed_institution_is_a_fault(service: Service) -> None:
    who = admin(service)
    there = made(who)["institution_id"]
    who.post(f"{PATH}/{there}/close", {"reason": "停业"})
    sent = send(who, file_of(f"新名,hospital,{LIXIA},{ws218()},,,,,"))
    assert faults(who, sent) == [("2", "", "closed")]


def test_a_region_operators_file_touches_the_branch_alone(service: Service) -> None:
    elsewhere = made(admin(service), region=BEIJING)
    who = operator(service, JINAN)
    mine = made(who, 2)
    rows = (
        f"抢来,hospital,{LIXIA},{ws218(1)},,,,,",
        f"外地,hospital,{BEIJING},{ws218(3)},,,,,",
        f"移出,hospital,{BEIJING},{ws218(2)},,,,,",
        f"新的,hospital,{LIXIA},{ws218(4)},,,,,",
    )
    sent = send(who, file_of(*rows))
    assert counts(sent) == (1, 0, 0, 3)
    assert faults(who, sent) == [
        ("2", "", "code-in-use"),
        ("3", "region", "outside-branch"),
        ("4", "region", "outside-branch"),
    ]
    for found in (elsewhere, mine):
        assert told(admin(service).get(f"{PATH}/{found['institution_id']}")) == found


def test_an_import_is_seen_by_who_sent_it_and_the_whole_trees_staff(service: Service) -> None:
    who = operator(service, JINAN)
    path = f"{IMPORTS}/{told(send(who, file_of('医院,zoo,370102,,,,A1,,')))['import_id']}"
    assert told(who.get(path))["bad"] == 1
    assert admin(service).get(f"{path}/errors").status_code == 200
    for tail in ("", "/errors"):
        assert problem(operator(service, JINAN).get(path + tail)) == (404, "institution-import-not-found")
        assert problem(service.staff(Role.SECURITY_ADMIN).get(path + tail)) == (403, "right-missing")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code"),
    [
        (b"", "text/csv", 422, "import-file"),
        (b"name,kind\nx,y\n", "text/csv", 422, "import-file"),
        (file_of(), "text/csv", 422, "import-file"),
        (file_of("x", header=HEADER + ",password"), "text/csv", 422, "import-file"),
        (file_of("x"), "application/json", 415, "unsupported-media-type"),
        (file_of("x"), "text/csv; charset=utf-16", 415, "unsupported-media-type"),
        (file_of("x" * 2**18), "text/csv", 413, "body-too-large"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_whole(
    service: Service, content: bytes, kind: str, status: int, code: str
) -> None:
    before = all_institutions(service)
    assert problem(send(admin(service), content, kind)) == (status, code)
    assert all_institutions(service) == before


def test_a_file_in_gb_18030_is_read(service: Service) -> None:
    content = file_of(f"第二医院,hospital,{LIXIA},{ws218()},,,,,").decode().encode("gb18030")
    assert counts(send(admin(service), content, "text/csv; charset=gb18030")) == (1, 0, 0, 0)
    assert counts(send(admin(service), content)) == (0, 0, 0, 1)


def test_who_may_not_write_imports_nothing(service: Service) -> None:
    sent = send(service.staff(Role.SECURITY_ADMIN), file_of(f"医院,hospital,{LIXIA},{ws218()},,,,,"))
    assert problem(sent) == (403, "right-missing")
    with service.session() as session:
        assert session.scalar(select(func.count()).select_from(InstitutionCodeRow)) == 2
