"""`ocrInfo` (open-platform JSON 4.2): the front of an identity card, read by an outside party where one is configured."""

import base64
import binascii
from typing import Any

from ehc.gateways.open_platform.deps import Call
from ehc.gateways.open_platform.members import Members
from ehc.gateways.open_platform.results import Refusal, Result
from ehc.outside.card_reader import MAX_IMAGE

MAX_TEXT = 4 * (MAX_IMAGE // 3 + 1)
"""So many characters of Base64 hold the largest picture."""


def ocr_info(call: Call, members: Members) -> dict[str, Any]:
    """What was read is nobody's word: a registration weighs it as anything that somebody typed."""
    reader = call.deps.reader
    if reader is None:
        raise Refusal(Result.NOT_OPEN, "未接入证件识别服务")
    front = reader.read(_image(members.text("imageContent", MAX_TEXT, needed=True)))
    told = {
        "name": front.name,
        "id": front.number,
        "gender": front.sex,
        "nation": front.nation,
        "birth": f"{front.birth_date:%Y/%m/%d}",
        "address": front.address,
        "authority": "",  # stands on the back
        "validDate": "",
    }
    return {"cardInfo": told}


def _image(text: str) -> bytes:
    try:
        image = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(Result.BAD_MEMBER, "imageContent 应为 Base64") from None
    if not image.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")):
        raise Refusal(Result.BAD_MEMBER, "imageContent 应为 JPEG 或 PNG")
    return image
