"""What a family is refused: each rule from both sides, and nothing left behind."""

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import problem, row_counts, wrong
from tests.support.families import PROOF, add, day, end, family, member, newborn, post, today, wanted
from tests.support.service import Service, citizen_number, person


@pytest.fixture
def guardian(service: Service) -> str:
    """The card of 王小明, who is an adult."""
    return str(service.app.register(1)["card_id"])


def years_ago(service: Service, years: int, *, days: int = 0) -> str:
    """A birth date as numbers have it."""
    now = date.fromisoformat(day(service, days))
    return f"{now.year - years}{now:%m%d}"


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"relation": "0"}, [("/relation", "choice")]),
        ({"relation": "9"}, [("/relation", "choice")]),
        ({"verification": {"method": "self-declared"}}, [("/verification/method", "choice")]),
        ({"verification": {"method": "external-match"}}, [("/verification/method", "choice")]),
        ({"verification": {"method": "clerk"}}, [("/verification/clerk", "required")]),
        ({"member": member(name="!")}, [("/member/name", "name-character")]),
        (
            {"member": member(name="!", id_type="77", phone="1" * 5)},
            [
                ("/member/name", "name-character"),
                ("/member/phone", "phone-form"),
                ("/member/id_type", "id-type-unknown"),
            ],
        ),
        ({"member": member(id_type="03", id_number="E12345678")}, [("/member/birth_date", "required")]),
        ({"member": member(birth_date="2020-06-02")}, [("/member/birth_date", "birth-date-mismatch")]),
        ({"member": member(consents=[])}, [("/member/consents", "unknown-member")]),
        ({"newborn": {}}, [("/newborn", "null")]),
    ],
)
def test_a_wrong_member_is_named(
    service: Service, guardian: str, changes: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    found = wrong(post(service.app, guardian, wanted() | changes))
    if "newborn" in changes:
        assert {pointer.split("/")[1] for pointer, _ in found} == {"newborn"}
    else:
        assert found == faults


def test_a_member_or_a_newborn_is_asked_for_and_not_both(service: Service, guardian: str) -> None:
    bare = {"relation": "2", "verification": PROOF}
    assert wrong(post(service.app, guardian, bare)) == [("/member", "required")]
    both = bare | {"member": member()} | {"newborn": newborn(service)["newborn"]}
    assert wrong(post(service.app, guardian, both)) == [("/newborn", "unknown-member")]


def test_only_an_app_that_registered_the_guardian_may_add(service: Service, guardian: str) -> None:
    assert problem(post(service.other_app, guardian, wanted())) == (404, "card-not-found")
    assert problem(post(service.terminal, guardian, wanted())) == (403, "insufficient-scope")


@pytest.mark.parametrize("path", ["suspend", "report-loss"])
def test_a_guardians_card_is_active(service: Service, guardian: str, path: str) -> None:
    assert service.app.post(f"/v1/cards/{guardian}/{path}", {"reason": "r"}).status_code == 200
    before = row_counts(service)
    assert problem(post(service.app, guardian, wanted())) == (409, "guardian-not-active")
    assert row_counts(service) == before


def test_a_cancelled_guardian_has_no_family(service: Service, guardian: str) -> None:
    service.app.post(f"/v1/cards/{guardian}/cancel", {"reason": "r"})
    assert problem(post(service.app, guardian, wanted())) == (404, "card-not-found")


def test_a_guardian_is_eighteen_today(service: Service) -> None:
    young = service.app.register(**person(1, id_number=citizen_number(1, born=years_ago(service, 18, days=1))))
    assert problem(post(service.app, young["card_id"], wanted())) == (409, "guardian-not-of-age")
    grown = service.app.register(**person(2, id_number=citizen_number(2, born=years_ago(service, 18))))
    add(service.app, grown["card_id"], wanted())


def test_a_guardian_of_unknown_age_is_refused(service: Service) -> None:
    unknown = person(1, id_type="03", id_number="E12345678")
    card_id = service.app.register(**unknown)["card_id"]
    assert problem(post(service.app, card_id, wanted())) == (409, "guardian-not-of-age")


def test_nobody_is_a_member_of_themselves(service: Service, guardian: str) -> None:
    body = wanted(relation="8", member=person(1))
    assert problem(post(service.app, guardian, body)) == (409, "family-loop")


def test_nobody_acts_for_who_acts_for_them(service: Service, guardian: str) -> None:
    """Three people in a ring, and two."""
    second = service.app.register(2)["card_id"]
    third = service.app.register(3)["card_id"]
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL"))

    def clerk(serial: int) -> dict[str, Any]:
        shown = {"method": "clerk", "clerk": {"name": "李四", "number": "C1"}}
        return wanted(relation="8", member=person(serial, verification=shown))

    link = add(service.app, guardian, clerk(2))["link_id"]
    assert problem(post(service.app, second, clerk(1))) == (409, "family-loop")
    add(service.app, second, clerk(3))
    assert problem(post(service.app, third, clerk(1))) == (409, "family-loop")
    end(service.app, guardian, link)
    add(service.app, third, clerk(1))


def test_an_app_that_acts_for_the_guardian_adds_nobody(service: Service, guardian: str) -> None:
    elder = add(service.app, guardian, wanted(relation="5", born="19550101"))["card"]["card_id"]
    assert problem(post(service.app, elder, wanted())) == (409, "holder-only")


def test_the_fifth_member_is_the_last(service: Service, guardian: str) -> None:
    links = [add(service.app, guardian, wanted(serial))["link_id"] for serial in range(1, 6)]
    before = row_counts(service)
    assert problem(post(service.app, guardian, wanted(6))) == (409, "family-full")
    assert row_counts(service) == before
    add(service.app, guardian, wanted(5), status=200)
    end(service.app, guardian, links[0])
    add(service.app, guardian, wanted(6))
    assert len(family(service.app, guardian)["items"]) == 5


def test_the_limit_is_a_setting(start: ServiceMaker) -> None:
    small = start(family_members=1)
    guardian = small.app.register(1)["card_id"]
    add(small.app, guardian, wanted(1))
    assert problem(post(small.app, guardian, wanted(2))) == (409, "family-full")


def test_a_known_member_under_another_name_is_a_mismatch(service: Service, guardian: str) -> None:
    card_id = service.other_app.register(**member())["card_id"]
    other = wanted(member=member(name="王大宝"))
    assert problem(post(service.app, guardian, other)) == (409, "identity-mismatch")
    assert service.app.get(f"/v1/cards/{card_id}").status_code == 404


def test_a_known_adult_is_no_child_because_the_guardian_says_so(service: Service, guardian: str) -> None:
    """Nobody recorded the birth date of this passport's holder."""
    passport = person(2, id_type="03", id_number="E12345678", phone="13900139000")
    service.other_app.register(**passport)
    claimed = wanted(member=passport | {"birth_date": day(service, -3000)})
    assert problem(post(service.app, guardian, claimed)) == (409, "agreement-required")


@pytest.mark.parametrize(("id_type", "number"), [("08", "A123456789"), ("99", "A123456789")])
def test_a_birth_certificate_is_a_childs(service: Service, guardian: str, id_type: str, number: str) -> None:
    given: dict[str, Any] = {"id_type": id_type, "id_number": number}
    now = today(service)
    for born, faults in (
        (None, [("/member/birth_date", "required")]),
        (now - timedelta(days=18 * 366), [("/member/birth_date", "birth-certificate-age")]),
        (date(now.year + 1, 1, 1), [("/member/birth_date", "birth-date-future")]),
    ):
        known: dict[str, Any] = {} if born is None else {"birth_date": born.isoformat()}
        assert wrong(post(service.app, guardian, wanted(member=member(**given, **known)))) == faults
    add(service.app, guardian, wanted(member=member(**given, birth_date=day(service, -18 * 365))))


def test_a_number_of_the_platforms_own_lasts_ninety_days(service: Service, guardian: str) -> None:
    given: dict[str, Any] = {"id_type": "16", "id_number": "N0001"}
    late = wanted(member=member(**given, birth_date=day(service, -91)))
    assert wrong(post(service.app, guardian, late)) == [("/member/birth_date", "newborn-age")]
    add(service.app, guardian, wanted(member=member(**given, birth_date=day(service, -90))))
