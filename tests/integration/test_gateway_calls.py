"""Calls of gateways, counted: nothing waits, nothing grows without bound, and no trace says who was meant."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from ehc.db import UnitOfWork, unit_of_work, until_none
from ehc.gateways import calls as counting
from ehc.gateways.calls import NOBODY, Call, Calls, masked
from ehc.gateways.kinds import GatewayKind
from tests.support.service import Service

ACCOUNT = UUID("01a211b1-a6e8-7000-b45a-6cca99164935")


@pytest.fixture
def work(service: Service) -> UnitOfWork:
    return unit_of_work(service.engine)


@pytest.fixture
def calls(service: Service, work: UnitOfWork) -> Iterator[Calls]:
    made = Calls(work, service.clock, every=3600)
    yield made
    made.flush()


def call(**changes: Any) -> Call:
    facts: dict[str, Any] = {
        "kind": GatewayKind.OPEN_PLATFORM,
        "account": ACCOUNT,
        "method": "verifyQRCode",
        "dialect": "standard",
        "result": "0",
        "ok": True,
        "milliseconds": 2.5,
        "reference": "DB4D975748A84309977EA25224C0F5CF",
    }
    return Call(**(facts | changes))


FAILED: dict[str, Any] = {"ok": False, "result": "20001", "trace": {"hospitalId": "30001"}}


def uses(service: Service) -> dict[tuple[str, str, bool], int]:
    with service.session() as session:
        rows = session.execute(
            text("SELECT method, result, ok, sum(calls)::int AS calls FROM gateway_use GROUP BY 1, 2, 3")
        )
        return {(row.method, row.result, row.ok): row.calls for row in rows}


def failures(service: Service) -> list[Any]:
    with service.session() as session:
        return list(session.execute(text("SELECT * FROM gateway_failure ORDER BY id")))


def test_calls_are_added_up_also_over_workers(service: Service, calls: Calls, work: UnitOfWork) -> None:
    for _ in range(3):
        calls.record(call())
    calls.record(call(**FAILED))
    calls.flush()
    other = Calls(work, service.clock, every=3600)
    other.record(call())
    other.flush()
    assert uses(service) == {("verifyQRCode", "0", True): 4, ("verifyQRCode", "20001", False): 1}
    (failed,) = failures(service)
    assert (failed.account_id, failed.method, failed.result) == (ACCOUNT, "verifyQRCode", "20001")
    assert failed.reference == "DB4D975748A84309977EA25224C0F5CF"
    assert failed.trace == {"hospitalId": "30001"}


def test_recording_asks_the_database_nothing(service: Service, calls: Calls) -> None:
    with service.statements() as seen:
        calls.record(call())
        calls.record(call(**FAILED))
    assert seen == []


def test_one_noisy_account_leaves_others_their_traces(service: Service, calls: Calls) -> None:
    for _ in range(1000):
        calls.record(call(**FAILED))
    calls.record(call(**FAILED, account=None))
    calls.flush()
    assert sum(uses(service).values()) == 1001
    assert [failed.account_id for failed in failures(service)] == 10 * [ACCOUNT] + [NOBODY]


def test_what_a_flush_holds_is_bounded(service: Service, calls: Calls) -> None:
    for number in range(counting._MOST_KINDS + 100):
        calls.record(call(account=uuid4(), method=f"m{number}", **FAILED))
    calls.flush()
    told = uses(service)
    assert len(told) == counting._MOST_KINDS + 1
    assert told["unknown", "", False] == 100
    assert len(failures(service)) == counting.MOST_TRACES


def test_counts_wait_for_a_database_that_is_away(service: Service, calls: Calls) -> None:
    calls.record(call())
    with service.session() as session:
        session.execute(text("ALTER TABLE gateway_use RENAME TO gone"))
    with pytest.raises(Exception, match="gateway_use"):
        calls.flush()
    calls.record(call())
    with service.session() as session:
        session.execute(text("ALTER TABLE gone RENAME TO gateway_use"))
    calls.flush()
    assert uses(service) == {("verifyQRCode", "0", True): 2}


def test_thread_writes_by_itself(service: Service, work: UnitOfWork) -> None:
    calls = Calls(work, service.clock, every=0.01)
    calls.record(call())
    timer = calls._timer
    assert timer is not None
    timer.join()
    assert uses(service) == {("verifyQRCode", "0", True): 1}


def test_last_two_hundred_of_an_account_are_kept(service: Service, calls: Calls, work: UnitOfWork) -> None:
    now = service.clock.now()
    for batch in range(21):
        for _ in range(10):
            calls.record(call(**FAILED, reference=f"call-{batch}"))
        calls.flush()
    calls.record(call(**FAILED, account=None))
    service.clock.advance(3600)
    calls.record(call())
    calls.flush()
    until_none(work, lambda session: counting.purge(session, now=now))
    assert len(failures(service)) == 201
    assert failures(service)[0].reference == "call-1"
    assert len(uses(service)) == 2
    later = now.replace(minute=0, second=1) + timedelta(days=counting.KEPT_DAYS)
    until_none(work, lambda session: counting.purge(session, now=later))
    assert uses(service) == {("verifyQRCode", "0", True): 1}


SENT = {
    "hospitalId": "30001",
    "timestamp": 1709601330,
    "name": "张三",
    "idNumber": "11010519491231002X",
    "phone1": "13800138000",
    "address": "测试路1号",
    "patid": "  ",
    "adminExt": None,
    "isCheck": 0,
    "healthCardItems": [{"name": "李四"}],
}
CLEAR = frozenset({"hospitalId", "timestamp"})


def test_trace_tells_shapes_and_no_values() -> None:
    told = masked(SENT, CLEAR)
    assert told["hospitalId"] == "30001"
    assert told["timestamp"] == "1709601330"
    assert told["name"] == "text of 2 characters: 2 Han"
    assert told["idNumber"] == "text of 18 characters: 17 digits, 1 capital"
    assert told["patid"] == "2 blanks"
    assert told["adminExt"] == "null"
    assert told["healthCardItems"] == "list of 1"
    for secret in ("张三", "1949", "13800138000", "测试路", "李四"):
        assert secret not in str(told)


@pytest.mark.parametrize(
    "value",
    ["11010519491231002X", "13800138000", "110105491231002", "id 13800138000", "张三", "x" * 65, "a\nb", "a\x00"],
)
def test_clear_member_with_somebody_s_number_is_told_by_its_shape(value: str) -> None:
    assert masked({"hospitalId": value}, CLEAR)["hospitalId"].startswith("text of")


def test_names_that_are_values_are_not_told() -> None:
    told = masked({"张三": 1, "13800138000": 1, "x" * 41: 1} | {f"m{n}": "a" for n in range(100)}, CLEAR)
    assert len(told) == 41
    assert told["…"] == "63 more members"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("DB4D975748A84309977EA25224C0F5CF", True),
        ("3f0c1c9d-5d5e-4a0f-9b1d-0a6f3a1c2b4d", True),
        ("20261125091530000000000000000001", True),
        ("e_card3f0c1c9d-5d5e-4a0f-9b1d-0a6f3a1c2b4d", True),
        ("13800138000", False),
        ("11010519491231002X", False),
        ("a b", False),
        ("x" * 65, False),
        (None, False),
        ({"a": 1}, False),
    ],
)
def test_reference_is_kept_unless_it_could_be_somebody_s_number(given: object, kept: bool) -> None:
    assert counting.reference_of(given) == (given if kept else "")
