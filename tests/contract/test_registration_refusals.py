"""Every member of a registration: what is refused, where the answer points, and the nearest value that passes."""

from datetime import timedelta
from typing import Any

import pytest

from ehc.clock import local_day
from ehc.core.documents import check_character
from tests.contract.helpers import problem, row_counts, wrong
from tests.support.service import Service, citizen_number, person

REQUIRED = ["name", "id_type", "id_number", "phone", "verification"]
TEXTS = ["name", "id_type", "id_number", "phone", "sex", "birth_date", "nation", "address"]
_GOOD = citizen_number(1)


def _off_by_one(number: str) -> str:
    return number[:17] + ("0" if number[17] != "0" else "1")


def _with_region(region: str) -> str:
    first = f"{region}19900307001"
    return first + check_character(first)


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("empty name", {"name": ""}, "/name", "length"),
    ("129 characters of name", {"name": "王" * 129}, "/name", "length"),
    ("65 characters in normal form", {"name": "王" * 65}, "/name", "name-length"),
    ("only spaces", {"name": "   "}, "/name", "name-length"),
    ("a private-use character", {"name": "王\ue000"}, "/name", "name-private-use"),
    ("a symbol in the name", {"name": "王<b>"}, "/name", "name-character"),
    ("a name without letters", {"name": "123"}, "/name", "name-form"),
    ("a dot at the end", {"name": "王·"}, "/name", "name-form"),
    ("empty type", {"id_type": ""}, "/id_type", "length"),
    ("4 characters of type", {"id_type": "0001"}, "/id_type", "length"),
    ("a type that is not there", {"id_type": "98"}, "/id_type", "id-type-unknown"),
    ("type of one digit", {"id_type": "1"}, "/id_type", "id-type-unknown"),
    ("empty number", {"id_number": ""}, "/id_number", "length"),
    ("65 characters of number", {"id_number": "1" * 65}, "/id_number", "length"),
    ("17 digits", {"id_number": _GOOD[:17]}, "/id_number", "id-number-length"),
    ("19 digits", {"id_number": _GOOD + "0"}, "/id_number", "id-number-length"),
    ("a letter among the digits", {"id_number": f"A{_GOOD[1:]}"}, "/id_number", "id-number-form"),
    ("a province that is not there", {"id_number": _with_region("190105")}, "/id_number", "id-number-region"),
    ("30 February", {"id_number": citizen_number(1, born="19900230")}, "/id_number", "id-number-date"),
    ("born in 1799", {"id_number": citizen_number(1, born="17991231")}, "/id_number", "id-number-date"),
    ("a wrong check character", {"id_number": _off_by_one(_GOOD)}, "/id_number", "id-number-check"),
    ("a passport of 4 characters", {"id_type": "03", "id_number": "E123"}, "/id_number", "id-number-form"),
    ("31 bytes", {"id_type": "99", "id_number": "A" * 31}, "/id_number", "id-number-length"),
    ("phone of 4 characters", {"phone": "1380"}, "/phone", "length"),
    ("phone of 33 characters", {"phone": "1" * 33}, "/phone", "length"),
    ("10 digits", {"phone": "1380013800"}, "/phone", "phone-form"),
    ("12 digits", {"phone": "138001380001"}, "/phone", "phone-form"),
    ("a prefix that is not mobile", {"phone": "12000138000"}, "/phone", "phone-form"),
    ("sex 3", {"sex": "3"}, "/sex", "choice"),
    ("a nation that is not there", {"nation": "57"}, "/nation", "choice"),
    ("nation without its zero", {"nation": "1"}, "/nation", "choice"),
    ("no such day", {"birth_date": "1990-02-30"}, "/birth_date", "date"),
    ("a date with slashes", {"birth_date": "1990/03/07"}, "/birth_date", "date"),
    ("a date with a time", {"birth_date": "1990-03-07T00:00:00Z"}, "/birth_date", "date"),
    ("another birth date", {"birth_date": "1990-03-08"}, "/birth_date", "birth-date-mismatch"),
    ("empty address", {"address": ""}, "/address", "length"),
    ("257 characters of address", {"address": "路" * 257}, "/address", "length"),
    ("no method", {"verification": {}}, "/verification/method", "required"),
    ("a method that is not there", {"verification": {"method": "guess"}}, "/verification/method", "choice"),
    (
        "empty reference",
        {"verification": {"method": "clerk", "reference": ""}},
        "/verification/reference",
        "length",
    ),
    (
        "129 characters of reference",
        {"verification": {"method": "clerk", "reference": "r" * 129}},
        "/verification/reference",
        "length",
    ),
]

TAKEN: list[tuple[str, dict[str, Any]]] = [
    ("a name of one character", {"name": "王"}),
    ("64 characters of name", {"name": "王" * 64}),
    ("128 characters that fold into 64", {"name": " 王" * 64}),
    ("30 bytes of number", {"id_type": "99", "id_number": "A" * 30}),
    ("a passport of 5 characters", {"id_type": "03", "id_number": "E1234"}),
    ("born in 1800", {"id_number": citizen_number(1, born="18000101")}),
    ("29 February", {"id_number": citizen_number(1, born="20000229")}),
    ("a phone of 11 digits", {"phone": "19999999999"}),
    ("a landline", {"phone": "010-66668888"}),
    ("a phone abroad", {"phone": "+6591234567"}),
    ("sex 0", {"sex": "0"}),
    ("nation 01", {"nation": "01"}),
    ("nation 99", {"nation": "99"}),
    ("the birth date of the number", {"birth_date": "1991-05-06", "id_number": citizen_number(1, born="19910506")}),
    ("an address of one character", {"address": "路"}),
    ("256 characters of address", {"address": "路" * 256}),
    ("a reference of one character", {"verification": {"method": "clerk", "reference": "r"}}),
    ("128 characters of reference", {"verification": {"method": "clerk", "reference": "r" * 128}}),
]


@pytest.mark.parametrize(
    ("change", "pointer", "code"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_wrong_member_is_refused_where_it_is(
    shared: Service, change: dict[str, Any], pointer: str, code: str
) -> None:
    assert wrong(shared.app.post("/v1/cards", person(1, **change))) == [(pointer, code)]


@pytest.mark.parametrize("change", [case[1] for case in TAKEN], ids=[case[0] for case in TAKEN])
def test_the_nearest_right_member_is_taken(shared: Service, newcomer: dict[str, Any], change: dict[str, Any]) -> None:
    assert shared.app.post("/v1/cards", newcomer | change).status_code == 201


@pytest.mark.parametrize("member", REQUIRED)
def test_a_missing_member_is_named(shared: Service, member: str) -> None:
    body = person()
    del body[member]
    assert wrong(shared.app.post("/v1/cards", body)) == [(f"/{member}", "required")]


@pytest.mark.parametrize("member", [*TEXTS, "verification"])
def test_null_is_refused(shared: Service, member: str) -> None:
    assert wrong(shared.app.post("/v1/cards", person(1, **{member: None}))) == [(f"/{member}", "null")]


@pytest.mark.parametrize(
    "value", [7, 1.5, True, ["王小明"], {"zh": "王小明"}], ids=["int", "float", "bool", "list", "map"]
)
@pytest.mark.parametrize("member", TEXTS)
def test_a_text_of_another_type_is_refused(shared: Service, member: str, value: object) -> None:
    ((pointer, code),) = wrong(shared.app.post("/v1/cards", person(1, **{member: value})))
    assert (pointer, code) == (f"/{member}", "date" if member == "birth_date" else "type")


@pytest.mark.parametrize("value", ["clerk", 7, [], True], ids=["text", "int", "list", "bool"])
def test_a_verification_of_another_type_is_refused(shared: Service, value: object) -> None:
    assert wrong(shared.app.post("/v1/cards", person(verification=value))) == [("/verification", "invalid")]


@pytest.mark.parametrize("sign", ["\x00", "\x1f", "\n", "\x7f"], ids=["NUL", "unit separator", "line feed", "delete"])
@pytest.mark.parametrize("member", ["name", "id_type", "id_number", "phone", "address"])
def test_a_control_character_is_refused(shared: Service, member: str, sign: str) -> None:
    value = {"id_type": "0"}.get(member, "13800138000")
    ((pointer, code),) = wrong(shared.app.post("/v1/cards", person(1, **{member: value + sign})))
    assert (pointer, code) == (f"/{member}", "characters")


def test_a_control_character_in_the_reference_is_refused(shared: Service) -> None:
    verification = {"method": "clerk", "reference": "a\x00b"}
    answer = shared.app.post("/v1/cards", person(verification=verification))
    assert wrong(answer) == [("/verification/reference", "characters")]


@pytest.mark.parametrize("member", ["card_id", "status", "level", "ehc_id", "resident", "id"])
def test_an_unknown_member_is_refused(shared: Service, member: str) -> None:
    assert wrong(shared.app.post("/v1/cards", person(1, **{member: "x"}))) == [(f"/{member}", "unknown-member")]


def test_an_unknown_member_within_verification_is_refused(shared: Service) -> None:
    verification = {"method": "clerk", "by": "x"}
    answer = shared.app.post("/v1/cards", person(verification=verification))
    assert wrong(answer) == [("/verification/by", "unknown-member")]


def test_the_name_of_an_unknown_member_is_repeated_only_if_it_could_be_one_of_ours(shared: Service) -> None:
    answer = shared.app.post("/v1/cards", person(1, **{"王小红": "x"}))
    assert wrong(answer) == [("/", "unknown-member")]
    assert "王小红" not in answer.text


def test_every_wrong_member_is_named_at_once(shared: Service) -> None:
    answer = shared.app.post("/v1/cards", person(name="", phone="", sex="3"))
    assert sorted(wrong(answer)) == [("/name", "length"), ("/phone", "length"), ("/sex", "choice")]


def test_every_member_that_breaks_a_rule_of_the_field_is_named_at_once(shared: Service) -> None:
    answer = shared.app.post("/v1/cards", person(name="123", phone="12345", id_number=_off_by_one(_GOOD)))
    assert wrong(answer) == [("/name", "name-form"), ("/phone", "phone-form"), ("/id_number", "id-number-check")]


def test_a_thousand_unknown_members_are_answered_with_twenty(shared: Service) -> None:
    answer = shared.app.post("/v1/cards", person() | {f"m{number}": 1 for number in range(1000)})
    assert len(wrong(answer)) == 20


def test_a_child_is_born_by_the_day_in_china(shared: Service) -> None:
    today = local_day(shared.clock.now())
    number: dict[str, Any] = {"id_type": "03", "id_number": "E87654321"}
    assert shared.app.register(birth_date=str(today), **number)["resident"]["age"] == 0
    tomorrow = person(birth_date=str(today + timedelta(days=1)), **number)
    assert wrong(shared.app.post("/v1/cards", tomorrow)) == [("/birth_date", "birth-date-future")]


def test_a_number_that_says_tomorrow_is_refused(shared: Service) -> None:
    today = local_day(shared.clock.now())
    assert shared.app.register(1, id_number=citizen_number(1, born=f"{today:%Y%m%d}"))["resident"]["age"] == 0
    born = f"{today + timedelta(days=1):%Y%m%d}"
    answer = shared.app.post("/v1/cards", person(id_number=citizen_number(1, born=born)))
    assert wrong(answer) == [("/id_number", "id-number-date")]


def test_a_refused_registration_leaves_nothing_behind(shared: Service) -> None:
    before = row_counts(shared)
    assert problem(shared.app.post("/v1/cards", person(phone="1"))) == (422, "invalid-request")
    assert row_counts(shared) == before
