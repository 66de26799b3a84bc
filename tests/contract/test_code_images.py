"""Drawn codes: a reader gets back the exact text; level M, version 8 at most, a quiet zone of four modules."""

import re
from base64 import b64decode
from io import BytesIO
from typing import Any
from xml.etree import ElementTree

import pytest
import zxingcpp
from PIL import Image

from tests.support.service import Service
from tests.support.service import told as answered

SIZES = [120, 121, 320, 1023, 1024]
_RUN = re.compile(r"M(\d+) (\d+)h(\d+)v1h-\d+z")


@pytest.fixture
def codes(shared: Service, newcomer: dict[str, Any]) -> str:
    return f"/v1/cards/{shared.app.register(**newcomer)['card_id']}/codes"


def drawn(service: Service, codes: str, **wish: Any) -> tuple[str, str, bytes]:
    """The text of a code, and the media type and bytes of its picture."""
    answer = service.app.post(codes, wish)
    assert answer.status_code == 201, answer.text
    image = answered(answer)["image"]
    assert set(image) == {"media_type", "data"}
    return answered(answer)["code"], image["media_type"], b64decode(image["data"], validate=True)


def grid_of(svg: bytes) -> list[list[bool]]:
    """The modules of a drawn symbol, True for dark, quiet zone included."""
    picture = ElementTree.fromstring(svg)
    edge = int(picture.attrib["viewBox"].split()[2])
    grid = [[False] * edge for _ in range(edge)]
    for x, y, length in _RUN.findall(picture[1].attrib["d"]):
        for column in range(int(x), int(x) + int(length)):
            grid[int(y)][column] = True
    return grid


def image_of(grid: list[list[bool]], scale: int) -> Image.Image:
    pixels = bytes(0 if dark else 255 for row in grid for dark in row)
    small = Image.frombytes("L", (len(grid), len(grid)), pixels)
    return small.resize((len(grid) * scale, len(grid) * scale), Image.Resampling.NEAREST)


def read(picture: Image.Image) -> zxingcpp.Barcode:
    (found,) = zxingcpp.read_barcodes(picture)
    assert found.format == zxingcpp.BarcodeFormat.QRCode
    return found


@pytest.mark.parametrize("size", SIZES)
def test_a_png_reads_back_as_the_code(shared: Service, codes: str, size: int) -> None:
    text, media_type, data = drawn(shared, codes, image="png", size=size)
    picture = Image.open(BytesIO(data))
    assert (media_type, picture.format, picture.size, picture.mode) == ("image/png", "PNG", (size, size), "1")
    found = read(picture.convert("L"))
    assert found.text == text
    assert found.ec_level == "M"


@pytest.mark.parametrize("size", SIZES)
def test_an_svg_reads_back_as_the_code(shared: Service, codes: str, size: int) -> None:
    text, media_type, data = drawn(shared, codes, image="svg", size=size)
    root = ElementTree.fromstring(data)
    assert (media_type, root.tag) == ("image/svg+xml", "{http://www.w3.org/2000/svg}svg")
    assert (root.attrib["width"], root.attrib["height"]) == (str(size), str(size))
    assert read(image_of(grid_of(data), 4)).text == text


def test_a_symbol_has_version_8_at_most_and_a_quiet_zone_of_four(shared: Service, codes: str) -> None:
    grid = grid_of(drawn(shared, codes, image="svg")[2])
    assert len(grid) - 8 in {45, 49}
    margin = [*range(4), *range(len(grid) - 4, len(grid))]
    assert not any(grid[at][other] or grid[other][at] for at in margin for other in range(len(grid)))
    assert all(grid[4][4:11])  # the finder begins right after it
    assert grid[4][4 + 7] is False


def test_every_module_of_a_png_is_a_whole_number_of_pixels(shared: Service, codes: str) -> None:
    _, _, data = drawn(shared, codes, image="png", size=120)
    picture = Image.open(BytesIO(data)).convert("L")
    dark = [(x, y) for x in range(120) for y in range(120) if picture.getpixel((x, y)) == 0]
    left, top = min(x for x, _ in dark), min(y for _, y in dark)
    wide = max(x for x, _ in dark) - left + 1
    assert wide % 2 == 0
    assert wide // 2 in {45, 49}
    assert all(((x - left) ^ 1) + left in {a for a, b in dark if b == y} for x, y in dark[:200])
    assert min(left, top) >= 8  # four modules of two pixels


def test_a_picture_has_320_pixels_unless_asked(shared: Service, codes: str) -> None:
    _, _, data = drawn(shared, codes, image="png")
    assert Image.open(BytesIO(data)).size == (320, 320)


def test_a_size_without_an_image_draws_nothing(shared: Service, codes: str) -> None:
    assert "image" not in answered(shared.app.post(codes, {"size": 320}))


def test_an_svg_holds_no_script_and_no_link(shared: Service, codes: str) -> None:
    tags = {
        element.tag.rpartition("}")[2]
        for element in ElementTree.fromstring(drawn(shared, codes, image="svg")[2]).iter()
    }
    assert tags == {"svg", "path"}


def test_a_drawn_code_is_accepted(shared: Service, codes: str) -> None:
    _, _, data = drawn(shared, codes, image="png")
    assert shared.terminal.scan(read(Image.open(BytesIO(data)).convert("L")).text)["outcome"] == "accepted"
