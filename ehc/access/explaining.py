"""What would this terminal see at this step? The row that decides, and why the others do not. Nothing here commits."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from ehc.access.branches import covers
from ehc.access.clients import NoSuchClient, institution_kinds
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Branch, ClientKind
from ehc.disclosure import versions
from ehc.disclosure.fields import DEFAULT, capped, ordered
from ehc.disclosure.table import Candidate, Rule
from ehc.errors import Text


class Explained(NamedTuple):
    """What a terminal sees at a step. `rule` None: no row is about it, and the default is told."""

    terminal: str
    institution_id: UUID
    institution: str
    kind: str | None
    step: str
    at: datetime
    version: int
    rule: Rule | None
    rows: list[Candidate]

    @property
    def told(self) -> list[str]:
        """What a dynamic code tells of a holder who shares, and whatever else a second factor vouches for."""
        return ordered(DEFAULT if self.rule is None else self.rule.told)

    @property
    def told_least(self) -> list[str]:
        """What a temporary card tells, and a plastic one without a second factor."""
        return ordered(capped(self.told))


def explain(session: Session, terminal: str, step: str, *, branch: Branch, at: datetime) -> Explained:
    """What a terminal, by its terminal code or client id, sees at a step at a time, by the version in force.

    Raises `NoSuchClient`, also for a terminal outside the branch.
    """
    named = or_(ClientRow.terminal_code == terminal, ClientRow.client_id == terminal)
    wanted = select(ClientRow, InstitutionRow).join(InstitutionRow, InstitutionRow.id == ClientRow.institution_id)
    found = session.execute(wanted.where(ClientRow.kind == ClientKind.TERMINAL, named).limit(1)).first()
    if found is None or not _within(branch, found[1]):
        raise NoSuchClient(Text("没有这个终端。", "There is no such terminal."))
    _, owner = found
    kinds = institution_kinds(session)
    table = versions.table_of(session, kinds=kinds)
    return Explained(
        terminal,
        owner.id,
        owner.name,
        kinds.get(owner.id),
        step,
        at,
        table.version,
        table.decide(owner.id, step, at),
        table.candidates(owner.id, step, at),
    )


def _within(branch: Branch, owner: InstitutionRow) -> bool:
    return branch.institution_id == owner.id or covers(branch, owner.region)
