"""The table of disclosure: which row decides, when, and what is told of whom."""

from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from uuid import UUID, uuid4

import pytest

from ehc.core.masking import mask_address, mask_birth_date, mask_name, mask_number, mask_phone
from ehc.core.tables import MEDICAL_STEPS
from ehc.disclosure.fields import DEFAULT, FORMS, capped, form_of, ordered, word
from ehc.disclosure.table import Overlap, Rule, Scope, Table, difference, overlaps, shipped
from ehc.verify.disclosure import Person, disclose, narrowed, telling

NOW = datetime(2026, 1, 9, 8, tzinfo=UTC)
DAY = timedelta(days=1)
MINE, OTHER = uuid4(), uuid4()
EXACT_FIRST = [
    Scope(MINE, None, "payment"),
    Scope(MINE, None, None),
    Scope(None, "hospital", "payment"),
    Scope(None, "hospital", None),
    Scope(None, None, "payment"),
    Scope(None, None, None),
]
EVERYTHING = frozenset(name for name, forms in FORMS.items() if "clear" in forms) | {"guardian:masked"}
PERSON = Person(
    "欧阳明月",
    "2",
    date(1990, 3, 7),
    id_type="01",
    id_number="110105199003070025",
    phone="13800138000",
    address="山东省青岛市市南区香港中路十号",
    nation="01",
)


def row(scope: Scope, **more: datetime) -> Rule:
    return Rule(scope, frozenset({"name"}), str(scope), **more)


def table(*rules: Rule, kinds: dict[UUID, str] | None = None) -> Table:
    return Table(1, rules, {MINE: "hospital", OTHER: "clinic"} if kinds is None else kinds)


@pytest.mark.parametrize(("exact", "loose"), list(combinations(EXACT_FIRST, 2)))
@pytest.mark.parametrize("turned", [False, True])
def test_the_more_exact_row_wins_in_whichever_order_they_stand(exact: Scope, loose: Scope, turned: bool) -> None:
    rules = [row(exact), row(loose)]
    found = table(*(reversed(rules) if turned else rules)).decide(MINE, "payment", NOW)
    assert found is not None
    assert found.scope == exact


@pytest.mark.parametrize("scope", EXACT_FIRST)
def test_each_row_decides_alone_where_it_applies_and_nowhere_else(scope: Scope) -> None:
    rules = table(row(scope))
    assert rules.decide(MINE, "payment", NOW) is not None
    assert (rules.decide(MINE, "surgery", NOW) is not None) == (scope.step is None)
    everybody = scope.institution_id is None and scope.kind is None
    assert (rules.decide(OTHER, "payment", NOW) is not None) == everybody
    assert (rules.decide(None, "payment", NOW) is not None) == everybody


def test_an_institution_of_no_kind_is_of_none() -> None:
    assert table(row(Scope(None, "hospital", None)), kinds={}).decide(MINE, "payment", NOW) is None


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "counts"),
    [
        (NOW, None, True),
        (NOW + timedelta(microseconds=1), None, False),
        (None, NOW + timedelta(microseconds=1), True),
        (None, NOW, False),
        (NOW - DAY, NOW + DAY, True),
    ],
)
def test_a_row_counts_from_its_first_moment_and_before_its_last(
    valid_from: datetime | None, valid_until: datetime | None, counts: bool
) -> None:
    exact = Rule(EXACT_FIRST[0], frozenset({"name"}), "r", valid_from, valid_until)
    rules = table(exact, row(Scope()))
    found = rules.decide(MINE, "payment", NOW)
    assert found is (exact if counts else rules.rules[1])


def test_where_no_row_decides_the_default_is_told() -> None:
    assert (
        table().told(MINE, "payment", NOW) == DEFAULT == {"name:masked", "sex", "age", "guardian:masked", "patient-id"}
    )


def test_the_candidates_say_why_they_do_not_decide() -> None:
    early, over = row(EXACT_FIRST[0], valid_from=NOW + DAY), row(EXACT_FIRST[1], valid_until=NOW)
    rules = table(row(Scope()), early, row(EXACT_FIRST[2]), over, row(Scope(OTHER, None, None)))
    fates = [candidate.fate for candidate in rules.candidates(MINE, "payment", NOW)]
    assert fates == ["not-yet", "over", "decides", "less-exact"]


def test_rows_of_one_scope_may_follow_each_other_and_not_overlap() -> None:
    first, second = row(Scope(), valid_until=NOW), row(Scope(), valid_from=NOW)
    assert overlaps([first, second]) is None
    assert overlaps([first, row(Scope(None, None, "payment")), row(Scope(), valid_from=NOW - DAY)]) == Overlap(0, 2)
    assert overlaps([row(Scope()), row(Scope(), valid_from=NOW, valid_until=NOW + DAY)]) == Overlap(0, 1)


def test_a_difference_names_what_went_and_what_came() -> None:
    kept, old, new = row(Scope()), row(EXACT_FIRST[0]), row(EXACT_FIRST[1])
    assert difference(table(kept, old), table(new, kept)) == ([old], [new])


def test_two_checks_across_a_new_version_or_the_end_of_a_row_are_not_steady() -> None:
    bounded = Table(2, (row(Scope(), valid_until=NOW + timedelta(seconds=40)),), {}, since=NOW)
    moments = [NOW + timedelta(seconds=seconds) for seconds in (9, 10, 39, 40)]
    assert not bounded.steady(MINE, "payment", moments[0], moments[1])
    assert bounded.steady(MINE, "payment", moments[1], moments[2])
    assert not bounded.steady(MINE, "payment", moments[2], moments[3])


def test_what_is_shipped_has_a_row_with_a_reason_for_each_step_and_no_nonsense() -> None:
    rules = shipped().rules
    assert {rule.scope.step for rule in rules} == {step.word for step in MEDICAL_STEPS} - {"other"}
    assert overlaps(rules) is None
    for rule in rules:
        assert {word(*form_of(field)) for field in rule.told} == rule.told
        assert rule.told & {"name", "name:masked"}
        assert rule.reason
        assert not rule.told & {"id_number", "phone", "address"}  # never in clear unless a deployment decides so


def test_the_cap_never_widens_and_masks_what_the_default_masks() -> None:
    assert capped(EVERYTHING) == DEFAULT
    assert capped({"name"}) == {"name:masked"}
    assert capped({"name:masked", "phone", "sex"}) == {"name:masked", "sex"}


@pytest.mark.parametrize(
    ("name", "form"), [("guardian", "clear"), ("sex", "masked"), ("employer", "clear"), ("name", "")]
)
def test_a_field_has_only_its_forms(name: str, form: str) -> None:
    with pytest.raises(ValueError, match="no such field"):
        word(name, form)


def test_fields_are_recorded_in_one_order() -> None:
    assert ordered({"patient-id", "phone:masked", "age", "name"}) == ["name", "age", "phone:masked", "patient-id"]


def test_a_rule_becomes_what_the_statements_take() -> None:
    assert telling(DEFAULT) == (
        "name:masked,sex,age",
        "name:masked,sex,age",
        ",relation,guardian:masked",
        ",patient-id",
        None,
    )
    told = telling(frozenset({"name", "phone:masked", "id_number"}))
    assert told == ("name,id_number,phone:masked", "name:masked", ",relation", "", ["id_number", "phone"])


def test_each_field_is_told_in_its_form_and_no_other_field_is() -> None:
    masked = {"name", "birth_date", "id_number", "phone", "address"}
    told = disclose(PERSON, {f"{name}:masked" for name in masked}, today=date(2026, 1, 9))
    assert told == {
        "name": "欧***",
        "birth_date": "1990-**-**",
        "id_type": "01",
        "id_number": "1101************25",
        "phone": "138****8000",
        "address": "山东省青岛市******",
    }
    clear = disclose(PERSON, EVERYTHING, today=date(2026, 1, 9))
    assert clear == {
        "name": "欧阳明月",
        "sex": "2",
        "age": 35,
        "birth_date": "1990-03-07",
        "id_type": "01",
        "id_number": "110105199003070025",
        "phone": "13800138000",
        "address": "山东省青岛市市南区香港中路十号",
        "nation": "01",
    }
    assert disclose(PERSON, {"phone"}, today=date(2026, 1, 9)) is None


def test_what_is_not_known_is_null() -> None:
    told = disclose(Person("张三", None, None), EVERYTHING, today=date(2026, 1, 9))
    assert told is not None
    assert {name: value for name, value in told.items() if value is not None} == {"name": "张三"}


def test_a_kept_answer_is_narrowed_to_what_may_be_told_now() -> None:
    kept = disclose(PERSON, EVERYTHING, today=date(2026, 1, 9))
    assert kept is not None
    assert narrowed(kept, EVERYTHING) == kept
    assert narrowed(kept, {"name:masked", "phone:masked"}) == {"name": "欧***", "phone": "138****8000"}
    assert set(narrowed({"name": "欧***"}, EVERYTHING)) == {"name"}  # and never widened


@pytest.mark.parametrize("value", ["张", "张三", "欧阳明月", "13800138000", "110105199003070025", "香港中路", "x" * 40])
def test_masking_twice_masks_once(value: str) -> None:
    for mask in (mask_name, mask_number, mask_phone, mask_address):
        assert mask(mask(value)) == mask(value)
    assert mask_birth_date(mask_birth_date("1990-03-07")) == "1990-**-**"
