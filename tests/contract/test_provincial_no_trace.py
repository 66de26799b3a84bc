"""A whole life over the provincial interface, and failures of it: nobody can be found in the rows or in the log."""

from collections.abc import Callable
from typing import Any

import pytest

from ehc.gateways.calls import Call, Calls
from tests.contract.test_sealed_storage import everything
from tests.support.provincial import CLERK, PHOTOS, Soap, adult, hospital, picture
from tests.support.provincial import packed as base64_of
from tests.support.service import Service, citizen_number

NAME, MEMBER, PATIENT, CLERKS = "欧阳独特", "独孤异常", "无名异常", "异常护士"
PHONE, ADDRESS, UNIT, CHIP = "13987654321", "独特路987号", "独特单位", "CHIP98765432"
NUMBER, OTHER = citizen_number(42, born="19770831"), citizen_number(43, born="19770901")
SECRETS = (NAME, MEMBER, PATIENT, CLERKS, PHONE, ADDRESS, UNIT, CHIP, NUMBER, OTHER, "独特", "异常", "35岁半")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Calls]:
    """Whoever counted calls."""
    seen: list[Calls] = []
    record = Calls.record

    def noted(self: Calls, call: Call) -> None:
        seen.append(self)
        record(self, call)

    monkeypatch.setattr(Calls, "record", noted)
    return seen


def who(serial: int, number: str, name: str, born: str) -> dict[str, str]:
    given = adult(serial, name=name, telephone=PHONE, address=ADDRESS, unit=UNIT, birthday=born)
    return given | {"id_number": number, "id_card": number}


def live(his: Soap) -> list[str]:
    """Every operation once, some failing; the codes and ids that came of it."""
    photos = PHOTOS | {"photo_face": base64_of(picture(40))}
    own = {"self_id_type": "01", "self_id_number": NUMBER}
    made = his.call("E0001", who(1, NUMBER, NAME, "19770831") | photos).node("personinfo")
    assert his.call("E0006", who(1, NUMBER, MEMBER, "19770831") | CLERK | {"auth_name": CLERKS}).code == "6010"
    assert his.call("E0006", who(1, NUMBER, f"{NAME}<", "19770831") | CLERK).code == "1002"
    assert his.call("E0007", own | {"relation": "1"} | who(2, OTHER, MEMBER, "19770901") | photos).code == "7006"
    code = his.call("E0002", {"id_card": NUMBER, "qrcode_type": "0"}).node("ehc_cardinfo")["qr_code"]
    assert his.call("E0003", {"qr_code": code}).code == "3005"
    assert his.call("E0003", {"qr_code": code[:-1] + "?"}).code == "3001"
    temporary = his.call("E0012", {"name": PATIENT, "sex": "1", "age": "35岁半", "clinicTime": "2026-01-01 08:00:00"})
    used: dict[str, Any] = {"time": "2026-01-01 08:00:00", "atr": CHIP, "hc_number": CHIP, "sam": "6301020010300"}
    used |= {"use_citycode": "630100", "use_cityname": "西宁市", "nation": "01", "id_card": NUMBER}
    used |= {"hospital_code": "1", "hospital_name": "测试", "channel_code": "01", "channel_name": "窗口", "name": NAME}
    assert his.call("E0009", used).code == "9002"
    change = {
        "ecardId": made["ecardId"],
        "alterNo": NUMBER,
        "alterTime": "2026-01-01 08:00:00",
        "address": f"{ADDRESS}乙",
    }
    assert his.call("E0011", change).code == "11002"
    assert his.call("E0008", own | {"id_type": "01", "id_number": OTHER}).code == "8006"
    assert his.call("E0004", {"id_card": NUMBER, "qr_code": code}).code == "4004"
    his.call("E0005", {"id_card": NUMBER}, userPwd="wrong", userName=PHONE)
    his.post(f"<{NAME}>{NUMBER}".encode())
    return [made["ecardId"], made["main_index"], code, temporary.root.findtext("qr_code") or ""]


def test_no_row_and_no_line_of_the_log_tells_of_anybody(
    counted: list[Calls], written: Callable[[], str], service: Service
) -> None:
    his = hospital(service)
    made = live(his)
    counted[0].flush()
    with service.session() as session:
        dump = everything(session)
    found = dump + written().lower()
    for secret in (*SECRETS, *made, his.account.secret):
        for form in (secret, secret.encode().hex(), secret.encode("utf-16-le").hex()):
            assert form.lower() not in found
    for there in ("rhc_e0006", "text of", "plastic-use"):  # the look does find what is there
        assert there in dump
