"""Words of the bank that cross each other, or others who work on the same cards: the later one counts, nobody is undone."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select, text

from ehc.binding import bank_accounts, bank_calls, bank_comparison, bank_notices
from ehc.binding.bank_calls import Desk
from ehc.cards import store
from ehc.cards.bank_models import BankAccountRow
from ehc.cards.states import Party
from ehc.cards.store import Acting
from ehc.clock import local_day
from ehc.dev.simulators.controls import Controls
from ehc.outside.bank_gateway import Agreement
from ehc.outside.signed_http import PartyKey
from tests.integration.outside import asking, outside, simulators
from tests.integration.test_bank_notices import account, card, compared, say
from tests.integration.test_bank_webhook import key, tell
from tests.support.bank import (
    CONFIRMING,
    account_number,
    bound,
    confirm,
    desk_of,
    rows,
    run_jobs,
    started,
    starts,
    states,
)
from tests.support.national import secrets_of
from tests.support.service import Service

__all__ = ["account", "asking", "card", "key", "outside", "simulators"]

BY = Acting("app:test", Party.RESIDENT)


def limits(service: Service) -> tuple[int, int]:
    (row,) = rows(service)
    assert row["state"] == "bound"
    return row["single_limit"], row["day_limit"]


class Between:
    """A bank during whose list something happens."""

    def __init__(self, bank: Any, happens: Any) -> None:
        self._bank, self._happens = bank, happens

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bank, name)

    def agreements(self, after: str | None) -> Any:
        page = self._bank.agreements(after)
        self._happens()
        return page


def test_limits_that_are_told_before_the_answer_to_the_confirmation_count(
    asking: Service, outside: Controls, key: PartyKey, card: str
) -> None:
    account_id = started(asking.app, card)
    outside.set_mode("lost-answer", party="bank", path=CONFIRMING, times=1)
    assert confirm(asking.app, card, account_id, outside.bank_code(account_number()[-4:])).status_code == 202
    with asking.session() as session:
        asked = session.scalars(select(BankAccountRow)).one()
        session.expunge(asked)
    tell(asking, key, say(asking, outside, "limits", single_limit=7, day_limit=8))
    answer = Agreement(asked.start_request, "t" * 24, asked.bank, asked.kind, account_number()[-4:], 500000, 2000000)
    with asking.session() as session:  # the answer was only slow
        secrets, now = secrets_of(asking), asking.clock.now()
        bank_calls.confirmed(session, asked, answer, acting=BY, secrets=secrets, now=now)
    assert limits(asking) == (7, 8)


def test_limits_that_are_told_while_the_list_is_read_count(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    outside.set_bank_binding(starts(asking)[0], "bound", single_limit=1, day_limit=1)
    with desk_of(asking) as desk:

        def change() -> None:
            tell(asking, key, say(asking, outside, "limits", single_limit=7, day_limit=8))

        behind: Any = Between(desk.bank, change)
        bank_comparison.compare(Desk(behind, desk.work, desk.secrets), now=asking.clock.now())
    assert limits(asking) == (7, 8)


def test_limits_of_the_list_count_where_the_notice_is_older(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    tell(asking, key, say(asking, outside, "limits", single_limit=7, day_limit=8))
    outside.set_bank_binding(starts(asking)[0], "bound", single_limit=1, day_limit=1)
    asking.clock.advance(1)
    assert compared(asking) == [("other-terms", "taken over")]
    assert limits(asking) == (1, 1)


def test_what_the_bank_has_only_as_started_is_bound_here_no_more(
    asking: Service, outside: Controls, account: str
) -> None:
    outside.set_bank_binding(starts(asking)[0], "started")
    assert compared(asking) == [("only-here", "ends here")]
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ending", "not-at-bank")]
    with asking.session() as session:
        assert session.execute(text("SELECT 1 FROM payable")).all() == []
    run_jobs(asking)
    assert (states(asking), list(outside.bank_bindings().values())) == (["ended"], ["ended"])


def test_a_file_holds_no_card_while_it_waits_for_another(
    asking: Service, outside: Controls, card: str, account: str
) -> None:
    other = str(asking.app.register(2)["card_id"])
    bound(asking, outside, other, account_number(2), serial=2)
    for start in starts(asking):
        say(asking, outside, "limits", start, single_limit=1, day_limit=1)
    first, second = (row["card_serial"] for row in rows(asking))
    hold = text("SELECT 1 FROM card WHERE serial = :serial FOR NO KEY UPDATE")
    with desk_of(asking) as desk, ThreadPoolExecutor(1) as pool:
        with asking.session() as session:
            session.execute(hold, {"serial": second})
            reading = pool.submit(bank_notices.read_day, desk, local_day(asking.clock.now()), now=asking.clock.now())
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            for _ in range(500):
                if session.scalar(waits):
                    break
            session.execute(text("SET LOCAL lock_timeout = '500ms'"))
            session.execute(hold, {"serial": first})  # as an import that binds patients does, in its order
        assert reading.result(10) == 2


def test_a_choice_of_the_default_and_a_comparison_do_not_cross(
    asking: Service, outside: Controls, card: str, account: str
) -> None:
    asking.clock.advance(1)
    second = bound(asking, outside, card, account_number(2))
    with asking.session() as session:
        first_id, second_id = session.scalars(select(BankAccountRow.id).order_by(BankAccountRow.id))
        assert (str(first_id), str(second_id)) == (account, second)
    hold = text("SELECT 1 FROM bank_account WHERE id = :id FOR UPDATE")

    def choose() -> None:
        with asking.session() as session:
            found = store.by_id(session, UUID(card))
            bank_accounts.make_default(session, found, second_id, acting=BY, now=asking.clock.now())

    with ThreadPoolExecutor(1) as pool:
        with asking.session() as session:
            session.execute(hold, {"id": first_id})  # as a comparison marks them, in the order of their ids
            choosing = pool.submit(choose)
            waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            for _ in range(500):
                if session.scalar(waits):
                    break
            session.execute(text("SET LOCAL lock_timeout = '500ms'"))
            session.execute(hold, {"id": second_id})
        choosing.result(10)
    assert [row["is_default"] for row in rows(asking)] == [False, True]


def test_a_comparison_takes_so_many_differences_at_a_time(
    asking: Service, outside: Controls, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bank_comparison, "MOST", 3)
    for _ in range(4):
        outside.set_bank_binding(str(uuid4()), "bound")
    assert compared(asking) == [("only-at-bank", "ended at the bank")] * 3
    with asking.session() as session:
        waiting = text("SELECT task_name FROM procrastinate_jobs WHERE status = 'todo' AND task_name LIKE '%compare%'")
        assert session.scalars(waiting).all() == ["binding.compare-with-bank"]
    assert compared(asking) == [("only-at-bank", "ended at the bank")]
    assert states(asking) == ["bound"]


def test_a_job_of_a_notice_leaves_a_confirmation_under_way_to_its_answer(
    asking: Service, outside: Controls, key: PartyKey, card: str
) -> None:
    """The bank may not have heard of the confirmation yet: it would say that it waits for its code."""
    account_id = started(asking.app, card)
    tell(asking, key, say(asking, outside, "limits", single_limit=7, day_limit=8))
    asking.clock.advance(21)  # the job that asks because of the notice is due
    with asking.session() as session:
        found = store.by_id(session, UUID(card))
        asked = bank_accounts.begin_confirming(session, found, UUID(account_id), now=asking.clock.now())
        session.expunge(asked)
    run_jobs(asking)
    assert states(asking) == ["confirming"]
    answer = Agreement(asked.start_request, "t" * 24, asked.bank, asked.kind, account_number()[-4:], 7, 8)
    with asking.session() as session:
        secrets, now = secrets_of(asking), asking.clock.now()
        row = bank_calls.confirmed(session, asked, answer, acting=BY, secrets=secrets, now=now)
        assert row.state == "bound"
