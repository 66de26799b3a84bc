"""Draws printed cards as PDF. A process of its own (`python -m ehc.issuer.drawing`) for `ehc/issuer/printing.py`.

The code is drawn as vectors at level Q, since paper gets folded and stained, with a quiet zone of 4 modules. Its modules
are whole dots of a 300 dpi printer, as many as the layout has room for: for a code of 300 digits 7 dots (0.59 mm) on a
card and 5 (0.42 mm) on a sticker. A sheet is a pure function of what is printed: the same `Printed` gives the same bytes,
dated by its day of printing. Title and metadata name no one.
"""

import select
import sys
from datetime import UTC, date, datetime, time
from itertools import groupby
from typing import Any, NamedTuple

import orjson
from fpdf import FPDF
from fpdf.drawing import PaintedPath
from fpdf.enums import PathPaintRule
from qrcode.constants import ERROR_CORRECT_Q
from qrcode.main import QRCode
from qrcode.util import MODE_NUMBER, QRData

from ehc.cards.states import Level
from ehc.core.masking import mask_number
from ehc.core.tables import document_types
from ehc.issuer.fonts import SUBSTITUTE, Typesetter
from ehc.issuer.printing import IDLE_SECONDS, LENGTH_BYTES, Layout, Printed

DOT = 25.4 / 300
"""One dot of a printer at 300 dpi, in millimetres."""
LEAST_DOTS = 4
"""Smallest edge of a module in dots: 0.34 mm, what hand-held scanners resolve."""
QUIET_ZONE = 4

_INK, _GREY, _BAND = (0, 0, 0), (95, 95, 95), (0, 98, 112)
_TITLE_ZH, _TITLE_EN = "电子健康卡", "Electronic Health Card"
_SUPERVISOR = "国家卫生健康委员会监制"
_MARGIN = 3.0
_LEVELS = {
    Level.NONE: "未核验 Unverified",
    Level.SELF_DECLARED: "本人申报 Self-declared",
    Level.DOCUMENT_SEEN: "已核对证件 Document seen",
    Level.CLERK: "工作人员核验 Seen by staff",
    Level.EXTERNAL_MATCH: "已联网核验 Matched online",
}


PAGES = {Layout.A4: (210.0, 297.0), Layout.CARD: (85.6, 54.0), Layout.STICKER: (50.0, 30.0)}
"""Width and height of each page in millimetres. 85.6 × 54 is ID-1 (ISO/IEC 7810)."""
_CODE_EDGES = {Layout.A4: 39.0, Layout.CARD: 39.0, Layout.STICKER: 29.4}


class Corner(NamedTuple):
    """The top left corner of something, in millimetres from that of the page."""

    x: float
    y: float


def draw(sheet: Printed, layout: Layout) -> bytes:
    """One page as PDF, its fonts embedded. Takes some 0.2 s.

    A character of the name that no font has is drawn as 〓, with a line that tells its code point. Raises `ValueError`
    for a code that is not digits or needs modules under 4 dots: 703 digits on a sticker, 1,358 elsewhere, are the most.
    `KeyError` for a kind of document that is in no table.
    """
    pdf = FPDF(unit="mm", format=PAGES[layout])
    pdf.set_auto_page_break(False)
    pdf.set_margin(0)
    pdf.set_creation_date(datetime.combine(sheet.printed_on, time(), UTC))
    pdf.set_title(f"{_TITLE_ZH} {_TITLE_EN}")
    pdf.set_producer("ehc")
    pdf.set_lang("zh-CN")
    pdf.add_page()
    with Typesetter(pdf) as type_:
        match layout:
            case Layout.A4:
                _draw_a4(pdf, type_, sheet)
            case Layout.CARD:
                _draw_card(pdf, type_, sheet, Corner(0, 0))
            case Layout.STICKER:
                _draw_sticker(pdf, type_, sheet)
        return bytes(pdf.output())


def symbol(code: str) -> list[list[bool]]:
    """The QR symbol of a code as rows of modules, True for dark, quiet zone included. Raises `ValueError`: not digits."""
    if not (code.isascii() and code.isdigit()):
        raise ValueError("a printed code is decimal digits")
    qr = QRCode[None](error_correction=ERROR_CORRECT_Q, border=QUIET_ZONE)
    qr.add_data(QRData(code, mode=MODE_NUMBER))
    return [[bool(module) for module in row] for row in qr.get_matrix()]


def module_dots(modules: int, layout: Layout) -> int:
    """Edge of a module in dots of 300 dpi, for a symbol of that many modules with its quiet zone.

    Raises `ValueError` if it would be under 4.
    """
    dots = int(_CODE_EDGES[layout] / DOT / modules)
    if dots < LEAST_DOTS:
        raise ValueError("the code is too long for this layout")
    return dots


def _draw_code(pdf: FPDF, code: str, layout: Layout, box: Corner) -> None:
    """The symbol in the middle of a square box. One path, so that no viewer shows seams between its rows."""
    grid = symbol(code)
    dots = module_dots(len(grid), layout)
    spare = _CODE_EDGES[layout] / DOT - len(grid) * dots
    left, top = (round(at / DOT + spare / 2) for at in box)
    path = PaintedPath()
    path.style.fill_color, path.style.paint_rule = "#000", PathPaintRule.FILL_NONZERO
    for y, row in enumerate(grid):
        x = 0
        for dark, run in groupby(row):
            length = len(list(run))
            if dark:
                path.rectangle((left + x * dots) * DOT, (top + y * dots) * DOT, length * dots * DOT, dots * DOT)
            x += length
    with pdf.drawing_context() as drawing:
        drawing.add_item(path, clone=False)


def _draw_card(pdf: FPDF, type_: Typesetter, sheet: Printed, at: Corner) -> None:
    width, _ = PAGES[Layout.CARD]
    edge = _CODE_EDGES[Layout.CARD]
    pdf.set_fill_color(*_BAND)
    pdf.rect(at.x, at.y, width, 9.5, style="F")
    pdf.set_text_color(255, 255, 255)
    type_.write(at.x + _MARGIN, at.y + 6.6, _TITLE_ZH, size=13, bold=True)
    end = at.x + _MARGIN + type_.width(_TITLE_ZH, size=13)
    type_.write(end + 2, at.y + 6.6, _TITLE_EN, size=8)
    pdf.set_text_color(*_INK)
    _draw_code(pdf, sheet.code, Layout.CARD, Corner(at.x + width - edge - 1.5, at.y + 10.3))
    left, room = at.x + _MARGIN, width - edge - 1.5 - _MARGIN
    y = _label(pdf, type_, Corner(left, at.y + 13.2), "姓名 Name")
    type_.fitted(left, y, sheet.name, box=(room, 8.6), size=15, bold=True)
    _draw_unknown(pdf, type_, sheet.name, Corner(left, at.y + 22.6), (room, 2.5))
    y = _label(pdf, type_, Corner(left, at.y + 28.2), "证件 Document")
    y = type_.fitted(left, y, document_types()[sheet.id_type].name.zh, box=(room, 3.4), size=7)
    type_.fitted(left, y, mask_number(sheet.id_number), box=(room, 3.8), size=8)
    _pair(pdf, type_, Corner(left, at.y + 40.6), ("核验 Level", _LEVELS[Level(sheet.level)]), room / 2)
    _pair(
        pdf,
        type_,
        Corner(left + room / 2, at.y + 40.6),
        ("有效期至 Valid until", sheet.valid_until.isoformat()),
        room / 2,
    )
    type_.fitted(left, at.y + 45.0, f"发卡机构 Issuer {sheet.issuer}", box=(room, 4.2), size=6)
    pdf.set_text_color(*_GREY)
    type_.fitted(left, at.y + 49.4, f"{_SUPERVISOR}  {sheet.reference}", box=(room, 2.6), size=5)
    pdf.set_text_color(*_INK)


def _label(pdf: FPDF, type_: Typesetter, at: Corner, text: str) -> float:
    """A small grey heading on baseline `at.y`; where what it heads begins comes back."""
    pdf.set_text_color(*_GREY)
    type_.write(at.x, at.y, text, size=5)
    pdf.set_text_color(*_INK)
    return at.y + 0.5


def _pair(pdf: FPDF, type_: Typesetter, at: Corner, said: tuple[str, str], room: float) -> None:
    label, value = said
    type_.fitted(at.x, _label(pdf, type_, at, label), value, box=(room - 1, 3.4), size=7)


def _draw_unknown(pdf: FPDF, type_: Typesetter, name: str, at: Corner, box: tuple[float, float]) -> None:
    """Says which characters of the name are drawn as 〓, so that a clerk can write them in by hand."""
    unknown = type_.undrawable(name)
    if not unknown:
        return
    points = " ".join(f"U+{ord(sign):04X}" for sign in unknown[:3]) + (" …" if len(unknown) > 3 else "")
    pdf.set_text_color(*_GREY)
    type_.fitted(at.x, at.y, f"{SUBSTITUTE} 无法印出的字 not printable: {points}", box=box, size=5)
    pdf.set_text_color(*_INK)


def _draw_sticker(pdf: FPDF, type_: Typesetter, sheet: Printed) -> None:
    width, height = PAGES[Layout.STICKER]
    edge = _CODE_EDGES[Layout.STICKER]
    _draw_code(pdf, sheet.code, Layout.STICKER, Corner(0.3, (height - edge) / 2))
    left = edge + 1.3
    room = width - left - 1.5
    y = type_.fitted(left, 2, sheet.name, box=(room, 17.5), size=14, bold=True)
    y = type_.fitted(left, y + 0.4, mask_number(sheet.id_number), box=(room, 2.7), size=6)
    _draw_unknown(pdf, type_, sheet.name, Corner(left, y + 0.3), (room, 5.5))


_NOTES_ZH = (
    "看病时出示二维码，可用于挂号、取号、就诊、检查和取药，不用于缴费。",
    "打印的二维码是静态码：工作人员可能请您出示有效身份证件，或报手机号后四位。",
    "沿虚线裁下卡片，随身携带。请勿折叠、涂写或遮挡二维码；扫不出时请重新打印。",
    "二维码不含您的姓名和证件号码。请勿转借他人，也不要拍照上传网络。",
    "遗失或被盗用时，请凭身份证件到就近的受理机构挂失并重新打印。",
    "卡面姓名中的“〓”表示暂时无法印出的字，以身份证件上的姓名为准。",
)
_NOTES_EN = (
    "Show the code when you register, see a doctor, have tests or collect medicine. It does not serve to pay.",
    "A printed code does not change, so staff may ask for your identity document or the last digits of your phone.",
    "Cut the card out along the dashed line and carry it with you. Do not fold, write on or cover the code; if it no "
    "longer scans, have it printed again.",
    "The code holds neither your name nor your document number. Do not lend it, and do not post pictures of it.",
    "If it is lost or misused, report it at any institution that takes the card, with your identity document, and have "
    "a new one printed.",
    "A 〓 in the name stands for a character that cannot be printed yet; the name on your identity document counts.",
)


def _draw_a4(pdf: FPDF, type_: Typesetter, sheet: Printed) -> None:
    width, height = PAGES[Layout.A4]
    left, room = 25.0, width - 50
    _centred(type_, 30, _TITLE_ZH, size=30, bold=True)
    _centred(type_, 39, _TITLE_EN, size=14)
    _centred(type_, 46, sheet.issuer, size=10)
    card = Corner(round((width - PAGES[Layout.CARD][0]) / 2 / DOT) * DOT, round(56 / DOT) * DOT)
    _draw_card(pdf, type_, sheet, card)
    _draw_cut_marks(pdf, card)
    pdf.set_text_color(*_GREY)
    _centred(type_, 119.5, "沿虚线裁下 Cut along the dashed line", size=7)
    pdf.set_text_color(*_INK)
    y = _draw_notes(type_, Corner(left, 132), "使用说明", _NOTES_ZH, room=room, size=10.5)
    _draw_notes(type_, Corner(left, y + 6), "How to use this card", _NOTES_EN, room=room, size=9.5)
    pdf.set_draw_color(*_BAND)
    pdf.line(left, height - 28, width - left, height - 28)
    _centred(type_, height - 22, _SUPERVISOR, size=10)
    pdf.set_text_color(*_GREY)
    printed = f"打印日期 Printed {sheet.printed_on.isoformat()}    编号 Reference {sheet.reference}"
    _centred(type_, height - 16, printed, size=7.5)


def _centred(type_: Typesetter, y: float, text: str, *, size: float, bold: bool = False) -> None:
    x = (PAGES[Layout.A4][0] - type_.width(text, size=size)) / 2
    type_.write(x, y, text, size=size, bold=bold)


def _draw_cut_marks(pdf: FPDF, card: Corner) -> None:
    """A dashed outline, and at each corner two short lines outside of it, which stay true if the cut wanders."""
    width, height = PAGES[Layout.CARD]
    pdf.set_line_width(0.2)
    pdf.set_draw_color(*_GREY)
    pdf.set_dash_pattern(1.2, 1.2)
    pdf.rect(card.x, card.y, width, height)
    pdf.set_dash_pattern()
    for x, outward in ((card.x, -1), (card.x + width, 1)):
        for y, upward in ((card.y, -1), (card.y + height, 1)):
            pdf.line(x + outward * 1.5, y, x + outward * 6, y)
            pdf.line(x, y + upward * 1.5, x, y + upward * 6)


def _draw_notes(
    type_: Typesetter, at: Corner, title: str, notes: tuple[str, ...], *, room: float, size: float
) -> float:
    type_.write(at.x, at.y, title, size=size + 2.5, bold=True)
    y = at.y + size * 0.72
    for number, note in enumerate(notes, 1):
        type_.write(at.x, y, f"{number}.", size=size)
        y = type_.paragraph(at.x + 6, y, note, size=size, width=room - 6) + size * 0.07
    return y


def _printed(said: dict[str, Any]) -> Printed:
    dates = {name: date.fromisoformat(said[name]) for name in ("printed_on", "valid_until")}
    return Printed(**{**said, **dates})


def main() -> None:
    """Draws what standard input orders, a line of JSON each, until it ends or no order comes for a minute."""
    orders, answers = sys.stdin.buffer, sys.stdout.buffer
    while select.select([orders], [], [], IDLE_SECONDS)[0] and (line := orders.readline()):
        order = orjson.loads(line)
        try:
            answer = draw(_printed(order["sheet"]), Layout(order["layout"]))
        except Exception as error:  # of whatever kind; its text may hold what was to be printed, so it stays here
            answer = type(error).__name__.encode()
        answers.write(len(answer).to_bytes(LENGTH_BYTES, "big") + answer)
        answers.flush()


if __name__ == "__main__":
    main()
