"""Printed cards: any reader gets the code back from a 300 dpi print, and the name is on it, whole, in embedded fonts."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import pypdfium2 as pdfium
import pytest
import zxingcpp
from fontTools.ttLib import TTFont
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFilter

from ehc.cards.states import Level
from ehc.core.tables import document_types
from ehc.errors import Unavailable
from ehc.issuer import fonts
from ehc.issuer.drawing import DOT, PAGES, draw, module_dots, symbol
from ehc.issuer.printing import Layout, Press, Printed, draw_pdf

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
        return str(document[0].get_textpage().get_text_bounded())
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
    for part in ("张三", "居民身份证", "1101************2X", "已核对证件", "2027-01-08", "某某省卫生健康委员会"):
        assert part in said
    assert "国家卫生健康委员会监制" in said
    assert "7c3f92a18e04" in said


def test_a_sticker_says_the_name_only() -> None:
    assert flat(words(draw(SHEET, Layout.STICKER))) == "张三"


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


def test_a_sheet_that_cannot_be_drawn_is_refused_and_the_next_one_drawn(press: Press) -> None:
    for wrong in (replace(SHEET, code="69A"), replace(SHEET, level="?"), replace(SHEET, id_type="00")):
        with pytest.raises(ValueError, match=r"^this sheet cannot be drawn$"):
            press.draw(wrong, Layout.CARD)
    assert press.draw(SHEET, Layout.STICKER).startswith(b"%PDF-")


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
