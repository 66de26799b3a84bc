"""What a call through a gateway passes: the same networks, limits, scopes and worlds as over `/v1`."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from uuid import UUID, uuid4

import pytest
from flask import Flask, g

from ehc.callers import Caller, ClientKind, Scope
from ehc.gateways.limits import Door, Refused, Why, require_scope
from ehc.rates import Rates
from ehc.redis_link import RedisLink
from ehc.web.gate import Gate, Limits

CALLER = Caller(UUID(int=1), ClientKind.APP, frozenset({Scope.CARDS}))


class Clock:
    """Stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 9, 8, tzinfo=UTC)


@pytest.fixture
def door() -> Iterator[Door]:
    limits = Limits(app=3, app_day=5, card=2, terminal=1, institution=1)
    with Flask("door").test_request_context("/", environ_base={"REMOTE_ADDR": "203.0.113.5"}):
        yield Door(Gate(Rates(RedisLink(None)), limits, trusted=(), clock=Clock()))


def why(door: Door, caller: Caller, card: UUID | None = None) -> Why | None:
    try:
        door.admit(caller) if card is None else door.count_card(caller, card)
    except Refused as refused:
        return refused.why
    return None


def test_minute_and_day_of_the_app_are_held(door: Door) -> None:
    assert [why(door, CALLER) for _ in range(4)] == [None, None, None, Why.TOO_OFTEN]
    generous = replace(CALLER, id=UUID(int=2), per_minute=100)
    assert [why(door, generous) for _ in range(6)] == 5 * [None] + [Why.QUOTA]
    with pytest.raises(Refused) as caught:
        door.admit(CALLER)
    assert 0 < (caught.value.retry_after or 0) <= 60


def test_calls_about_one_card_are_counted_apart(door: Door) -> None:
    card, other = uuid4(), uuid4()
    assert [why(door, CALLER, card) for _ in range(3)] == [None, None, Why.TOO_OFTEN]
    assert why(door, CALLER, other) is None
    assert why(door, replace(CALLER, id=UUID(int=2)), card) is None
    assert why(door, CALLER) is None


def test_networks_of_the_app_hold_and_the_request_has_its_caller(door: Door) -> None:
    assert why(door, replace(CALLER, networks=(ip_network("198.51.100.0/24"),))) is Why.ADDRESS
    inside = replace(CALLER, networks=(ip_network("203.0.113.0/24"),), institution_id=UUID(int=9))
    assert why(door, inside) is None
    assert g.caller is inside


def test_scopes_and_the_sandbox() -> None:
    require_scope(CALLER, Scope.VERIFY, Scope.CARDS)
    with pytest.raises(Refused) as caught:
        require_scope(CALLER, Scope.VERIFY)
    assert caught.value.why is Why.SCOPE
    with pytest.raises(Refused) as caught:
        require_scope(replace(CALLER, sandbox=True), Scope.CARDS)
    assert caught.value.why is Why.SANDBOX
    require_scope(replace(CALLER, sandbox=True), Scope.CARDS, sandbox=True)
