"""What the open platform forgets in time, and how it answers while the database is away."""

from functools import partial

import pytest
from sqlalchemy import Engine, make_url, text

from ehc.db import unit_of_work, until_none
from ehc.gateways.open_platform.upkeep import PURGES
from tests.support.open_platform import Platform
from tests.support.service import Service


@pytest.fixture
def platform(service: Service) -> Platform:
    made = Platform.of(service, replay=True)
    made.log_in()
    return made


def counts(service: Service) -> list[int]:
    with service.session() as session:
        return [
            int(session.scalar(text(f"SELECT count(*) FROM open_platform_{table}")) or 0)
            for table in ("token", "code", "seen")
        ]


def purge(service: Service) -> None:
    for forget in PURGES:
        until_none(unit_of_work(service.engine), partial(forget, now=service.clock.now()))


def test_what_is_out_of_its_time_is_forgotten_and_nothing_else(platform: Platform, service: Service) -> None:
    platform.wechat_code()
    assert counts(service) == [1, 1, 1]
    purge(service)
    assert counts(service) == [1, 1, 1]
    service.clock.advance(601)
    purge(service)
    assert counts(service) == [1, 1, 0]
    service.clock.advance(7200)
    purge(service)
    assert counts(service) == [0, 1, 0]
    service.clock.advance(86400)
    purge(service)
    assert counts(service) == [0, 0, 0]


def test_with_the_database_away_it_says_so_with_http_200_and_goes_on_by_itself(
    platform: Platform, service: Service, server_engine: Engine
) -> None:
    ehc_id = platform.register()["healthCardId"]
    code = platform.dynamic(ehc_id)
    name = make_url(service.settings.database_url).database
    with server_engine.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :n"), {"n": name}
        )
    try:
        assert platform.result("verifyQRCode", {"qrCodeText": code}) == 50000
        assert platform.result("getDynamicQRCode", {"healthCardId": ehc_id, "idType": "01", "idNumber": "x"}) == 50000
    finally:
        with server_engine.connect() as connection:
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    assert platform.result("verifyQRCode", {"qrCodeText": code}) == 0
