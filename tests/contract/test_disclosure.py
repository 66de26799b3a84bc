"""What a check tells by the table of disclosure, and the table itself: two people, versions, ten seconds, no widening."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from ehc.access.models import InstitutionRow
from ehc.callers import Branch, Role
from ehc.commands import main
from ehc.keystore import refreshed
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import problem, wrong
from tests.support import national, plastic
from tests.support.service import Service, person, told
from tests.support.two_people import APPROVALS, TABLE, approved, new_table, pair, proposed, rule

ADDRESS = "山东省青岛市市南区香港中路十号"
EVERYTHING = {
    "name": "clear",
    "sex": "clear",
    "age": "clear",
    "birth_date": "clear",
    "id_number": "clear",
    "phone": "clear",
    "address": "clear",
    "nation": "clear",
    "guardian": "masked",
    "patient_id": "clear",
}
DEFAULT = {"name", "sex", "age"}
Timer = Callable[[float], None]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Timer:
    """Lets the time of workers pass, by which they reload. Ask for it before the service."""
    now = [1000.0]
    made = refreshed.Refreshed.__init__

    def timed(self: Any, load: Any, *, every: float = 10.0, timer: Any = None) -> None:
        made(self, load, every=every, timer=lambda: now[0])

    monkeypatch.setattr(refreshed.Refreshed, "__init__", timed)

    def passed(seconds: float) -> None:
        now[0] += seconds

    return passed


def in_force(service: Service, wait: Timer, *rules: dict[str, Any]) -> None:
    """A new version, which every worker has."""
    new_table(service, *rules)
    wait(10)
    service.clock.advance(11)


def scan(service: Service, card: dict[str, Any], step: str = "other", **more: Any) -> dict[str, Any]:
    return service.terminal.scan(service.app.code(card["card_id"]), step, **more)


def entries(service: Service, card: dict[str, Any]) -> list[Any]:
    return list(told(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"])


def test_before_any_version_the_shipped_rows_decide(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1, nation="01"))
    assert set(scan(service, card)["resident"]) == DEFAULT
    assert scan(service, card, "registration")["resident"]["name"] == "王**"
    surgery = scan(service, card, "surgery")["resident"]
    assert (surgery["name"], surgery["birth_date"]) == ("王小明", "1990-03-07")
    inpatient = scan(service, card, "inpatient")["resident"]
    assert (inpatient["phone"], inpatient["nation"], "id_number" in inpatient) == ("138****8000", "01", False)
    disclosed = [entry["disclosed"] for entry in entries(service, card) if entry["step"] == "inpatient"]
    assert disclosed == [["name", "sex", "age", "birth_date", "phone:masked", "nation"]]


def test_every_field_is_told_in_its_form_and_recorded_with_the_version(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1, address=ADDRESS, nation="01"))
    masked = dict.fromkeys(("name", "birth_date", "id_number", "phone", "address"), "masked")
    in_force(service, wait, rule(EVERYTHING, step="surgery"), rule(masked, step="payment"))
    clear = scan(service, card, "surgery")["resident"]
    assert clear == {
        "name": "王小明",
        "sex": clear["sex"],
        "age": clear["age"],
        "birth_date": "1990-03-07",
        "id_type": "01",
        "id_number": person(1)["id_number"],
        "phone": "13800138000",
        "address": ADDRESS,
        "nation": "01",
    }
    service.clock.advance(1)
    assert scan(service, card, "payment")["resident"] == {
        "name": "王**",
        "birth_date": "1990-**-**",
        "id_type": "01",
        "id_number": "1101************" + person(1)["id_number"][-2:],
        "phone": "138****8000",
        "address": "山东省青岛市******",
    }
    second, first = entries(service, card)
    words = ["name", "sex", "age", "birth_date", "id_number", "phone", "address", "nation"]
    assert first["disclosed"] == words
    assert second["disclosed"] == [f"{word}:masked" for word in words if word in masked]
    log = told(service.app.get(f"/v1/cards/{card['card_id']}/access-log"))["items"]
    assert [item["fields"] for item in log if item["kind"] == "check"] == [second["disclosed"], first["disclosed"]]
    with service.session() as session:
        assert set(session.scalars(text("SELECT disclosure_version FROM verification"))) == {1}


def test_a_member_that_is_not_known_is_null(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1))
    in_force(service, wait, rule(EVERYTHING))
    resident = scan(service, card)["resident"]
    assert (resident["address"], resident["nation"]) == (None, None)


def test_more_exact_rows_win_at_the_scanner(wait: Timer, service: Service) -> None:
    with service.session() as session:
        rows = {row.code: row for row in session.query(InstitutionRow)}
        ids = {code: row.id for code, row in rows.items()}
        for row in rows.values():
            row.kind = "hospital"
    card = service.app.register(**person(1))
    in_force(
        service,
        wait,
        rule({"name": "masked", "sex": "clear"}),
        rule({"name": "masked", "age": "clear"}, kind="hospital"),
        rule({"name": "masked"}, kind="hospital", step="payment"),
        rule({"name": "clear"}, institution_id=str(ids["H1"])),
    )
    assert scan(service, card, "payment")["resident"] == {"name": "王小明"}
    code = service.app.code(card["card_id"])
    assert set(service.second_terminal.scan(code, "payment")["resident"]) == {"name"}
    code = service.app.code(card["card_id"])
    assert set(service.second_terminal.scan(code, "surgery")["resident"]) == {"name", "age"}


def test_rows_come_and_go_by_the_clock(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1))
    now = service.clock.now()
    bounds = {
        "valid_from": (now + timedelta(seconds=10)).isoformat(),
        "valid_until": (now + timedelta(seconds=20)).isoformat(),
    }
    new_table(service, rule({"name": "clear"}, **bounds))
    names = []
    for _ in range(4):
        names.append(scan(service, card)["resident"]["name"])
        service.clock.advance(9.999 if len(names) == 1 else 0.001 if len(names) == 2 else 10)
    assert names == ["王**", "王**", "王小明", "王**"]


def test_a_new_version_is_in_force_on_every_worker_within_ten_seconds(
    wait: Timer, service: Service, worker: WorkerMaker
) -> None:
    card, other = service.app.register(**person(1)), worker(service)
    both = service, other
    assert [scan(each, card)["resident"]["name"] for each in both] == ["王**"] * 2
    new_table(service, rule({"name": "clear"}))
    assert [scan(each, card)["resident"]["name"] for each in both] == ["王**"] * 2
    wait(10)
    assert [scan(each, card)["resident"]["name"] for each in both] == ["王小明"] * 2
    new_table(other, rule({"name": "masked"}))
    wait(4.9)
    assert [scan(each, card)["resident"]["name"] for each in both] == ["王小明"] * 2
    wait(5.1)  # a worker reads it anew twice as often as that
    assert [scan(each, card)["resident"]["name"] for each in both] == ["王**"] * 2


def test_a_check_is_one_statement_whatever_it_tells(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1, address=ADDRESS))
    in_force(service, wait, rule(EVERYTHING))
    scan(service, card)
    code = service.app.code(card["card_id"])
    with service.statements() as seen:
        assert service.terminal.scan(code)["resident"]["address"] == ADDRESS
    assert len(seen) == 1


def test_a_repeat_across_a_new_version_tells_no_more_than_was_recorded(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1))
    code = service.app.code(card["card_id"])
    first = service.terminal.scan(code, "registration")
    new_table(service, rule(EVERYTHING))
    wait(10)
    again = service.terminal.scan(code, "registration")
    assert again["verification_id"] == first["verification_id"]
    assert again["resident"] == {"name": "王**"}
    assert len(entries(service, card)) == 1


def test_a_repeat_under_one_version_tells_the_same(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1))
    in_force(service, wait, rule(EVERYTHING))
    code = service.app.code(card["card_id"])
    assert service.terminal.scan(code) == service.terminal.scan(code)


def test_a_kept_answer_is_narrowed_with_the_table(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1, address=ADDRESS))
    in_force(service, wait, rule(EVERYTHING))
    body = {"code": service.app.code(card["card_id"]), "step": "other"}
    kept = told(service.terminal.post("/v1/verifications", body, Idempotency_Key="k"))
    assert told(service.terminal.post("/v1/verifications", body, Idempotency_Key="k")) == kept
    in_force(service, wait, rule({"name": "masked", "phone": "masked"}))
    narrow = told(service.terminal.post("/v1/verifications", body, Idempotency_Key="k"))
    assert narrow["resident"] == {"name": "王**", "phone": "138****8000"}
    assert {name: value for name, value in narrow.items() if name != "resident"} == {
        name: value for name, value in kept.items() if name != "resident"
    }


@pytest.mark.parametrize("form", ["signed", "national"])
def test_every_dynamic_code_follows_the_one_table(wait: Timer, service: Service, form: str) -> None:
    card = service.app.register(**person(1, address=ADDRESS))
    in_force(service, wait, rule({"name": "clear", "id_number": "masked", "address": "clear"}))
    code = told(service.app.post(f"/v1/cards/{card['card_id']}/codes", {"format": form}))["code"]
    assert set(service.terminal.scan(code)["resident"]) == {"name", "id_type", "id_number", "address"}
    assert entries(service, card)[0]["disclosed"] == ["name", "id_number:masked", "address"]


@pytest.mark.parametrize("make", [national.printed, lambda _, card: national.static(card)], ids=["print", "national"])
def test_no_row_widens_what_a_static_code_tells_alone(
    wait: Timer, service: Service, make: Callable[[Service, dict[str, Any]], str]
) -> None:
    card = service.app.register(**person(1, address=ADDRESS))
    in_force(service, wait, rule(EVERYTHING))
    national.allow_static(service, card)
    code = make(service, card)
    assert service.terminal.scan(code)["resident"] == {"name": "王**"}
    wrong_end = service.terminal.scan(code, second_factor={"phone_last4": "0000"})
    assert wrong_end["resident"] == {"name": "王**"}
    sure = service.terminal.scan(code, second_factor={"document_seen": True}, operator="李")
    assert (sure["resident"]["name"], sure["resident"]["address"]) == ("王小明", ADDRESS)
    disclosed = [entry["disclosed"] for entry in entries(service, card) if entry["assurance"] == "static"]
    assert disclosed == [["name:masked"]] * 2


def test_no_row_tells_anything_of_who_has_ended_sharing(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1))
    in_force(service, wait, rule(EVERYTHING))
    with service.session() as session:
        session.execute(text("UPDATE card SET sharing = false"))
    answer = scan(service, card)
    assert (answer["outcome"], answer["resident"]) == ("accepted", None)
    assert entries(service, card)[0]["disclosed"] == []


def test_no_row_widens_what_a_temporary_card_tells(wait: Timer, service: Service) -> None:
    in_force(service, wait, rule(EVERYTHING), rule({"name": "clear"}, step="payment"))
    body = {"name": "无名氏", "sex": "male", "age": 40, "visit_at": service.clock.now().isoformat()}
    answer = service.app.post("/v1/temporary-cards", body)
    assert answer.status_code == 201, answer.text
    code = told(answer)["code"]
    for step, names in (("other", DEFAULT), ("payment", {"name"})):
        resident = service.terminal.scan(code, step)["resident"]
        assert set(resident) == names
        assert resident["name"] == "无**"


def test_no_row_widens_what_a_plastic_card_tells_alone(wait: Timer, service: Service) -> None:
    card = plastic.checked(service)
    plastic.bound(service, card)
    in_force(service, wait, rule(EVERYTHING))
    alone = plastic.read(service)
    assert (set(alone["resident"]), alone["resident"]["name"]) == (DEFAULT, "王**")
    bad = plastic.read(service, second_factor={"phone_last4": "0000"})
    assert set(bad["resident"]) == DEFAULT
    sure = plastic.read(service, second_factor={"phone_last4": "8000"})
    assert sure["resident"]["name"] == "王小明"


def test_who_acts_for_the_holder_is_never_told_in_clear_and_may_be_left_out(wait: Timer, service: Service) -> None:
    card = service.app.register(**person(1))
    guardian = service.app.register(id_type="03", id_number="E86420975", name="欧阳明月")
    with service.session() as session:
        wanted = text("SELECT resident_id FROM card WHERE id = :id")
        resident = session.execute(wanted, {"id": guardian["card_id"]}).scalar_one()
    national.change(service, card, guardian_id=resident, guardian_relation="2")
    in_force(service, wait, rule(EVERYTHING), rule({"name": "clear"}, step="payment"))
    assert scan(service, card)["card"]["acted_for"] == {"relation": "2", "guardian": "欧***"}
    assert entries(service, card)[0]["disclosed"][-2:] == ["relation", "guardian:masked"]
    service.clock.advance(1)
    assert scan(service, card, "payment")["card"]["acted_for"] == {"relation": "2"}
    assert entries(service, card)[0]["disclosed"] == ["name", "relation"]
    one, _ = pair(service)
    body = {"base_version": 1, "rules": [rule({"name": "clear", "guardian": "clear"})], "reason": "r"}
    assert wrong(one.post(f"{TABLE}/proposals", body)) == [("/rules/0/fields/guardian", "choice")]


@pytest.mark.parametrize(
    ("row", "faults"),
    [
        (rule({"sex": "clear"}), [("/rules/0/fields/name", "required")]),
        (rule({"name": "masked", "sex": "masked"}), [("/rules/0/fields/sex", "choice")]),
        (rule({"name": "masked", "employer": "clear"}), [("/rules/0/fields/employer", "unknown-member")]),
        (rule({"name": "masked"}, step="lunch"), [("/rules/0/step", "choice")]),
        (rule({"name": "masked"}, kind="Hospital!"), [("/rules/0/kind", "choice")]),
        (rule({"name": "masked"}, kind="clinic", institution_id=str(uuid4())), [("/rules/0/kind", "choice")]),
        (rule({"name": "masked"}, institution_id=str(uuid4())), [("/rules/0/institution_id", "institution-not-found")]),
        (rule({"name": "masked"}, valid_from="2026-01-09T08:00:00"), [("/rules/0/valid_from", "datetime")]),
        (
            rule({"name": "masked"}, valid_from="2026-01-09T08:00:00Z", valid_until="2026-01-09T08:00:00Z"),
            [("/rules/0/valid_until", "range")],
        ),
        ({"fields": {"name": "masked"}}, [("/rules/0/reason", "required")]),
    ],
)
def test_a_row_that_cannot_be_is_not_proposed(
    shared: Service, row: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    one = shared.staff(Role.SECURITY_ADMIN)
    body = {"base_version": 0, "rules": [row], "reason": "r"}
    assert wrong(one.post(f"{TABLE}/proposals", body)) == faults


def test_two_rows_of_one_scope_are_not_proposed(shared: Service) -> None:
    one = shared.staff(Role.SECURITY_ADMIN)
    rows = [rule({"name": "masked"}, step="payment"), rule({"name": "clear"}, step="010105")]
    body = {"base_version": 0, "rules": rows, "reason": "r"}
    assert wrong(one.post(f"{TABLE}/proposals", body)) == [("/rules/1", "overlap")]


def test_a_proposal_starts_from_the_version_in_force(service: Service) -> None:
    one, other = pair(service)
    new_table(service, rule({"name": "clear"}))
    body = {"base_version": 0, "rules": [], "reason": "r"}
    assert problem(one.post(f"{TABLE}/proposals", body)) == (409, "disclosure-outdated")
    approval_id = proposed(one, f"{TABLE}/proposals", body | {"base_version": 1})
    with service.session() as session:  # as if another way had made a version meanwhile
        session.execute(
            text(
                "INSERT INTO disclosure_version SELECT 2, gen_random_uuid(), reason, proposed_by, approved_by, since"
                " FROM disclosure_version"
            )
        )
    assert problem(other.post(f"{APPROVALS}/{approval_id}/approve")) == (409, "approval-outdated")
    assert told(one.get(TABLE))["version"] == 2


def test_old_versions_stay_readable_with_who_made_them_and_what_changed(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    shipped = told(who.get(TABLE))
    assert (shipped["version"], shipped["since"], len(shipped["rules"])) == (0, None, 8)
    assert shipped["default"] == {
        "name": "masked", "sex": "clear", "age": "clear", "guardian": "masked", "patient_id": "clear",
    }  # fmt: skip
    first = new_table(service, rule({"name": "clear"}, step="surgery"))
    new_table(service, rule({"name": "clear"}, step="surgery"), rule({"name": "masked"}, step="payment"))
    assert told(who.get(f"{TABLE}?version=1"))["rules"][0]["fields"] == {"name": "clear"}
    assert told(who.get(TABLE))["version"] == 2
    made = told(who.get(f"{TABLE}/versions"))["items"]
    assert [item["version"] for item in made] == [2, 1]
    assert (made[1]["proposed_by"], made[1]["approved_by"]) == (first["proposed_by"], first["decided_by"])
    assert made[1]["reason"] == "测试"
    changed = told(who.get(f"{TABLE}/diff"))
    assert ([row["step"] for row in changed["added"]], changed["removed"]) == (["payment"], [])
    assert len(told(who.get(f"{TABLE}/diff?old=0&new=1"))["removed"]) == 8
    for path in ("?version=3", "/diff?old=1&new=9"):
        assert problem(who.get(TABLE + path)) == (404, "disclosure-version-not-found")
    with service.session() as session:
        entry = session.scalars(text("SELECT entry FROM audit WHERE subject = 'disclosure:2'")).one()
    assert '"before": []' in entry or '"before":[]' in entry
    assert "payment" in entry


def test_explaining_names_the_row_that_decides_and_why_the_others_do_not(wait: Timer, service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    with service.session() as session:
        first = session.query(InstitutionRow).filter_by(code="H1").one().id
    soon = (service.clock.now() + timedelta(days=1)).isoformat()
    in_force(
        service,
        wait,
        rule({"name": "masked"}),
        rule({"name": "clear", "phone": "clear"}, institution_id=str(first)),
        rule({"name": "masked", "sex": "clear"}, institution_id=str(first), step="payment", valid_from=soon),
    )
    answer = told(who.get(f"{TABLE}/explain?terminal=T1&step=010105"))
    assert (answer["step"], answer["version"], answer["institution"]) == ("payment", 1, "第一医院")
    assert answer["fields"] == {"name": "clear", "phone": "clear"}
    assert answer["fields_least"] == {"name": "masked"}
    assert [row["fate"] for row in answer["rows"]] == ["not-yet", "decides", "less-exact"]
    then = soon.replace("+", "%2B")
    later = told(who.get(f"{TABLE}/explain?terminal=T1&step=payment&at={then}"))
    assert later["fields"] == {"name": "masked", "sex": "clear"}
    card = service.app.register(**person(1))
    assert set(scan(service, card, "payment")["resident"]) == {"name", "phone"}
    assert told(who.get(f"{TABLE}/explain?terminal=T2&step=payment"))["fields"] == {"name": "masked"}


def test_explaining_stays_in_the_branch(service: Service) -> None:
    with service.session() as session:
        rows = {row.code: row for row in session.query(InstitutionRow)}
        rows["H1"].region = "370202"
        first = rows["H1"].id
    path = f"{TABLE}/explain?step=payment&terminal="
    mine = service.staff(Role.INSTITUTION_OPERATOR, branch=Branch(institution_id=first))
    region = service.staff(Role.REGION_OPERATOR, branch=Branch(region="370200"))
    elsewhere = service.staff(Role.REGION_OPERATOR, branch=Branch(region="110000"))
    for who, first_status in ((mine, 200), (region, 200), (elsewhere, 404)):
        assert who.get(path + "T1").status_code == first_status
        assert problem(who.get(path + "T2")) == (404, "client-not-found")
    assert problem(mine.get(path + "nobody")) == (404, "client-not-found")
    assert problem(mine.post(f"{TABLE}/proposals", {})) == (403, "right-missing")


def test_the_command_line_shows_the_table_its_versions_and_explains(service: Service, database_url: str) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(main, list(words), env={"EHC_DATABASE_URL": database_url})
        assert done.exit_code == 0, done.output
        return done.stdout

    assert run("disclosure", "show").startswith("version 0\n")
    made = new_table(service, rule({"name": "clear"}, step="surgery"))
    assert "surgery" in run("disclosure", "show")
    assert run("disclosure", "versions").split()[0] == "1"
    assert run("disclosure", "diff", "0", "1").count("\n- ") == 7
    explained = run("disclosure", "explain", "--terminal", "T1", "--step", "surgery")
    assert "sees        name\n" in explained
    assert "decides     any" in explained
    assert made["approval_id"] in run("approvals", "list")
    assert made["approval_id"] not in run("approvals", "list", "--open")
    assert '"reason": "测试"' in run("approvals", "show", made["approval_id"])


def test_an_emergency_stop_of_a_key_says_that_it_was_one(service: Service, database_url: str) -> None:
    with service.session() as session:
        key_id = session.scalars(text("SELECT encode(id, 'hex') FROM signing_key WHERE purpose = 'list'")).one()
    done = CliRunner().invoke(main, ["keys", "revoke", key_id], env={"EHC_DATABASE_URL": database_url})
    assert done.exit_code == 0, done.output
    with service.session() as session:
        entry = session.scalars(text("SELECT entry FROM audit WHERE action = 'key.revoked'")).one()
    assert '"break_glass":true' in entry.replace(" ", "")


def test_the_description_names_the_new_members_and_keeps_the_old(shared: Service) -> None:
    resident = told(shared.client().get("/openapi.json"))["components"]["schemas"]["CheckedResidentOut"]
    assert {"name", "sex", "age", "birth_date", "id_type", "id_number", "phone", "address", "nation"} == set(
        resident["properties"]
    )
    assert resident["required"] == ["name"]


def test_what_two_people_decide_needs_both(service: Service) -> None:
    answer = approved(service, f"{TABLE}/proposals", {"base_version": 0, "rules": [], "reason": "r"})
    assert answer["outcome"] == {"version": 1}
    assert told(service.staff(Role.SYSTEM_ADMIN).get(TABLE))["rules"] == []
