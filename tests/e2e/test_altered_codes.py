"""A code with any one digit changed is refused by the service as it runs."""

import random

import pytest

from tests.e2e.sites import Site

pytestmark = pytest.mark.xdist_group("heavy")


def test_a_code_with_one_digit_altered_is_refused_wherever_that_digit_stands(site: Site) -> None:
    site.launch()
    app, terminal = site.peer("app"), site.peer("terminal-0")
    code = app.code(app.register())
    chance = random.Random(20260309)
    places = sorted({0, 1, 2, 3, 4, len(code) - 2, len(code) - 1, *chance.sample(range(5, len(code) - 2), 60)})
    told = {}
    for place in places:
        digit = chance.choice([other for other in "0123456789" if other != code[place]])
        body = terminal.scan(code[:place] + digit + code[place + 1 :]).body
        told[place] = (body["outcome"], body["reason"])
        assert "resident" not in body
    assert {outcome for outcome, _ in told.values()} == {"rejected"}
    assert {reason for _, reason in told.values()} <= {"malformed", "unknown-format", "unknown-key", "bad-signature"}
    assert site.count("code_use") == 0
    assert terminal.scan(code).body["outcome"] == "accepted"  # the attempts did not spend it
