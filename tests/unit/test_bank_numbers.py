"""Numbers of bank accounts: the last digit, the table of issuers, and every form that is none."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.binding.bank_numbers import bank_name, bins, passes_luhn, read_account
from ehc.errors import InvalidValue
from tests.support.bank import account_number

HEADER = "prefix,length,bank,bank_zh,kind,luhn\n"


def code(number: str, **more: Path) -> str:
    """Why a number is refused."""
    with pytest.raises(InvalidValue) as caught:
        read_account(number, **more)
    (field,) = caught.value.fields
    assert field.pointer == "/account_number"
    assert not set(number.split()) & set(str(caught.value).split())
    return field.code


def table(folder: Path, *lines: str) -> Path:
    made = folder / "bins.csv"
    made.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return made


@pytest.mark.parametrize(
    "number",
    ["79927398713", "4111111111111111", "5500000000000004", "340000000000009", "6222021234567890128", "00", "18"],
)
def test_numbers_whose_last_digit_checks(number: str) -> None:
    assert passes_luhn(number)
    last = int(number[-1])
    assert not any(passes_luhn(number[:-1] + str(digit)) for digit in range(10) if digit != last)


@given(number=st.from_regex(r"[0-9]{11,18}", fullmatch=True), at=st.integers(0, 17), by=st.integers(1, 9))
def test_one_wrong_digit_is_found_anywhere(number: str, at: int, by: int) -> None:
    whole = next(number + str(digit) for digit in range(10) if passes_luhn(number + str(digit)))
    at %= len(whole)
    wrong = whole[:at] + str((int(whole[at]) + by) % 10) + whole[at + 1 :]
    assert not passes_luhn(wrong)


@given(number=st.from_regex(r"[0-9]{11,18}", fullmatch=True), at=st.integers(0, 16))
def test_two_digits_in_the_wrong_order_are_found_unless_they_are_0_and_9(number: str, at: int) -> None:
    whole = next(number + str(digit) for digit in range(10) if passes_luhn(number + str(digit)))
    at %= len(whole) - 1
    first, second = whole[at], whole[at + 1]
    swapped = whole[:at] + second + first + whole[at + 2 :]
    assert passes_luhn(swapped) == (first == second or {first, second} == {"0", "9"})


@pytest.mark.parametrize("prefix", sorted(bins()))
def test_every_bank_of_the_table_is_read(prefix: str) -> None:
    known = bins()[prefix]
    number = account_number(7, prefix=prefix, length=known.length)
    read = read_account(number)
    assert (read.digits, read.bank, read.kind, read.last4) == (number, known.bank, known.kind, number[-4:])
    assert known.kind in {"debit", "credit"}
    assert 12 <= known.length <= 19
    assert bank_name(known.bank) == known.name


@pytest.mark.parametrize("length", [18, 20])
def test_a_number_has_the_length_of_its_bank(length: int) -> None:
    number = account_number(1, length=length)
    assert code(number) == ("account-length" if length < 20 else "account-form")


def test_a_slip_of_the_hand_is_told(tmp_path: Path) -> None:
    number = account_number(1)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert code(wrong) == "account-check"
    assert read_account(wrong, table=table(tmp_path, "622202,19,OLD,旧卡银行,debit,no")).bank == "OLD"


def test_the_longest_prefix_counts(tmp_path: Path) -> None:
    own = table(tmp_path, "6222,19,AA,甲,debit,no", "622202,19,BB,乙,debit,no", "62220200,19,CC,丙,credit,no")
    found = {number: read_account(number.ljust(19, "0"), table=own).bank for number in ("6222", "622202", "62220200")}
    assert found == {"6222": "AA", "622202": "CC", "62220200": "CC"}
    assert read_account("622202011".ljust(19, "0"), table=own).bank == "BB"


def test_what_no_bank_of_the_table_has() -> None:
    assert code("9" * 16) == "account-bank-unknown"
    assert bank_name("NOBANK") is None


@pytest.mark.parametrize("how", ["{0}", "{0} ", " {0}", "{1} {2} {3}", "{1}-{2}-{3}", "{1}  {2}- {3}"])
def test_spaces_and_hyphens_are_taken_out(how: str) -> None:
    number = account_number(1)
    assert read_account(how.format(number, number[:4], number[4:8], number[8:])).digits == number


@pytest.mark.parametrize(
    "number",
    [
        "",
        "1" * 11,
        "1" * 20,
        "62220200000000000x1",
        "６２２２０２００００００００００１２３",
        "٦٢٢٢٠٢٠٠٠٠٠٠٠٠٠٠١٢٣",
        "6222020000000000123\n",
        "6222020000000000123\x00",
        "6222\t020000000000123",
        "6222\u00a0020000000000123",
        "+6222020000000000123",
        "6222020000000000.12",
    ],
    ids=ascii,
)
def test_what_is_no_number_of_an_account(number: str) -> None:
    assert code(number) == "account-form"


def test_a_number_prints_nothing_of_itself_but_its_bank() -> None:
    number = read_account(account_number(1))
    assert repr(number) == "AccountNumber(bank='ICBC', kind='debit')"


GOOD = "622202,19,OURS,本地银行,debit,no"


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "prefix\n6222\n",
        HEADER,
        HEADER + "622202\n",
        HEADER + GOOD.replace("19", "x"),
        HEADER + GOOD.replace("19", "11"),
        HEADER + GOOD.replace("19", "20"),
        HEADER + GOOD.replace("622202", "622"),
        HEADER + GOOD.replace("622202", "622202000"),
        HEADER + GOOD.replace("622202", "62220x"),
        HEADER + GOOD.replace("debit", "prepaid"),
        HEADER + GOOD.replace("no", "maybe"),
        HEADER + GOOD.replace("OURS", "O"),
        HEADER + GOOD.replace("本地银行", ""),
        HEADER + GOOD + "\n" + GOOD,
    ],
    ids=ascii,
)
def test_what_is_no_table_is_refused_at_the_start(tmp_path: Path, lines: str) -> None:
    own = tmp_path / "bins.csv"
    own.write_text(lines, encoding="utf-8")
    with pytest.raises(LookupError, match=r"bank-gateway\.md"):
        bins(own)


def test_a_table_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bins.csv").write_bytes(b"\xff\xfe")
    for own in (tmp_path / "bins.csv", tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(LookupError):
            bins(own)


def test_a_whole_table_is_taken(tmp_path: Path) -> None:
    assert list(bins(table(tmp_path, GOOD, GOOD.replace("622202", "6222")))) == ["622202", "6222"]
