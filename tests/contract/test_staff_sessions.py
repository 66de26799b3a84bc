"""Sessions of the staff: whose they are, when they end, and that no other token is one."""

from uuid import UUID

import pytest
from sqlalchemy import select

from ehc.access import staff_sessions
from ehc.access.models import InstitutionRow
from ehc.access.staff_models import StaffRow, StaffSessionRow
from ehc.callers import Branch, NotAuthentic, Role
from ehc.db import unit_of_work
from tests.contract.helpers import problem
from tests.contract.test_staff_log_in import acts
from tests.support.service import Service, told
from tests.support.staff import person as staff_person
from tests.support.terminals import institution_id

CURRENT = "/v1/admin/sessions/current"


def test_a_session_says_who_is_logged_in_and_what_they_may_do(service: Service) -> None:
    who = service.staff(Role.REGION_OPERATOR, branch=Branch(region="370000"))
    answer = told(who.get(CURRENT))
    assert answer["staff_id"] == str(who.id)
    assert answer["roles"] == ["region-operator"]
    assert answer["branch"] == {"region": "370000", "institution_id": None}
    assert answer["fresh"] is True
    assert "audit.read" not in answer["rights"]


@pytest.mark.parametrize(("minutes", "status"), [(14.9, 200), (15, 401)])
def test_a_session_that_nobody_uses_ends_after_a_quarter_of_an_hour(
    service: Service, minutes: float, status: int
) -> None:
    who = service.staff(Role.AUDIT_ADMIN)
    service.clock.advance(minutes * 60)
    assert who.get(CURRENT).status_code == status


def test_a_session_in_use_goes_on_for_twelve_hours_and_no_longer(service: Service) -> None:
    who = service.staff(Role.AUDIT_ADMIN)
    for _ in range(71):
        service.clock.advance(600)
        assert who.get(CURRENT).status_code == 200
    service.clock.advance(600)
    assert who.get(CURRENT).status_code == 401


def test_a_proof_is_fresh_for_five_minutes(service: Service) -> None:
    who = service.staff(Role.SECURITY_ADMIN)
    service.clock.advance(299)
    assert told(who.get(CURRENT))["fresh"] is True
    service.clock.advance(1)
    assert told(who.get(CURRENT))["fresh"] is False


def test_a_token_stops_with_the_log_out(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    assert who.call("DELETE", CURRENT).status_code == 204
    assert who.get(CURRENT).status_code == 401


def test_a_token_stops_when_its_person_is_disabled(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    with service.session() as session:
        session.get_one(StaffRow, who.id).disabled_at = service.clock.now()
    assert who.get(CURRENT).status_code == 401


def test_the_tokens_of_clients_and_staff_are_not_each_others(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    assert service.app.get(CURRENT).status_code == 401
    assert service.client().get(CURRENT).status_code == 401
    card = "/v1/cards/019a0000-0000-7000-8000-000000000000"
    assert who.get(card).status_code == 401


def test_only_a_hash_of_the_token_is_kept(service: Service) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    with service.session() as session:
        (kept,) = session.scalars(select(StaffSessionRow.token_hash))
    assert who.token.encode() not in kept
    assert len(kept) == 32


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_the_staff_of_an_institution_that_is_not_live_are_let_in_no_more(service: Service, state: str) -> None:
    there = UUID(institution_id(service))
    clerk = staff_person(service, Role.CLERK, branch=Branch(institution_id=there))
    who = clerk.enter()
    set_state(service, there, state)
    assert who.get(CURRENT).status_code == 401
    service.clock.advance(60)
    assert problem(clerk.try_with()) == (401, "log-in-refused")
    assert acts(service, "staff.log-in-refused")[-1]["facts"]["why"] == "institution"
    if state == "suspended":
        set_state(service, there, "live")
        assert who.get(CURRENT).status_code == 200
        clerk.enter()


@pytest.mark.parametrize("demo", [True, False])
def test_a_session_of_the_demo_counts_nowhere_else(service: Service, demo: bool) -> None:
    who = service.staff(Role.SYSTEM_ADMIN)
    with service.session() as session:
        session.get_one(StaffRow, who.id).demo = True
    known = staff_sessions.authenticator(unit_of_work(service.engine), service.clock, demo=demo)
    if demo:
        assert known(who.token).id == who.id
    else:
        with pytest.raises(NotAuthentic):
            known(who.token)


def set_state(service: Service, institution: UUID, state: str) -> None:
    with service.session() as session:
        session.get_one(InstitutionRow, institution).state = state
