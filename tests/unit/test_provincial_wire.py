"""Envelopes, inner XML, fields and result codes of the provincial interface, read and written."""

from base64 import b64encode
from datetime import date

import pytest

from ehc.gateways.provincial_soap.charsets import UnknownCharset, decode
from ehc.gateways.provincial_soap.envelope import MAX_BODY, NotACall, Version, read_call, write_answer, write_fault
from ehc.gateways.provincial_soap.fields import MAX_PHOTO, read_day, read_photo, read_time, write_day
from ehc.gateways.provincial_soap.messages import NotARequest, has_special, node, read_request, write_response
from ehc.gateways.provincial_soap.operations import OPERATIONS
from ehc.gateways.provincial_soap.result_codes import Failed, result_codes
from ehc.gateways.provincial_soap.xml_reader import NotXml, read_xml
from tests.support.provincial import PIXEL, SOAP11, SOAP12, TARGET, envelope, packed, picture

_BOMB = "<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;&b;&b;'>]><a>&c;</a>"
_EXTERNAL = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
_PARAMETER = '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x.dtd"> %p;]><a/>'


@pytest.mark.parametrize(
    "text", [_BOMB, _EXTERNAL, _PARAMETER, "<!DOCTYPE a><a/>", "<a>&b;</a>", "<a>", "", "\0", "<a/><b/>"]
)
def test_what_is_no_plain_xml_is_refused(text: str) -> None:
    with pytest.raises(NotXml):
        read_xml(text, depth=10, elements=100)


def test_depth_and_number_of_elements_are_bounded() -> None:
    for depth in (10, 11):
        text = "<a>" * depth + "</a>" * depth
        if depth == 10:
            assert read_xml(text, depth=10, elements=100).name == "a"
            continue
        with pytest.raises(NotXml):
            read_xml(text, depth=10, elements=100)
    assert len(read_xml("<a>" + "<b/>" * 99 + "</a>", depth=10, elements=100).children) == 99
    with pytest.raises(NotXml):
        read_xml("<a>" + "<b/>" * 100 + "</a>", depth=10, elements=100)


def test_a_nest_of_four_megabytes_is_left_at_its_first_elements() -> None:
    with pytest.raises(NotACall):
        read_call(b"<a>" * (MAX_BODY // 3), "text/xml")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"not xml", "text/xml"),
        (b"<a/>", "text/xml"),
        (f'<Envelope xmlns="{TARGET}"/>'.encode(), "text/xml"),
        (f'<S:Envelope xmlns:S="{SOAP11}"/>'.encode(), "text/xml"),
        (f'<S:Envelope xmlns:S="{SOAP11}"><S:Body/></S:Envelope>'.encode(), "text/xml"),
        (f'<S:Envelope xmlns:S="{SOAP11}"><S:Body><Other/></S:Body></S:Envelope>'.encode(), "text/xml"),
        (envelope("a", "b").replace(TARGET, "urn:other").encode(), "text/xml"),
        (envelope("a", "b").encode(), "text/xml; charset=utf-16"),
        (envelope("a", "王").encode("gbk"), "text/xml; charset=utf-8"),
        (b"\x00" + envelope("a", "b").encode(), "text/xml"),
    ],
)
def test_what_is_no_call_is_told_so(body: bytes, content_type: str) -> None:
    with pytest.raises(NotACall) as refused:
        read_call(body, content_type)
    assert b"Fault" in write_fault(refused.value.version, refused.value.what)


def test_the_version_of_a_fault_is_that_of_the_call() -> None:
    body = f'<S:Envelope xmlns:S="{SOAP12}"><S:Body><Other/></S:Body></S:Envelope>'.encode()
    with pytest.raises(NotACall) as refused:
        read_call(body, "application/soap+xml")
    assert refused.value.version is Version.SOAP12
    assert read_xml(write_fault(Version.SOAP12, "x").decode(), depth=9, elements=99).namespace == SOAP12


def test_the_dialect_says_how_a_call_was_written() -> None:
    assert read_call(envelope("a", "b").encode(), "").dialect == "soap11 escaped"
    other = envelope("a", "b", namespace=SOAP12, wrapper="RHCMessageServerRequest").replace(
        "<arg1>b", "<arg1><![CDATA[b]]>"
    )
    assert read_call(other.encode(), "").dialect == "soap12 spring-ws cdata"


def test_an_answer_is_escaped_whole() -> None:
    told = read_xml(write_answer(Version.SOAP11, "<a>&amp;</a>").decode(), depth=9, elements=99)
    assert told.children[0].children[0].children[0].text == "<a>&amp;</a>"


def test_the_content_type_names_the_charset_before_the_declaration_does() -> None:
    body = '<?xml version="1.0" encoding="GBK"?><a>王</a>'
    assert decode(body.encode(), "text/xml; charset=UTF-8").endswith("<a>王</a>")
    assert decode(body.encode("gbk"), "text/xml").endswith("<a>王</a>")
    assert decode(b"\xef\xbb\xbf<a/>", "") == "<a/>"
    for wrong in ("big5", "utf-7", "idna", "x" * 30):
        with pytest.raises(UnknownCharset):
            decode(body.encode(), f"text/xml; charset={wrong}")


def test_a_request_is_read_as_java_clients_write_it() -> None:
    text = '\ufeff<?xml version="1.0" encoding="GBK"?>\n<request><a> 1 </a><b/><c> </c><d>1</d><d>2</d><e><f/></e></request>'
    assert read_request(text) == {"a": "1", "d": "2"}
    for wrong in ("<requests/>", "<request>", "text", "<request><a></request>"):
        with pytest.raises(NotARequest):
            read_request(wrong)


@pytest.mark.parametrize("sign", list("&<>\"'"))
def test_special_signs_are_refused_everywhere_but_in_the_password(sign: str) -> None:
    assert has_special({"name": f"王{sign}"})
    assert not has_special({"userPwd": sign}, but="userPwd")


def test_every_listed_element_is_written_in_its_order_and_what_xml_cannot_hold_is_dropped() -> None:
    told = write_response(result_codes()["6008"], "", [("personinfo", node(("name", "age"), {"age": "<3&\x0b"}))])
    head = "<response><result>success</result><desc>注册成功</desc><resultCode>6008</resultCode>"
    assert told == f"{head}<personinfo><name></name><age>&lt;3&amp;</age></personinfo></response>"


def test_there_are_65_result_codes_of_which_11_tell_of_success() -> None:
    assert len(result_codes()) == 65
    assert sorted(code for code, told in result_codes().items() if told.good) == sorted(
        ["2009", "3005", "4004", "5005", "6008", "7006", "8006", "9002", "11002", "12002", "13002"]
    )
    assert list(OPERATIONS) == [f"RHC_E{number:04}" for number in range(1, 18)]


def test_dates_come_in_both_forms_and_leave_in_one() -> None:
    assert read_day("20260131") == read_day("2026-01-31") == date(2026, 1, 31)
    assert write_day(date(2026, 1, 31)) == "20260131"
    for wrong in ("20260231", "2026/01/31", "260131", "", "٢٠٢٦٠١٣١"):
        assert read_day(wrong) is None
    assert read_time("2026-01-31 23:59:59") is not None
    for wrong in ("2026-01-31", "2026-01-31T23:59:59", "2026-01-31 24:00:00", ""):
        assert read_time(wrong) is None


def test_photographs_come_as_png_or_jpeg_with_line_breaks_or_as_data_urls() -> None:
    assert read_photo("front", PIXEL).media_type == "image/png"
    assert read_photo("front", f"data:image/png;base64,{PIXEL[:20]}\r\n{PIXEL[20:]}").media_type == "image/png"
    assert read_photo("face", packed(picture(30, "JPEG"))).media_type == "image/jpeg"


def test_a_photograph_has_400_000_bytes_at_most() -> None:
    whole = picture(8)
    fits = whole + b"\0" * (MAX_PHOTO - len(whole))
    assert len(read_photo("face", packed(fits)).data) == MAX_PHOTO
    with pytest.raises(Failed, match="6005"):
        read_photo("face", packed(fits + b"\0"))
    with pytest.raises(Failed, match="6005"):
        read_photo("face", "A" * 3_000_000)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "6004"),
        ("?", "6006"),
        (b64encode(b"GIF89a").decode(), "6006"),
        (packed(picture(8, "GIF")), "6006"),
        (PIXEL[:40], "6006"),
        (packed(picture(8)[:40]), "6006"),
    ],
)
def test_what_is_no_photograph_is_refused(text: str, code: str) -> None:
    with pytest.raises(Failed, match=code):
        read_photo("face", text)
