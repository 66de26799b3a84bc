"""Children without a citizen id: named by a certificate or by their mother, and what becomes of the card later."""

from typing import Any

import pytest
from sqlalchemy import text

from tests.contract.helpers import problem, row_counts, secrets_of, wrong
from tests.support.families import PROOF, add, day, end, family, newborn, post, seen, wanted
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

CERTIFICATE: dict[str, Any] = {"id_type": "08", "id_number": "A123456789"}


@pytest.fixture
def mother(service: Service) -> str:
    """The card of 王小明, who gave birth ten days ago."""
    return str(service.app.register(1)["card_id"])


def etag(service: Service, card_id: str) -> str:
    return service.app.get(f"/v1/cards/{card_id}").headers["ETag"]


def convert(service: Service, card_id: str, **changes: Any) -> Any:
    """Ask to give the child its citizen id."""
    body = {"id_type": "01", "verification": {"method": "document-seen"}} | changes
    headers = service.app.headers | {"If-Match": etag(service, card_id)}
    return service.app.http.patch(f"/v1/cards/{card_id}", json=body, headers=headers)


def born_number(service: Service, serial: int = 5, *, days: int = -10) -> str:
    return citizen_number(serial, born=day(service, days).replace("-", ""))


def test_a_newborn_is_named_by_its_mother(service: Service, mother: str) -> None:
    told = add(service.app, mother, newborn(service))
    resident = told["card"]["resident"]
    assert (resident["id_type"], resident["id_number"][:2], len(resident["id_number"])) == ("99", "NB", 26)
    assert (resident["sex"], resident["age"]) == ("2", 0)
    assert told["card"]["acted_for"] == {"relation": "3"}
    assert told["until"] is not None
    assert service.terminal.scan(service.app.code(told["card"]["card_id"]))["outcome"] == "accepted"
    with service.session() as session:
        assert session.scalar(text("SELECT birth_order FROM resident WHERE birth_order IS NOT NULL")) == 1


def test_the_same_newborn_again_is_the_same_card(service: Service, mother: str) -> None:
    first = add(service.app, mother, newborn(service))
    before = row_counts(service)
    assert add(service.app, mother, newborn(service), status=200) == first
    traced = ("card_event", "audit", "outbox_event")  # of the proof that was shown again
    assert row_counts(service) == before | {table: before[table] + 1 for table in traced}


def test_a_mothers_other_document_leads_to_the_same_newborn(service: Service, mother: str) -> None:
    first = add(service.app, mother, newborn(service))
    passport = {"name": "王小明", "id_type": "03", "id_number": "E12345678"}
    shown = passport | {"verification": {"method": "document-seen"}}
    assert service.app.post(f"/v1/cards/{mother}/documents", shown).status_code == 200
    assert add(service.app, mother, newborn(service, mother=passport), status=200) == first


def test_twins_have_two_cards(service: Service, mother: str) -> None:
    first = add(service.app, mother, newborn(service, births=2))
    second = add(service.app, mother, newborn(service, births=2, birth_order=2))
    assert first["card"]["card_id"] != second["card"]["card_id"]
    assert first["card"]["ehc_id"] != second["card"]["ehc_id"]
    assert len(family(service.app, mother)["items"]) == 2


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"births": 1, "birth_order": 2}, [("/newborn/birth_order", "birth-order")]),
        ({"births": 10}, [("/newborn/births", "range")]),
        ({"birth_order": 0}, [("/newborn/birth_order", "range")]),
        (
            {"name": "!", "mother": {"name": "!", "id_type": "01", "id_number": "1"}},
            [
                ("/newborn/name", "name-character"),
                ("/newborn/mother/name", "name-character"),
                ("/newborn/mother/id_number", "id-number-length"),
            ],
        ),
    ],
)
def test_a_wrong_fact_about_a_newborn_is_named(
    service: Service, mother: str, changes: dict[str, Any], faults: list[tuple[str, str]]
) -> None:
    assert wrong(post(service.app, mother, newborn(service, **changes))) == faults


def test_a_newborn_without_a_document_is_at_most_ninety_days_old(service: Service, mother: str) -> None:
    for days in (-91, 1):
        late = post(service.app, mother, newborn(service, birth_date=day(service, days)))
        assert wrong(late) == [("/newborn/birth_date", "newborn-age")]
    for days in (-90, 0):
        add(service.app, mother, newborn(service, birth_date=day(service, days)))


def test_the_mother_is_the_guardian_or_in_one_family_with_them(service: Service, mother: str) -> None:
    father = service.other_app.register(2, name="李大明")["card_id"]
    assert problem(post(service.other_app, father, newborn(service))) == (409, "mother-not-in-family")
    unknown = {"name": "王小明", "id_type": "01", "id_number": citizen_number(77)}
    assert problem(post(service.app, mother, newborn(service, mother=unknown))) == (409, "mother-not-in-family")
    shown = {"method": "clerk", "clerk": {"name": "李四", "number": "C1"}}
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL"))
    link = add(service.other_app, father, wanted(relation="1", member=person(1, verification=shown)))["link_id"]
    child = add(service.other_app, father, newborn(service))
    assert add(service.app, mother, newborn(service))["card"]["card_id"] == child["card"]["card_id"]
    end(service.other_app, father, link)
    second = newborn(service, birth_order=2, births=2)
    assert problem(post(service.other_app, father, second)) == (409, "mother-not-in-family")


def test_the_mothers_name_is_the_one_on_record(service: Service, mother: str) -> None:
    named = {"name": "王大明", "id_type": "01", "id_number": citizen_number(1)}
    assert problem(post(service.app, mother, newborn(service, mother=named))) == (409, "identity-mismatch")


def test_a_made_number_tells_nothing_of_the_mother(service: Service, mother: str) -> None:
    add(service.app, mother, newborn(service))
    with service.session() as session:
        rows = session.execute(text("SELECT entry FROM audit")).scalars().all()
    assert not [entry for entry in rows if citizen_number(1) in entry or "NB" in entry]


def test_a_newborns_number_is_never_asked_about(service: Service, mother: str) -> None:
    assert add(service.app, mother, newborn(service))["card"]["level"] == PROOF["method"]


def test_a_child_keeps_its_card_when_it_gets_a_citizen_id(service: Service, mother: str) -> None:
    """By its certificate, with history, family, access; the old pair of ids and the old codes are closed."""
    shown: dict[str, Any] = {"name": "王小明之女", **CERTIFICATE, "verification": {"method": "document-seen"}}
    first = add(service.app, mother, wanted(relation="3", member=shown | {"birth_date": day(service, -10)}))
    card_id, old = first["card"]["card_id"], first["card"]
    service.other_app.register(**shown, phone="13800138000", birth_date=day(service, -10))
    checked = service.terminal.scan(service.app.code(card_id))
    outdated = service.app.code(card_id)
    service.clock.advance(2)
    number = born_number(service)
    answer = convert(service, card_id, id_number=number, name="王晓月")
    assert answer.status_code == 200, answer.text
    new = answered(answer)
    assert new["card_id"] == card_id
    assert new["ehc_id"] != old["ehc_id"]
    assert new["index_id"] != old["index_id"]
    assert new["acted_for"] == {"relation": "3"}
    assert seen(service.app, card_id) == seen(service.other_app, card_id) == (200, 201)
    assert family(service.app, mother)["items"][0]["link_id"] == first["link_id"]
    looked = answered(service.app.get(f"/v1/cards/{card_id}/verifications"))["items"]
    assert checked["verification_id"] in [item["verification_id"] for item in looked]
    assert service.terminal.scan(outdated)["outcome"] == "rejected"
    assert service.terminal.scan(service.app.code(card_id))["card"]["acted_for"]["relation"] == "3"
    with service.session() as session:
        closed = session.execute(text("SELECT ehc_id_index FROM card_alias")).scalars().all()
    assert closed == [secrets_of(service).blind_index.of("ehc-id", old["ehc_id"])]
    again: dict[str, Any] = {"name": "王晓月", "phone": "13800138000", "verification": {"method": "document-seen"}}
    by_number = service.other_app.register(**again, id_type="01", id_number=number)
    by_certificate = service.other_app.register(**again, **CERTIFICATE, birth_date=day(service, -10))
    assert by_number["card_id"] == by_certificate["card_id"] == card_id


def test_a_child_named_by_its_mother_is_converted_too(service: Service, mother: str) -> None:
    told = add(service.app, mother, newborn(service))
    card_id = told["card"]["card_id"]
    assert convert(service, card_id, id_number=born_number(service)).status_code == 200
    again = add(service.app, mother, newborn(service), status=200)
    assert (again["card"]["card_id"], again["link_id"]) == (card_id, told["link_id"])
    assert again["card"]["resident"]["id_type"] == "01"


def test_a_citizen_id_with_another_birth_date_is_not_the_childs(service: Service, mother: str) -> None:
    card_id = add(service.app, mother, newborn(service))["card"]["card_id"]
    answer = convert(service, card_id, id_number=born_number(service, days=-9))
    assert wrong(answer) == [("/id_number", "birth-date-mismatch")]
    assert convert(service, card_id, id_number=born_number(service)).status_code == 200


def test_a_citizen_id_of_somebody_else_is_refused(service: Service, mother: str) -> None:
    card_id = add(service.app, mother, newborn(service))["card"]["card_id"]
    number = born_number(service)
    service.other_app.register(name="王小明之女", id_number=number)
    assert problem(convert(service, card_id, id_number=number)) == (409, "document-in-use")
    assert seen(service.app, card_id) == (200, 201)


def test_an_identity_is_not_changed_on_the_guardians_word(service: Service, mother: str) -> None:
    card_id = add(service.app, mother, newborn(service))["card"]["card_id"]
    said = {"id_number": born_number(service), "verification": {"method": "self-declared"}}
    assert problem(convert(service, card_id, **said)) == (409, "identity-not-confirmed")
