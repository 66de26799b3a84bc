"""The versions of the table: reading them, and the next one, which two people make. Nothing here commits."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.approvals.kinds import Approved, Kind, Standing
from ehc.callers import Right
from ehc.crypto.sealed import Sealer
from ehc.disclosure.fields import ordered
from ehc.disclosure.models import DisclosureRuleRow, DisclosureVersionRow
from ehc.disclosure.table import Rule, Scope, Table, difference, overlaps, shipped
from ehc.errors import EhcError, InvalidValue, Text

MOST_RULES = 200

Kinds = Callable[[Session], Mapping[UUID, str]]
"""The kind of each institution that has one."""


class NoSuchVersion(EhcError):
    """The table never had this version."""

    code = "disclosure-version-not-found"


class StaleTable(EhcError):
    """The proposal starts from a version that is not in force any more."""

    code = "disclosure-outdated"


def newest(session: Session) -> int:
    """The number of the version in force; 0 is what the package ships."""
    return session.scalar(select(func.max(DisclosureVersionRow.version))) or 0


def table_of(session: Session, version: int | None = None, *, kinds: Mapping[UUID, str] | None = None) -> Table:
    """A version of the table, the one in force unless said. Raises `NoSuchVersion`."""
    number = newest(session) if version is None else version
    if number == 0:
        return Table(0, shipped().rules, kinds or {})
    row = session.get(DisclosureVersionRow, number) if number < 2**31 else None
    if row is None:
        raise NoSuchVersion(Text("没有这个版本。", "There is no such version."))
    rows = session.scalars(
        select(DisclosureRuleRow).where(DisclosureRuleRow.version == number).order_by(DisclosureRuleRow.position)
    )
    return Table(number, tuple(map(_rule, rows)), kinds or {}, row.since)


def in_force(session: Session, kinds: Kinds) -> Table:
    """What a worker goes by: the version in force, and the kinds of institutions where a row asks for one."""
    table = table_of(session)
    if not any(rule.scope.kind for rule in table.rules):
        return table
    return Table(table.version, table.rules, kinds(session), table.since)


def history(session: Session) -> list[DisclosureVersionRow]:
    """Every version of the deployment's own, the newest first, a hundred at most."""
    return list(session.scalars(select(DisclosureVersionRow).order_by(DisclosureVersionRow.version.desc()).limit(100)))


def approval_kind(sealer: Callable[[], Sealer]) -> Kind:
    """How a new version of the whole table is decided."""

    def carry_out(session: Session, approved: Approved) -> Mapping[str, Any]:
        return {"version": _publish(session, approved, sealer())}

    return Kind(right=Right.DISCLOSURE_WRITE, look=_look, carry_out=carry_out)


def arguments(session: Session, base: int, rules: Sequence[Rule]) -> dict[str, Any]:
    """What a proposal of a whole new table keeps. Raises `StaleTable`, or `InvalidValue` at the row that cannot be."""
    if base != newest(session):
        raise _stale()
    clash = overlaps(rules)
    if clash is not None:
        raise InvalidValue.at(
            f"/rules/{clash.second}",
            "overlap",
            Text("与另一行的对象、环节和有效期重叠。", "Another row is for the same scope at the same time."),
        )
    named = {rule.scope.institution_id for rule in rules if rule.scope.institution_id}
    missing = unknown_institutions(session, named) if named else set()
    for place, rule in enumerate(rules):
        if rule.scope.institution_id in missing:
            raise InvalidValue.at(
                f"/rules/{place}/institution_id",
                "institution-not-found",
                Text("没有这个机构。", "There is no such institution."),
            )
    return {"base": base, "rules": written(rules)}


def reason_of(row: DisclosureVersionRow, sealer: Sealer) -> str:
    """Why a version was made."""
    return sealer.unseal(row.reason, _place(row.version))


def written(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Rows as JSON: what a proposal keeps and an answer tells."""
    return [
        {
            "institution_id": rule.scope.institution_id and str(rule.scope.institution_id),
            "kind": rule.scope.kind,
            "step": rule.scope.step,
            "told": ordered(rule.told),
            "reason": rule.reason,
            "valid_from": rule.valid_from and rule.valid_from.isoformat(),
            "valid_until": rule.valid_until and rule.valid_until.isoformat(),
        }
        for rule in rules
    ]


def read(rows: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """The rows that `written` wrote."""
    return tuple(
        Rule(
            Scope(UUID(row["institution_id"]) if row["institution_id"] else None, row["kind"], row["step"]),
            frozenset(row["told"]),
            row["reason"],
            datetime.fromisoformat(row["valid_from"]) if row["valid_from"] else None,
            datetime.fromisoformat(row["valid_until"]) if row["valid_until"] else None,
        )
        for row in rows
    )


def _look(session: Session, _: Mapping[str, Any]) -> Standing:
    return Standing(subject="disclosure", version=str(newest(session)))


def _publish(session: Session, approved: Approved, sealer: Sealer) -> int:
    """Write the next version. Its number is the primary key: of two writers one fails."""
    old, rules = table_of(session), read(approved.arguments["rules"])
    if approved.arguments["base"] != old.version:
        raise _stale()
    version = old.version + 1
    session.add(
        DisclosureVersionRow(
            version=version,
            approval_id=approved.id,
            reason=sealer.seal(approved.reason, _place(version)),
            proposed_by=approved.proposed_by,
            approved_by=approved.by.id,
            since=approved.now,
        )
    )
    session.flush()
    session.add_all(
        DisclosureRuleRow(
            version=version,
            position=place,
            **rule.scope._asdict(),
            told=ordered(rule.told),
            reason=rule.reason,
            valid_from=rule.valid_from,
            valid_until=rule.valid_until,
        )
        for place, rule in enumerate(rules)
    )
    session.flush()
    _record(session, approved, old, Table(version, rules))
    return version


def _record(session: Session, approved: Approved, old: Table, new: Table) -> None:
    changed = difference(old, new)
    facts = {
        "approval_id": str(approved.id),
        "proposed_by": str(approved.proposed_by),
        "before": [_traced(rule) for rule in changed.removed],
        "after": [_traced(rule) for rule in changed.added],
    }
    audit.record(
        session, "disclosure.changed", actor=approved.by.actor, subject=f"disclosure:{new.version}", at=approved.now,
        facts=facts,
    )  # fmt: skip


def _stale() -> StaleTable:
    return StaleTable(
        Text("披露规则已有新版本，请重新读取后再提出。", "There is a newer version. Read it, then propose again.")
    )


def _traced(rule: Rule) -> dict[str, Any]:
    """A row without its reason, which is in people's words."""
    return {name: value for name, value in written([rule])[0].items() if name != "reason"}


def _rule(row: DisclosureRuleRow) -> Rule:
    scope = Scope(row.institution_id, row.kind, row.step)
    return Rule(scope, frozenset(row.told), row.reason, row.valid_from, row.valid_until)


def unknown_institutions(session: Session, ids: set[UUID]) -> set[UUID]:
    """Which of these are no institutions."""
    found = session.scalars(text("SELECT id FROM institution WHERE id = ANY(:ids)"), {"ids": list(ids)})
    return ids - set(found)


def _place(version: int) -> str:
    return f"disclosure_version.reason:{version}"
