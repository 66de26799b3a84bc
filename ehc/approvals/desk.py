"""Proposing, approving, rejecting, withdrawing. Nothing here commits.

The right to a kind is asked of whoever proposes and of whoever decides; the proposer never decides, also not under another
name of the act: the table holds it. Whoever lost the right, or was disabled, since they proposed has proposed nothing.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.approvals.kinds import Approved, Kind
from ehc.approvals.models import ApprovalRow
from ehc.callers import Right, Staff
from ehc.core.ids import uuid7
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, Text

LIFE = timedelta(hours=72)
"""How long a proposal waits for a second person."""


class NoSuchApproval(EhcError):
    """No proposal has this id, of a kind that the caller may see."""

    code = "approval-not-found"


class ApprovalClosed(EhcError):
    """The proposal was decided, withdrawn, or has ended."""

    code = "approval-closed"


class OwnProposal(EhcError):
    """Somebody would decide on what they proposed themselves."""

    code = "approval-own"


class NotTheirs(EhcError):
    """Somebody would withdraw what another proposed."""

    code = "approval-not-yours"


class OpenAlready(EhcError):
    """There is an open proposal about this object."""

    code = "approval-open-already"


class Outdated(EhcError):
    """What the proposal is about has changed since, or its proposer may not propose it any more."""

    code = "approval-outdated"


@dataclass(frozen=True)
class Desk:
    """Where proposals are made and decided. `entitled` tells whether somebody of the staff holds a right now."""

    kinds: Mapping[str, Kind]
    sealer: Callable[[], Sealer]
    entitled: Callable[[Session, UUID, Right], bool]

    def propose(
        self, session: Session, kind: str, arguments: Mapping[str, Any], *, who: Staff, reason: str, now: datetime
    ) -> tuple[ApprovalRow, bool]:
        """Propose an act; the proposal, and whether it is new: the same again by the same person is the same one.

        Does not check the caller's right. Raises `OpenAlready`, or what stands against the act.
        """
        subject, version = self.kinds[kind].look(session, arguments)
        self._let_lapse(session, kind, subject, now)
        row_id = uuid7(now)
        row = ApprovalRow(
            id=row_id,
            kind=kind,
            subject=subject,
            version=version,
            arguments=dict(arguments),
            reason=self.sealer().seal(reason, _place("reason", row_id)),
            state="open",
            proposed_by=who.id,
            proposed_at=now,
            ends_at=now + LIFE,
        )
        try:
            with session.begin_nested():
                session.add(row)
                session.flush()
        except IntegrityError:
            return self._same(session, row, who), False
        _record(session, row, "approval.proposed", who.actor, now)
        return row, True

    def approve(self, session: Session, approval_id: UUID, *, who: Staff, now: datetime) -> ApprovalRow:
        """Approve a proposal and do what it says. Raises `OwnProposal`, `ApprovalClosed`, `Outdated`, or what the act raises.

        Of several who approve at one moment one does; the rest wait at its row and find it closed.
        """
        row = self._decidable(session, approval_id, who)
        kind = self.kinds[row.kind]
        self._close(session, row, "approved", who=who, now=now)
        standing = kind.look(session, row.arguments)
        if standing.version != row.version or not self.entitled(session, row.proposed_by, kind.right):
            raise Outdated(
                Text(
                    "提出之后情况已变化，或提出人已无此权限，请撤回后重新提出。",
                    "Things changed since it was proposed, or the proposer lost the right. Propose it anew.",
                )
            )
        _record(session, row, "approval.approved", who.actor, now)
        approved = Approved(row.id, row.arguments, self.reason_of(row), row.proposed_by, who, now)
        row.outcome = dict(kind.carry_out(session, approved))
        session.flush()
        return row

    def reject(self, session: Session, approval_id: UUID, *, who: Staff, reason: str, now: datetime) -> ApprovalRow:
        """Turn a proposal down. Raises `OwnProposal` or `ApprovalClosed`."""
        row = self._decidable(session, approval_id, who)
        sealed = self.sealer().seal(reason, _place("decision_reason", row.id))
        self._close(session, row, "rejected", who=who, now=now, decision_reason=sealed)
        _record(session, row, "approval.rejected", who.actor, now)
        return row

    def withdraw(self, session: Session, approval_id: UUID, *, who: Staff, now: datetime) -> ApprovalRow:
        """Take back one's own proposal. Raises `NotTheirs` or `ApprovalClosed`."""
        row = self.read(session, approval_id, rights=who.rights)
        if row.proposed_by != who.id:
            raise NotTheirs(
                Text("只有提出人可以撤回，其他人请驳回。", "Only its proposer withdraws it. Others reject it.")
            )
        self._close(session, row, "withdrawn", who=who, now=now)
        _record(session, row, "approval.withdrawn", who.actor, now)
        return row

    def read(self, session: Session, approval_id: UUID, *, rights: Collection[Right]) -> ApprovalRow:
        """A proposal, for whoever holds one of the rights that its kind asks for. Raises `NoSuchApproval`."""
        row = session.get(ApprovalRow, approval_id, populate_existing=True)
        if row is None or row.kind not in self.visible(rights):
            raise NoSuchApproval(Text("没有这项申请，或您无权查看。", "There is no such proposal that you may see."))
        return row

    def listing(
        self, session: Session, *, rights: Collection[Right], limit: int, before: tuple[datetime, UUID] | None
    ) -> tuple[list[ApprovalRow], bool]:
        """A page of the proposals that somebody may see, the newest first, and whether more follow."""
        place = ApprovalRow.proposed_at, ApprovalRow.id
        wanted = select(ApprovalRow).where(ApprovalRow.kind.in_(self.visible(rights)))
        if before is not None:
            wanted = wanted.where(tuple_(*place) < tuple_(*before))
        newest = wanted.order_by(*(column.desc() for column in place)).limit(limit + 1)
        rows = list(session.scalars(newest))
        return rows[:limit], len(rows) > limit

    def visible(self, rights: Collection[Right]) -> list[str]:
        """The kinds that somebody with these rights may see: their own, and an auditor all."""
        return [name for name, kind in self.kinds.items() if kind.right in rights or Right.AUDIT_READ in rights]

    def reason_of(self, row: ApprovalRow) -> str:
        """Why it was proposed."""
        return proposed_reason(row, self.sealer())

    def decision_reason_of(self, row: ApprovalRow) -> str | None:
        """Why it was turned down."""
        sealed = row.decision_reason
        return None if sealed is None else self.sealer().unseal(sealed, _place("decision_reason", row.id))

    def _decidable(self, session: Session, approval_id: UUID, who: Staff) -> ApprovalRow:
        row = self.read(session, approval_id, rights=who.rights)
        if row.proposed_by == who.id:
            raise OwnProposal(
                Text("不能审批自己提出的申请，请由另一人审批。", "Nobody decides on their own proposal. Ask another.")
            )
        return row

    def _close(self, session: Session, row: ApprovalRow, state: str, *, who: Staff, now: datetime, **more: Any) -> None:
        """Move a proposal out of `open`, guarded: one mover wins."""
        live = ApprovalRow.id == row.id, ApprovalRow.state == "open", ApprovalRow.ends_at > now
        values = {"state": state, "decided_by": who.id, "decided_at": now, **more}
        closed = update(ApprovalRow).where(*live).values(**values).returning(ApprovalRow.id)
        if session.execute(closed.execution_options(synchronize_session=False)).first() is None:
            raise ApprovalClosed(
                Text("该申请已处理、已撤回或已超过 72 小时。", "It was decided or withdrawn, or its 72 hours are over.")
            )
        session.refresh(row)

    def _let_lapse(self, session: Session, kind: str, subject: str, now: datetime) -> None:
        """Close what waited too long: it would keep others from being proposed."""
        over = ApprovalRow.kind == kind, ApprovalRow.subject == subject, ApprovalRow.ends_at <= now
        lapsed = update(ApprovalRow).where(*over, ApprovalRow.state == "open").values(state="lapsed")
        for row in session.scalars(lapsed.returning(ApprovalRow)):
            _record(session, row, "approval.lapsed", "system", now)

    def _same(self, session: Session, row: ApprovalRow, who: Staff) -> ApprovalRow:
        open_one = ApprovalRow.kind == row.kind, ApprovalRow.subject == row.subject, ApprovalRow.state == "open"
        found = session.scalars(select(ApprovalRow).where(*open_one)).one_or_none()
        if found is None or found.proposed_by != who.id or found.arguments != row.arguments:
            raise OpenAlready(
                Text(
                    "此对象已有待审批的申请，请先处理。",
                    "There is an open proposal about this already. Decide that one first.",
                )
            )
        return found


def proposed_reason(row: ApprovalRow, sealer: Sealer) -> str:
    """Why something was proposed."""
    return sealer.unseal(row.reason, _place("reason", row.id))


def state_of(row: ApprovalRow, now: datetime) -> str:
    """The state of a proposal at a time: an open one whose time is over has lapsed."""
    return "lapsed" if row.state == "open" and now >= row.ends_at else row.state


def _record(session: Session, row: ApprovalRow, action: str, actor: str, at: datetime) -> None:
    facts = {"kind": row.kind, "object": row.subject, "version": row.version, "proposed_by": str(row.proposed_by)}
    audit.record(session, action, actor=actor, subject=str(row.id), at=at, facts=facts)


def _place(column: str, row_id: UUID) -> str:
    return f"approval.{column}:{row_id}"
