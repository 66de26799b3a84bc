"""Bank accounts as tests use them: numbers that check, the four factors, and the worker's jobs run to their end."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.binding.bank_calls import Desk
from ehc.dev.simulators.controls import Controls
from ehc.parties import bank_gateway
from ehc.place import Place
from ehc.worker import TASKS, drain
from tests.support.service import Api, Service, person, told

PHONE = "13912345678"
STARTING, CONFIRMING, ENDING = "/v1/bindings/start", "/v1/bindings/confirm", "/v1/bindings/end"


def account_number(serial: int = 1, *, prefix: str = "622202", length: int = 19) -> str:
    """A number of a bank of the table that is nobody's: its last digit checks."""
    first = f"{prefix}{serial:0{length - len(prefix) - 1}}"
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in first[-1::-2])
    return first + str(-(doubled + sum(map(int, first[-2::-2]))) % 10)


def factors(number: str | None = None, *, serial: int = 1, **changes: Any) -> dict[str, Any]:
    """What an app sends to start: an account of `person(serial)`; `changes` are the holder's."""
    known = person(serial)
    holder = {name: known[name] for name in ("name", "id_type", "id_number")} | changes
    return {"account_number": number or account_number(), "holder": holder, "phone": PHONE}


def path(card_id: str, *rest: str) -> str:
    """The address of a card's accounts, or of one of them."""
    return "/".join((f"/v1/cards/{card_id}/bindings/bank-accounts", *rest))


def start(api: Api, card_id: str, number: str | None = None, *, key: str | None = None, **more: Any) -> TestResponse:
    """Ask to bind an account."""
    headers = {"Idempotency_Key": key} if key else {}
    return api.post(path(card_id), factors(number, **more), **headers)


def confirm(api: Api, card_id: str, account_id: str, code: str) -> TestResponse:
    """Confirm with a code."""
    return api.post(path(card_id, account_id, "confirm"), {"code": code})


def other(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 10**6:06}"


def delete(api: Api, card_id: str, account_id: str) -> TestResponse:
    """Ask to end a binding."""
    return api.http.delete(path(card_id, account_id), headers=api.headers)


def state(api: Api, card_id: str, account_id: str) -> dict[str, Any]:
    """An account as its holder's app reads it."""
    answer = api.get(path(card_id, account_id))
    assert answer.status_code == 200, answer.text
    return told(answer)


def started(api: Api, card_id: str, number: str | None = None, **more: Any) -> str:
    """Start to bind; the id of the account, which waits for its code."""
    answer = start(api, card_id, number, **more)
    assert answer.status_code == 201, answer.text
    return str(told(answer)["account_id"])


def bound(service: Service, bank: Controls, card_id: str, number: str | None = None, **more: Any) -> str:
    """Bind an account; its id."""
    account_id = started(service.app, card_id, number, **more)
    code = bank.bank_code((number or account_number())[-4:])
    answer = confirm(service.app, card_id, account_id, code)
    assert answer.status_code == 200, answer.text
    return account_id


def run_jobs(service: Service, *, rounds: int = 2) -> None:
    """Run what is due by the service's clock, and what was to be tried again, by a worker of its own."""
    due = text("""
        UPDATE procrastinate_jobs SET scheduled_at = now()
        WHERE status = 'todo' AND (scheduled_at <= :now OR attempts > 0)
    """)
    for _ in range(rounds):
        with service.session() as session:
            session.execute(due, {"now": service.clock.now()})
        with worker_of(service) as place:
            drain(place, TASKS)


@contextmanager
def worker_of(service: Service) -> Iterator[Place]:
    """A worker's place: as if just started, so that it holds no silence against the bank."""
    place = Place(service.settings, clock=service.clock)
    try:
        yield place
    finally:
        place.close()


@contextmanager
def desk_of(service: Service) -> Iterator[Desk]:
    """Where that worker asks the bank."""
    with worker_of(service) as place:
        bank = bank_gateway(place.settings, place.clock)
        assert bank is not None
        yield Desk(bank, place.work, place.secrets)


def rows(service: Service) -> list[dict[str, Any]]:
    """Every account, a guardian's first, then the oldest."""
    with service.session() as session:
        found = session.execute(text("SELECT * FROM bank_account ORDER BY payer, started_at, id"))
        return [dict(row) for row in found.mappings()]


def starts(service: Service) -> list[str]:
    """By which the bank knows each of them."""
    return [str(row["start_request"]) for row in rows(service)]


def states(service: Service) -> list[str]:
    """The state of every account, the oldest first."""
    return [str(row["state"]) for row in rows(service)]


def expire_code(service: Service) -> None:
    """Every code that waits has run out, at our side."""
    with service.session() as session:
        session.execute(text("UPDATE bank_account SET expires_at = :now"), {"now": service.clock.now()})
