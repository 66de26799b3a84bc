"""Cards over the open platform: registered, shown, handed over, bound; and each of them the same card over `/v1`."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from ehc.gateways.calls import Call, Calls
from tests.support.gateways import institution_id
from tests.support.open_platform import Platform, applicant, serial_of
from tests.support.service import Service, citizen_number, told


@pytest.fixture
def platform(service: Service) -> Platform:
    made = Platform.of(service)
    made.log_in()
    return made


@pytest.fixture
def other(service: Service) -> Platform:
    """Another app, at the other hospital."""
    return Platform.of(service, api=service.other_app)


def one(service: Service, query: str, **values: Any) -> Any:
    with service.session() as session:
        return session.scalar(text(query), values)


def card_id(service: Service, ehc_id: str) -> str:
    return str(one(service, "SELECT id FROM card WHERE serial = :s", s=serial_of(service, ehc_id)))


def test_a_registered_card_is_the_card_of_v1(platform: Platform, service: Service) -> None:
    rsp = platform.register()
    card = told(service.app.get(f"/v1/cards/{card_id(service, rsp['healthCardId'])}"))
    assert (card["ehc_id"], card["index_id"], card["status"]) == (rsp["healthCardId"], rsp["phid"], "active")
    assert card["level"] == "self-declared"
    assert rsp["qrCodeText"] == f"{rsp['healthCardId']}:1"
    ext = json.loads(rsp["adminExt"])
    assert ext == {
        "qr_code": rsp["qrCodeText"],
        "ecardId": rsp["healthCardId"],
        "main_index": rsp["phid"],
        "id_type": "居民身份证",
        "id_number": citizen_number(1),
        "name": "王小明",
        "sex": "男",
        "birthday": "1990-03-07",
        "telephone": "13800138000",
        "nation": "汉族",
        "unit": "",
        "address": "测试路1号",
    }
    assert list(ext) == [
        *("qr_code", "ecardId", "main_index", "id_type", "id_number", "name"),
        *("sex", "birthday", "telephone", "nation", "unit", "address"),
    ]
    v1 = service.other_app.register(1)
    assert v1["ehc_id"] == rsp["healthCardId"]


def test_registering_again_gives_the_same_card_and_uses_the_code_up(platform: Platform, other: Platform) -> None:
    first = platform.register()
    assert platform.register() == first
    assert other.register() == first
    assert one(platform.service, "SELECT count(*) FROM card") == 1
    assert one(platform.service, "SELECT count(*) FROM open_platform_code WHERE used_at IS NULL") == 0


def test_who_registers_a_known_person_learns_nothing_about_them(platform: Platform, other: Platform) -> None:
    """Name and number prove nobody: phone and address stay those of whoever gave them."""
    ehc_id = platform.register(1, phone1="13900139000", address="秘密路9号")["healthCardId"]
    rsp = other.register(1, phone1="13700137000", address="别处", nation="回族")
    ext = json.loads(rsp["adminExt"])
    assert (ext["telephone"], ext["address"], ext["nation"]) == ("13700137000", "别处", "回族")
    card = other.good("getHealthCardByHealthCardId", {"healthCardId": ehc_id})["card"]
    assert (card["phone1"], card["name"], card["idNumber"]) == ("139****9000", "王小明", citizen_number(1))
    assert "秘密路9号" not in str(card)
    assert "13900139000" not in str(card)
    mine = platform.good("getHealthCardByHealthCardId", {"healthCardId": ehc_id})["card"]
    assert (mine["phone1"], mine["address"]) == ("13900139000", "秘密路9号")
    other.good("getHealthCardByHealthCode", {"healthCode": other.health_code(ehc_id)})
    agreed = other.good("getHealthCardByHealthCardId", {"healthCardId": ehc_id})["card"]
    assert (agreed["phone1"], agreed["address"]) == ("13900139000", "秘密路9号")


def test_each_needed_member_is_asked_for(platform: Platform) -> None:
    code = platform.wechat_code()
    whole = applicant(1, wechatCode=code)
    needed = ("wechatCode", "name", "gender", "nation", "birthday", "idNumber", "idType", "phone1")
    for name in needed:
        for value in ("", "  ", None):
            assert platform.result("registerHealthCard", whole | {name: value}) == 10002, (name, value)
            assert name in platform.last["commonOut"]["errMsg"]
    wrong: dict[str, list[Any]] = {
        "gender": ["1", "male"],
        "birthday": ["19900307", "1990-3-7x", "1991-03-07", "2990-01-01"],
        "idType": ["11", "1", "xx"],
        "idNumber": [citizen_number(1)[:-1], 5],
        "phone1": ["12", "张"],
        "name": [["x"], {"a": 1}, True, "王\x00"],
        "patid": ["x" * 65],
    }
    for name, values in wrong.items():
        for value in values:
            assert platform.result("registerHealthCard", whole | {name: value}) == 10002, (name, value)
    assert platform.result("registerHealthCard", whole) == 0


def test_words_for_people_are_taken_as_clients_write_them(platform: Platform) -> None:
    nations = {"汉": "汉族", "回族": "回族", "美国人": "未知", "未知": "未知"}
    for serial, (sent, kept) in enumerate(nations.items(), 10):
        number = citizen_number(serial).lower()
        rsp = platform.register(serial, nation=sent, idNumber=number, gender="女", registeredType=0, isCheck=0)
        card = platform.good("getHealthCardByHealthCardId", {"healthCardId": rsp["healthCardId"]})["card"]
        assert (card["nation"], card["gender"]) == (kept, "女")


def test_a_passport_needs_no_more_than_a_number(platform: Platform) -> None:
    rsp = platform.register(1, idType="03", idNumber="E12345678", birthday="1985-01-02")
    card = platform.good("getHealthCardByHealthCardId", {"healthCardId": rsp["healthCardId"]})["card"]
    assert (card["idType"], card["idNumber"], card["birthday"]) == ("03", "E12345678", "1985-01-02")


def test_a_wechat_code_is_good_for_thirty_minutes_and_one_app(platform: Platform, other: Platform) -> None:
    code = platform.wechat_code()
    assert other.result("registerHealthCard", applicant(1, wechatCode=code)) == 30001
    platform.service.clock.advance(30 * 60)
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code)) == 30001
    for wrong in ("0", "-1", code.lower(), "0" * 32):
        assert platform.result("registerHealthCard", applicant(1, wechatCode=wrong)) == 30001
    code = platform.wechat_code()
    platform.service.clock.advance(30 * 60 - 1)
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code)) == 0


def test_a_health_code_hands_a_card_over_once(platform: Platform, other: Platform, service: Service) -> None:
    ehc_id = platform.register(patid="P1", relation="2")["healthCardId"]
    other.log_in()
    assert other.result("getHealthCardByHealthCardId", {"healthCardId": ehc_id}) == 40001
    code = other.health_code(ehc_id)
    assert platform.result("getHealthCardByHealthCode", {"healthCode": code}) == 30002
    card = other.good("getHealthCardByHealthCode", {"healthCode": code})["card"]
    assert (card["name"], card["idNumber"], card["idCard"], card["cardType"]) == (
        *("王小明", citizen_number(1)),
        *(citizen_number(1), "01"),
    )
    assert (card["phone1"], card["phone2"], card["address"]) == ("13800138000", "", "测试路1号")
    assert (card["healthCardId"], card["relation"]) == (ehc_id, "")
    assert card["patid"] == "P1"  # both apps are the same hospital's
    assert other.result("getHealthCardByHealthCode", {"healthCode": code}) == 30002
    assert other.result("getHealthCardByHealthCardId", {"healthCardId": ehc_id}) == 0
    mine = platform.good("getHealthCardByHealthCardId", {"healthCardId": ehc_id})["card"]
    assert (mine["relation"], mine["patid"]) == ("2", "P1")
    listed = told(service.other_app.get(f"/v1/cards/{card_id(service, ehc_id)}/consents"))["items"]
    assert [(row["purpose"], row["text_version"]) for row in listed] == [("app-access", "healthCode")]
    for wrong in ("0", "-1", "0" * 32):
        assert other.result("getHealthCardByHealthCode", {"healthCode": wrong}) == 30002


def test_of_health_codes_the_latest_two_are_good_and_the_older_one_for_five_minutes(platform: Platform) -> None:
    ehc_id = platform.register()["healthCardId"]

    def result(code: str) -> int:
        return platform.result("getHealthCardByHealthCode", {"healthCode": code})

    def fresh() -> str:
        platform.service.clock.advance(1)
        return platform.health_code(ehc_id)

    codes = [fresh() for _ in range(3)]
    assert [result(code) for code in codes] == [30002, 0, 0]
    older, newest = fresh(), fresh()
    platform.service.clock.advance(timedelta(minutes=5).total_seconds())
    assert [result(code) for code in (older, newest)] == [30002, 0]
    last = platform.health_code(ehc_id)
    platform.service.clock.advance(timedelta(minutes=30).total_seconds())
    assert result(last) == 30002


def test_a_patient_id_is_bound_by_a_static_code_of_ones_own_card(platform: Platform, service: Service) -> None:
    ehc_id = platform.register()["healthCardId"]
    bind = {"patid": "P7", "qrCodeText": f"{ehc_id}:1"}
    assert platform.good("bindCardRelation", bind) == {"result": True}
    assert platform.good("bindCardRelation", bind) == {"result": True}
    assert platform.result("bindCardRelation", bind | {"patid": "P8"}) == 10002
    second = platform.register(2)["healthCardId"]
    assert platform.result("bindCardRelation", bind | {"qrCodeText": f"{second}:1"}) == 10002
    rows = told(service.app.get(f"/v1/cards/{card_id(service, ehc_id)}/bindings/patient-ids"))["items"]
    assert [row["id_type"] for row in rows] == ["outpatient"]
    scanned = service.terminal.scan(service.app.code(card_id(service, ehc_id)))
    assert scanned["patient_id"] == "P7"
    assert service.second_terminal.scan(service.app.code(card_id(service, ehc_id))).get("patient_id") is None
    assert one(service, "SELECT source FROM patient_id") == "app"


def test_a_patient_id_of_somebody_elses_card_needs_a_dynamic_code(platform: Platform, other: Platform) -> None:
    ehc_id = platform.register()["healthCardId"]
    other.log_in()
    assert other.result("bindCardRelation", {"patid": "P7", "qrCodeText": f"{ehc_id}:1"}) == 40001
    code = platform.dynamic(ehc_id)
    spliced = f"{platform.register(2)['healthCardId']}{code[64:]}"
    assert other.result("bindCardRelation", {"patid": "P7", "qrCodeText": spliced}) == 40002
    assert other.good("bindCardRelation", {"patid": "P7", "qrCodeText": code}) == {"result": True}
    assert one(platform.service, "SELECT uses FROM national_code") == 0


def test_a_registration_whose_patid_is_taken_is_refused_whole(platform: Platform) -> None:
    platform.register(1, patid="P1")
    code = platform.wechat_code()
    assert platform.result("registerHealthCard", applicant(2, wechatCode=code, patid="P1")) == 10002
    assert one(platform.service, "SELECT count(*) FROM card") == 1
    assert platform.result("registerHealthCard", applicant(2, wechatCode=code, patid=" ")) == 0


def test_getting_a_card_by_its_code_uses_nothing_up(platform: Platform, other: Platform, service: Service) -> None:
    ehc_id = platform.register()["healthCardId"]
    code = platform.dynamic(ehc_id)
    for scanned in (code, f"{ehc_id}:1"):
        card = platform.good("getHealthCardByQRCode", {"qrCodeText": scanned})["card"]
        assert (card["name"], card["idNumber"]) == ("王小明", citizen_number(1))
    other.good("bindCardRelation", {"patid": "P7", "qrCodeText": code})
    for _ in range(5):
        card = other.good("getHealthCardByQRCode", {"qrCodeText": code})["card"]
        assert (card["name"], card["gender"], card["idNumber"], card["healthCardId"]) == ("王**", "男", "", ehc_id)
        assert card["patid"] == "P7"
        assert set(card) == set(platform.good("getHealthCardByQRCode", {"qrCodeText": code})["card"])
    assert one(service, "SELECT uses FROM national_code") == 0
    assert one(service, "SELECT count(*) FROM verification WHERE reason IS NULL AND step = 'other'") == 12
    assert other.result("getHealthCardByQRCode", {"qrCodeText": f"{ehc_id}:1"}) == 40002
    service.clock.advance(120)
    assert platform.result("getHealthCardByQRCode", {"qrCodeText": code}) == 40003
    assert platform.result("getHealthCardByQRCode", {"qrCodeText": f"{'A' * 64}:0:{'B' * 32}"}) == 40002
    assert platform.result("getHealthCardByQRCode", {"qrCodeText": f"{'A' * 64}:1"}) == 40001


def test_a_suspended_and_a_cancelled_card(platform: Platform, service: Service) -> None:
    ehc_id = platform.register()["healthCardId"]
    code, where = platform.dynamic(ehc_id), f"/v1/cards/{card_id(service, ehc_id)}"
    ask = {"healthCardId": ehc_id, "idType": "01", "idNumber": citizen_number(1)}
    service.app.post(f"{where}/suspend", {"reason": "测试"})
    assert platform.result("verifyQRCode", {"qrCodeText": code}) == 40002
    assert "暂停" in platform.last["commonOut"]["errMsg"]
    assert platform.result("getDynamicQRCode", ask) == 40002
    assert platform.result("bindCardRelation", {"patid": "P", "qrCodeText": f"{ehc_id}:1"}) == 40002
    service.app.post(f"{where}/cancel", {"reason": "测试"})
    assert platform.result("getDynamicQRCode", ask) == 40004
    assert platform.result("getHealthCardByHealthCardId", {"healthCardId": ehc_id}) == 40004
    assert platform.result("verifyQRCode", {"qrCodeText": code}) == 40004
    assert platform.result("bindCardRelation", {"patid": "P", "qrCodeText": f"{ehc_id}:1"}) == 40004


def test_reports_are_kept_whatever_their_codes(platform: Platform, service: Service) -> None:
    ehc_id = platform.register()["healthCardId"]
    report = {
        "qrCodeText": f"{ehc_id}:1",
        "idCardNumber": citizen_number(1),
        "name": "王小明",
        "time": "2026-11-25 08:00:00",
        "hospitalCode": "30001",
        "hospitalId": "30002",
        "scene": "0909099",
        "department": "呼吸内科",
        "cardType": "77",
        "cardChannel": "9999",
        "cardCostTypes": "",
    }
    assert platform.good("reportHISData", report) == {}
    service.clock.advance(1)
    for same in ("reportScanQRCode", "reportRealNamePatientData"):
        assert platform.good(same, {"qrCodeText": f"{ehc_id}:1", "patientId": "9", "hospitalName": "某院"}) == {}
    service.clock.advance(1)
    assert platform.good("reportHISData", {"qrCodeText": "nothing", "time": "yesterday"}) == {}
    assert platform.result("reportHISData", report | {"qrCodeText": ""}) == 10002
    with service.session() as session:
        wanted = "SELECT card_serial, institution_id, used_at, scene, department, code_kind FROM open_platform_report"
        rows = session.execute(text(f"{wanted} ORDER BY id")).all()
        whole = str(session.execute(text("SELECT * FROM open_platform_report")).all())
    assert (rows[0].card_serial, rows[0].institution_id) == (serial_of(service, ehc_id), institution_id(service))
    assert (rows[0].scene, rows[0].department, rows[0].code_kind) == ("0909099", "呼吸内科", "static")
    assert rows[0].used_at.isoformat() == "2026-11-25T00:00:00+00:00"
    assert {row.card_serial for row in rows[:3]} == {serial_of(service, ehc_id)}
    assert (rows[-1].card_serial, rows[-1].used_at, rows[-1].code_kind) == (None, None, "unknown")
    assert "王小明" not in whole
    assert citizen_number(1) not in whole


def test_an_old_id_that_is_somebody_elses_is_not_renewed(platform: Platform, service: Service) -> None:
    mine, theirs = (platform.register(serial)["healthCardId"] for serial in (1, 2))
    items = [{"healthCardId": old, "idType": "01", "idNumber": citizen_number(1)} for old in (mine, theirs)]
    told_ = platform.good("updateHealthCardId", {"healthCardItems": items})["updateHealthCardIdRspItems"]
    assert [item["newHealthCardId"] for item in told_] == [mine, ""]
    changed = {"name": "王大明", "verification": {"method": "document-seen"}}
    where = f"/v1/cards/{card_id(service, mine)}"
    answer = service.app.http.patch(where, json=changed, headers=service.app.headers | {"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    new = platform.good("updateHealthCardId", {"healthCardItems": items[:1]})["updateHealthCardIdRspItems"][0]
    assert new["newHealthCardId"] == told(answer)["ehc_id"] != mine


def test_what_needs_a_party_that_is_not_there_is_said_not_made_up(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Call] = []
    monkeypatch.setattr(Calls, "record", lambda _, call: seen.append(call))
    for method, why in (
        ("registerOrder", "人脸"),
        ("verifyFaceIdentity", "人脸"),
        ("registerHealthCardPreAuth", "页面"),
        ("bindUnionId", "微信"),
        ("ocrInfo", "识别"),
    ):
        assert platform.result(method, {"imageContent": "x"}) == 10003
        assert platform.last["commonOut"]["errMsg"] == "接口未开通"
        assert why in (seen[-1].trace or {})["errMsg"]  # what the operator reads


def test_sandbox_people_are_nobody_elses(service: Service) -> None:
    with service.session() as session:
        session.execute(
            text("UPDATE client SET sandbox = true WHERE client_id = :c"), {"c": service.app.credentials.client_id}
        )
    inside = Platform.of(service)
    outside = Platform.of(service, api=service.other_app)
    first, second = inside.register(), outside.register()
    assert first["healthCardId"] != second["healthCardId"]
    assert one(service, "SELECT count(*) FROM card") == 2
    code = inside.dynamic(first["healthCardId"])
    assert outside.result("verifyQRCode", {"qrCodeText": code}) == 40002
    assert inside.result("verifyQRCode", {"qrCodeText": code}) == 0
    assert inside.result("bindCardRelation", {"patid": "P", "qrCodeText": code}) == 10003
