"""Printed cards: any reader gets the code back from a 300 dpi print, and the name is on it, whole, in embedded fonts."""

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import orjson
import pypdfium2 as pdfium
import pytest
import zxingcpp
from fontTools.ttLib import TTFont
from fpdf import FPDF
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFilter

from ehc.cards.states import Level
from ehc.core.tables import document_types
from ehc.errors import Unavailable
from ehc.issuer import fonts, printing
from ehc.issuer.drawing import DOT, PAGES, draw, module_dots, symbol
from ehc.issuer.printing import Layout, NotDrawable, Press, Printed, draw_pdf
from ehc.settings import MAX_ISSUER_NAME

LAYOUTS = list(Layout)
DPI = 300
CODE = "691" + "1234567" * 42 + "089"  # 300 digits
SHEET = Printed(
    code=CODE,
    name="张三",
    id_type="01",
    id_number="11010519491231002X",
    level="document-seen",
    issuer="某某省卫生健康委员会",
    reference="7c3f92a18e04",
    printed_on=date(2026, 1, 9),
    valid_until=date(2027, 1, 8),
)
LONG_NAMES = [
    "阿" * 64,
    "W" * 64,
    "MARIA FERNANDA DE LA CONCEPCION GONZALEZ-RODRIGUEZ Y MONTENEGRO",
    "𤘗" * 64,
    "\U0003fffd" * 64,
]
NAMES = [
    "张三",
    "欧阳娜娜",
    "阿依古丽·买买提",
    "ZHANG SAN",
    "O'BRIEN (JOSÉ)",
    "NGUYỄN VĂN AN",
    "㐂一",
    "𠮷野",
    "𪚥",
    "龘䶮",
]


@cache
def page(sheet: Printed, layout: Layout) -> Image.Image:
    """The page as a printer with 300 dpi puts it on paper, in grey."""
    document = pdfium.PdfDocument(draw(sheet, layout))
    try:
        assert len(document) == 1
        picture: Image.Image = document[0].render(scale=DPI / 72, grayscale=True).to_pil().convert("L")
    finally:
        document.close()
    return picture


def words(pdf: bytes) -> str:
    document = pdfium.PdfDocument(pdf)
    try:
        # The reader takes a hyphen at the end of a line for one that hyphenation put there.
        return str(document[0].get_textpage().get_text_bounded()).replace("\x02", "-")
    finally:
        document.close()


def flat(text: str) -> str:
    return re.sub(r"\s", "", text)


def read(picture: Image.Image) -> zxingcpp.Barcode:
    (found,) = zxingcpp.read_barcodes(picture, formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode))
    return found


@pytest.fixture
def press() -> Iterator[Press]:
    made = Press()
    yield made
    made.close()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_print_reads_back_as_the_code_at_level_q(layout: Layout) -> None:
    found = read(page(SHEET, layout))
    assert (found.text, found.ec_level) == (CODE, "Q")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("worn", ["blurred", "noisy", "faded", "turned", "coarse", "stained"])
def test_a_worn_print_reads_back(layout: Layout, worn: str) -> None:
    assert read(wear(page(SHEET, layout), worn)).text == CODE


def wear(picture: Image.Image, how: str) -> Image.Image:
    match how:
        case "blurred":
            return picture.filter(ImageFilter.GaussianBlur(1.5))
        case "noisy":
            return Image.blend(picture, Image.effect_noise(picture.size, 120), 0.4)
        case "faded":
            return picture.point(lambda level: 110 + level * 80 // 255)
        case "turned":
            return picture.rotate(11, expand=True, fillcolor=255, resample=Image.Resampling.BICUBIC)
        case "coarse":  # a camera that sees it at 200 dpi
            return picture.resize((picture.width * 2 // 3, picture.height * 2 // 3), Image.Resampling.BILINEAR)
    found = read(picture).position
    width = (found.top_right.x - found.top_left.x) // 7
    stained = picture.copy()
    stained.paste(
        90,
        (
            found.top_left.x + 3 * width,
            found.top_left.y + 3 * width,
            found.top_left.x + 4 * width,
            found.top_left.y + 4 * width,
        ),
    )
    return stained


@pytest.mark.parametrize(("layout", "dots"), [(Layout.A4, 7), (Layout.CARD, 7), (Layout.STICKER, 5)])
def test_modules_are_whole_dots(layout: Layout, dots: int) -> None:
    modules = len(symbol(CODE))
    assert modules == 53 + 8
    assert module_dots(modules, layout) == dots
    black = page(SHEET, layout).point(lambda level: 255 if level < 128 else 0)
    position = read(page(SHEET, layout)).position
    finder = black.crop(
        (position.top_left.x - 2, position.top_left.y - 2, position.top_left.x + 7 * dots + 2, position.top_left.y + 3)
    )
    left, _, right, _ = finder.getbbox() or (0, 0, 0, 0)
    assert right - left == 7 * dots
    assert dots * DOT > 0.33


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_quiet_zone_of_four_modules_is_white(layout: Layout) -> None:
    grid = symbol(CODE)
    margin = [*range(4), *range(len(grid) - 4, len(grid))]
    assert not any(grid[at][other] or grid[other][at] for at in margin for other in range(len(grid)))
    assert all(grid[4][4:11])
    place = read(page(SHEET, layout)).position
    quiet = 4 * module_dots(len(grid), layout)
    box = (place.top_left.x, place.top_left.y, place.bottom_right.x, place.bottom_right.y)
    around = page(SHEET, layout).crop((box[0] - quiet + 1, box[1] - quiet + 1, box[2] + quiet - 1, box[3] + quiet - 1))
    inside = (quiet - 3, quiet - 3, around.width - quiet + 3, around.height - quiet + 3)
    around.paste(255, inside)
    assert around.getextrema() == (255, 255)


@pytest.mark.parametrize(("layout", "digits"), [(Layout.STICKER, 703), (Layout.CARD, 1358), (Layout.A4, 1358)])
def test_a_code_that_would_need_smaller_modules_is_refused(layout: Layout, digits: int) -> None:
    assert module_dots(len(symbol("1" * digits)), layout) == 4
    with pytest.raises(ValueError, match="too long"):
        draw(replace(SHEET, code="1" * (digits + 1)), layout)


@pytest.mark.parametrize("code", ["", "69A", "12 3", "１２３"])
def test_a_code_is_digits(code: str) -> None:
    with pytest.raises(ValueError, match="decimal digits"):
        symbol(code)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_name_can_be_read_and_copied(layout: Layout, name: str) -> None:
    said = words(draw(replace(SHEET, name=name), layout))
    assert flat(name) in flat(said)
    assert "U+" not in said


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fonts_are_embedded_as_subsets(layout: Layout) -> None:
    pdf = draw(replace(SHEET, name="张𠮷"), layout)
    names = set(re.findall(rb"/BaseFont /(\S+)", pdf))
    assert names
    assert all(re.fullmatch(rb"[A-Z]{6}\+EHCPrint\w+", name) for name in names)
    assert pdf.count(b"/FontFile2") == len(re.findall(rb"/Type /FontDescriptor", pdf)) == len(names)
    assert len(pdf) < 80_000


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", LONG_NAMES, ids=range(len(LONG_NAMES)))
def test_a_long_name_stays_whole_and_clear_of_everything_else(layout: Layout, name: str) -> None:
    """Drawn over a sheet with a short name it changes nothing outside of the place for names."""
    sheet = replace(SHEET, name=name)
    assert read(page(sheet, layout)).text == CODE
    said = flat(words(draw(sheet, layout)))
    assert flat(name) in said or said.count("〓") >= 64
    changed = ImageChops.difference(page(sheet, layout), page(SHEET, layout)).getbbox()
    assert changed is not None
    left, top, right, bottom = (at * DOT for at in changed)
    corner = {Layout.A4: (62.2, 56.0), Layout.CARD: (0.0, 0.0), Layout.STICKER: (0.0, 0.0)}[layout]
    room = {Layout.STICKER: (30.0, 1.0, 49.0, 29.5)}.get(layout, (2.5, 13.0, 45.2, 26.0))
    assert left >= corner[0] + room[0]
    assert top >= corner[1] + room[1]
    assert right <= corner[0] + room[2]
    assert bottom <= corner[1] + room[3]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_character_without_a_glyph_is_a_mark_and_a_code_point(layout: Layout) -> None:
    said = words(draw(replace(SHEET, name="张\U000323af"), layout))
    assert "张〓" in said
    assert "U+323AF" in flat(said)


@pytest.mark.parametrize("name", ["张\u0301三", "ئەنۋەر", "བསོད་ནམས", "김철수", "\U0002a6e0"])
def test_text_that_would_need_shaping_or_a_font_is_marked_not_dropped(name: str) -> None:
    said = words(draw(replace(SHEET, name=name), Layout.CARD))
    assert said.count("〓") >= 2
    assert "U+" in said


@given(name=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=64))
@settings(max_examples=15, deadline=None)
def test_any_name_is_drawn_on_one_page(name: str) -> None:
    assert draw(replace(SHEET, name=name), Layout.STICKER).startswith(b"%PDF-")


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("id_type", sorted(document_types()))
def test_our_own_wording_is_in_the_base_font(level: Level, id_type: str) -> None:
    """So that a common sheet opens one font, and a change of wording cannot bring a 〓 to every sheet."""
    pdf = draw(replace(SHEET, level=level, id_type=id_type, name="张三"), Layout.CARD)
    assert embedded(pdf) == {b"EHCPrintbase"}
    assert "〓" not in words(pdf)
    assert document_types()[id_type].name.zh in flat(words(pdf))


def embedded(pdf: bytes) -> set[bytes]:
    return set(re.findall(rb"/BaseFont /[A-Z]{6}\+(\S+)", pdf))


def test_the_sheet_to_cut_from_has_wording_in_both_languages() -> None:
    pdf = draw(SHEET, Layout.A4)
    said = words(pdf)
    assert embedded(pdf) == {b"EHCPrintbase"}
    assert said.count("电子健康卡") == 2
    assert said.count("Electronic Health Card") == 2
    assert "使用说明" in said
    assert "How to use this card" in said
    assert "Printed 2026-01-09" in said
    assert said.count("〓") == 2  # what the mark means, once in each language


@pytest.mark.parametrize("layout", [Layout.A4, Layout.CARD])
def test_a_card_says_whose_it_is_and_until_when(layout: Layout) -> None:
    said = words(draw(SHEET, layout))
    for part in ("张三", "居民身份证", "1101************2X", "2027-01-08", "发卡机构 Issuer 某某省卫生健康委员会"):
        assert part in said
    assert "已核对证件 Document seen" in said
    assert "国家卫生健康委员会监制" in said
    assert "7c3f92a18e04" in said


def test_a_sticker_says_the_name_and_the_masked_number_only() -> None:
    assert flat(words(draw(SHEET, Layout.STICKER))) == "张三1101************2X"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["龘", "𪚥", "靐"])
def test_a_character_of_many_strokes_is_no_black_blob(layout: Layout, name: str) -> None:
    """Half of its box is white. Drawn bold, the stroke that is meant for 张 fills the gaps: 0.77 and more is ink then."""
    assert ink(page(replace(SHEET, name=name), layout), layout) < 0.6
    assert ink(page(SHEET, layout), layout) > 0  # the measure finds a name at all


def ink(picture: Image.Image, layout: Layout) -> float:
    """The part of the box around the first character of the name that is ink."""
    corner = {Layout.A4: (62.2 + 2.5, 56.0 + 13.7), Layout.CARD: (2.5, 13.7), Layout.STICKER: (30.0, 2.0)}[layout]
    left, top = (round(at / DOT) for at in corner)
    glyph = picture.crop((left, top, left + round(5.6 / DOT), top + round(6.4 / DOT)))
    black = glyph.crop(ImageChops.invert(glyph).getbbox())
    return 1 - sum(level * count for level, count in enumerate(black.histogram())) / 255 / black.width / black.height


def lines_of(name: str, width: float, *, size: float = 14) -> list[str]:
    with fonts.Typesetter(FPDF(unit="mm")) as type_:
        return type_.wrap(name, size=size, width=width)


@pytest.mark.parametrize("width", [7, 10, 12, 15, 20, 25, 30, 40])
@pytest.mark.parametrize("name", ["阿依古丽·买买提·阿卜杜热依木", "A·B·C·D·E·F·G·H·I·J·K", "阿·依·古·丽·买"])
def test_the_dot_within_a_name_begins_no_line(name: str, width: float) -> None:
    lines = lines_of(name, width)
    assert "".join(lines) == name
    assert not [line for line in lines if line.startswith("·")]


def test_a_double_name_is_broken_after_its_hyphen() -> None:
    assert lines_of("GONZALEZ-RODRIGUEZ Y MONTE", 32) == ["GONZALEZ-", "RODRIGUEZ Y", "MONTE"]
    assert lines_of("张-三", 11) == ["张-", "三"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_name_gets_smaller_before_a_word_of_it_is_cut(layout: Layout) -> None:
    pdf = draw(replace(SHEET, name="ANNA PAPADOPOULOS"), layout)
    assert "PAPADOPOULOS" in words(pdf)


def test_a_mark_in_a_name_and_the_mark_for_a_character_are_drawn_alike() -> None:
    """Also in their weight: one that came with the name is one that somebody else could not print."""
    for layout in (Layout.CARD, Layout.STICKER):
        given = page(replace(SHEET, name="张〓"), layout)
        drawn = page(replace(SHEET, name="张\U000323af"), layout)
        left, top, right, bottom = {Layout.CARD: (24, 153, 530, 236), Layout.STICKER: (354, 0, 590, 94)}[layout]
        assert given.crop((left, top, right, bottom)) == drawn.crop((left, top, right, bottom))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("number", ["11010519491231002X", "CAN110078060211", "123"])
def test_a_number_is_nowhere_in_clear(layout: Layout, number: str) -> None:
    pdf = draw(replace(SHEET, id_number=number, id_type="03"), layout)
    assert number not in words(pdf)
    assert number.encode() not in pdf


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_page_has_its_size_and_names_no_one_in_its_metadata(layout: Layout) -> None:
    document = pdfium.PdfDocument(draw(SHEET, layout))
    try:
        assert document[0].get_size() == pytest.approx([edge * 72 / 25.4 for edge in PAGES[layout]], abs=0.01)
        facts = {name: value for name, value in document.get_metadata_dict().items() if value}
    finally:
        document.close()
    assert facts == {
        "Title": "电子健康卡 Electronic Health Card",
        "Producer": "ehc",
        "CreationDate": "D:20260109000000Z",
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_sheet_has_one_pdf(layout: Layout) -> None:
    assert draw(SHEET, layout) == draw(replace(SHEET), layout)
    assert draw(SHEET, layout) != draw(replace(SHEET, name="张四"), layout)


def test_drawing_logs_nothing_and_leaves_no_font_open(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        draw(replace(SHEET, name="张\U000323af𠮷"), Layout.A4)
    assert not caplog.records
    opened = [Path(f"/proc/self/fd/{fd.name}").resolve() for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
    assert not [path for path in opened if path.suffix == ".woff"]


def test_every_glyph_file_is_named_by_the_code_points_it_holds() -> None:
    """The common characters and Ext A whole, and of Ext B what either source has: 42,720 but for a handful."""
    held: dict[str, set[int]] = {}
    for path in (Path(fonts.__file__).parent / "glyphs").glob("*.woff"):
        with TTFont(path) as font:
            held[path.stem] = set(font.getBestCmap())
    base = held.pop("base")
    assert all({f"{code >> 9 << 9:05x}" for code in codes} == {name} for name, codes in held.items())
    every = base.union(*held.values())
    assert set(range(0x4E00, 0x9FF0)) <= every
    assert set(range(0x3400, 0x4DB6)) <= every
    assert len(set(range(0x20000, 0x2A6D7)) - every) <= 20
    assert {ord(sign) for sign in "·-'./()@〓 "} <= base


def test_the_drawing_process_gives_the_same_pdf(press: Press) -> None:
    for layout in LAYOUTS:
        assert press.draw(SHEET, layout) == draw(SHEET, layout)
    assert draw_pdf(SHEET, Layout.STICKER) == draw(SHEET, Layout.STICKER)


def test_a_sheet_that_cannot_be_drawn_is_refused_and_the_next_one_drawn(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (replace(SHEET, code="69A"), replace(SHEET, level="?"), replace(SHEET, id_type="00")):
        with monkeypatch.context() as heard:
            heard.setattr(printing, "log", Mock())
            with pytest.raises(NotDrawable):
                press.draw(wrong, Layout.CARD)
            kind = "KeyError" if wrong.id_type == "00" else "ValueError"
            assert printing.log.mock_calls == [call.error("sheet not drawn", error=kind, layout=Layout.CARD)]
    assert press.draw(SHEET, Layout.STICKER).startswith(b"%PDF-")


def test_whatever_goes_wrong_while_drawing_is_an_answer_and_tells_its_kind_only() -> None:
    script = """
from ehc.issuer import drawing
def draw(sheet, layout):
    raise RecursionError(sheet.name)
drawing.draw = draw
drawing.main()
"""
    order = orjson.dumps({"layout": "card", "sheet": asdict(SHEET)}) + b"\n"
    ended = subprocess.run([sys.executable, "-c", script], input=order * 2, capture_output=True, check=True, timeout=60)
    assert ended.stdout == (len("RecursionError").to_bytes(8, "big") + b"RecursionError") * 2
    assert not ended.stderr


def test_a_drawing_process_that_hangs_is_ended_and_the_next_one_draws() -> None:
    press = Press(patience=10)
    press.draw(SHEET, Layout.STICKER)
    child = press._process
    assert child is not None
    os.kill(child.pid, signal.SIGSTOP)
    press._patience = 0.3
    began = time.monotonic()
    with pytest.raises(Unavailable):
        press.draw(SHEET, Layout.STICKER)
    assert time.monotonic() - began < 5
    assert child.wait(10) == -signal.SIGKILL
    press._patience = 20
    assert press.draw(SHEET, Layout.STICKER).startswith(b"%PDF-")
    press.close()


def test_whoever_waits_too_long_for_the_press_is_sent_away(press: Press) -> None:
    press._patience = 0.1
    with press._lock, pytest.raises(Unavailable) as refused:
        press.draw(SHEET, Layout.STICKER)
    assert refused.value.retry_after == 5


def test_nobody_is_given_the_sheet_of_whoever_gave_up_before(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    press.draw(SHEET, Layout.STICKER)

    def interrupted(*_: Any) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(printing, "_heard", interrupted)
        with pytest.raises(KeyboardInterrupt):
            press.draw(SHEET, Layout.STICKER)
    other = replace(SHEET, name="李四")
    assert press.draw(other, Layout.STICKER) == draw(other, Layout.STICKER)


def test_the_drawing_process_knows_neither_the_database_nor_a_key(
    press: Press, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("EHC_DATABASE_URL", "EHC_KEK_FILE", "PGPASSWORD"):
        monkeypatch.setenv(name, "a-secret-of-ours")
    press.draw(SHEET, Layout.STICKER)
    assert press._process is not None
    told = Path(f"/proc/{press._process.pid}/environ").read_bytes()
    assert b"a-secret-of-ours" not in told
    assert b"EHC_" not in told


def test_the_longest_name_of_an_issuer_can_be_read() -> None:
    document = pdfium.PdfDocument(draw(replace(SHEET, issuer="某" * MAX_ISSUER_NAME), Layout.CARD))
    try:
        page = document[0].get_textpage()
        boxes = [page.get_charbox(at) for at in range(page.count_chars()) if page.get_text_range(at, 1) == "某"]
    finally:
        document.close()
    assert len(boxes) == MAX_ISSUER_NAME
    heights = [(top - bottom) * 25.4 / 72 for _, bottom, _, top in boxes]
    assert min(heights) > 1.3  # millimetres, as the characters of a dictionary


def test_a_drawing_process_that_died_is_started_again(press: Press) -> None:
    press.draw(SHEET, Layout.STICKER)
    child = press._process
    assert child is not None
    child.kill()
    child.wait()
    assert press.draw(SHEET, Layout.STICKER).startswith(b"%PDF-")


def test_a_drawing_process_that_cannot_run_is_unavailable(press: Press, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Unavailable) as refused:
        press.draw(SHEET, Layout.STICKER)
    assert refused.value.retry_after == 5
    monkeypatch.undo()
    assert press.draw(SHEET, Layout.STICKER).startswith(b"%PDF-")


def test_the_drawing_process_ends_with_its_orders_or_after_a_while_without() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "ehc.issuer.drawing"], check=False, stdin=subprocess.DEVNULL, timeout=60
    )
    assert ended.returncode == 0
    idle = "from ehc.issuer import drawing; drawing.IDLE_SECONDS = 0.1; drawing.main()"
    with subprocess.Popen([sys.executable, "-c", idle], stdin=subprocess.PIPE) as waiting:
        assert waiting.wait(timeout=60) == 0


def test_a_worker_imports_none_of_what_draws() -> None:
    script = "import sys, ehc.issuer.printing; print({'fpdf', 'fontTools', 'qrcode'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.strip() == "set()"
