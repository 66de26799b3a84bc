"""Temporary codes: made, read, and their check digit (ISO 7064 MOD 11,10)."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehc.codes.signed import MAX_DIGITS, Malformed, UnknownFormat
from ehc.codes.temporary_text import check_digit, make_temporary, read_temporary

FAIR = 1844 * 10**16
"""How many numbers of 8 bytes are used: the whole turns of 10^16."""

patiently = settings(deadline=None)  # other tests run beside these
bodies = st.text("0123456789", min_size=16, max_size=16).map("692".__add__)


def drawing(*numbers: int) -> Callable[[int], bytes]:
    """A source of bytes that gives these numbers, one after the other."""
    drawn: Iterator[int] = iter(numbers)
    return lambda count: next(drawn).to_bytes(count, "big")


def is_read(text: str) -> bool:
    try:
        read_temporary(text)
    except Malformed:
        return False
    return True


@pytest.mark.parametrize(
    ("digits", "check"),
    [("0794", "5"), ("", "1"), ("0", "2"), ("1", "9")],
    ids=["the standard's example", "nothing", "0", "1"],
)
def test_the_check_digit_is_that_of_iso_7064(digits: str, check: str) -> None:
    assert check_digit(digits) == check


def test_a_code_is_692_and_16_random_digits_and_a_check_digit() -> None:
    codes = [make_temporary() for _ in range(1000)]
    assert len(set(codes)) == 1000
    for code in codes:
        assert len(code) == 20
        assert code.isascii()
        assert code.isdigit()
        assert code.startswith("692")
        assert read_temporary(code) == code


@pytest.mark.parametrize(
    ("number", "random"),
    [
        (0, "0000000000000000"),
        (1, "0000000000000001"),
        (10**16 - 1, "9999999999999999"),
        (10**16, "0000000000000000"),
        (FAIR - 1, "9999999999999999"),
    ],
)
def test_random_digits_are_the_number_that_was_drawn(number: int, random: str) -> None:
    assert make_temporary(drawing(number))[3:19] == random


@pytest.mark.parametrize("number", [FAIR, FAIR + 7, 2**64 - 1])
def test_a_number_beyond_the_last_whole_turn_is_drawn_again(number: int) -> None:
    assert make_temporary(drawing(number, number, 5))[3:19] == "0000000000000005"


def test_every_digit_is_as_likely_at_every_place() -> None:
    codes = [make_temporary() for _ in range(10_000)]
    for place in range(3, 20):  # 1,000 of each are expected, give or take 30; the check digit too
        counts = [sum(code[place] == digit for code in codes) for digit in "0123456789"]
        assert min(counts) > 800
        assert max(counts) < 1200


@given(bodies)
@patiently
def test_one_check_digit_of_ten_is_right(body: str) -> None:
    right = [last for last in "0123456789" if is_read(body + last)]
    assert right == [check_digit(body)]


@given(bodies, st.integers(3, 19), st.integers(1, 9))
@patiently
def test_every_single_wrong_digit_is_found(body: str, place: int, more: int) -> None:
    code = body + check_digit(body)
    other = str((int(code[place]) + more) % 10)
    assert not is_read(code[:place] + other + code[place + 1 :])


def swaps_found(distance: int) -> float:
    """The share of swaps of two digits, so far apart, that the check digit finds."""
    found = []
    for _ in range(1000):
        code = make_temporary()
        for a in range(3, 20 - distance):
            b = a + distance
            if code[a] != code[b]:
                found.append(not is_read(code[:a] + code[b] + code[a + 1 : b] + code[a] + code[b + 1 :]))
    return sum(found) / len(found)


def test_swaps_are_found_as_often_as_the_document_says() -> None:
    assert 0.97 < swaps_found(1) < 0.985
    assert 0.89 < swaps_found(2) < 0.925


@given(bodies, st.text(" \t\r\n", max_size=5), st.text(" \t\r\n", max_size=5))
@patiently
def test_white_space_at_the_ends_is_taken_off(body: str, before: str, behind: str) -> None:
    code = body + check_digit(body)
    assert read_temporary(before + code + behind) == code


@given(st.text())
@patiently
def test_any_text_is_refused_by_name(text: str) -> None:
    with pytest.raises((Malformed, UnknownFormat)):
        read_temporary(text)


def test_length_comes_before_anything_else() -> None:
    code = make_temporary()
    assert read_temporary(code.ljust(MAX_DIGITS)) == code
    for text in (code.ljust(MAX_DIGITS + 1), "x" * (MAX_DIGITS + 1)):
        with pytest.raises(Malformed):
            read_temporary(text)
    with pytest.raises(UnknownFormat):
        read_temporary("x" * MAX_DIGITS)
