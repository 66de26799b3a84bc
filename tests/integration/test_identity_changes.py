"""An identity that changes with an authority to confirm it, and what hangs on the card through the change."""

from datetime import date
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.dev.simulators.controls import Controls
from tests.contract.helpers import problem
from tests.integration.outside import asking, outside, simulators
from tests.support.national import allow_static, static
from tests.support.service import Service, citizen_number
from tests.support.service import told as answered

__all__ = ["asking", "outside", "simulators"]

SEEN = {"method": "document-seen"}
SELF = {"method": "self-declared"}


def patch(service: Service, card_id: str, **body: Any) -> TestResponse:
    headers = service.app.headers | {"If-Match": "*"}
    return service.app.http.patch(f"/v1/cards/{card_id}", json=body, headers=headers)


def fact(service: Service, card_id: str, column: str) -> str:
    with service.session() as session:
        wanted = text(f"SELECT {column} FROM resident JOIN card ON card.resident_id = resident.id WHERE card.id = :id")
        return str(session.scalar(wanted, {"id": card_id}))


@pytest.mark.parametrize(
    "wanted",
    [
        {"name": "王大明"},
        {"id_number": citizen_number(2)},
        {"id_number": citizen_number(2, born="19920110"), "replaced": "corrected"},
        {"id_number": citizen_number(2, born="19920110"), "name": "王大明"},
        {"id_type": "03", "id_number": "E12345678"},
    ],
)
def test_an_identity_that_the_authority_knows_is_taken_over(
    asking: Service, outside: Controls, wanted: dict[str, str]
) -> None:
    """Strict about the birth date too, which a citizen id tells: it is the new one's that is asked about."""
    card_id = asking.app.register(1, verification=SELF)["card_id"]
    shown: dict[str, Any] = {"name": "王小明", "id_type": "01", "id_number": citizen_number(1)} | wanted
    shown.pop("replaced", None)
    born = "1992-01-10" if "19920110" in shown["id_number"] else "1990-03-07"
    outside.add_person(**shown, birth_date=date.fromisoformat(born))
    answer = patch(asking, card_id, **wanted, verification=SELF)
    assert answer.status_code == 200, answer.text
    assert answered(answer)["level"] == "external-match"
    assert fact(asking, card_id, "birth_date") == born
    assert asking.app.register(**shown, verification=SELF)["card_id"] == card_id


def test_a_birth_date_that_the_authority_does_not_know_is_not_taken_over(asking: Service, outside: Controls) -> None:
    card_id = asking.app.register(1, verification=SELF)["card_id"]
    number = citizen_number(2, born="19920110")
    outside.add_person(name="王小明", id_type="01", id_number=number, birth_date=date(1990, 3, 7))
    answer = patch(asking, card_id, id_number=number, verification=SELF)
    assert problem(answer) == (409, "identity-not-confirmed")


@pytest.mark.parametrize(("stated", "then"), [({}, "2"), ({"sex": "female"}, "2"), ({"sex": "9"}, "9")])
def test_the_sex_of_the_old_number_goes_with_it(service: Service, stated: dict[str, Any], then: str) -> None:
    card_id = service.app.register(1, **stated)["card_id"]  # an odd number is a man's
    assert patch(service, card_id, id_number=citizen_number(2), verification=SEEN).status_code == 200
    assert fact(service, card_id, "sex") == then


@pytest.mark.parametrize("wanted", [{"name": "王大明"}, {"id_number": citizen_number(3, born="19900307")}])
def test_family_and_access_stay_through_a_change(service: Service, wanted: dict[str, str]) -> None:
    guardian = service.app.register(1)["card_id"]
    child = {"name": "王小宝", "id_type": "01", "id_number": citizen_number(5, born="20200601"), "verification": SEEN}
    body = {"relation": "2", "member": child, "verification": SEEN}
    member = answered(service.app.post(f"/v1/cards/{guardian}/family", body))["card"]["card_id"]
    service.other_app.register(1)
    before = answered(service.app.get(f"/v1/cards/{guardian}/family"))["items"]
    assert len(before) == 1
    assert patch(service, guardian, **wanted, verification=SEEN).status_code == 200
    assert answered(service.app.get(f"/v1/cards/{guardian}/family"))["items"] == before
    of_child = {"name": "王大宝"} if "name" in wanted else {"id_number": citizen_number(7, born="20200601")}
    assert patch(service, member, **of_child, verification=SEEN).status_code == 200
    assert answered(service.app.get(f"/v1/cards/{member}"))["acted_for"] == {"relation": "2"}
    for app, card_id in ((service.app, guardian), (service.other_app, guardian), (service.app, member)):
        assert service.terminal.scan(app.code(card_id))["outcome"] == "accepted"


def test_static_texts_of_a_number_that_changed_are_cancelled_for_ever(service: Service) -> None:
    card = service.app.register(1)
    allow_static(service, card)
    old = static(card)
    assert service.terminal.scan(old)["outcome"] == "accepted"
    for number in (citizen_number(3), citizen_number(1)):
        answer = patch(service, card["card_id"], id_number=number, verification=SEEN)
        assert answer.status_code == 200
        assert service.terminal.scan(old)["reason"] == "card-cancelled"
    assert answered(answer)["ehc_id"] == card["ehc_id"]
