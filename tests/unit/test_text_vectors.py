"""Texts that are not signed, against the vectors: the kind they look like and the end of reading them."""

from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ehc.codes.national import NotAValidity, read_validity
from ehc.codes.national_text import ForeignCode, read_national
from ehc.codes.signed import Malformed, UnknownFormat
from ehc.codes.temporary_text import read_temporary
from ehc.codes.text import TextKind, kind_of
from tests.vectors import TEXTS, TextVector, digits, envelope, load_codes, load_texts, static_claims, texts

VECTORS = load_texts()["vectors"]
SIGNED = load_codes()["vectors"]
PROTECTION_KEY = bytes.fromhex(texts.A["protection_key"])

patiently = settings(deadline=None)  # other tests run beside these
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])


def until(text: str) -> datetime | None:
    """What the validity field of a text says under the sample key, None without one."""
    validity = read_national(text).validity
    return None if validity is None else read_validity(PROTECTION_KEY, validity)


def end_of(text: str, kind: str) -> tuple[str, datetime | None]:
    try:
        if kind == "temporary":
            read_temporary(text)
            return "well-formed", None
        return "well-formed", until(text)
    except (Malformed, NotAValidity):
        return "malformed", None
    except UnknownFormat:
        return "unknown-format", None
    except ForeignCode:
        return "wrong-region", None


@every_vector
def test_vector_looks_and_ends_as_it_says(vector: TextVector) -> None:
    wanted = datetime.fromisoformat(vector["until"]) if vector["until"] else None
    assert kind_of(vector["text"]) == vector["kind"]
    assert end_of(vector["text"], vector["kind"]) == (vector["expect"], wanted)


def test_the_file_of_vectors_is_up_to_date() -> None:
    assert TEXTS.read_text(encoding="utf-8") == texts.build(), "run `make vectors` and read the difference"


def test_vectors_have_names_of_their_own() -> None:
    names = [vector["name"] for vector in VECTORS]
    assert len(names) == len(set(names))


def test_every_end_has_two_vectors_at_least() -> None:
    ends = [(vector["kind"], vector["expect"]) for vector in VECTORS]
    assert set(ends) == {
        ("national", "well-formed"),
        ("national", "malformed"),
        ("national", "wrong-region"),
        ("temporary", "well-formed"),
        ("temporary", "malformed"),
        ("unknown", "unknown-format"),
    }
    assert all(ends.count(end) >= 2 for end in ends)


def test_signed_vectors_look_signed_unless_their_format_is_unknown() -> None:
    for vector in SIGNED:
        kind = kind_of(vector["text"])
        if vector["expect"] == "unknown-format":
            assert kind is not TextKind.SIGNED
        elif vector["name"] != "1025 characters of another kind":  # length comes before kind
            assert kind is TextKind.SIGNED


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (digits(envelope()), TextKind.SIGNED),
        (digits(envelope(payload=static_claims())), TextKind.SIGNED),
        ("691", TextKind.SIGNED),
        (" \t\r\n691", TextKind.SIGNED),
        ("691" + "0" * 61 + ":", TextKind.NATIONAL),
        ("691" + "0" * 60 + ":", TextKind.SIGNED),
        ("691" + "0" * 62 + ":", TextKind.SIGNED),
        ("691" + "-" * 61 + ":", TextKind.SIGNED),
        ("692", TextKind.TEMPORARY),
        ("692" + "f" * 61 + ":", TextKind.NATIONAL),
        ("692" + "0" * 62 + ":", TextKind.TEMPORARY),
        ("\n" + "a" * 64 + ":", TextKind.NATIONAL),
        ("a" * 64, TextKind.UNKNOWN),
        ("٦٩١", TextKind.UNKNOWN),
        ("\xa0691", TextKind.UNKNOWN),
        (" " * 1021 + "691", TextKind.SIGNED),
        (" " * 1022 + "691", TextKind.UNKNOWN),
        ("", TextKind.UNKNOWN),
    ],
)
def test_a_kind_is_told_by_the_start_of_a_text(text: str, kind: TextKind) -> None:
    assert kind_of(text) is kind


@given(st.text(), st.text())
@patiently
def test_any_text_has_a_kind_and_what_follows_its_start_changes_nothing(start: str, more: str) -> None:
    kind = kind_of(start)
    assert len(start.lstrip(" \t\r\n")) < 65 or kind_of(start + more) is kind
