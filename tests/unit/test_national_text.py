"""National code texts: read, written, and refused (national rules 1.5 and 2)."""

import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehc.codes.national_text import (
    ForeignCode,
    NationalKind,
    NationalText,
    looks_national,
    national_dynamic,
    national_static,
    read_national,
)
from ehc.codes.signed import MAX_DIGITS, Malformed, UnknownFormat
from tests.vectors.texts import PEOPLE

REFUSALS = (Malformed, UnknownFormat, ForeignCode)

patiently = settings(deadline=None)  # other tests run beside these
card_ids = st.binary(min_size=32, max_size=32)
validities = st.binary(min_size=16, max_size=16)
every_person = pytest.mark.parametrize("case", PEOPLE.values(), ids=PEOPLE)


def text_or_none(text: str) -> NationalText | None:
    try:
        return read_national(text)
    except REFUSALS:
        return None


@every_person
def test_the_texts_of_the_vectors_are_written_and_read(case: dict[str, str]) -> None:
    card_id, validity = bytes.fromhex(case["card_id"]), bytes.fromhex(case["validity"])
    static, dynamic = case["static_qr"], case["dynamic_qr"]
    assert national_static(card_id) == static
    assert national_dynamic(card_id, validity) == dynamic
    assert read_national(static) == (card_id, NationalKind.STATIC, None, static)
    assert read_national(dynamic) == (card_id, NationalKind.DYNAMIC, validity, dynamic)


@given(card_ids, validities)
@patiently
def test_what_is_written_is_read_back(card_id: bytes, validity: bytes) -> None:
    static, dynamic = national_static(card_id), national_dynamic(card_id, validity)
    assert (len(static), len(dynamic)) == (66, 99)
    assert read_national(static) == NationalText(card_id, NationalKind.STATIC, None, static)
    assert read_national(dynamic) == NationalText(card_id, NationalKind.DYNAMIC, validity, dynamic)


@given(card_ids, st.none() | validities, st.text(" \t\r\n", max_size=9), st.text(" \t\r\n", max_size=9))
@patiently
def test_white_space_of_a_scanner_is_taken_off_and_nothing_else(
    card_id: bytes, validity: bytes | None, before: str, behind: str
) -> None:
    text = national_static(card_id) if validity is None else national_dynamic(card_id, validity)
    assert read_national(before + text + behind).text == text


@given(st.text() | st.text("0123456789ABCDEFabcdef:\n ", min_size=64, max_size=140))
@patiently
def test_any_text_is_refused_by_name_or_has_the_one_text_of_what_it_says(text: str) -> None:
    code = text_or_none(text)
    if code is not None:
        again = (
            national_static(code.card_id) if code.validity is None else national_dynamic(code.card_id, code.validity)
        )
        assert code.text == again == text.strip(" \t\r\n")


@given(card_ids, validities, st.integers(0, 98), st.characters())
@patiently
def test_another_character_anywhere_is_another_value_or_refused(
    card_id: bytes, validity: bytes, place: int, character: str
) -> None:
    text = national_dynamic(card_id, validity)
    changed = text[:place] + character + text[place + 1 :]
    code = text_or_none(changed)
    same = code is not None and (code.card_id, code.validity) == (card_id, validity)
    assert same == (changed == text)


@pytest.mark.parametrize("card_id", [b"", bytes(31), bytes(33), bytes(64)])
def test_a_card_id_of_another_length_is_not_written(card_id: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        national_static(card_id)
    with pytest.raises(ValueError, match="32 bytes"):
        national_dynamic(card_id, bytes(16))


@pytest.mark.parametrize("validity", [b"", bytes(15), bytes(17)])
def test_a_validity_of_another_length_is_not_written(validity: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        national_dynamic(bytes(32), validity)


@pytest.mark.parametrize("start", [national_static(bytes(32)), national_dynamic(bytes(32), bytes(16)), " ", "x"])
def test_ten_megabytes_of_text_are_refused_at_once_and_without_memory(start: str) -> None:
    text = start + " " * 10_000_000
    tracemalloc.start()
    began = time.perf_counter()
    try:
        with pytest.raises(Malformed):
            read_national(text)
        took, peak = time.perf_counter() - began, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4096
    assert took < 0.1


def test_the_longest_text_that_is_looked_at_is_read() -> None:
    text = national_static(bytes(32))
    assert read_national(text.rjust(MAX_DIGITS)).text == text
    with pytest.raises(Malformed):
        read_national(text.rjust(MAX_DIGITS + 1))


@given(st.text(max_size=70) | st.text("0aAfgGzZ:_٣", min_size=64, max_size=66))
@patiently
def test_a_text_looks_national_by_64_letters_or_digits_and_a_colon(text: str) -> None:
    plain = len(text) > 64 and all(character.isascii() and character.isalnum() for character in text[:64])
    assert looks_national(text) == (plain and text[64] == ":")
