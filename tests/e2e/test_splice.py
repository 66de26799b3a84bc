"""National texts as attackers and clumsy scanners present them (national rules 2), against the whole service.

Nothing binds the parts of a national text to one another, so what decides is the platform's record of what it issued.
"""

from datetime import timedelta
from typing import Any

import pytest

from ehc.codes import national
from ehc.crypto.sm import sm4_ecb_decrypt, sm4_ecb_encrypt
from tests.e2e.peers import Peer
from tests.e2e.sites import Site
from tests.support.national import (
    allow_static,
    change,
    dynamic,
    issued,
    remember,
    secrets_of,
    static,
    uses,
    validity,
)
from tests.support.service import Service
from tests.support.service import told as answered

Card = dict[str, Any]


@pytest.fixture
def victim(service: Service) -> Card:
    return service.app.register(1)


@pytest.fixture
def attacker(service: Service) -> Card:
    return service.app.register(2)


def ends(service: Service, code: str, step: str = "registration", **more: Any) -> str | None:
    """The reason of a refusal, None where the code is accepted."""
    told = service.terminal.scan(code, step, **more)
    reason: str | None = told["reason"]
    assert (told["outcome"] == "accepted") == (reason is None) == ("card" in told)
    return reason


def history(service: Service, card: Card) -> list[tuple[str | None, list[str]]]:
    items = answered(service.app.get(f"/v1/cards/{card['card_id']}/verifications"))["items"]
    return [(entry["reason"], entry["disclosed"]) for entry in items]


def with_block(service: Service, card: Card, block: bytes) -> str:
    """A dynamic text whose validity is any block, under the right key."""
    key = max(secrets_of(service).protection_keys.items())[1]
    return dynamic(card, sm4_ecb_encrypt(key, block))


def test_a_code_that_was_issued_is_accepted(service: Service, victim: Card) -> None:
    told = service.terminal.scan(issued(service, victim))
    assert told["outcome"] == "accepted"
    assert told["card"]["card_id"] == victim["card_id"]
    assert told["card"]["assurance"] == "dynamic"
    assert told["resident"] == {key: victim["resident"][key] for key in ("name", "sex", "age")}


def test_a_code_that_the_app_is_given_is_accepted(service: Service, victim: Card) -> None:
    answer = service.app.post(f"/v1/cards/{victim['card_id']}/codes", {"format": "national"})
    assert answer.status_code == 201, answer.text
    assert ends(service, answered(answer)["code"]) is None


def test_splice_with_both_codes_live(service: Service, victim: Card, attacker: Card) -> None:
    genuine, own = issued(service, victim, ends_in=80), issued(service, attacker, ends_in=90)
    spliced = genuine[:67] + own[67:]
    assert spliced not in {genuine, own}
    assert ends(service, spliced) == "not-issued"
    assert history(service, victim) == [("not-issued", [])]  # the victim sees the attempt
    assert history(service, attacker) == []
    assert uses(service, genuine) == uses(service, own) == 0
    assert ends(service, genuine) is ends(service, own) is None


@pytest.mark.xdist_group("heavy")
def test_splice_of_two_codes_that_a_running_service_gave_out(site: Site) -> None:
    """All of it over HTTP, against a process of the service: fetched, spliced, refused, and on the victim's record."""
    site.launch()
    app, terminal, other = site.peer("app"), site.peer("terminal-0"), site.peer("terminal-1")
    victim, attacker = app.register(1), app.register(2)
    genuine, own = (fetched(app, card_id) for card_id in (victim, attacker))
    while (
        genuine[67:] == own[67:]
    ):  # one time in sixteen they end in the same second: then the splice is the victim's own
        own = fetched(app, attacker)
    spliced = f"{genuine[:67]}{own[67:]}"
    for at in (terminal, other):
        told = at.scan(spliced).body
        assert (told["outcome"], told["reason"]) == ("rejected", "not-issued")
        assert not {"card", "resident"} & set(told)
    listed = app.get(f"/v1/cards/{victim}/verifications").body["items"]
    assert [(entry["reason"], entry["disclosed"]) for entry in listed] == [("not-issued", [])] * 2
    assert app.get(f"/v1/cards/{attacker}/verifications").body["items"] == []
    told = terminal.scan(genuine).body
    assert (told["outcome"], told["card"]["card_id"]) == ("accepted", victim)


def fetched(app: Peer, card_id: str) -> str:
    """A national dynamic code, as a phone fetches it."""
    reply = app.post(f"/v1/cards/{card_id}/codes", {"format": "national"})
    assert reply.status == 201, reply.raw
    return str(reply.body["code"])


def test_splice_onto_a_card_without_a_live_code(service: Service, victim: Card, attacker: Card) -> None:
    own = issued(service, attacker)
    assert ends(service, f"{victim['ehc_id']}:0:{own[67:]}") == "not-issued"
    assert ends(service, own) is None


def test_splice_with_a_row_of_another_card(service: Service, victim: Card, attacker: Card) -> None:
    """Even a text that was remembered counts for the card it was issued to, and for no other."""
    spliced = dynamic(victim, validity(service))
    remember(service, attacker, spliced)
    assert ends(service, spliced) == "not-issued"


def test_splice_in_the_same_second(service: Service, victim: Card, attacker: Card) -> None:
    """One second is one validity, so the spliced text is the victim's own code: it has that code's uses and no more."""
    genuine, own = issued(service, victim, max_uses=1), issued(service, attacker, max_uses=1)
    assert genuine[67:] == own[67:]
    assert ends(service, f"{victim['ehc_id']}:0:{own[67:]}") is None
    assert service.second_terminal.scan(genuine)["reason"] == "already-used"
    assert uses(service, own) == 0


def test_the_same_second_after_the_victims_code_was_replaced(service: Service, victim: Card, attacker: Card) -> None:
    genuine, own = issued(service, victim), issued(service, attacker)
    issued(service, victim, ends_in=95, issued_in=0.5)
    service.clock.advance(6)
    assert ends(service, f"{victim['ehc_id']}:0:{own[67:]}") == "expired"
    assert ends(service, genuine) == "expired"


def test_type_downgrade(service: Service, victim: Card) -> None:
    live = issued(service, victim)
    assert ends(service, f"{live[:64]}:1") == "static-not-allowed"
    assert history(service, victim) == [("static-not-allowed", [])]


def test_type_downgrade_where_static_codes_are_allowed_tells_a_masked_name(service: Service, victim: Card) -> None:
    allow_static(service, victim)
    told = service.terminal.scan(f"{issued(service, victim)[:64]}:1")
    assert told["card"]["assurance"] == "static"
    assert set(told["resident"]) == {"name"}
    assert ends(service, static(victim), "payment") == "static-not-allowed"


@pytest.mark.parametrize("tail", [":1:{}", ":2", ":2:{}", ":0", ":00:{}", ":", ":1:", "::{}"])
def test_type_upgrade_and_types_that_are_not(service: Service, victim: Card, tail: str) -> None:
    allow_static(service, victim)
    field = validity(service).hex().upper()
    assert ends(service, victim["ehc_id"] + tail.format(field)) == "malformed"


def test_replay_after_success(service: Service, victim: Card) -> None:
    code = issued(service, victim, max_uses=1)
    assert ends(service, code) is None
    assert service.second_terminal.scan(code)["reason"] == "already-used"
    service.clock.advance(10)
    assert ends(service, code) == "already-used"
    assert uses(service, code) == 1


def test_replay_after_suspension(service: Service, victim: Card) -> None:
    code = issued(service, victim)
    assert ends(service, code) is None
    assert service.app.post(f"/v1/cards/{victim['card_id']}/suspend", {"reason": "r"}).status_code == 200
    assert ends(service, code) == "card-suspended"  # also within the ten seconds of the same terminal
    assert uses(service, code) == 1


def test_replay_after_the_codes_of_the_card_were_closed(service: Service, victim: Card) -> None:
    now = service.clock.now()
    code = issued(service, victim)
    change(service, victim, codes_since=now - timedelta(microseconds=1))
    assert ends(service, code) is None
    change(service, victim, codes_since=now)
    assert ends(service, code) == "expired"


def test_expired_by_one_second(service: Service, victim: Card) -> None:
    code = issued(service, victim, ends_in=30)
    service.clock.advance(30)
    assert ends(service, code) is None
    service.clock.advance(1)
    assert ends(service, code) == "expired"
    assert history(service, victim) == [("expired", []), (None, ["name:masked", "sex", "age"])]


@pytest.mark.parametrize(
    "digits",
    ["20260230120000", "20261301120000", "20260100120000", "20260101240000", "00000000000000", "99999999999999"],
)
def test_impossible_date(service: Service, victim: Card, digits: str) -> None:
    code = with_block(service, victim, bytes.fromhex(digits) + bytes(9))
    remember(service, victim, code)
    assert ends(service, code) == "malformed"
    assert history(service, victim) == [("malformed", [])]


def test_a_digit_that_is_not_decimal(service: Service, victim: Card) -> None:
    code = with_block(service, victim, bytes.fromhex("2026010112000A") + bytes(9))
    assert ends(service, remember(service, victim, code)) == "malformed"


@pytest.mark.parametrize("place", range(7, 16))
def test_non_zero_fill(service: Service, victim: Card, place: int) -> None:
    key = max(secrets_of(service).protection_keys.items())[1]
    until = service.clock.now() + timedelta(seconds=60)
    good = sm4_ecb_decrypt(key, national.validity(key, until))
    block = bytes(byte ^ (at == place) for at, byte in enumerate(good))
    assert ends(service, remember(service, victim, with_block(service, victim, good))) is None
    assert ends(service, remember(service, victim, with_block(service, victim, block))) == "malformed"


def test_a_time_in_ascii_is_not_taken_for_one(service: Service, victim: Card) -> None:
    """The other reading of the rules (1.2): 14 digits and two zero bytes."""
    block = f"{service.clock.now() + timedelta(hours=8, seconds=60):%Y%m%d%H%M%S}".encode() + bytes(2)
    assert ends(service, remember(service, victim, with_block(service, victim, block))) == "malformed"


def test_lower_case_hex(service: Service, victim: Card) -> None:
    code = issued(service, victim)
    for changed in (code.lower(), code[:64].lower() + code[64:], code[:67] + code[67:].lower()):
        assert changed != code
        assert ends(service, changed) == "malformed"
    assert history(service, victim) == []
    assert ends(service, code) is None


@pytest.mark.parametrize("around", [("", " "), ("", "\r\n"), ("", "\n"), ("\t", " \n"), (" ", "")], ids=repr)
def test_trailing_space_or_newline_from_a_scanner(service: Service, victim: Card, around: tuple[str, str]) -> None:
    code = issued(service, victim, max_uses=1)
    assert ends(service, code.join(around)) is None
    assert service.second_terminal.scan(code)["reason"] == "already-used"  # one text, however it was read


@pytest.mark.parametrize("outer", ["\u3000", "\u00a0", "\x0b", "\u200b", ":"], ids=repr)
def test_anything_else_at_an_end_is_not_tolerated(service: Service, victim: Card, outer: str) -> None:
    assert ends(service, issued(service, victim) + outer) == "malformed"


@pytest.mark.parametrize("code", ["a1B2" * 16 + ":9", "A" * 64 + ":9"])
def test_type_9_of_another_city(service: Service, code: str) -> None:
    told = service.terminal.scan(code)
    assert told["reason"] == "wrong-region"
    assert "其他地区" in told["message"]


def test_a_fourth_part_is_another_platforms(service: Service, victim: Card) -> None:
    code = issued(service, victim)
    assert ends(service, f"{code}:4400A0062FWHB0187") == "wrong-region"
    assert history(service, victim) == []
    assert uses(service, code) == 0
