"""What the tests of a person's rights share: consents, proofs of phones, pages, and a family of two."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from werkzeug.test import TestResponse

from ehc.access.models import ClientRow
from ehc.callers import Caller, ClientKind, Scope
from ehc.db import unit_of_work
from ehc.issuer import phone_proofs
from tests.contract.helpers import secrets_of
from tests.support.service import Api, Service
from tests.support.service import told as answered

PHONE = "13800138000"


class Gateway:
    """Keeps the messages that it would send."""

    def __init__(self) -> None:
        self.codes: list[str] = []

    def send(self, phone: str, template: str, values: Mapping[str, str], message_id: UUID) -> None:
        """Keep one."""
        self.codes.append(values["code"])


def caller_of(service: Service, api: Api) -> Caller:
    """A client as the rooms see it."""
    with service.session() as session:
        row = session.query(ClientRow).filter_by(client_id=api.credentials.client_id).one()
        return Caller(row.id, ClientKind.APP, frozenset({Scope.CARDS}))


def proved(service: Service, api: Api, phone: str = PHONE) -> str:
    """A proof that this app's user holds a phone. One number is sent one code a minute."""
    gateway, work = Gateway(), unit_of_work(service.engine)
    facts: dict[str, Any] = {"caller": caller_of(service, api), "secrets": secrets_of(service)}
    sent = phone_proofs.send(phone, work=work, gateway=gateway, now=service.clock.now(), **facts)
    answer = api.post(f"/v1/phone-proofs/{sent.id}/confirm", {"code": gateway.codes[0]})
    assert answer.status_code == 200, answer.text
    return str(sent.id)


def agree(api: Api, card_id: str, purpose: str, version: str = "v1", **more: Any) -> dict[str, Any]:
    """A consent, recorded."""
    answer = api.post(f"/v1/cards/{card_id}/consents", {"purpose": purpose, "text_version": version, **more})
    assert answer.status_code in {200, 201}, answer.text
    return answered(answer)


def withdraw(api: Api, card_id: str, consent_id: str, **headers: str) -> TestResponse:
    """A consent, taken back."""
    return api.post(f"/v1/cards/{card_id}/consents/{consent_id}/withdraw", **headers)


def listed(api: Api, path: str, **query: Any) -> dict[str, Any]:
    """A page of a list."""
    answer = api.http.get(path, query_string=query, headers=api.headers)
    assert answer.status_code == 200, answer.text
    return answered(answer)


def close(api: Api, card_id: str, **more: Any) -> TestResponse:
    """An account, closed."""
    return api.post(f"/v1/cards/{card_id}/close", {"reason": "不再使用", **more})
