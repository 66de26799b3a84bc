"""The audit log, read by whoever audits: some acts, the newest first, a page at a time. That it is whole, `verify` says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import cast, select, tuple_
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Session

from ehc.audit.models import AuditRow


class Place(NamedTuple):
    """Where in the order of a page an act stands."""

    at: datetime
    chain: int
    seq: int


@dataclass(frozen=True)
class Wanted:
    """What to look for. `action` may end in `*`; `facts` are members that an act's facts must have."""

    since: datetime
    until: datetime | None = None
    actor: str | None = None
    subject: str | None = None
    action: str | None = None
    facts: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Act:
    """One act of the log."""

    place: Place
    told: Mapping[str, Any]
    hash: bytes


def page(session: Session, wanted: Wanted, *, after: Place | None, limit: int) -> list[Act]:
    """Acts, the newest first; one more than `limit` where there are more."""
    order = AuditRow.at, AuditRow.chain, AuditRow.seq
    asked = select(*order, AuditRow.entry, AuditRow.hash).where(AuditRow.at >= wanted.since)
    if wanted.until is not None:
        asked = asked.where(AuditRow.at < wanted.until)
    if wanted.subject is not None:
        asked = asked.where(AuditRow.subject == wanted.subject)
    if wanted.action is not None and wanted.action.endswith("*"):
        asked = asked.where(AuditRow.action.startswith(wanted.action[:-1], autoescape=True))
    elif wanted.action is not None:
        asked = asked.where(AuditRow.action == wanted.action)
    told = {"actor": wanted.actor} if wanted.actor is not None else {}
    holds = told | ({"facts": dict(wanted.facts)} if wanted.facts else {})
    if holds:
        asked = asked.where(cast(AuditRow.entry, JSONB).contains(holds))
    if after is not None:
        asked = asked.where(tuple_(*order) < after)
    newest = asked.order_by(*(column.desc() for column in order)).limit(limit + 1)
    rows = session.execute(newest)
    return [Act(Place(row.at, row.chain, row.seq), json.loads(row.entry), row.hash) for row in rows]
