"""`GET /v1/admin/audit`: the audit log, for the audit administrator. Each reading of it is an act in it."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, Response

from ehc.access.staff_acts import note
from ehc.access.staff_deps import StaffDeps
from ehc.access.staff_schemas import AuditPageOut, AuditQuery
from ehc.audit.reading import Act, Place, Wanted, page
from ehc.audit.sources import source_index, source_name
from ehc.callers import Right
from ehc.errors import InvalidValue, Text
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import require, staff_only
from ehc.web.openapi import operation

WIDEST = timedelta(days=31)
"""How much time one reading covers that does not name a subject: such a one looks at every row."""
_EARLIEST, _LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)

_QUERY = AuditQuery()


def audit_blueprint(deps: StaffDeps) -> Blueprint:
    """The audit log, for the audit administrator."""
    bp = Blueprint("audit_log", __name__, url_prefix="/v1/admin/audit")
    bp.before_request(staff_only(deps.admin.authenticate_staff))

    @bp.get("")
    @operation(
        "Read the audit log", answers={200: AuditPageOut}, right=Right.AUDIT_READ, query=AuditQuery, problems=(422,)
    )
    def get_audit() -> Response:
        """The newest first. Without a `subject` it covers 31 days at most."""
        who = require(Right.AUDIT_READ)
        asked, now = parsing.query(_QUERY), deps.desk.clock.now()
        wanted, after, limit = _wanted(asked, deps, now), _place(asked["cursor"]), asked["limit"]
        with deps.desk.work() as session:
            found = page(session, wanted, after=after, limit=limit)
            note(session, "audit.read", "audit", by=deps.by(), at=now, wanted=_told(wanted), reader=str(who.id))
        shown = found[:limit]
        more = _cursor(shown[-1].place) if len(found) > len(shown) else None
        return Answer({"items": [_act_out(act) for act in shown], "next": more}).response()

    return bp


def _wanted(asked: dict[str, Any], deps: StaffDeps, now: datetime) -> Wanted:
    until = asked.get("until")
    end = min(max(until or now, _EARLIEST), _LATEST)
    since = min(max(asked.get("since") or end - WIDEST, _EARLIEST), _LATEST)
    if "subject" not in asked and end - since > WIDEST:
        sentence = Text(
            "未指定 subject 时，时间范围最多 31 天。",
            "Without a subject, the time between since and until is 31 days at most.",
        )
        raise InvalidValue.at("/since", "range", sentence)
    facts = {}
    if "source" in asked:
        facts = {"from": source_name(source_index(deps.desk.secrets().blind_index, asked["source"]))}
    ends = None if until is None else end
    return Wanted(since, ends, asked.get("actor"), asked.get("subject"), asked.get("action"), facts)


def _told(wanted: Wanted) -> dict[str, Any]:
    """What was looked for, as the log keeps it: an address stays a keyed hash."""
    until = instant(wanted.until) if wanted.until else None
    found = {"actor": wanted.actor, "subject": wanted.subject, "action": wanted.action}
    return found | {"since": instant(wanted.since), "until": until, "facts": dict(wanted.facts or {})}


def _act_out(act: Act) -> dict[str, Any]:
    told = {name: act.told[name] for name in ("actor", "action", "subject", "facts")}
    place = {"chain": act.place.chain, "seq": act.place.seq, "at": instant(act.place.at)}
    return place | told | {"hash": act.hash.hex()}


def _cursor(place: Place) -> str:
    return urlsafe_b64encode(f"{place.at.isoformat()}|{place.chain}|{place.seq}".encode()).decode()


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    try:
        at, chain, seq = urlsafe_b64decode(cursor.encode()).decode().split("|")
        place = Place(datetime.fromisoformat(at), int(chain), int(seq))
    except ValueError:
        place = None
    if place is None or place.at.tzinfo is None or not (0 <= place.chain < 2**15 and 0 <= place.seq < 2**63):
        sentence = Text(
            "游标无效，请原样使用上一页给出的 next。", "Not a cursor of ours. Use `next` of the page before, as it is."
        )
        raise InvalidValue.at("/cursor", "cursor", sentence)
    return place
