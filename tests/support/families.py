"""Families as tests use them: guardians, children, proofs of relation, and phones proved without a gateway."""

from datetime import date, timedelta
from typing import Any

from sqlalchemy import select
from werkzeug.test import TestResponse

from ehc.access.models import ClientRow
from ehc.clock import local_day
from ehc.core.ids import uuid7
from ehc.issuer.models import PhoneProofRow
from ehc.keystore import secret_keys
from tests.support.service import Api, Service, citizen_number, told

CHILD_BORN = "20200601"
PROOF = {"method": "document-seen", "reference": "户口簿"}


def member(serial: int = 1, *, born: str = CHILD_BORN, **changes: Any) -> dict[str, Any]:
    """A member with a citizen id; each `serial` and birth date is another person."""
    return {
        "name": "王小宝",
        "id_type": "01",
        "id_number": citizen_number(serial, born=born),
        "verification": {"method": "document-seen"},
    } | changes


def wanted(serial: int = 1, *, relation: str = "2", born: str = CHILD_BORN, **changes: Any) -> dict[str, Any]:
    """A request to act for a member."""
    return {"relation": relation, "verification": PROOF, "member": member(serial, born=born)} | changes


def newborn(service: Service, **changes: Any) -> dict[str, Any]:
    """A request to act for a newborn of 王小明, `person(1)`, born ten days ago."""
    child = {
        "name": "王小明之女",
        "sex": "female",
        "birth_date": day(service, -10),
        "mother": {"name": "王小明", "id_type": "01", "id_number": citizen_number(1)},
        "birth_order": 1,
        "births": 1,
    } | changes
    return {"relation": "3", "verification": PROOF, "newborn": child}


def day(service: Service, days: int) -> str:
    """A calendar day so many days from today in China."""
    return (today(service) + timedelta(days=days)).isoformat()


def today(service: Service) -> date:
    """Today in China, by the service's clock."""
    return local_day(service.clock.now())


def add(api: Api, guardian: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
    """The answer to a member who is added."""
    answer = post(api, guardian, body)
    assert answer.status_code == status, answer.text
    return told(answer)


def post(api: Api, guardian: str, body: dict[str, Any], **headers: str) -> TestResponse:
    """Ask to act for a member."""
    return api.post(f"/v1/cards/{guardian}/family", body, **headers)


def end(api: Api, card_id: str, link_id: str) -> TestResponse:
    """Ask to end a link."""
    return api.post(f"/v1/cards/{card_id}/family/{link_id}/end", {"reason": "分开生活"})


def family(api: Api, card_id: str) -> dict[str, Any]:
    """A family as an app reads it."""
    answer = api.get(f"/v1/cards/{card_id}/family")
    assert answer.status_code == 200, answer.text
    return told(answer)


def seen(api: Api, card_id: str) -> tuple[int, int]:
    """What an app is answered that reads a card, and that asks for a code of it."""
    return api.get(f"/v1/cards/{card_id}").status_code, api.post(f"/v1/cards/{card_id}/codes", {}).status_code


def anew(service: Service, api: Api) -> Api:
    """The same client with a new token: the old one may be over."""
    return Api(service.flask.test_client(), api.credentials)


def proved_phone(service: Service, api: Api, phone: str = "13800138000") -> str:
    """A phone that its holder proved a minute ago to this client."""
    now = service.clock.now()
    proof_id = uuid7(now)
    with service.session() as session:
        client_id = session.scalars(select(ClientRow.id).where(ClientRow.client_id == api.credentials.client_id)).one()
        secrets = secret_keys.load(session, service.settings.key_encrypting_key())
        session.add(
            PhoneProofRow(
                id=proof_id,
                client_id=client_id,
                phone=b"",
                phone_index=secrets.blind_index.of("phone", phone),
                code_hash=b"",
                tries=1,
                sent_at=now - timedelta(minutes=1),
                expires_at=now + timedelta(minutes=4),
                proved_at=now - timedelta(minutes=1),
            )
        )
    return str(proof_id)
