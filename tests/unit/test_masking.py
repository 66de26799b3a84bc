"""Masked fields show enough to recognise oneself and too little to be looked up."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.core.masking import age_on, mask_name, mask_number, mask_phone


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("张三", "张*"),
        ("张三丰", "张**"),
        ("欧阳娜娜", "欧***"),
        ("阿依古丽·买买提", "阿***"),
        ("𠮷一", "𠮷*"),
        ("ZHANG SAN", "Z***"),
        ("张", "*"),
        ("", "*"),
    ],
)
def test_a_name_keeps_its_first_character(name: str, masked: str) -> None:
    assert mask_name(name) == masked


@pytest.mark.parametrize(
    ("number", "masked"),
    [
        ("11010519491231002X", "1101************2X"),
        ("CAN110078060211", "CAN1*********11"),
        ("123456789012", "1234******12"),
        ("12345678901", "12*******01"),
        ("E12345678", "E1*****78"),
        ("12345678", "12****78"),
        ("1234567", "1******"),
        ("1234", "1***"),
        ("123", "***"),
        ("", ""),
    ],
)
def test_a_number_keeps_its_ends_and_a_short_one_less(number: str, masked: str) -> None:
    assert mask_number(number) == masked


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("13800001234", "138****1234"),
        ("075512345678", "075*****5678"),
        ("+85212345678", "+85*****5678"),
        ("0101234567", "********67"),
        ("123456", "****56"),
        ("12345", "*****"),
        ("", ""),
    ],
)
def test_a_phone_keeps_its_ends_and_a_short_one_less(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked


@given(st.text(st.characters(exclude_characters="*"), max_size=30))
def test_at_least_half_of_a_number_is_hidden(number: str) -> None:
    masked = mask_number(number)
    assert len(masked) == len(number)
    assert masked.count("*") * 2 >= len(number)


@pytest.mark.parametrize(
    ("birth", "today", "age"),
    [
        (date(1990, 3, 7), date(2026, 3, 6), 35),
        (date(1990, 3, 7), date(2026, 3, 7), 36),
        (date(2026, 3, 7), date(2026, 3, 7), 0),
        (date(2004, 2, 29), date(2025, 2, 28), 20),
        (date(2004, 2, 29), date(2025, 3, 1), 21),
        (date(2004, 2, 29), date(2024, 2, 29), 20),
        (date(2008, 12, 31), date(2026, 12, 30), 17),
    ],
)
def test_age_is_whole_years(birth: date, today: date, age: int) -> None:
    assert age_on(birth, today) == age


def test_a_birth_tomorrow_has_no_age() -> None:
    with pytest.raises(ValueError, match="born after"):
        age_on(date(2026, 3, 8), date(2026, 3, 7))
