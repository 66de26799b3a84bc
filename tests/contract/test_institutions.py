"""Institutions over the API: who sees and changes which, their codes and states, and what apps are told."""

from threading import Barrier, Thread
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from ehc.access.institution_models import InstitutionCodeRow
from ehc.access.models import InstitutionRow
from ehc.access.tokens import RECHECK_SECONDS
from ehc.audit import AuditRow
from ehc.callers import Branch, Role
from tests.support.institutions import (
    BEIJING,
    JINAN,
    LIXIA,
    PATH,
    SHANDONG,
    admin,
    credit,
    hospital,
    made,
    operator,
    ws218,
)
from tests.support.service import Service, StaffApi, told

NOWHERE = "019a0000-0000-7000-8000-000000000000"


def problem(answer: Any) -> tuple[int, str]:
    found = told(answer)
    fields = found.get("errors")
    return answer.status_code, fields[0]["code"] if fields else found["code"]


def h1(service: Service) -> str:
    with service.session() as session:
        return str(session.scalars(select(InstitutionRow.id).where(InstitutionRow.code == "H1")).one())


def acts(service: Service, subject: str) -> list[str]:
    with service.session() as session:
        wanted = select(AuditRow.action).where(AuditRow.subject == subject).order_by(AuditRow.seq)
        return list(session.scalars(wanted))


def entries(service: Service, subject: str) -> str:
    with service.session() as session:
        return "\n".join(session.scalars(select(AuditRow.entry).where(AuditRow.subject == subject)))


def test_an_institution_is_made_read_and_found(service: Service) -> None:
    who = admin(service)
    codes = [{"kind": "ws-218", "code": ws218()}, {"kind": "uscc", "code": credit()}, {"kind": "local", "code": "A1"}]
    found = made(who, codes=codes, contacts={"name": "王主任", "phone": "0531-88881234"})
    assert (found["code"], found["state"], found["region_name"]) == (ws218(), "live", "历下区")
    assert {code["kind"]: code["code"] for code in found["codes"]} == {
        "ws-218": ws218(),
        "uscc": credit(),
        "local": "A1",
    }
    read = who.get(f"{PATH}/{found['institution_id']}")
    assert told(read) == found
    assert read.headers["ETag"] == '"1"'
    for query in (f"code={credit()}", "name=人民", f"region={JINAN}", "kind=hospital&region=370102"):
        assert [one["code"] for one in told(who.get(f"{PATH}?{query}"))["items"]] == [ws218()], query
    for query in ("code=A2", "name=%25", f"region={BEIJING}", "state=closed", "kind=pharmacy"):
        assert told(who.get(f"{PATH}?{query}"))["items"] == [], query


def test_contacts_rest_sealed_and_are_clear_for_who_may_change_them_and_their_own_staff_alone(service: Service) -> None:
    who = admin(service)
    contacts = {"name": "王主任", "phone": "0531-88881234", "email": "wang@example.org", "address": "经十路一号"}
    found = made(who, contacts=contacts)
    path = f"{PATH}/{found['institution_id']}"
    assert found["contacts"] == contacts
    own = service.staff(Role.INSTITUTION_OPERATOR, branch=Branch(institution_id=UUID(found["institution_id"])))
    assert told(own.get(path))["contacts"] == contacts
    masked = told(service.staff(Role.SECURITY_ADMIN).get(path))["contacts"]
    assert masked == {"name": "王**", "phone": "0531*******34", "email": "***", "address": "***"}
    with service.session() as session:
        kept = session.get_one(InstitutionRow, UUID(found["institution_id"])).contacts
    assert kept is not None
    assert "王主任".encode() not in kept
    told_of = entries(service, found["institution_id"])
    assert "王主任" not in told_of
    assert "88881234" not in told_of


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"region": "379999"}, "unknown-region"),
        ({"region": "37010"}, "characters"),
        ({"kind": "zoo"}, "choice"),
        ({"name": ""}, "length"),
        ({"name": "x" * 101}, "length"),
        ({"codes": []}, "length"),
        ({"codes": [{"kind": "ws-218", "code": ws218()[:8] + "Y" + ws218()[9:]}]}, "code-form"),
        ({"codes": [{"kind": "ws-218", "code": "1" + ws218()[1:]}]}, "code-check"),
        ({"state": "closed"}, "unknown-member"),
        ({"contacts": {"wechat": "x"}}, "unknown-member"),
    ],
)
def test_a_wrong_member_is_named(service: Service, changes: dict[str, Any], code: str) -> None:
    assert problem(admin(service).post(PATH, hospital() | changes)) == (422, code)


def test_one_code_leads_to_one_institution(service: Service) -> None:
    who = admin(service)
    made(who)
    assert problem(who.post(PATH, hospital())) == (409, "institution-code-in-use")
    two = [{"kind": "local", "code": "A1"}, {"kind": "local", "code": "A2"}]
    assert problem(who.post(PATH, hospital(codes=two))) == (409, "institution-code-in-use")
    assert problem(who.post(PATH, hospital(codes=[{"kind": "local", "code": "H1"}]))) == (
        409,
        "institution-code-in-use",
    )


def test_the_same_post_twice_makes_one(service: Service) -> None:
    who = admin(service)
    first = who.post(PATH, hospital(), Idempotency_Key="k1")
    again = who.post(PATH, hospital(), Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert told(first) == told(again)
    assert problem(admin(service).post(PATH, hospital(), Idempotency_Key="k1")) == (409, "institution-code-in-use")


@pytest.mark.parametrize(
    ("region", "seen"), [(SHANDONG, True), (JINAN, True), (LIXIA, True), ("370103", False), (BEIJING, False)]
)
def test_a_region_operator_sees_the_branch_and_nothing_else(service: Service, region: str, seen: bool) -> None:
    there = made(admin(service))["institution_id"]
    who = operator(service, region)
    assert [one["institution_id"] for one in told(who.get(PATH))["items"]] == [there] * seen
    path, codes = f"{PATH}/{there}", {"kind": "local", "code": "A1"}
    expected = (200, 200, 201, 201, 200) if seen else (404,) * 5
    answers = (
        who.get(path),
        who.call("PATCH", path, {"name": "新名"}, If_Match="*"),
        who.post(f"{path}/codes", codes),
        who.post(f"{path}/departments", {"name": "内科"}),
        who.post(f"{path}/suspend", {"reason": "检查"}),
    )
    assert tuple(answer.status_code for answer in answers) == expected
    if not seen:
        nowhere = told(who.get(f"{PATH}/{NOWHERE}")) | {"request_id": None}
        assert told(answers[0]) | {"request_id": None} == nowhere
        assert acts(service, there) == ["institution.added"]


def test_an_institution_without_a_region_is_seen_by_the_whole_trees_staff_alone(service: Service) -> None:
    there = h1(service)
    assert admin(service).get(f"{PATH}/{there}").status_code == 200
    assert operator(service).get(f"{PATH}/{there}").status_code == 404
    assert problem(operator(service).post(PATH, hospital() | {"region": None}))[0] == 422


def test_a_region_operator_makes_and_moves_none_elsewhere(service: Service) -> None:
    who = operator(service, JINAN)
    assert problem(who.post(PATH, hospital(region=BEIJING))) == (422, "outside-branch")
    assert problem(who.post(PATH, hospital(region=SHANDONG))) == (422, "outside-branch")
    path = f"{PATH}/{made(who)['institution_id']}"
    assert problem(who.call("PATCH", path, {"region": "370202"}, If_Match="*")) == (422, "outside-branch")
    assert who.call("PATCH", path, {"region": "370103"}, If_Match="*").status_code == 200


def test_an_institutions_own_staff_see_it_alone_and_change_nothing(service: Service) -> None:
    there, other = made(admin(service))["institution_id"], h1(service)
    for role in (Role.INSTITUTION_OPERATOR, Role.CLERK):
        who = service.staff(role, branch=Branch(institution_id=UUID(there)))
        assert [one["institution_id"] for one in told(who.get(PATH))["items"]] == [there]
        assert who.get(f"{PATH}/{other}").status_code == 404
        assert problem(who.call("PATCH", f"{PATH}/{there}", {"name": "新名"}, If_Match="*")) == (403, "right-missing")
        assert problem(who.post(PATH, hospital(2))) == (403, "right-missing")
        assert problem(who.post(f"{PATH}/{there}/close", {"reason": "停业"})) == (403, "right-missing")


def test_a_change_of_an_older_version_is_refused(service: Service) -> None:
    who = admin(service)
    path = f"{PATH}/{made(who)['institution_id']}"
    assert problem(who.call("PATCH", path, {"name": "甲"})) == (428, "precondition-required")
    assert problem(who.call("PATCH", path, {"name": "甲"}, If_Match="x")) == (422, "etag")
    first = who.call("PATCH", path, {"name": "甲"}, If_Match='"1"')
    assert (first.status_code, first.headers["ETag"]) == (200, '"2"')
    assert problem(who.call("PATCH", path, {"name": "乙"}, If_Match='"1"')) == (412, "precondition-failed")
    assert who.call("PATCH", path, {"name": "甲"}, If_Match='W/"2"').headers["ETag"] == '"2"'


def test_a_change_is_recorded_with_before_and_after(service: Service) -> None:
    who = admin(service)
    there = made(who)["institution_id"]
    changes = {"name": "新名", "static_codes": True, "contacts": {"name": "王主任"}}
    assert who.call("PATCH", f"{PATH}/{there}", changes, If_Match="*").status_code == 200
    who.call("PATCH", f"{PATH}/{there}", changes, If_Match="*")
    assert acts(service, there) == ["institution.added", "institution.changed"]
    entry = entries(service, there)
    for part in (f"staff:{who.id}", "第 1 人民医院", "新名", '"contacts":"changed"', '"static_allowed":false'):
        assert part in entry
    cleared = told(who.call("PATCH", f"{PATH}/{there}", {"contacts": None}, If_Match="*"))
    assert cleared["contacts"] == {}
    assert '"contacts":"removed"' in entries(service, there)


def test_two_changes_of_one_version_at_once_are_one(service: Service) -> None:
    who = admin(service)
    path = f"{PATH}/{made(who)['institution_id']}"
    answers = together(
        *(lambda n=n: who.call("PATCH", path, {"name": f"名{n}"}, If_Match='"1"').status_code for n in range(4))
    )
    assert sorted(answers) == [200, 412, 412, 412]


def test_one_code_taken_by_many_at_once_has_one_owner(service: Service) -> None:
    who = admin(service)
    owners = [made(who, serial)["institution_id"] for serial in range(1, 5)]
    code = {"kind": "uscc", "code": credit()}
    answers = together(*(lambda o=o: who.post(f"{PATH}/{o}/codes", code).status_code for o in owners))
    assert sorted(answers) == [201, 409, 409, 409]
    with service.session() as session:
        rows = session.scalars(select(InstitutionCodeRow).where(InstitutionCodeRow.kind == "uscc")).all()
    assert len(rows) == 1


def test_who_waits_for_an_institution_that_is_moved_out_of_the_branch_meanwhile_changes_nothing(
    service: Service,
) -> None:
    who = operator(service, JINAN)
    there = made(who)["institution_id"]
    answers: list[Any] = []

    def change() -> None:
        answers.append(problem(who.call("PATCH", f"{PATH}/{there}", {"name": "新名"}, If_Match="*")))

    thread = Thread(target=change)
    with service.session() as session:
        session.execute(text("UPDATE institution SET region = '370202' WHERE id = :id"), {"id": there})
        thread.start()
        with service.session() as watching:
            waits = text(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database"
                " WHERE datname = current_database()) OR NOT granted AND database IS NULL"
            )
            while not watching.scalar(waits):
                watching.execute(text("SELECT pg_sleep(0.02)"))
    thread.join()
    assert answers == [(404, "institution-not-found")]
    assert told(admin(service).get(f"{PATH}/{there}"))["name"] == "第 1 人民医院"


def test_an_institution_made_by_many_at_once_is_made_once(service: Service) -> None:
    who = admin(service)
    answers = together(*(lambda: who.post(PATH, hospital()).status_code for _ in range(4)))
    assert sorted(answers) == [201, 409, 409, 409]


def together(*acts: Any) -> list[Any]:
    """Each in a thread of its own, from one moment on."""
    barrier, answers = Barrier(len(acts)), []

    def run(act: Any) -> None:
        barrier.wait()
        answers.append(act())

    threads = [Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_code_ends_stays_in_the_history_and_can_go_to_another(service: Service) -> None:
    who = admin(service)
    first, second = made(who)["institution_id"], made(who, 2)["institution_id"]
    code = {"kind": "uscc", "code": credit(), "valid_from": "2020-01-01"}
    held = told(who.post(f"{PATH}/{first}/codes", code))
    assert held["valid_from"] == "2020-01-01"
    other = {"kind": "uscc", "code": credit(2)}
    assert problem(who.post(f"{PATH}/{first}/codes", other)) == (409, "institution-code-in-use")
    assert problem(who.post(f"{PATH}/{second}/codes", code)) == (409, "institution-code-in-use")
    end = f"{PATH}/{first}/codes/{held['code_id']}/end"
    assert problem(who.post(f"{PATH}/{second}/codes/{held['code_id']}/end")) == (404, "institution-code-not-found")
    assert problem(who.post(end, {"valid_until": "2019-12-31"})) == (422, "date-order")
    assert problem(who.post(end, {"valid_until": "2999-01-01"})) == (422, "date-future")
    ended = told(who.post(end, {"valid_until": "2024-06-30"}))
    assert ended["valid_until"] == "2024-06-30"
    assert told(who.post(end)) == ended
    assert who.post(f"{PATH}/{first}/codes", other).status_code == 201
    assert who.post(f"{PATH}/{second}/codes", code).status_code == 201
    history = told(who.get(f"{PATH}/{first}"))["codes"]
    assert [(row["code"], row["valid_until"]) for row in history if row["kind"] == "uscc"] == [
        (credit(2), None),
        (credit(), "2024-06-30"),
    ]
    assert acts(service, first).count("institution.code-ended") == 1


def test_the_code_an_institution_is_known_by_stays_its_own_when_it_has_ended(service: Service) -> None:
    who = admin(service)
    first, second = made(who), made(who, 2, codes=[{"kind": "local", "code": "A2"}])["institution_id"]
    path = f"{PATH}/{first['institution_id']}"
    assert who.post(f"{path}/codes/{first['codes'][0]['code_id']}/end").status_code == 200
    again = {"kind": "ws-218", "code": ws218()}
    assert problem(who.post(f"{PATH}/{second}/codes", again)) == (409, "institution-code-in-use")
    assert problem(who.post(PATH, hospital(3, codes=[again]))) == (409, "institution-code-in-use")
    assert told(who.get(path))["code"] == ws218()
    assert who.post(f"{path}/codes", again).status_code == 201


def test_a_code_valid_from_a_day_to_come_is_refused(service: Service) -> None:
    who = admin(service)
    code = {"kind": "local", "code": "A1", "valid_from": "2999-01-01"}
    assert problem(who.post(f"{PATH}/{made(who)['institution_id']}/codes", code)) == (422, "date-future")


def still(service: Service, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """As if so much time had passed since the service last looked a client up."""
    monkeypatch.setattr("ehc.access.tokens.RECHECK_SECONDS", RECHECK_SECONDS - seconds)


def test_terminals_of_a_suspended_institution_are_refused_within_ten_seconds(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    who, there = admin(service), h1(service)
    card = service.app.register()["card_id"]
    code = service.app.code(card)
    service.terminal.scan(code)
    assert who.post(f"{PATH}/{there}/suspend", {"reason": "安全检查"}).status_code == 200
    form = {"grant_type": "client_credentials", **vars(service.terminal.credentials)}
    assert told(service.client().post("/oauth/token", data=form))["error"] == "invalid_client"
    assert RECHECK_SECONDS <= 10
    still(service, monkeypatch, RECHECK_SECONDS)
    body = {"code": code, "step": "registration"}
    assert service.terminal.post("/v1/verifications", body).status_code == 401
    assert service.second_terminal.post("/v1/verifications", body).status_code == 200
    assert who.post(f"{PATH}/{there}/resume", {"reason": "已整改"}).status_code == 200
    assert service.terminal.post("/v1/verifications", body).status_code == 200
    assert acts(service, there)[-2:] == ["institution.suspended", "institution.resumed"]


def test_looking_a_terminal_up_takes_one_statement(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    still(service, monkeypatch, RECHECK_SECONDS)
    service.app.get("/v1/institutions")  # the keys are loaded
    with service.statements() as seen:
        service.terminal.get("/v1/institutions")
    before = seen[: next(place for place, one in enumerate(seen) if "ORDER BY institution.created_at" in one)]
    assert [one.split()[0] for one in before if "BEGIN" not in one and "COMMIT" not in one] == ["SELECT"]
    assert "LEFT OUTER JOIN institution ON institution.id = client.institution_id" in " ".join(before[-1].split())


def test_what_is_closed_stays_closed(service: Service) -> None:
    who = admin(service)
    found = made(who)
    path, reason = f"{PATH}/{found['institution_id']}", {"reason": "停业"}
    assert told(who.post(f"{path}/close", reason))["state"] == "closed"
    assert told(who.post(f"{path}/close", reason))["state"] == "closed"
    for move in ("suspend", "resume"):
        assert problem(who.post(f"{path}/{move}", reason)) == (409, "institution-state")
    assert problem(who.call("PATCH", path, {"name": "新名"}, If_Match="*")) == (409, "institution-state")
    code = {"kind": "local", "code": "A1"}
    assert problem(who.post(f"{path}/codes", code)) == (409, "institution-state")
    assert problem(who.post(f"{path}/departments", {"name": "内科"})) == (409, "institution-state")
    assert who.post(f"{path}/codes/{found['codes'][0]['code_id']}/end").status_code == 200
    assert acts(service, found["institution_id"]).count("institution.closed") == 1


@pytest.mark.parametrize("move", ["suspend", "close", "resume"])
def test_every_move_asks_for_a_fresh_proof(service: Service, move: str) -> None:
    who = admin(service)
    path = f"{PATH}/{made(who)['institution_id']}"
    service.clock.advance(300)
    assert problem(who.post(f"{path}/{move}", {"reason": "检查"})) == (403, "proof-too-old")


def test_a_list_is_read_page_by_page(service: Service) -> None:
    who = admin(service)
    for serial in range(1, 6):
        made(who, serial)
        service.clock.advance(serial == 3)  # two pages break within one moment
    seen: list[str] = []
    cursor = ""
    while True:
        page = told(who.get(f"{PATH}?region={SHANDONG}&limit=2{cursor}"))
        seen += [one["code"] for one in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert sorted(seen) == sorted(ws218(serial) for serial in range(1, 6))
    assert set(seen[:2]) == {ws218(4), ws218(5)}


def test_regions_are_read_from_the_top_of_the_branch_down(service: Service) -> None:
    def codes(who: StaffApi, query: str = "") -> list[str]:
        return [one["code"] for one in told(who.get(f"/v1/admin/regions{query}"))["items"]]

    assert len(codes(admin(service))) == 34
    who = operator(service, JINAN)
    assert codes(who) == [JINAN]
    assert LIXIA in codes(who, f"?parent={JINAN}")
    assert codes(who, f"?parent={LIXIA}") == []
    for outside in (SHANDONG, BEIJING, "370200", "999999"):
        assert problem(who.get(f"/v1/admin/regions?parent={outside}")) == (404, "region-not-found")
    assert problem(who.get("/v1/admin/regions?parent=1")) == (422, "characters")
    there = made(who)["institution_id"]
    own = service.staff(Role.CLERK, branch=Branch(institution_id=UUID(there)))
    assert codes(own) == [LIXIA]
    lost = service.staff(Role.CLERK, branch=Branch(institution_id=UUID(h1(service))))
    assert problem(lost.get("/v1/admin/regions")) == (404, "region-not-found")


def test_the_standard_departments_are_there(service: Service) -> None:
    found = told(admin(service).get("/v1/admin/standard-departments"))["items"]
    assert {"code": "0301", "name": "呼吸内科专业", "parent": "03"} in found


def test_apps_and_terminals_find_live_institutions_without_contacts(service: Service) -> None:
    who = admin(service)
    found = made(who, contacts={"name": "王主任"})
    there = found["institution_id"]
    made(who, 2, region=BEIJING)
    department = told(who.post(f"{PATH}/{there}/departments", {"name": "内科", "standard_code": "0300"}))
    for client in (service.app, service.terminal):
        assert [one["code"] for one in told(client.get(f"/v1/institutions?region={SHANDONG}"))["items"]] == [ws218()]
        read = told(client.get(f"/v1/institutions/{there}"))
        assert read["departments"] == [department]
        assert {"contacts", "codes", "static_codes"}.isdisjoint(read)
    who.post(f"{PATH}/{there}/suspend", {"reason": "检查"})
    assert told(service.app.get(f"/v1/institutions?region={SHANDONG}"))["items"] == []
    assert told(service.app.get(f"/v1/institutions/{there}"))["state"] == "suspended"
    assert problem(service.app.get(f"/v1/institutions/{NOWHERE}")) == (404, "institution-not-found")
    assert problem(service.app.get("/v1/institutions?state=closed")) == (422, "unknown-member")
    assert service.client().get("/v1/institutions").status_code == 401
    assert who.get("/v1/institutions").status_code == 401
    assert service.app.get(PATH).status_code == 401


def test_the_staff_of_the_audit_see_no_institutions(service: Service) -> None:
    assert problem(service.staff(Role.AUDIT_ADMIN).get(PATH)) == (403, "right-missing")


def test_whoever_set_nothing_up_yet_may_nothing(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN, limited=True)
    assert problem(who.get(PATH)) == (403, "first-steps-missing")


def test_the_database_keeps_a_region_that_an_institution_lies_in(service: Service) -> None:
    made(admin(service))
    with pytest.raises(Exception, match="fk_institution_region"), service.session() as session:
        session.execute(text("DELETE FROM region WHERE code = :code"), {"code": LIXIA})
