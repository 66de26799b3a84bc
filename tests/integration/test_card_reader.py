"""`ocrInfo` through the reader of identity cards and its simulator: what it reads, and what its silence comes to."""

import base64
from typing import Any

import pytest

from ehc.dev.simulators.controls import Controls
from ehc.outside.card_reader import MAX_IMAGE
from tests.integration.outside import asking, outside, simulators
from tests.support.open_platform import Platform, applicant
from tests.support.service import Service, citizen_number

__all__ = ["asking", "outside", "simulators"]

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"
CARD = {
    "name": "王小明",
    "number": citizen_number(1),
    "sex": "男",
    "nation": "汉",
    "birth_date": "1990-03-07",
    "address": "测试路1号",
}


@pytest.fixture
def platform(asking: Service) -> Platform:
    return Platform.of(asking)


def sent(image: bytes) -> dict[str, Any]:
    return {"imageContent": base64.b64encode(image).decode()}


def test_what_a_picture_shows_is_told_in_the_words_of_the_interface(platform: Platform, outside: Controls) -> None:
    outside.show_card(JPEG + b"front", **CARD)
    told = platform.good("ocrInfo", sent(JPEG + b"front"))["cardInfo"]
    assert told == {
        "name": "王小明",
        "id": citizen_number(1),
        "gender": "男",
        "nation": "汉",
        "birth": "1990/03/07",
        "address": "测试路1号",
        "authority": "",
        "validDate": "",
    }
    read = {"name": told["name"], "idNumber": told["id"], "nation": told["nation"], "gender": told["gender"]}
    platform.good("registerHealthCard", applicant(1, wechatCode=platform.wechat_code()) | read)


def test_the_simulator_makes_somebody_up_for_a_picture_that_it_was_not_told_about(platform: Platform) -> None:
    assert platform.good("ocrInfo", sent(PNG + bytes(MAX_IMAGE - 8)))["cardInfo"]["name"] == "模拟人"


def test_a_picture_that_shows_no_card(platform: Platform) -> None:
    assert platform.result("ocrInfo", sent(PNG + b"unreadable")) == 10002
    assert "重拍" in platform.last["commonOut"]["errMsg"]


def test_what_is_no_picture_is_refused_before_anybody_is_asked(platform: Platform, outside: Controls) -> None:
    for content in (
        "",
        "张",
        "@@@@",
        base64.b64encode(b"GIF89a").decode(),
        sent(PNG + bytes(MAX_IMAGE))["imageContent"],
    ):
        assert platform.result("ocrInfo", {"imageContent": content}) == 10002
    assert platform.result("ocrInfo", {"imageContent": "A" * 4_000_000}) == 10001
    assert outside.state()["parties"]["reader"]["asked"] == 0


def test_a_reader_that_is_silent_or_garbles_is_away(platform: Platform, outside: Controls) -> None:
    for mode in ("down", "garbage", "wrong-signature", "http-500"):
        outside.set_mode(mode, party="reader")
        assert platform.result("ocrInfo", sent(PNG)) == 50000
    outside.set_mode("normal", party="reader")
