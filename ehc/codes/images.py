"""Codes as pictures: QR symbols at level M with a quiet zone of 4 modules, drawn by zxing-cpp.

Phones draw from the text; the server draws only when asked. The symbol of a dynamic code has version 7 (45 modules).
"""

from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from typing import TYPE_CHECKING, cast

import zxingcpp
from PIL import Image

if TYPE_CHECKING:
    from typing_extensions import Buffer

MIN_SIZE, MAX_SIZE, DEFAULT_SIZE = 120, 1024, 320
"""Edge of a drawn code in pixels, quiet zone included. 120 leaves two pixels to a module."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn code."""

    media_type: str
    data: bytes


def modules(text: str) -> list[list[bool]]:
    """The symbol as rows of modules, True for dark, quiet zone included."""
    symbol = zxingcpp.create_barcode(text, zxingcpp.BarcodeFormat.QRCode, ec_level="M")
    image = memoryview(cast("Buffer", symbol.to_image(scale=1)))
    rows, columns = cast("tuple[int, int]", image.shape)
    return [[image[row, column] == 0 for column in range(columns)] for row in range(rows)]


def draw_svg(text: str, *, size: int = DEFAULT_SIZE) -> Picture:
    """A picture that scales: one path of dark runs, `size` pixels wide unless the page says otherwise."""
    grid = modules(text)
    runs: list[str] = []
    for y, row in enumerate(grid):
        x = 0
        for dark, run in groupby(row):
            length = len(list(run))
            if dark:
                runs.append(f"M{x} {y}h{length}v1h-{length}z")
            x += length
    edge = len(grid)
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}" viewBox="0 0 {edge} {edge}" '
        f'shape-rendering="crispEdges"><path fill="#fff" d="M0 0h{edge}v{edge}H0z"/><path d="{"".join(runs)}"/></svg>'
    )
    return Picture("image/svg+xml", svg.encode())


def draw_png(text: str, *, size: int = DEFAULT_SIZE) -> Picture:
    """A picture of exactly `size` × `size` pixels, one bit each; modules are whole pixels, the rest is white margin."""
    grid = modules(text)
    edge = len(grid)
    symbol = Image.frombytes("L", (edge, edge), bytes(0 if dark else 255 for row in grid for dark in row))
    scale = size // edge
    symbol = symbol.resize((edge * scale, edge * scale), Image.Resampling.NEAREST)
    canvas = Image.new("L", (size, size), 255)
    canvas.paste(symbol, ((size - symbol.width) // 2, (size - symbol.height) // 2))
    out = BytesIO()
    canvas.convert("1").save(out, "PNG", optimize=True)
    return Picture("image/png", out.getvalue())
