"""`GET /v1/usage/summary`: what the staff of each branch are told, and what they are not."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text

from ehc.access.models import InstitutionRow
from ehc.access.usage_models import UsageHourRow
from ehc.access.usage_summary import MOST
from ehc.callers import Branch, Role
from ehc.commands import main
from tests.contract.test_staff_log_in import acts
from tests.support.service import Service, StaffApi, told

START = datetime(2031, 5, 1, 0, tzinfo=UTC)
NOBODY = UUID(int=0)
SUMMARY = "/v1/usage/summary"


@pytest.fixture
def ids(service: Service) -> tuple[UUID, UUID]:
    """The institutions of two regions, H1 in 370102 (济南历下) and H2 in 110105 (北京朝阳), with counts."""
    with service.session() as session:
        first, second = (
            session.scalars(select(InstitutionRow).where(InstitutionRow.code == code)).one() for code in ("H1", "H2")
        )
        first.region, second.region = "370102", "110105"
        counts = [
            (0, first.id, "registration", "window", "accepted", 40),
            (0, first.id, "registration", "window", "expired", 4),
            (1, first.id, "payment", "", "accepted", 5),
            (17, second.id, "payment", "kiosk", "accepted", 300),
            (2, NOBODY, "other", "mini-program", "accepted", 1000),
        ]
        for hours, *rest in counts:
            names = ("institution_id", "step", "channel", "outcome", "checks")
            values: dict[str, Any] = dict(zip(names, rest, strict=True))
            session.add(UsageHourRow(hour=START + timedelta(hours=hours), **values))
        return first.id, second.id


def ask(who: StaffApi, **query: str) -> list[dict[str, Any]]:
    answer = who.get(address(**query))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = told(answer)["items"]
    return items


def address(**query: str) -> str:
    bounds = {"from": "2031-05-01T00:00:00Z", "until": "2031-05-02T00:00:00Z"}
    return SUMMARY + "?" + "&".join(f"{name}={value}" for name, value in (bounds | query).items())


def test_every_reading_is_an_act_that_names_what_was_asked(service: Service, ids: tuple[UUID, UUID]) -> None:
    who = service.staff(Role.REGION_OPERATOR, branch=Branch(region="370000"))
    ask(who, group_by="institution,step", outcome="expired", institution_id=str(ids[0]))
    assert who.get(address(group_by="nothing")).status_code == 422
    (act,) = acts(service, "usage.read")
    asked = {"since": "2031-05-01T00:00:00+00:00", "until": "2031-05-02T00:00:00+00:00"}
    like = {"institution_id": str(ids[0]), "outcome": "expired"}
    facts = {name: value for name, value in act["facts"].items() if name not in {"from", "request"}}
    assert (act["actor"], facts) == (f"staff:{who.id}", asked | {"by": ["institution", "step"], "only": like})


def test_all_is_one_sum(service: Service, ids: tuple[UUID, UUID]) -> None:
    assert ask(service.staff(Role.SYSTEM_ADMIN)) == [{"checks": 1349}]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"group_by": "region"}, [("110105", 300), ("370102", 49), (None, 1000)]),
        ({"group_by": "step"}, [("other", 1000), ("payment", 305), ("registration", 44)]),
        ({"group_by": "channel"}, [(None, 5), ("kiosk", 300), ("mini-program", 1000), ("window", 44)]),
        ({"group_by": "outcome"}, [("accepted", 1345), ("expired", None)]),
        ({"group_by": "day"}, [("2031-05-01", 1049), ("2031-05-02", 300)]),
        ({"group_by": "hour", "step": "payment"}, [("2031-05-01T01:00:00.000Z", 5), ("2031-05-01T17:00:00.000Z", 300)]),
        ({"region": "370000"}, [(49,)]),
        ({"region": "370100", "step": "payment"}, [(5,)]),
        ({"region": "220000"}, []),
        ({"channel": "kiosk"}, [(300,)]),
        ({"outcome": "expired"}, [(None,)]),
        ({"until": "2031-05-01T17:00:00Z"}, [(1049,)]),
        ({"until": "2031-05-01T18:00:00Z"}, [(1349,)]),
        ({"from": "2031-05-01T01:00:00Z"}, [(1305,)]),
        ({"from": "2031-05-01T10:00:00%2B08:00", "until": "2031-05-01T11:00:00%2B08:00"}, [(1000,)]),
    ],
)
def test_counts_are_grouped_and_filtered(
    service: Service, ids: tuple[UUID, UUID], query: dict[str, str], found: list[tuple[Any, ...]]
) -> None:
    assert [tuple(item.values()) for item in ask(service.staff(Role.SECURITY_ADMIN), **query)] == found


def test_groups_are_told_in_the_order_that_was_asked_for(service: Service, ids: tuple[UUID, UUID]) -> None:
    items = ask(service.staff(Role.SYSTEM_ADMIN), group_by="institution,step", region="370000")
    first = str(ids[0])
    assert items == [
        {"institution_id": first, "step": "payment", "checks": 5},
        {"institution_id": first, "step": "registration", "checks": 44},
    ]


def test_an_institution_that_was_moved_counts_where_it_is_now(service: Service, ids: tuple[UUID, UUID]) -> None:
    with service.session() as session:
        session.get_one(InstitutionRow, ids[1]).region = "370102"
    items = ask(service.staff(Role.SYSTEM_ADMIN), group_by="region")
    assert items == [{"region": "370102", "checks": 349}, {"region": None, "checks": 1000}]


@pytest.mark.parametrize(
    "query", [{}, {"group_by": "region"}, {"region": "110000"}, {"region": "110105", "step": "other"}]
)
def test_a_regions_staff_are_told_of_their_region_alone(
    service: Service, ids: tuple[UUID, UUID], query: dict[str, str]
) -> None:
    who = service.staff(Role.REGION_OPERATOR, branch=Branch(region="370000"))
    assert [item["checks"] for item in ask(who, **query)] == ([] if "region" in query else [49])
    assert ask(who, institution_id=str(ids[1])) == []


def test_small_counts_are_told_to_the_institutions_own_staff_alone(service: Service, ids: tuple[UUID, UUID]) -> None:
    own = service.staff(Role.INSTITUTION_OPERATOR, branch=Branch(institution_id=ids[0]))
    above = service.staff(Role.REGION_OPERATOR, branch=Branch(region="370100"))
    query = {"group_by": "step,outcome"}
    assert [item["checks"] for item in ask(own, **query)] == [5, 40, 4]
    assert [item["checks"] for item in ask(above, **query)] == [5, 40, None]
    assert ask(own, institution_id=str(ids[1])) == []
    assert ask(own, institution_id=str(NOBODY)) == []


@pytest.mark.parametrize("role", [Role.AUDIT_ADMIN, Role.CLERK])
def test_who_does_not_supervise_is_not_told(service: Service, ids: tuple[UUID, UUID], role: Role) -> None:
    branch = Branch(institution_id=ids[0]) if role is Role.CLERK else Branch()
    answer = service.staff(role, branch=branch).get(address())
    assert (answer.status_code, told(answer)["code"]) == (403, "right-missing")


def test_apps_and_terminals_and_nobody_are_not_told(service: Service) -> None:
    assert [who.get(address()).status_code for who in (service.app, service.terminal)] == [401, 401]
    assert service.client().get(address()).status_code == 401


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"from": "2031-05-01T00:00:01Z"}, "/from"),
        ({"from": "2031-05-01T00:30:00Z"}, "/from"),
        ({"from": "2031-05-01T00:00:00"}, "/from"),
        ({"from": "0001-01-01T00:00:00%2B08:00"}, "/from"),
        ({"until": "2031-05-01T00:00:00Z"}, "/until"),
        ({"until": "2031-08-02T01:00:00Z"}, "/until"),
        ({"group_by": "card"}, "/group_by"),
        ({"group_by": "step,step"}, "/group_by"),
        ({"group_by": "step,"}, "/group_by"),
        ({"region": "37"}, "/region"),
        ({"region": "37%25000"}, "/region"),
        ({"step": "nothing"}, "/step"),
        ({"channel": "nothing"}, "/channel"),
        ({"outcome": "a b"}, "/outcome"),
        ({"institution_id": "H1"}, "/institution_id"),
        ({"card_id": "1"}, "/card_id"),
    ],
)
def test_what_nobody_may_ask_is_refused(service: Service, query: dict[str, str], pointer: str) -> None:
    answer = service.staff(Role.SYSTEM_ADMIN).get(address(**query))
    assert (answer.status_code, [error["pointer"] for error in told(answer)["errors"]]) == (422, [pointer])


def test_93_days_may_be_asked_for(service: Service, ids: tuple[UUID, UUID]) -> None:
    assert ask(service.staff(Role.SYSTEM_ADMIN), until="2031-08-02T00:00:00Z") == [{"checks": 1349}]


@pytest.mark.parametrize(("rows", "status"), [(MOST, 200), (MOST + 1, 422)])
def test_an_answer_is_whole_or_refused(service: Service, rows: int, status: int) -> None:
    with service.session() as session:
        hours = "INSERT INTO usage_hour SELECT :start + n * interval '1 hour', :id, 'payment', '', 'accepted', 9"
        session.execute(
            text(f"{hours} FROM generate_series(0, :last) n"), {"start": START, "id": NOBODY, "last": rows - 1}
        )
    answer = service.staff(Role.SYSTEM_ADMIN).get(address(group_by="hour", until="2031-08-02T00:00:00Z"))
    assert answer.status_code == status
    assert told(answer).get("code") == (None if status == 200 else "too-many-counts")


def test_it_is_told_when_it_was_counted(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    assert told(who.get(address()))["counted_at"] is None
    with service.session() as session:
        session.execute(text("INSERT INTO usage_run VALUES (1, '2031-05-01T00:00:00Z', NULL)"))
    assert told(who.get(address()))["counted_at"] == "2031-05-01T00:00:00.000Z"
    with service.session() as session:
        session.execute(text("INSERT INTO usage_touched (hour) VALUES (:hour)"), {"hour": START})
    assert told(who.get(address()))["counted_at"] is None


def test_the_command_line_counts_too(service: Service, ids: tuple[UUID, UUID]) -> None:
    words = [
        "usage",
        "summary",
        "--from",
        "2031-05-01",
        "--until",
        "2031-05-03",
        "--by",
        "outcome",
        "--region",
        "370000",
    ]
    done = CliRunner().invoke(main, words, env={"EHC_DATABASE_URL": service.settings.database_url})
    assert [line.split() for line in done.output.splitlines()] == [["45", "accepted"], ["<5", "expired"]]
