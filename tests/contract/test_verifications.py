"""`POST /v1/verifications`: what an accepted check tells and records, and who may present a code again."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.clock import CHINA_TIME
from ehc.core.tables import CHANNELS, MEDICAL_STEPS
from ehc.keystore import signing_keys
from ehc.web.answers import instant
from tests.contract.helpers import at_once, counted, minted, poster, row_counts, serial_of, signer_of, wrong
from tests.support.national import allow_static, change, printed, static
from tests.support.service import Service, citizen_number, person
from tests.support.service import told as answered


@pytest.fixture
def card(shared: Service, newcomer: dict[str, Any]) -> dict[str, Any]:
    return shared.app.register(**newcomer)


def record(service: Service, scan_id: str) -> Any:
    """The row of one check."""
    with service.session() as session:
        return session.execute(text("SELECT * FROM verification WHERE id = :id"), {"id": scan_id}).one()


def test_an_accepted_code_tells_who_stands_there(shared: Service, card: dict[str, Any]) -> None:
    told = shared.terminal.scan(shared.app.code(card["card_id"]))
    assert set(told) == {"verification_id", "outcome", "reason", "message", "verified_at", "card", "resident"}
    assert (told["outcome"], told["reason"], told["message"]) == ("accepted", None, "验证通过。")
    assert told["verified_at"] == instant(shared.clock.now())
    assert told["card"] == {
        "card_id": card["card_id"],
        "status": "active",
        "level": "document-seen",
        "kind": "formal",
        "verified": True,
        "assurance": "dynamic",
    }
    assert told["resident"] == {key: card["resident"][key] for key in ("name", "sex", "age")}
    assert UUID(told["verification_id"]).version == 7


def test_what_is_not_known_of_a_person_is_null(shared: Service) -> None:
    card = shared.app.register(id_type="03", id_number="E24681357", name="LI SI")
    told = shared.terminal.scan(shared.app.code(card["card_id"]))
    assert told["resident"] == {"name": "L***", "sex": None, "age": None}


def test_a_check_is_recorded_with_all_that_was_said(shared: Service, card: dict[str, Any]) -> None:
    more = {"channel": "kiosk", "department": "0301", "operator": "李医生", "request_id": "his:2026-1._A"}
    told = shared.terminal.scan(shared.app.code(card["card_id"]), "payment", **more)
    row = record(shared, told["verification_id"])
    assert row.card_serial == serial_of(shared, card["card_id"])
    assert (row.step, row.channel, row.department, row.request_id) == ("payment", "kiosk", "0301", "his:2026-1._A")
    assert (row.reason, row.verified_at) == (None, shared.clock.now())
    assert row.disclosed == ["name:masked", "sex", "age"]
    assert "李".encode() not in row.operator


def test_a_check_with_the_least_is_recorded(shared: Service, card: dict[str, Any]) -> None:
    told = shared.terminal.scan(shared.app.code(card["card_id"]))
    row = record(shared, told["verification_id"])
    assert (row.channel, row.department, row.operator, row.request_id) == (None, None, None, None)


@pytest.mark.parametrize(
    ("said", "kept"), [(name, step.word) for step in MEDICAL_STEPS for name in (step.word, *step.codes)]
)
def test_a_step_is_said_by_word_or_by_code(shared: Service, card: dict[str, Any], said: str, kept: str) -> None:
    told = shared.terminal.scan(shared.app.code(card["card_id"]), said)
    assert record(shared, told["verification_id"]).step == kept


@pytest.mark.parametrize(("said", "kept"), [(name, way.word) for way in CHANNELS for name in (way.word, *way.codes)])
def test_a_channel_is_said_by_word_or_by_code(shared: Service, card: dict[str, Any], said: str, kept: str) -> None:
    told = shared.terminal.scan(shared.app.code(card["card_id"]), channel=said)
    assert record(shared, told["verification_id"]).channel == kept


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"code": None}, "/code", "null"),
    ({"code": ""}, "/code", "length"),
    ({"code": "6" * 8193}, "/code", "length"),
    ({"code": 691}, "/code", "type"),
    ({"code": ["691"]}, "/code", "type"),
    ({"step": ""}, "/step", "choice"),
    ({"step": "0101"}, "/step", "choice"),
    ({"step": "Registration"}, "/step", "choice"),
    ({"step": 10101}, "/step", "type"),
    ({"channel": "99999"}, "/channel", "choice"),
    ({"channel": None}, "/channel", "null"),
    ({"department": ""}, "/department", "length"),
    ({"department": "科" * 33}, "/department", "length"),
    ({"department": "a\x00"}, "/department", "characters"),
    ({"operator": ""}, "/operator", "length"),
    ({"operator": "李" * 65}, "/operator", "length"),
    ({"operator": "a\x1b[0m"}, "/operator", "characters"),
    ({"request_id": ""}, "/request_id", "length"),
    ({"request_id": "a" * 65}, "/request_id", "length"),
    ({"request_id": "a b"}, "/request_id", "characters"),
    ({"request_id": "a\n"}, "/request_id", "characters"),
    ({"request_id": "流水"}, "/request_id", "characters"),
    ({"terminal_code": "T2"}, "/terminal_code", "unknown-member"),
    ({"institution": "H2"}, "/institution", "unknown-member"),
]


@pytest.mark.parametrize(("change", "pointer", "code"), REFUSED, ids=[f"{next(iter(c[0]))} {c[2]}" for c in REFUSED])
def test_a_wrong_request_is_refused(shared: Service, change: dict[str, Any], pointer: str, code: str) -> None:
    before = row_counts(shared)
    answer = shared.terminal.post("/v1/verifications", {"code": "691", "step": "other"} | change)
    assert wrong(answer)[0] == (pointer, code)
    assert row_counts(shared) == before


@pytest.mark.parametrize("member", ["code", "step"])
def test_a_missing_member_is_named(shared: Service, member: str) -> None:
    body = {"code": "691", "step": "other"}
    del body[member]
    assert wrong(shared.terminal.post("/v1/verifications", body)) == [(f"/{member}", "required")]


@pytest.mark.parametrize(
    "more",
    [{"department": "科" * 32}, {"operator": "李" * 64}, {"request_id": "a" * 64}],
    ids=["department", "operator", "request id"],
)
def test_the_longest_member_is_taken(shared: Service, card: dict[str, Any], more: dict[str, str]) -> None:
    assert shared.terminal.scan(shared.app.code(card["card_id"]), **more)["outcome"] == "accepted"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("en", "Accepted."),
        ("en-GB,zh;q=0.5", "Accepted."),
        ("zh", "验证通过。"),
        ("fr", "验证通过。"),
        ("", "验证通过。"),
    ],
)
def test_the_message_is_in_the_callers_language(
    shared: Service, card: dict[str, Any], header: str, message: str
) -> None:
    body = {"code": shared.app.code(card["card_id"]), "step": "other"}
    assert answered(shared.terminal.post("/v1/verifications", body, Accept_Language=header))["message"] == message


@pytest.mark.parametrize("around", [("", "\r\n"), (" \t", ""), ("\n", "\n"), (" ", " ")], ids=repr)
def test_white_space_that_a_scanner_adds_is_tolerated(
    shared: Service, card: dict[str, Any], around: tuple[str, str]
) -> None:
    code = shared.app.code(card["card_id"]).join(around)
    assert shared.terminal.scan(code)["outcome"] == "accepted"


@pytest.mark.parametrize("sign", [" ", "\n", "\u3000", "-"])
def test_a_sign_within_a_code_is_not_tolerated(shared: Service, card: dict[str, Any], sign: str) -> None:
    code = shared.app.code(card["card_id"])
    assert shared.terminal.scan(f"{code[:100]}{sign}{code[100:]}")["reason"] == "malformed"
    assert shared.terminal.scan(code)["outcome"] == "accepted"


@pytest.mark.parametrize("outer", ["\u3000", "\u00a0", "\x0b", "\u2028"], ids=repr)
def test_other_white_space_at_an_end_is_not_tolerated(shared: Service, card: dict[str, Any], outer: str) -> None:
    assert shared.terminal.scan(shared.app.code(card["card_id"]) + outer)["outcome"] == "rejected"


def test_the_same_terminal_has_the_same_check_for_10_seconds(service: Service) -> None:
    code = service.app.code(service.app.register()["card_id"])
    first = service.terminal.scan(code)
    assert service.terminal.scan(code) == first
    service.clock.advance(9.999)
    assert service.terminal.scan(code) == first
    assert row_counts(service)["verification"] == 1
    service.clock.advance(0.001)
    late = service.terminal.scan(code)
    assert (late["outcome"], late["reason"]) == ("rejected", "already-used")
    assert late["verification_id"] != first["verification_id"]
    counts = row_counts(service)
    assert (counts["verification"], counts["code_use"]) == (2, 1)


def test_registering_with_a_code_does_not_pay_with_it(service: Service) -> None:
    code = service.app.code(service.app.register()["card_id"])
    first = service.terminal.scan(code, "registration")
    assert first["outcome"] == "accepted"
    for step in ("payment", "010105", "medicine"):
        told = service.terminal.scan(code, step)
        assert (told["outcome"], told["reason"]) == ("rejected", "already-used")
        assert told["verification_id"] != first["verification_id"]
    assert service.terminal.scan(code, "010101") == first  # the same step by its code
    counts = row_counts(service)
    assert (counts["verification"], counts["code_use"]) == (4, 1)


@pytest.mark.parametrize("how", ["suspend", "cancel"])
def test_a_stopped_card_is_refused_within_those_10_seconds_too(shared: Service, card: dict[str, Any], how: str) -> None:
    code = shared.app.code(card["card_id"])
    assert shared.terminal.scan(code)["outcome"] == "accepted"
    shared.app.post(f"/v1/cards/{card['card_id']}/{how}", {"reason": "r"})
    reason = {"suspend": "card-suspended", "cancel": "card-cancelled"}[how]
    assert shared.terminal.scan(code)["reason"] == reason


def test_a_second_terminal_is_refused_at_once(shared: Service, card: dict[str, Any]) -> None:
    code = shared.app.code(card["card_id"])
    assert shared.terminal.scan(code)["outcome"] == "accepted"
    told = shared.second_terminal.scan(code)
    assert (told["outcome"], told["reason"]) == ("rejected", "already-used")
    assert set(told) == {"verification_id", "outcome", "reason", "message", "verified_at"}


def test_another_code_of_the_same_card_is_accepted(shared: Service, card: dict[str, Any]) -> None:
    for terminal in (shared.terminal, shared.second_terminal):
        assert terminal.scan(shared.app.code(card["card_id"]))["outcome"] == "accepted"


def test_two_terminals_at_once_accept_a_code_once(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    for _ in range(20):
        body = {"code": service.app.code(card_id), "step": "other"}
        answers = at_once(
            *(poster(service, api, "/v1/verifications", body) for api in (service.terminal, service.second_terminal))
        )
        assert sorted(str(answered(answer)["reason"]) for answer in answers) == ["None", "already-used"]


def test_one_terminal_twice_at_once_has_one_check(shared: Service, card: dict[str, Any]) -> None:
    for _ in range(10):
        body = {"code": shared.app.code(card["card_id"]), "step": "other"}
        first, *others = at_once(*(poster(shared, shared.terminal, "/v1/verifications", body) for _ in range(4)))
        assert answered(first)["outcome"] == "accepted"
        assert all(answered(other) == answered(first) for other in others)


def test_a_check_is_one_statement(shared: Service, card: dict[str, Any]) -> None:
    shared.terminal.scan(shared.app.code(card["card_id"]))
    for body in (shared.app.code(card["card_id"]), shared.app.code(card["card_id"]) + " "):
        with shared.statements() as seen:
            shared.terminal.scan(body, operator="李", department="0301")
        assert len(seen) == 1


def test_a_check_is_counted(shared: Service, card: dict[str, Any]) -> None:
    code = shared.app.code(card["card_id"])
    with counted(shared, 'ehc_scans_total{outcome="accepted"}', 2):
        shared.terminal.scan(code)
        shared.terminal.scan(code)
    with counted(shared, 'ehc_scans_total{outcome="already-used"}', 1):
        shared.second_terminal.scan(code)


def test_a_newborn_of_today_has_age_0_at_the_scanner(service: Service) -> None:
    """The day of the check is counted in China, as the birthday is."""
    born = f"{service.clock.now().astimezone(CHINA_TIME):%Y%m%d}"
    card = service.app.register(**person(1, id_number=citizen_number(1, born=born)))
    assert service.terminal.scan(service.app.code(card["card_id"]))["resident"]["age"] == 0


def test_where_sharing_has_ended_nothing_is_told_of_the_holder(shared: Service, card: dict[str, Any]) -> None:
    guarded(shared, card)
    change(shared, card, sharing=False)
    told = shared.terminal.scan(shared.app.code(card["card_id"]))
    assert (told["outcome"], told["resident"]) == ("accepted", None)
    assert set(told["card"]["acted_for"]) == {"relation"}  # a fact about the card; who it is is not told
    assert record(shared, told["verification_id"]).disclosed == []
    change(shared, card, sharing=True)
    told = shared.terminal.scan(shared.app.code(card["card_id"]))
    assert told["resident"] == {key: card["resident"][key] for key in ("name", "sex", "age")}


def guarded(service: Service, card: dict[str, Any], *, until: Any = None) -> None:
    """Somebody by the name of 欧阳明月 acts for the holder, as for a child."""
    guardian = service.app.register(id_type="03", id_number="E86420975", name="欧阳明月")
    with service.session() as session:
        wanted = text("SELECT resident_id FROM card WHERE id = :id")
        resident = session.execute(wanted, {"id": guardian["card_id"]}).scalar_one()
    change(service, card, guardian_id=resident, guardian_relation="2", guardian_until=until)


def test_who_acts_for_the_holder_is_told_by_a_masked_name(shared: Service, card: dict[str, Any]) -> None:
    guarded(shared, card)
    code = shared.app.code(card["card_id"])
    with shared.statements() as seen:
        told = shared.terminal.scan(code)
    assert told["card"]["acted_for"] == {"relation": "2", "guardian": "欧***"}
    row = record(shared, told["verification_id"])
    assert row.disclosed == ["name:masked", "sex", "age", "relation", "guardian:masked"]
    assert len(seen) == 1


def test_acting_ends_by_itself(service: Service) -> None:
    card = service.app.register()
    guarded(service, card, until=service.clock.now() + timedelta(seconds=10))
    service.clock.advance(9.999)
    assert "acted_for" in service.terminal.scan(service.app.code(card["card_id"]))["card"]
    service.clock.advance(0.001)
    told = service.terminal.scan(service.app.code(card["card_id"]))
    assert "acted_for" not in told["card"]
    assert record(service, told["verification_id"]).disclosed == ["name:masked", "sex", "age"]


def test_with_an_idempotency_key_the_answer_is_the_same(shared: Service, card: dict[str, Any]) -> None:
    body = {"code": shared.app.code(card["card_id"]), "step": "other"}
    first, again = (shared.terminal.post("/v1/verifications", body, Idempotency_Key=card["card_id"]) for _ in range(2))
    assert answered(first)["outcome"] == "accepted"
    assert answered(again) == answered(first)


def replay(service: Service, body: dict[str, Any], key: str) -> dict[str, Any]:
    return answered(service.terminal.post("/v1/verifications", body, Idempotency_Key=key))


@pytest.mark.parametrize(
    ("how", "reason"), [("suspend", "card-suspended"), ("report-loss", "card-suspended"), ("cancel", "card-cancelled")]
)
@pytest.mark.parametrize("make", ["signed", "national"])
def test_an_acceptance_is_not_replayed_for_a_stopped_card(service: Service, make: str, how: str, reason: str) -> None:
    """Measure H. What a check answers now, of its own record; and the one that was accepted stays in the history."""
    card_id = service.app.register()["card_id"]
    code = answered(service.app.post(f"/v1/cards/{card_id}/codes", {"format": make}))["code"]
    body = {"code": code, "step": "registration"}
    first = replay(service, body, "k")
    assert replay(service, body, "k") == first
    service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "r"})
    told = replay(service, body, "k")
    assert (told["outcome"], told["reason"]) == ("rejected", reason)
    assert not {"card", "resident"} & set(told)
    assert record(service, first["verification_id"]).reason is None
    assert record(service, told["verification_id"]).reason == reason


def test_an_acceptance_stands_again_when_its_card_does_unless_its_codes_were_closed(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    body = {"code": service.app.code(card_id), "step": "registration"}
    first = replay(service, body, "k")
    service.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "r"})
    assert replay(service, body, "k")["reason"] == "card-suspended"
    service.app.post(f"/v1/cards/{card_id}/resume", {"reason": "r"})
    assert replay(service, body, "k") == first
    change(service, {"card_id": card_id}, codes_since=service.clock.now() + timedelta(seconds=1))
    assert replay(service, body, "k")["reason"] == "expired"


def test_an_acceptance_is_replayed_for_a_day_while_its_card_is_active(service: Service) -> None:
    body = {"code": service.app.code(service.app.register()["card_id"]), "step": "registration"}
    first = replay(service, body, "k")
    service.clock.advance(86_399)
    service.terminal.__post_init__()
    before = row_counts(service)
    assert replay(service, body, "k") == first
    assert row_counts(service) == before


def test_where_sharing_has_ended_a_replay_tells_nothing_of_the_holder(service: Service) -> None:
    card = service.app.register()
    guarded(service, card)
    body = {"code": service.app.code(card["card_id"]), "step": "registration"}
    first = replay(service, body, "k")
    assert "acted_for" in first["card"]
    change(service, card, sharing=False)
    told = replay(service, body, "k")
    assert (told["outcome"], told["verification_id"]) == ("accepted", first["verification_id"])
    assert told["resident"] is None
    assert set(told["card"]["acted_for"]) == {"relation"}


@pytest.mark.parametrize("make", [printed, lambda _, card: static(card)], ids=["print", "national"])
@pytest.mark.parametrize("how", ["card", "institution", "suspend", "print"])
def test_an_acceptance_of_a_static_code_is_not_replayed_once_it_is_switched_off(
    service: Service, make: Any, how: str
) -> None:
    card = service.app.register()
    allow_static(service, card)
    body = {"code": make(service, card), "step": "registration"}
    first = replay(service, body, "k")
    assert replay(service, body, "k") == first
    match how:
        case "print":
            printed(service, card)
        case "suspend":
            change(service, card, status="suspended")
        case _:
            allow_static(service, card, card_allows=how != "card", here=how != "institution")
    told = replay(service, body, "k")
    if how == "print" and make is not printed:
        assert told == first
        return
    reason = {"suspend": "card-suspended", "print": "expired"}.get(how, "static-not-allowed")
    assert (told["outcome"], told["reason"]) == ("rejected", reason)


def test_an_acceptance_is_not_replayed_once_its_key_is_revoked(service: Service) -> None:
    body = {"code": service.app.code(service.app.register()["card_id"]), "step": "registration"}
    assert replay(service, body, "k")["outcome"] == "accepted"
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        signing_keys.revoke(session, kek, signer_of(service).key_id, now=service.clock.now())
    assert replay(service, body, "k")["reason"] == "unknown-key"


def test_a_refusal_is_replayed_as_it_was(service: Service) -> None:
    card_id = service.app.register()["card_id"]
    service.app.post(f"/v1/cards/{card_id}/suspend", {"reason": "r"})
    body = {"code": minted(service, serial=serial_of(service, card_id)), "step": "registration"}
    first = replay(service, body, "k")
    assert first["reason"] == "card-suspended"
    service.app.post(f"/v1/cards/{card_id}/resume", {"reason": "r"})
    assert replay(service, body, "k") == first
