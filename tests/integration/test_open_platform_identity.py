"""Registrations through the open platform with an identity authority: what it does not confirm leaves no card."""

from typing import Any

import pytest
from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from tests.integration.outside import asking, outside, simulators
from tests.support.open_platform import Platform, applicant
from tests.support.service import Service, citizen_number

__all__ = ["asking", "outside", "simulators"]


@pytest.fixture
def platform(asking: Service) -> Platform:
    return Platform.of(asking)


def known(outside: Controls, serial: int, **changes: Any) -> None:
    outside.add_person(**{"name": "王小明", "id_type": "01", "id_number": citizen_number(serial)} | changes)


def count(service: Service, table: str) -> int:
    with service.session() as session:
        return int(session.scalar(text(f"SELECT count(*) FROM {table}")) or 0)


def test_a_match_makes_an_active_card_of_the_best_level(platform: Platform) -> None:
    platform.register()
    with platform.service.session() as session:
        assert session.execute(text("SELECT status, level FROM card")).one() == ("active", "external-match")


def test_a_failed_identity_check_leaves_the_wechat_code_usable_and_no_card(
    platform: Platform, outside: Controls
) -> None:
    known(outside, 1, name="李四")
    code = platform.wechat_code()
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code)) == 30003
    assert [count(platform.service, table) for table in ("card", "resident", "identity_document")] == [0, 0, 0]
    told = platform.good("registerHealthCard", applicant(1, wechatCode=code, name="李四"))
    assert told["qrCodeText"] == told["healthCardId"] + ":1"
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code, name="李四")) == 30001


def test_an_authority_that_is_away_is_said_so_and_nothing_is_spent(platform: Platform, outside: Controls) -> None:
    outside.set_mode("down", party="identity")
    code = platform.wechat_code()
    assert platform.result("registerHealthCard", applicant(1, wechatCode=code)) == 50000
    assert count(platform.service, "card") == 0
    outside.set_mode("normal", party="identity")


def test_the_authority_is_not_asked_for_a_code_that_is_no_good(platform: Platform, outside: Controls) -> None:
    assert platform.result("registerHealthCard", applicant(1, wechatCode="0" * 32)) == 30001
    assert outside.state()["parties"]["identity"]["asked"] == 0


def test_of_a_batch_only_those_that_are_confirmed_have_a_card(platform: Platform, outside: Controls) -> None:
    known(outside, 2, name="李四")
    items = [applicant(serial) for serial in range(1, 16)]
    outside.set_mode("slow", seconds=0.3)
    told = platform.good("registerBatchHealthCard", {"healthCardItems": items})["rspItems"]
    assert [bool(item["qrCodeText"]) for item in told] == [serial != 2 for serial in range(1, 16)]
    assert count(platform.service, "card") == 14
    assert 1 < outside.state()["parties"]["identity"]["most_waiting"] <= 6  # a worker has eight places in all
