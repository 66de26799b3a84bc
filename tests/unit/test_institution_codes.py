"""Codes of institutions: their forms, and check characters against the samples of the standards."""

import pytest

from ehc.core.institution_codes import CodeKind, credit_check, kind_of, organisation_check, read_code
from ehc.core.tables import regions
from ehc.errors import InvalidValue

HOSPITAL, CREDIT = "43713001911010511A1001", "91350100M000100Y43"


def refused(kind: CodeKind, code: str) -> str:
    with pytest.raises(InvalidValue) as found:
        read_code(kind, code)
    return found.value.fields[0].code


def test_check_characters_are_those_of_the_standards_samples() -> None:
    assert organisation_check("D2143569") == "X"
    assert organisation_check("M000100Y") == "4"
    assert credit_check(CREDIT[:-1]) == CREDIT[-1]


def test_an_organisation_code_ends_with_zero_where_eleven_comes_out() -> None:
    (zero,) = [first for first in ("00000000",) if organisation_check(first) == "0"]
    assert read_code(CodeKind.WS_218, f"{zero}0" + HOSPITAL[9:])


@pytest.mark.parametrize(("kind", "code"), [(CodeKind.WS_218, HOSPITAL), (CodeKind.USCC, CREDIT)])
def test_every_single_wrong_character_is_found(kind: CodeKind, code: str) -> None:
    places = range(9) if kind is CodeKind.WS_218 else (0, 1, *range(8, 18))
    for place in places:
        for letter in "0123456789":
            changed = code[:place] + letter + code[place + 1 :]
            if changed != code:
                assert refused(kind, changed) in {"code-check", "code-form"}


@pytest.mark.parametrize(
    ("kind", "code", "reason"),
    [
        (CodeKind.WS_218, HOSPITAL[:-1], "code-form"),
        (CodeKind.WS_218, HOSPITAL + "1", "code-form"),
        (CodeKind.WS_218, HOSPITAL.replace("A", "1"), "code-form"),
        (CodeKind.WS_218, HOSPITAL[:9] + "990000" + HOSPITAL[15:], "code-region"),
        (CodeKind.USCC, CREDIT[:-1], "code-form"),
        (CodeKind.USCC, "I" + CREDIT[1:], "code-form"),
        (CodeKind.USCC, CREDIT[:2] + "990000" + CREDIT[8:], "code-region"),
        (CodeKind.CLINIC, "37010200011", "code-form"),
        (CodeKind.CLINIC, "990102000101", "code-region"),
        (CodeKind.CLINIC, "３70102000101", "code-form"),
        (CodeKind.LOCAL, "", "code-form"),
        (CodeKind.LOCAL, "x" * 17, "code-form"),
        (CodeKind.LOCAL, "-H1", "code-form"),
        (CodeKind.LOCAL, "H 1", "code-form"),
        (CodeKind.LOCAL, "H1\n2", "code-form"),
        (CodeKind.LOCAL, "医院", "code-form"),
    ],
)
def test_a_code_of_another_form_is_refused(kind: CodeKind, code: str, reason: str) -> None:
    assert refused(kind, code) == reason


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (CodeKind.WS_218, HOSPITAL),
        (CodeKind.USCC, CREDIT),
        (CodeKind.CLINIC, "370102000101"),
        (CodeKind.LOCAL, "H1"),
        (CodeKind.LOCAL, "x" * 16),
    ],
)
def test_a_code_tells_its_kind_and_is_taken(kind: CodeKind, code: str) -> None:
    assert kind_of(code) is kind
    assert read_code(kind, f" {code} ") == code


def test_small_letters_are_taken_where_the_standard_has_capitals_alone() -> None:
    assert read_code(CodeKind.USCC, CREDIT.lower()) == CREDIT
    assert read_code(CodeKind.LOCAL, "h1") == "h1"


def test_regions_hang_together() -> None:
    table = regions()
    assert len(table) == 3218
    assert [len([1 for region in table.values() if region.level == level]) for level in (1, 2, 3)] == [34, 333, 2851]
    for region in table.values():
        assert (region.parent is None) == (region.level == 1)
        assert region.parent is None or table[region.parent].level < region.level
    assert (table["370102"].parent, table["110101"].parent, table["419001"].parent) == ("370100", "110000", "410000")
