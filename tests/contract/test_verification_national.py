"""National dynamic codes at the scanner: their times, their uses, what closes them, and one statement for each check."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from ehc.codes import national
from ehc.core.ids import uuid7
from ehc.keystore import secret_keys
from ehc.keystore.secret_keys import SecretPurpose
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import at_once, poster, row_counts
from tests.support.national import (
    LIFE,
    change,
    dynamic,
    issued,
    remember,
    secrets_of,
    serial_of,
    static,
    uses,
    validity,
)
from tests.support.service import Service
from tests.support.service import told as answered

Card = dict[str, Any]


@pytest.fixture
def card(service: Service) -> Card:
    return service.app.register()


def reasons(service: Service, card: Card) -> list[str | None]:
    items = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    return [entry["reason"] for entry in items]


def closed_alias(service: Service, card: Card, ehc_id: str) -> None:
    """The card had this id before."""
    index = secrets_of(service).blind_index
    with service.session() as session:
        session.execute(
            text("""
                INSERT INTO card_alias (id, card_serial, ehc_id, ehc_id_index, index_id, index_id_index, closed_at)
                VALUES (:id, :serial, '', :ehc, '', '', :now)
            """),
            {
                "id": uuid7(service.clock.now()),
                "serial": serial_of(service, card),
                "ehc": index.of("ehc-id", ehc_id),
                "now": service.clock.now(),
            },
        )


def test_a_check_is_one_statement(service: Service, card: Card) -> None:
    code = issued(service, card)
    service.terminal.scan(service.app.code(card["card_id"]))
    for text_read in (code, code + "\n", dynamic(card, validity(service, ends_in=50)), dynamic(card, bytes(16))):
        with service.statements() as seen:
            service.terminal.scan(text_read, operator="李", department="0301")
        assert len(seen) == 1


def test_a_text_that_is_not_ours_asks_no_database(service: Service, card: Card) -> None:
    code = issued(service, card)
    service.terminal.scan("https://example.org")
    before = row_counts(service)
    for other in (code.lower(), code + ":x", "A" * 64 + ":9", code[:-1]):
        with service.statements() as seen:
            assert service.terminal.scan(other)["outcome"] == "rejected"
        assert seen == []
    assert row_counts(service) == before


def test_a_check_is_recorded_as_a_dynamic_one(service: Service, card: Card) -> None:
    told = service.terminal.scan(issued(service, card), "medicine", channel="kiosk", operator="李", request_id="r1")
    with service.session() as session:
        row = session.execute(text("SELECT * FROM verification")).one()
    assert (str(row.id), row.card_serial, row.step, row.channel) == (
        told["verification_id"],
        serial_of(service, card),
        "medicine",
        "kiosk",
    )
    assert (row.reason, row.request_id, row.assurance, row.key_id, row.wrong_tries) == (None, "r1", None, None, None)
    assert row.disclosed == ["name:masked", "sex", "age"]
    assert "李".encode() not in row.operator


def test_the_row_s_own_expiry_decides_too(service: Service, card: Card) -> None:
    """Validity may be written later than the code expires; the platform goes by its record."""
    code = remember(service, card, dynamic(card, validity(service, ends_in=60)), ends_in=50)
    service.clock.advance(50)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    service.clock.advance(0.001)
    assert service.terminal.scan(code)["reason"] == "expired"


@pytest.mark.parametrize(("ends_in", "reason"), [(LIFE + 15 + 5, None), (LIFE + 15 + 6, "not-issued")])
def test_a_validity_further_ahead_than_we_write_is_not_ours(
    service: Service, card: Card, ends_in: int, reason: str | None
) -> None:
    assert service.terminal.scan(issued(service, card, ends_in=ends_in))["reason"] == reason


def test_how_far_ahead_follows_the_life_that_is_set(service: Service, card: Card, worker: WorkerMaker) -> None:
    code = issued(service, card, ends_in=LIFE)
    short = worker(service, national_seconds=60)
    assert short.terminal.scan(code)["reason"] == "not-issued"
    assert service.terminal.scan(code)["outcome"] == "accepted"


def test_a_code_of_an_older_protection_key_counts_until_it_expires(
    service: Service, card: Card, worker: WorkerMaker
) -> None:
    old = issued(service, card)
    with service.session() as session:
        kek, now = service.settings.key_encrypting_key(), service.clock.now()
        assert secret_keys.store(session, kek, SecretPurpose.PROTECTION, bytes(range(16)), at=now) == 2
    informed = worker(service)
    assert informed.terminal.scan(old)["outcome"] == "accepted"
    assert old != issued(service, card)
    assert informed.terminal.scan(issued(service, card, ends_in=80))["outcome"] == "accepted"


def test_a_validity_under_another_key_is_malformed_and_the_holder_sees_it(service: Service, card: Card) -> None:
    code = remember(service, card, dynamic(card, validity(service, key=bytes(16))))
    assert service.terminal.scan(code)["reason"] == "malformed"
    assert reasons(service, card) == ["malformed"]
    assert uses(service, code) == 0


def test_a_card_id_of_nobody_is_recorded_for_nobody(service: Service) -> None:
    stranger = {"ehc_id": "AB" * 32}
    assert service.terminal.scan(dynamic(stranger, validity(service)))["reason"] == "not-issued"
    with service.session() as session:
        assert session.execute(text("SELECT card_serial, reason FROM verification")).all() == [(0, "not-issued")]


@pytest.mark.parametrize("max_uses", [1, 3])
def test_a_code_has_its_uses_and_no_more(service: Service, card: Card, max_uses: int) -> None:
    code = issued(service, card, max_uses=max_uses)
    ends = []
    for terminal in (
        service.terminal,
        service.second_terminal,
        service.terminal,
        service.second_terminal,
        service.terminal,
    ):
        ends.append(terminal.scan(code)["reason"])
        service.clock.advance(10)
    assert ends == [None] * max_uses + ["already-used"] * (5 - max_uses)
    assert uses(service, code) == max_uses
    assert reasons(service, card).count(None) == max_uses


def test_a_payment_takes_an_unused_code_whole(service: Service, card: Card) -> None:
    code = issued(service, card)
    assert service.terminal.scan(code, "payment")["outcome"] == "accepted"
    assert uses(service, code) == 3
    assert service.second_terminal.scan(code, "registration")["reason"] == "already-used"


def test_a_used_code_pays_nothing(service: Service, card: Card) -> None:
    code = issued(service, card)
    assert service.terminal.scan(code, "registration")["outcome"] == "accepted"
    assert service.terminal.scan(code, "payment")["reason"] == "already-used"
    assert service.terminal.scan(code, "010105")["reason"] == "already-used"
    assert service.terminal.scan(code, "medicine")["outcome"] == "accepted"
    assert uses(service, code) == 2


@pytest.mark.parametrize("step", ["registration", "payment"])
def test_the_same_terminal_and_step_has_the_same_check_for_10_seconds(service: Service, card: Card, step: str) -> None:
    code = issued(service, card)
    first = service.terminal.scan(code, step)
    service.clock.advance(9.999)
    assert service.terminal.scan(code, step) == first
    used = uses(service, code)
    assert (used, row_counts(service)["verification"]) == (3 if step == "payment" else 1, 1)
    service.clock.advance(0.001)
    late = service.terminal.scan(code, step)
    assert late["verification_id"] != first["verification_id"]
    assert late["reason"] == ("already-used" if step == "payment" else None)


def test_another_step_is_another_use(service: Service, card: Card) -> None:
    code = issued(service, card)
    told = [service.terminal.scan(code, step)["verification_id"] for step in ("registration", "medicine")]
    assert len(set(told)) == 2
    assert uses(service, code) == 2


@pytest.mark.parametrize("how", ["suspended", "lost"])
def test_a_stopped_card_is_refused_within_those_10_seconds_too(service: Service, card: Card, how: str) -> None:
    code = issued(service, card)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    change(service, card, status=how)
    assert service.terminal.scan(code)["reason"] == "card-suspended"


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"status": "suspended"}, "card-suspended"),
        ({"status": "lost"}, "card-suspended"),
        ({"status": "cancelled", "cause": "closed"}, "card-cancelled"),
        ({"status": "cancelled", "cause": "deceased"}, "card-cancelled"),
        ({"status": "pending-review"}, "card-not-active"),
        ({"status": "rejected"}, "card-not-active"),
    ],
)
def test_the_state_of_the_card_decides(service: Service, card: Card, columns: dict[str, str], reason: str) -> None:
    code = issued(service, card)
    change(service, card, **columns)
    assert service.terminal.scan(code)["reason"] == reason
    assert uses(service, code) == 0
    assert reasons(service, card) == [reason]


def test_a_newer_code_closes_the_older_one_after_5_seconds(service: Service, card: Card) -> None:
    old = issued(service, card)
    new = issued(service, card, ends_in=95)
    service.clock.advance(5)
    assert service.terminal.scan(old)["outcome"] == "accepted"
    service.clock.advance(0.001)
    assert service.terminal.scan(old)["reason"] == "expired"
    assert service.terminal.scan(new)["outcome"] == "accepted"


def test_a_newer_code_of_another_card_closes_nothing(service: Service, card: Card) -> None:
    old = issued(service, card)
    issued(service, service.app.register(2))
    service.clock.advance(6)
    assert service.terminal.scan(old)["outcome"] == "accepted"


def test_an_id_that_the_card_had_before_is_closed(service: Service, card: Card) -> None:
    old = {"ehc_id": "CD" * 32}
    closed_alias(service, card, old["ehc_id"])
    for code in (dynamic(old, validity(service)), static(old)):
        assert service.terminal.scan(code)["reason"] == "card-cancelled"
    assert reasons(service, card) == ["card-cancelled"] * 2


def test_an_id_that_came_back_counts_when_it_is_issued_anew_but_not_on_paper(service: Service, card: Card) -> None:
    closed_alias(service, card, card["ehc_id"])
    change(service, card, static_allowed=True)
    with service.session() as session:
        session.execute(text("UPDATE institution SET static_allowed = true"))
    assert service.terminal.scan(issued(service, card))["outcome"] == "accepted"
    assert service.terminal.scan(static(card))["reason"] == "card-cancelled"


def test_a_second_factor_says_nothing_with_a_dynamic_code(service: Service, card: Card) -> None:
    for code in (issued(service, card), service.app.code(card["card_id"])):
        told = service.terminal.scan(code, second_factor={"phone_last4": "0000"})
        assert (told["outcome"], told["card"]["assurance"]) == ("accepted", "dynamic")
        assert "second_factor" not in told
        assert set(told["resident"]) == {"name", "sex", "age"}


def test_one_terminal_twice_at_once_has_one_check(service: Service, card: Card) -> None:
    code = issued(service, card)
    body = {"code": code, "step": "other"}
    first, *others = at_once(*(poster(service, service.terminal, "/v1/verifications", body) for _ in range(8)))
    assert answered(first)["outcome"] == "accepted"
    assert all(answered(other) == answered(first) for other in others)
    assert uses(service, code) == 1


def test_with_an_idempotency_key_it_is_the_same_check_later_too_while_the_card_is_active(
    service: Service, card: Card
) -> None:
    body = {"code": issued(service, card), "step": "other"}
    key = str(uuid4())
    first = service.terminal.post("/v1/verifications", body, Idempotency_Key=key)
    service.clock.advance(60)
    again = service.terminal.post("/v1/verifications", body, Idempotency_Key=key)
    assert answered(first)["outcome"] == "accepted"
    assert answered(again) == answered(first)
    assert uses(service, str(body["code"])) == 1
    change(service, card, status="suspended")
    late = answered(service.terminal.post("/v1/verifications", body, Idempotency_Key=key))
    assert (late["outcome"], late["reason"]) == ("rejected", "card-suspended")
    assert not {"card", "resident"} & set(late)
    assert reasons(service, card) == ["card-suspended", None]


def test_the_validity_that_is_written_is_the_one_of_the_rules(service: Service) -> None:
    key = max(secrets_of(service).protection_keys.items())[1]
    until = service.clock.now() + timedelta(seconds=LIFE)
    assert national.read_validity(key, validity(service)) == until
