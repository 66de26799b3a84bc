"""Text on printed cards: set in the fonts that come along in `glyphs/`, of which a PDF embeds only what it draws.

The characters that names are made of lie in small files of 512 code points (`glyphs/README.md`), read when a sheet needs
them and given back with it, so a worker holds no CJK font. Text runs left to right without shaping: a character of a script
that needs it, or that no file has, is drawn as 〓 and never left out.
"""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import cast

from fpdf import FPDF
from fpdf.enums import TextMode
from fpdf.fonts import TTFFont

SUBSTITUTE = "〓"
"""Stands for a character that cannot be drawn, as printers do (U+3013, the geta mark)."""
_GLYPHS = Path(__file__).parent / "glyphs"
_BLOCK_BITS = 9
_MM_PER_POINT = 25.4 / 72
_LEADING = 1.3
_LEAST_BOLD = 9
_BOLD_STROKE = 0.03
"""Bold is the outline drawn along, this part of the size wide: one weight of font is enough then."""

_LEAST_WHOLE = 6
"""A text gets smaller, down to so many points, before a word of it is cut."""

# What a line may not be broken within: a word, or a part of one up to its hyphen, or any one other character; with the marks
# that close it, and the dot within a name, which begins no line.
_CLOSING = "，。；：、！？）》”·"
_UNBROKEN = re.compile(rf"(?:[!-,.-\u2e7f]*-+|[!-,.-\u2e7f]+|.) *[{_CLOSING}]*")
_SIGN = re.compile(rf".[{_CLOSING}]*")


class Typesetter:
    """Sets text on the pages of one PDF, in millimetres and points. Use as a context: it closes the font files."""

    def __init__(self, pdf: FPDF) -> None:
        self._pdf = pdf
        self._fonts: dict[str, TTFFont] = {}
        self._homes: dict[str, str | None] = {}

    def __enter__(self) -> "Typesetter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for font in self._fonts.values():
            font.close()

    def undrawable(self, text: str) -> list[str]:
        """The characters of a text that are drawn as 〓, each once, in their order."""
        return list(dict.fromkeys(sign for sign in text if self._home(sign) is None))

    def width(self, text: str, *, size: float) -> float:
        """How wide a text of `size` points is, in millimetres."""
        units = sum(self._fonts[name].cw[ord(sign)] for name, sign in map(self._placed, text))
        return units / 1000 * size * _MM_PER_POINT

    def write(self, x: float, y: float, text: str, *, size: float, bold: bool = False) -> None:
        """Draws one line from `x` along the baseline `y`, both in millimetres from the top left corner."""
        for name, run in self._runs(text):
            with self._weight(size, bold=bold):
                self._pdf.set_font(name, size=size)
                self._pdf.text(x, y, run)
            x += self.width(run, size=size)

    def _weight(self, size: float, *, bold: bool) -> AbstractContextManager[None]:
        if not bold:
            return nullcontext()
        # fpdf2 takes the line width of text in points, whatever the unit of the page.
        return self._pdf.local_context(
            text_mode=TextMode.FILL_STROKE, line_width=_BOLD_STROKE * size, draw_color=self._pdf.text_color
        )

    def wrap(self, text: str, *, size: float, width: float) -> list[str]:
        """A text as lines of at most `width` millimetres. A word that is wider than a line is broken anywhere."""
        lines = [""]
        for piece in self._pieces(text, size=size, width=width):
            if lines[-1] and self.width((lines[-1] + piece).rstrip(), size=size) > width:
                lines.append("")
            lines[-1] += piece
        return [line.rstrip() for line in lines]

    def paragraph(self, x: float, y: float, text: str, *, size: float, width: float) -> float:
        """Draws a text of several lines, the first on baseline `y`; the baseline after the last comes back."""
        for line in self.wrap(text, size=size, width=width):
            self.write(x, y, line, size=size)
            y += size * _LEADING * _MM_PER_POINT
        return y

    def fitted(
        self, x: float, y: float, text: str, *, box: tuple[float, float], size: float, bold: bool = False
    ) -> float:
        """Draws a text from the top left corner of a box (millimetres), as large as fits; the end of it comes back.

        Starts from `size` and goes down as far as it must, since a name has to be whole: first until no word of it is cut, if
        6 points do for that, then until all lines are in the box. Bold ends under 9 points, and for characters that the base
        font does not have: they are rare, so they have many strokes, and it would fill the gaps between these.
        """
        size = self._uncut(text, size=size, width=box[0])
        lines = self.wrap(text, size=size, width=box[0])
        while len(lines) * size * _LEADING * _MM_PER_POINT > box[1]:
            size -= 0.25
            lines = self.wrap(text, size=size, width=box[0])
        bold = bold and size >= _LEAST_BOLD and all(self._placed(sign)[0] == "base" for sign in text)
        for line in lines:
            y += size * _LEADING * _MM_PER_POINT
            self.write(x, y - size * 0.35 * _MM_PER_POINT, line, size=size, bold=bold)
        return y

    def _uncut(self, text: str, *, size: float, width: float) -> float:
        """The largest size, `size` at most, that cuts no word; `size` itself if that would be under 6 points."""
        longest = max((self.width(piece.rstrip(), size=1) for piece in _UNBROKEN.findall(text)), default=0)
        wanted = size
        while longest * wanted > width and wanted > _LEAST_WHOLE:
            wanted -= 0.25
        return wanted if longest * wanted <= width else size

    def _pieces(self, text: str, *, size: float, width: float) -> Iterator[str]:
        for piece in _UNBROKEN.findall(text):
            if self.width(piece.rstrip(), size=size) > width:
                yield from _SIGN.findall(piece)
            else:
                yield piece

    def _runs(self, text: str) -> Iterator[tuple[str, str]]:
        """A text as it is drawn, in runs of one font each."""
        for name, run in groupby(map(self._placed, text), key=lambda placed: placed[0]):
            yield name, "".join(sign for _, sign in run)

    def _placed(self, sign: str) -> tuple[str, str]:
        """The font for a character, and what is drawn for it."""
        home = self._home(sign)
        return (home, sign) if home else ("base", SUBSTITUTE)

    def _home(self, sign: str) -> str | None:
        """The font that has a character, or None."""
        if sign not in self._homes:
            block = f"{ord(sign) >> _BLOCK_BITS << _BLOCK_BITS:05x}"
            self._homes[sign] = next((name for name in ("base", block) if self._has(name, sign)), None)
        return self._homes[sign]

    def _has(self, name: str, sign: str) -> bool:
        if name not in self._fonts:
            path = _GLYPHS / f"{name}.woff"
            if not path.exists():
                return False
            self._pdf.add_font(name, fname=path)
            self._fonts[name] = cast("TTFFont", self._pdf.fonts[name])
        return ord(sign) in self._fonts[name].cmap
