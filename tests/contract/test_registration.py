"""`POST /v1/cards`: one person, one card, whoever registers them and however often."""

import csv
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from ehc.cards.states import Level
from ehc.codes import national
from ehc.core.documents import read_document
from ehc.core.ids import uuid7_time
from ehc.core.names import normal_name
from ehc.web.answers import instant
from tests.contract.helpers import at_once, poster, problem, row_counts, secrets_of
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

_VECTORS = Path(__file__).parent.parent / "vectors" / "ehc_vectors.csv"


def vectors() -> list[dict[str, str]]:
    with _VECTORS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_new_person_gets_a_card(service: Service) -> None:
    answer = service.app.post("/v1/cards", person())
    assert answer.status_code == 201
    told = answered(answer)
    assert set(told) == {
        *("card_id", "ehc_id", "index_id", "status", "level", "resident", "created_at"),
        *("kind", "cause", "static_codes", "acted_for", "verified", "visit_at", "expires_at"),
    }
    assert (told["kind"], told["cause"], told["static_codes"], told["acted_for"]) == ("formal", None, False, None)
    assert (told["status"], told["level"]) == ("active", "document-seen")
    assert told["resident"] == {
        "name": "王**",
        "id_type": "01",
        "id_number": f"1101{'*' * 12}{citizen_number(1)[-2:]}",
        "phone": "138****8000",
        "sex": "2" if int(citizen_number(1)[16]) % 2 == 0 else "1",
        "age": service.clock.now().year - 1990 - (service.clock.now().strftime("%m%d") < "0307"),
    }
    assert told["created_at"] == instant(service.clock.now())
    assert answer.headers["Location"] == f"/v1/cards/{told['card_id']}"
    assert answer.headers["ETag"] == '"1"'


def test_a_card_id_is_a_uuid_of_version_7_made_now(service: Service) -> None:
    card_id = UUID(service.app.register()["card_id"])
    assert abs(uuid7_time(card_id) - service.clock.now()) < timedelta(seconds=1)


def test_the_new_card_is_where_the_location_says(service: Service) -> None:
    answer = service.app.post("/v1/cards", person())
    read = service.app.get(answer.headers["Location"])
    assert (read.status_code, answered(read), read.headers["ETag"]) == (200, answered(answer), answer.headers["ETag"])


def test_the_same_person_again_has_the_same_card(service: Service) -> None:
    first = service.app.post("/v1/cards", person())
    before = row_counts(service)
    second = service.app.post("/v1/cards", person())
    assert (second.status_code, answered(second)) == (200, answered(first))
    assert "Location" not in second.headers
    assert row_counts(service) == before


@pytest.mark.parametrize(
    "change",
    [
        {"name": "王 小 明"},
        {"name": "\u3000王小明\u200b"},
        {"id_number": " ".join(citizen_number(7))},
        {"phone": "+86 138-0013-8000"},
        {"phone": "13900139000"},
        {"address": "解放路1号"},
    ],
    ids=["spaces in the name", "unseen characters", "spaces in the number", "phone abroad", "new phone", "address"],
)
def test_a_person_typed_another_way_is_the_same_person(service: Service, change: dict[str, str]) -> None:
    first = service.app.register(7)
    assert service.app.register(7, **change)["card_id"] == first["card_id"]


def test_an_old_number_of_15_digits_is_the_same_person(service: Service) -> None:
    first = service.app.register(8)
    number = citizen_number(8)
    assert service.app.register(8, id_number=number[:6] + number[8:17])["card_id"] == first["card_id"]


def test_an_x_in_lower_case_is_the_same_number(service: Service) -> None:
    serial = next(serial for serial in range(1000) if citizen_number(serial).endswith("X"))
    first = service.app.register(serial)
    assert service.app.register(serial, id_number=citizen_number(serial).lower()) == first


def test_another_number_is_another_person(service: Service) -> None:
    assert service.app.register(1)["card_id"] != service.app.register(2)["card_id"]


def test_the_same_number_of_another_document_type_is_another_person(service: Service) -> None:
    passport = service.app.register(1, id_type="03", id_number="E12345678")
    other = service.app.register(1, id_type="99", id_number="E12345678")
    assert passport["card_id"] != other["card_id"]
    assert passport["index_id"] != other["index_id"]


def test_two_threads_registering_one_person_make_one_card(service: Service) -> None:
    for serial in range(20):
        first, second = at_once(
            poster(service, service.app, "/v1/cards", person(serial)),
            poster(service, service.other_app, "/v1/cards", person(serial)),
        )
        assert sorted((first.status_code, second.status_code)) == [200, 201]
        assert answered(first) == answered(second)
    counts = row_counts(service)
    assert (counts["resident"], counts["identity_document"], counts["card"]) == (20, 20, 20)
    assert counts["card_grant"] == 40


def test_eight_threads_registering_one_person_make_one_card(service: Service) -> None:
    answers = at_once(*(poster(service, service.app, "/v1/cards", person()) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answered(answer)["card_id"] for answer in answers}) == 1


@pytest.mark.parametrize("row", vectors(), ids=lambda row: str(row["case"]))
def test_the_ids_are_those_of_the_national_derivation(shared: Service, row: dict[str, str]) -> None:
    card = shared.app.register(name=row["name"], id_type=row["id_type"], id_number=row["id_no"])
    assert card["index_id"] == row["index_id"]
    document = read_document(row["id_type"], row["id_no"], today=shared.clock.now().date())
    expected = national.card_id(secrets_of(shared).security_key, document, bytes.fromhex(row["index_id"]))
    assert card["ehc_id"] == expected.hex().upper()
    assert normal_name(row["name"]) == row["name"]


def test_a_known_document_under_another_name_is_a_conflict_that_tells_nothing(service: Service) -> None:
    card = service.app.register()
    answer = service.app.post("/v1/cards", person(name="王大明"))
    assert problem(answer) == (409, "identity-mismatch")
    assert set(answered(answer)) == {"type", "title", "status", "code", "detail", "request_id"}
    for secret in ("王", "小明", "大明", card["card_id"], card["ehc_id"], card["index_id"], "1990", "8000"):
        assert secret not in answer.text


def test_an_identity_mismatch_gives_no_grant(service: Service) -> None:
    card = service.app.register()
    assert service.other_app.post("/v1/cards", person(name="王大明")).status_code == 409
    assert service.other_app.get(f"/v1/cards/{card['card_id']}").status_code == 404


@pytest.mark.parametrize("better", list(Level)[2:])
def test_a_better_proof_raises_the_level(service: Service, better: Level) -> None:
    card = service.app.register(verification={"method": "self-declared"})
    answer = service.app.post("/v1/cards", person(verification={"method": better}))
    assert (answer.status_code, answered(answer)) == (200, card | {"level": better})
    assert answer.headers["ETag"] == '"2"'


@pytest.mark.parametrize("worse", list(Level)[1:-1])
def test_a_weaker_proof_lowers_nothing(service: Service, worse: Level) -> None:
    card = service.app.register(verification={"method": "external-match"})
    answer = service.app.post("/v1/cards", person(verification={"method": worse}))
    assert (answer.status_code, answered(answer), answer.headers["ETag"]) == (200, card, '"1"')


def test_what_a_citizen_number_tells_need_not_be_sent(service: Service) -> None:
    resident = service.app.register(1, id_number=citizen_number(1, born="20000229"))["resident"]
    assert resident["age"] is not None
    assert resident["sex"] == ("1" if int(citizen_number(1, born="20000229")[16]) % 2 else "2")


def test_what_is_not_known_of_a_person_is_null(service: Service) -> None:
    resident = service.app.register(id_type="03", id_number="E12345678")["resident"]
    assert (resident["sex"], resident["age"]) == (None, None)


def test_every_optional_member_is_taken(service: Service) -> None:
    more: dict[str, Any] = {"sex": "9", "birth_date": "1990-03-07", "nation": "56", "address": "解放路1号"}
    more |= {"verification": {"method": "clerk", "reference": "卷 12/3"}}
    card = service.app.register(id_type="03", id_number="E12345678", **more)
    assert (card["level"], card["resident"]["sex"]) == ("clerk", "9")
    assert card["resident"]["age"] is not None
