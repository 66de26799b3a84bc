"""Names: one normal form, so that one person has one index id."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ehc.core.names import normal_name, visible
from ehc.errors import InvalidValue


def refusal(name: str) -> str:
    with pytest.raises(InvalidValue) as caught:
        normal_name(name)
    (field,) = caught.value.fields
    assert field.pointer == "/name"
    return field.code


@pytest.mark.parametrize(
    "typed",
    [
        "张三",
        " 张三\n",
        "张 三",
        "张\u3000三",
        "张  三",
        "张\t三",
        "\ufeff张三",
        "张\u200b三",
        "张\ufe00三",
        "张\U000e0100三",
    ],
)
def test_one_chinese_name_however_typed_has_one_form(typed: str) -> None:
    assert normal_name(typed) == "张三"


@pytest.mark.parametrize(
    "typed", ["ZHANG SAN", "zhang san", " Zhang  San ", "ZHANG\u00a0SAN", "ZHANG\u3000SAN", "ＺＨＡＮＧ　ｓａｎ"]
)
def test_one_latin_name_however_typed_has_one_form(typed: str) -> None:
    assert normal_name(typed) == "ZHANG SAN"


@pytest.mark.parametrize(
    "dot",
    [
        *"\u00b7\u0387\u2022\u2027\u2219\u22c5\u16eb\u2e31\u2e33\u30fb\uff65.\uff0e",
        *(" \u00b7 ", "\u3000\u2022", "\u00b7\u00b7", "\u2022 \u2022", " . ", "\u200b\u00b7"),
    ],
)
def test_every_dot_in_a_chinese_name_is_the_middle_dot(dot: str) -> None:
    assert normal_name(f"阿依古丽{dot}买买提") == "阿依古丽\u00b7买买提"


@pytest.mark.parametrize("name", ["J. R. SMITH", "O'BRIEN", "ANNE-MARIE", "RAVI S/O KUMAR", "TAN AH KOW (CHEN YAGAO)"])
def test_signs_printed_on_documents_stay(name: str) -> None:
    assert normal_name(name) == name


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("o\u2019brien", "O'BRIEN"),
        ("anne\u2011marie", "ANNE-MARIE"),
        ("jose\u0301", "JOS\u00c9"),
        ("stra\u00dfe", "STRASSE"),
        ("иванов", "ИВАНОВ"),
        ("张三 (TOM)", "张三 (TOM)"),
        ("张三（TOM）", "张三(TOM)"),
        ("张三之子2", "张三之子2"),
        ("張三", "張三"),
    ],
)
def test_other_spellings_are_folded_or_kept(typed: str, kept: str) -> None:
    assert normal_name(typed) == kept


@pytest.mark.parametrize("name", ["𠮷一", "张㐂", "王\U00031350", "李\U00020bb7", "\u4dae明", "李〇", "佐々木", "龘"])
def test_rare_characters_of_any_plane_stay_as_they_are(name: str) -> None:
    assert normal_name(name) == name


def test_a_space_beside_a_rare_character_goes_too() -> None:
    assert normal_name("𠮷 一") == "𠮷一"


def test_compatibility_ideographs_become_the_character_they_repeat() -> None:
    assert normal_name("\uf9d1三") == "\u516d三"
    assert normal_name("\ufa0e三") == "\ufa0e三"  # one of the twelve in that block that repeat nothing


@pytest.mark.parametrize("name", ["", " ", "\u3000", "\u200b\ufeff", "\u3164", "张" * 65, "A" * 10_000])
def test_a_name_of_no_or_too_many_characters_is_refused(name: str) -> None:
    assert refusal(name) == "name-length"


@pytest.mark.parametrize("name", ["张", "𠮷" * 64, "A" * 64, " " * 190 + "A" * 64])
def test_a_name_at_the_edge_of_the_length_is_taken(name: str) -> None:
    assert normal_name(name) == name.strip()


@pytest.mark.parametrize("character", ["\ue863", "\uf8ff", "\U000f0000", "\U0010fffd"])
def test_a_private_use_character_is_refused(character: str) -> None:
    assert refusal(f"张{character}") == "name-private-use"


@pytest.mark.parametrize(
    "character",
    [
        "\x00",
        "\x1b",
        "\x7f",
        "\ud83d",
        "\U0001f600",
        "<",
        "&",
        '"',
        ">",
        "*",
        "?",
        "，",
        "。",
        "●",
        "⿰",
        "⼀",
        "\u0378",
    ],
)
def test_a_character_that_is_in_no_name_is_refused(character: str) -> None:
    assert refusal(f"张{character}三") == "name-character"


@pytest.mark.parametrize("name", ["·", "·张三", "张三·", "- -", "123", ".", "\u0301"])
def test_a_name_without_letters_or_with_a_dot_at_its_end_is_refused(name: str) -> None:
    assert refusal(name) == "name-form"


def test_a_refusal_never_repeats_the_name() -> None:
    with pytest.raises(InvalidValue) as caught:
        normal_name("欧阳<娜娜")
    assert "欧阳" not in repr(caught.value.fields) + str(caught.value)


def test_visible_drops_only_what_is_drawn_as_nothing() -> None:
    assert visible("\u202e张 \u00ad三\u2060 A\u034f") == "张 三 A"


NAME_TEXT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(" \u3000.\u00b7\u2022\u30fb\u200b\ufe00'-张三𠮷zßŉǰ\u0301\u0345(１）"),
    ),
    max_size=70,
)


@given(NAME_TEXT)
def test_normal_form_is_stable(typed: str) -> None:
    try:
        once = normal_name(typed)
    except InvalidValue:
        return
    assert normal_name(once) == once
    assert 1 <= len(once) <= 64
    assert once.encode()


@given(NAME_TEXT)
def test_what_is_typed_around_a_name_changes_nothing(typed: str) -> None:
    try:
        once = normal_name(typed)
    except InvalidValue:
        return
    assert normal_name(f"\u3000\u200b{once} \n") == once
