"""What happens to one account at the same instant: every time exactly one right outcome, at our end and at the bank."""

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text

from ehc.app import create_app, database
from ehc.binding import bank_accounts
from ehc.binding.bank_accounts import Begun, Wanted
from ehc.binding.bank_numbers import read_account
from ehc.binding.proofs import AlreadyBound
from ehc.cards.models import CardRow
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.dev.simulators.controls import Controls
from tests.contract.helpers import at_once, elsewhere, problem, secrets_of
from tests.integration.outside import asking, outside, simulators
from tests.support.bank import (
    account_number,
    bound,
    confirm,
    delete,
    path,
    rows,
    run_jobs,
    start,
    started,
    state,
    states,
    worker_of,
)
from tests.support.service import Service, person, told

__all__ = ["asking", "outside", "simulators"]

REPEATS = 200


def test_of_two_cards_that_claim_one_account_at_once_one_has_it(asking: Service) -> None:
    people = {str(asking.app.register(serial)["card_id"]): person(serial) for serial in (1, 2)}
    secrets, now = secrets_of(asking), asking.clock.now()
    with asking.session() as session:
        client_id = session.scalars(text("SELECT id FROM client LIMIT 1")).one()
    winners: Counter[str] = Counter()
    with worker_of(asking) as place:

        def claim(card_id: str, number: str) -> Begun | AlreadyBound:
            who = {name: people[card_id][name] for name in ("name", "id_type", "id_number")}
            with place.work() as session:
                card = session.scalars(select(CardRow).where(CardRow.id == UUID(card_id))).one()
                try:
                    return bank_accounts.begin(
                        session,
                        card,
                        Wanted(read_account(number), **who),
                        acting=Acting("app:test", Party.RESIDENT),
                        client_id=client_id,
                        most=REPEATS + 1,
                        secrets=secrets,
                        now=now,
                    )
                except AlreadyBound as refused:
                    return refused

        for repeat in range(REPEATS):
            number = account_number(900_000 + repeat)
            results: list[Any] = at_once(*(partial(claim, card_id, number) for card_id in people))
            assert sorted(type(one).__name__ for one in results) == ["AlreadyBound", "Begun"]
            winners[next(card_id for card_id, one in zip(people, results, strict=True) if isinstance(one, Begun))] += 1
            index = bank_accounts.number_index(read_account(number), secrets)
            with asking.session() as session:
                held = text("SELECT count(*) FROM bank_account WHERE number_index = :index AND state = 'starting'")
                assert session.scalar(held, {"index": index}) == 1
        with asking.session() as session:
            jobs = session.scalar(text("SELECT count(*) FROM procrastinate_jobs"))
    assert winners.total() == jobs == REPEATS


def test_of_two_apps_that_claim_one_account_at_once_the_bank_hears_one(asking: Service, outside: Controls) -> None:
    cards = {str(asking.app.register(serial)["card_id"]): serial for serial in (1, 2)}
    for repeat in range(REPEATS):
        number = account_number(900_000 + repeat)
        calls = [
            partial(start, elsewhere(asking.app, asking.flask), card_id, number, serial=serial)
            for card_id, serial in cards.items()
        ]
        answers = at_once(*calls)
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        assert [problem(one) for one in answers if one.status_code == 409] == [(409, "already-bound")]
        assert len(outside.bank_bindings()) == repeat + 1
        for card_id, answer in zip(cards, answers, strict=True):
            if answer.status_code == 201:
                delete(asking.app, card_id, told(answer)["account_id"])
        run_jobs(asking, rounds=1)
    assert set(states(asking)) == {"ended"}


def test_of_a_binding_and_the_cards_end_at_once_no_account_is_left_on_a_cancelled_card(
    asking: Service, outside: Controls
) -> None:
    seen: Counter[str] = Counter()
    for repeat in range(1, REPEATS + 1):
        number = account_number(900_000 + repeat)
        card_id = str(asking.app.register(repeat)["card_id"])
        account_id = started(asking.app, card_id, number, serial=repeat)
        code = outside.bank_code(number[-4:])
        first, second = elsewhere(asking.app, asking.flask), elsewhere(asking.app, asking.flask)
        cancel = partial(second.post, f"/v1/cards/{card_id}/cancel", {"reason": "不再使用"})
        confirmed, cancelled = at_once(partial(confirm, first, card_id, account_id, code), cancel)
        assert cancelled.status_code == 200, cancelled.text
        seen[str(confirmed.status_code)] += 1
        if confirmed.status_code == 200:
            seen[told(confirmed)["state"]] += 1
        assert confirmed.status_code in {200, 404, 409}, confirmed.text
        with asking.session() as session:
            (left,) = session.execute(
                text("SELECT state, is_default FROM bank_account WHERE id = :id"), {"id": account_id}
            ).all()
            assert session.scalar(text("SELECT count(*) FROM payable")) == 0
        assert tuple(left) == ("ending", False)
    run_jobs(asking)
    assert set(states(asking)) == {"ended"}
    assert set(outside.bank_bindings().values()) == {"ended"}
    assert all(row["token"] is None for row in rows(asking))
    assert seen["200"] > 0, seen


def test_of_an_end_and_a_confirmation_at_once_the_end_counts(asking: Service, outside: Controls) -> None:
    card_id = str(asking.app.register(1)["card_id"])
    for repeat in range(REPEATS):
        number = account_number(900_000 + repeat)
        account_id = started(asking.app, card_id, number)
        code = outside.bank_code(number[-4:])
        first, second = elsewhere(asking.app, asking.flask), elsewhere(asking.app, asking.flask)
        confirmed, gone = at_once(
            partial(confirm, first, card_id, account_id, code), partial(delete, second, card_id, account_id)
        )
        assert gone.status_code == 200
        assert confirmed.status_code in {200, 409}
        run_jobs(asking, rounds=1)
        assert state(asking.app, card_id, account_id)["state"] == "ended"
    assert set(outside.bank_bindings().values()) == {"ended"}


@pytest.mark.parametrize("most", [2, 1])
def test_of_accounts_that_are_bound_at_once_no_more_than_may_be_and_one_is_the_default(
    asking: Service, outside: Controls, most: int
) -> None:
    flask = create_app(replace(asking.settings, bank_accounts=most), clock=asking.clock)
    for serial in range(1, 16):
        card_id = str(asking.app.register(serial)["card_id"])
        numbers = [account_number(1000 * serial + number) for number in (1, 2)]
        apis = [elsewhere(asking.app, flask) for _ in numbers]
        pairs = list(zip(apis, numbers, strict=True))
        answers = at_once(*(partial(start, api, card_id, number, serial=serial) for api, number in pairs))
        assert [answer.status_code for answer in answers].count(201) == most
        begun = [
            (pair, told(one)["account_id"])
            for pair, one in zip(pairs, answers, strict=True)
            if "account_id" in told(one)
        ]
        codes = [(api, account_id, outside.bank_code(number[-4:])) for (api, number), account_id in begun]
        both = at_once(*(partial(confirm, api, card_id, account_id, code) for api, account_id, code in codes))
        assert {answer.status_code for answer in both} == {200}
        items = told(asking.app.get(path(card_id)))["items"]
        assert [one["default"] for one in items].count(True) == 1
    with flask.app_context():
        database.engine.dispose()


def test_of_jobs_that_end_the_same_binding_at_once_one_writes_it(asking: Service, outside: Controls) -> None:
    card_id = str(asking.app.register(1)["card_id"])
    account_id = bound(asking, outside, card_id)
    delete(asking.app, card_id, account_id)
    with asking.session() as session:
        for _ in range(4):
            session.execute(
                text("""
                    INSERT INTO procrastinate_jobs (task_name, queue_name, args, priority)
                    VALUES ('binding.end-at-bank', 'default', jsonb_build_object('account_id', CAST(:id AS text)), 0)
                """),
                {"id": account_id},
            )
    run_jobs(asking)
    with asking.session() as session:
        actions = session.scalars(text("SELECT action FROM binding_event ORDER BY ctid")).all()
    assert actions == ["started", "bound", "ended", "ended-at-bank"]
