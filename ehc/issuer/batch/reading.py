"""CSV files (RFC 4180) cut into pieces of whole records, and pieces read into cells. Pure; works on bytes.

In UTF-8 and in GB 18030 no character but the comma, the quote and the line feed contains the byte of one, so borders are
found without decoding. A quoted cell may hold line feeds. A quote that is opened and not closed within `MOST_LINES` lines
is a slip: its line is a bad row, and reading goes on with the next, where else it would swallow the rest of the file.
"""

import csv
import re
from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import NamedTuple

from ehc.errors import EhcError, Text

COLUMNS = (
    "name",
    "id_type",
    "id_number",
    "phone",
    "sex",
    "birth_date",
    "nation",
    "address",
    "employer",
    "level",
    "reference",
)
"""The columns of a file, in whatever order: the members of `POST /v1/cards`, its verification's method as `level`."""
REQUIRED = ("name", "id_type", "id_number")
ENCODINGS = ("utf-8", "gb18030")
MOST_LINES = 100
PIECE_BYTES = 128 * 1024
"""About 1,100 rows: small enough for memory, large enough that a commit costs nothing."""

_BOM = b"\xef\xbb\xbf"
# What a spreadsheet takes for a formula and runs; the wide forms too, where it is set to an East Asian language.
_FORMULA = re.compile(r"[\s']*[-=+@\uff0d\uff1d\uff0b\uff20]")
_LONGEST_HEADER = 4096
_LONGEST_RECORD = 4 * 1024 * 1024
# One record as Python's csv reads it: quotes count only at the start of a cell. Possessive, so that it cannot backtrack.
# One of several lines must close its quotes as RFC 4180 has it: else a stray quote would take the rows up to the next.
_PLAIN_CELL, _QUOTED_CELL = rb'[^",\r\n][^,\r\n]*+|', rb'"(?:[^"]++|"")*+"'
_ONE_LINE, _LINES = (
    re.compile(cell + rb"(?:," + cell + rb")*+\r*\n?")
    for cell in (
        rb"(?:" + _QUOTED_CELL + rb"[^,\r\n]*+|" + _PLAIN_CELL + rb")",
        rb"(?:" + _QUOTED_CELL + rb"|" + _PLAIN_CELL + rb")",
    )
)


class BadFile(EhcError):
    """The file cannot be imported at all: no header, an unknown column, another encoding."""

    code = "import-file"


class Piece(NamedTuple):
    """Whole records. `begins` is the first byte's offset in the file, `first_line` its line (the header is on line 1)."""

    number: int
    begins: int
    first_line: int
    data: bytes


class Record(NamedTuple):
    """One row: the line it begins on and its cells; `cells` None where it cannot be read, for the reason in `fault`."""

    line: int
    cells: list[str] | None
    fault: str = ""


class Cutter:
    """Cuts what `read(size)` gives into pieces of about `size` bytes. The same input is always cut the same way."""

    def __init__(self, read: Callable[[int], bytes], *, size: int = PIECE_BYTES) -> None:
        self._read, self._size = read, size
        self._held = b""
        self._at, self._line = 0, 1

    def header(self, encoding: str) -> list[str]:
        """The names in the header, in their order. Raises `BadFile`. Call it first, and once."""
        while len(self._held) < _LONGEST_HEADER and b"\n" not in self._held and self._more(_LONGEST_HEADER):
            pass
        if self._held.startswith(_BOM):
            self._take(len(_BOM))
        end = self._held.find(b"\n", 0, _LONGEST_HEADER) + 1
        first = self._take(end or min(len(self._held), _LONGEST_HEADER))
        self._line += 1
        return _header(first, encoding)

    def pieces(self) -> Iterator[Piece]:
        """The records after the header. Raises `BadFile` for a record longer than 4 MiB."""
        number, wanted = 0, self._size
        while True:
            while len(self._held) < wanted and self._more(wanted - len(self._held)):
                pass
            last = len(self._held) < wanted
            if not self._held:
                return
            end = _whole(self._held, last=last)
            if not end:  # one record fills all that is held
                wanted += self._size
                _require_bounded(wanted)
                continue
            begins, line = self._at, self._line
            data = self._take(end)
            self._line += data.count(b"\n")
            yield Piece(number, begins, line, data)
            number, wanted = number + 1, self._size

    def _more(self, size: int) -> bool:
        """Read on; whether there was more."""
        more = self._read(size)
        self._held += more
        return bool(more)

    def _take(self, count: int) -> bytes:
        taken, self._held = self._held[:count], self._held[count:]
        self._at += count
        return taken


def records(data: bytes, *, first_line: int, encoding: str) -> Iterator[Record]:
    """The rows of a piece. Empty lines are passed over."""
    if b'"' not in data:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            pass  # line by line, to say which
        else:
            yield from _plain(text, first_line)
            return
    line = first_line
    for begin, end, lines, closed in _borders(data, last=True):
        whole = data[begin:end]
        if whole.strip(b"\r\n"):
            yield _record(line, whole, closed, encoding)
        line += lines


def cell_getter(header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
    """From the cells of a row, with one empty cell appended, the cells of `COLUMNS`: empty where the file has none."""
    places = {name: at for at, name in enumerate(header)}
    return itemgetter(*(places.get(name, len(header)) for name in COLUMNS))


def guarded(cell: str) -> str:
    """A cell as it is written for others to open: what a spreadsheet would run has a `'` in front; `bare` takes it off."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def bare(cell: str) -> str:
    """A cell without the `'` of `guarded`. Every other `'` stays."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def _plain(text: str, line: int) -> Iterator[Record]:
    for row in text.split("\n"):
        bare = row.rstrip("\r")
        if bare:
            yield Record(line, bare.split(","))
        line += 1


def _record(line: int, whole: bytes, closed: bool, encoding: str) -> Record:
    if not closed:
        return Record(line, None, "quote")
    try:
        text = whole.decode(encoding).rstrip("\r\n")
    except UnicodeDecodeError:
        return Record(line, None, "encoding")
    if '"' not in text:
        return Record(line, text.split(","))
    try:
        return Record(line, next(csv.reader((text,))))
    except csv.Error:
        return Record(line, None, "quote")


def _whole(held: bytes, *, last: bool) -> int:
    """How many bytes from the front are whole records, whatever follows them."""
    if b'"' not in held:
        return len(held) if last else held.rfind(b"\n") + 1
    return max((end for _, end, _, _ in _borders(held, last=last)), default=0)


def _borders(data: bytes, *, last: bool) -> Iterator[tuple[int, int, int, bool]]:
    """Begin, end and lines of each record, and whether its quotes are closed.

    Unless these are the `last` bytes, ends before a record that depends on what follows.
    """
    at = 0
    while at < len(data):
        end = first = _line_end(data, at, last=last)
        lines, closed = 1, bool(end) and _is_closed(data, at, end, _ONE_LINE)
        while end and not closed and lines < MOST_LINES and (end < len(data) or not last):
            end, lines = _line_end(data, end, last=last), lines + 1
            closed = bool(end) and _is_closed(data, at, end, _LINES)
        if not end:
            return
        if not closed:
            end, lines = first, 1
        yield at, end, lines, closed
        at = end


def _line_end(data: bytes, at: int, *, last: bool) -> int:
    """Where the line ends that begins here; 0 if its end is not there yet."""
    return data.find(b"\n", at) + 1 or (len(data) if last else 0)


def _is_closed(data: bytes, begin: int, end: int, form: re.Pattern[bytes]) -> bool:
    return data.find(b'"', begin, end) < 0 or form.fullmatch(data, begin, end) is not None


def _require_bounded(wanted: int) -> None:
    if wanted > _LONGEST_RECORD:
        raise BadFile(
            Text("文件中有一行超过 4 MiB，不是人员名单。", "A line is longer than 4 MiB. This is no list of people.")
        )


def _header(first: bytes, encoding: str) -> list[str]:
    try:
        cells = next(csv.reader((first.decode(encoding).rstrip("\r\n"),)), [])
    except (UnicodeDecodeError, csv.Error):
        raise BadFile(
            Text(
                "无法读取表头：请确认文件是 CSV，并用 --encoding 指明编码（utf-8 或 gb18030）。",
                "The header cannot be read. Is this a CSV file, and is the encoding (utf-8 or gb18030) the right one?",
            )
        ) from None
    names = [cell.strip().lower() for cell in cells]
    if not set(REQUIRED) <= set(names) <= set(COLUMNS) or len(set(names)) != len(names):
        listed = ",".join(COLUMNS)
        raise BadFile(
            Text(
                f"表头应由这些列名组成，各至多一次：{listed}；前三列必须有。",
                f"The header holds these names, each at most once: {listed}. The first three must be there.",
            )
        )
    return names
