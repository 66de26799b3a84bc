"""Fields as this interface writes them: dates and times, codes of tables, photographs (provincial SOAP 3.1 and 6). Pure."""

import binascii
import re
from base64 import b64decode
from datetime import date, datetime
from io import BytesIO
from typing import NamedTuple

from PIL import Image

from ehc.clock import CHINA_TIME
from ehc.gateways.provincial_soap.result_codes import Failed

MAX_PHOTO = 400_000
"""Bytes of a photograph, decoded: 6005 says 400k, the notes on the fields 200 (provincial SOAP 7, item 10)."""
_MAX_PIXELS = 60_000_000
_MEDIA = {"PNG": "image/png", "JPEG": "image/jpeg"}
_DATA_URL = re.compile(r"data:image/[A-Za-z0-9.+-]{1,20};base64,")
_DAY = re.compile(r"(\d{4})-?(\d{2})-?(\d{2})", re.ASCII)
_TIME = re.compile(r"(\d{4})-(\d{2})-(\d{2}) (\d{2}):(\d{2}):(\d{2})", re.ASCII)


class Photo(NamedTuple):
    """A photograph, decoded."""

    kind: str
    media_type: str
    data: bytes


def read_day(text: str) -> date | None:
    """A day, `yyyyMMdd` or `yyyy-MM-dd`; None for anything else."""
    found = _DAY.fullmatch(text)
    try:
        return date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def write_day(day: date | None) -> str:
    """A day as every answer writes it, `yyyyMMdd`; "" for none."""
    return f"{day:%Y%m%d}" if day else ""


def read_time(text: str) -> datetime | None:
    """A time, `yyyy-MM-dd HH:mm:ss` in China; None for anything else."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=CHINA_TIME)
    except ValueError:
        return None


def write_time(at: datetime | None) -> str:
    """A time as answers write it; "" for none."""
    return f"{at.astimezone(CHINA_TIME):%Y-%m-%d %H:%M:%S}" if at else ""


def read_photo(kind: str, text: str) -> Photo:
    """A photograph sent in base64, with line breaks or as a data URL too. Raises `Failed`: 6004, 6005, or 6006."""
    if not text:
        raise Failed("6004")
    found = _DATA_URL.match(text)
    packed = "".join(text[found.end() if found else 0 :].split())
    if len(packed) > (MAX_PHOTO + 2) // 3 * 4:
        raise Failed("6005")
    try:
        data = b64decode(packed, validate=True)
    except (binascii.Error, ValueError):
        raise Failed("6006", "不是 base64 编码") from None
    if len(data) > MAX_PHOTO:
        raise Failed("6005")
    return Photo(kind, _media_type(data), data)


def _media_type(data: bytes) -> str:
    """The media type of a whole PNG or JPEG. Its pixels are not unpacked."""
    try:
        with Image.open(BytesIO(data), formats=tuple(_MEDIA)) as image:
            kind, pixels = image.format or "", image.width * image.height
            image.verify()
    except Exception:  # Pillow raises whatever a broken picture makes its parsers raise
        raise Failed("6006", "不是 PNG 或 JPEG 图片") from None
    if pixels > _MAX_PIXELS:
        raise Failed("6006", "图片尺寸过大")
    return _MEDIA[kind]
