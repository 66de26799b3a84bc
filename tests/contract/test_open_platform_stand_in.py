"""The demo's stand-in for WeChat's side: codes for anybody in the demo, and nothing outside of it."""

from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ehc.settings import Settings
from tests.contract.helpers import wrong
from tests.support.open_platform import Platform, applicant
from tests.support.service import Service, citizen_number, told


@pytest.fixture
def platform(service: Service) -> Platform:
    return Platform.of(service)


def test_codes_are_made_and_are_good(platform: Platform) -> None:
    http, app_id = platform.service.client(), platform.account.name
    answer = http.post("/demo/wechat/codes", json={"appId": app_id, "kind": "wechatCode"})
    assert (answer.status_code, told(answer)["expires_in"]) == (201, 1800)
    code = told(answer)["wechatCode"]
    ehc_id = platform.good("registerHealthCard", applicant(1, wechatCode=code))["healthCardId"]
    of_card = {"appId": app_id, "kind": "healthCode", "healthCardId": ehc_id, "idNumber": citizen_number(1)}
    code = told(http.post("/demo/wechat/codes", json=of_card))["healthCode"]
    assert platform.good("getHealthCardByHealthCode", {"healthCode": code})["card"]["healthCardId"] == ehc_id
    for change in ({"appId": "0" * 32}, {"idNumber": citizen_number(2)}, {"healthCardId": "A" * 64}):
        wrong(http.post("/demo/wechat/codes", json=of_card | change))


def test_the_page_goes_back_to_this_machine_with_a_code(platform: Platform) -> None:
    http, ask = platform.service.client(), "/demo/wechat/open/getUserCode"
    back = {"appId": platform.account.name, "redirect_uri": "http://127.0.0.1:5173/bind?a=1"}
    answer = http.get(ask, query_string=back)
    assert answer.status_code == 303
    found = urlsplit(answer.headers["Location"])
    assert (found.netloc, parse_qs(found.query)["a"]) == ("127.0.0.1:5173", ["1"])
    code = parse_qs(found.query)["wechatCode"][0]
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code)) == 0
    for elsewhere in (
        "https://evil.example/",
        "javascript:alert(1)",
        "//evil.example",
        "http://127.0.0.1@evil.example/",
    ):
        wrong(http.get(ask, query_string=back | {"redirect_uri": elsewhere}))
    assert "STAND-IN" in http.get("/demo/wechat/").text


def test_an_order_for_the_wallet_is_taken_once(platform: Platform) -> None:
    ehc_id = platform.register()["healthCardId"]
    order = platform.good("getOrderIdByOutAppId", {"appId": "wx1", "qrCodeText": f"{ehc_id}:1"})["orderId"]
    http, ask = platform.service.client(), {"order_id": order}
    assert http.get("/demo/wechat/open/takeMsCard", query_string=ask).status_code == 200
    wrong(http.get("/demo/wechat/open/takeMsCard", query_string=ask))


def test_outside_of_the_demo_there_is_none_and_no_wallet(settings: Settings, tmp_path: Path) -> None:
    kek = tmp_path / "kek"
    kek.write_text(settings.kek_file.read_text(encoding="ascii").replace("ehc-demo-kek-1:", "ehc-kek-1:"))
    kek.chmod(0o600)
    service = Service.start(replace(settings, demo=False, kek_file=kek))
    try:
        platform = Platform.of(service)
        ehc_id = platform.register()["healthCardId"]
        assert platform.result("getOrderIdByOutAppId", {"appId": "wx1", "qrCodeText": f"{ehc_id}:1"}) == 10003
        assert service.client().get("/demo/wechat/").status_code == 404
        assert service.client().post("/demo/wechat/codes", json={}).status_code == 404
    finally:
        service.stop()
