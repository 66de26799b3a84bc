"""Institutions from a CSV file: right rows are applied, wrong ones told with their reasons. Sent again, it changes nothing.

A row means the institution that has one of its codes; where none has, a new one. Empty cells change nothing. A piece of rows is
one transaction, and two files wait for each other there, so they cannot block each other.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import institution_codes, institutions
from ehc.access.branches import within
from ehc.access.institution_models import InstitutionCodeRow, InstitutionFaultRow, InstitutionImportRow
from ehc.access.institutions import Acting, CodeInUse, WrongState
from ehc.access.models import InstitutionRow
from ehc.callers import Branch
from ehc.core.ids import uuid7
from ehc.core.institution_codes import CodeKind, read_code
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text
from ehc.files.pieces import BadFile, Columns, Cutter, Record, bare, records

COLUMNS = Columns(
    (
        "name",
        "kind",
        "region",
        "ws218_code",
        "uscc",
        "clinic_code",
        "local_code",
        "contact_name",
        "contact_phone",
        "contact_email",
        "contact_address",
    ),
    required=3,
)
MOST_BYTES = 256 * 1024
"""The largest file that a request may bring, since it waits for the end: about 2,800 rows."""

_PIECE = 16 * 1024
_CODES = {
    "ws218_code": CodeKind.WS_218,
    "uscc": CodeKind.USCC,
    "clinic_code": CodeKind.CLINIC,
    "local_code": CodeKind.LOCAL,
}
_LENGTHS = {"name": 100, "contact_name": 100, "contact_phone": 40, "contact_email": 200, "contact_address": 200}
_ONE_AT_A_TIME = text("SELECT pg_advisory_xact_lock(hashtext('ehc.institution-files'))")

FAULTS: Mapping[str, Text] = MappingProxyType(
    {
        "columns": Text("列数与表头不符。", "Another number of cells than the header has."),
        "quote": Text("引号没有闭合。", "A quote is not closed."),
        "encoding": Text("编码与所选不符。", "Not in the encoding that was named."),
        "length": Text("内容过长或为空。", "Empty, or too long."),
        "characters": Text("含有不允许的字符。", "It holds characters that are not allowed."),
        "kind": Text("机构类别不在规定的列表中。", "Not one of the kinds of institutions."),
        "unknown-region": Text("行政区划代码不存在或已撤销。", "No region has this code now."),
        "outside-branch": Text("该行政区划不在您的管辖范围内。", "This region is outside your branch."),
        "code-form": Text("代码格式不符。", "The code has another form."),
        "code-region": Text("代码中的行政区划不存在。", "The region inside the code does not exist."),
        "code-check": Text("校验码不符。", "The check character does not fit."),
        "no-code": Text("至少填写一个代码。", "Give one code at least."),
        "code-in-use": Text(
            "代码已属于另一机构，或该机构已有同类有效代码。",
            "Another institution has the code, or this one has another live code of the kind.",
        ),
        "codes-apart": Text("各代码属于不同的机构。", "The codes lead to different institutions."),
        "closed": Text("该机构已关闭。", "The institution is closed."),
    }
)
"""What can be wrong with a row."""


class NoSuchFile(EhcError):
    """There is no such import, or it is somebody else's."""

    code = "institution-import-not-found"


class FileTooLarge(EhcError):
    """The file is larger than is taken."""

    code = "body-too-large"


class _Fault(Exception):
    """Why a row is not applied."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.reason = column, reason


class Row(NamedTuple):
    """A row that is right by itself."""

    name: str
    kind: str
    region: str
    codes: list[tuple[CodeKind, str]]
    contacts: dict[str, str]


def bring(
    work: UnitOfWork,
    read: Callable[[int], bytes],
    who: Acting,
    *,
    encoding: str,
    sealer: Sealer,
    now: Callable[[], datetime],
    most: int = MOST_BYTES,
) -> InstitutionImportRow:
    """Apply what `read(size)` gives, a piece at a time. Raises `BadFile` or `FileTooLarge` before anything is applied."""
    data = read(most + 1)
    while len(data) <= most and (more := read(most + 1 - len(data))):
        data += more
    if len(data) > most:
        raise FileTooLarge(
            Text(
                f"文件超过 {most // 1024} KiB，请分成几个文件，或用 ehc institutions import 导入。",
                f"The file is larger than {most // 1024} KiB. Send it in several, or use `ehc institutions import`.",
            )
        )
    pieces, cells = _pieces(data, encoding)
    made = InstitutionImportRow(id=uuid7(now()), actor=who.actor, created_at=now())
    with work() as session:
        session.add(made)
    for piece in pieces:
        with work() as session:
            session.execute(_ONE_AT_A_TIME)
            _apply(session, made.id, [(record, cells(record)) for record in piece], who, sealer=sealer, now=now())
    with work() as session:
        row = session.get_one(InstitutionImportRow, made.id)
        row.finished_at = now()
        counts = {"added": row.added, "changed": row.changed, "unchanged": row.unchanged, "bad": row.bad}
        audit.record(
            session, "institutions.imported", actor=who.actor, subject=str(row.id), at=row.finished_at, facts=counts
        )
    return row


def seen_by(session: Session, who: Acting, import_id: UUID) -> InstitutionImportRow:
    """An import that somebody may see: their own, and any for whoever sees the whole tree. Raises `NoSuchFile`."""
    row = session.get(InstitutionImportRow, import_id)
    if row is None or (row.actor != who.actor and who.branch != Branch()):
        raise NoSuchFile(Text("没有这次导入。", "There is no such import."))
    return row


def write_faults(session: Session, import_id: UUID, out: TextIO) -> int:
    """Write the error file: a line for each wrong cell, with the rule it breaks and never its content. How many there are."""
    mine = select(InstitutionFaultRow).where(InstitutionFaultRow.import_id == import_id)
    writer, count = csv.writer(out), 0
    writer.writerow(("line", "column", "reason", "message_zh", "message_en"))
    for row in session.scalars(mine.order_by(InstitutionFaultRow.line, InstitutionFaultRow.column)):
        writer.writerow((row.line, row.column, row.reason, *FAULTS[row.reason]))
        count += 1
    return count


Cells = Mapping[str, str]
Held = dict[tuple[CodeKind, str], UUID]


def _pieces(data: bytes, encoding: str) -> tuple[list[list[Record]], Callable[[Record], Cells | None]]:
    """All rows in pieces, and what tells the cells of one by their column's name, None where it cannot be read."""
    at = 0

    def read(size: int) -> bytes:
        nonlocal at
        part, at = data[at : at + size], at + size
        return part

    cutter = Cutter(read, size=_PIECE)
    header = cutter.header(encoding, COLUMNS)
    get = COLUMNS.getter(header)

    def cells(record: Record) -> Cells | None:
        if record.cells is None or len(record.cells) != len(header):
            return None
        found = get([*record.cells, ""])
        return {name: bare(cell.strip()) for name, cell in zip(COLUMNS.names, found, strict=True)}

    parts = [list(records(p.data, first_line=p.first_line, encoding=encoding)) for p in cutter.pieces()]
    if not any(parts):
        raise BadFile(Text("文件没有内容行。", "The file has no rows."))
    return parts, cells


def _apply(
    session: Session,
    import_id: UUID,
    rows: Sequence[tuple[Record, Cells | None]],
    who: Acting,
    *,
    sealer: Sealer,
    now: datetime,
) -> None:
    counts = {"added": 0, "changed": 0, "unchanged": 0, "bad": 0}
    held = _held(session, [cells[column] for _, cells in rows if cells for column in _CODES if cells[column]])
    for record, cells in rows:
        try:
            counts[_put(session, who, _read(record, cells), held, sealer=sealer, now=now)] += 1
        except _Fault as fault:
            session.add(
                InstitutionFaultRow(import_id=import_id, line=record.line, column=fault.column, reason=fault.reason)
            )
            counts["bad"] += 1
    table = InstitutionImportRow
    values = {name: getattr(table, name) + count for name, count in counts.items()}
    session.execute(update(table).where(table.id == import_id).values(**values))


def _read(record: Record, cells: Cells | None) -> Row:
    """A row by itself. Raises `_Fault` at its first wrong cell."""
    if cells is None:
        raise _Fault("", record.fault or "columns")
    for column, most in _LENGTHS.items():
        if len(cells[column]) > most or (column == "name" and not cells[column]):
            raise _Fault(column, "length")
        if not cells[column].isprintable():
            raise _Fault(column, "characters")
    if cells["kind"] not in institutions.KINDS:
        raise _Fault("kind", "kind")
    codes = list(_codes(cells))
    if not codes:
        raise _Fault("", "no-code")
    contacts = {name: cells[f"contact_{name}"] for name in institutions.CONTACTS if cells[f"contact_{name}"]}
    return Row(cells["name"], cells["kind"], cells["region"], codes, contacts)


def _codes(cells: Cells) -> Iterator[tuple[CodeKind, str]]:
    for column, kind in _CODES.items():
        if cells[column]:
            try:
                yield kind, read_code(kind, cells[column])
            except InvalidValue as error:
                raise _Fault(column, error.fields[0].code) from None


def _put(session: Session, who: Acting, row: Row, held: Held, *, sealer: Sealer, now: datetime) -> str:
    """Make it so; how the row is counted. Raises `_Fault`, and then nothing of the row is done.

    `held` says whose codes are, and is told of those that are new. An import ends none.
    """
    owners = {held[code] for code in row.codes if code in held}
    if len(owners) > 1:
        raise _Fault("", "codes-apart")
    try:
        if owners:
            return _update(session, who, next(iter(owners)), row, held, sealer=sealer, now=now)
        made = institutions.add(session, who, **row._asdict(), sealer=sealer, now=now)
    except CodeInUse:
        raise _Fault("", "code-in-use") from None
    except WrongState:
        raise _Fault("", "closed") from None
    except InvalidValue as error:
        raise _Fault("region", error.fields[0].code) from None
    held.update((code, made.id) for code in row.codes)
    return "added"


def _update(
    session: Session, who: Acting, institution_id: UUID, row: Row, held: Held, *, sealer: Sealer, now: datetime
) -> str:
    mine = select(InstitutionRow).where(InstitutionRow.id == institution_id, within(who.branch))
    found = session.scalars(mine).one_or_none()
    if found is None:  # elsewhere: no more is said of it
        raise _Fault("", "code-in-use")
    institutions.require_open(found)
    changes: dict[str, Any] = {"name": row.name, "kind": row.kind, "region": row.region}
    if row.contacts:
        changes["contacts"] = institutions.opened(found, sealer) | row.contacts
    added = [code for code in row.codes if code not in held]
    if not added and _same(found, changes, sealer):
        return "unchanged"
    with session.begin_nested():
        institutions.change(session, who, found.id, changes, version=None, sealer=sealer, now=now)
        for kind, code in added:
            institution_codes.add(session, who, found.id, kind, code, now=now)
    held.update((code, found.id) for code in added)
    return "changed"


def _same(row: InstitutionRow, changes: Mapping[str, Any], sealer: Sealer) -> bool:
    held = {"name": row.name, "kind": row.kind, "region": row.region}
    if any(held[name] != changes[name] for name in held):
        return False
    return "contacts" not in changes or institutions.opened(row, sealer) == changes["contacts"]


def _held(session: Session, codes: Sequence[str]) -> Held:
    """Whose the codes are that somebody has now, as they stand in the file or in capitals."""
    either = {*codes, *(code.upper() for code in codes)}
    live = InstitutionCodeRow.valid_until.is_(None)
    wanted = select(InstitutionCodeRow).where(live, InstitutionCodeRow.code.in_(either))
    return {(CodeKind(row.kind), row.code): row.institution_id for row in session.scalars(wanted)}
