"""Checks at the same moment, in two workers with an engine each: what is counted is counted exactly, and nobody deadlocks."""

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.app import create_app, database
from ehc.core.ids import uuid7
from ehc.verify.journal import settle_within
from ehc.verify.scans import NationalScan, Settled, Visit
from tests.support import national
from tests.support.national import allow_static, issued, printed, static, uses
from tests.support.service import Api, Service
from tests.support.service import told as answered

THREADS = 32

Card = dict[str, Any]
Told = dict[str, Any]


@pytest.fixture
def workers(service: Service) -> Iterator[list[Service]]:
    """Two workers on one database."""
    flask = create_app(service.settings, clock=service.clock)
    with flask.app_context():
        engine = database.engine
    apis: dict[str, Any] = {name: _elsewhere(api, flask) for name, api in vars(service).items() if isinstance(api, Api)}
    yield [service, replace(service, flask=flask, engine=engine, **apis)]
    engine.dispose()


def _elsewhere(api: Api, flask: Any) -> Api:
    own = Api.__new__(Api)
    own.http, own.credentials, own.headers = flask.test_client(), api.credentials, dict(api.headers)
    return own


def at_once(calls: list[Callable[[], Told]]) -> list[Told]:
    """The answers of calls that start together, each in a thread."""
    gate = Barrier(len(calls))

    def run(call: Callable[[], Told]) -> Told:
        gate.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def scanner(worker: Service, terminal: str, code: str, step: str, **more: Any) -> Callable[[], Told]:
    """A scan to be made later, on a connection of its own."""
    own = _elsewhere(getattr(worker, terminal), worker.flask)

    def scan() -> Told:
        answer = own.post("/v1/verifications", {"code": code, "step": step, **more})
        assert answer.status_code == 200, answer.text
        return answered(answer)

    return scan


STEPS = ["registration", "diagnosis", "medicine", "examination", "prescription", "surgery", "inpatient", "other"]
TERMINALS = ["terminal", "second_terminal"]


def crowd(workers: list[Service], code: str) -> list[Callable[[], Told]]:
    """32 scans, all of them different uses: 8 steps at 2 terminals, each of them twice, once in each worker."""
    return [scanner(worker, name, code, step) for worker in workers for name in TERMINALS for step in STEPS]


@pytest.mark.parametrize("max_uses", [1, 3, 7])
def test_of_32_scans_exactly_as_many_are_accepted_as_a_code_has_uses(workers: list[Service], max_uses: int) -> None:
    card = workers[0].app.register()
    for round_ in range(4):
        code = issued(workers[0], card, ends_in=30 + round_, max_uses=max_uses)
        told = at_once(crowd(workers, code))
        ends = Counter(answer["reason"] for answer in told)
        accepted = {answer["verification_id"] for answer in told if answer["reason"] is None}
        assert set(ends) <= {None, "already-used"}
        assert len(accepted) == uses(workers[0], code) == max_uses
        with workers[0].session() as session:
            rows = session.execute(text("SELECT id FROM verification WHERE reason IS NULL")).all()
            session.execute(text("DELETE FROM verification"))
        assert {str(row.id) for row in rows} == accepted


def test_of_32_payments_exactly_one_is_made(workers: list[Service]) -> None:
    card = workers[0].app.register()
    code = issued(workers[0], card)
    calls = [scanner(workers[n % 2], TERMINALS[n // 2 % 2], code, "payment") for n in range(THREADS)]
    told = at_once(calls)
    accepted = {answer["verification_id"] for answer in told if answer["reason"] is None}
    assert len(accepted) == 1
    assert {answer["reason"] for answer in told} == {None, "already-used"}
    assert uses(workers[0], code) == 3


def test_a_terminal_that_reads_32_times_in_two_workers_has_one_use(workers: list[Service]) -> None:
    card = workers[0].app.register()
    code = issued(workers[0], card)
    told = at_once([scanner(workers[n % 2], "terminal", code, "registration") for n in range(THREADS)])
    assert len({answer["verification_id"] for answer in told}) == 1
    assert {answer["outcome"] for answer in told} == {"accepted"}
    assert uses(workers[0], code) == 1


@pytest.mark.parametrize(("step", "max_uses", "accepted"), [("other", 3, 3), ("other", 1, 1), ("payment", 3, 1)])
def test_of_32_statements_at_once_exactly_as_many_accept(
    workers: list[Service], step: str, max_uses: int, accepted: int
) -> None:
    """Each in a transaction of its own, as with an idempotency key: nothing here groups scans or makes them wait."""
    card = workers[0].app.register()
    index = national.secrets_of(workers[0]).blind_index
    ehc_id_index = index.of("ehc-id", card["ehc_id"])
    for round_ in range(5):
        code = issued(workers[0], card, ends_in=30 + round_, max_uses=max_uses)
        text_index = index.of("national-code", code)
        gate = Barrier(THREADS)

        def settle(number: int, *, gate: Barrier = gate, text_index: bytes = text_index) -> Settled:
            now = workers[0].clock.now()
            visit = Visit(uuid7(now), now, uuid4(), None, step, None, None, None, None)
            with Session(workers[number % 2].engine) as session, session.begin():
                session.connection()
                gate.wait(30)
                return settle_within(session, NationalScan(visit, text_index, ehc_id_index))

        with ThreadPoolExecutor(THREADS) as pool:
            told = list(pool.map(settle, range(THREADS)))
        assert Counter(answer.reason for answer in told) == {None: accepted, "already-used": THREADS - accepted}
        assert uses(workers[0], code) == max_uses


def test_batches_that_overlap_do_not_deadlock(workers: list[Service]) -> None:
    """Many codes, each scanned in both workers, in opposite orders."""
    cards = [workers[0].app.register(serial) for serial in range(1, 17)]
    codes = [issued(workers[0], card, max_uses=2) for card in cards]
    here = [scanner(workers[0], "terminal", code, "registration") for code in codes]
    there = [scanner(workers[1], "second_terminal", code, "registration") for code in reversed(codes)]
    assert {answer["outcome"] for answer in at_once(here + there)} == {"accepted"}
    assert [uses(workers[0], code) for code in codes] == [2] * len(codes)


@pytest.mark.parametrize("make", [printed, lambda _, card: static(card)], ids=["print", "national"])
def test_of_32_wrong_second_factors_five_are_looked_at(
    workers: list[Service], make: Callable[[Service, Card], str]
) -> None:
    card = workers[0].app.register()
    allow_static(workers[0], card)
    code = make(workers[0], card)
    wrong = {"second_factor": {"phone_last4": "9999"}}
    told = at_once([scanner(workers[n % 2], "terminal", code, "registration", **wrong) for n in range(THREADS)])
    left = sorted(answer["second_factor"]["tries_left"] for answer in told if answer["reason"] is None)
    assert left == [0, 1, 2, 3, 4]
    assert Counter(answer["reason"] for answer in told) == {None: 5, "static-not-allowed": THREADS - 5}
    right: dict[str, Any] = {"second_factor": {"phone_last4": "8000"}}
    assert workers[0].terminal.scan(code, **right)["reason"] == "static-not-allowed"


def test_the_help_of_these_tests_is_what_the_service_goes_by(service: Service) -> None:
    """A helper that remembered nothing would let the tests above pass for nothing."""
    card = service.app.register()
    code = national.dynamic(card, national.validity(service))
    assert service.terminal.scan(code)["reason"] == "not-issued"
    assert service.terminal.scan(national.remember(service, card, code))["outcome"] == "accepted"
