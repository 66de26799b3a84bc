"""The national derivation against the published and computed vectors (national rules 1.2, 1.3)."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.clock import CHINA_TIME
from ehc.codes import national
from ehc.codes.national import NotAValidity, hex_upper
from ehc.core.documents import Document, read_document
from ehc.core.names import normal_name
from ehc.crypto.sm import sm4_ecb_encrypt

Vector = dict[str, str]

SAMPLE_SECURITY_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
SAMPLE_PROTECTION_KEY = bytes.fromhex("11223344556677888877665544332211")
TODAY = datetime(2026, 6, 1, tzinfo=UTC).date()


def load_vectors() -> list[Vector]:
    path = Path(__file__).parents[1] / "vectors" / "ehc_vectors.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


VECTORS = load_vectors()
every_vector = pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["case"])
every_possible_time = pytest.mark.parametrize(
    "case", [case for case in VECTORS if case["valid_time"] != "20260229000000"], ids=lambda case: case["case"]
)


def document_of(case: Vector) -> Document:
    return Document(case["id_type"], case["id_no"])


def time_of(case: Vector) -> datetime:
    return datetime.strptime(case["valid_time"], "%Y%m%d%H%M%S").replace(tzinfo=CHINA_TIME)


def test_all_eleven_vectors_are_read() -> None:
    assert len(VECTORS) == 11


@every_vector
def test_every_vector_is_already_in_normal_form(case: Vector) -> None:
    assert read_document(case["id_type"], case["id_no"], today=TODAY) == document_of(case)
    assert normal_name(case["name"]) == case["name"]


@every_vector
def test_index_id_is_the_vectors(case: Vector) -> None:
    assert hex_upper(national.index_id(document_of(case), case["name"])) == case["index_id"]


@every_vector
def test_factor_and_user_key_are_the_vectors(case: Vector) -> None:
    factor = national.dispersion_factor(bytes.fromhex(case["index_id"]))
    assert hex_upper(factor) == case["factor"]
    assert hex_upper(bytes(byte ^ 0xFF for byte in factor)) == case["factor_inverted"]
    assert hex_upper(national.user_key(bytes.fromhex(case["security_key"]), factor)) == case["user_key"]


@every_vector
def test_card_id_is_the_vectors(case: Vector) -> None:
    document = document_of(case)
    assert hex_upper(national.card_plaintext(document)) == case["card_plaintext"]
    made = national.card_id(bytes.fromhex(case["security_key"]), document, bytes.fromhex(case["index_id"]))
    assert hex_upper(made) == case["card_id"]


@every_vector
def test_validity_block_under_sm4_is_the_vectors(case: Vector) -> None:
    block = bytes.fromhex(case["valid_block"])
    assert case["valid_block"] == case["valid_time"] + "00" * 9
    assert hex_upper(sm4_ecb_encrypt(bytes.fromhex(case["protection_key"]), block)) == case["validity"]


@every_possible_time
def test_validity_is_the_vectors_both_ways(case: Vector) -> None:
    key = bytes.fromhex(case["protection_key"])
    assert hex_upper(national.validity(key, time_of(case))) == case["validity"]
    assert national.read_validity(key, bytes.fromhex(case["validity"])) == time_of(case)


@every_vector
def test_code_texts_are_the_fields_of_the_vector(case: Vector) -> None:
    assert case["static_qr"] == f"{case['card_id']}:1"
    assert case["dynamic_qr"] == f"{case['card_id']}:0:{case['validity']}"


def test_published_national_validity_is_ours() -> None:
    when = datetime(2018, 1, 17, 11, 50, 3, tzinfo=CHINA_TIME)
    assert hex_upper(national.validity(SAMPLE_PROTECTION_KEY, when)) == "92FD69141DFE1553A42251E2B0196148"


def test_sample_keys_of_every_vector_are_known_as_samples() -> None:
    used = {bytes.fromhex(case[key]) for case in VECTORS for key in ("security_key", "protection_key")}
    assert used == national.SAMPLE_KEYS


def test_a_number_that_fills_32_bytes_is_taken_and_one_more_refused() -> None:
    assert len(national.card_plaintext(Document("99", "A" * 30))) == 32
    with pytest.raises(ValueError, match="more than 32 bytes"):
        national.card_plaintext(Document("99", "A" * 31))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_an_index_id_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        national.dispersion_factor(bytes(size))


def test_the_same_person_at_another_name_spelling_gets_another_card() -> None:
    document = Document("01", "11010519491231002X")
    first, second = (
        national.card_id(SAMPLE_SECURITY_KEY, document, national.index_id(document, name)) for name in ("张三", "张叁")
    )
    assert first != second


def test_validity_is_written_in_china_time() -> None:
    in_utc = datetime(2025, 12, 31, 16, 0, 0, tzinfo=UTC)
    expected = next(case["validity"] for case in VECTORS if case["valid_time"] == "20260101000000")
    assert hex_upper(national.validity(SAMPLE_PROTECTION_KEY, in_utc)) == expected


def test_validity_of_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        national.validity(SAMPLE_PROTECTION_KEY, datetime(2026, 1, 1))  # noqa: DTZ001  the point of the test


def sealed_block(block: str) -> bytes:
    return sm4_ecb_encrypt(SAMPLE_PROTECTION_KEY, bytes.fromhex(block))


@pytest.mark.parametrize(
    "block",
    [
        pytest.param("20260229000000" + "00" * 9, id="29 February of a common year"),
        pytest.param("20261301000000" + "00" * 9, id="month 13"),
        pytest.param("20260100000000" + "00" * 9, id="day 0"),
        pytest.param("20260101240000" + "00" * 9, id="hour 24"),
        pytest.param("20260101006000" + "00" * 9, id="minute 60"),
        pytest.param("20260101000060" + "00" * 9, id="second 60"),
        pytest.param("00000101000000" + "00" * 9, id="year 0"),
        pytest.param("00010101000000" + "00" * 9, id="before the first instant in UTC"),
        pytest.param("2026010100000A" + "00" * 9, id="not BCD"),
        pytest.param("20260101000000" + "00" * 8 + "01", id="last fill byte"),
        pytest.param("20260101000000" + "01" + "00" * 8, id="first fill byte"),
        pytest.param("20260101000000" + "09" * 9, id="PKCS#7 fill"),
        pytest.param(b"20260101000000\x00\x00".hex(), id="ASCII digits"),
    ],
)
def test_a_validity_block_that_is_no_time_is_refused(block: str) -> None:
    with pytest.raises(NotAValidity):
        national.read_validity(SAMPLE_PROTECTION_KEY, sealed_block(block))


@pytest.mark.parametrize("block", ["20260228235959" + "00" * 9, "20240229000000" + "00" * 9])
def test_a_validity_block_just_inside_the_calendar_is_read(block: str) -> None:
    assert national.read_validity(SAMPLE_PROTECTION_KEY, sealed_block(block)).tzinfo is UTC


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_validity_field_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(NotAValidity):
        national.read_validity(SAMPLE_PROTECTION_KEY, bytes(size))


def test_a_validity_field_under_another_key_is_refused() -> None:
    field = national.validity(SAMPLE_SECURITY_KEY, datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(NotAValidity):
        national.read_validity(SAMPLE_PROTECTION_KEY, field)


@given(st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 12, 31)))  # noqa: DTZ001
def test_validity_comes_back_to_the_second(naive: datetime) -> None:
    when = naive.replace(tzinfo=UTC)
    read = national.read_validity(SAMPLE_PROTECTION_KEY, national.validity(SAMPLE_PROTECTION_KEY, when))
    assert read == when.replace(microsecond=0)
    assert when - read < timedelta(seconds=1)
