"""CSV files (RFC 4180) cut into pieces of whole records, and pieces read into cells. Pure; works on bytes.

In UTF-8 and in GB 18030 no character but the comma, the quote and the line feed contains the byte of one, so borders are
found without decoding. A quoted cell may hold line feeds. A quote that is opened and not closed within `MOST_LINES` lines
and `LONGEST` bytes is a slip: its line is a bad row, and reading goes on with the next, where else it would swallow the rest
of the file. A line longer than `LONGEST` is a bad row whatever is in it, and never held in memory as a whole.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from operator import itemgetter
from typing import NamedTuple

from ehc.errors import EhcError, Text

ENCODINGS = ("utf-8", "gb18030")
MOST_LINES = 100
LONGEST = 64 * 1024
"""Bytes of one record; the longest that can be right has some thousands."""
MOST_SLIPS = 10_000
"""So many quotes that are not closed, and the file is not taken: each costs a look ahead."""
PIECE_BYTES = 128 * 1024
"""About 1,100 rows: small enough for memory, large enough that a commit costs nothing."""

_MARKS = {"utf-8": b"\xef\xbb\xbf", "gb18030": b"\x84\x31\x95\x33"}
"""U+FEFF, which some programs write at the beginning."""
# What a spreadsheet takes for a formula and runs; the wide forms too, where it is set to an East Asian language.
_FORMULA = re.compile(r"[\s']*[-=+@\uff0d\uff1d\uff0b\uff20]")
_LONGEST_HEADER = 4096
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


@dataclass(frozen=True)
class Columns:
    """The columns that a file may have, in whatever order; the first `required` ones must be there."""

    names: tuple[str, ...]
    required: int

    def getter(self, header: list[str]) -> Callable[[list[str]], tuple[str, ...]]:
        """From the cells of a row, with one empty cell appended, the cells by `names`: empty where the file has none."""
        places = {name: at for at, name in enumerate(header)}
        return itemgetter(*(places.get(name, len(header)) for name in self.names))


class BadFile(EhcError):
    """The file cannot be imported at all: no header, an unknown column, another encoding."""

    code = "import-file"


class UploadTooLarge(EhcError):
    """The file is larger than is taken."""

    code = "body-too-large"


class Piece(NamedTuple):
    """Whole records. `begins` is the first byte's offset in the file, `first_line` its line (the header is on line 1)."""

    number: int
    begins: int
    first_line: int
    data: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the data."""
        return sha256(self.data).digest()


class _Border(NamedTuple):
    """Where a record is, how many lines it has, and why it cannot be read."""

    begin: int
    end: int
    lines: int
    fault: str = ""


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
        self._at, self._line, self._slips = 0, 1, 0

    def header(self, encoding: str, columns: Columns) -> list[str]:
        """The names in the header, in their order. Raises `BadFile`. Call it first, and once."""
        while len(self._held) < _LONGEST_HEADER and b"\n" not in self._held and self._more(_LONGEST_HEADER):
            pass
        if self._held.startswith(_MARKS[encoding]):
            self._take(len(_MARKS[encoding]))
        end = self._held.find(b"\n", 0, _LONGEST_HEADER) + 1
        first = self._take(end or min(len(self._held), _LONGEST_HEADER))
        self._line += 1
        return _header(first, encoding, columns)

    def pieces(self) -> Iterator[Piece]:
        """The records after the header; of one longer than `LONGEST` no more than the beginning. Raises `BadFile`."""
        number, wanted = 0, self._size
        while True:
            while len(self._held) < wanted and self._more(wanted - len(self._held)):
                pass
            last = len(self._held) < wanted
            if not self._held:
                return
            begins, line = self._at, self._line
            if self._held.find(b"\n", 0, LONGEST + 1) < 0 and len(self._held) > LONGEST:
                data = self._take(LONGEST + 1)  # enough to tell that it is too long
                self._pass_line()
            else:
                end, slips = _whole(self._held, last=last)
                if not end:  # one record fills all that is held
                    wanted += self._size
                    continue
                self._count(slips)
                data = self._take(end)
                self._line += data.count(b"\n")
            yield Piece(number, begins, line, data)
            number, wanted = number + 1, self._size

    def _pass_line(self) -> None:
        """Go on behind the next line end."""
        while not (end := self._held.find(b"\n") + 1):
            self._take(len(self._held))
            if not self._more(self._size):
                return
        self._take(end)
        self._line += 1

    def _count(self, slips: int) -> None:
        self._slips += slips
        if self._slips > MOST_SLIPS:
            raise BadFile(
                Text(
                    f"超过 {MOST_SLIPS} 行的引号不配对，文件不符合 CSV 格式（RFC 4180），请重新导出。",
                    f"More than {MOST_SLIPS} lines open a quote and do not close it. This is no CSV (RFC 4180).",
                )
            )

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
    if b'"' not in data and _longest_line(data) <= LONGEST:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            pass  # line by line, to say which
        else:
            yield from _plain(text, first_line)
            return
    line = first_line
    for border in _borders(data, last=True):
        whole = data[border.begin : border.end]
        if whole.strip(b"\r\n"):
            yield Record(line, None, border.fault) if border.fault else _record(line, whole, encoding)
        line += border.lines


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


def _record(line: int, whole: bytes, encoding: str) -> Record:
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


def _longest_line(data: bytes) -> int:
    return len(data) if len(data) <= LONGEST else max(map(len, data.split(b"\n")))


def _whole(held: bytes, *, last: bool) -> tuple[int, int]:
    """How many bytes from the front are whole records, whatever follows them, and how many of those are slips."""
    if b'"' not in held:
        return len(held) if last else held.rfind(b"\n") + 1, 0
    end = slips = 0
    for border in _borders(held, last=last):
        end = border.end
        slips += border.fault == "quote"
    return end, slips


def _borders(data: bytes, *, last: bool) -> Iterator[_Border]:
    """Each record, from the front. Unless these are the `last` bytes, ends before one that depends on what follows."""
    at = 0
    while at < len(data):
        end = _line_end(data, at, last=last)
        if not end:
            return
        border = _Border(at, end, 1)
        if end - at - data.endswith(b"\n", at, end) > LONGEST:
            border = _Border(at, end, 1, "length")
        elif data.find(b'"', at, end) >= 0 and _ONE_LINE.fullmatch(data, at, end) is None:
            several = _several(data, at, end, last=last)
            if several is None:
                return
            border = several
        yield border
        at = border.end


def _several(data: bytes, at: int, first: int, *, last: bool) -> _Border | None:
    """The record of several lines that begins here, or its first line alone as a slip; None: it depends on what follows.

    One match goes as far as the quotes do, instead of one for each line that is added.
    """
    reach, lines, most = first, 1, at + LONGEST
    while lines < MOST_LINES and reach < min(most, len(data)):
        following = _line_end(data, reach, last=last)
        if not following:
            break
        reach, lines = min(following, most), lines + 1
    end = _record_end(data, at, reach, last=last)
    if end:
        return _Border(at, end, data.count(b"\n", at, end - 1) + 1)
    decided = lines == MOST_LINES or reach == most or len(data) > most or last
    return _Border(at, first, 1, "quote") if decided else None


def _record_end(data: bytes, at: int, reach: int, *, last: bool) -> int:
    """Where the record ends that begins here, if it does within `reach`; else 0."""
    found = _LINES.match(data, at, reach)
    end = found.end() if found else at
    return end if end > at and (data[end - 1] == 0x0A or (last and end == len(data))) else 0


def _line_end(data: bytes, at: int, *, last: bool) -> int:
    """Where the line ends that begins here; 0 if its end is not there yet."""
    return data.find(b"\n", at) + 1 or (len(data) if last else 0)


def _header(first: bytes, encoding: str, columns: Columns) -> list[str]:
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
    needed = columns.names[: columns.required]
    if not set(needed) <= set(names) <= set(columns.names) or len(set(names)) != len(names):
        listed, first_ones = ",".join(columns.names), ",".join(needed)
        raise BadFile(
            Text(
                f"表头应由这些列名组成，各至多一次：{listed}；必须有：{first_ones}。",
                f"The header holds these names, each at most once: {listed}. It must have {first_ones}.",
            )
        )
    return names
