"""A card that is suspended or cancelled through one server process is refused by another with the very next scan."""

import pytest

from tests.e2e.sites import Site

TIMES = 100

pytestmark = pytest.mark.xdist_group("heavy")


def test_what_one_process_answered_holds_for_the_next_scan_at_another(site: Site) -> None:
    site.launch()
    site.launch()
    app, terminal = site.peer("app"), site.peer("terminal-0", 1)
    card = app.register()
    path = f"/v1/cards/{card}"
    for _ in range(TIMES):
        before, beside = app.code(card), site.peer("app", 1).code(card)
        assert app.post(f"{path}/suspend", {"reason": "r"}).status == 200
        assert terminal.scan(before).body["reason"] == "card-suspended"
        assert site.peer("app", 1).post(f"{path}/codes", {}).body["code"] == "card-not-active"
        assert app.post(f"{path}/resume", {"reason": "r"}).status == 200
        assert terminal.scan(beside).body["outcome"] == "accepted"


def test_a_cancellation_at_one_process_holds_for_the_next_scan_at_another(site: Site) -> None:
    site.launch()
    site.launch()
    app, beside, terminal = site.peer("app"), site.peer("app", 1), site.peer("terminal-0", 1)
    for serial in range(TIMES // 2):
        card = app.register(serial)
        path = f"/v1/cards/{card}"
        signed, other = beside.code(card), beside.code(card)
        issued = beside.post(f"{path}/codes", {"format": "national"})
        assert issued.status == 201, issued.raw
        assert terminal.scan(signed).body["outcome"] == "accepted"
        assert app.post(f"{path}/cancel", {"reason": "r"}).status == 200
        for code in (other, issued.body["code"]):
            assert terminal.scan(code).body["reason"] == "card-cancelled"
        assert beside.post(f"{path}/codes", {}).body["code"] == "card-not-active"
