"""An import over the API where an identity authority is configured: its answer decides, as for `POST /v1/cards`."""

from typing import Any

from sqlalchemy import text

from ehc.access import clients
from ehc.callers import Scope
from ehc.dev.simulators.controls import Controls
from ehc.issuer import tasks as issuer_tasks
from ehc.issuer.batch import tasks
from ehc.place import Place
from ehc.worker import drain
from tests.integration.outside import asking, outside, place, simulators
from tests.support.imports import csv_bytes, row
from tests.support.service import Api, Service, citizen_number, told

__all__ = ["asking", "outside", "place", "simulators"]


def sender_of(service: Service) -> Api:
    with service.session() as session:
        scopes = frozenset({Scope.BATCH, Scope.CARDS})
        made = clients.add_app(session, name="卫生统计平台", scopes=scopes, now=service.clock.now())
    return Api(service.client(), made)


def cards(service: Service) -> list[tuple[Any, ...]]:
    with service.session() as session:
        found = session.execute(text("SELECT level, status FROM card ORDER BY serial"))
        return [tuple(row) for row in found]


def test_an_apps_people_wait_until_the_authority_has_answered(asking: Service, outside: Controls, place: Place) -> None:
    names = {1: "王小明", 2: "李四"}
    for serial, name in names.items():
        outside.add_person(name=name, id_type="01", id_number=citizen_number(serial))
    sender = sender_of(asking)
    data = csv_bytes([row(1, level="document-seen"), row(2, level="clerk")])
    answer = sender.http.post("/v1/imports", data=data, headers=sender.headers, content_type="text/csv")
    tasks.run_import(place, told(answer)["import_id"])
    assert sorted(cards(asking)) == [("clerk", "pending-review"), ("document-seen", "pending-review")]
    issuer_tasks.sweep_proofs(place)
    drain(place)
    assert sorted(cards(asking)) == [("clerk", "pending-review"), ("document-seen", "pending-review")]
    with asking.session() as session:  # the simulator's clock does not jump
        session.execute(text("UPDATE identity_proof SET asked_at = asked_at - interval '5 minutes'"))
    issuer_tasks.sweep_proofs(place)
    drain(place)
    assert sorted(cards(asking)) == [("clerk", "pending-review"), ("external-match", "active")]
    with asking.session() as session:
        found = session.execute(text("SELECT finding, tries FROM identity_proof ORDER BY finding")).all()
    assert [tuple(each) for each in found] == [("match", 1), ("mismatch", 1)]
