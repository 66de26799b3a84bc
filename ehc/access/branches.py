"""Which institutions somebody of the staff may see: the one rule, for institutions and for all that belongs to one.

What lies outside is as if it were not there (404), so that nobody learns what other regions have. An institution without a
region is seen by those alone who see the whole tree, and by its own staff.
"""

import re
from uuid import UUID

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.errors import EhcError, Text

_CODE = re.compile(r"[0-9]{6}", re.ASCII)


class NoSuchInstitution(EhcError):
    """There is no such institution in the branch of whoever asks."""

    code = "institution-not-found"


def prefix_of(region: str) -> str:
    """How the codes of a region and of all below it begin: two, four or six digits (GB/T 2260 is 2+2+2)."""
    if _CODE.fullmatch(region) is None or region.startswith("00"):
        raise ValueError("a region has six digits")
    if region.endswith("0000"):
        return region[:2]
    return region[:4] if region.endswith("00") else region


def covers(branch: Branch, region: str | None) -> bool:
    """Whether a region lies in the branch. One institution's staff have no region of their own."""
    if branch.institution_id is not None:
        return False
    return branch.region is None or (region is not None and region.startswith(prefix_of(branch.region)))


def within(branch: Branch) -> ColumnElement[bool]:
    """The institutions of a branch, as a condition on `InstitutionRow`. Join it where a statement asks for others' rows."""
    if branch.institution_id is not None:
        return InstitutionRow.id == branch.institution_id
    if branch.region is not None:
        return InstitutionRow.region.startswith(prefix_of(branch.region), autoescape=True)
    return true()


def require_within(session: Session, branch: Branch, institution_id: UUID) -> InstitutionRow:
    """The institution, if it is in the branch. Raises `NoSuchInstitution`, the same whether it is elsewhere or nowhere."""
    wanted = select(InstitutionRow).where(InstitutionRow.id == institution_id, within(branch))
    row = session.scalars(wanted).one_or_none()
    if row is None:
        raise no_such_institution()
    return row


def no_such_institution() -> NoSuchInstitution:
    """What is said of an institution that is elsewhere or nowhere."""
    return NoSuchInstitution(Text("没有这个机构。", "There is no such institution."))
