"""What operators see of the gateways: accounts, which of them call and how, and why calls failed. Nothing here commits.

Whoever works in one branch of the tree sees the accounts whose every institution lies in it; of calls by nobody we know they
see nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, func, not_, select, true, tuple_
from sqlalchemy.orm import Session

from ehc.access.branches import within
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Branch
from ehc.gateways.calls import NOBODY
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.models import AccountRow, FailureRow, PlaceRow, UseRow
from ehc.gateways.provisioning import no_such_account


class Seen(NamedTuple):
    """An account, the app that it stands on, and when it called last; None: not within the last year."""

    row: AccountRow
    app: ClientRow
    last_call: datetime | None


@dataclass(frozen=True)
class Use:
    """Calls of one method, written or signed in one way, with one result."""

    kind: GatewayKind
    method: str
    dialect: str
    result: str
    ok: bool
    calls: int
    milliseconds: float
    """On average."""
    last_at: datetime


@dataclass
class MethodUse:
    """All calls of one method."""

    method: str
    calls: int
    failed: int
    last_at: datetime


def by_method(uses: Iterable[Use]) -> list[MethodUse]:
    """The same summed up by method, the most frequent first."""
    found: dict[str, MethodUse] = {}
    for use in uses:
        known = found.setdefault(use.method, MethodUse(use.method, 0, 0, use.last_at))
        known.calls += use.calls
        known.failed += 0 if use.ok else use.calls
        known.last_at = max(known.last_at, use.last_at)
    return sorted(found.values(), key=lambda one: (-one.calls, one.method))


def listed(
    session: Session,
    branch: Branch,
    *,
    kind: str | None = None,
    limit: int,
    before: tuple[datetime, UUID] | None = None,
) -> tuple[list[Seen], bool]:
    """A page of the accounts of a branch, the newest first, and whether more follow."""
    wanted = _seen().where(_in(branch))
    if kind is not None:
        wanted = wanted.where(AccountRow.kind == kind)
    if before is not None:
        wanted = wanted.where(tuple_(AccountRow.created_at, AccountRow.id) < before)
    newest = wanted.order_by(AccountRow.created_at.desc(), AccountRow.id.desc()).limit(limit + 1)
    found = [Seen(row[0], row[1], row[2]) for row in session.execute(newest)]
    return found[:limit], len(found) > limit


def seen(session: Session, branch: Branch, account: UUID) -> Seen:
    """One account. Raises `NoSuchAccount`, the same whether it is elsewhere or nowhere."""
    found = session.execute(_seen().where(AccountRow.id == account, _in(branch))).one_or_none()
    if found is None:
        raise no_such_account()
    return Seen(found[0], found[1], found[2])


def usage(session: Session, account: UUID, *, since: datetime, until: datetime) -> list[Use]:
    """What an account, or `NOBODY`, called in these hours; the most frequent first."""
    same = UseRow.kind, UseRow.method, UseRow.dialect, UseRow.result, UseRow.ok
    calls = func.sum(UseRow.calls)
    counted = select(*same, calls, func.sum(UseRow.milliseconds) / calls, func.max(UseRow.last_at))
    counted = counted.where(UseRow.account_id == account, UseRow.hour >= since, UseRow.hour < until).group_by(*same)
    rows = session.execute(counted.order_by(calls.desc(), UseRow.method, UseRow.dialect, UseRow.result))
    return [Use(GatewayKind(row[0]), row[1], row[2], row[3], row[4], int(row[5]), row[6], row[7]) for row in rows]


def failures(
    session: Session, account: UUID, *, method: str | None = None, limit: int, before: int | None = None
) -> Sequence[FailureRow]:
    """The last failed calls of an account, or of `NOBODY`, the newest first."""
    wanted = select(FailureRow).where(FailureRow.account_id == account)
    if method is not None:
        wanted = wanted.where(FailureRow.method == method)
    if before is not None:
        wanted = wanted.where(FailureRow.id < before)
    return session.scalars(wanted.order_by(FailureRow.id.desc()).limit(limit)).all()


def require_whole(branch: Branch) -> UUID:
    """`NOBODY`, for those who see the whole tree. Raises `NoSuchAccount`."""
    if branch != Branch():
        raise no_such_account()
    return NOBODY


def _seen() -> Select[AccountRow, ClientRow, datetime]:
    last = select(func.max(UseRow.last_at)).where(UseRow.account_id == AccountRow.id).scalar_subquery()
    return select(AccountRow, ClientRow, last).join(ClientRow, ClientRow.id == AccountRow.client_id)


def _in(branch: Branch) -> ColumnElement[bool]:
    if branch == Branch():
        return true()
    mine = (PlaceRow.account_id == AccountRow.id) & PlaceRow.ended_at.is_(None)
    place = select(PlaceRow.id).join(InstitutionRow, InstitutionRow.id == PlaceRow.institution_id).where(mine)
    return exists(place.where(within(branch))) & not_(exists(place.where(within(branch).is_not(true()))))
