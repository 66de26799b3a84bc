"""What is bound to a card that is joined to another of the same person: it leads to the one that goes on, or ends once."""

from typing import Any

from sqlalchemy import text

from ehc.dev.simulators.controls import Controls
from tests.integration.outside import asking, outside, simulators
from tests.support import plastic
from tests.support.bank import account_number, delete, factors, path, rows, run_jobs
from tests.support.service import Service, person, told

__all__ = ["asking", "outside", "simulators"]

PASSPORT: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
SEEN = {"method": "document-seen"}


def patient_id(service: Service, card_id: str, number: str, id_type: str = "outpatient") -> str:
    check = service.terminal.scan(service.app.code(card_id))["verification_id"]
    body = {"id_type": id_type, "patient_id": number, "verification_id": check}
    answer = service.terminal.post(f"/v1/cards/{card_id}/bindings/patient-ids", body)
    assert answer.status_code == 201, answer.text
    return str(told(answer)["binding_id"])


def join(service: Service, card_id: str) -> None:
    body = {"name": person()["name"], **PASSPORT, "verification": SEEN}
    answer = service.app.post(f"/v1/cards/{card_id}/documents", body)
    assert answer.status_code == 200, answer.text


def test_what_is_bound_goes_over_to_the_card_that_goes_on(asking: Service) -> None:
    other = str(asking.app.register(**PASSPORT, birth_date="1990-03-07")["card_id"])
    check = asking.terminal.scan(asking.app.code(other))["verification_id"]
    holder = {"name": person()["name"], **PASSPORT}
    here = {"card_id": other, "verification_id": check, "serial": 1}
    plastic.bound(asking, here, 1, holder=holder)
    lost = plastic.bound(asking, here, 2, holder=holder)
    asking.app.post(plastic.path(here, lost, "report-loss"), {"reason": "遗失"})
    patient_id(asking, other, "P-1")
    patient_id(asking, other, "I-1", "inpatient")
    card = str(asking.app.register(1)["card_id"])
    counts = patient_id(asking, card, "P-9")
    join(asking, card)
    assert plastic.read(asking, 1)["card"]["card_id"] == card
    assert plastic.read(asking, 2)["reason"] == "card-suspended"
    assert list(plastic.listed(asking).values()) == ["loss-temporary"]
    scan = asking.terminal.scan(asking.app.code(card))
    assert scan["patient_ids"] == {"outpatient": "P-9", "inpatient": "I-1"}
    with asking.session() as session:
        gone = session.execute(text("SELECT ended_for, replaced_by FROM patient_id WHERE ended_at IS NOT NULL")).all()
        assert [(one[0], str(one[1])) for one in gone] == [("joined", counts)]


def test_accounts_end_once_each(asking: Service, outside: Controls) -> None:
    other = str(asking.app.register(**PASSPORT, birth_date="1990-03-07")["card_id"])
    for serial in (1, 2):
        answer = asking.app.post(path(other), factors(account_number(serial), **PASSPORT))
        code = outside.bank_code(account_number(serial)[-4:])
        account_id = told(answer)["account_id"]
        assert asking.app.post(path(other, account_id, "confirm"), {"code": code}).status_code == 200
        asking.clock.advance(1)
    assert told(delete(asking.app, other, account_id))["state"] == "ending"
    join(asking, str(asking.app.register(1)["card_id"]))
    assert [(row["state"], row["ended_for"]) for row in rows(asking)] == [("ending", "joined"), ("ending", "holder")]
    run_jobs(asking)
    with asking.session() as session:
        told_of = text(
            "SELECT binding_id::text, count(*) FROM binding_event WHERE kind = 'bank-account' AND action = 'ended' GROUP BY 1"
        )
        assert sorted(one[1] for one in session.execute(told_of)) == [1, 1]
    assert list(outside.bank_bindings().values()) == ["ended", "ended"]
