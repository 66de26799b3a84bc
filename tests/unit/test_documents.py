"""Identity documents: one normal form, and every refusal on both sides of its boundary."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.core.documents import CitizenFacts, Document, check_character, citizen_facts, read_document
from ehc.core.tables import document_types
from ehc.errors import InvalidValue

TODAY = date(2026, 6, 1)
CITIZEN = "11010519491231002X"  # the sample of GB 11643-1999


def read(id_type: str, id_number: str) -> str:
    return read_document(id_type, id_number, today=TODAY).number


def refusal(id_type: str, id_number: str, *, today: date = TODAY) -> str:
    with pytest.raises(InvalidValue) as caught:
        read_document(id_type, id_number, today=today)
    (field,) = caught.value.fields
    assert field.pointer == ("/id_type" if field.code == "id-type-unknown" else "/id_number")
    assert field.message.zh
    assert field.message.en
    assert not id_number or id_number not in "".join(field.message)
    return field.code


def person_number(region: str = "110105", born: str = "19900307", sequence: str = "001") -> str:
    first_17 = region + born + sequence
    return first_17 + check_character(first_17)


@pytest.mark.parametrize("id_type", ["", "1", "00", "09", "001", "01 ", "０１", "98", "1" * 10_000])
def test_a_type_outside_the_table_is_refused(id_type: str) -> None:
    assert refusal(id_type, CITIZEN) == "id-type-unknown"


def test_every_type_of_the_table_takes_a_number() -> None:
    samples = {
        "01": CITIZEN,
        "02": "123456789",
        "03": "E12345678",
        "04": "军字第1234567号",
        "05": CITIZEN,
        "06": "H12345678",
        "07": "12345678",
        "08": "A110000001",
        "15": "911124198108030024",
        "16": "NB-2026-0001",
        "17": "810000199408230021",
        "99": "A110000001",
    }
    assert set(samples) == set(document_types())
    for id_type, number in samples.items():
        assert read_document(id_type, number, today=TODAY) == Document(id_type, number)


@pytest.mark.parametrize(
    "typed",
    [
        "11010519491231002x",
        " 11010519491231002X\n",
        "110105 19491231 002X",
        "110105-19491231-002X",
        "110105\u201319491231\u2212002X",
        "１１０１０５１９４９１２３１００２Ｘ",
        "11010519491231002\u2169",
        "\ufeff110105194912\u200b31002X",
        "110105491231002",
    ],
)
def test_a_citizen_id_however_typed_has_one_form(typed: str) -> None:
    assert read("01", typed) == CITIZEN


def test_a_prefecture_code_as_region_is_taken() -> None:
    assert read("01", "11010020171225006X") == "11010020171225006X"


@pytest.mark.parametrize("region", ["810000", "820000", "830000", "710000", "659999"])
def test_permits_and_retired_counties_share_the_citizen_form(region: str) -> None:
    number = person_number(region)
    assert read("01", number) == number


@pytest.mark.parametrize("number", ["", "   ", "\u200b", CITIZEN[:-1], CITIZEN + "1", CITIZEN[:14], "1" * 16])
def test_a_citizen_id_of_another_length_is_refused(number: str) -> None:
    assert refusal("01", number) == "id-number-length"


@pytest.mark.parametrize("number", [person_number("911124"), person_number("011010"), "X" + CITIZEN[1:], "A" * 18])
def test_a_citizen_id_that_is_not_17_digits_and_a_check_is_refused(number: str) -> None:
    assert refusal("01", number) == "id-number-form"


def test_digits_of_other_scripts_are_not_digits() -> None:
    assert refusal("01", CITIZEN.replace("1", "\u0661")) == "id-number-form"


@pytest.mark.parametrize("region", ["100000", "190101", "471000", "720101", "840000"])
def test_an_unknown_province_is_refused(region: str) -> None:
    assert refusal("01", person_number(region)) == "id-number-region"


@pytest.mark.parametrize("born", ["20230229", "19001301", "19900431", "19900100", "17991231", "00000101"])
def test_a_birth_date_that_is_no_day_is_refused(born: str) -> None:
    assert refusal("01", person_number(born=born)) == "id-number-date"


@pytest.mark.parametrize("born", ["20240229", "18000101", "20000229", "20260601"])
def test_a_birth_date_just_inside_the_calendar_is_taken(born: str) -> None:
    assert read("01", person_number(born=born)) == person_number(born=born)


def test_a_birth_tomorrow_is_refused() -> None:
    number = person_number(born="20260602")
    assert refusal("01", number) == "id-number-date"
    assert read_document("01", number, today=date(2026, 6, 2)).number == number


def test_a_wrong_check_character_is_refused() -> None:
    assert refusal("01", CITIZEN[:-1] + "0") == "id-number-check"


@given(
    st.dates(min_value=date(1900, 1, 1), max_value=TODAY),
    st.integers(0, 999),
    st.integers(0, 17),
    st.sampled_from("0123456789X"),
)
def test_no_single_wrong_character_passes(born: date, sequence: int, place: int, other: str) -> None:
    number = person_number(born=f"{born:%Y%m%d}", sequence=f"{sequence:03d}")
    assert read("01", number) == number
    changed = number[:place] + other + number[place + 1 :]
    if changed != number:
        refusal("01", changed)


@given(st.dates(min_value=date(1900, 1, 1), max_value=date(1999, 12, 31)), st.integers(0, 999))
def test_fifteen_digits_name_the_same_person_as_eighteen(born: date, sequence: int) -> None:
    number = person_number(born=f"{born:%Y%m%d}", sequence=f"{sequence:03d}")
    assert read("01", number[:6] + number[8:17]) == number


def test_fifteen_digits_with_no_such_day_are_refused() -> None:
    assert refusal("01", "110105491331002") == "id-number-date"


@pytest.mark.parametrize(
    ("id_type", "number", "code"),
    [
        ("02", "12345678", "id-number-form"),
        ("02", "1234567890", "id-number-form"),
        ("02", CITIZEN[:-1] + "1", "id-number-check"),
        ("02", person_number(born="20230229"), "id-number-date"),
        ("03", "E123", "id-number-form"),
        ("03", "A" * 18, "id-number-form"),
        ("03", "E1234567é", "id-number-form"),
        ("04", "军字号", "id-number-form"),
        ("04", "A" * 21, "id-number-form"),
        ("04", "军" * 11, "id-number-length"),
        ("05", CITIZEN[:-1] + "1", "id-number-check"),
        ("05", CITIZEN[:-1], "id-number-form"),
        ("05", person_number("010105"), "id-number-region"),
        ("06", "A12345678", "id-number-form"),
        ("06", "H1234567", "id-number-form"),
        ("06", "H123456789", "id-number-form"),
        ("06", "H123456789012", "id-number-form"),
        ("07", "1234567", "id-number-form"),
        ("07", "123456789", "id-number-form"),
        ("08", "1110000001", "id-number-form"),
        ("08", "AB10000001", "id-number-form"),
        ("08", "A11000000", "id-number-form"),
        ("15", "911124198108030025", "id-number-check"),
        ("15", person_number("911124", "19811303"), "id-number-date"),
        ("15", CITIZEN, "id-number-form"),
        ("15", "CA1110078060211", "id-number-form"),
        ("17", "810000199408230022", "id-number-check"),
        ("17", person_number("840000"), "id-number-form"),
        ("17", person_number("810001"), "id-number-form"),
        ("99", "", "id-number-length"),
        ("99", "A" * 31, "id-number-length"),
        ("99", "字" * 11, "id-number-length"),
        ("99", "A" * 100_000, "id-number-length"),
        ("99", "---", "id-number-form"),
        ("99", "A1\x00", "id-number-form"),
        ("99", "A1\x1b", "id-number-form"),
        ("99", "A1\ud800", "id-number-form"),
        ("99", "A1\ue863", "id-number-form"),
        ("16", "A" * 31, "id-number-length"),
    ],
)
def test_a_number_outside_its_form_is_refused(id_type: str, number: str, code: str) -> None:
    assert refusal(id_type, number) == code


@pytest.mark.parametrize(
    ("id_type", "typed", "kept"),
    [
        ("02", CITIZEN, CITIZEN),
        ("03", "e 1234-5678", "E12345678"),
        ("03", "A1234", "A1234"),
        ("03", "A" * 17, "A" * 17),
        ("04", "军字第 1234567 号", "军字第1234567号"),
        ("04", "A123", "A123"),
        ("04", "A" * 20, "A" * 20),
        ("04", "军" * 10, "军" * 10),
        ("05", person_number("911124"), person_number("911124")),
        ("06", "h12345678", "H12345678"),
        ("06", "M1234567801", "M12345678"),
        ("07", "1234567801", "1234567801"),
        ("15", "can 1100 7806 0211", "CAN110078060211"),
        ("17", "830000199201300022", "830000199201300022"),
        ("99", "a-1", "A-1"),
        ("99", "a\u20111", "A-1"),
        ("99", "1", "1"),
        ("99", "A" * 30, "A" * 30),
        ("99", "字" * 10, "字" * 10),
    ],
)
def test_a_number_at_the_edge_of_its_form_is_taken(id_type: str, typed: str, kept: str) -> None:
    assert read(id_type, typed) == kept


@pytest.mark.parametrize(
    ("id_type", "number", "facts"),
    [
        ("01", CITIZEN, CitizenFacts(date(1949, 12, 31), "2")),
        ("02", person_number(sequence="011"), CitizenFacts(date(1990, 3, 7), "1")),
        ("05", CITIZEN, CitizenFacts(date(1949, 12, 31), "2")),
        ("15", "911124198108030024", CitizenFacts(date(1981, 8, 3), "2")),
        ("17", "810000199408230021", CitizenFacts(date(1994, 8, 23), "2")),
        ("02", "123456789", None),
        ("15", "CAN110078060211", None),
        ("03", "E12345678", None),
        ("99", CITIZEN, None),
    ],
)
def test_facts_come_from_numbers_that_carry_them(id_type: str, number: str, facts: CitizenFacts | None) -> None:
    assert citizen_facts(read_document(id_type, number, today=TODAY)) == facts


@pytest.mark.parametrize("document", [Document("01", CITIZEN[:6] + "20230229002X"), Document("98", CITIZEN)])
def test_a_document_that_was_never_read_has_no_facts(document: Document) -> None:
    assert citizen_facts(document) is None


@given(st.sampled_from(sorted(document_types())), st.text(max_size=32))
def test_normal_form_is_stable(id_type: str, typed: str) -> None:
    try:
        once = read_document(id_type, typed, today=TODAY)
    except InvalidValue:
        return
    assert read_document(id_type, once.number, today=TODAY) == once
    assert 3 <= len(f"{once.type}{once.number}".encode()) <= 32


@pytest.mark.parametrize("wrong", ["1" * 16, "1" * 18])
def test_a_check_character_needs_17_digits(wrong: str) -> None:
    with pytest.raises(ValueError, match="zip"):
        check_character(wrong)
