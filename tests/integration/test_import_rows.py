"""Files cut and read, rows prepared: properties against the plain rules, and both sides of each boundary."""

import csv
import io
import re
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.cards.states import Level
from ehc.codes import national
from ehc.core.documents import Document, check_character
from ehc.core.ids import uuid7_time
from ehc.core.names import normal_name
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.files import pieces
from ehc.files.pieces import LONGEST, MOST_LINES, BadFile, Cutter, Record, records
from ehc.files.progress import Progress
from ehc.issuer.batch import preparing
from ehc.issuer.batch.bulk import BulkIndex, BulkSealer, CardIds
from ehc.issuer.batch.columns import PEOPLE
from ehc.issuer.batch.preparing import APP_LEVELS, LEVELS, Applicant, Fault, prepare
from ehc.issuer.batch.reasons import REASONS
from ehc.issuer.batch.sealing import ids_at
from tests.support.service import citizen_number

TODAY = date(2026, 1, 9)
HEAD = "name,id_type,id_number\n"


def read(data: bytes, *, size: int = 1 << 20, encoding: str = "utf-8") -> list[Record]:
    cutter = Cutter(io.BytesIO(data).read, size=size)
    cutter.header(encoding, PEOPLE)
    found: list[Record] = []
    for piece in cutter.pieces():
        assert data[piece.begins : piece.begins + len(piece.data)] == piece.data
        found += records(piece.data, first_line=piece.first_line, encoding=encoding)
    return found


cells = st.text(st.sampled_from('ab,"\n 张'), max_size=8)


@given(
    st.lists(st.lists(cells, min_size=3, max_size=3), max_size=12), st.integers(1, 80), st.sampled_from(["\n", "\r\n"])
)
def test_a_well_formed_file_reads_as_it_was_written_however_it_is_cut(
    rows: list[list[str]], size: int, ending: str
) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator=ending).writerows(rows)
    found = read((HEAD + out.getvalue()).encode(), size=size)
    lines, expected = 2, []
    for row in rows:
        expected.append((lines, row))
        lines += 1 + sum(cell.count("\n") for cell in row)
    assert [(record.line, record.cells) for record in found] == expected


@given(st.binary(max_size=200), st.integers(1, 60), st.integers(1, 60))
def test_any_bytes_are_cut_into_the_same_records_at_any_size(data: bytes, size: int, other: int) -> None:
    assert read(HEAD.encode() + data, size=size) == read(HEAD.encode() + data, size=other)


def test_a_stray_quote_costs_its_own_line_alone() -> None:
    good = "张三,01,1\n"
    data = HEAD + good + '"李四,01,2\n' + good * 200 + '王五,"01",3\n' + good
    found = read(data.encode(), size=700)
    assert [record.line for record in found if record.cells is None] == [3]
    assert len(found) == 204
    assert found[1].fault == "quote"
    assert found[202].cells == ["王五", "01", "3"]


@pytest.mark.parametrize(("lines", "fits"), [(MOST_LINES, True), (MOST_LINES + 1, False)])
def test_a_quoted_cell_has_100_lines_at_most(lines: int, fits: bool) -> None:
    cell = "\n".join(["x"] * lines)
    (first, *rest) = read(f'{HEAD}"{cell}",01,2\n'.encode())
    assert (first.cells == [cell, "01", "2"]) is fits
    assert bool(rest) is not fits


def test_a_mark_at_the_beginning_and_gb18030_are_read() -> None:
    text = HEAD + "张𠮷,01,1\n"
    assert read(b"\xef\xbb\xbf" + text.encode())[0].cells == ["张𠮷", "01", "1"]
    assert read(text.encode("gb18030"), encoding="gb18030")[0].cells == ["张𠮷", "01", "1"]
    assert read(f"\ufeff{text}".encode("gb18030"), encoding="gb18030")[0].cells == ["张𠮷", "01", "1"]


def test_bytes_of_another_encoding_cost_their_line_alone() -> None:
    data = HEAD.encode() + "张三,01,1\n".encode() + "李四,01,2\n".encode("gb18030") + "王五,01,3".encode()
    assert [record.fault for record in read(data)] == ["", "encoding", ""]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "name,id_type\n",
        "name,id_type,id_number,guardian\n",
        "name,id_type,id_number,name\n",
        "张三,01,1\n",
        "\xff\n",
    ],
)
def test_a_file_without_a_right_header_is_refused(header: str) -> None:
    with pytest.raises(BadFile):
        read(header.encode("latin-1", "replace"))


def test_names_in_the_header_may_be_in_any_order_and_case() -> None:
    assert Cutter(io.BytesIO(b" ID_Number,NAME,id_type\n").read).header("utf-8", PEOPLE) == [
        "id_number",
        "name",
        "id_type",
    ]


@pytest.mark.parametrize("size", [1000, 1 << 17, 1 << 20])
@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize(("longest", "fault"), [(LONGEST, ""), (LONGEST + 1, "length")])
def test_a_line_that_is_too_long_costs_itself_alone(size: int, quote: str, longest: int, fault: str) -> None:
    good = "张三,01,1"
    long = f"{quote}{'x' * (longest - 5 - 2 * len(quote))}{quote},01,2"
    found = read(f"{HEAD}{good}\n{long}\n{good}\n".encode(), size=size)
    assert [(record.line, record.fault) for record in found] == [(2, ""), (3, fault), (4, "")]


def test_a_line_of_megabytes_is_never_held_as_a_whole() -> None:
    data = HEAD.encode() + b"x" * (5 * 2**20) + "\n张三,01,1\n".encode()
    cutter = Cutter(io.BytesIO(data).read)
    cutter.header("utf-8", PEOPLE)
    first, second = cutter.pieces()
    assert len(first.data) == LONGEST + 1
    assert [record.fault for record in records(first.data, first_line=2, encoding="utf-8")] == ["length"]
    assert (second.first_line, data[second.begins :]) == (3, second.data)
    (last,) = read(HEAD.encode() + b"x" * (5 * 2**20))
    assert last.fault == "length"


class Counted:
    """A pattern that counts how much it looked at."""

    def __init__(self, pattern: re.Pattern[bytes]) -> None:
        self._pattern, self.times, self.examined = pattern, 0, 0

    def match(self, data: bytes, at: int, end: int) -> re.Match[bytes] | None:
        found = self._pattern.match(data, at, end)
        self.times += 1
        self.examined += end - at
        return found


@pytest.mark.parametrize("line", ['"a,\n', 'a,"b\n', '"""\n', 'a","b\n'])
def test_a_quote_that_is_not_closed_costs_one_look_ahead(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    counted = Counted(pieces._LINES)
    monkeypatch.setattr(pieces, "_LINES", counted)
    data = (line * 5000).encode()
    faults = sum(bool(record.fault) for record in records(data, first_line=2, encoding="utf-8"))
    assert counted.times <= 5000
    assert counted.examined <= MOST_LINES * len(data)
    assert faults >= 100 or line == '"""\n'


@pytest.mark.parametrize(("slips", "fits"), [(20, True), (21, False)])
def test_a_file_with_too_many_slips_is_refused(monkeypatch: pytest.MonkeyPatch, slips: int, fits: bool) -> None:
    monkeypatch.setattr(pieces, "MOST_SLIPS", 20)
    data = (HEAD + "张三,01,1\n" + '"李四,01,2,x\n' * slips).encode()
    for size in (100, 1 << 20):
        if fits:
            assert sum(record.fault == "quote" for record in read(data, size=size)) > 0
        else:
            with pytest.raises(BadFile):
                read(data, size=size)


def row(**changes: str) -> tuple[str, ...]:
    plain = {"name": "王小明", "id_type": "01", "id_number": citizen_number(1), "phone": "13800138000"}
    return tuple((dict.fromkeys(PEOPLE.names, "") | plain | changes)[name] for name in PEOPLE.names)


def found(**changes: str) -> Applicant | list[Fault]:
    prepared = prepare(
        iter([Record(7, list(row(**changes)))]), header=list(PEOPLE.names), level=Level.CLERK, today=TODAY
    )
    return prepared.applicants[0] if prepared.applicants else prepared.faults


names = st.text(
    st.one_of(
        st.characters(min_codepoint=0x3400, max_codepoint=0x4DBF),
        st.characters(min_codepoint=0x4E00, max_codepoint=0xFAFF),
        st.sampled_from("张王·. \u3000Aa①々〇\U0002f800\U00020000"),
    ),
    min_size=1,
    max_size=66,
)
numbers = st.builds(
    lambda first, right: first + (check_character(first) if right else "0"),
    st.builds(
        lambda region, year, month, day, n: f"{region}{year:04}{month:02}{day:02}{n:03}",
        st.sampled_from(["110105", "650102", "830000", "990000", "000000", "910000"]),
        st.integers(1790, 2030),
        st.integers(0, 13),
        st.integers(0, 32),
        st.integers(0, 999),
    ),
    st.booleans(),
)
others = st.text(st.sampled_from("ab 北京\n\x00\x7f\u3000\u200b1'="), max_size=12)
changes = {
    "name": names,
    "id_number": numbers,
    "phone": st.one_of(st.just(""), st.from_regex(r"1[0-9]{10}", fullmatch=True), st.just("010-62345678")),
    "sex": st.sampled_from(["", "1", "2", "9", "male", "x"]),
    "birth_date": st.sampled_from(["", "1990-03-07", "2026-01-09", "1990-3-7", "20100101"]),
    "nation": st.sampled_from(["", "01", "汉族", "火星"]),
    "address": others,
    "employer": others,
    "level": st.sampled_from(["", "clerk", "self-declared", "none", "x"]),
    "reference": others,
}
one_change = st.sampled_from(sorted(changes)).flatmap(lambda name: st.tuples(st.just(name), changes[name]))
rows = st.lists(one_change, max_size=4).map(lambda made: row(**dict(made)))


@given(rows)
def test_the_short_way_takes_only_what_the_rules_leave_as_it_is(cells: tuple[str, ...]) -> None:
    short = preparing._plain(2, cells, Level.CLERK, TODAY)
    if short is not None:
        assert short == preparing._careful(2, cells, Level.CLERK, TODAY)


@given(names)
def test_a_name_that_is_plain_is_in_normal_form(name: str) -> None:
    if preparing._PLAIN_NAME.fullmatch(name):
        assert normal_name(name) == name


def test_every_plain_ideograph_is_in_normal_form_in_any_place() -> None:
    for first in range(0x3400, 0xA000):
        if preparing._PLAIN_NAME.fullmatch(chr(first)):
            assert normal_name(f"{chr(first)}王{chr(first)}") == f"{chr(first)}王{chr(first)}"


@given(st.integers(0, 35), st.integers(0, 40_000), st.integers(0, 999))
def test_a_citizen_number_that_is_right_takes_the_short_way(region: int, days: int, sequence: int) -> None:
    born = date.fromordinal(date(1910, 1, 1).toordinal() + days)
    first = f"{('110105', '650102')[region % 2]}{born:%Y%m%d}{sequence:03}"
    cells = row(id_number=first + check_character(first), birth_date=born.isoformat())
    short = preparing._plain(2, cells, Level.CLERK, TODAY)
    assert (short is not None) is (born <= TODAY)
    wrong = "0" if check_character(first) != "0" else "1"
    assert preparing._plain(2, row(id_number=first + wrong), Level.CLERK, TODAY) is None


def test_a_row_is_brought_to_normal_form() -> None:
    told = found(
        name="王　小明 ", id_number=f" {citizen_number(1).lower()}", phone="+86 138-0013-8000", address="北京\r\n朝阳",
        nation="汉族", sex="female", level="self-declared", employer="一中", reference="卷 7",
    )  # fmt: skip
    assert told == Applicant(
        7, "王小明", "13800138000", "01", citizen_number(1), "2", date(1990, 3, 7), "01", "北京 朝阳", "一中",
        Level.SELF_DECLARED, "卷 7",
    )  # fmt: skip


def test_what_a_row_leaves_out_is_taken_from_the_number_and_the_file() -> None:
    told = found(phone="")
    assert isinstance(told, Applicant)
    assert (told.phone, told.birth_date, told.sex, told.level) == (None, date(1990, 3, 7), "1", Level.CLERK)


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"name": ""}, [("name", "required")]),
        ({"id_type": ""}, [("id_type", "required")]),
        ({"id_type": "77"}, [("id_type", "id-type-unknown")]),
        ({"id_number": "110105199003070000"}, [("id_number", "id-number-check")]),
        ({"phone": "1380013800"}, [("phone", "phone-form")]),
        ({"sex": "x"}, [("sex", "choice")]),
        ({"nation": "火星"}, [("nation", "choice")]),
        ({"level": "none"}, [("level", "choice")]),
        ({"birth_date": "1990-02-30"}, [("birth_date", "date")]),
        ({"birth_date": "19900307"}, [("birth_date", "date")]),
        ({"birth_date": "1990-03-08"}, [("birth_date", "birth-date-mismatch")]),
        ({"address": "a\x00"}, [("address", "characters")]),
        ({"name": "", "phone": "1", "sex": "x"}, [("name", "required"), ("sex", "choice"), ("phone", "phone-form")]),
    ],
)
def test_a_row_that_breaks_rules_tells_each(changes: dict[str, str], faults: list[tuple[str, str]]) -> None:
    told: Any = found(**changes)
    assert [(fault.line, fault.field, fault.code) for fault in told] == [(7, *fault) for fault in faults]
    assert [fault.position for fault in told] == list(range(len(faults)))


@pytest.mark.parametrize(
    ("column", "longest", "sign"),
    [("address", 256, "京"), ("employer", 128, "厂"), ("reference", 128, "卷"), ("name", 64, "王")],
)
def test_cells_have_a_longest(column: str, longest: int, sign: str) -> None:
    assert isinstance(found(**{column: sign * longest}), Applicant)
    assert isinstance(found(**{column: sign * (longest + 1)}), list)


def test_an_app_cannot_vouch_for_the_register() -> None:
    for level in LEVELS:
        for cells in (row(level=str(level)), row(level=str(level), name=" 王小明")):
            prepared = prepare(
                iter([Record(7, list(cells))]),
                header=list(PEOPLE.names),
                level=Level.CLERK,
                today=TODAY,
                levels=APP_LEVELS,
            )
            wrong = [Fault(7, 0, "level", "choice")] if level is Level.EXTERNAL_MATCH else []
            assert prepared.faults == wrong
            assert isinstance(found(level=str(level)), Applicant)


def test_a_birth_in_the_future_is_refused_and_one_today_is_not() -> None:
    assert isinstance(found(id_type="99", id_number="A1", birth_date="2026-01-09"), Applicant)
    told = found(id_type="99", id_number="A1", birth_date="2026-01-10")
    assert told == [Fault(7, 0, "birth_date", "birth-date-future")]


def test_a_row_with_another_number_of_columns_is_bad_as_a_whole() -> None:
    for width in (len(PEOPLE.names) - 1, len(PEOPLE.names) + 1):
        prepared = prepare(iter([Record(3, ["x"] * width)]), header=list(PEOPLE.names), level=Level.CLERK, today=TODAY)
        assert prepared.faults == [Fault(3, 0, "", "columns")]


@given(rows)
def test_every_code_has_a_reason(cells: tuple[str, ...]) -> None:
    prepared = prepare(iter([Record(2, list(cells))]), header=list(PEOPLE.names), level=Level.CLERK, today=TODAY)
    assert {fault.code for fault in prepared.faults} <= set(REASONS)


@given(
    st.binary(min_size=16, max_size=16),
    st.text("0123456789X", min_size=1, max_size=30),
    st.text(min_size=1, max_size=8),
)
def test_card_ids_are_those_of_the_national_derivation(key: bytes, number: str, name: str) -> None:
    document = Document("01", number)
    index = national.index_id(document, name.encode("utf-8", "replace").decode())
    ids = CardIds(key)
    for _ in range(2):
        assert ids.of("01", number, index) == national.hex_upper(national.card_id(key, document, index))


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 1000])
def test_ids_of_a_piece_are_version_7_ascending_and_of_its_instant(count: int) -> None:
    from uuid import UUID

    now = datetime(2026, 1, 9, 8, 0, 0, 123456, UTC)
    made = ids_at(now, count)
    assert len(set(made)) == count
    assert made == sorted(made)
    for raw in made:
        assert (UUID(bytes=raw).version, UUID(bytes=raw).variant) == (7, "specified in RFC 4122")
        assert uuid7_time(UUID(bytes=raw)) == now


@given(st.binary(min_size=1, max_size=100), st.text(max_size=20), st.text(max_size=40))
def test_indexes_in_bulk_are_the_blind_indexes(key: bytes, kind: str, value: str) -> None:
    bulk = BulkIndex(BlindIndex(key), kind)
    for _ in range(2):
        assert bulk.index(value) == BlindIndex(key).of(kind, value)


@given(st.lists(st.text(max_size=300), max_size=5), st.text(max_size=40))
def test_what_is_sealed_in_bulk_is_opened_by_the_sealer_with_a_nonce_of_its_own(texts: list[str], place: str) -> None:
    sealer = Sealer({1: bytes(32), 7: bytes(range(32))})
    bulk = BulkSealer(sealer, len(texts))
    fields = [bulk.field(text, place.encode()) for text in texts]
    assert [int.from_bytes(field[:4], "big") for field in fields] == [len(field) - 4 for field in fields]
    assert [sealer.unseal(field[4:], place) for field in fields] == texts
    assert len({field[7:19] for field in fields}) == len(texts)
    with pytest.raises(StopIteration):
        bulk.field("x", b"")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("terminal", "every"), [(True, 0.2), (False, 10.0)])
def test_progress_tells_rate_and_time_left_on_a_terminal_often_elsewhere_seldom(terminal: bool, every: float) -> None:
    out, clock = (Terminal if terminal else io.StringIO)(), [0.0]
    progress = Progress(1000, out, seconds=lambda: clock[0])
    progress.skip(200)
    clock[0] = every - 0.01
    progress.advance(100, 50)
    assert out.getvalue() == ""
    clock[0] = every
    progress.advance(100, 50)
    told = out.getvalue()
    assert (" 40%" in told, f"{100 / every:,.0f} rows/s" in told) == (True, True)
    assert f"0:{round(600 * every / 200):02} left" in told  # what an earlier start has done says nothing of the rate
    assert told.startswith("\r[############") is terminal
    progress.end()
    assert out.getvalue().endswith("\n")
