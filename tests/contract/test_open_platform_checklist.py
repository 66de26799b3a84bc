"""The test checklist of the open platform's description (open-platform JSON 8), a test for each line."""

import base64
import json
from io import BytesIO

import pytest
import zxingcpp
from PIL import Image
from sqlalchemy import text

from ehc.access import clients
from ehc.cards.states import CardStatus
from ehc.gateways.open_platform import signing
from ehc.gateways.open_platform.envelope import Request
from ehc.gateways.open_platform.methods import NAMES, OPEN
from ehc.gateways.open_platform.results import MESSAGES, Result
from tests.support.open_platform import ISV, Platform, applicant, serial_of
from tests.support.service import Service, citizen_number


@pytest.fixture
def platform(service: Service) -> Platform:
    return Platform.of(service)


def test_line_1_each_profile_is_accepted_and_anything_else_refused(platform: Platform) -> None:
    """The vectors are in `tests/unit/test_open_platform_signing.py`; here the profiles go over HTTP, where they differ."""
    ehc_id = platform.register()["healthCardId"]
    report = {
        "qrCodeText": f"{ehc_id}:1",
        "hospitalId": "9",
        "time": " ",
        "ext": [{"b": "<", "a": None}],
        "flag": False,
    }
    for profile in signing.PROFILES:
        platform.profile = profile.name
        assert platform.result("reportHISData", report) == 0, profile.name
    platform.profile = "standard"
    body = platform.request({"qrCodeText": f"{ehc_id}:1", "time": ""})
    common = {name: value for name, value in body["commonIn"].items() if name != "sign"}
    text = signing.canonical(Request(common, body["req"]))
    with_empty = text.replace("&timestamp=", "&time=&timestamp=")
    body["commonIn"]["sign"] = signing.sign(with_empty, platform.account.secret.encode())
    platform.send(ISV + "reportHISData", body)
    assert platform.code == 20001
    body = platform.request({"qrCodeText": f"{ehc_id}:1"})
    body["req"]["qrCodeText"] = f"{ehc_id}:2"
    platform.send(ISV + "reportHISData", body)
    assert platform.code == 20001


def test_line_2_content_types_escapes_order_timestamps_and_no_channel(platform: Platform) -> None:
    platform.log_in()
    req = {"qrCodeText": "张三/:1"}
    kinds = ("application/json", "application/json;charset=utf-8", "application/x-www-form-urlencoded")
    for kind in kinds:
        platform.send(ISV + "reportHISData", platform.request(req), kind)
        assert platform.code == 0, kind
    escaped = json.dumps(platform.request(req)).replace("/", r"\/")
    assert r"\u5f20" in escaped
    platform.send(ISV + "reportHISData", escaped.encode())
    assert platform.code == 0
    body = platform.request(req)
    platform.send(ISV + "reportHISData", {"req": body["req"], "commonIn": body["commonIn"]})
    assert platform.code == 0
    now = int(platform.service.clock.now().timestamp())
    assert [platform.result("reportHISData", req, timestamp=at) for at in (now, str(now))] == [0, 0]
    assert platform.result("reportHISData", req, channelNum=None) == 0


def test_line_3_http_200_for_broken_json_wrong_signature_expired_token_unknown_method(platform: Platform) -> None:
    """`Platform.send` looks at the status, here and in every other test."""
    platform.send(ISV + "verifyQRCode", b"{")
    assert platform.code == 10001
    platform.log_in()
    wrong = platform.request({})
    wrong["commonIn"]["sign"] = "A" * 43 + "="
    platform.send(ISV + "verifyQRCode", wrong)
    assert (platform.code, platform.last["commonOut"]["errMsg"]) == (20001, "签名错误")
    assert platform.last["commonOut"]["requestId"] == wrong["commonIn"]["requestId"]
    assert platform.result("noSuchMethod", {}) == 10003
    assert platform.result("ssmGenQrCode", {}) == 10003
    platform.service.clock.advance(7200)
    assert platform.result("verifyQRCode", {}) == 20002


def test_line_4_the_code_is_a_number_and_rsp_an_object_in_every_answer(platform: Platform) -> None:
    """`Platform.send` looks at both in every other test too; here every method is called, and with nothing."""
    for name in sorted(NAMES - {"getAppToken"}):
        platform.call(name, {})
        assert type(platform.last["commonOut"]["resultCode"]) is int
        assert isinstance(platform.last["rsp"], dict)
        assert set(platform.last) == {"commonOut", "rsp"}
        assert platform.code == (0 if name == "recvPushMsg" else 10002 if name in OPEN and name != "ocrInfo" else 10003)
        assert platform.last["commonOut"]["errMsg"].startswith(MESSAGES[Result(platform.code)])


def test_line_5_tokens(platform: Platform, service: Service) -> None:
    first = platform.log_in()
    assert platform.last["rsp"] == {"appToken": first, "expiresIn": 7200}
    assert platform.last["commonOut"]["appId"] == platform.account.name
    assert len(first) == 32
    assert set(first) <= set("0123456789ABCDEF")
    second, third = platform.log_in(appToken=None), platform.log_in(appToken="0" * 32)
    assert len({first, second, third}) == 3
    for token in (first, second, third):
        assert platform.result("recvPushMsg", {}, appToken=token) == 0
    other = Platform.of(service, api=service.other_app)
    assert other.result("recvPushMsg", {}, appToken=first) == 20001  # whose secret it is, the token says
    assert other.result("recvPushMsg", {}, appToken="0" * 32) == 20002


def test_line_6_one_wechat_code(platform: Platform) -> None:
    """With an identity authority: `test_open_platform_registration.py`."""
    code = platform.wechat_code()
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code, idNumber="1" * 18)) == 10002
    platform.good("registerHealthCard", applicant(1, wechatCode=code))
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code)) == 30001
    again = platform.wechat_code()  # name and number of somebody who is known do not fit: a failed identity check
    assert platform.result("registerHealthCard", applicant(1, wechatCode=again, name="李四")) == 30003
    assert platform.result("registerHealthCard", applicant(1, wechatCode=again)) == 0


def test_line_7_batch(platform: Platform) -> None:
    items = [applicant(serial) for serial in range(1, 16)]
    items[7] |= {"idNumber": "110105199003070000"}
    told = platform.good("registerBatchHealthCard", {"healthCardItems": items})["rspItems"]
    assert [item["idNumber"] for item in told] == [item["idNumber"] for item in items]
    assert [number for number, item in enumerate(told) if not item["qrCodeText"]] == [7]
    assert told[7]["healthCardId"] == ""
    assert told[0]["qrCodeText"] == told[0]["healthCardId"] + ":1"
    assert platform.result("registerBatchHealthCard", {"healthCardItems": [*items, applicant(16)]}) == 10002


def test_line_8_dynamic_and_static_codes_with_their_image(platform: Platform) -> None:
    ehc_id = platform.register()["healthCardId"]
    req = {"healthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(1)}
    for kind, field in ((0, "0"), ("0", "0"), ("1", "1"), (None, "0")):
        told = platform.good("getDynamicQRCode", req | ({} if kind is None else {"codeType": kind}))
        assert told["qrCodeText"].startswith(f"{ehc_id}:{field}")
        assert (told["color"], told["ext"], told["healthCardId"]) == (0, "", ehc_id)
        image = Image.open(BytesIO(base64.b64decode(told["qrCodeImg"], validate=True)))
        assert image.format == "PNG"
        assert [found.text for found in zxingcpp.read_barcodes(image)] == [told["qrCodeText"]]
    assert platform.result("getDynamicQRCode", req | {"idNumber": citizen_number(2)}) == 40005


def test_line_9_verify_each_form_an_ended_code_and_a_cancelled_card(platform: Platform, service: Service) -> None:
    ehc_id = platform.register()["healthCardId"]
    texts = [platform.dynamic(ehc_id) for _ in range(2)]  # each counts three times
    forms = [texts[0], f"{texts[0]}:6300A0001ABCD0001", f"{texts[0]}::35020001001"]
    forms += [texts[1].lower(), texts[1].replace(":", "："), f"\t{texts[1]}\n"]
    for number, form in enumerate(forms):
        service.clock.advance(0 if number else 0.1)
        step = ("010101", "010102", "010103")[number % 3]
        told = platform.good("verifyQRCode", {"qrCodeText": form, "medicalStep": step})
        assert told["healthCardId"] == ehc_id
    static = f"{ehc_id}:1"
    assert platform.result("verifyQRCode", {"qrCodeText": static}) == 40002  # nobody agreed to static codes yet
    platform.good(
        "getDynamicQRCode", {"healthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(1), "codeType": "1"}
    )
    with service.session() as session:
        clients.allow_static(session, clients.institution(session, "H1"), True, now=service.clock.now())
    for form in (static, f"{static}:", f"{static}::4400"):
        told = platform.good("verifyQRCode", {"qrCodeText": form})
        assert (told["healthCardId"], told["name"], told["idNumber"]) == (ehc_id, "王**", "")
    code = platform.dynamic(ehc_id)
    service.clock.advance(120)
    assert platform.result("verifyQRCode", {"qrCodeText": code}) == 40003
    code = platform.dynamic(ehc_id)
    card = service.app.get(f"/v1/cards/{_card_id(service, ehc_id)}").get_json()
    cancelled = service.app.post(f"/v1/cards/{card['card_id']}/cancel", {"reason": "测试"})
    assert cancelled.get_json()["status"] == CardStatus.CANCELLED
    assert platform.result("verifyQRCode", {"qrCodeText": code}) == 40004
    assert platform.result("verifyQRCode", {"qrCodeText": static}) == 40004


def test_line_10_new_card_ids_under_both_names(platform: Platform) -> None:
    ehc_id = platform.register()["healthCardId"]
    items = [{"healthCardId": "A" * 64, "idType": "01", "idNumber": citizen_number(1)}]
    for name in ("updateHealthCardIdItems", "healthCardItems"):
        told = platform.good("updateHealthCardId", {name: items})
        assert told["result"] is True
        assert told["updateHealthCardIdRspItems"] == [
            {"oldHealthCardId": "A" * 64, "newHealthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(1)}
        ]
    unknown = [*items, {"healthCardId": "B" * 64, "idType": "01", "idNumber": citizen_number(2)}]
    told = platform.good("updateHealthCardId", {"healthCardItems": unknown})
    assert (told["result"], told["updateHealthCardIdRspItems"][1]["newHealthCardId"]) == (False, "")


def _card_id(service: Service, ehc_id: str) -> str:
    with service.session() as session:
        found = session.scalar(text("SELECT id FROM card WHERE serial = :s"), {"s": serial_of(service, ehc_id)})
        return str(found)
