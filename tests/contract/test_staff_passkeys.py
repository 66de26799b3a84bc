"""WebAuthn as a second factor: added, shown, and whatever else an authenticator, or somebody between, could answer."""

from typing import Any

import pytest

from ehc.access import totp
from ehc.callers import Role
from tests.contract.helpers import at_once, problem, wrong
from tests.support.service import Service, StaffApi, told
from tests.support.staff import CURRENT, ME, PASSWORD, Authenticator, Person, add_passkey, person


@pytest.fixture
def zhang(service: Service) -> Person:
    return person(service, Role.SECURITY_ADMIN)


@pytest.fixture
def key(zhang: Person) -> Authenticator:
    """An authenticator of theirs."""
    made = Authenticator()
    add_passkey(zhang.enter(), made)
    return made


def asked(who: Person) -> dict[str, Any]:
    """The challenge of a log-in."""
    answer = who.try_with(totp=None)
    assert answer.status_code == 200
    return dict(told(answer)["webauthn"])


def entry(question: dict[str, Any], credential: dict[str, Any]) -> dict[str, Any]:
    return {"totp": None, "webauthn": {"challenge_id": question["challenge_id"], "credential": credential}}


def test_a_challenge_first_then_the_answer(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    options = question["options"]
    assert (options["rpId"], options["timeout"], len(options["allowCredentials"])) == ("ehc.local", 300_000, 1)
    answer = zhang.try_with(**entry(question, key.assertion(options["challenge"], user=zhang.id.bytes)))
    assert answer.status_code == 201


def test_a_challenge_is_used_once(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    shown = entry(question, key.assertion(question["options"]["challenge"]))
    assert zhang.try_with(**shown).status_code == 201
    assert problem(zhang.try_with(**shown)) == (401, "log-in-refused")
    again = entry(question, key.assertion(question["options"]["challenge"]))
    assert problem(zhang.try_with(**again)) == (401, "log-in-refused")


def test_a_challenge_is_used_once_by_many_at_once(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    shown = entry(question, key.assertion(question["options"]["challenge"]))
    answers = at_once(*[lambda: zhang.try_with(**shown) for _ in range(4)])
    assert sorted(answer.status_code for answer in answers) == [201, 401, 401, 401]


def test_a_wrong_answer_uses_the_challenge_up(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    challenge = question["options"]["challenge"]
    assert zhang.try_with(**entry(question, Authenticator().assertion(challenge))).status_code == 401
    assert zhang.try_with(**entry(question, key.assertion(challenge))).status_code == 401


@pytest.mark.parametrize(("seconds", "status"), [(299, 201), (300, 401)])
def test_a_challenge_waits_for_five_minutes(zhang: Person, key: Authenticator, seconds: int, status: int) -> None:
    question = asked(zhang)
    shown = entry(question, key.assertion(question["options"]["challenge"]))
    zhang.service.clock.advance(seconds)
    assert zhang.try_with(**shown).status_code == status


@pytest.mark.parametrize(
    "origin",
    ["https://ehc.local.evil.example", "http://ehc.local", "https://ehc.local:8443", "https://EHC.local", "null"],
)
def test_another_origin_is_refused(zhang: Person, key: Authenticator, origin: str) -> None:
    question = asked(zhang)
    key.origin = origin
    assert zhang.try_with(**entry(question, key.assertion(question["options"]["challenge"]))).status_code == 401


def test_another_relying_party_is_refused(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    key.rp_id = "evil.example"
    assert zhang.try_with(**entry(question, key.assertion(question["options"]["challenge"]))).status_code == 401


def test_another_challenge_is_refused(zhang: Person, key: Authenticator) -> None:
    first, second = asked(zhang), asked(zhang)
    assert zhang.try_with(**entry(first, key.assertion(second["options"]["challenge"]))).status_code == 401


def test_an_attestation_is_no_assertion(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    shown = key.assertion(question["options"]["challenge"], kind="webauthn.create")
    assert zhang.try_with(**entry(question, shown)).status_code == 401


@pytest.mark.parametrize(("count", "status"), [(5, 201), (4, 401), (3, 401), (0, 401)])
def test_a_counter_that_does_not_go_up_is_a_copy(zhang: Person, key: Authenticator, count: int, status: int) -> None:
    key.count = 3
    question = asked(zhang)
    assert zhang.try_with(**entry(question, key.assertion(question["options"]["challenge"]))).status_code == 201
    key.count = count - 1
    question = asked(zhang)
    assert zhang.try_with(**entry(question, key.assertion(question["options"]["challenge"]))).status_code == status


def test_an_authenticator_without_a_counter_is_taken(zhang: Person, key: Authenticator) -> None:
    for _ in range(2):
        key.count = -1
        question = asked(zhang)
        assert zhang.try_with(**entry(question, key.assertion(question["options"]["challenge"]))).status_code == 201


def test_the_key_of_another_person_is_refused(zhang: Person, key: Authenticator, service: Service) -> None:
    """Also where they sign this person's challenge, and where they know this person's password."""
    other = person(service, Role.AUDIT_ADMIN, login="li.si")
    theirs = Authenticator()
    add_passkey(other.enter(), theirs)
    question = asked(zhang)
    assert zhang.try_with(**entry(question, theirs.assertion(question["options"]["challenge"]))).status_code == 401
    question = asked(other)
    assert zhang.try_with(**entry(question, key.assertion(question["options"]["challenge"]))).status_code == 401
    question = asked(zhang)
    shown = key.assertion(question["options"]["challenge"], user=other.id.bytes)
    assert zhang.try_with(**entry(question, shown)).status_code == 401


def test_the_name_of_a_key_with_the_signature_of_another_is_refused(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    forged = Authenticator(credential_id=key.credential_id)
    assert zhang.try_with(**entry(question, forged.assertion(question["options"]["challenge"]))).status_code == 401


def test_a_key_without_the_password_is_nothing(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    shown = entry(question, key.assertion(question["options"]["challenge"]))
    assert zhang.try_with(password="wrong-wrong-wrong", **shown).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "AAAA"},
        {"signature": ""},
        {"authenticatorData": "AAAA"},
        {"authenticatorData": "A" * 4000},
        {"clientDataJSON": "AAAA"},
        {"clientDataJSON": "bnVsbA"},
        {"clientDataJSON": "W10"},
        {"userHandle": "_"},
    ],
)
def test_whatever_bytes_come_are_refused(zhang: Person, key: Authenticator, change: dict[str, str]) -> None:
    question = asked(zhang)
    shown = key.assertion(question["options"]["challenge"])
    shown["response"] |= change
    assert problem(zhang.try_with(**entry(question, shown))) == (401, "log-in-refused")


def test_what_is_not_of_the_shape_is_told(zhang: Person, key: Authenticator) -> None:
    question = asked(zhang)
    shown = key.assertion(question["options"]["challenge"])
    shown["response"]["signature"] = "A" * 2049
    assert ("/webauthn/credential/response/signature", "length") in wrong(zhang.try_with(**entry(question, shown)))
    shown["rawId"] = "!"
    assert zhang.try_with(**entry(question, shown)).status_code == 422


def test_a_proof_has_a_challenge_of_its_own(zhang: Person, key: Authenticator, service: Service) -> None:
    who = zhang.enter()
    service.clock.advance(301)
    assert told(who.get(CURRENT))["fresh"] is False
    log_in = asked(zhang)
    stolen = entry(log_in, key.assertion(log_in["options"]["challenge"]))["webauthn"]
    assert problem(who.post(f"{CURRENT}/proof", {"password": PASSWORD, "webauthn": stolen})) == (403, "proof-refused")
    question = told(who.post(f"{CURRENT}/challenge"))
    shown = entry(question, key.assertion(question["options"]["challenge"]))["webauthn"]
    assert zhang.try_with(totp=None, webauthn=shown).status_code == 401
    question = told(who.post(f"{CURRENT}/challenge"))
    shown = entry(question, key.assertion(question["options"]["challenge"]))["webauthn"]
    answer = who.post(f"{CURRENT}/proof", {"password": PASSWORD, "webauthn": shown})
    assert (answer.status_code, told(answer)) == (200, {"fresh_seconds": 300})
    assert told(who.get(CURRENT))["fresh"] is True


def test_a_challenge_is_asked_for_by_whoever_has_an_authenticator(zhang: Person) -> None:
    assert problem(zhang.enter().post(f"{CURRENT}/challenge")) == (404, "second-factor-not-found")


def begun(who: StaffApi) -> dict[str, Any]:
    return told(who.post(f"{ME}/webauthn"))


def confirmed(who: StaffApi, question: dict[str, Any], credential: dict[str, Any]) -> tuple[int, str]:
    body = {"challenge_id": question["challenge_id"], "label": "钥匙", "credential": credential}
    answer = who.post(f"{ME}/webauthn/confirm", body)
    return (201, "") if answer.status_code == 201 else problem(answer)


REFUSED = (409, "passkey-refused")


def test_adding_asks_for_the_right_origin_challenge_and_kind(zhang: Person) -> None:
    who = zhang.enter()
    for key, kind in (
        (Authenticator(origin="https://evil.example"), "webauthn.create"),
        (Authenticator(rp_id="evil.example"), "webauthn.create"),
        (Authenticator(), "webauthn.get"),
    ):
        question = begun(who)
        assert confirmed(who, question, key.attest(question["options"]["challenge"], kind=kind)) == REFUSED
    question = begun(who)
    assert confirmed(who, question, Authenticator().attest(begun(who)["options"]["challenge"])) == REFUSED


def test_adding_uses_a_challenge_once(zhang: Person) -> None:
    who = zhang.enter()
    question = begun(who)
    challenge = question["options"]["challenge"]
    assert confirmed(who, question, Authenticator().attest(challenge)) == (201, "")
    assert confirmed(who, question, Authenticator().attest(challenge)) == REFUSED


def test_adding_takes_no_challenge_of_another_person_or_of_a_log_in(
    zhang: Person, key: Authenticator, service: Service
) -> None:
    other = person(service, Role.AUDIT_ADMIN, login="li.si").enter()
    question = begun(other)
    assert confirmed(zhang.enter(), question, Authenticator().attest(question["options"]["challenge"])) == REFUSED
    question = asked(zhang)
    assert confirmed(zhang.enter(), question, Authenticator().attest(question["options"]["challenge"])) == REFUSED


def test_an_authenticator_is_added_to_one_account(zhang: Person, key: Authenticator, service: Service) -> None:
    other = person(service, Role.AUDIT_ADMIN, login="li.si").enter()
    question = begun(other)
    assert confirmed(other, question, key.attest(question["options"]["challenge"])) == REFUSED


def test_five_authenticators_and_no_more(zhang: Person) -> None:
    who = zhang.enter()
    for _ in range(5):
        add_passkey(who, Authenticator())
    assert problem(who.post(f"{ME}/webauthn")) == (409, "too-many-passkeys")


def test_adding_and_removing_ask_for_a_fresh_proof(zhang: Person, key: Authenticator, service: Service) -> None:
    who = zhang.enter()
    held = told(who.get(ME))["passkeys"][0]["passkey_id"]
    service.clock.advance(300)
    for method, path in (("POST", "webauthn"), ("DELETE", f"webauthn/{held}"), ("POST", "totp"), ("DELETE", "totp"),
                         ("POST", "recovery-codes")):  # fmt: skip
        assert problem(who.call(method, f"{ME}/{path}")) == (403, "proof-too-old")


def test_the_last_second_factor_stays(zhang: Person, key: Authenticator, service: Service) -> None:
    who = zhang.enter()
    held = told(who.get(ME))["passkeys"][0]["passkey_id"]
    assert who.call("DELETE", f"{ME}/totp").status_code == 204
    assert problem(who.call("DELETE", f"{ME}/webauthn/{held}")) == (409, "last-second-factor")
    assert told(who.get(ME))["second_factor"] == ["webauthn"]
    other = person(service, Role.AUDIT_ADMIN, login="li.si").enter()
    assert problem(other.call("DELETE", f"{ME}/webauthn/{held}")) == (404, "second-factor-not-found")
    service.clock.advance(totp.STEP_SECONDS)
    assert zhang.try_with().status_code == 401
