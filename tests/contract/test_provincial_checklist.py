"""The test checklist of provincial SOAP 9, line by line. Line 1 is in tests/e2e/test_soap_clients.py: it takes real clients."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from ehc.access.models import InstitutionRow
from ehc.clock import local_day
from tests.support.provincial import (
    APP,
    CLERK,
    PATH,
    PHOTOS,
    SOAP11,
    SOAP12,
    TARGET,
    Soap,
    adult,
    envelope,
    hospital,
    inner,
    mini_program,
    newborn,
    read_symbol,
    returned,
)
from tests.support.service import Service, citizen_number


@pytest.fixture
def his(service: Service) -> Soap:
    with service.session() as session:
        session.execute(update(InstitutionRow).values(static_allowed=True))
    return hospital(service)


def born(service: Service) -> str:
    return f"{local_day(service.clock.now()) - timedelta(days=3):%Y%m%d}"


def test_line_2_every_dialect_is_read(his: Soap) -> None:
    his.register()
    action, message = inner(his.head("RHC_E0005")), inner({"id_card": citizen_number(1)})
    escaped = envelope(action, message)
    arguments = escaped[escaped.index("<arg0>") : escaped.index("</web:")]
    cdata = f"<arg0><![CDATA[{action}]]></arg0><arg1><![CDATA[{message}]]></arg1>"
    qualified = arguments.replace("<arg", "<w:arg").replace("</arg", "</w:arg")
    wrappers = {
        "prefixed": f'<w:NAME xmlns:w="{TARGET}">{arguments}</w:NAME>',
        "qualified arguments": f'<w:NAME xmlns:w="{TARGET}">{qualified}</w:NAME>',
        "default namespace": f'<NAME xmlns="{TARGET}">{arguments}</NAME>',
        "unqualified": f"<NAME>{arguments}</NAME>",
        "cdata": f'<w:NAME xmlns:w="{TARGET}">{cdata}</w:NAME>',
    }
    for name in ("RHCMessageServer", "RHCMessageServerRequest"):
        for wrapper in wrappers.values():
            for declared in ("", '<?xml version="1.0" encoding="utf-8"?>\n'):
                inside = wrapper.replace("NAME", name)
                body = f'{declared}<S:Envelope xmlns:S="{SOAP11}"><S:Header/><S:Body>{inside}</S:Body></S:Envelope>'
                answer = his.post(body)
                assert answer.status_code == 200
                assert returned(answer.data).code == "5004"


def test_line_2_soap_12_is_answered_in_soap_12(his: Soap) -> None:
    body = envelope(inner(his.head("RHC_E0005")), inner({"id_card": citizen_number(1)}), namespace=SOAP12)
    answer = his.post(body, content_type='application/soap+xml; charset=utf-8; action=""')
    assert answer.content_type == "application/soap+xml; charset=UTF-8"
    assert returned(answer.data, SOAP12).code == "2008"


def test_line_2_every_path_serves(his: Soap) -> None:
    body = envelope(inner(his.head("RHC_E0005")), inner({"id_card": citizen_number(1)}))
    for path in (PATH, "/ws", "/ws/", "/ws/elecHealthCardWebSevice"):
        assert returned(his.post(body, path=path).data).code == "2008"


def test_line_3_any_time_of_creation_is_accepted(his: Soap) -> None:
    for given in ("2026-11-32518:51:23", "", None, "gestern"):
        assert his.call("E0005", {"id_card": citizen_number(1)}, msgCreateTime=given).code == "2008"


def test_line_4_the_checks_come_in_their_order(his: Soap) -> None:
    fields = inner({"id_card": citizen_number(1)})
    head = inner(his.head("RHC_E0005"))

    def code(action: str, message: str = fields) -> str:
        return returned(his.post(envelope(action, message)).data).code

    assert code("", fields) == "1009"
    assert code(head, "") == "1009"
    assert code("<request>", fields) == "1012"
    assert code(head, "<request><name>王</request>") == "1012"
    assert code(head, "<Request/>") == "1012"
    assert code(inner(his.head(""))) == "1008"
    assert code(inner(his.head("RHC_E9999"))) == "1003"
    assert code(inner(his.head("RHC_E0005", orgId="", appCode=""))) == "1007"
    assert code(inner(his.head("RHC_E0005", userPwd="x"))) == "1005"
    assert code(inner(his.head("RHC_E0005", userName="nobody"))) == "1005"
    assert code(inner(his.head("RHC_E0005", orgId="63"))) == "1006"
    assert code(inner(his.head("RHC_E0005", orgId="", appCode="QH0002"))) == "1004"
    assert code(inner(his.head("RHC_E0006")), inner(adult() | CLERK | {"name": "王'小明"})) == "1002"
    assert code(inner(his.head("RHC_E0006")), inner(adult(name=None) | CLERK)) == "1001"


def test_line_5_life_cycle(service: Service, his: Soap) -> None:
    his.call("E0006", adult(2) | CLERK)
    made = his.call("E0006", adult() | CLERK)
    assert (made.code, made.node("personinfo")["ehc_card_status"]) == ("6008", "4")
    who = {"id_card": citizen_number(1)}
    first = his.call("E0002", who | {"qrcode_type": "1"})
    assert first.code == "2009"
    static = first.node("ehc_cardinfo")["qr_code"]
    again = his.call("E0002", who | {"qrcode_type": "1"})
    assert (again.code, again.good, again.node("ehc_cardinfo")["qr_code"]) == ("2004", False, static)
    fetched = his.call("E0005", who)
    codes = fetched.node("ehc_cardinfo")
    assert (fetched.code, codes["ehc_card_status"], codes["qr_code"]) == ("5005", "1", static)
    dynamic = codes["dt_qr_code"]
    assert read_symbol(codes["qr_code_imgtext"]) == (static, (200, 200))
    assert read_symbol(codes["qr_code_dtimgtext"]) == (dynamic, (200, 200))
    for code in (static, dynamic):
        checked = his.call("E0003", {"qr_code": code})
        assert checked.code == "3005", checked.text
        assert checked.node("ehc_cardinfo")["ecardId"] == static[:64]
    for changed in (static, dynamic):
        flipped = changed[:5] + ("A" if changed[5] != "A" else "B") + changed[6:]
        assert his.call("E0003", {"qr_code": flipped}).code == "3001"
    service.clock.advance(200)
    assert his.call("E0003", {"qr_code": dynamic}).code == "3004"
    others = his.apply(2)
    assert his.call("E0004", who | {"qr_code": others}).code == "4001"
    assert his.call("E0004", who | {"qr_code": static}).code == "4004"
    assert his.call("E0004", who | {"qr_code": static}).code == "4002"
    assert his.call("E0003", {"qr_code": static}).code == "2001"
    over = his.call("E0005", who)
    assert (over.code, over.good, over.node("ehc_cardinfo")["ehc_card_status"]) == ("5001", False, "0")


@pytest.mark.parametrize(("first", "second"), [("99", "08"), ("08", "99")])
def test_line_6_a_newborn_by_99_and_by_08_is_one(service: Service, his: Soap, first: str, second: str) -> None:
    made = his.call("E0016", newborn("T630000001", first, born(service)))
    assert made.code == "6008", made.text
    again = his.call("E0016", newborn("T630000001", second, born(service)))
    assert again.code == "6009"
    assert again.node("personinfo")["id_type"] == first
    assert again.node("personinfo")["ecardId"] == made.node("personinfo")["ecardId"]
    found = his.call("E0005", {"id_type": second, "id_number": "T630000001"})
    assert (found.code, found.node("ehc_cardinfo")["id_type"]) == ("5004", first)


def test_line_7_a_family_is_bound_listed_and_unbound(his: Soap) -> None:
    his.register(1)
    his.register(2, name="李四")
    own = {"self_id_type": "01", "self_id_number": citizen_number(1)}
    known = his.call("E0007", own | {"relation": "1"} | adult(2, name="李四") | PHOTOS)
    assert known.code == "7006", known.text
    fresh = his.call("E0007", own | {"relation": "2"} | adult(3, name="王五") | PHOTOS)
    assert (fresh.code, fresh.node("personinfo")["ehc_card_status"]) == ("7006", "4")
    assert his.call("E0007", own | {"relation": "2"} | adult(3, name="王五") | PHOTOS).code == "7004"
    listed = his.call("E0010", own)
    members = listed.nodes("personinfo")
    assert (listed.code, listed.root.findtext("total")) == ("5005", "2") == ("5005", str(len(members)))
    assert {(one["name"], one["relation"], one["id_card"]) for one in members} == {
        ("李四", "1", citizen_number(2)),
        ("王五", "2", citizen_number(3)),
    }
    member = {"id_type": "01", "id_number": citizen_number(3)}
    assert his.call("E0008", own | member).code == "8006"
    assert his.call("E0008", own | member).code == "8005"
    assert his.call("E0010", own).root.findtext("total") == "1"


def test_line_8_a_temporary_card_is_made_checked_and_bound(his: Soap) -> None:
    made = his.call("E0012", {"name": "王五", "sex": "1", "age": "35", "clinicTime": "2024-03-05 10:00:00"})
    assert made.code == "12002", made.text
    code = made.root.findtext("qr_code") or ""
    assert 0 < len(code) <= 20
    assert read_symbol(made.root.findtext("qr_code_imgtext") or "") == (code, (200, 200))
    checked = his.call("E0013", {"qr_code": code})
    told = {child.tag: child.text for child in checked.root}
    assert told == {
        "result": "success",
        "desc": "临时卡验证成功",
        "resultCode": "13002",
        "name": "王五",
        "age": "35",
        "sex": "1",
        "clinicTime": "2024-03-05 10:00:00",
    }
    his.register(1, name="王五")
    formal = his.apply(1, "0")
    wanted: dict[str, Any] = {"qr_code": formal, "qr_code_temp": code, "name": "王五", "sex": "1"}
    wanted |= {"id_type": "01", "id_number": citizen_number(1)}
    assert his.call("E0014", wanted | {"name": "王六"}).code == "3003"
    assert his.call("E0014", wanted | {"qr_code_temp": "69200000000000000000"}).code == "13001"
    assert his.call("E0014", wanted).code == "7006"
    assert his.call("E0014", wanted).code == "7004"
    assert his.call("E0013", {"qr_code": code}).code == "13001"


def test_line_9_encryption_is_refused_and_nothing_is_told(his: Soap) -> None:
    his.register()
    for given in ({"encryption": "1"}, {"encryption": None, "encrytion": "1"}):
        answer = his.call("E0005", {"id_card": citizen_number(1)}, **given)
        assert (answer.code, answer.good) == ("6001", False)
        assert [child.tag for child in answer.root] == ["result", "desc", "resultCode"]
        assert "未配置" in answer.desc
        assert citizen_number(1) not in answer.text


def test_line_10_an_external_entity_is_not_resolved(his: Soap) -> None:
    hostile = '<!DOCTYPE request [<!ENTITY x SYSTEM "file:///etc/passwd">]><request><name>&x;</name></request>'
    answer = returned(his.post(envelope(inner(his.head("RHC_E0001")), hostile)).data)
    assert (answer.code, "root:" in answer.text) == ("1012", False)
    outer = hostile.replace("request", "S:Envelope", 1) + envelope("", "")
    refused = his.post(outer)
    assert refused.status_code == 500
    assert "root:" not in refused.text


def test_app_and_org_may_both_be_sent_unless_the_account_is_strict(service: Service, his: Soap) -> None:
    who = {"id_card": citizen_number(1)}
    assert his.call("E0005", who, appCode=APP).code == "2008"
    assert his.call("E0005", who, appCode="QH9999").code == "1004"
    strict = hospital(service, name="strict", strict=True)
    assert strict.call("E0005", who, appCode=APP).code == "1011"
    assert mini_program(service, name="mini").call("E0005", who).code == "2008"
