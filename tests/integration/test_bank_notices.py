"""What the bank tells by itself, by webhook, in the file of the day and in its list of agreements: taken once, and repaired."""

from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ehc.binding import bank_comparison, bank_notices, tasks
from ehc.binding.bank_calls import Desk
from ehc.cards.bank_models import BankComparisonRow
from ehc.clock import local_day
from ehc.dev.simulators.controls import Controls
from ehc.outside.bank_gateway import BankAway, Notice, NoticeKind
from ehc.outside.signed_http import PartyKey
from tests.contract.helpers import at_once
from tests.integration.outside import asking, outside, simulators
from tests.integration.test_bank_webhook import key, tell
from tests.support.bank import (
    account_number,
    bound,
    confirm,
    delete,
    desk_of,
    rows,
    run_jobs,
    started,
    starts,
    states,
    worker_of,
)
from tests.support.service import Service, told

__all__ = ["asking", "key", "outside", "simulators"]

NUMBER = account_number()
_ids = count(1)


@pytest.fixture
def card(asking: Service) -> str:
    return str(asking.app.register(1)["card_id"])


def card_of(service: Service) -> str:
    with service.session() as session:
        return str(session.scalars(text("SELECT id FROM card")).one())


@pytest.fixture
def account(asking: Service, outside: Controls, card: str) -> str:
    """A bound account's id."""
    return bound(asking, outside, card)


def say(service: Service, bank: Controls, what: str, start: str | None = None, **more: Any) -> dict[str, Any]:
    """A notice of the bank about a start, the first one by default, of this moment."""
    more = {"happened_at": service.clock.now().isoformat()} | more
    notice = bank.bank_notice(start or starts(service)[0], what, **more)
    return {name: value for name, value in notice.items() if name != "answered"}


def outcomes(service: Service) -> list[tuple[str, str, str]]:
    with service.session() as session:
        found = session.execute(text("SELECT what, source, outcome FROM bank_notice ORDER BY received_at, notice_id"))
        return [tuple(row) for row in found]


def read_files(service: Service, *, days: float = 1) -> None:
    """A day, or some, go by, and the job reads the files that are there then. The bank's clock is not moved."""
    with desk_of(service) as desk:
        now = service.clock.now() + timedelta(days=days)
        with desk.work() as session:
            unread = bank_notices.unread_days(session, today=local_day(now))
        for day in unread:
            bank_notices.read_day(desk, day, now=now)


def compared(service: Service) -> list[tuple[str, str]]:
    """What a comparison finds and does."""
    with desk_of(service) as desk:
        report = bank_comparison.compare(desk, now=service.clock.now())
    return [(one["what"], one["done"]) for one in report.differences]


# --- what a notice does


@pytest.mark.parametrize("what", ["ended", "closed"])
def test_what_ended_at_the_bank_is_ended_here(
    asking: Service, outside: Controls, key: PartyKey, account: str, what: str
) -> None:
    assert tell(asking, key, say(asking, outside, what)).status_code == 200
    (row,) = rows(asking)
    assert (row["state"], row["ended_for"], row["token"], row["number_index"]) == ("ended", f"bank-{what}", None, None)
    assert (row["is_default"], outcomes(asking)) == (False, [(what, "webhook", "applied")])
    assert compared(asking) == []


def test_a_lost_bank_card_pays_nothing_at_once_and_the_agreement_is_ended(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    tell(asking, key, say(asking, outside, "lost"))
    (row,) = rows(asking)
    assert (row["state"], row["ended_for"], row["is_default"]) == ("ending", "bank-card-lost", False)
    assert list(outside.bank_bindings().values()) == ["bound"]
    run_jobs(asking)
    assert (states(asking), list(outside.bank_bindings().values())) == (["ended"], ["ended"])


def test_limits_change(asking: Service, outside: Controls, key: PartyKey, account: str) -> None:
    tell(asking, key, say(asking, outside, "limits", single_limit=100, day_limit=None))
    (row,) = rows(asking)
    assert (row["state"], row["single_limit"], row["day_limit"]) == ("bound", 100, None)
    with asking.session() as session:
        assert session.execute(text("SELECT single_limit, day_limit FROM payable")).all() == [(100, None)]
    assert compared(asking) == []


def test_a_word_on_limits_that_comes_late_does_not_undo_a_later_one(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    asking.clock.advance(20)
    now = asking.clock.now()
    early = (now - timedelta(seconds=10)).isoformat()
    say(asking, outside, "limits", single_limit=1, day_limit=1, happened_at=early)  # its webhook got lost
    tell(asking, key, say(asking, outside, "limits", single_limit=2, day_limit=2))
    read_files(asking)
    assert rows(asking)[0]["single_limit"] == 2
    assert sorted(outcomes(asking)) == [("limits", "file", "nothing-to-do"), ("limits", "webhook", "applied")]


def test_a_notice_counts_once_by_webhook_and_file(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    first = say(asking, outside, "limits", single_limit=1, day_limit=1)
    for _ in range(2):
        assert tell(asking, key, first).status_code == 200
    version = rows(asking)[0]["version"]
    read_files(asking)
    tell(asking, key, first)
    assert rows(asking)[0]["version"] == version
    assert outcomes(asking) == [("limits", "webhook", "applied")]


def test_a_notice_that_came_in_the_file_first_is_known_to_the_webhook(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    late = say(asking, outside, "closed")
    read_files(asking)
    assert tell(asking, key, late).status_code == 200
    assert (states(asking), outcomes(asking)) == (["ended"], [("closed", "file", "applied")])


def test_a_notice_that_comes_many_times_at_once_counts_once(
    asking: Service, outside: Controls, key: PartyKey, account: str
) -> None:
    notice = say(asking, outside, "lost")
    answers = at_once(*(lambda: tell(asking, key, notice) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    with asking.session() as session:
        actions = session.scalars(text("SELECT action FROM binding_event ORDER BY ctid")).all()
    assert actions == ["started", "bound", "ended"]
    assert outcomes(asking) == [("lost", "webhook", "applied")]


def test_a_notice_about_nobody_is_kept_as_such(asking: Service, outside: Controls, key: PartyKey) -> None:
    notice = say(asking, outside, "lost", str(uuid4()))
    assert tell(asking, key, notice).status_code == 200
    assert outcomes(asking) == [("lost", "webhook", "unknown")]


@pytest.mark.parametrize("what", list(NoticeKind))
def test_a_notice_about_what_is_over_changes_nothing(
    asking: Service, outside: Controls, key: PartyKey, account: str, what: str
) -> None:
    delete(asking.app, card_of(asking), account)
    run_jobs(asking)
    before = rows(asking)
    tell(asking, key, say(asking, outside, what))
    assert (rows(asking), outcomes(asking)) == (before, [(what, "webhook", "nothing-to-do")])


@pytest.mark.parametrize("what", ["ended", "closed"])
def test_a_notice_that_overtakes_the_job_ends_what_was_ending(
    asking: Service, outside: Controls, key: PartyKey, account: str, what: str
) -> None:
    delete(asking.app, card_of(asking), account)
    tell(asking, key, say(asking, outside, what))
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ended", "holder")]
    run_jobs(asking)
    assert states(asking) == ["ended"]


def test_a_notice_that_it_is_over_counts_though_the_word_that_it_stands_comes_behind_it(
    asking: Service, outside: Controls, key: PartyKey, card: str
) -> None:
    account_id = started(asking.app, card)
    notice = say(asking, outside, "lost")
    tell(asking, key, notice)  # as if between the bank's act and its answer
    confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:]))
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ending", "bank-card-lost")]
    run_jobs(asking)
    assert (states(asking), list(outside.bank_bindings().values())) == (["ended"], ["ended"])


@pytest.mark.parametrize("what", list(NoticeKind))
def test_a_notice_that_overtakes_the_answer_it_is_about_has_the_bank_asked(
    asking: Service, outside: Controls, key: PartyKey, card: str, what: str
) -> None:
    account_id = started(asking.app, card)
    outside.set_mode("lost-answer", party="bank", path="/v1/bindings/confirm", times=1)
    assert confirm(asking.app, card, account_id, outside.bank_code(NUMBER[-4:])).status_code == 202
    tell(asking, key, say(asking, outside, what, single_limit=7, day_limit=8))
    assert outcomes(asking) == [(what, "webhook", "settling")]
    asking.clock.advance(21)
    run_jobs(asking)
    if what in {"ended", "closed"}:
        assert states(asking) == ["failed"]
    elif what == "limits":
        assert [(row["state"], row["single_limit"]) for row in rows(asking)] == [("bound", 7)]
    else:
        assert states(asking) == ["ended"]
    assert [one for one in compared(asking) if not one[0].startswith("unsettled")] == []


# --- the file of the day


def test_files_have_pages(asking: Service, outside: Controls, account: str) -> None:
    for number in range(230):
        say(asking, outside, "limits", single_limit=number, day_limit=None)
    read_files(asking)
    assert len(outcomes(asking)) == 230
    with asking.session() as session:
        read = list(session.scalars(text("SELECT notices FROM bank_day")))
    assert (len(read), sum(read)) == (7, 230)


def test_a_file_is_read_once_and_days_that_were_missed_are_made_up_for(
    asking: Service, outside: Controls, account: str
) -> None:
    read_files(asking, days=0)
    now = asking.clock.now()
    say(asking, outside, "limits", single_limit=1, day_limit=1)
    say(asking, outside, "closed", happened_at=(now + timedelta(days=0, seconds=1)).isoformat())
    asked = outside.state()["parties"]["bank"]["asked"]
    read_files(asking, days=0)  # every day before today is read already
    assert outside.state()["parties"]["bank"]["asked"] == asked
    read_files(asking, days=5)  # nobody was there for four days
    assert states(asking) == ["ended"]
    with asking.session() as session:
        days: list[Any] = list(session.scalars(text("SELECT day FROM bank_day ORDER BY day")))
    today = local_day(now)
    assert days == [today + timedelta(days=number) for number in range(-7, 5)]


def test_a_file_that_breaks_off_is_read_again(asking: Service, outside: Controls, account: str) -> None:
    for number in range(150):
        say(asking, outside, "limits", single_limit=number, day_limit=None)
    with desk_of(asking) as desk:
        later = asking.clock.now() + timedelta(days=1)
        whole = desk.bank

        class Breaking:
            """Answers for the first page alone."""

            def __getattr__(self, name: str) -> Any:
                return getattr(whole, name)

            def notices(self, day: Any, after: str | None) -> Any:
                if after is not None:
                    outside.set_mode("down", party="bank", path="/v1/notices", times=1)
                return whole.notices(day, after)

        broken: Any = Breaking()
        with pytest.raises(BankAway):
            bank_notices.read_day(
                Desk(broken, desk.work, desk.secrets), local_day(later) - timedelta(days=1), now=later
            )
        assert len(outcomes(asking)) == 100
        with asking.session() as session:
            assert session.scalar(text("SELECT count(*) FROM bank_day")) == 0
    read_files(asking)
    assert len(outcomes(asking)) == 150


def test_the_job_reads_the_files(asking: Service, outside: Controls, account: str) -> None:
    yesterday = asking.clock.now() - timedelta(days=1)
    say(asking, outside, "closed", happened_at=yesterday.isoformat())
    with worker_of(asking) as place:
        tasks.read_bank_days(place)
        tasks.read_bank_days(place)
    assert (states(asking), outcomes(asking)) == (["ended"], [("closed", "file", "applied")])


def test_a_notice_of_the_file_that_makes_no_sense_stops_none_behind_it(
    asking: Service, outside: Controls, account: str
) -> None:
    outside.bank_notice(starts(asking)[0], "stolen", notice_id="ODD-1")
    say(asking, outside, "closed")
    read_files(asking)
    assert states(asking) == ["ended"]
    assert [what for what, _, _ in outcomes(asking)] == ["closed"]


# --- the nightly comparison


def test_where_both_have_the_same_nothing_is_reported(asking: Service, outside: Controls, account: str) -> None:
    assert compared(asking) == []
    with asking.session() as session:
        (report,) = bank_comparison.reports(session)
        assert (report.compared, report.differences) == (1, [])
        assert report.finished_at is not None


def test_what_only_the_bank_has_is_ended_there(asking: Service, outside: Controls, account: str) -> None:
    unheard = str(uuid4())
    outside.set_bank_binding(unheard, "bound")
    assert compared(asking) == [("only-at-bank", "ended at the bank")]
    assert outside.bank_bindings() == {starts(asking)[0]: "bound", unheard: "ended"}
    assert compared(asking) == []


@pytest.mark.parametrize("over", ["ended", "failed"])
def test_what_is_over_here_and_stands_there_is_ended_there(
    asking: Service, outside: Controls, card: str, over: str
) -> None:
    account_id = bound(asking, outside, card) if over == "ended" else started(asking.app, card)
    delete(asking.app, card, account_id)
    run_jobs(asking)
    with asking.session() as session:
        session.execute(text("UPDATE bank_account SET state = :over"), {"over": over})
    outside.set_bank_binding(starts(asking)[0], "bound")
    assert compared(asking) == [("only-at-bank", "ended at the bank")]
    assert (states(asking), list(outside.bank_bindings().values())) == ([over], ["ended"])


@pytest.mark.parametrize("there", ["ended", "forgotten"])
def test_what_only_we_have_is_ended_here(asking: Service, outside: Controls, account: str, there: str) -> None:
    outside.set_bank_binding(starts(asking)[0], there)
    assert compared(asking) == [("only-here", "ended here")]
    (row,) = rows(asking)
    assert (row["state"], row["ended_for"], row["token"]) == ("ended", "not-at-bank", None)
    assert compared(asking) == []


def test_what_was_bound_while_the_list_was_read_is_not_ended(asking: Service, outside: Controls, account: str) -> None:
    with desk_of(asking) as desk:
        whole = desk.bank

        class Behind:
            """Its list is a moment old."""

            def __getattr__(self, name: str) -> Any:
                return getattr(whole, name)

            def agreements(self, after: str | None) -> Any:
                page = whole.agreements(after)
                return type(page)((), page.cursor, more=False)

        behind: Any = Behind()
        report = bank_comparison.compare(Desk(behind, desk.work, desk.secrets), now=asking.clock.now())
    assert (report.differences, states(asking)) == ([], ["bound"])


def test_other_terms_are_taken_over(asking: Service, outside: Controls, account: str) -> None:
    outside.set_bank_binding(starts(asking)[0], "bound", single_limit=1, day_limit=2)
    assert compared(asking) == [("other-terms", "taken over")]
    (row,) = rows(asking)
    assert (row["single_limit"], row["day_limit"]) == (1, 2)
    assert compared(asking) == []


def test_an_agreement_that_leads_to_another_account_ends(asking: Service, outside: Controls, account: str) -> None:
    before = rows(asking)[0]["last4"]
    outside.set_bank_binding(starts(asking)[0], "bound", last4="9999")
    assert compared(asking) == [("other-account", "ends here")]
    (row,) = rows(asking)
    assert (row["state"], row["ended_for"], row["last4"]) == ("ending", "bank-other-account", before)
    run_jobs(asking)
    assert states(asking) == ["ended"]
    assert compared(asking) == []


def test_what_is_ending_here_is_told_again(asking: Service, outside: Controls, card: str, account: str) -> None:
    delete(asking.app, card, account)
    with asking.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs"))
    for _ in range(2):
        assert compared(asking) == [("ends-here", "bank told again")]
    with asking.session() as session:
        assert session.scalar(text("SELECT count(*) FROM procrastinate_jobs")) == 1
    run_jobs(asking)
    assert (states(asking), compared(asking)) == (["ended"], [])


def test_many_agreements_are_read_in_pages_and_each_difference_is_told(
    asking: Service, outside: Controls, account: str
) -> None:
    for _ in range(250):
        outside.set_bank_binding(str(uuid4()), "bound")
    asked = outside.state()["parties"]["bank"]["asked"]
    assert compared(asking) == [("only-at-bank", "ended at the bank")] * 250
    assert outside.state()["parties"]["bank"]["asked"] == asked + 3 + 250
    assert sorted(outside.bank_bindings().values()) == ["bound", *["ended"] * 250]
    assert (states(asking), compared(asking)) == (["bound"], [])


def test_a_comparison_that_breaks_off_leaves_an_unfinished_report_and_is_made_anew(
    asking: Service, outside: Controls, account: str
) -> None:
    outside.set_bank_binding(str(uuid4()), "bound")
    outside.set_mode("down", party="bank", path="/v1/bindings/end", times=1)
    with pytest.raises(BankAway):
        compared(asking)
    assert compared(asking) == [("only-at-bank", "ended at the bank")]
    with asking.session() as session:
        assert [report.finished_at is None for report in bank_comparison.reports(session)] in (
            [False, True],
            [True, False],
        )


def test_comparisons_at_once_do_no_harm(asking: Service, outside: Controls, account: str) -> None:
    for _ in range(20):
        outside.set_bank_binding(str(uuid4()), "bound")
    outside.set_bank_binding(starts(asking)[0], "bound", single_limit=5)
    with desk_of(asking) as desk:
        now = asking.clock.now()
        at_once(*(lambda: bank_comparison.compare(desk, now=now) for _ in range(3)))
    assert (states(asking), rows(asking)[0]["single_limit"]) == (["bound"], 5)
    assert compared(asking) == []


def test_the_job_leaves_a_report_without_anything_personal(asking: Service, outside: Controls, account: str) -> None:
    outside.set_bank_binding(starts(asking)[0], "ended")
    with worker_of(asking) as place:
        tasks.compare_with_bank(place)
    with asking.session() as session:
        (report,) = bank_comparison.reports(session)
        assert isinstance(report, BankComparisonRow)
        assert report.differences == [{"what": "only-here", "done": "ended here", "start_request": starts(asking)[0]}]


def test_a_notice_is_applied_in_the_order_of_locks(asking: Service, outside: Controls, card: str, account: str) -> None:
    """Notices and ends of the same account at once: each waits for the other, and neither undoes it."""
    for turn in range(20):
        start = starts(asking)[-1]
        notice = Notice(
            f"R-{turn}", NoticeKind.LIMITS, rows(asking)[-1]["start_request"], asking.clock.now(), turn, turn
        )
        with desk_of(asking) as desk:

            def take(desk: Desk = desk, notice: Notice = notice) -> None:
                with desk.work() as session:
                    bank_notices.take(session, notice, source="webhook", now=asking.clock.now())

            current = str(rows(asking)[-1]["id"])
            answers: list[Any] = at_once(take, partial(delete, asking.app, card, current))
        assert answers[1].status_code == 200
        run_jobs(asking, rounds=1)
        assert outside.bank_bindings()[start] == "ended"
        asking.clock.advance(0.01)
        bound(asking, outside, card)
    assert told(asking.app.get(f"/v1/cards/{card}/bindings"))["bank_accounts"]


def test_ids_are_the_banks_own(asking: Service, outside: Controls, key: PartyKey, account: str) -> None:
    now: datetime = asking.clock.now()
    for number in range(3):
        notice = say(asking, outside, "limits", single_limit=number, day_limit=number, notice_id=f"N-{next(_ids)}")
        assert told(tell(asking, key, notice | {"happened_at": now.isoformat()}))["result"] == "taken"
    assert len(outcomes(asking)) == 3
