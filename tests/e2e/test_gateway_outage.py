"""PostgreSQL goes away: both gateways say so in their own words, nothing is accepted, and they recover by themselves."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from ehc.dev.postgres import EmbeddedPostgres
from tests.e2e.gateway_site import GatewaySite, gateway_site
from tests.e2e.sites import allowed, eventually, own_database
from tests.support.open_platform import applicant
from tests.support.provincial import CLERK, adult

pytestmark = pytest.mark.xdist_group("heavy")


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def site(postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[GatewaySite]:
    with gateway_site(own_database(postgres), tmp_path) as found:
        yield found


def test_both_say_so_accept_nothing_and_recover(site: GatewaySite, postgres: EmbeddedPostgres) -> None:
    mini, his = site.mini_program.log_in(), site.hospital
    assert his.call("E0006", adult(1) | CLERK).code == "6008"
    first, second = site.wechat_code(), site.wechat_code()
    assert mini.call("registerHealthCard", applicant(2, wechatCode=first)) == 0
    postgres.stop()
    for _ in range(3):
        assert mini.call("registerHealthCard", applicant(3, wechatCode=second)) == 50000
        assert mini.last["rsp"] == {}
        answer = his.call("E0006", adult(4) | CLERK)
        assert (answer.code, answer.good) == ("1011", False)
    postgres.start()
    assert eventually(
        lambda: mini.call("registerHealthCard", applicant(3, wechatCode=second)) == 0, seconds=allowed(15), every=0.5
    )
    assert his.call("E0006", adult(4) | CLERK).code == "6008"
    with site.session() as session:
        assert session.execute(text("SELECT count(*) FROM card")).scalar_one() == 4
