"""`verifyQRCode` and `getDynamicQRCode`: what they tell, what they compare, and how many statements they cost."""

from typing import Any

import pytest

from tests.contract.conftest import ServiceMaker
from tests.support.open_platform import Platform
from tests.support.service import Service, citizen_number
from tests.support.two_people import new_table, rule

EMPTY = dict.fromkeys(("nation", "birthday", "phone", "address", "idType", "idNumber"), "")
CLEAR = dict.fromkeys(("name", "sex", "age", "birth_date", "id_number", "phone", "address", "nation"), "clear")


@pytest.fixture
def platform(service: Service) -> Platform:
    made = Platform.of(service)
    made.log_in()
    return made


def test_a_check_tells_little_by_default(platform: Platform) -> None:
    rsp = platform.register()
    told = platform.good("verifyQRCode", {"qrCodeText": platform.dynamic(rsp["healthCardId"])})
    ids = {name: rsp[name] for name in ("healthCardId", "phid")}
    assert told == {"name": "王**", "gender": "男", **EMPTY, **ids}


def test_a_check_tells_what_the_rule_of_the_hospital_and_step_says(service: Service) -> None:
    new_table(service, rule(CLEAR, step="registration"))
    platform = Platform.of(service)
    service.clock.advance(11)
    rsp = platform.register()
    code = platform.dynamic(rsp["healthCardId"])
    told = platform.good("verifyQRCode", {"qrCodeText": code, "medicalStep": "0101011"})
    assert told == {
        "name": "王小明",
        "gender": "男",
        "nation": "汉族",
        "birthday": "1990-03-07",
        "phone": "13800138000",
        "address": "测试路1号",
        "idType": "01",
        "idNumber": citizen_number(1),
        **{name: rsp[name] for name in ("healthCardId", "phid")},
    }
    told = platform.good("verifyQRCode", {"qrCodeText": code, "medicalStep": "010103"})
    assert (told["name"], told["idNumber"]) == ("王**", "")


def test_a_signed_code_of_a_phone_is_checked_too(platform: Platform, service: Service) -> None:
    rsp = platform.register()
    card = service.app.register(1)
    code = service.app.code(card["card_id"])
    told = platform.good("verifyQRCode", {"qrCodeText": code})
    assert (told["healthCardId"], told["phid"]) == (rsp["healthCardId"], rsp["phid"])
    other = Platform.of(service, api=service.other_app)
    assert other.result("verifyQRCode", {"qrCodeText": code}) == 40003
    assert other.result("verifyQRCode", {"qrCodeText": f"{code[:-1]}{(int(code[-1]) + 1) % 10}"}) == 40002


def test_a_check_stands_in_the_journal_of_the_hospital(platform: Platform, service: Service) -> None:
    card = service.app.register(1)
    code = platform.dynamic(platform.register()["healthCardId"])
    platform.good(
        "verifyQRCode",
        {"qrCodeText": code, "medicalStep": "010105", "channelCode": "0200", "terminalId": "T9", "useType": "01"},
    )
    listed = service.app.get(f"/v1/cards/{card['card_id']}/verifications").get_json()["items"]
    (entry,) = listed
    assert (entry["institution"], entry["step"], entry["channel"]) == ("第一医院", "payment", "kiosk")
    assert entry["disclosed"] == ["name:masked", "sex", "age"]


def test_a_spliced_code_is_refused(platform: Platform) -> None:
    first, second = (platform.dynamic(platform.register(serial)["healthCardId"], serial) for serial in (1, 2))
    assert platform.result("verifyQRCode", {"qrCodeText": first[:64] + second[64:]}) == 40002
    for code in (first, second):
        assert platform.result("verifyQRCode", {"qrCodeText": code}) == 0


def test_who_the_hospital_says_stands_there_is_compared(platform: Platform) -> None:
    code = platform.dynamic(platform.register()["healthCardId"])
    claims: list[tuple[dict[str, Any], int]] = [
        ({"name": "王小明", "idCard": citizen_number(1)}, 0),
        ({"name": " 王小明 ", "idCard": citizen_number(1).lower()}, 0),
        ({"name": "李四"}, 40005),
        ({"idCard": citizen_number(2)}, 40005),
        ({"idCard": "x"}, 40005),
        ({"name": "", "idCard": ""}, 0),
    ]
    for claim, result in claims:
        assert platform.result("verifyQRCode", {"qrCodeText": code, **claim}) == result, claim
        assert "王" not in str(platform.last) or result == 0


def test_a_step_is_six_to_nine_digits_and_any_of_them(platform: Platform, service: Service) -> None:
    ehc_id = platform.register()["healthCardId"]
    for step in ("010101", "0101054", "999999", "000000123"):
        assert platform.result("verifyQRCode", {"qrCodeText": platform.dynamic(ehc_id), "medicalStep": step}) == 0
    for step in ("01010", "0101011111", "挂号", "01010a"):
        assert platform.result("verifyQRCode", {"qrCodeText": platform.dynamic(ehc_id), "medicalStep": step}) == 10002


def test_how_many_statements_a_code_and_a_check_cost(platform: Platform, service: Service) -> None:
    """A code: whose card it is, whether it may have one now, and one row. A check: one. Whoever calls is known by then."""
    ehc_id = platform.register()["healthCardId"]
    platform.good("verifyQRCode", {"qrCodeText": platform.dynamic(ehc_id)})
    with service.statements() as seen:
        code = platform.dynamic(ehc_id)
    assert [statement.split()[0] for statement in seen] == ["SELECT", "SELECT", "INSERT"]
    with service.statements() as seen:
        platform.good("verifyQRCode", {"qrCodeText": code, "medicalStep": "010101"})
    assert len(seen) == 1
    with service.statements() as seen:
        platform.good("verifyQRCode", {"qrCodeText": code, "medicalStep": "010102", "idCard": citizen_number(1)})
    assert len(seen) == 2


def test_too_many_codes_of_a_card_are_refused(start: ServiceMaker) -> None:
    platform = Platform.of(start(codes_per_minute=5))
    ehc_id = platform.register()["healthCardId"]
    platform.service.clock.advance(60 - platform.service.clock.now().second)  # the whole of it in one minute
    req = {"healthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(1)}
    assert [platform.result("getDynamicQRCode", req) for _ in range(6)] == [0] * 5 + [50000]


def test_a_code_needs_the_document_of_the_card_and_a_known_type(platform: Platform) -> None:
    ehc_id = platform.register()["healthCardId"]
    req = {"healthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(1)}
    for changes, result in (
        ({"idNumber": citizen_number(2)}, 40005),
        ({"idType": "03", "idNumber": "E12345678"}, 40005),
        ({"healthCardId": "A" * 64}, 40001),
        ({"healthCardId": "x"}, 40001),
        ({"codeType": 2}, 10002),
        ({"codeType": True}, 10002),
        ({"idNumber": ""}, 10002),
        ({"healthCardId": ehc_id.lower()}, 0),
    ):
        assert platform.result("getDynamicQRCode", req | changes) == result, changes
