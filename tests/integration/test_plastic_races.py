"""Plastic cards claimed, cancelled and listed at the same moment: one right outcome each, whoever is first."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from threading import Barrier, Event
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.binding import plastic
from ehc.binding.plastic import Desk, HolderSays
from ehc.callers import Caller, ClientKind, Scope
from ehc.cards import blacklist
from ehc.cards import store as cards
from ehc.cards.states import CANCEL, Party
from ehc.cards.store import Acting
from ehc.core.plastic_kinds import plastic_kinds
from ehc.errors import EhcError
from ehc.issuer import lifecycle
from tests.support.national import secrets_of
from tests.support.plastic import ATR, again, checked, holder
from tests.support.service import Api, Service

ROUNDS = 200
KIND = plastic_kinds()["resident-health-card"]
Act = Callable[[], str]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def at_once(pool: ThreadPoolExecutor, *acts: Act) -> list[str]:
    gate = Barrier(len(acts))

    def run(act: Act) -> str:
        gate.wait(10)
        return act()

    return [waiting.result(30) for waiting in [pool.submit(run, act) for act in acts]]


def caller(service: Service, api: Api) -> Caller:
    with service.session() as session:
        row = session.execute(
            text("SELECT id, institution_id FROM client WHERE client_id = :id"), {"id": api.credentials.client_id}
        ).one()
    return Caller(row.id, ClientKind.TERMINAL, frozenset({Scope.VERIFY}), row.institution_id)


def binder(service: Service, api: Api, card: dict[str, Any]) -> Callable[[str], str]:
    """Binds a number to a card as a terminal does: `new`, `known`, or the code of the refusal."""
    desk = Desk(caller(service, api), UUID(card["verification_id"]), secrets_of(service), service.clock.now())
    card_id, says = UUID(card["card_id"]), HolderSays(**holder(card))

    def bind(number: str) -> str:
        try:
            with service.session() as session:
                return "new" if plastic.bind(session, card_id, KIND, number, says, desk=desk)[1] else "known"
        except EhcError as error:
            return error.code

    return bind


def test_of_two_accounts_that_claim_one_card_one_has_it(service: Service, pool: ThreadPoolExecutor) -> None:
    first, second = (binder(service, service.terminal, checked(service, serial)) for serial in (1, 2))
    for number in range(ROUNDS):
        claimed = ATR.format(number)
        assert sorted(at_once(pool, partial(first, claimed), partial(second, claimed))) == ["already-bound", "new"]
    with service.session() as session:
        held = session.scalar(text("SELECT count(DISTINCT number_index) FROM plastic_card WHERE state = 'active'"))
        assert held == session.scalar(text("SELECT count(*) FROM plastic_card")) == ROUNDS
        assert session.scalar(text("SELECT count(*) FROM binding_event WHERE action = 'bound'")) == ROUNDS


def test_two_institutions_claim_one_card(service: Service, pool: ThreadPoolExecutor) -> None:
    card = checked(service)
    here = binder(service, service.terminal, card)
    there = binder(service, service.second_terminal, again(service, card, at=service.second_terminal))
    other = binder(service, service.second_terminal, checked(service, 2, at=service.second_terminal))
    for number in range(ROUNDS):
        claimed = ATR.format(number)
        assert sorted(at_once(pool, partial(here, claimed), partial(there, claimed))) == ["known", "new"]
        claimed = ATR.format(ROUNDS + number)
        assert sorted(at_once(pool, partial(here, claimed), partial(other, claimed))) == ["already-bound", "new"]


def test_binding_and_cancelling_leave_nothing_bound(service: Service, pool: ThreadPoolExecutor) -> None:
    card, secrets = checked(service), secrets_of(service)
    bind, card_id = binder(service, service.terminal, card), UUID(card["card_id"])

    def cancel() -> str:
        with service.session() as session:
            found = cards.by_id(session, card_id)
            acting = Acting("staff:7", Party.STAFF)
            lifecycle.apply(session, found, CANCEL, acting=acting, secrets=secrets, now=service.clock.now())
            return str(found.status)

    seen: Counter[str] = Counter()
    for number in range(ROUNDS):
        bound, cancelled = at_once(pool, partial(bind, ATR.format(number)), cancel)
        assert cancelled == "cancelled"
        with service.session() as session:
            states = list(session.scalars(text("SELECT state FROM plastic_card")))
            listed = list(session.scalars(text("SELECT reason FROM plastic_blacklist")))
            assert (bound, states) in [("new", ["cancelled"]), ("card-not-active", [])]
            assert listed == states
            session.execute(text("UPDATE card SET status = 'active', cause = NULL"))
            session.execute(text("DELETE FROM plastic_card"))
            session.execute(text("DELETE FROM plastic_blacklist"))
        seen[bound] += 1
    assert sum(seen.values()) == ROUNDS


def test_a_reader_that_follows_pages_misses_nothing(service: Service, pool: ThreadPoolExecutor) -> None:
    """Writers that commit in another order than they began, and keep other rows locked meanwhile."""
    done, turns = Event(), count()

    def write(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(80):
            with service.session() as session:
                for hashed in sorted({bytes([dice.randrange(40)]) * 32 for _ in range(2)}):
                    reason = dice.choice(["lost", "replaced", None])
                    blacklist.put(session, hashed, "visit-card", reason, at=service.clock.now())
                time.sleep(dice.random() / 100)
            next(turns)

    writing = [pool.submit(write, seed) for seed in range(3)]
    copy: dict[bytes, str | None] = {}
    since = pages = 0
    while True:
        finished = done.is_set()
        with service.session() as session:
            page = blacklist.page(session, since, limit=3)
            entries = [(entry.number_hash, entry.seq, entry.reason) for entry in page.entries]
        sequence = [seq for _, seq, _ in entries if seq is not None]
        assert sequence == sorted(set(sequence))
        assert all(since < seq <= page.until for seq in sequence)
        copy |= {hashed: reason for hashed, _, reason in entries}
        since, pages = page.until, pages + 1
        if finished and since == page.head:
            break
        if all(waiting.done() for waiting in writing):
            done.set()
    for waiting in writing:
        waiting.result()
    assert pages > 20
    with service.session() as session:
        rows = session.execute(text("SELECT number_hash, reason FROM plastic_blacklist")).all()
    assert {key: reason for key, reason in copy.items() if reason} == {row[0]: row[1] for row in rows if row[1]}


def test_acts_that_list_and_acts_that_audit_do_not_lock_each_other_out(
    service: Service, pool: ThreadPoolExecutor
) -> None:
    """Four cards at once, each with two plastic cards: cancelling audits before it lists, reporting lists before it audits."""
    people = [checked(service, serial) for serial in range(1, 5)]
    secrets = secrets_of(service)
    binds = [binder(service, service.terminal, card) for card in people]

    def turn(index: int, number: int) -> str:
        card_id, acting = UUID(people[index]["card_id"]), Acting("staff:7", Party.STAFF)
        for which in (0, 1):
            assert binds[index](ATR.format(number * 8 + index * 2 + which)) == "new"
        with service.session() as session:
            found = cards.by_id(session, card_id)
            lifecycle.apply(session, found, CANCEL, acting=acting, secrets=secrets, now=service.clock.now())
        with service.session() as session:
            _revive(session, card_id)
            blacklist.page(session, 0, limit=1)
        return "done"

    for number in range(25):
        turns: list[Act] = [partial(turn, index, number) for index in range(4)]
        assert at_once(pool, *turns) == ["done"] * 4


def _revive(session: Session, card_id: UUID) -> None:
    session.execute(text("UPDATE card SET status = 'active', cause = NULL WHERE id = :id"), {"id": card_id})
