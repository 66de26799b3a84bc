"""The open platform at one moment: real threads, each with a client of its own. What decides is the database."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.helpers import at_once
from tests.support.open_platform import Platform, applicant
from tests.support.service import Service


@pytest.fixture
def platform(service: Service) -> Platform:
    made = Platform.of(service)
    made.log_in()
    return made


def calling(platform: Platform, method: str, req: dict[str, Any]) -> Callable[[], int]:
    """A call to be made later, by a client of its own."""
    own = replace(platform, last={})
    return lambda: own.result(method, req)


def count(service: Service, query: str) -> int:
    with service.session() as session:
        return int(session.scalar(text(query)) or 0)


def test_of_registrations_with_one_wechat_code_one_succeeds(platform: Platform) -> None:
    code = platform.wechat_code()
    calls = [calling(platform, "registerHealthCard", applicant(n, wechatCode=code)) for n in range(1, 9)]
    assert Counter(at_once(*calls)) == {0: 1, 30001: 7}
    assert count(platform.service, "SELECT count(*) FROM card") == 1
    assert count(platform.service, "SELECT count(*) FROM resident") == 1


def test_one_person_registered_at_once_with_eight_codes_is_one_card(platform: Platform) -> None:
    codes = [platform.wechat_code() for _ in range(8)]
    calls = [calling(platform, "registerHealthCard", applicant(1, wechatCode=code)) for code in codes]
    assert Counter(at_once(*calls)) == {0: 8}
    assert count(platform.service, "SELECT count(*) FROM card") == 1
    assert count(platform.service, "SELECT count(*) FROM open_platform_code WHERE used_at IS NOT NULL") == 8


def test_a_health_code_is_used_once(platform: Platform) -> None:
    code = platform.health_code(platform.register()["healthCardId"])
    calls = [calling(platform, "getHealthCardByHealthCode", {"healthCode": code}) for _ in range(8)]
    assert Counter(at_once(*calls)) == {0: 1, 30002: 7}


def test_a_code_paid_with_at_two_hospitals_at_once_counts_at_one(platform: Platform, service: Service) -> None:
    other = Platform.of(service, api=service.other_app)
    other.log_in()
    req = {"qrCodeText": platform.dynamic(platform.register()["healthCardId"]), "medicalStep": "010105"}
    calls = [calling(one, "verifyQRCode", req) for one in (platform, other) for _ in range(4)]
    told = at_once(*calls)
    assert sorted([set(told[:4]) == {0}, set(told[4:]) == {0}]) == [False, True]
    assert Counter(told) == {0: 4, 40003: 4}  # who read it first may read it again for ten seconds
    accepted = "SELECT count(*) FROM verification WHERE reason IS NULL"
    assert count(service, accepted) == 1


def test_one_code_checked_at_once_for_four_steps_counts_three_times(platform: Platform) -> None:
    text_ = platform.dynamic(platform.register()["healthCardId"])
    steps = ("010101", "010102", "010103", "010104")
    calls = [calling(platform, "verifyQRCode", {"qrCodeText": text_, "medicalStep": step}) for step in steps]
    assert Counter(at_once(*calls)) == {0: 3, 40003: 1}


def test_of_cards_that_claim_one_patid_at_once_one_has_it(platform: Platform) -> None:
    codes = [platform.wechat_code() for _ in range(4)]
    calls = [
        calling(platform, "registerHealthCard", applicant(n, wechatCode=code, patid="P1"))
        for n, code in enumerate(codes, 1)
    ]
    assert Counter(at_once(*calls)) == {0: 1, 10002: 3}
    assert count(platform.service, "SELECT count(*) FROM card") == 1


def test_a_signed_request_that_is_replayed_at_once_counts_once(service: Service) -> None:
    platform = Platform.of(service, replay=True)
    platform.log_in()
    body = platform.request({})
    clients = [replace(platform, last={}) for _ in range(8)]

    def send(one: Platform) -> int:
        one.send("/rest/auth/recvPushMsg", body)
        return one.code

    assert Counter(at_once(*[lambda one=one: send(one) for one in clients])) == {0: 1, 20001: 7}
