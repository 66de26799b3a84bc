"""Every reason for which a code is refused, from both sides of its boundary, and what the refusal leaves behind."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.codes.signed import MAX_DIGITS
from ehc.codes.temporary_text import make_temporary
from ehc.crypto.signer import SoftwareSigner
from ehc.keystore import signing_keys
from ehc.keystore.ring import Purpose
from ehc.verify.reasons import ADVICE, NOT_RECORDED, Reason
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import counted, minted, row_counts, secrets_of, serial_of, signer_of
from tests.support.national import change, static
from tests.support.service import Service
from tests.support.service import told as answered

Maker = Callable[[Service, str], str]


def _moved(how: str) -> Maker:
    def make(service: Service, card_id: str) -> str:
        code = service.app.code(card_id)
        assert service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"}).status_code == 200
        return code

    return make


def _used(service: Service, card_id: str) -> str:
    code = service.app.code(card_id)
    assert service.second_terminal.scan(code)["outcome"] == "accepted"
    return code


def _put(**columns: str) -> Maker:
    def make(service: Service, card_id: str) -> str:
        code = service.app.code(card_id)
        change(service, {"card_id": card_id}, **columns)
        return code

    return make


def _static(service: Service, card_id: str) -> str:
    return static(answered(service.app.get(f"/v1/cards/{card_id}")))


def _signed(**changes: Any) -> Maker:
    return lambda service, card_id: minted(service, serial=serial_of(service, card_id), **changes)


def _altered(service: Service, card_id: str) -> str:
    number = int(service.app.code(card_id)[3:])
    return f"691{number ^ 1}"


# By reason: a code that is refused for it, and whether the record knows the card.
CASES: list[tuple[Reason, str, Maker, bool | None]] = [
    (Reason.MALFORMED, "cut", lambda service, card_id: service.app.code(card_id)[:-1], None),
    (Reason.MALFORMED, "prefix alone", lambda *_: "691", None),
    (Reason.MALFORMED, "one digit more", lambda service, card_id: service.app.code(card_id) + "0", None),
    (Reason.MALFORMED, "a second text", lambda service, card_id: f"6910{service.app.code(card_id)[3:]}", None),
    (Reason.MALFORMED, "other digits", lambda service, card_id: f"691{'１' * 280}", None),
    (Reason.MALFORMED, "too long", lambda *_: "691" + "1" * MAX_DIGITS, None),
    (Reason.MALFORMED, "a letter", lambda service, card_id: service.app.code(card_id)[:-1] + "x", None),
    (Reason.MALFORMED, "NUL at the end", lambda service, card_id: service.app.code(card_id) + "\x00", None),
    (Reason.MALFORMED, "a life of 61 s", _signed(life=61), True),
    (Reason.MALFORMED, "a life of 0 s", _signed(life=0), True),
    (Reason.MALFORMED, "a life that ends before it begins", _signed(life=-1), True),
    (Reason.UNKNOWN_FORMAT, "a web address", lambda *_: "https://example.org/691", None),
    (Reason.MALFORMED, "a temporary code, too long", lambda service, id_: "692" + service.app.code(id_)[3:], None),
    (Reason.MALFORMED, "a national code in lower case", lambda *_: f"{'a' * 64}:1", None),
    (Reason.UNKNOWN_FORMAT, "another prefix", lambda service, card_id: "693" + service.app.code(card_id)[3:], None),
    (Reason.UNKNOWN_FORMAT, "63 characters and a colon", lambda *_: f"{'A' * 63}:1", None),
    (Reason.UNKNOWN_FORMAT, "white space", lambda *_: " \t\n", None),
    (Reason.UNKNOWN_FORMAT, "NUL", lambda *_: "\x00", None),
    (Reason.UNKNOWN_KEY, "a stranger's key", _signed(signer=SoftwareSigner.generate()), False),
    (Reason.BAD_SIGNATURE, "one bit", _altered, False),
    (Reason.NOT_YET_VALID, "6 s ahead", _signed(issued_in=6), True),
    (Reason.NOT_YET_VALID, "years ahead", _signed(issued_in=10**8), True),
    (Reason.ALREADY_USED, "at another terminal", _used, True),
    (Reason.NOT_ISSUED, "no such serial", lambda service, _: minted(service, serial=2**62 + 1), False),
    (Reason.NOT_ISSUED, "a block that is not ours", lambda service, _: minted(service, cti=_foreign(service)), False),
    (Reason.NOT_ISSUED, "a national code of nobody", lambda *_: f"{'A' * 64}:1", False),
    (Reason.NOT_ISSUED, "a temporary code of nobody", lambda *_: make_temporary(), False),
    (Reason.CARD_SUSPENDED, "suspended", _moved("suspend"), True),
    (Reason.CARD_SUSPENDED, "reported lost", _put(status="lost"), True),
    (Reason.CARD_CANCELLED, "cancelled", _moved("cancel"), True),
    (Reason.CARD_CANCELLED, "its holder has died", _put(status="cancelled", cause="deceased"), True),
    (Reason.CARD_CANCELLED, "joined to another", _put(status="cancelled", cause="joined"), True),
    (Reason.CARD_NOT_ACTIVE, "waits for review", _put(status="pending-review"), True),
    (Reason.CARD_NOT_ACTIVE, "rejected", _put(status="rejected"), True),
    (Reason.STATIC_NOT_ALLOWED, "not switched on", _static, True),
    (Reason.WRONG_REGION, "type 9", lambda *_: f"{'A' * 64}:9", None),
    (Reason.WRONG_REGION, "four parts", lambda *_: f"{'A' * 64}:0:{'B' * 32}:4400A0062FWHB0187", None),
]


def _foreign(service: Service) -> bytes:
    """A block that is not ours and whose serial has its highest bit set, as half of all such blocks have."""
    cti = secrets_of(service).cti
    return next(block for number in range(1000) if cti.serial(block := number.to_bytes(16, "big")) < 0)


@pytest.mark.parametrize(
    ("reason", "make"), [(case[0], case[2]) for case in CASES], ids=[f"{c[0]}, {c[1]}" for c in CASES]
)
def test_a_code_is_refused_for_its_reason(
    shared: Service, newcomer: dict[str, Any], reason: Reason, make: Maker
) -> None:
    code = make(shared, shared.app.register(**newcomer)["card_id"])
    with counted(shared, f'ehc_scans_total{{outcome="{reason}"}}', 1):
        told = shared.terminal.scan(code)
    assert set(told) == {"verification_id", "outcome", "reason", "message", "verified_at"}
    assert (told["outcome"], told["reason"]) == ("rejected", reason)
    assert told["message"] == ADVICE[reason].zh


@pytest.mark.parametrize(("make", "known"), [case[2:] for case in CASES], ids=[f"{c[0]}, {c[1]}" for c in CASES])
def test_a_refusal_is_recorded_if_the_text_was_a_code(
    shared: Service, newcomer: dict[str, Any], make: Maker, known: bool | None
) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    code = make(shared, card_id)
    before = row_counts(shared)
    scan_id = shared.terminal.scan(code)["verification_id"]
    after = row_counts(shared)
    assert after["verification"] - before["verification"] == (known is not None)
    assert after["code_use"] == before["code_use"]
    with shared.session() as session:
        of_card = text("SELECT verification.id FROM verification JOIN card ON serial = card_serial WHERE card.id = :id")
        assert (UUID(scan_id) in session.execute(of_card, {"id": card_id}).scalars()) == bool(known)


def test_every_reason_is_reached() -> None:
    reached = {reason for reason, *_ in CASES} | {Reason.EXPIRED}
    assert reached == set(Reason)
    assert set(ADVICE) == set(Reason)
    assert {Reason.MALFORMED, Reason.UNKNOWN_FORMAT, Reason.WRONG_REGION} == NOT_RECORDED


def test_a_refusal_is_told_in_english(shared: Service) -> None:
    body = {"code": "https://example.org", "step": "other"}
    told = answered(shared.terminal.post("/v1/verifications", body, Accept_Language="en"))
    assert told["message"] == ADVICE[Reason.UNKNOWN_FORMAT].en


def test_a_life_of_60_seconds_is_the_longest(shared: Service, newcomer: dict[str, Any]) -> None:
    serial = serial_of(shared, shared.app.register(**newcomer)["card_id"])
    assert shared.terminal.scan(minted(shared, serial=serial, life=60))["outcome"] == "accepted"
    assert shared.terminal.scan(minted(shared, serial=serial, life=1))["outcome"] == "accepted"


def test_a_code_5_seconds_ahead_is_accepted(shared: Service, newcomer: dict[str, Any]) -> None:
    serial = serial_of(shared, shared.app.register(**newcomer)["card_id"])
    assert shared.terminal.scan(minted(shared, serial=serial, issued_in=5))["outcome"] == "accepted"


def test_a_code_is_accepted_until_5_seconds_after_it_expired(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    codes = [service.app.code(card_id) for _ in range(2)]
    service.clock.advance(65)
    assert service.terminal.scan(codes[0])["outcome"] == "accepted"
    service.clock.advance(0.001)
    told = service.terminal.scan(codes[1])
    assert (told["outcome"], told["reason"]) == ("rejected", "expired")
    assert told["message"] == ADVICE[Reason.EXPIRED].zh


def test_an_expired_code_is_in_the_list_of_its_card(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    code = service.app.code(card_id)
    service.clock.advance(66)
    told = service.terminal.scan(code)
    (entry,) = answered(service.app.get(f"/v1/cards/{card_id}/verifications"))["items"]
    assert (entry["verification_id"], entry["reason"]) == (told["verification_id"], "expired")
    assert (entry["institution"], entry["disclosed"]) == ("第一医院", [])


def test_an_expired_code_that_was_used_is_expired(service: Service) -> None:
    code = service.app.code(service.app.register()["card_id"])
    assert service.terminal.scan(code)["outcome"] == "accepted"
    service.clock.advance(66)
    assert service.second_terminal.scan(code)["reason"] == "expired"


def test_a_refused_code_is_not_spent(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    code = shared.app.code(card_id)
    shared.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "r"})
    assert shared.terminal.scan(code)["reason"] == "card-suspended"
    shared.app.post(f"/v1/cards/{card_id}/resume", {"reason": "r"})
    assert shared.second_terminal.scan(code)["outcome"] == "accepted"


def test_a_refusal_is_one_statement_at_most(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    shared.terminal.scan(shared.app.code(card_id))
    for code, count in ((_altered(shared, card_id), 1), ("https://example.org", 0), (_used(shared, card_id), 1)):
        with shared.statements() as seen:
            shared.terminal.scan(code)
        assert len(seen) == count


def test_codes_of_a_revoked_key_are_refused_at_once(service: Service) -> None:
    """Without waiting for the worker to reload its keys."""
    card_id = service.app.register()["card_id"]
    code, key_id = service.app.code(card_id), signer_of(service).key_id
    assert service.terminal.scan(service.app.code(card_id))["outcome"] == "accepted"
    with service.session() as session:
        signing_keys.revoke(session, service.settings.key_encrypting_key(), key_id, now=service.clock.now())
    assert service.terminal.scan(code)["reason"] == "unknown-key"
    history = answered(service.app.get(f"/v1/cards/{card_id}/verifications"))["items"]
    assert [entry["reason"] for entry in history].count("unknown-key") == 1


def test_codes_of_a_retired_key_pass_until_they_expire(service: Service, worker: WorkerMaker) -> None:
    card_id = service.app.register()["card_id"]
    signer = signer_of(service)
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        signing_keys.rotate(session, kek, Purpose.CODE, now=service.clock.now())
    informed = worker(service)
    service.clock.advance(59)
    codes = [informed.app.code(card_id) for _ in range(2)]
    service.clock.advance(65)
    assert informed.terminal.scan(codes[0])["outcome"] == "accepted"
    late = minted(service, serial=serial_of(service, card_id), issued_in=-5, signer=signer)
    assert informed.terminal.scan(late)["reason"] == "unknown-key"
    service.clock.advance(1)
    assert informed.terminal.scan(codes[1])["reason"] == "expired"


def test_a_retired_key_signs_nothing_dated_after_its_time(service: Service, worker: WorkerMaker) -> None:
    serial = serial_of(service, service.app.register()["card_id"])
    signer = signer_of(service)
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        signing_keys.rotate(session, kek, Purpose.CODE, now=service.clock.now())
    informed = worker(service)
    service.clock.advance(60)
    for ahead, reason in ((5, None), (6, "unknown-key")):
        code = minted(service, serial=serial, issued_in=ahead, signer=signer)
        service.clock.advance(1)
        assert informed.terminal.scan(code)["reason"] == reason
        service.clock.advance(-1)


def test_codes_from_before_the_closing_are_closed(service: Service) -> None:
    """`iat` is in whole seconds, rounded down, so a code of the closing's own second is closed too."""
    card = service.app.register()
    serial, closing = serial_of(service, card["card_id"]), service.clock.now() + timedelta(seconds=0.5)
    ends = {}
    for issued_in in (-1, 0, 1):
        code = minted(service, serial=serial, issued_in=issued_in)
        change(service, card, codes_since=None)
        assert service.terminal.scan(minted(service, serial=serial, issued_in=issued_in))["outcome"] == "accepted"
        change(service, card, codes_since=closing)
        ends[issued_in] = service.terminal.scan(code)["reason"]
    assert ends == {-1: "expired", 0: "expired", 1: None}


def test_a_code_issued_in_the_very_moment_of_the_closing_is_closed(service: Service) -> None:
    card = service.app.register()
    code = minted(service, serial=serial_of(service, card["card_id"]))
    change(service, card, codes_since=service.clock.now())
    assert service.terminal.scan(code)["reason"] == "expired"
    change(service, card, codes_since=service.clock.now() - timedelta(microseconds=1))
    assert service.terminal.scan(code)["outcome"] == "accepted"


def test_a_closed_code_of_a_suspended_card_tells_of_the_card(service: Service) -> None:
    card = service.app.register()
    code = service.app.code(card["card_id"])
    change(service, card, codes_since=service.clock.now(), status="suspended")
    assert service.terminal.scan(code)["reason"] == "card-suspended"
