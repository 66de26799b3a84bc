"""Kinds of plastic card are data: six at least, each with a form of its own; no citizen's number is a card."""

import pytest

from ehc.core.plastic_kinds import plastic_kinds
from tests.support.service import citizen_number

CODES = {
    "resident-health-card",
    "social-security-card",
    "visit-card",
    "rural-cooperative-card",
    "citizen-card",
    "wristband",
}


def test_the_kinds_of_the_field_are_there() -> None:
    kinds = plastic_kinds()
    assert set(kinds) >= CODES
    assert {code for code in CODES if kinds[code].by_institution} == {"visit-card", "wristband"}
    assert {code for code in CODES if kinds[code].by_region} == {
        "social-security-card",
        "rural-cooperative-card",
        "citizen-card",
    }
    assert {code for code in CODES if kinds[code].temporary} == {"wristband"}
    assert all(kind.name.zh and kind.name.en and kind.form_text.zh and kind.form_text.en for kind in kinds.values())


@pytest.mark.parametrize("code", sorted(CODES))
def test_no_citizen_s_number_is_a_card(code: str) -> None:
    kind = plastic_kinds()[code]
    for serial in range(30):
        number = citizen_number(serial)
        assert kind.read(number) is None
        assert kind.read(f" {number.lower()} ") is None
        assert not kind.by_region or kind.read(f"370100-{number}") is None


def test_a_number_that_regions_give_says_of_which_it_is() -> None:
    kind = plastic_kinds()["social-security-card"]
    assert kind.read("370100-a12345678") == "370100-A12345678"
    assert kind.read("370200-A12345678") == "370200-A12345678"
    assert kind.read("A12345678") is None  # two cities give it: it would lead to whoever of the other bound it


def test_a_number_has_one_form() -> None:
    kinds = plastic_kinds()
    assert kinds["resident-health-card"].read(" 00ab12cd00000001 ") == "00AB12CD00000001"
    assert kinds["visit-card"].read("Ab-1") == "Ab-1"
    assert kinds["resident-health-card"].read("00AB12CD0000000１") is None
    assert kinds["resident-health-card"].read("00AB12CD00000001\n") is None
