"""The nightly comparison (对账) of our bindings with the bank's agreements: what differs, and what was done about it.

Pages of agreements are marked on our rows, so memory stays as it is however many there are; of differences a comparison
takes `MOST`, and another follows. What only the bank has is ended there; what only we have is asked about once more, then
ended here; what is open is settled.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ehc import jobs
from ehc.binding import bank_accounts
from ehc.binding.bank_accounts import note, token_place
from ehc.binding.bank_calls import SYSTEM, Desk, as_told_since, bind, ended, open_of, refuse_other_account
from ehc.cards.bank_models import OPEN, BankAccountRow, BankComparisonRow
from ehc.cards.bindings import END_AT_BANK, end_account
from ehc.cards.models import CardRow
from ehc.core.ids import uuid7
from ehc.outside.bank_gateway import Agreement, AtBank

COMPARE = "binding.compare-with-bank"
"""The job that compares."""

MOST = 10_000
"""How many differences one comparison repairs and reports: they are held in memory meanwhile."""

_AT_ONCE = 200
_NEXT_AFTER = timedelta(minutes=10)


class Difference(NamedTuple):
    """One difference: `what`, what was `done`, and the start that names the binding at both ends."""

    what: str
    done: str
    start_request: UUID

    def told(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return {"what": self.what, "done": self.done, "start_request": str(self.start_request)}


def compare(desk: Desk, *, now: datetime) -> BankComparisonRow:
    """Compare everything and repair what differs; the report. Raises `BankAway`; what was repaired until then stays.

    Where more than `MOST` differ, a job goes on with them ten minutes later, in a report of its own.
    """
    run = uuid7(now)
    with desk.work() as session:
        session.add(BankComparisonRow(id=run, begun_at=now, compared=0, differences=[]))
    differing: list[Agreement] = []
    after, compared, more = None, 0, True
    while more:
        page = desk.bank.agreements(after)
        differing += _differing(desk, run, page.agreements)[: MOST - len(differing)]
        after, more, compared = page.cursor, page.more, compared + len(page.agreements)
    # only now: what is ended at the bank while its pages are read moves those behind it
    found = [one for agreement in differing if (one := _repaired(desk, agreement, now)) is not None]
    found += _ours_alone(desk, run, now, most=MOST - len(found))
    found += _open(desk, now, most=MOST - len(found))
    with desk.work() as session:
        if max(len(differing), len(found)) >= MOST:
            jobs.defer(session, COMPARE, at=now + _NEXT_AFTER, lock=COMPARE, queueing_lock=COMPARE)
        report = session.get_one(BankComparisonRow, run)
        report.finished_at, report.compared = now, compared
        report.differences = [one.told() for one in found]
        return report


def reports(session: Session, *, most: int = 30) -> list[BankComparisonRow]:
    """The last reports, the newest first."""
    return list(session.scalars(select(BankComparisonRow).order_by(BankComparisonRow.id.desc()).limit(most)))


def _differing(desk: Desk, run: UUID, agreements: Sequence[Agreement]) -> list[Agreement]:
    """Those of a page that are not the same here."""
    here = BankAccountRow.start_request.in_([one.start_request for one in agreements])
    held = select(BankAccountRow).where(here).order_by(BankAccountRow.id).with_for_update()
    with desk.work() as session:
        rows = {row.start_request: row for row in session.scalars(held)}
        session.execute(update(BankAccountRow).where(here).values(compared_in=run))
    same = {start for start, row in rows.items() if row.state == "bound"}
    return [
        one
        for one in agreements
        if one.start_request not in same or _terms(rows[one.start_request], desk) != _terms_of(one)
    ]


def _repaired(desk: Desk, agreement: Agreement, now: datetime) -> Difference | None:
    """What differs about one agreement, repaired in a transaction of its own."""
    start = agreement.start_request
    with desk.work() as session:
        current = open_of(session, start)
        if current is not None and current[0].state not in {"ended", "failed"}:
            return _repaired_here(desk, session, current, agreement, now)
    desk.bank.end(start, uuid7(now))
    return Difference("only-at-bank", "ended at the bank", start)


def _repaired_here(
    desk: Desk, session: Session, current: tuple[BankAccountRow, CardRow], agreement: Agreement, now: datetime
) -> Difference | None:
    (row, card), start = current, agreement.start_request
    if row.state == "bound":
        return _take_over(session, current, agreement, desk, now)
    if row.state == "ending":
        jobs.defer(session, END_AT_BANK, queueing_lock=f"{END_AT_BANK}:{row.id}", account_id=str(row.id))
        return Difference("ends-here", "bank told again", start)
    was = row.state  # an answer that was lost, or a confirmation that arrived late
    agreement = as_told_since(session, row, agreement, now)
    bind(session, card, row, agreement, acting=SYSTEM, secrets=desk.secrets(), now=now)
    if row.state == "ending":  # it was about another account, or its notice of the end came first
        return Difference(f"unsettled-{was}", "ends here", start)
    return Difference(f"unsettled-{was}", "bound here", start)


def _take_over(
    session: Session, current: tuple[BankAccountRow, CardRow], agreement: Agreement, desk: Desk, now: datetime
) -> Difference | None:
    """Terms that changed without a notice are taken over. Another account is no other term: such a binding ends."""
    row, card = current
    agreement = as_told_since(session, row, agreement, now)
    if _terms(row, desk) == _terms_of(agreement):
        return None
    if row.last4 != agreement.last4:
        refuse_other_account(session, card, row, now=now)
        return Difference("other-account", "ends here", row.start_request)
    row.single_limit, row.day_limit = agreement.single_limit, agreement.day_limit
    row.bank, row.kind = agreement.bank, agreement.kind
    row.token = desk.secrets().sealer.seal(agreement.token, token_place(row.id))
    row.touch(now)
    session.flush()
    note(session, card, row, "limits-changed", acting=SYSTEM, now=now)
    return Difference("other-terms", "taken over", row.start_request)


def _terms(row: BankAccountRow, desk: Desk) -> tuple[object, ...]:
    token = desk.secrets().sealer.unseal(row.token, token_place(row.id)) if row.token else None
    return token, row.bank, row.kind, row.last4, row.single_limit, row.day_limit


def _terms_of(one: Agreement) -> tuple[object, ...]:
    return one.token, one.bank, one.kind, one.last4, one.single_limit, one.day_limit


def _ours_alone(desk: Desk, run: UUID, now: datetime, *, most: int) -> list[Difference]:
    """What we have as bound and the bank did not list. It is asked about by name: it may be newer than the list."""
    found: list[Difference] = []
    last: UUID | None = None
    while len(found) < most:
        alone = (BankAccountRow.state == "bound") & BankAccountRow.compared_in.is_distinct_from(run)
        wanted = select(BankAccountRow.id, BankAccountRow.start_request).where(alone).order_by(BankAccountRow.id)
        with desk.work() as session:
            wanted = wanted.where(BankAccountRow.id > last) if last else wanted
            rows = session.execute(wanted.limit(min(_AT_ONCE, most - len(found)))).all()
        if not rows:
            break
        last = rows[-1].id
        found += [one for row in rows if (one := _missed(desk, row.start_request, now)) is not None]
    return found


def _missed(desk: Desk, start_request: UUID, now: datetime) -> Difference | None:
    there = desk.bank.status(start_request).state
    if there is AtBank.BOUND:
        return None
    with desk.work() as session:
        current = open_of(session, start_request)
        if current is None or current[0].state != "bound":
            return None
        row, card = current
        if there is AtBank.STARTED:  # nothing stands there, yet something may come of it: the bank is told
            end_account(session, row, why="not-at-bank", at=now)
            note(session, card, row, "ended", acting=SYSTEM, now=now)
            return Difference("only-here", "ends here", start_request)
        ended(session, card, row, why="not-at-bank", acting=SYSTEM, now=now)
    return Difference("only-here", "ended here", start_request)


def _open(desk: Desk, now: datetime, *, most: int) -> list[Difference]:
    """What has not been settled for a while, whatever became of its job, is settled by one more."""
    with desk.work() as session:
        rows = stale(session, before=now - bank_accounts.SETTLE_AFTER, now=now, most=min(most, 1000))
        for row in rows:
            settle_again(session, row)
    return [Difference(f"unsettled-{row.state}", "asked again", row.start_request) for row in rows]


def stale(session: Session, *, before: datetime, now: datetime, most: int = 1000) -> list[BankAccountRow]:
    """Bindings that wait for the bank's word since `before`, or for a code that has run out; the oldest first."""
    waits = BankAccountRow.state.in_(OPEN) & (BankAccountRow.changed_at <= before)
    waits &= (BankAccountRow.state != "started") | (BankAccountRow.expires_at <= now)
    return list(session.scalars(select(BankAccountRow).where(waits).order_by(BankAccountRow.changed_at).limit(most)))


def settle_again(session: Session, row: BankAccountRow) -> None:
    """Put in a job that settles a binding, unless one waits."""
    name = END_AT_BANK if row.state == "ending" else bank_accounts.SETTLE
    jobs.defer(session, name, queueing_lock=f"{name}:{row.id}", account_id=str(row.id))
