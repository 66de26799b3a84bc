"""Cuts the fonts of printed cards: small WOFF files, so that a sheet reads a few of them and never a whole CJK font.

    python -m ehc.issuer.glyphs.cut NotoSansCJK-Regular.ttc HanaMinB.ttf

`base.woff` holds letters, signs and the 3,755 common characters of GB 2312, which is all that our own wording needs; every
other file holds 512 code points and is named by the first of them. README.md says where the two sources come from.
"""

import sys
from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from fontTools.fontBuilder import FontBuilder
from fontTools.misc.timeTools import timestampFromString
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.recordingPen import DecomposingRecordingPen
from fontTools.pens.transformPen import TransformPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont, sfnt

BLOCK_BITS = 9
_NOTO_SC = 2
"""The simplified Chinese face of the Noto collection."""
_HAN = (range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0x20000, 0x323B0))
_EXT_B = range(0x20000, 0x2A6E0)
_LETTERS = (range(0x20, 0x7F), range(0xA0, 0x250), range(0x370, 0x530), range(0x1E00, 0x1F00), range(0x2010, 0x2040))
_SIGNS = (range(0x3001, 0x3020), range(0x3041, 0x3100), range(0x3105, 0x3130), range(0xFF01, 0xFF60), (0x00B7, 0x2022))
# Units to the em. A name is printed at 5 mm and less, where 1/256 of it is a quarter of a dot at 300 dpi.
_EM_BASE, _EM_HAN, _EM_RARE = 1000, 384, 256
_MADE = timestampFromString("Thu Jan  1 00:00:00 2026")
# HanaMin draws curves as many short lines; points nearer than this to the line between their neighbours go (em is 1024).
_HANA_TOLERANCE = 3.0

Point = tuple[float, float]


class Drawn(NamedTuple):
    """One character's outline as a TrueType glyph, and its advance in the target em."""

    glyph: Any
    advance: int


def cut(noto_path: Path, hana_path: Path, to: Path) -> None:
    """Writes base.woff and one file for each block of 512 code points that has a character."""
    sfnt.USE_ZOPFLI = True
    noto, hana = TTFont(noto_path, fontNumber=_NOTO_SC, lazy=True), TTFont(hana_path, lazy=True)
    in_noto, in_hana = noto.getBestCmap(), hana.getBestCmap()
    base = {code for part in (*_LETTERS, *_SIGNS, _common()) for code in part if code in in_noto}
    _write(to / "base.woff", {code: _from_noto(noto, in_noto[code], _EM_BASE) for code in base}, _EM_BASE)
    blocks: dict[int, list[int]] = defaultdict(list)
    for code in (code for part in _HAN for code in part):
        if code not in base and (code in in_noto or (code in _EXT_B and code in in_hana)):
            blocks[code >> BLOCK_BITS].append(code)
    for block, codes in blocks.items():
        em = _EM_HAN if codes[0] < _EXT_B.start else _EM_RARE
        drawn = {
            code: _from_noto(noto, in_noto[code], em) if code in in_noto else _from_hana(hana, in_hana[code], em)
            for code in codes
        }
        _write(to / f"{block << BLOCK_BITS:05x}.woff", drawn, em)


def _common() -> Iterable[int]:
    """The level 1 characters of GB 2312-80: rows 16 to 55."""
    for row in range(16, 56):
        for cell in range(1, 95):
            try:
                yield ord(bytes((row + 0xA0, cell + 0xA0)).decode("gb2312"))
            except UnicodeDecodeError:  # the last five cells of row 55 are empty
                return


def _from_noto(font: TTFont, name: str, em: int) -> Drawn:
    glyphs, scale = font.getGlyphSet(), em / font["head"].unitsPerEm
    outline, pen = DecomposingRecordingPen(glyphs), TTGlyphPen(None)
    glyphs[name].draw(outline)
    outline.replay(TransformPen(Cu2QuPen(pen, 0.7, reverse_direction=True), (scale, 0, 0, scale, 0, 0)))
    return Drawn(pen.glyph(), round(glyphs[name].width * scale))


def _from_hana(font: TTFont, name: str, em: int) -> Drawn:
    table, scale, pen = font["glyf"], em / font["head"].unitsPerEm, TTGlyphPen(None)
    points, ends, _ = table[name].getCoordinates(table)
    start = 0
    for end in ends:
        ring = _simpler([(x, y) for x, y in points[start : end + 1]])
        start = end + 1
        grid = [(round(x * scale), round(y * scale)) for x, y in ring]
        grid = [after for before, after in pairwise([grid[-1], *grid]) if before != after]
        if len(grid) > 2:
            pen.moveTo(grid[0])
            for point in grid[1:]:
                pen.lineTo(point)
            pen.closePath()
    return Drawn(pen.glyph(), round(font["hmtx"][name][0] * scale))


def _simpler(ring: list[Point]) -> list[Point]:
    """The closed line with fewer points, none of those left out further than the tolerance from it (Douglas-Peucker)."""
    closed = [*ring, ring[0]]
    far = max(range(len(ring)), key=lambda at: _off(closed[at], ring[0], ring[0]))
    kept = [0, *_kept(closed, 0, far), far, *_kept(closed, far, len(ring))]
    return [closed[at] for at in kept]


def _kept(line: list[Point], first: int, last: int) -> list[int]:
    if last - first < 2:
        return []
    at = max(range(first + 1, last), key=lambda n: _off(line[n], line[first], line[last]))
    if _off(line[at], line[first], line[last]) <= _HANA_TOLERANCE:
        return []
    return [*_kept(line, first, at), at, *_kept(line, at, last)]


def _off(point: Point, start: Point, end: Point) -> float:
    """How far a point is from the line through two others, or from the one point they are."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = float((dx * dx + dy * dy) ** 0.5)
    px, py = point[0] - start[0], point[1] - start[1]
    return abs(px * dy - py * dx) / length if length else float((px * px + py * py) ** 0.5)


def _write(path: Path, drawn: dict[int, Drawn], em: int) -> None:
    names = {code: f"u{code:X}" for code in sorted(drawn)}
    builder = FontBuilder(em, isTTF=True)
    glyphs = {".notdef": TTGlyphPen(None).glyph()} | {name: drawn[code].glyph for code, name in names.items()}
    advances = {".notdef": em} | {name: drawn[code].advance for code, name in names.items()}
    builder.setupGlyphOrder(list(glyphs))
    builder.setupCharacterMap(names)
    builder.setupGlyf(glyphs)
    builder.setupHorizontalMetrics({name: (advances[name], getattr(glyphs[name], "xMin", 0)) for name in glyphs})
    builder.setupHorizontalHeader(ascent=round(0.88 * em), descent=round(-0.12 * em))
    full_name = f"EHC Print {path.stem}"
    builder.setupNameTable({"familyName": full_name, "styleName": "Regular", "fullName": full_name})
    builder.setupOS2(sCapHeight=round(0.733 * em))
    builder.setupPost(keepGlyphNames=False)
    builder.updateHead(created=_MADE, modified=_MADE)
    builder.font.flavor = "woff"
    builder.font.recalcTimestamp = False
    builder.font.save(path)


if __name__ == "__main__":
    cut(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parent)
