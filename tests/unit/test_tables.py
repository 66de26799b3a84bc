"""Code tables are text, whole, and read alike by word and by code."""

import re

import pytest

from ehc.core import tables


def test_sexes_are_the_four_of_the_standard() -> None:
    assert {code: entry.name_en for code, entry in tables.sexes().items()} == {
        "0": "unknown",
        "1": "male",
        "2": "female",
        "9": "not stated",
    }


def test_ethnicities_are_56_and_unknown() -> None:
    assert list(tables.ethnicities()) == [f"{number:02d}" for number in range(1, 57)] + ["99"]
    assert tables.ethnicities()["05"].name_zh == "维吾尔族"


def test_provinces_are_34_and_the_permit_of_taiwan_residents() -> None:
    assert len(tables.provinces()) == 35
    assert tables.provinces()["63"].name_zh == "青海省"
    assert tables.provinces()["83"].code == "83"


def test_department_codes_keep_their_leading_zeros() -> None:
    assert tables.departments()["0100"].name_zh == "预防保健科"
    assert tables.departments()["0101"] == tables.Department("0101", "体检科", "01", local=True)
    assert all(re.fullmatch(r"[0-9A-Z]{4}", code) for code in tables.departments())
    assert len(tables.departments()) == 199


def test_every_document_type_has_two_digits_and_a_form_that_compiles() -> None:
    for code, kind in tables.document_types().items():
        assert re.fullmatch(r"\d{2}", code)
        assert re.compile(kind.form)
        assert kind.name.zh
        assert kind.form_text.en


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("010101", "registration"),
        ("010102", "diagnosis"),
        ("010103", "medicine"),
        ("010104", "examination"),
        ("010105", "payment"),
        ("010106", "prescription"),
        ("010107", "surgery"),
        ("000000", "other"),
    ],
)
def test_a_medical_step_is_known_by_word_and_by_code(code: str, word: str) -> None:
    assert tables.medical_step(code) == tables.medical_step(word) == word
    assert tables.medical_step_code(word) == code
    assert code in tables.code_table("qh_medical_step")


def test_a_hospital_stay_has_no_national_code() -> None:
    assert tables.medical_step("inpatient") == "inpatient"
    assert tables.medical_step_code("inpatient") == "000000"


@pytest.mark.parametrize("text", ["", "10101", "0101", "010108", "Registration", "registration ", "挂号"])
def test_another_medical_step_is_not_known(text: str) -> None:
    assert tables.medical_step(text) is None


def test_the_code_of_an_unknown_medical_step_is_refused() -> None:
    with pytest.raises(KeyError):
        tables.medical_step_code("010101")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("01", "window"),
        ("0100", "window"),
        ("02", "kiosk"),
        ("0200", "kiosk"),
        ("0300", "doctor-station"),
        ("0401", "service-account"),
        ("0402", "mini-program"),
        ("gate", "gate"),
        ("mobile", "mobile"),
        ("99", "other"),
    ],
)
def test_a_channel_is_known_by_word_and_by_code(text: str, word: str) -> None:
    assert tables.channel(text) == tables.channel(word) == word


@pytest.mark.parametrize("text", ["", "1", "03", "0400", "Window", "人工窗口"])
def test_another_channel_is_not_known(text: str) -> None:
    assert tables.channel(text) is None


def test_every_channel_code_of_the_two_interfaces_is_known() -> None:
    for table in ("qh_terminal_type", "tx_channel"):
        assert all(tables.channel(code) for code in tables.code_table(table))


def test_a_table_that_is_not_there_is_refused() -> None:
    with pytest.raises(KeyError):
        tables.code_table("planets")


def test_tables_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        tables.sexes()["3"] = tables.sexes()["1"]  # type: ignore[index]  # the point of the test
