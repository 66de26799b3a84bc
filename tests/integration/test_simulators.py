"""The simulators of the outside parties: started as a process, asked through the real adapters, told to fail."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ehc.clock import SystemClock
from ehc.core.documents import Document
from ehc.dev.leftovers import Leftovers
from ehc.dev.process import DevServerError
from ehc.dev.simulators.controls import Controls, OrderError
from ehc.dev.simulators.launcher import Simulators, identity_key_file, sms_key_file
from ehc.dev.simulators.party import MODES, Party
from ehc.outside.identity_authority import AuthorityAway, Finding, HttpIdentityAuthority, Outcome, Question
from ehc.outside.signed_http import FRESH, PartyKey
from ehc.outside.sms_gateway import HttpSmsGateway, SmsAway, SmsRefused
from ehc.parties import identity_authority, sms_gateway
from ehc.settings import Settings, SettingsError

NAME, NUMBER = "欧阳晓燕", "11010020171225006X"
DOCUMENT = Document("01", NUMBER)
PERSON = Question(NAME, DOCUMENT, date(2017, 12, 25))
PHONE = "13912345678"
IN_TIME = 3.6
FAULTS = sorted(set(MODES) - {"normal"})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulators]:
    with Simulators(tmp_path_factory.mktemp("outside") / "simulators") as made:
        yield made


@pytest.fixture
def simulators(running: Simulators) -> Simulators:
    """Running, knowing nobody."""
    running.controls.clear()
    return running


@pytest.fixture
def controls(simulators: Simulators) -> Controls:
    return simulators.controls


@pytest.fixture
def authority(simulators: Simulators) -> HttpIdentityAuthority:
    return HttpIdentityAuthority(simulators.url, identity_key_file(simulators.data_dir), clock=SystemClock())


@pytest.fixture
def gateway(simulators: Simulators) -> HttpSmsGateway:
    return HttpSmsGateway(simulators.url, sms_key_file(simulators.data_dir), clock=SystemClock())


def send(gateway: HttpSmsGateway, message_id: UUID | None = None, *, phone: str = PHONE, code: str = "493817") -> None:
    gateway.send(phone, "phone-code", {"code": code, "minutes": "5"}, message_id or uuid4())


def eventually(condition: Callable[[], bool], *, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def hold(controls: Controls, **changes: str) -> None:
    controls.add_person(name=NAME, id_type="01", id_number=NUMBER, birth_date=date(2017, 12, 25), **changes)


# --- what they answer


def test_people_nobody_told_of_are_a_match_unless_their_name_says_otherwise(authority: HttpIdentityAuthority) -> None:
    found = {
        ending: authority.ask(Question(f"王{ending}", DOCUMENT)).outcome
        for ending in ("小明", "查无", "不符", "失效", "已故")
    }
    assert found == {
        "小明": Outcome.MATCH,
        "查无": Outcome.NOT_FOUND,
        "不符": Outcome.MISMATCH,
        "失效": Outcome.DOCUMENT_INVALID,
        "已故": Outcome.DECEASED,
    }


def test_a_person_who_is_held_has_to_fit(authority: HttpIdentityAuthority, controls: Controls) -> None:
    hold(controls)
    assert authority.ask(PERSON).outcome == Outcome.MATCH
    assert authority.ask(Question(NAME, DOCUMENT)).outcome == Outcome.MATCH
    assert authority.ask(Question("王小明", DOCUMENT)).outcome == Outcome.MISMATCH
    assert authority.ask(Question(NAME, DOCUMENT, date(2017, 12, 26))).outcome == Outcome.MISMATCH


@pytest.mark.parametrize("status", ["lost", "expired", "cancelled"])
def test_a_document_that_is_not_in_force_is_told_to_whom_the_name_fits(
    authority: HttpIdentityAuthority, controls: Controls, status: str
) -> None:
    hold(controls, status=status)
    assert authority.ask(PERSON).outcome == Outcome.DOCUMENT_INVALID
    assert authority.ask(Question("王小明", DOCUMENT)).outcome == Outcome.MISMATCH


def test_every_answer_has_a_reference_of_its_own(authority: HttpIdentityAuthority) -> None:
    assert len({authority.ask(PERSON).reference for _ in range(5)}) == 5


def test_a_death_is_told_in_checks_and_notices(authority: HttpIdentityAuthority, controls: Controls) -> None:
    hold(controls)
    assert authority.deaths(None).notices == ()
    controls.mark_dead(id_type="01", id_number=NUMBER, death_date=date(2025, 11, 2))
    found = authority.ask(PERSON)
    assert found == Finding(Outcome.DECEASED, found.reference, date(2025, 11, 2))
    assert authority.ask(Question("王小明", DOCUMENT)).outcome == Outcome.MISMATCH
    (notice,) = authority.deaths(None).notices
    assert (notice.document, notice.death_date) == (DOCUMENT, date(2025, 11, 2))
    assert [one["notice_id"] for one in controls.deaths()] == [notice.notice_id]


def test_notices_are_paged_and_each_comes_once(authority: HttpIdentityAuthority, controls: Controls) -> None:
    for number in range(101):
        controls.mark_dead(id_type="03", id_number=f"E{number:08}", death_date=date(2025, 11, 2))
    first = authority.deaths(None)
    second = authority.deaths(first.cursor)
    assert (len(first.notices), first.more, len(second.notices), second.more) == (100, True, 1, False)
    assert len({notice.notice_id for notice in first.notices + second.notices}) == 101
    assert authority.deaths(second.cursor).notices == ()
    controls.mark_dead(id_type="03", id_number="E99999999", death_date=date(2025, 11, 2))
    (new,) = authority.deaths(second.cursor).notices
    assert new.document.number == "E99999999"


def test_a_message_can_be_read_where_it_was_sent(gateway: HttpSmsGateway, controls: Controls) -> None:
    send(gateway, code="000001")
    send(gateway, code="000002")
    send(gateway, phone="13800138001")
    assert [message["values"]["code"] for message in controls.messages(PHONE)] == ["000002", "000001"]
    assert len(controls.messages()) == 3


def test_one_message_id_is_one_message(gateway: HttpSmsGateway, controls: Controls) -> None:
    one = uuid4()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: send(gateway, one), range(16)))
    send(gateway, one, code="999999")
    assert [message["values"]["code"] for message in controls.messages()] == ["493817"]


def test_a_message_whose_answer_was_lost_is_sent_again_once(gateway: HttpSmsGateway, controls: Controls) -> None:
    one = uuid4()
    controls.set_mode("lost-answer", party="sms")
    with pytest.raises(SmsAway):
        send(gateway, one)
    assert len(controls.messages(PHONE)) == 1
    controls.set_mode("normal")
    send(gateway, one)
    assert len(controls.messages(PHONE)) == 1


def test_a_number_that_cannot_receive_is_refused(gateway: HttpSmsGateway, controls: Controls) -> None:
    with pytest.raises(SmsRefused):
        send(gateway, phone="13800130000")
    assert controls.messages() == []


# --- how they fail


@pytest.mark.parametrize("mode", FAULTS)
def test_every_fault_is_an_absent_party_in_time_and_only_that_party(
    authority: HttpIdentityAuthority, gateway: HttpSmsGateway, controls: Controls, mode: str
) -> None:
    asks: dict[str, tuple[type[Exception], Callable[[], object]]] = {
        "identity": (AuthorityAway, lambda: authority.ask(PERSON)),
        "sms": (SmsAway, lambda: send(gateway)),
    }
    for faulty, (kind, ask) in asks.items():
        controls.set_mode("normal")
        controls.set_mode(mode, party=faulty, seconds=6)
        began = time.monotonic()
        with pytest.raises(kind):
            ask()
        assert time.monotonic() - began < IN_TIME
        for well in set(asks) - {faulty}:
            asks[well][1]()


def test_death_notices_fail_alike(authority: HttpIdentityAuthority, controls: Controls) -> None:
    controls.set_mode("wrong-signature", party="identity")
    with pytest.raises(AuthorityAway):
        authority.deaths(None)


@pytest.mark.parametrize("mode", sorted(set(FAULTS) - {"slow"}))
def test_a_party_that_comes_back_is_heard(authority: HttpIdentityAuthority, controls: Controls, mode: str) -> None:
    controls.set_mode(mode)
    with pytest.raises(AuthorityAway):
        authority.ask(PERSON)
    controls.set_mode("normal")
    assert authority.ask(PERSON).outcome == Outcome.MATCH


def test_a_party_that_is_slow_but_not_too_slow_is_heard(authority: HttpIdentityAuthority, controls: Controls) -> None:
    controls.set_mode("slow", seconds=1.2)
    began = time.monotonic()
    assert authority.ask(PERSON).outcome == Outcome.MATCH
    assert time.monotonic() - began >= 1.2


def test_a_slow_party_holds_few_threads(authority: HttpIdentityAuthority, controls: Controls) -> None:
    assert eventually(lambda: controls.state()["parties"]["identity"]["waiting"] == 0)  # of an earlier test
    controls.clear()
    controls.set_mode("slow", seconds=4)

    def timed(_: int) -> float:
        began = time.monotonic()
        with pytest.raises(AuthorityAway):
            authority.ask(PERSON)
        return time.monotonic() - began

    with ThreadPoolExecutor(32) as threads:
        assert max(threads.map(timed, range(32))) < IN_TIME
    assert controls.state()["parties"]["identity"]["most_waiting"] == 8


# --- whom they listen to


def test_a_stranger_is_not_answered(simulators: Simulators, controls: Controls) -> None:
    stranger = PartyKey("simulated-authority", b"x" * 32)
    with pytest.raises(AuthorityAway):
        HttpIdentityAuthority(simulators.url, stranger, clock=SystemClock()).ask(PERSON)
    other_party = PartyKey.from_file(identity_key_file(simulators.data_dir))
    with pytest.raises(SmsAway):
        send(HttpSmsGateway(simulators.url, other_party, clock=SystemClock()))
    assert controls.messages() == []


def request(
    key: PartyKey, at: int, nonce: str = "0" * 32, body: bytes = b"{}", path: str = "/v1/messages"
) -> dict[str, str]:
    return {
        "X-Ehc-Key": key.key_id,
        "X-Ehc-Time": str(at),
        "X-Ehc-Nonce": nonce,
        "X-Ehc-Signature": key.sign_request(path, at, nonce, body),
    }


def test_a_request_is_admitted_once_and_while_it_is_fresh() -> None:
    key = PartyKey("a", b"k" * 32)
    party, now = Party({}, key=key), int(time.time())
    nonces = iter(f"{number:032x}" for number in range(100))
    for seconds, admitted in [(0, True), (-FRESH + 5, True), (FRESH, True), (-FRESH - 1, False), (FRESH + 5, False)]:
        nonce = next(nonces)
        headers = request(key, now + seconds, nonce)
        assert party.admits("/v1/messages", headers, b"{}") is admitted
        assert not party.admits("/v1/messages", headers, b"{}")


@pytest.mark.parametrize(
    "changes",
    [
        {"X-Ehc-Key": "b"},
        {"X-Ehc-Time": "now"},
        {"X-Ehc-Time": ""},
        {"X-Ehc-Nonce": "1" * 32},
        {"X-Ehc-Nonce": ""},
        {"X-Ehc-Signature": "0" * 64},
        {"X-Ehc-Signature": "é"},
    ],
    ids=str,
)
def test_a_request_that_was_changed_is_not_admitted(changes: dict[str, str]) -> None:
    key = PartyKey("a", b"k" * 32)
    headers = request(key, int(time.time()))
    assert not Party({}, key=key).admits("/v1/messages", headers | changes, b"{}")
    assert not Party({}, key=key).admits("/v1/messages", headers, b"[]")
    assert not Party({}, key=key).admits("/v1/identity-checks", headers, b"{}")
    assert Party({}, key=key).admits("/v1/messages", headers, b"{}")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/simulator/nothing", {}),
        ("/simulator/mode", {"mode": "unheard-of"}),
        ("/simulator/mode", {"mode": "slow", "seconds": 61}),
        ("/simulator/mode", {"mode": "slow", "party": "post-office"}),
        ("/simulator/people", {"name": NAME}),
        ("/simulator/people", {"name": NAME, "id_type": "01", "id_number": "1"}),
        ("/simulator/people", {"name": NAME, "id_type": "01", "id_number": NUMBER, "status": "torn"}),
        ("/simulator/deaths", {"id_type": "01", "id_number": NUMBER, "death_date": "someday"}),
        ("/simulator/people", ["王小明"]),
    ],
    ids=str,
)
def test_an_order_that_makes_no_sense_is_refused(controls: Controls, path: str, body: object) -> None:
    with pytest.raises(OrderError):
        controls._send(path, body)  # type: ignore[arg-type]  # also what is no object
    assert controls.state()["parties"]["identity"]["mode"] == "normal"


def test_orders_from_a_page_in_a_browser_are_refused(simulators: Simulators) -> None:
    rebound = urllib.request.Request(simulators.url + "/simulator/messages", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(rebound, timeout=5)
    caught.value.close()
    assert caught.value.code == 403


# --- the process


def test_they_say_what_they_are(simulators: Simulators, controls: Controls) -> None:
    told = simulators.log.read_text(encoding="utf-8")
    assert told.startswith("SIMULATOR")
    assert "reaches nobody's phone" in told
    assert "match" in told
    assert "SIMULATOR" in controls.state()


def test_they_log_nothing_of_people(
    simulators: Simulators, authority: HttpIdentityAuthority, gateway: HttpSmsGateway
) -> None:
    authority.ask(PERSON)
    send(gateway)
    told = simulators.log.read_text(encoding="utf-8")
    assert not any(secret in told for secret in (NAME, NUMBER, PHONE, "493817"))


def test_their_settings_are_those_the_service_reads(simulators: Simulators) -> None:
    given = simulators.environment()
    parties = ("AUTHORITY", "SMS", "BANK", "CARD_READER")
    with_keys = {f"EHC_{party}_{what}" for party in parties for what in ("URL", "KEY_FILE")}
    assert set(given) == with_keys | {"EHC_WECHAT_URL", "EHC_ALIPAY_URL"}  # these have keys for each app
    files = [Path(given[f"EHC_{party}_KEY_FILE"]) for party in parties]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert len({PartyKey.from_file(file).secret for file in files}) == len(files)


def test_they_start_again_at_the_same_place_with_the_same_keys(tmp_path: Path) -> None:
    own = Simulators(tmp_path / "simulators", unknown="not-found")
    with pytest.raises(DevServerError, match="not started"):
        _ = own.url
    try:
        url = own.start()
        authority = HttpIdentityAuthority(url, identity_key_file(own.data_dir), clock=SystemClock())
        assert authority.ask(PERSON).outcome == Outcome.NOT_FOUND
        own.stop()
        assert not own.running()
        with pytest.raises(AuthorityAway):
            authority.ask(PERSON)
        assert own.start() == url
        assert authority.ask(PERSON).outcome == Outcome.NOT_FOUND
        own.kill()
        assert not own.running()
        assert own.start() == url
        assert authority.ask(PERSON).outcome == Outcome.NOT_FOUND
    finally:
        own.stop()


def test_they_stop_at_once_even_with_a_question_under_way(tmp_path: Path) -> None:
    with Simulators(tmp_path / "simulators") as own:
        authority = HttpIdentityAuthority(own.url, identity_key_file(own.data_dir), clock=SystemClock())
        own.controls.set_mode("slow", seconds=60)
        with ThreadPoolExecutor(1) as thread:
            asked = thread.submit(authority.ask, PERSON)
            while own.controls.state()["parties"]["identity"]["waiting"] == 0:
                time.sleep(0.01)
            began = time.monotonic()
            own.stop()
            assert time.monotonic() - began < 2
            with pytest.raises(AuthorityAway):
                asked.result()


def test_one_folder_has_one_owner(simulators: Simulators) -> None:
    with pytest.raises(DevServerError, match="already in use"):
        Simulators(simulators.data_dir).start()
    assert simulators.running()


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        own = Simulators(tmp_path / "simulators", bind=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(DevServerError, match="ended with status 1"):
            own.start()
    assert not own.running()


OWNER = """
import sys, time
from pathlib import Path
from ehc.dev.simulators.launcher import Simulators
print(Simulators(Path(sys.argv[1]) / "simulators").start(), flush=True)
time.sleep(60)
"""


def test_they_do_not_outlive_an_owner_that_was_killed(tmp_path: Path) -> None:
    """The processes are looked for by the folder on their command line."""
    left = Leftovers(tmp_path / "simulators", Simulators.programs, frozenset({os.geteuid()}))
    command = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert "SIMULATOR" in Controls(owner.stdout.readline().strip()).state()
        assert len(left.find()) == 1
        owner.kill()
    assert eventually(lambda: not left.find())


def test_the_command_by_hand_says_where_it_is_and_ends_on_a_signal(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "ehc.dev.simulators",
        "--bind",
        "127.0.0.1:0",
        "--folder",
        str(tmp_path / "by-hand"),
    ]
    env = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdout is not None
        banner = process.stdout.readline()
        assert "SIMULATOR" in banner
        url = banner.rsplit(" ", 1)[1].strip()
        assert "SIMULATOR" in Controls(url).state()
        process.terminate()
        assert process.wait(5) == 0


@pytest.mark.parametrize("bind", ["8010", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:x"])
def test_an_address_that_is_none_is_told(tmp_path: Path, bind: str) -> None:
    command = [sys.executable, "-m", "ehc.dev.simulators", "--bind", bind, "--folder", str(tmp_path / "by-hand")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "host:port" in done.stderr
    assert not (tmp_path / "by-hand").exists()


def test_the_rules_are_in_the_document_as_they_are_in_the_simulators(controls: Controls) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "outside-parties.md").read_text(encoding="utf-8")
    rules = controls.state()["rules"]
    for ending, outcome in rules["name_endings"].items():
        assert f"| {ending} | `{outcome}` |" in text
    for mode, meaning in MODES.items():
        assert f"| `{mode}` | {meaning.split(' after ')[0]}" in text
    assert json.dumps(rules["phones_refused"])[-5:-1] in text


def test_a_simulators_key_is_refused_outside_the_demo(tmp_path: Path) -> None:
    with Simulators(tmp_path / "parties") as parties:
        told = parties.environment()
    files: dict[str, Any] = {
        "authority_key_file": Path(told["EHC_AUTHORITY_KEY_FILE"]),
        "sms_key_file": Path(told["EHC_SMS_KEY_FILE"]),
    }
    urls: dict[str, Any] = {"authority_url": told["EHC_AUTHORITY_URL"], "sms_url": told["EHC_SMS_URL"]}
    settings = Settings("postgresql://nowhere", tmp_path / "kek", demo=True, **urls, **files)
    for party in (identity_authority, sms_gateway):
        assert party(settings, SystemClock()) is not None
        with pytest.raises(SettingsError, match="simulator"):
            party(replace(settings, demo=False), SystemClock())
        with pytest.raises(SettingsError, match="key file"):
            party(replace(settings, authority_key_file=None, sms_key_file=None), SystemClock())
        assert party(replace(settings, authority_url=None, sms_url=None), SystemClock()) is None
