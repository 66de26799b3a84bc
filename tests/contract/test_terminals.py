"""Terminals after they are enrolled: what they say of themselves, what the staff change, and what stops when."""

import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from ehc.access.models import InstitutionRow
from ehc.access.terminal_models import ClientKeyRow, TerminalRow
from ehc.access.tokens import RECHECK_SECONDS
from ehc.audit import AuditRow
from ehc.callers import Branch, Role
from ehc.web.answers import instant
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import at_once, problem, wrong
from tests.support.service import Service, StaffApi
from tests.support.service import told as answered
from tests.support.terminals import ADMIN, ENROLMENTS, KeyTerminal, enrolling, institution_id, new_key

RELEASES = "/v1/admin/terminal-releases"
SELF, BEAT = "/v1/terminals/self", "/v1/terminals/heartbeat"


@pytest.fixture
def admin(service: Service) -> StaffApi:
    return service.staff(Role.SYSTEM_ADMIN)


@pytest.fixture
def window(service: Service) -> KeyTerminal:
    return KeyTerminal.enrolled(service, steps=["registration", "payment"]).log_in()


def operator(service: Service, institution: str = "H1") -> StaffApi:
    branch = Branch(institution_id=UUID(institution_id(service, institution)))
    return service.staff(Role.INSTITUTION_OPERATOR, branch=branch)


def beat(terminal: KeyTerminal, *, version: str = "1.0", ahead: float = 0) -> dict[str, Any]:
    clock = terminal.service.clock.now() + timedelta(seconds=ahead)
    answer = terminal.post(BEAT, {"version": version, "clock": clock.isoformat()})
    assert answer.status_code == 200, answer.text
    return answered(answer)


def row_of(service: Service, terminal: KeyTerminal) -> dict[str, Any]:
    with service.session() as session:
        row = session.get_one(TerminalRow, UUID(terminal.id))
        return {name: getattr(row, name) for name in ("version", "seen_at", "heartbeat_at", "clock_offset_ms")}


# Heartbeats


@pytest.mark.parametrize(
    ("ahead", "good"), [(0, True), (2, True), (2.001, False), (-2, True), (-2.001, False), (86_400, False)]
)
def test_a_terminal_is_told_how_far_its_clock_is_off(window: KeyTerminal, ahead: float, good: bool) -> None:
    told = beat(window, ahead=ahead)
    assert (told["clock_offset_ms"], told["clock_ok"], told["clock_limit_ms"]) == (round(ahead * 1000), good, 2000)
    assert told["server_time"] == instant(window.service.clock.now())
    assert told["configuration"]["steps"] == ["registration", "payment"]


@pytest.mark.parametrize("clock", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_clock_may_be_as_wrong_as_a_calendar_allows(window: KeyTerminal, clock: str) -> None:
    answer = window.post(BEAT, {"version": "1", "clock": clock})
    assert (answer.status_code, answered(answer)["clock_ok"]) == (200, False)


@pytest.mark.parametrize("version", ["", "1.", ".1", "1.2.3.4.5", "1234567", "v1", "1.0-beta", "１", "1\n", 1])
def test_a_version_is_numbers_with_points(window: KeyTerminal, version: Any) -> None:
    answer = window.post(BEAT, {"version": version, "clock": "2026-01-09T16:00:00+08:00"})
    assert wrong(answer)[0][0] == "/version"


def test_a_clock_without_an_offset_is_refused(window: KeyTerminal) -> None:
    assert wrong(window.post(BEAT, {"version": "1", "clock": "2026-01-09T16:00:00"})) == [("/clock", "datetime")]


def test_a_heartbeat_is_written_once_in_ten_seconds_unless_the_version_changes(
    service: Service, window: KeyTerminal
) -> None:
    beat(window)
    first = row_of(service, window)
    assert (first["version"], first["heartbeat_at"], first["seen_at"]) == (
        "1.0",
        service.clock.now(),
        service.clock.now(),
    )
    service.clock.advance(9)
    beat(window, ahead=5)
    assert row_of(service, window) == first
    beat(window, version="1.1", ahead=5)
    assert row_of(service, window)["version"] == "1.1"
    service.clock.advance(10)
    beat(window, version="1.1", ahead=1)
    assert row_of(service, window)["clock_offset_ms"] == 1000


def test_a_check_does_not_write_that_a_terminal_was_seen(service: Service, window: KeyTerminal) -> None:
    code = service.app.code(service.app.register()["card_id"])
    service.clock.advance(5)
    with service.statements() as statements:
        assert window.post("/v1/verifications", {"code": code, "step": "payment"}).status_code == 200
    assert not any("UPDATE terminal" in statement or "FROM terminal" in statement for statement in statements)


def test_an_app_sends_no_heartbeat(service: Service) -> None:
    for answer in (service.app.get(SELF), service.app.post(BEAT, {"version": "1", "clock": "2026-01-09T16:00:00Z"})):
        assert problem(answer) == (403, "insufficient-scope")


def test_a_terminal_with_a_secret_has_a_configuration_too(service: Service) -> None:
    told = answered(service.terminal.get(SELF))
    assert (told["terminal_code"], told["institution"]) == ("T1", "第一医院")
    assert (told["configuration"]["kind"], told["configuration"]["steps"]) == ("window", None)


# Steps


def test_a_terminal_checks_at_its_steps_alone(service: Service, window: KeyTerminal) -> None:
    code = service.app.code(service.app.register()["card_id"])
    for step in ("surgery", "010107", "other"):
        answer = window.post("/v1/verifications", {"code": code, "step": step})
        assert problem(answer) == (403, "step-not-allowed")
    for step in ("payment", "010105"):
        answer = window.post("/v1/verifications", {"code": code, "step": step})
        assert answered(answer)["outcome"] == "accepted"  # the refused ones have not spent it


def test_a_terminal_without_a_limit_checks_at_every_step(service: Service) -> None:
    assert (
        service.terminal.scan(service.app.code(service.app.register()["card_id"]), "surgery")["outcome"] == "accepted"
    )


# The staff's side


def test_staff_see_their_branch_alone(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    def seen(staff: StaffApi, query: str = "") -> set[str]:
        return {item["terminal_code"] for item in answered(staff.get(ADMIN + query))["items"]}

    mine, other = window.about["terminal_code"], operator(service, "H2")
    assert seen(admin) == {"T1", "T2", mine}
    assert seen(operator(service)) == {"T1", mine}
    assert seen(other) == {"T2"}
    assert seen(other, f"?institution_id={institution_id(service)}") == set()
    path = f"{ADMIN}/{window.id}"
    for answer in (
        other.get(path),
        other.call("PATCH", path, {"name": "x"}, If_Match='"1"'),
        other.post(f"{path}/block", {"reason": "stolen"}),
        other.post(f"{path}/unblock"),
        other.post(f"{path}/replace"),
    ):
        assert problem(answer) == (404, "terminal-not-found")


def test_region_staff_see_the_institutions_of_their_region(service: Service, window: KeyTerminal) -> None:
    with service.session() as session:
        session.execute(update(InstitutionRow).where(InstitutionRow.code == "H1").values(region="370102"))
        session.execute(update(InstitutionRow).where(InstitutionRow.code == "H2").values(region="320102"))
    staff = service.staff(Role.REGION_OPERATOR, branch=Branch(region="370000"))
    found = answered(staff.get(ADMIN))["items"]
    assert {item["terminal_code"] for item in found} == {"T1", window.about["terminal_code"]}
    other = service.staff(Role.REGION_OPERATOR, branch=Branch(region="320000"))
    assert problem(other.post(f"{ADMIN}/{window.id}/block", {"reason": "stolen"})) == (404, "terminal-not-found")
    wanted = {"institution_id": institution_id(service), "terminal_code": "X", "name": "窗口", "kind": "window"}
    assert problem(other.post(ENROLMENTS, wanted)) == (404, "institution-not-found")
    assert staff.post(ENROLMENTS, wanted).status_code == 201


def test_the_list_goes_by_state_and_kind_and_page(service: Service, admin: StaffApi) -> None:
    made = []
    for kind in ("kiosk", "gate", "kiosk"):
        service.clock.advance(1)
        made.append(KeyTerminal.enrolled(service, kind=kind))
    admin.post(f"{ADMIN}/{made[2].id}/block", {"reason": "lost"})

    def ids(query: str) -> list[str]:
        return [item["terminal_id"] for item in answered(admin.get(f"{ADMIN}?{query}"))["items"]]

    assert ids("kind=kiosk") == [made[2].id, made[0].id]
    assert ids("kind=kiosk&state=live") == [made[0].id]
    assert ids("state=blocked") == [made[2].id]
    assert ids("state=replaced") == []
    first = answered(admin.get(f"{ADMIN}?limit=2"))
    second = answered(admin.get(f"{ADMIN}?limit=10&cursor={first['next']}"))
    assert [item["terminal_id"] for item in first["items"]] == [made[2].id, made[1].id]
    assert (len(second["items"]), second["next"]) == (3, None)
    assert wrong(admin.get(f"{ADMIN}?state=gone")) == [("/state", "choice")]


def test_a_change_goes_to_the_version_that_was_read(admin: StaffApi, window: KeyTerminal) -> None:
    path = f"{ADMIN}/{window.id}"
    read = admin.get(path)
    assert problem(admin.call("PATCH", path, {"name": "二号窗口"})) == (428, "precondition-required")
    changed = admin.call("PATCH", path, {"name": "二号窗口", "department": "0300"}, If_Match=read.headers["ETag"])
    assert (changed.status_code, answered(changed)["name"], answered(changed)["department"]) == (
        200,
        "二号窗口",
        "0300",
    )
    again = admin.call("PATCH", path, {"name": "三号窗口"}, If_Match=read.headers["ETag"])
    assert problem(again) == (412, "precondition-failed")
    cleared = admin.call("PATCH", path, {"department": None, "steps": None}, If_Match=changed.headers["ETag"])
    assert (answered(cleared)["department"], answered(cleared)["steps"]) == (None, None)


@pytest.mark.parametrize(
    "body", [{"steps": []}, {"steps": ["no-step"]}, {"kind": "fridge"}, {"name": ""}, {"name": None}]
)
def test_a_change_that_is_none_is_refused(admin: StaffApi, window: KeyTerminal, body: dict[str, Any]) -> None:
    answer = admin.call("PATCH", f"{ADMIN}/{window.id}", body, If_Match='"1"')
    assert problem(answer) == (422, "invalid-request")


def test_of_two_changes_at_once_one_wins(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    def change(name: str) -> Callable[[], int]:
        staff = StaffApi(service.client(), admin.id, admin.token)
        return lambda: staff.call("PATCH", f"{ADMIN}/{window.id}", {"name": name}, If_Match='"1"').status_code

    assert sorted(at_once(*(change(f"窗口{n}") for n in range(4)))) == [200, 412, 412, 412]


def test_every_change_is_audited_before_and_after(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    admin.call("PATCH", f"{ADMIN}/{window.id}", {"steps": ["surgery"]}, If_Match='"1"')
    admin.post(f"{ADMIN}/{window.id}/block", {"reason": "stolen"})
    admin.post(f"{ADMIN}/{window.id}/unblock")
    with service.session() as session:
        mine = AuditRow.subject == window.about["client_id"]
        found = session.execute(select(AuditRow.action, AuditRow.entry).where(mine))
        entries = {row.action: row.entry for row in found}
    for action, before, after in (
        ("terminal.changed", '"steps":["registration","payment"]', '"steps":["surgery"]'),
        ("terminal.blocked", '"state":"live"', '"block_reason":"stolen"'),
        ("terminal.unblocked", '"state":"blocked"', '"state":"live"'),
    ):
        entry = entries[action].replace('": ', '":').replace(", ", ",")
        assert f"staff:{admin.id}" in entry
        assert before in entry, entry
        assert after in entry, entry


def test_blocking_twice_is_blocking_once(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    first = answered(admin.post(f"{ADMIN}/{window.id}/block", {"reason": "stolen"}))
    second = answered(admin.post(f"{ADMIN}/{window.id}/block", {"reason": "other"}))
    assert first == second
    assert (first["state"], first["block_reason"]) == ("blocked", "stolen")


def test_unblocking_asks_for_a_fresh_proof_and_gives_the_key_back(
    service: Service, admin: StaffApi, window: KeyTerminal
) -> None:
    admin.post(f"{ADMIN}/{window.id}/block", {"reason": "lost"})
    assert window.ask().status_code == 401
    service.clock.advance(301)
    assert problem(admin.post(f"{ADMIN}/{window.id}/unblock")) == (403, "proof-too-old")
    assert answered(service.staff(Role.SYSTEM_ADMIN).post(f"{ADMIN}/{window.id}/unblock"))["state"] == "live"
    assert window.log_in().get(SELF).status_code == 200


# A stolen terminal


def test_a_blocked_terminal_gets_no_token_from_that_moment(admin: StaffApi, window: KeyTerminal) -> None:
    assert window.ask().status_code == 200
    admin.post(f"{ADMIN}/{window.id}/block", {"reason": "stolen"})
    assert window.ask().status_code == 401


def test_a_blocked_terminal_is_refused_within_ten_seconds_at_every_worker(
    service: Service, worker: WorkerMaker, admin: StaffApi, window: KeyTerminal
) -> None:
    """By the real clock: two workers that both looked the terminal up just before it was blocked."""
    workers = [service.client(), worker(service).client()]
    for http in workers:
        assert window.get(SELF, http=http).status_code == 200
    admin.post(f"{ADMIN}/{window.id}/block", {"reason": "stolen"})
    blocked = time.monotonic()
    stopped: dict[int, float] = {}
    while len(stopped) < len(workers) and time.monotonic() < blocked + 15:
        for number, http in enumerate(workers):
            asked = time.monotonic()
            if window.get(SELF, http=http).status_code == 401:
                stopped.setdefault(number, asked)
            else:
                assert asked - blocked <= RECHECK_SECONDS
        time.sleep(0.02)
    assert RECHECK_SECONDS == 10
    assert len(stopped) == 2
    assert window.get(SELF, http=workers[0]).status_code == 401
    assert window.ask(http=workers[1]).status_code == 401


def test_a_terminal_that_is_blocked_while_it_gets_a_token_has_one_that_is_refused(
    service: Service, admin: StaffApi
) -> None:
    """The token was given before the block; a worker that has not seen it looks the client up and refuses it."""
    terminal = KeyTerminal.enrolled(service).log_in()
    admin.post(f"{ADMIN}/{terminal.id}/block", {"reason": "stolen"})
    assert problem(terminal.get(SELF)) == (401, "token-invalid")


# Replacing


def replaced(service: Service, admin: StaffApi, old: str) -> KeyTerminal:
    made, key = answered(admin.post(f"{ADMIN}/{old}/replace")), new_key()
    answer = service.client().post("/v1/terminals/enrol", json=enrolling(service, made["code"], key))
    assert answer.status_code == 201, answer.text
    return KeyTerminal(service.client(), service, key, answered(answer))


def test_a_new_terminal_takes_the_place_and_code_and_the_old_key_ends(
    service: Service, worker: WorkerMaker, admin: StaffApi, window: KeyTerminal
) -> None:
    fresh = worker(service).client()
    new = replaced(service, admin, window.id)
    assert new.about["terminal_code"] == window.about["terminal_code"]
    assert new.about["configuration"]["steps"] == ["registration", "payment"]
    assert new.id != window.id
    assert window.ask().status_code == 401
    assert window.get(SELF, http=fresh).status_code == 401
    assert new.log_in().get(SELF).status_code == 200
    old = answered(admin.get(f"{ADMIN}/{window.id}"))
    assert (old["state"], old["replaced_by"]) == ("replaced", new.id)
    assert old["terminal_code"].startswith(new.about["terminal_code"] + "/")
    with service.session() as session:
        ended = select(ClientKeyRow.ended_at).where(ClientKeyRow.client_id == UUID(window.id))
        assert session.scalar(ended) == service.clock.now()
        acts = set(session.scalars(select(AuditRow.action).where(AuditRow.subject == window.about["client_id"])))
    assert "terminal.replaced" in acts


def test_until_the_new_one_enrols_the_old_one_works(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    assert admin.post(f"{ADMIN}/{window.id}/replace").status_code == 201
    assert window.ask().status_code == 200


def test_a_terminal_with_a_secret_is_replaced_by_one_with_a_key(service: Service, admin: StaffApi) -> None:
    (old,) = (item for item in answered(admin.get(ADMIN))["items"] if item["terminal_code"] == "T1")
    new = replaced(service, admin, old["terminal_id"])
    assert new.about["terminal_code"] == "T1"
    form = {"grant_type": "client_credentials", **vars(service.terminal.credentials)}
    assert service.client().post("/oauth/token", data=form).status_code == 401


def test_a_replaced_terminal_stays_replaced(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    replaced(service, admin, window.id)
    path = f"{ADMIN}/{window.id}"
    for answer in (
        admin.post(f"{path}/block", {"reason": "other"}),
        admin.post(f"{path}/unblock"),
        admin.post(f"{path}/replace"),
        admin.call("PATCH", path, {"name": "x"}, If_Match='"1"'),
    ):
        assert problem(answer) == (409, "terminal-state")


def test_of_two_replacements_at_once_one_takes_the_place(service: Service, admin: StaffApi) -> None:
    for _ in range(5):
        old = KeyTerminal.enrolled(service)
        codes = [answered(admin.post(f"{ADMIN}/{old.id}/replace"))["code"] for _ in range(3)]
        bodies = [enrolling(service, code, new_key()) for code in codes]

        def enrol(body: dict[str, Any]) -> Callable[[], int]:
            return lambda: service.client().post("/v1/terminals/enrol", json=body).status_code

        assert sorted(at_once(*map(enrol, bodies))) == [201, 409, 409]


def test_a_replacement_races_a_block_and_both_hold(service: Service, admin: StaffApi) -> None:
    for _ in range(5):
        old = KeyTerminal.enrolled(service)
        body = enrolling(service, answered(admin.post(f"{ADMIN}/{old.id}/replace"))["code"], new_key())
        staff = StaffApi(service.client(), admin.id, admin.token)
        path = f"{ADMIN}/{old.id}/block"
        enrols = partial(service.client().post, "/v1/terminals/enrol", json=body)
        answers = [answer.status_code for answer in at_once(enrols, partial(staff.post, path, {"reason": "stolen"}))]
        assert answers[0] == 201
        assert answers[1] in {200, 409}
        assert old.ask().status_code == 401


# Reports


def test_the_report_names_silent_outdated_and_wrong_clocks(service: Service, admin: StaffApi) -> None:
    good, outdated, clock, silent = (KeyTerminal.enrolled(service, kind="gate") for _ in range(4))
    assert admin.post(RELEASES, {"kind": "gate", "version": "1.10"}).status_code == 200
    service.clock.advance(61 * 60)
    for terminal, version, ahead in ((good, "1.10", 0), (outdated, "1.9", 0), (clock, "2", 3)):
        beat(terminal.log_in(), version=version, ahead=ahead)

    def faults(query: str = "") -> dict[str, list[str]]:
        items = answered(service.staff(Role.SYSTEM_ADMIN).get(f"{ADMIN}/attention{query}"))["items"]
        return {item["terminal_id"]: item["faults"] for item in items if item["kind"] == "gate"}

    expected = {outdated.id: ["outdated"], clock.id: ["clock"], silent.id: ["silent", "outdated"]}
    assert faults() == expected
    assert faults("?silent_minutes=62") == expected | {silent.id: ["outdated"]}
    assert wrong(admin_get(service, f"{ADMIN}/attention?silent_minutes=14")) == [("/silent_minutes", "range")]
    service.staff(Role.SYSTEM_ADMIN).post(f"{ADMIN}/{silent.id}/block", {"reason": "retired"})
    assert silent.id not in faults()


def admin_get(service: Service, path: str) -> Any:
    return service.staff(Role.SYSTEM_ADMIN).get(path)


def test_the_report_keeps_to_the_branch(service: Service) -> None:
    KeyTerminal.enrolled(service)
    service.clock.advance(3700)
    items = answered(operator(service, "H2").get(f"{ADMIN}/attention"))["items"]
    assert [item["terminal_code"] for item in items] == ["T2"]


def test_the_newest_software_is_told_with_the_configuration(
    service: Service, admin: StaffApi, window: KeyTerminal
) -> None:
    admin.post(RELEASES, {"kind": "window", "version": "3.1"})
    admin.post(RELEASES, {"kind": "window", "version": "3.2"})
    assert beat(window)["configuration"]["newest_version"] == "3.2"
    assert [(r["kind"], r["version"]) for r in answered(admin.get(RELEASES))["items"]] == [("window", "3.2")]
    assert problem(operator(service).post(RELEASES, {"kind": "window", "version": "9"})) == (403, "branch-too-small")
    assert wrong(admin.post(RELEASES, {"kind": "window", "version": "9.x"})) == [("/version", "characters")]


def test_a_client_is_no_staff_and_staff_are_no_terminal(service: Service, admin: StaffApi, window: KeyTerminal) -> None:
    assert window.get(ADMIN).status_code == 401
    assert admin.get(SELF).status_code == 401
    assert service.client().get(ADMIN).status_code == 401
