"""The audit log as lines of JSON, for the audit administrator."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.audit.models import AuditRow


def lines(session: Session, *, since: datetime, until: datetime) -> Iterator[str]:
    """One line for each act from `since` to before `until`, by time: its place in the log, its hash, and its entry.

    Constant memory. Does not check the log: `verify` does.
    """
    wanted = (
        select(AuditRow.chain, AuditRow.seq, AuditRow.method, AuditRow.hash, AuditRow.entry)
        .where(AuditRow.at >= since.astimezone(UTC), AuditRow.at < until.astimezone(UTC))
        .order_by(AuditRow.at, AuditRow.chain, AuditRow.seq)
        .execution_options(yield_per=1000)
    )
    for row in session.execute(wanted):
        told = {"chain": row.chain, "seq": row.seq, "method": row.method, "hash": row.hash.hex(), "entry": row.entry}
        yield json.dumps(told, ensure_ascii=False) + "\n"
