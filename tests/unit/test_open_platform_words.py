"""The platform's words and ours, and the tables of section 5 (open-platform JSON 4, 5)."""

from datetime import date
from pathlib import Path

import pytest

from ehc.core.tables import CHANNELS, document_types
from ehc.gateways.open_platform import words
from ehc.gateways.open_platform.methods import CLOSED, NAMES, OPEN
from ehc.gateways.open_platform.results import MESSAGES, Refusal, Result
from ehc.gateways.open_platform.signing import PROFILES


def test_every_code_has_its_sentence() -> None:
    assert set(MESSAGES) == set(Result)


def test_every_table_of_section_5_is_there() -> None:
    sizes = {"idType": 12, "scene": 20, "cardChannel": 5, "cardCostTypes": 4, "useType": 1, "relation": 7, "color": 4}
    assert {name: len(words.table(name)) for name in sizes} == sizes
    with pytest.raises(KeyError):
        words.table("other")


def test_the_tables_agree_with_those_of_the_service() -> None:
    shared = set(words.table("idType")) & set(document_types())
    assert shared == {"01", "02", "03", "04", "05", "06", "07", "08", "99"}
    channels = {code for word in CHANNELS for code in word.codes}
    assert set(words.table("cardChannel")) <= channels


def test_every_scene_of_the_table_is_a_step() -> None:
    steps = {code: words.step_of(code) for code in words.table("scene")}
    assert steps["0101011"] == "registration"
    assert steps["0101053"] == "payment"
    assert steps["010109"] == "inpatient"
    assert steps["0201021"] == "other"
    assert words.step_of("010103") == "medicine"
    assert words.step_of("") == words.step_of("999999999") == "other"
    with pytest.raises(Refusal):
        words.step_of("挂号")


def test_words_of_people() -> None:
    assert [words.sex_code(word) for word in ("男", "女")] == ["1", "2"]
    assert [words.sex_word(code) for code in ("1", "2", "0", "9", None)] == ["男", "女", "", "", ""]
    assert [words.nation_code(name) for name in ("汉族", "汉", "维吾尔", "穿青人")] == ["01", "01", "05", "99"]
    assert [words.nation_word(code) for code in ("01", "99", None)] == ["汉族", "未知", ""]
    assert words.birth_date("1949-12-31") == date(1949, 12, 31)
    for wrong in ("1949/12/31", "1949-13-01", "19491231", ""):
        with pytest.raises(Refusal):
            words.birth_date(wrong)


def test_every_method_is_open_or_says_why_not() -> None:
    assert not OPEN.keys() & CLOSED.keys()
    assert len(NAMES) == 37
    assert all(CLOSED.values())


def test_the_page_tells_of_every_method_code_and_profile() -> None:
    page = (Path(__file__).parents[2] / "docs" / "gateways.md").read_text(encoding="utf-8")
    chapter = page.partition("## Open platform JSON")[2].partition("## Provincial SOAP")[0]
    assert {name for name in NAMES if f"`{name}`" not in chapter} == set()
    assert {profile.name for profile in PROFILES if f"`{profile.name}`" not in chapter} == set()
    assert {code for code in Result if code and str(int(code)) not in chapter} == set()
