"""After every fault at every step: nothing of the account, its holder, the phone or the codes is in a table, a log or a job."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ehc.binding import bank_comparison
from ehc.dev.simulators.controls import Controls
from ehc.dev.simulators.launcher import Simulators
from ehc.dev.simulators.party import MODES
from ehc.settings import Settings
from tests.contract.conftest import written
from tests.contract.helpers import tables
from tests.integration.outside import outside, simulators
from tests.support.bank import (
    CONFIRMING,
    ENDING,
    STARTING,
    account_number,
    confirm,
    delete,
    desk_of,
    factors,
    other,
    path,
    run_jobs,
    start,
    states,
)
from tests.support.service import Service, person, told

__all__ = ["outside", "simulators", "written"]

NAME, PHONE = "慕容四要素", "18687654321"
WHO = {"name": NAME, "phone": PHONE}


@pytest.fixture
def asking(written: Callable[[], str], settings: Settings, simulators: Simulators, outside: Controls) -> Any:
    """A service that asks the simulators and logs all it ever logs."""
    told: Any = simulators.environment()
    made = Service.start(
        replace(
            settings, log_level="DEBUG", bank_url=told["EHC_BANK_URL"], bank_key_file=Path(told["EHC_BANK_KEY_FILE"])
        )
    )
    yield made
    made.stop()


def found_in_tables(service: Service, secrets: set[str]) -> set[tuple[str, str]]:
    """Where in which table a secret stands, as text or as the bytes of it."""
    forms = {form: secret for secret in secrets for form in (secret, secret.encode().hex())}
    with service.session() as session:
        return {
            (table, secret)
            for table in tables(session)
            for row in session.scalars(text(f"SELECT whole::text FROM {table} AS whole"))
            for form, secret in forms.items()
            if form in row
        }


def test_nothing_is_left_of_the_account_its_holder_and_the_codes(
    asking: Service, outside: Controls, written: Callable[[], str]
) -> None:
    card = asking.app.register(1, **WHO)["card_id"]
    faults = sorted(set(MODES) - {"normal", "slow"})
    secrets = {NAME, PHONE, str(person(1)["id_number"])}
    jobs: list[Any] = []

    def keep() -> None:
        with asking.session() as session:
            jobs.extend(session.scalars(text("SELECT args FROM procrastinate_jobs")))

    for serial, (step, mode) in enumerate(
        ((step, mode) for step in (STARTING, CONFIRMING, ENDING) for mode in faults), 1
    ):
        number = account_number(700_000 + serial)
        secrets.add(number)
        body = factors(number, name=NAME) | {"phone": PHONE}
        outside.set_mode(mode, party="bank", path=step, times=1)
        answer = asking.app.post(path(card), body)
        run_all(asking, keep)
        if (account_id := told(answer).get("account_id")) is None:
            continue
        waiting = outside._send("/simulator/bank/codes")["codes"]
        for code in {one["code"] for one in waiting if one["last4"] == number[-4:]}:
            secrets |= {f'"{code}"', f"code={code}"}  # six digits alone stand in many a time and hash
            confirm(asking.app, card, account_id, other(code))
            run_all(asking, keep)
            confirm(asking.app, card, account_id, code)
            run_all(asking, keep)
        delete(asking.app, card, account_id)
        run_all(asking, keep)
    for misplaced in (
        {"account_number": account_number(1)[:-1] + "x", "holder": {"name": NAME}, "phone": PHONE},
        {"account_number": [account_number(1)], "holder": NAME, "phone": PHONE, NAME: PHONE},
        {
            "account_number": account_number(1),
            "holder": {"name": NAME, "id_type": PHONE, "id_number": NAME},
            "phone": NAME,
        },
    ):
        assert asking.app.post(path(card), misplaced).status_code == 422
    assert confirm(asking.app, card, str(account_id), NAME).status_code == 422
    start(asking.app, card, account_number(1), name="别人")
    with desk_of(asking) as desk:
        bank_comparison.compare(desk, now=asking.clock.now())
    secrets |= {account_number(1), "别人"}

    assert "ended" in states(asking)
    log = written()
    assert log.count('"event":"request"') > 40
    assert "unhandled error" not in log
    assert jobs
    assert {key for args in jobs for key in args} == {"account_id"}
    told_in_jobs = json.dumps(jobs, ensure_ascii=False)
    assert [secret for secret in secrets if secret in log or secret in told_in_jobs] == []
    assert found_in_tables(asking, secrets) == set()


def run_all(service: Service, keep: Callable[[], None]) -> None:
    """Look at the jobs, then run them."""
    keep()
    service.clock.advance(0.5)
    with service.session() as session:
        session.execute(text("UPDATE procrastinate_jobs SET scheduled_at = now() WHERE status = 'todo'"))
        # Younger calls are left to their answers. The clock must not run away from the simulator's.
        session.execute(text("UPDATE bank_account SET changed_at = changed_at - interval '20 seconds'"))
    keep()
    run_jobs(service)


def test_the_search_finds_what_is_there(asking: Service) -> None:
    with asking.session() as session:
        session.execute(
            text("INSERT INTO bank_notice VALUES ('x', :name, gen_random_uuid(), 'y', 'z', now(), now())"),
            {"name": NAME},
        )
    assert found_in_tables(asking, {NAME}) == {("bank_notice", NAME)}


def test_what_is_asked_of_the_bank_is_not_kept_where_the_service_fails(
    asking: Service, outside: Controls, written: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of our own, with everything at hand, tells nothing of it."""
    card = asking.app.register(1, **WHO)["card_id"]

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(f"{NAME} {PHONE}")

    monkeypatch.setattr("ehc.binding.bank_calls.started", fail)
    answer = start(asking.app, card, account_number(700_001), name=NAME)
    assert answer.status_code == 500
    for secret in (NAME, PHONE, account_number(700_001)):
        assert secret not in answer.text + written()
    monkeypatch.undo()
    asking.clock.advance(21)
    run_jobs(asking)
    assert states(asking) == ["started"]  # the bank's word was heard, and the job asked for it again
