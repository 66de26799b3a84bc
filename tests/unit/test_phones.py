"""Telephone numbers in one form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.core.phones import normal_phone
from ehc.errors import InvalidValue


@pytest.mark.parametrize(
    "typed",
    [
        "13800138000",
        " 138 0013 8000 ",
        "138-0013-8000",
        "138.0013.8000",
        "+8613800138000",
        "+86 138-0013-8000",
        "008613800138000",
        "8613800138000",
        "(+86) 13800138000",
        "１３８００１３８０００",
        "＋８６１３８００１３８０００",
        "\u202a13800138000\u202c",
    ],
)
def test_one_mobile_however_typed_has_one_form(typed: str) -> None:
    assert normal_phone(typed) == "13800138000"


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("010-12345678", "01012345678"),
        ("(010) 12345678", "01012345678"),
        ("+86 10 12345678", "01012345678"),
        ("+86 (0)10 12345678", "01012345678"),
        ("0086-010-12345678", "01012345678"),
        ("0971-6123456", "09716123456"),
        ("0755 12345678", "075512345678"),
        ("+852 1234 5678", "+85212345678"),
        ("00852 12345678", "+85212345678"),
        ("+44 (0)20 7946 0000", "+442079460000"),
        ("+1234567", "+1234567"),
        ("+123456789012345", "+123456789012345"),
    ],
)
def test_landlines_and_foreign_numbers_are_kept_as_digits(typed: str, kept: str) -> None:
    assert normal_phone(typed) == kept


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "+",
        "1380013800",
        "138001380000",
        "12800138000",
        "23800138000",
        "1380013800a",
        "12345678",
        "010123456",
        "010123456789",
        "0123456789",
        "0975512345",
        "0755123456789",
        "+123456",
        "+1234567890123456",
        "+0123456789",
        "+8612800138000",
        "+86123",
        "0086",
        "++8613800138000",
        "13800138000,13900139000",
        "1380013800\u0660",
        "1" * 10_000,
    ],
)
def test_what_is_not_a_phone_number_is_refused(typed: str) -> None:
    with pytest.raises(InvalidValue) as caught:
        normal_phone(typed)
    (field,) = caught.value.fields
    assert (field.pointer, field.code) == ("/phone", "phone-form")


@given(st.from_regex(r"1[3-9][0-9]{9}", fullmatch=True), st.sampled_from(["", "+86", "86", "0086", "+86 ", "0086-"]))
def test_every_mobile_loses_its_prefix(mobile: str, prefix: str) -> None:
    assert normal_phone(prefix + mobile) == mobile


@given(st.text(st.sampled_from("0123456789+-() ."), max_size=24))
def test_normal_form_is_stable(typed: str) -> None:
    try:
        once = normal_phone(typed)
    except InvalidValue:
        return
    assert normal_phone(once) == once
