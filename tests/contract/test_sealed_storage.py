"""What rests in the database: no name, number, phone, address or reason in clear, and no sealed value out of its place."""

from datetime import date

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc.cards.models import CardRow
from ehc.crypto.sealed import SealBroken
from ehc.issuer.accounts import account_of
from tests.contract.helpers import problem, secrets_of, tables
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered

NAME, PHONE, ADDRESS, REASON, OPERATOR = "欧阳独特", "13987654321", "独特路987号", "独特的原因", "操作员独特"
NUMBER = citizen_number(42, born="19770831")
SECRETS = (NAME, PHONE, ADDRESS, REASON, OPERATOR, NUMBER, "独特", "PROOF-765")


def everything(session: Session) -> str:
    """Every row of every table, as PostgreSQL writes it: bytes in hexadecimal."""
    rows = (session.scalars(text(f"SELECT t::text FROM {name} AS t")).all() for name in tables(session))
    return "\n".join(row for some in rows for row in some).lower()


def live(service: Service) -> dict[str, str]:
    """A life with every kind of row in it."""
    proof = {"method": "clerk", "reference": "PROOF-765"}
    known = person(1, name=NAME, id_number=NUMBER, phone=PHONE, address=ADDRESS, verification=proof)
    card = answered(service.app.post("/v1/cards", known, Idempotency_Key="k-1"))
    code = service.app.code(card["card_id"])
    scan = {"code": code, "step": "payment", "operator": OPERATOR}
    assert answered(service.terminal.post("/v1/verifications", scan, Idempotency_Key="k-2"))["outcome"] == "accepted"
    assert service.second_terminal.scan(**scan)["reason"] == "already-used"
    moved = service.app.post(f"/v1/cards/{card['card_id']}/suspend", {"reason": REASON}, Idempotency_Key="k-3")
    assert moved.status_code == 200
    return {"code": code, **{name: card[name] for name in ("card_id", "ehc_id", "index_id")}}


def test_no_row_holds_personal_data_in_clear(service: Service) -> None:
    made = live(service)
    with service.session() as session:
        dump = everything(session)
    for secret in (*SECRETS, made["ehc_id"], made["index_id"], made["code"]):
        for form in (secret, secret.encode().hex(), secret.encode("utf-16-le").hex()):
            assert form.lower() not in dump
    assert made["card_id"] in dump  # the look does find what is there


def test_equal_values_of_two_people_do_not_look_alike(service: Service) -> None:
    service.app.register(1)
    service.app.register(2)
    with service.session() as session:
        names, phones = zip(*session.execute(text("SELECT name, phone FROM resident")), strict=True)
    assert len({*names, *phones}) == 4


@pytest.mark.parametrize("column", ["name", "phone", "address"])
def test_a_sealed_value_in_another_row_does_not_open(service: Service, column: str) -> None:
    cards = [service.app.register(serial, address="解放路1号")["card_id"] for serial in (1, 2)]
    with service.session() as session:
        session.execute(
            text(f"UPDATE resident SET {column} = (SELECT {column} FROM resident ORDER BY id DESC LIMIT 1)")
        )
    answers = [service.app.get(f"/v1/cards/{card_id}") for card_id in cards]
    broken = max(answers, key=lambda answer: answer.status_code)
    assert sorted(answer.status_code for answer in answers) == [200, 500]
    assert problem(broken) == (500, "internal")


@pytest.mark.parametrize(("column", "other"), [("name", "phone"), ("phone", "address")])
def test_a_sealed_value_in_another_column_does_not_open(service: Service, column: str, other: str) -> None:
    card_id = service.app.register(address="解放路1号")["card_id"]
    with service.session() as session:
        session.execute(text(f"UPDATE resident SET {column} = {other}"))
    assert service.app.get(f"/v1/cards/{card_id}").status_code == 500


@pytest.mark.parametrize("column", ["ehc_id", "index_id"])
def test_a_sealed_id_of_another_card_does_not_open(service: Service, column: str) -> None:
    service.app.register(1)
    service.app.register(2)
    with service.session() as session:
        first, second = session.query(CardRow).order_by(CardRow.serial).all()
        setattr(first, column, getattr(second, column))
        session.flush()
        assert account_of(session, second, secrets=secrets_of(service)).person.birth_date == date(1990, 3, 7)
        with pytest.raises(SealBroken):
            account_of(session, first, secrets=secrets_of(service))


def test_an_altered_value_does_not_open(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    with service.session() as session:
        session.execute(text("UPDATE identity_document SET number = set_byte(number, 20, get_byte(number, 20) # 1)"))
    assert service.app.get(f"/v1/cards/{card_id}").status_code == 500


def test_an_operator_rests_sealed_in_the_place_of_the_check(service: Service) -> None:
    code = service.app.code(service.app.register()["card_id"])
    scan_id = service.terminal.scan(code, operator=OPERATOR)["verification_id"]
    with service.session() as session:
        sealed = session.scalar(text("SELECT operator FROM verification"))
    assert secrets_of(service).sealer.unseal(sealed, f"verification.operator:{scan_id}") == OPERATOR


def test_a_secret_of_a_client_is_kept_as_a_hash(service: Service) -> None:
    with service.session() as session:
        dump = everything(session)
    for api in (service.app, service.terminal):
        assert api.credentials.client_id in dump
        secret = api.credentials.client_secret
        assert secret.lower() not in dump
        assert secret.encode().hex() not in dump
