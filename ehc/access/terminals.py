"""Terminals (识读终端): what the staff see and change of them, and what they say of themselves. Nothing here commits.

Blocking disables the client: no token from that moment, and those that it holds stop when a worker next looks its client up,
at most ten seconds later (`ehc.access.tokens`). That a terminal was seen is noted with its heartbeats and tokens, once a
minute at most, and never with a check.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Integer, Select, cast, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access.branches import within
from ehc.access.models import ClientRow, InstitutionRow
from ehc.access.terminal_models import ReleaseRow, TerminalRow
from ehc.callers import Branch
from ehc.cards.store import StaleVersion
from ehc.errors import EhcError, Text

HEARTBEAT_SECONDS = 300
"""How often a terminal should send a heartbeat."""
VERSION = r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}"
"""How versions of software are written: numbers with points."""
CLOCK_LIMIT_MS = 2_000
"""A clock that is further off is too far off: an offline check would refuse good codes and accept those that are over."""
_NOTED = timedelta(minutes=1)
_BEATS = timedelta(seconds=10)


class Kind(StrEnum):
    """Where a terminal stands."""

    WINDOW = "window"
    KIOSK = "kiosk"
    DOCTOR_STATION = "doctor-station"
    GATE = "gate"
    MOBILE = "mobile"


class State(StrEnum):
    """Whether a terminal may call."""

    LIVE = "live"
    BLOCKED = "blocked"
    REPLACED = "replaced"


class BlockReason(StrEnum):
    """Why a terminal is blocked."""

    STOLEN = "stolen"
    LOST = "lost"
    MISUSED = "misused"
    RETIRED = "retired"
    OTHER = "other"


class NoSuchTerminal(EhcError):
    """There is no such terminal in the branch of whoever asks."""

    code = "terminal-not-found"


class TerminalState(EhcError):
    """The terminal is not in a state for this."""

    code = "terminal-state"


@dataclass(frozen=True)
class Doer:
    """Who acts, and in which branch."""

    actor: str
    branch: Branch


class Terminal(NamedTuple):
    """A terminal with its client and its institution."""

    client: ClientRow
    row: TerminalRow
    institution: InstitutionRow
    newest: str | None
    """The newest software for its kind."""

    @property
    def state(self) -> State:
        """Whether it may call."""
        if self.row.replaced_by is not None:
            return State.REPLACED
        return State.LIVE if self.client.disabled_at is None else State.BLOCKED


class Beat(NamedTuple):
    """What a heartbeat measured."""

    offset_ms: int
    good: bool


Position = tuple[datetime, UUID]


def terminals() -> Select[ClientRow, TerminalRow, InstitutionRow, str]:
    """Every terminal, as `Terminal` takes it."""
    return (
        select(ClientRow, TerminalRow, InstitutionRow, ReleaseRow.version)
        .join(TerminalRow, TerminalRow.client_id == ClientRow.id)
        .join(InstitutionRow, InstitutionRow.id == ClientRow.institution_id)
        .outerjoin(ReleaseRow, ReleaseRow.kind == TerminalRow.kind)
        .execution_options(populate_existing=True)
    )


def find(session: Session, client: UUID, branch: Branch, *, lock: bool = False) -> Terminal:
    """A terminal of the branch; `lock` keeps it as it is until the transaction ends. Raises `NoSuchTerminal`."""
    wanted = terminals().where(ClientRow.id == client, within(branch))
    if lock:
        wanted = wanted.with_for_update(of=[TerminalRow, ClientRow])
    found = session.execute(wanted).one_or_none()
    if found is None:
        raise NoSuchTerminal(Text("没有这个终端。", "There is no such terminal."))
    return Terminal(*found)


def page(
    session: Session,
    branch: Branch,
    *,
    limit: int,
    before: Position | None = None,
    institution_id: UUID | None = None,
    kind: str | None = None,
    state: State | None = None,
) -> tuple[list[Terminal], bool]:
    """The newest terminals of the branch before a position, and whether there are more."""
    wanted = terminals().where(within(branch))
    if institution_id is not None:
        wanted = wanted.where(ClientRow.institution_id == institution_id)
    if kind is not None:
        wanted = wanted.where(TerminalRow.kind == kind)
    if state is State.REPLACED:
        wanted = wanted.where(TerminalRow.replaced_by.is_not(None))
    elif state is not None:
        blocked = ClientRow.disabled_at.is_not(None) if state is State.BLOCKED else ClientRow.disabled_at.is_(None)
        wanted = wanted.where(TerminalRow.replaced_by.is_(None), blocked)
    return _page(session, wanted, limit, before)


def attention(
    session: Session, branch: Branch, *, silent: timedelta, limit: int, before: Position | None, now: datetime
) -> tuple[list[Terminal], bool]:
    """Live terminals that were not seen for that long, run old software, or have a clock too far off."""
    outdated = func.coalesce(
        _numbers(TerminalRow.version) < _numbers(ReleaseRow.version), ReleaseRow.version.is_not(None)
    )
    wanted = terminals().where(
        within(branch),
        ClientRow.disabled_at.is_(None),
        or_(
            TerminalRow.seen_at.is_(None),
            TerminalRow.seen_at < now - silent,
            outdated,
            func.abs(TerminalRow.clock_offset_ms) > CLOCK_LIMIT_MS,
        ),
    )
    return _page(session, wanted, limit, before)


def faults(terminal: Terminal, *, silent: timedelta, now: datetime) -> list[str]:
    """What there is to say against a live terminal: `silent`, `outdated`, `clock`."""
    row = terminal.row
    found = []
    if row.seen_at is None or row.seen_at < now - silent:
        found.append("silent")
    if terminal.newest is not None and (row.version is None or _parts(row.version) < _parts(terminal.newest)):
        found.append("outdated")
    if row.clock_offset_ms is not None and abs(row.clock_offset_ms) > CLOCK_LIMIT_MS:
        found.append("clock")
    return found


def change(
    session: Session, client: UUID, version: int | None, changes: Mapping[str, Any], *, doer: Doer, now: datetime
) -> Terminal:
    """Change name, kind, department or steps of the version that its caller read, or of any (None).

    Counts within ten seconds.

    Raises `NoSuchTerminal`, `StaleVersion`, or `TerminalState` for one that was replaced.
    """
    found = find(session, client, doer.branch, lock=True)
    _require_not_replaced(found)
    if version is not None and found.row.revision != version:
        raise StaleVersion(
            Text("终端已被他人修改，请重新读取。", "The terminal changed since you read it. Read it again.")
        )
    before = settings_of(found)
    for name, value in changes.items():
        setattr(found.client if name == "name" else found.row, name, value)
    found.row.revision += 1
    _noted(session, "terminal.changed", found, before, doer=doer, now=now)
    return find(session, client, doer.branch)


def block(session: Session, client: UUID, reason: BlockReason, *, doer: Doer, now: datetime) -> Terminal:
    """Stop a terminal: no token any more, and those it holds stop within ten seconds. Blocked already, it stays so.

    Raises `NoSuchTerminal` or `TerminalState`.
    """
    found = find(session, client, doer.branch, lock=True)
    _require_not_replaced(found)
    if found.state is State.LIVE:
        before = settings_of(found)
        found.client.disabled_at, found.row.block_reason = now, reason
        found.row.revision += 1
        _noted(session, "terminal.blocked", found, before, doer=doer, now=now)
    return found


def unblock(session: Session, client: UUID, *, doer: Doer, now: datetime) -> Terminal:
    """Let a blocked terminal call again, with the key or secret it had. Raises `NoSuchTerminal` or `TerminalState`."""
    found = find(session, client, doer.branch, lock=True)
    _require_not_replaced(found)
    if found.state is State.BLOCKED:
        before = settings_of(found)
        found.client.disabled_at = found.row.block_reason = None
        found.row.revision += 1
        _noted(session, "terminal.unblocked", found, before, doer=doer, now=now)
    return found


def heartbeat(session: Session, client: UUID, *, version: str, clock: datetime, now: datetime) -> Beat:
    """Measure a terminal's clock and note what it says; once in ten seconds at most, unless its version changed."""
    offset = round((clock - now) / timedelta(milliseconds=1))
    due = or_(
        TerminalRow.heartbeat_at.is_(None),
        TerminalRow.heartbeat_at <= now - _BEATS,
        TerminalRow.version.is_distinct_from(version),
    )
    values = {"version": version, "heartbeat_at": now, "seen_at": now, "clock_offset_ms": offset}
    session.execute(update(TerminalRow).where(TerminalRow.client_id == client, due).values(values))
    return Beat(offset, abs(offset) <= CLOCK_LIMIT_MS)


def seen(session: Session, client: UUID, *, now: datetime) -> None:
    """Note that a terminal got a token; once a minute at most. Other clients are not noted."""
    due = or_(TerminalRow.seen_at.is_(None), TerminalRow.seen_at <= now - _NOTED)
    session.execute(update(TerminalRow).where(TerminalRow.client_id == client, due).values(seen_at=now))


def set_release(session: Session, kind: Kind, version: str, *, actor: str, now: datetime) -> ReleaseRow:
    """Say which software is the newest for a kind of terminal."""
    before = session.scalar(select(ReleaseRow.version).where(ReleaseRow.kind == kind).with_for_update())
    values = {"version": version, "changed_at": now}
    written = insert(ReleaseRow).values(kind=kind, **values).on_conflict_do_update(index_elements=["kind"], set_=values)
    session.execute(written)
    facts = {"before": before, "after": version}
    audit.record(session, "terminal.release-set", actor=actor, subject=f"terminals:{kind}", at=now, facts=facts)
    return session.scalars(
        select(ReleaseRow).where(ReleaseRow.kind == kind).execution_options(populate_existing=True)
    ).one()


def releases(session: Session) -> Sequence[ReleaseRow]:
    """The newest software of each kind that has one."""
    return session.scalars(select(ReleaseRow).order_by(ReleaseRow.kind)).all()


def is_version(text: str) -> bool:
    """Whether a text is a version that can be compared."""
    return re.fullmatch(VERSION, text, re.ASCII) is not None


def settings_of(terminal: Terminal) -> dict[str, Any]:
    """What the audit log says of a terminal before and after a change."""
    return {
        "state": terminal.state,
        "name": terminal.client.name,
        "terminal_code": terminal.client.terminal_code,
        "kind": terminal.row.kind,
        "department": terminal.row.department,
        "steps": terminal.row.steps,
        "block_reason": terminal.row.block_reason,
    }


def _noted(
    session: Session, action: str, after: Terminal, before: Mapping[str, Any], *, doer: Doer, now: datetime
) -> None:
    session.flush()
    facts = {"before": dict(before), "after": settings_of(after)}
    audit.record(session, action, actor=doer.actor, subject=after.client.client_id, at=now, facts=facts)


def _require_not_replaced(terminal: Terminal) -> None:
    if terminal.state is State.REPLACED:
        raise TerminalState(
            Text("该终端已被更换，请操作新终端。", "The terminal was replaced. Look at the one in its place.")
        )


def _page(
    session: Session,
    wanted: Select[ClientRow, TerminalRow, InstitutionRow, str],
    limit: int,
    before: Position | None,
) -> tuple[list[Terminal], bool]:
    if before is not None:
        wanted = wanted.where(tuple_(ClientRow.created_at, ClientRow.id) < tuple_(*before))
    ordered = wanted.order_by(ClientRow.created_at.desc(), ClientRow.id.desc()).limit(limit + 1)
    found = [Terminal(*row) for row in session.execute(ordered)]
    return found[:limit], len(found) > limit


def _numbers(version: Any) -> Any:
    """A version as PostgreSQL compares it, number by number."""
    return cast(func.string_to_array(version, "."), ARRAY(Integer))


def _parts(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]
