"""The identity authority's and the SMS gateway's adapters: what they send, which answers make sense, what they tell."""

import json
import logging
import ssl
import traceback
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from structlog.testing import capture_logs

from ehc.core.documents import Document
from ehc.errors import Unavailable
from ehc.outside.identity_authority import (
    AuthorityAway,
    DeathNotice,
    DeathPage,
    Finding,
    HttpIdentityAuthority,
    Outcome,
    Question,
)
from ehc.outside.signed_http import PartyKey, SetupError
from ehc.outside.sms_gateway import HttpSmsGateway, SmsAway, SmsRefused
from tests.support.loggers import forget_loggers
from tests.support.service import HeldClock
from tests.unit.test_outside_signed_http import KEY, NOW, Asked, Peer, answer

NAME, NUMBER, PHONE, CODE = "欧阳晓燕", "11010020171225006X", "13912345678", "493817"
BORN = date(2017, 12, 25)
PERSON = Question(NAME, Document("01", NUMBER), BORN)
MESSAGE = UUID("01950000-0000-7000-8000-000000000001")
DIED = {"outcome": "deceased", "reference": "R-1", "death_date": "2025-11-02"}


class Party(Peer):
    """A peer that signs whatever JSON `told` is."""

    def __init__(self, told: object = None) -> None:
        super().__init__(lambda asked: [answer(asked, json.dumps(self.told).encode())])
        self.told = told

    @property
    def authority(self) -> HttpIdentityAuthority:
        return HttpIdentityAuthority(self.url, KEY, clock=HeldClock(NOW))

    @property
    def gateway(self) -> HttpSmsGateway:
        return HttpSmsGateway(self.url, KEY, clock=HeldClock(NOW))


@pytest.fixture
def party() -> Iterator[Party]:
    with Party() as made:
        yield made


def send(gateway: HttpSmsGateway) -> None:
    gateway.send(PHONE, "phone-code", {"code": CODE, "minutes": "5"}, MESSAGE)


# --- the identity authority


def test_a_question_travels_as_the_document_says(party: Party) -> None:
    party.told = {"outcome": "match", "reference": "R-1", "death_date": None}
    assert party.authority.ask(PERSON) == Finding(Outcome.MATCH, "R-1")
    party.authority.ask(Question(NAME, Document("03", "E12345678")))
    first, second = party.asked
    assert first.line == "POST /v1/identity-checks HTTP/1.1"
    assert json.loads(first.body) == {
        "name": NAME,
        "document": {"type": "01", "number": NUMBER},
        "birth_date": "2017-12-25",
    }
    assert json.loads(second.body)["birth_date"] is None


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_is_told(party: Party, outcome: Outcome) -> None:
    party.told = {"outcome": outcome.value, "reference": "r" * 64, "anything": "more"}
    assert party.authority.ask(PERSON) == Finding(outcome, "r" * 64)


def test_a_death_has_its_day_up_to_today_in_china(party: Party) -> None:
    party.told = DIED
    assert party.authority.ask(PERSON) == Finding(Outcome.DECEASED, "R-1", date(2025, 11, 2))
    party.told = DIED | {"death_date": "2026-03-01"}
    assert party.authority.ask(PERSON).death_date == date(2026, 3, 1)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"outcome": "match"},
        {"reference": "R-1"},
        {"outcome": "MATCH", "reference": "R-1"},
        {"outcome": "unknown", "reference": "R-1"},
        {"outcome": ["match"], "reference": "R-1"},
        {"outcome": None, "reference": "R-1"},
        {"outcome": "match", "reference": ""},
        {"outcome": "match", "reference": "r" * 65},
        {"outcome": "match", "reference": "R 1"},
        {"outcome": "match", "reference": "R\n"},
        {"outcome": "match", "reference": "王小明"},
        {"outcome": "match", "reference": 1},
        {"outcome": "match", "reference": "R-1", "death_date": "2025-11-02"},
        DIED | {"death_date": "2026-03-02"},
        DIED | {"death_date": "2025-11-31"},
        DIED | {"death_date": "20251102"},
        DIED | {"death_date": "2025-W44-7"},
        DIED | {"death_date": ""},
        DIED | {"death_date": 20251102},
        [],
        None,
    ],
    ids=str,
)
def test_an_answer_that_makes_no_sense_is_no_answer(party: Party, told: object) -> None:
    party.told = told
    with pytest.raises(AuthorityAway):
        party.authority.ask(PERSON)


# --- death notices


def notice(number: int = 1, **changes: Any) -> dict[str, Any]:
    made = {"notice_id": f"D-{number}", "document": {"type": "01", "number": NUMBER}, "death_date": "2026-03-01"}
    return made | changes


def page(*notices: object, cursor: Any = "c-1", more: Any = False) -> dict[str, Any]:
    return {"notices": list(notices), "cursor": cursor, "more": more}


def test_notices_come_in_pages(party: Party) -> None:
    party.told = page(notice(1), notice(2, document={"type": "01", "number": "110100171225006"}), more=True)
    found = party.authority.deaths(None)
    dead = DeathNotice("D-1", Document("01", NUMBER), date(2026, 3, 1))
    assert found.notices[0] == dead
    assert found.notices[1].document.number.startswith("11010019171225006")  # 15 digits are of the last century
    assert (found.unreadable, found.cursor, found.more) == ((), "c-1", True)
    party.told = page(cursor="c-1")
    assert party.authority.deaths("c-1") == DeathPage((), (), "c-1", more=False)
    assert [json.loads(asked.body) for asked in party.asked] == [
        {"after": None, "limit": 100},
        {"after": "c-1", "limit": 100},
    ]
    assert party.asked[0].line == "POST /v1/death-notices HTTP/1.1"


def test_a_full_page_is_read_and_a_fuller_one_is_not(party: Party) -> None:
    party.told = page(*(notice(number) for number in range(100)))
    assert len(party.authority.deaths(None).notices) == 100
    party.told = page(*(notice(number) for number in range(101)))
    with pytest.raises(AuthorityAway):
        party.authority.deaths(None)


@pytest.mark.parametrize(
    "changes",
    [
        {"document": {"type": "01", "number": NUMBER[:-1] + "1"}},
        {"document": {"type": "77", "number": NUMBER}},
        {"document": {"type": "01"}},
        {"document": NUMBER},
        {"document": None},
        {"death_date": "2026-03-02"},
        {"death_date": "someday"},
        {"death_date": None},
    ],
    ids=str,
)
def test_one_notice_that_cannot_be_does_not_stop_the_others(party: Party, changes: dict[str, Any]) -> None:
    party.told = page(notice(1), notice(2, **changes), notice(3))
    with capture_logs() as told:
        found = party.authority.deaths(None)
    assert [one.notice_id for one in found.notices] == ["D-1", "D-3"]
    assert found.unreadable == ("D-2",)
    assert [(line["event"], line["count"]) for line in told] == [("death notices cannot be read", 1)]


@pytest.mark.parametrize(
    "told",
    [
        page(cursor=""),
        page(cursor="c" * 201),
        page(cursor="c 1"),
        page(cursor=1),
        page(cursor=None),
        page(more="no"),
        page(more=None),
        page(notice(1), cursor="since", more=True),
        page(notice(1), {"document": {}}),
        page(notice(1, notice_id="")),
        page(notice(1, notice_id="D 1")),
        page("D-1"),
        {"notices": {}, "cursor": "c", "more": False},
        {"cursor": "c", "more": False},
    ],
    ids=lambda told: str(told)[:60],
)
def test_a_page_that_makes_no_sense_is_no_answer(party: Party, told: dict[str, Any]) -> None:
    party.told = told
    with pytest.raises(AuthorityAway):
        party.authority.deaths("since")


def test_a_cursor_of_the_largest_size_is_kept(party: Party) -> None:
    party.told = page(cursor="~" * 200)
    assert party.authority.deaths(None).cursor == "~" * 200


# --- the SMS gateway


def test_a_message_travels_as_the_document_says(party: Party) -> None:
    party.told = {"result": "accepted"}
    send(party.gateway)
    (asked,) = party.asked
    assert asked.line == "POST /v1/messages HTTP/1.1"
    assert json.loads(asked.body) == {
        "message_id": str(MESSAGE),
        "phone": PHONE,
        "template": "phone-code",
        "values": {"code": CODE, "minutes": "5"},
    }


def test_a_refused_number_is_told_apart_from_an_absent_gateway(party: Party) -> None:
    party.told = {"result": "refused"}
    with pytest.raises(SmsRefused) as caught:
        send(party.gateway)
    assert caught.value.code == "sms-refused"
    assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize("told", [{}, {"result": "ok"}, {"result": ["accepted"]}, {"result": None}, []], ids=str)
def test_an_answer_of_the_gateway_that_makes_no_sense_is_no_answer(party: Party, told: object) -> None:
    party.told = told
    with pytest.raises(SmsAway):
        send(party.gateway)


# --- both


def test_the_key_may_be_given_as_its_file(tmp_path: Path) -> None:
    PartyKey.make_file(tmp_path / "key", "a-key")
    for adapter in (HttpIdentityAuthority, HttpSmsGateway):
        adapter("https://bridge.example", tmp_path / "key", clock=HeldClock(NOW))
        with pytest.raises(SetupError):
            adapter("https://bridge.example", tmp_path / "none", clock=HeldClock(NOW))
        with pytest.raises(SetupError):
            adapter("http://bridge.example", tmp_path / "key", clock=HeldClock(NOW))


def silent(_: Asked) -> list[bytes | float]:
    return []


def echoing(asked: Asked) -> list[bytes | float]:
    """What was asked, in every place of a refusal in which it can stand."""
    text = asked.body.decode("utf-8").encode("utf-8").decode("latin-1").replace("\n", "")
    return [answer(asked, asked.body, status=500, claim=500, X_Echo=text, more=f"{text}\r\n")]


def echoed_as_an_answer(asked: Asked) -> list[bytes | float]:
    return [answer(asked, asked.body)]


def echoed_as_no_http(asked: Asked) -> list[bytes | float]:
    return [asked.body + b"\r\n\r\n"]


def echoed_as_a_length(asked: Asked) -> list[bytes | float]:
    return [b"HTTP/1.1 200 x\r\nContent-Length: " + asked.body + b"\r\n\r\n"]


@pytest.mark.parametrize("script", [silent, echoing, echoed_as_an_answer, echoed_as_no_http, echoed_as_a_length])
def test_nothing_of_a_person_is_in_errors_or_logs(
    party: Party, script: Callable[[Asked], list[bytes | float]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    forget_loggers()
    party.script = script
    errors: list[BaseException] = []
    with capture_logs() as lines:
        for _ in range(2):
            with pytest.raises(AuthorityAway) as away:
                party.authority.ask(PERSON)
            with pytest.raises(SmsAway) as unsent:
                send(party.gateway)
            errors += [away.value, unsent.value]
    told = [json.dumps(line, ensure_ascii=False, default=repr) for line in lines]
    told += [record.getMessage() for record in caplog.records if record.name.startswith("urllib3")]
    for error in errors:
        told += [*traceback.format_exception(error), repr(error), repr(vars(error))]
    assert len(lines) == 4
    for secret in (NAME, NUMBER, PHONE, CODE, "2017-12-25", ascii(NAME)[1:-1]):
        assert not any(secret in text for text in told)


def test_nothing_of_a_person_is_in_what_prints_itself() -> None:
    dead = DeathNotice("D-1", Document("01", NUMBER), date(2026, 3, 1))
    printed = repr(
        [PERSON, dead, Finding(Outcome.DECEASED, "R-1", date(2026, 3, 1)), DeathPage((dead,), (), "c", False)]
    )
    for secret in (NAME, NUMBER, "2017", "2026"):
        assert secret not in printed


def test_errors_say_what_to_do_in_both_languages_and_when(party: Party) -> None:
    party.script = silent
    with pytest.raises(Unavailable) as away:
        party.authority.ask(PERSON)
    assert (away.value.code, away.value.retry_after) == ("authority-away", 5)
    with pytest.raises(Unavailable) as unsent:
        send(party.gateway)
    assert (unsent.value.code, unsent.value.retry_after) == ("sms-away", 5)
    for error in (away.value, unsent.value):
        assert error.detail.zh
        assert error.detail.en.isascii()


# --- TLS


class TlsParty(Party):
    """A party behind TLS, its own certificate authority."""

    def __init__(self, folder: Path) -> None:
        super().__init__({"outcome": "match", "reference": "R-1"})
        self._folder = folder

    def _serve(self, connection: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "certificate", self._folder / "key")
        try:
            wrapped = context.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
            return
        super()._serve(wrapped)


def certificate(folder: Path, address: str) -> Path:
    """A certificate that signs itself, for one address."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "party")])
    now = datetime.now(NOW.tzinfo)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "certificate"


@pytest.mark.parametrize(
    ("trusted", "address", "answers"),
    [(True, "127.0.0.1", True), (False, "127.0.0.1", False), (True, "127.0.0.2", False)],
    ids=["trusted", "not trusted", "of another address"],
)
def test_a_party_over_tls_has_to_show_a_certificate_we_trust(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trusted: bool, address: str, answers: bool
) -> None:
    authority_file = certificate(tmp_path, address)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority_file))
    with TlsParty(tmp_path) as party:
        party.url = party.url.replace("http:", "https:")
        if answers:
            assert party.authority.ask(PERSON).outcome == Outcome.MATCH
        else:
            with pytest.raises(AuthorityAway):
                party.authority.ask(PERSON)
            assert party.asked == []
