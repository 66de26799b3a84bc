"""`GET /v1/cards/{card_id}/access-log`: who looked at a person's data, checks and audited acts in one list."""

from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from ehc import audit
from ehc.access import clients
from ehc.callers import Scope
from ehc.cards.states import LIVE, CardStatus
from ehc.core.ids import uuid7
from ehc.db import unit_of_work
from ehc.issuer import acts
from ehc.issuer.batch import export
from ehc.place import Place
from ehc.verify.models import VerificationRow
from ehc.web.answers import instant
from ehc.worker import drain
from tests.contract.helpers import secrets_of, serial_of
from tests.contract.rights import listed
from tests.contract.test_history import CURSORS, b64
from tests.support.imports import Imports, csv_bytes, row, written
from tests.support.service import Api, Service
from tests.support.service import told as answered

BULK = "cards.export-begun"


@pytest.fixture
def card_id(shared: Service, newcomer: dict[str, Any]) -> str:
    return str(shared.app.register(**newcomer)["card_id"])


def log(service: Service, card_id: str, **query: Any) -> dict[str, Any]:
    return listed(service.app, f"/v1/cards/{card_id}/access-log", **query)


def pages(service: Service, card_id: str, limit: int) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": limit}
    while True:
        page = log(service, card_id, **query)
        seen += page["items"]
        if page["next"] is None:
            return seen
        assert len(page["items"]) == limit
        query["cursor"] = page["next"]


def busy(service: Service, card_id: str, *, apart: float, times: int = 6) -> None:
    """Checks and acts by turns, so many seconds apart; their departments and finders are numbered from the newest."""
    serial, now = serial_of(service, card_id), service.clock.now()
    with service.session() as session:
        for number in range(times):
            at = now - timedelta(seconds=apart * number)
            row = {"card_serial": serial, "verified_at": at, "id": uuid7(at), "client_id": uuid4()}
            session.add(VerificationRow(step="other", disclosed=[f"check {number}"], **row))
            facts = {"changed": [f"act {number}"]}
            audit.record(session, "card.changed", actor="staff:S-7", subject=card_id, at=at, facts=facts)


def test_a_list_tells_who_did_what_and_when(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.other_app.register()
    service.clock.advance(1)
    service.terminal.scan(service.app.code(card_id), "medicine")
    service.clock.advance(1)
    service.other_app.get(f"/v1/cards/{card_id}")
    now, second = service.clock.now(), timedelta(seconds=1)
    items = log(service, card_id)["items"]
    assert items[0] == {
        "kind": "card.read",
        "at": instant(now),
        "who": {"type": "app", "name": "另一小程序"},
        "fields": [],
        "step": None,
        "outcome": None,
    }
    assert items[1] == {
        "kind": "check",
        "at": instant(now - second),
        "who": {"type": "institution", "name": "第一医院"},
        "fields": ["name:masked", "sex", "age"],
        "step": "medicine",
        "outcome": "accepted",
    }
    assert {item["kind"] for item in items[2:]} == {"card.granted", "card.registered"}
    assert {item["who"]["name"] for item in items[2:]} == {"小程序", "另一小程序"}


def test_staff_and_programs_of_ours_are_told_by_their_part(shared: Service, card_id: str) -> None:
    with shared.session() as session:
        for actor in ("staff:S-7", "reviewer:S-7", "identity-authority", "system"):
            audit.record(session, "card.changed", actor=actor, subject=card_id, at=shared.clock.now())
    answer = shared.app.get(f"/v1/cards/{card_id}/access-log")
    told = [item["who"] for item in answered(answer)["items"] if item["kind"] == "card.changed"]
    assert sorted(who["type"] for who in told) == ["authority", "staff", "staff", "system"]
    assert {who["name"] for who in told} == {None}
    assert "S-7" not in answer.text


def test_reading_the_list_is_audited_and_not_in_it(shared: Service, card_id: str) -> None:
    first = log(shared, card_id)
    assert log(shared, card_id) == first
    with shared.session() as session:
        query = text("SELECT count(*) FROM audit WHERE subject = :card AND action = 'card.access-log-read'")
        assert session.scalar(query, {"card": card_id}) == 2


def test_a_change_names_the_fields_and_not_their_values(shared: Service, card_id: str) -> None:
    etag = shared.app.get(f"/v1/cards/{card_id}").headers["ETag"]
    headers = shared.app.headers | {"If-Match": etag}
    shared.app.http.patch(f"/v1/cards/{card_id}", json={"address": "独特路1号"}, headers=headers)
    answer = shared.app.get(f"/v1/cards/{card_id}/access-log")
    (change,) = [item for item in answered(answer)["items"] if item["kind"] == "card.changed"]
    assert change["fields"] == ["address"]
    assert "独特" not in answer.text


@pytest.mark.parametrize("apart", [1.0, 0.0, 86400.0], ids=["seconds", "one moment", "days"])
@pytest.mark.parametrize("limit", [1, 2, 5, 12, 13])
def test_pages_hold_everything_once_and_in_order(shared: Service, card_id: str, apart: float, limit: int) -> None:
    busy(shared, card_id, apart=apart)
    seen = pages(shared, card_id, limit)
    names = [name for item in seen for name in item["fields"]]
    expected = [f"{kind} {number}" for number in range(6) for kind in ("check", "act")]
    assert sorted(names) == sorted(expected)
    assert len(seen) == 13  # and the registration
    assert all(newer["at"] >= older["at"] for newer, older in pairwise(seen))
    if apart:
        assert [name for name in names if name[:5] == "check"] == expected[::2]


def test_a_page_begun_is_not_moved_by_what_comes(shared: Service, card_id: str) -> None:
    busy(shared, card_id, apart=1)
    whole = pages(shared, card_id, 100)
    page = log(shared, card_id, limit=4)
    shared.terminal.scan(shared.app.code(card_id))
    shared.app.get(f"/v1/cards/{card_id}")
    # What came at the very moment of the newest rows comes before them, or is left for the next reading from the start.
    assert page["items"] == whole[:4]
    rest = log(shared, card_id, limit=100, cursor=page["next"])["items"]
    assert rest == whole[4:]


def test_the_list_of_a_joined_card_goes_on_in_the_other(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
    other = service.app.register(**passport)["card_id"]
    service.clock.advance(1)
    service.app.get(f"/v1/cards/{other}")
    service.terminal.scan(service.app.code(other), "surgery")
    body = passport | {"name": "王小明", "verification": {"method": "document-seen"}}
    assert service.app.post(f"/v1/cards/{card_id}/documents", body).status_code == 200
    seen = pages(service, card_id, 2)
    kinds = [item["kind"] for item in seen]
    assert kinds.count("card.registered") == 2
    assert {"card.read", "card.joined"} <= set(kinds)
    assert "surgery" in {item["step"] for item in seen}


def test_acts_on_another_card_are_not_in_the_list(shared: Service, card_id: str, newcomer: dict[str, Any]) -> None:
    other = shared.app.register(id_type="99", id_number=newcomer["id_number"])["card_id"]
    busy(shared, other, apart=1)
    assert [item["kind"] for item in log(shared, card_id)["items"]] == ["card.registered"]


@pytest.mark.parametrize("cursor", CURSORS.values(), ids=CURSORS.keys())
def test_what_is_not_a_cursor_is_refused(shared: Service, card_id: str, cursor: str) -> None:
    path = f"/v1/cards/{card_id}/access-log"
    answer = shared.app.http.get(path, query_string={"cursor": cursor}, headers=shared.app.headers)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "row", [UUID(int=0), UUID(int=2**64 - 1), UUID(int=63 << 64 | 2**64 - 1), UUID(int=64 << 64), UUID(int=2**128 - 1)]
)
@pytest.mark.parametrize("when", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"])
def test_a_cursor_of_another_making_is_answered(shared: Service, card_id: str, row: UUID, when: str) -> None:
    """Whoever makes one up must not reach the bounds of the database's own numbers."""
    items = log(shared, card_id, cursor=b64(f"{when}|{row}"))["items"]
    assert len(items) == (0 if when.startswith("0001") else 1)


def test_the_rows_are_found_by_the_card_and_not_by_walking_through_everybodys(service: Service) -> None:
    """The plan that was chosen, with many acts on others in the log: never the index over time."""
    card_id = service.app.register()["card_id"]
    with service.session() as session:
        session.execute(
            text("""
                INSERT INTO audit (chain, seq, at, action, subject, entry, hash)
                SELECT 1, 1000000 + n, now() - n * interval '1 s', 'card.read', gen_random_uuid()::text, '{}', '\\x'
                FROM generate_series(1, 20000) AS n
            """)
        )
        session.execute(text("ANALYZE audit"))
    with service.session() as session:
        values = {"subjects": [card_id], "log_read": acts.LOG_READ, "at": None, "chain": 0, "seq": 0, "limit": 21}
        values |= {"serials": [1], "all_cards": export.SUBJECT, "export": export.BEGUN, "formal": "formal"}
        plan = "\n".join(session.scalars(text(f"EXPLAIN {acts._ACTS.text}"), values))
    assert plan.count("ix_audit_subject") == 2
    assert "ix_audit_at" not in plan


def export_all(service: Service, folder: Path, *statuses: CardStatus) -> None:
    """`ehc cards export` at the moment of the test's clock."""
    work, out = unit_of_work(service.engine), folder / f"{uuid4()}.csv"
    export.export_people(work, out, statuses or LIVE, sealer=secrets_of(service).sealer, clock=service.clock)


def exports(service: Service, card_id: str) -> int:
    items = log(service, card_id)["items"]
    told = [item for item in items if item["kind"].startswith("cards.")]
    assert {(item["kind"], item["who"]["type"], item["who"]["name"]) for item in told} <= {(BULK, "staff", None)}
    held = answered(service.app.post(f"/v1/cards/{card_id}/export", {}))["acts"]
    assert [act for act in held if act["kind"] == BULK] == told
    return len(told)


def test_an_export_of_all_cards_is_in_the_list_of_everybody_whom_it_held(service: Service, tmp_path: Path) -> None:
    first, second = (service.app.register(serial)["card_id"] for serial in (1, 2))
    for _ in range(2):
        service.clock.advance(3600)
        service.app.__post_init__()  # a new token
        export_all(service, tmp_path)
    service.clock.advance(3600)
    service.app.__post_init__()
    third = service.app.register(3)["card_id"]
    assert [exports(service, card_id) for card_id in (first, second, third)] == [2, 2, 0]


def test_an_export_that_was_broken_off_is_in_the_list(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card_id = service.app.register()["card_id"]
    monkeypatch.setattr(export, "_write", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export_all(service, tmp_path)
    assert exports(service, card_id) == 1


def test_an_export_of_cards_in_another_state_is_not_in_the_list(service: Service, tmp_path: Path) -> None:
    """Which counts is the state that the card had when the export read, give or take a minute."""
    card_id = service.app.register()["card_id"]
    for how, exported in (("suspend", True), ("resume", True), ("suspend", False)):
        service.clock.advance(80)
        assert service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "私事"}).status_code == 200
        if exported:
            service.clock.advance(80)
            export_all(service, tmp_path, CardStatus.SUSPENDED)
    service.clock.advance(30)
    assert exports(service, card_id) == 1
    export_all(service, tmp_path, CardStatus.ACTIVE)  # suspended half a minute ago, perhaps by another clock
    assert exports(service, card_id) == 2
    export_all(service, tmp_path, CardStatus.CANCELLED)
    assert exports(service, card_id) == 2


def test_an_export_that_held_a_card_joined_since_is_in_the_list(service: Service, tmp_path: Path) -> None:
    card_id = service.app.register()["card_id"]
    passport: dict[str, Any] = {"id_type": "03", "id_number": "E12345678"}
    service.app.register(**passport)
    export_all(service, tmp_path)
    proof = {"verification": {"method": "document-seen"}, "name": "王小明"}
    assert service.app.post(f"/v1/cards/{card_id}/documents", passport | proof).status_code == 200
    assert exports(service, card_id) == 1


def test_pages_hold_exports_and_imports_in_order(service: Service, tmp_path: Path, database_url: str) -> None:
    Imports(database_url).take(written(tmp_path, [row(1), row(2)]))
    service.clock.advance(5)
    card_id = service.app.register(1)["card_id"]
    for _ in range(3):
        service.clock.advance(1)
        export_all(service, tmp_path)
        service.app.get(f"/v1/cards/{card_id}")
    whole = pages(service, card_id, 100)
    assert [item["kind"] for item in whole[-2:]] == ["card.granted", "card.imported"]
    assert [item["kind"] for item in whole].count(BULK) == 3
    for limit in (1, 2, 3):
        assert pages(service, card_id, limit) == whole


def test_the_list_of_an_imported_card_tells_who_imported_it(
    service: Service, tmp_path: Path, database_url: str
) -> None:
    known = service.other_app.register(1)["card_id"]
    imports = Imports(database_url)
    client = service.app.credentials.client_id
    imports.take(written(tmp_path, [row(1), row(2)]), "--client", client)
    imports.take(written(tmp_path, [row(1), row(2), row(3)], "again.csv"), "--client", client)
    (made,) = imports.rows("SELECT id FROM card WHERE serial = (SELECT max(serial) - 1 FROM card)")
    staff = {"type": "staff", "name": None}
    for card_id, kinds in ((str(made.id), ["card.imported"]), (known, ["card.granted", "card.registered"])):
        items = sorted(log(service, card_id)["items"], key=lambda item: str(item["kind"]))
        assert [item["kind"] for item in items] == kinds
        assert items[0]["who"] == staff
        told = answered(service.app.post(f"/v1/cards/{card_id}/export", {}))
        assert kinds[0] in {act["kind"] for act in told["acts"]}
        assert {act["app"] for act in told["apps"]} >= {"小程序"}


def test_who_imported_over_the_api_is_told_by_name(service: Service) -> None:
    with service.session() as session:
        scopes = frozenset({Scope.CARDS, Scope.BATCH})
        made = clients.add_app(session, name="批量导入方", scopes=scopes, now=service.clock.now())
    sender = Api(service.client(), made)
    headers = sender.headers | {"Content-Type": "text/csv"}
    answer = sender.http.post("/v1/imports", data=csv_bytes([row(1)]), headers=headers)
    assert answer.status_code == 202, answer.text
    place = Place(service.settings, clock=service.clock)
    try:
        drain(place)
    finally:
        place.close()
    card_id = service.app.register(1)["card_id"]
    (told,) = [item for item in log(service, card_id)["items"] if item["kind"] == "card.imported"]
    assert told["who"] == {"type": "app", "name": "批量导入方"}
