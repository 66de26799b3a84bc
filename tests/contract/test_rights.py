"""Who may ask for a person's rights, through which app, and that nothing of it gets into logs, addresses or the audit log."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import problem, row_counts, without_request_id
from tests.contract.rights import agree, close, withdraw
from tests.support.service import Api, Service, citizen_number, person
from tests.support.service import told as answered

Body = dict[str, Any] | None
NOBODYS = "0190163d-8694-739b-aea5-966c26f8ad91"
CALLS: list[tuple[str, str, Body]] = [
    ("POST", "/consents", {"purpose": "account", "text_version": "v1"}),
    ("GET", "/consents", None),
    ("POST", f"/consents/{NOBODYS}/withdraw", None),
    ("POST", "/export", {}),
    ("GET", "/access-log", None),
    ("POST", "/corrections", {"field": "address", "wanted": "解放路2号"}),
    ("GET", "/corrections", None),
    ("POST", "/close", {"reason": "r"}),
]
each_call = pytest.mark.parametrize(("method", "path", "body"), CALLS, ids=[f"{c[0]} {c[1]}" for c in CALLS])


def call(api: Api, card_id: str, method: str, path: str, body: Body) -> Any:
    address = f"/v1/cards/{card_id}{path}"
    return api.get(address) if method == "GET" else api.post(address, body)


@each_call
def test_a_foreign_card_is_answered_like_a_missing_one(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    counts = row_counts(shared)
    foreign = call(shared.other_app, card_id, method, path, body)
    missing = call(shared.other_app, str(uuid4()), method, path, body)
    assert problem(foreign) == (404, "card-not-found")
    assert without_request_id(foreign) == without_request_id(missing)
    assert row_counts(shared) == counts


@each_call
def test_an_app_whose_access_is_over_is_answered_so_too(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body
) -> None:
    cancelled = shared.app.register(**newcomer)["card_id"]
    assert shared.app.post(f"/v1/cards/{cancelled}/cancel", {"reason": "r"}).status_code == 200
    assert problem(call(shared.app, cancelled, method, path, body)) == (404, "card-not-found")


@each_call
def test_a_terminal_may_not(shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    assert problem(call(shared.terminal, card_id, method, path, body)) == (403, "insufficient-scope")


@each_call
def test_nobody_may_without_a_token(shared: Service, method: str, path: str, body: Body) -> None:
    answer = shared.client().open(f"/v1/cards/{uuid4()}{path}", method=method, json=body)
    assert problem(answer) == (401, "token-missing")


@each_call
def test_the_app_that_registered_the_person_may(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, body: Body
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    answer = call(shared.app, card_id, method, path, body)
    if "withdraw" in path:
        assert problem(answer) == (404, "consent-not-found")
    else:
        assert answer.status_code in {200, 201}, answer.text


NAME, PHONE, ADDRESS, REASON = "欧阳独特", "13987654321", "独特路987号", "独特的原因"
NUMBER = citizen_number(42, born="19770831")
MARKERS = (NAME, PHONE, ADDRESS, NUMBER, "独特", "独到")


def test_using_all_rights_leaves_no_personal_data_in_logs_or_the_audit(
    written: Callable[[], str], start: ServiceMaker
) -> None:
    service = start(log_level="DEBUG")
    app = service.app
    known = person(1, name=NAME, id_number=NUMBER, phone=PHONE, address=ADDRESS)
    card_id = answered(app.post("/v1/cards", known))["card_id"]
    made = agree(app, card_id, "institution-sharing")
    answers = [
        withdraw(app, card_id, made["consent_id"]),
        app.post(f"/v1/cards/{card_id}/corrections", {"field": "name", "wanted": "欧阳独到", "reason": REASON}),
        app.post(f"/v1/cards/{card_id}/corrections", {"field": "phone", "wanted": f"{PHONE}9", "reason": REASON}),
        app.get(f"/v1/cards/{card_id}/corrections"),
        app.get(f"/v1/cards/{card_id}/access-log"),
        app.post(f"/v1/cards/{card_id}/close", {"reason": REASON, "phone_proof": NAME}),
        close(app, card_id, reason=REASON),
    ]
    assert [answer.status_code for answer in answers] == [200, 201, 422, 200, 200, 422, 200]
    with service.session() as session:
        acts = "".join(session.scalars(text("SELECT entry FROM audit")))
    told = [written(), acts, service.client().get("/metrics").text, *(a.text + str(a.headers) for a in answers)]
    assert [marker for marker in MARKERS for part in told if marker in part] == []


def test_an_export_is_in_clear_and_nowhere_but_in_its_answer(written: Callable[[], str], start: ServiceMaker) -> None:
    service = start(log_level="DEBUG")
    known = person(1, name=NAME, id_number=NUMBER, phone=PHONE, address=ADDRESS)
    card_id = answered(service.app.post("/v1/cards", known))["card_id"]
    answer = service.app.post(f"/v1/cards/{card_id}/export", {}, Idempotency_Key="k-1")
    assert answer.headers["Cache-Control"] == "no-store"
    for marker in MARKERS[:4]:
        assert marker in answer.text
    with service.session() as session:
        kept = session.scalars(text("SELECT count(*) FROM idempotency")).one()
        acts = "".join(session.scalars(text("SELECT entry FROM audit")))
    assert kept == 0
    assert [marker for marker in MARKERS if marker in written() + acts] == []
