"""Static codes at the scanner: printed and national ones. Two switches, never for payment, a second factor to tell more."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import text

from ehc.keystore import signing_keys
from ehc.keystore.ring import Purpose
from ehc.verify.reasons import ADVICE, PRINT_ADVICE, Reason
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import minted, signer_of, tables, wrong
from tests.support.national import allow_static, change, printed, static
from tests.support.service import Service
from tests.support.service import told as answered

Card = dict[str, Any]
Make = Callable[[Service, Card], str]

DAY = 86_400
TEN_YEARS = 3650 * DAY
RIGHT, WRONG = {"phone_last4": "8000"}, {"phone_last4": "8001"}
SEEN = {"document_seen": True}

either = pytest.mark.parametrize("make", [printed, lambda _, card: static(card)], ids=["print", "national"])


@pytest.fixture
def card(service: Service) -> Card:
    made = service.app.register()
    allow_static(service, made)
    return made


def entries(service: Service, card: Card) -> list[dict[str, Any]]:
    items = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    assert isinstance(items, list)
    return items


def later(service: Service, seconds: float) -> None:
    """Time goes by, and whoever calls gets a new token."""
    service.clock.advance(seconds)
    for api in (service.app, service.terminal, service.second_terminal):
        api.__post_init__()


def advice(service: Service, code: str) -> str:
    body = {"code": code, "step": "registration"}
    return str(answered(service.terminal.post("/v1/verifications", body, Accept_Language="en"))["message"])


@either
def test_alone_it_tells_a_masked_name_and_no_more(service: Service, card: Card, make: Make) -> None:
    told = service.terminal.scan(make(service, card))
    assert (told["outcome"], told["reason"]) == ("accepted", None)
    assert told["card"] == {  # and not which card: that would be one name for it at every hospital
        "status": "active",
        "level": "document-seen",
        "kind": "formal",
        "verified": True,
        "assurance": "static",
    }
    assert told["resident"] == {"name": card["resident"]["name"]}
    assert "second_factor" not in told
    (entry,) = entries(service, card)
    assert (entry["assurance"], entry["disclosed"]) == ("static", ["name:masked"])


@either
def test_each_scan_is_a_check_of_its_own(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    told = [service.terminal.scan(code) for _ in range(3)] + [service.second_terminal.scan(code)]
    assert len({answer["verification_id"] for answer in told}) == 4
    assert [answer["reason"] for answer in told] == [None, None, None, "static-not-allowed"]  # H2 does not take them


@either
@pytest.mark.parametrize(("card_allows", "here"), [(True, False), (False, True), (False, False)])
def test_card_and_institution_must_both_allow_it(
    service: Service, card: Card, make: Make, card_allows: bool, here: bool
) -> None:
    code = make(service, card)
    allow_static(service, card, card_allows=card_allows, here=here)
    for factor in ({}, {"second_factor": RIGHT}, {"second_factor": SEEN, "operator": "李"}):
        told = service.terminal.scan(code, **factor)
        assert told["reason"] == "static-not-allowed"
        assert not {"card", "resident", "second_factor"} & set(told)
    assert {(entry["reason"], entry["assurance"]) for entry in entries(service, card)} == {
        ("static-not-allowed", "static")
    }


def test_static_codes_are_off_unless_switched_on(service: Service) -> None:
    card = service.app.register(2)
    for code in (static(card), printed(service, card)):
        assert service.terminal.scan(code)["reason"] == "static-not-allowed"


@either
@pytest.mark.parametrize("factor", [{}, {"second_factor": RIGHT}, {"second_factor": SEEN, "operator": "李"}])
def test_it_never_pays(service: Service, card: Card, make: Make, factor: dict[str, Any]) -> None:
    code = make(service, card)
    assert service.terminal.scan(code, "payment", **factor)["reason"] == "static-not-allowed"
    assert service.terminal.scan(code, "010105", **factor)["reason"] == "static-not-allowed"
    assert service.terminal.scan(code, "medicine", **factor)["outcome"] == "accepted"


@either
@pytest.mark.parametrize("factor", [{"second_factor": RIGHT}, {"second_factor": SEEN, "operator": "李"}])
def test_a_second_factor_tells_as_much_as_a_dynamic_code(
    service: Service, card: Card, make: Make, factor: dict[str, Any]
) -> None:
    told = service.terminal.scan(make(service, card), **factor)
    assert told["card"]["assurance"] == "static-confirmed"
    assert told["card"]["card_id"] == card["card_id"]
    assert told["second_factor"] == {"state": "confirmed"}
    assert told["resident"] == {key: card["resident"][key] for key in ("name", "sex", "age")}
    (entry,) = entries(service, card)
    assert (entry["assurance"], entry["disclosed"]) == ("static-confirmed", ["name:masked", "sex", "age"])


@either
def test_a_wrong_second_factor_tells_a_masked_name_and_how_many_tries_are_left(
    service: Service, card: Card, make: Make
) -> None:
    code = make(service, card)
    for left in (4, 3, 2, 1, 0):
        told = service.terminal.scan(code, second_factor=WRONG)
        assert (told["outcome"], told["card"]["assurance"]) == ("accepted", "static")
        assert told["second_factor"] == {"state": "wrong", "tries_left": left}
        assert told["resident"] == {"name": card["resident"]["name"]}
    assert {entry["disclosed"] == ["name:masked"] for entry in entries(service, card)} == {True}


@either
def test_five_wrong_tries_lock_digits_out_for_24_hours_and_nothing_else(
    service: Service, card: Card, make: Make
) -> None:
    code = make(service, card)
    for _ in range(5):
        service.terminal.scan(code, second_factor=WRONG)
        service.clock.advance(1)
    service.clock.advance(-1)
    with service.session() as session:
        session.execute(text("UPDATE institution SET static_allowed = true"))
    for seconds in (0, DAY - 0.001):
        later(service, seconds)
        for terminal in (service.terminal, service.second_terminal):
            for digits in (RIGHT, WRONG):
                told = terminal.scan(code, second_factor=digits)
                assert told["reason"] == "static-not-allowed"
                assert not {"card", "resident", "second_factor"} & set(told)
            assert terminal.scan(code)["card"]["assurance"] == "static"
            told = terminal.scan(code, second_factor=SEEN, operator="李")
            assert told["card"]["assurance"] == "static-confirmed"
    service.clock.advance(0.001)
    assert service.terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"] == 4
    assert service.terminal.scan(code, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}


@either
def test_tries_are_counted_wherever_they_are_made(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    with service.session() as session:
        session.execute(text("UPDATE institution SET static_allowed = true"))
    left = [
        terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"]
        for terminal in (service.terminal, service.second_terminal, service.terminal, service.second_terminal)
    ]
    assert left == [4, 3, 2, 1]


@either
def test_a_right_one_gives_all_tries_back_and_a_seen_document_none(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    left = []
    for factor in (WRONG, WRONG, SEEN, WRONG, RIGHT, WRONG):
        told = service.terminal.scan(code, second_factor=factor, operator="李")
        left.append(told["second_factor"].get("tries_left"))
        service.clock.advance(1)
    assert left == [4, 3, None, 2, None, 4]


@either
def test_a_scan_without_a_second_factor_is_no_try(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    service.terminal.scan(code, second_factor=WRONG)
    service.terminal.scan(code)
    assert service.terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"] == 3


@either
def test_refused_scans_are_no_tries(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    for _ in range(6):
        service.terminal.scan(code, "payment", second_factor=WRONG)
    assert service.terminal.scan(code, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}


@either
def test_who_has_no_phone_is_not_told_from_who_has_another(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    with service.session() as session:
        session.execute(text("UPDATE resident SET phone = NULL, phone_index = NULL"))
    for left in (4, 3, 2, 1, 0):
        told = service.terminal.scan(code, second_factor=WRONG)
        assert told["second_factor"] == {"state": "wrong", "tries_left": left}
        assert told["card"]["assurance"] == "static"
        assert told["resident"] == {"name": card["resident"]["name"]}
    assert service.terminal.scan(code, second_factor=WRONG)["reason"] == "static-not-allowed"
    told = service.terminal.scan(code, second_factor=SEEN, operator="李")
    assert told["card"]["assurance"] == "static-confirmed"


def test_a_print_and_the_national_text_have_tries_of_their_own(service: Service, card: Card) -> None:
    paper = printed(service, card)
    for _ in range(5):
        service.terminal.scan(paper, second_factor=WRONG)
    assert service.terminal.scan(paper, second_factor=RIGHT)["reason"] == "static-not-allowed"
    assert service.terminal.scan(static(card), second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}


def test_a_new_print_has_new_tries(service: Service, card: Card) -> None:
    old = printed(service, card)
    for _ in range(5):
        service.terminal.scan(old, second_factor=WRONG)
    new = printed(service, card)
    assert service.terminal.scan(old)["reason"] == "expired"
    assert service.terminal.scan(new, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}


def wrong_for_days(service: Service, code: str, times: int) -> list[int]:
    """So many wrong tries, five a day; how many each leaves."""
    left = []
    for n in range(times):
        if n and n % 5 == 0:
            later(service, DAY + 1)
        left.append(service.terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"])
    return left


@either
def test_twenty_wrong_tries_in_all_lock_digits_out_until_a_document_was_seen(
    service: Service, card: Card, make: Make
) -> None:
    code = make(service, card)
    assert wrong_for_days(service, code, 20) == [4, 3, 2, 1, 0] * 4
    later(service, 2 * DAY)
    for digits in (RIGHT, WRONG):
        assert service.terminal.scan(code, second_factor=digits)["reason"] == "static-not-allowed"
    assert service.terminal.scan(code)["outcome"] == "accepted"
    seen = service.terminal.scan(code, second_factor=SEEN, operator="李")
    assert seen["second_factor"] == {"state": "confirmed"}
    assert service.terminal.scan(code, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}


@either
def test_nineteen_wrong_tries_leave_one_and_a_right_one_gives_all_back(
    service: Service, card: Card, make: Make
) -> None:
    code = make(service, card)
    wrong_for_days(service, code, 17)
    service.clock.advance(1)
    assert service.terminal.scan(code, second_factor=RIGHT)["second_factor"] == {"state": "confirmed"}
    later(service, DAY + 1)
    assert wrong_for_days(service, code, 19)[-1] == 1
    later(service, DAY + 1)
    assert service.terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"] == 0


@pytest.mark.parametrize("channel", ["kiosk", "gate", "mobile", "mini-program", "0402", "02", "service-account"])
def test_no_document_is_seen_where_no_clerk_stands(service: Service, card: Card, channel: str) -> None:
    body = {"code": printed(service, card), "step": "registration", "second_factor": SEEN, "operator": "李"}
    answer = service.terminal.post("/v1/verifications", body | {"channel": channel})
    assert wrong(answer) == [("/second_factor/document_seen", "choice")]
    for other in ("window", "01", "doctor-station", "other"):
        told = answered(service.terminal.post("/v1/verifications", body | {"channel": other}))
        assert told["second_factor"] == {"state": "confirmed"}


def test_three_wrong_tries_of_a_print_are_not_forgotten_overnight(service: Service, card: Card) -> None:
    code = printed(service, card)
    for left in (4, 3, 2):
        assert service.terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"] == left
    later(service, 2 * DAY)
    assert service.terminal.scan(code, second_factor=WRONG)["second_factor"]["tries_left"] == 1


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"second_factor": {}}, ("/second_factor", "choice")),
        ({"second_factor": {**RIGHT, **SEEN}, "operator": "李"}, ("/second_factor", "choice")),
        ({"second_factor": SEEN}, ("/operator", "required")),
        ({"second_factor": {"document_seen": False}, "operator": "李"}, ("/second_factor/document_seen", "choice")),
        ({"second_factor": {"document_seen": "true"}, "operator": "李"}, ("/second_factor/document_seen", "type")),
        ({"second_factor": {"phone_last4": "800"}}, ("/second_factor/phone_last4", "length")),
        ({"second_factor": {"phone_last4": "80000"}}, ("/second_factor/phone_last4", "length")),
        ({"second_factor": {"phone_last4": "80x0"}}, ("/second_factor/phone_last4", "characters")),
        ({"second_factor": {"phone_last4": "８０００"}}, ("/second_factor/phone_last4", "characters")),
        ({"second_factor": {"phone_last4": 8000}}, ("/second_factor/phone_last4", "type")),
        ({"second_factor": {"pin": "8000"}}, ("/second_factor/pin", "unknown-member")),
        ({"second_factor": "8000"}, ("/second_factor", "invalid")),
        ({"second_factor": None}, ("/second_factor", "null")),
    ],
)
def test_a_wrong_second_factor_member_is_refused(
    service: Service, body: dict[str, Any], wanted: tuple[str, str]
) -> None:
    answer = service.terminal.post("/v1/verifications", {"code": "691", "step": "other", **body})
    assert wrong(answer)[0] == wanted


def test_a_print_that_was_not_made_by_us_is_not_issued(service: Service, card: Card) -> None:
    assert service.terminal.scan(printed(service, card, row=False))["reason"] == "not-issued"
    assert [entry["reason"] for entry in entries(service, card)] == ["not-issued"]


def test_a_print_row_of_another_card_does_not_count(service: Service, card: Card) -> None:
    code, other = printed(service, card), service.app.register(2)
    allow_static(service, other)
    with service.session() as session:
        session.execute(text("UPDATE printed_code SET card_serial = (SELECT max(serial) FROM card)"))
    assert service.terminal.scan(code)["reason"] == "not-issued"


@pytest.mark.parametrize("refusal", [None, "expired", "card-cancelled", "static-not-allowed"])
def test_a_revoked_print_is_refused_as_its_row_says(service: Service, card: Card, refusal: str | None) -> None:
    code = printed(service, card)
    with service.session() as session:
        row = {"now": service.clock.now(), "refusal": refusal}
        session.execute(text("UPDATE printed_code SET revoked_at = :now, refusal = :refusal"), row)
    assert service.terminal.scan(code)["reason"] == (refusal or "expired")


def test_a_print_lives_as_long_as_it_says(service: Service, card: Card) -> None:
    code = printed(service, card, life=100)
    service.clock.advance(100)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    service.clock.advance(0.001)
    assert service.terminal.scan(code)["reason"] == "expired"  # by its row; the code itself has 5 s of skew
    service.clock.advance(6)
    assert service.terminal.scan(code)["reason"] == "expired"
    assert advice(service, code) == PRINT_ADVICE[Reason.EXPIRED].en


@pytest.mark.parametrize(
    ("life", "reason"), [(TEN_YEARS, None), (TEN_YEARS + 1, "malformed"), (0, "malformed"), (61, None), (1, None)]
)
def test_a_print_lives_ten_years_at_most(service: Service, card: Card, life: int, reason: str | None) -> None:
    assert service.terminal.scan(printed(service, card, life=life))["reason"] == reason


def test_only_a_static_code_may_live_longer_than_a_minute(service: Service, card: Card) -> None:
    serial = minted_serial(service, card)
    assert service.terminal.scan(minted(service, serial=serial, life=61))["reason"] == "malformed"


def minted_serial(service: Service, card: Card) -> int:
    with service.session() as session:
        wanted = text("SELECT serial FROM card WHERE id = :id")
        return int(session.execute(wanted, {"id": card["card_id"]}).scalar_one())


@pytest.mark.parametrize(("ahead", "reason"), [(5, None), (6, "not-yet-valid")])
def test_a_print_dated_ahead(service: Service, card: Card, ahead: int, reason: str | None) -> None:
    assert service.terminal.scan(printed(service, card, issued_in=ahead))["reason"] == reason


def test_a_print_is_not_used_up_nor_counted_as_a_code(service: Service, card: Card) -> None:
    service.terminal.scan(printed(service, card))
    with service.session() as session:
        assert session.execute(text("SELECT count(*) FROM code_use")).scalar_one() == 0


def test_a_print_dies_with_its_key(service: Service, card: Card) -> None:
    code = printed(service, card)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        signing_keys.revoke(session, kek, signer_of(service).key_id, now=service.clock.now())
    assert service.terminal.scan(code)["reason"] == "unknown-key"
    assert advice(service, code) == PRINT_ADVICE[Reason.UNKNOWN_KEY].en


def test_a_print_outlives_the_rotation_of_its_key(service: Service, card: Card) -> None:
    code = printed(service, card)
    with service.session() as session:
        signing_keys.rotate(session, service.settings.key_encrypting_key(), Purpose.CODE, now=service.clock.now())
    later(service, 30 * DAY)
    assert service.terminal.scan(code)["outcome"] == "accepted"


@either
@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"status": "suspended"}, "card-suspended"),
        ({"status": "lost"}, "card-suspended"),
        ({"status": "cancelled", "cause": "cancelled"}, "card-cancelled"),
        ({"status": "pending-review"}, "card-not-active"),
    ],
)
def test_the_state_of_the_card_decides(
    service: Service, card: Card, make: Make, columns: dict[str, str], reason: str
) -> None:
    code = make(service, card)
    change(service, card, **columns)
    assert service.terminal.scan(code, second_factor=RIGHT)["reason"] == reason


@either
def test_no_advice_says_refresh_of_what_is_on_paper(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    change(service, card, status="cancelled", cause="cancelled")
    assert advice(service, code) == PRINT_ADVICE[Reason.CARD_CANCELLED].en
    for reason, told in ADVICE.items():
        said = PRINT_ADVICE.get(reason, told)
        if reason not in {Reason.ALREADY_USED}:  # a static code is not used up
            assert "refresh" not in said.en.lower()
            assert "刷新" not in said.zh


@either
def test_where_sharing_has_ended_nothing_is_told(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    change(service, card, sharing=False)
    factors: list[dict[str, Any]] = [{}, {"second_factor": RIGHT}]
    for factor in factors:
        told = service.terminal.scan(code, **factor)
        assert (told["outcome"], told["resident"]) == ("accepted", None)
    assert [entry["disclosed"] for entry in entries(service, card)] == [[], []]


@either
def test_a_check_is_one_statement_and_two_with_digits_of_a_phone(service: Service, card: Card, make: Make) -> None:
    code = make(service, card)
    service.terminal.scan(code)
    for factor, count in (({}, 1), ({"second_factor": SEEN, "operator": "李"}, 1), ({"second_factor": RIGHT}, 2)):
        with service.statements() as seen:
            service.terminal.scan(code, **factor)
        assert len([sent for sent in seen if "json_to_recordset" in sent or "FOR NO KEY UPDATE" in sent]) == count


@either
def test_with_an_idempotency_key_a_try_is_one_try(service: Service, card: Card, make: Make) -> None:
    body = {"code": make(service, card), "step": "other", "second_factor": WRONG}
    first, again = (service.terminal.post("/v1/verifications", body, Idempotency_Key="k") for _ in range(2))
    assert answered(first)["second_factor"]["tries_left"] == 4
    assert answered(again) == answered(first)
    assert service.terminal.scan(str(body["code"]), second_factor=WRONG)["second_factor"]["tries_left"] == 3


@either
def test_the_digits_of_a_phone_are_kept_nowhere(written: Callable[[], str], start: ServiceMaker, make: Make) -> None:
    """In no row of no table, bytes read as text too, and in no line of the log: but for ids, which may hold any digits."""
    service = start(log_level="DEBUG")
    card = service.app.register()
    allow_static(service, card)
    tries = ["7351", "8000", "7352"]
    for digits in tries:
        body = {"code": make(service, card), "step": "other", "second_factor": {"phone_last4": digits}}
        assert service.terminal.post("/v1/verifications", body, Idempotency_Key=digits * 5).status_code == 200
        service.terminal.scan(str(body["code"]), second_factor={"phone_last4": digits})
    with service.session() as session:
        kept = {
            value
            for table in tables(session)
            for row in session.execute(text(f"SELECT * FROM {table}"))
            for value in flat(row)
        }
    assert any(isinstance(value, bytes) for value in kept)
    names = {digits * 5 for digits in tries}  # the keys that this test gave
    assert not [value for value in kept - names for digits in tries if said(value, digits)]
    assert not [digits for digits in tries if re.search(rf"(?<![0-9a-f.-]){digits}(?![0-9a-f.-])", written())]


def flat(row: Iterable[Any]) -> Iterator[Any]:
    for value in row:
        if isinstance(value, list):
            yield from value
        elif isinstance(value, dict):
            yield json.dumps(value)
        else:
            yield value


def said(value: Any, digits: str) -> bool:
    """Whether a value says these digits: in clear, or as a plain hash of them."""
    if isinstance(value, bytes):
        return digits.encode() == value or sha256(digits.encode()).digest() in value
    return isinstance(value, str) and re.search(rf"(?<![0-9a-f]){digits}(?![0-9a-f])", value) is not None


def test_ends_of_ten_years_and_of_the_row_agree(service: Service, card: Card) -> None:
    code = printed(service, card, life=TEN_YEARS)
    later(service, TEN_YEARS)
    assert service.terminal.scan(code)["outcome"] == "accepted"
    later(service, 0.001)
    assert service.terminal.scan(code)["reason"] == "expired"
