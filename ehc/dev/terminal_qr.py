"""A QR symbol drawn with characters, two modules to a character, and such a drawing read back as a scanner reads it."""

import re
from collections.abc import Iterator, Sequence

import zxingcpp
from PIL import Image

_INK = {(False, False): "█", (False, True): "▀", (True, False): "▄", (True, True): " "}
"""Light modules are drawn, so that the symbol is dark on light on a dark terminal; colours make it so on any."""
_WHITE_ON_BLACK, _PLAIN = "\x1b[97;40m", "\x1b[0m"
_MARGIN = 2


def draw(grid: Sequence[Sequence[bool]]) -> list[str]:
    """The symbol as lines of text. A row that is missing at the bottom counts as light."""
    light = [False] * len(grid[0])
    pairs = ((grid[y], grid[y + 1] if y + 1 < len(grid) else light) for y in range(0, len(grid), 2))
    return ["".join(_INK[upper, lower] for upper, lower in zip(*pair, strict=True)) for pair in pairs]


def coloured(lines: Sequence[str]) -> Iterator[str]:
    """The lines with explicit colours, indented."""
    return (f"{' ' * _MARGIN}{_WHITE_ON_BLACK}{line}{_PLAIN}" for line in lines)


def photograph(printed: str, *, scale: int = 4) -> Image.Image:
    """The picture that a camera would take of what was printed: each half character is a square of `scale` pixels."""
    modules = {ink: pair for pair, ink in _INK.items()}
    lines = [line for line in re.sub(r"\x1b\[[0-9;]*m", "", printed).splitlines() if line.strip(" ")]
    rows: list[list[bool]] = []
    for line in (line[_MARGIN:] for line in lines):
        upper, lower = zip(*(modules[ink] for ink in line), strict=True)
        rows += [list(upper), list(lower)]
    width = max(map(len, rows))
    pixels = bytes(0 if dark else 255 for row in rows for dark in row + [False] * (width - len(row)))
    return Image.frombytes("L", (width, len(rows)), pixels).resize(
        (width * scale, len(rows) * scale), Image.Resampling.NEAREST
    )


def read(picture: Image.Image) -> str | None:
    """The text of the QR symbol in a picture, if there is one."""
    found = zxingcpp.read_barcode(picture, formats=zxingcpp.BarcodeFormats([zxingcpp.BarcodeFormat.QRCode]))
    return found.text if found is not None else None
