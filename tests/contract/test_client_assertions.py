"""`private_key_jwt` at the token endpoint, and every assertion that must not pass (RFC 7523 section 3)."""

import hmac
import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from ehc.access import assertions, client_keys, clients
from ehc.access.terminal_models import ClientAssertionRow, TerminalRow
from ehc.audit import AuditRow
from ehc.crypto import jwk
from ehc.crypto.jwk import read_jwk
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import at_once
from tests.support.service import Service
from tests.support.service import told as answered
from tests.support.terminals import KeyTerminal, jwk_of, new_key


@pytest.fixture(scope="module")
def terminal(shared: Service) -> KeyTerminal:
    return KeyTerminal.enrolled(shared)


def refusal(answer: TestResponse) -> tuple[int, str]:
    assert set(answered(answer)) == {"error", "error_description", "request_id"}
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answered(answer)["error"]


BAD = (401, "invalid_client")


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}.{b64(signature)}"


def spent(service: Service) -> int:
    with service.session() as session:
        return session.scalar(select(func.count()).select_from(ClientAssertionRow)) or 0


def test_an_assertion_gets_a_token(terminal: KeyTerminal) -> None:
    answer = terminal.ask()
    assert answer.status_code == 200
    told = answered(answer)
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", 600, "verify")
    claims = jwt.decode(told["access_token"], options={"verify_signature": False})
    assert claims["sub"] == terminal.id


@pytest.mark.parametrize("form", [{}, {"client_id": "its own"}], ids=["without client_id", "with client_id"])
def test_the_client_id_may_stand_beside_it(terminal: KeyTerminal, form: dict[str, str]) -> None:
    named = dict.fromkeys(form, terminal.about["client_id"])
    assert terminal.ask(**named).status_code == 200


def test_another_client_id_beside_it_is_refused(terminal: KeyTerminal, shared: Service) -> None:
    assert refusal(terminal.ask(client_id=shared.app.credentials.client_id)) == BAD
    assert refusal(terminal.ask(client_id="")) == BAD


def test_it_may_be_meant_for_the_issuer_or_the_token_endpoint(terminal: KeyTerminal, shared: Service) -> None:
    issuer = shared.settings.issuer
    for audience in (issuer, f"{issuer}/oauth/token", [issuer]):
        assert terminal.ask(terminal.assertion(aud=audience)).status_code == 200


@pytest.mark.parametrize(
    "audience", [None, "https://another", "ehc", "", 7, [], {}, ["https://ehc.local", "more"]], ids=repr
)
def test_it_is_refused_when_meant_for_others_or_for_others_too(terminal: KeyTerminal, audience: Any) -> None:
    assert refusal(terminal.ask(terminal.assertion(aud=audience))) == BAD


def test_what_a_request_calls_us_is_not_our_name(terminal: KeyTerminal) -> None:
    """Else an assertion made for a false server would pass here, sent with the false server's name as Host."""
    assertion = terminal.assertion(aud="https://evil.example/oauth/token")
    form = {
        "grant_type": "client_credentials",
        "client_assertion_type": assertions.TYPE,
        "client_assertion": assertion,
    }
    for headers in ({"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}):
        answer = terminal.http.post("/oauth/token", data=form, headers=headers, base_url="https://evil.example")
        assert refusal(answer) == BAD


@pytest.mark.parametrize(
    "changes",
    [
        *({name: value} for name in ("iss", "sub") for value in (None, "another")),
        *({"iss": name, "sub": name} for name in (7, "", "x" * 201, "a\x00b", ["x"], "terminal-000000000000")),
    ],
    ids=repr,
)
def test_issuer_and_subject_are_the_client(terminal: KeyTerminal, changes: dict[str, Any]) -> None:
    assert refusal(terminal.ask(_signed_by_hand(terminal, changes))) == BAD


def _signed_by_hand(terminal: KeyTerminal, changes: dict[str, Any]) -> str:
    """As `assertion`, of claims that the library would not write."""
    claims = {name: value for name, value in (terminal.claims() | changes).items() if value is not None}
    return jwt.PyJWS().encode(json.dumps(claims).encode(), terminal.key, algorithm="ES256")


@pytest.mark.parametrize(
    ("seconds", "good"), [(1, True), (300, True), (301, False), (0, False), (-1, False), (3600, False)]
)
def test_it_ends_at_most_five_minutes_ahead_and_not_yet(terminal: KeyTerminal, seconds: int, good: bool) -> None:
    end = terminal.service.clock.now() + timedelta(seconds=seconds)
    answer = terminal.ask(terminal.assertion(exp=int(end.timestamp())))
    assert answer.status_code == 200 if good else refusal(answer) == BAD


@pytest.mark.parametrize("end", [None, "soon", True, float("nan"), float("inf"), 10**400, 1e300, -1, [], {}], ids=repr)
def test_it_ends_at_a_moment(terminal: KeyTerminal, end: Any) -> None:
    assert refusal(terminal.ask(_signed_by_hand(terminal, {"exp": end}))) == BAD


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize(("seconds", "good"), [(0, True), (30, True), (31, False), (-3600, True)])
def test_it_counts_from_when_it_says_give_or_take_thirty_seconds(
    terminal: KeyTerminal, claim: str, seconds: int, good: bool
) -> None:
    since = terminal.service.clock.now() + timedelta(seconds=seconds)
    answer = terminal.ask(terminal.assertion(**{claim: int(since.timestamp())}))
    assert answer.status_code == 200 if good else refusal(answer) == BAD


@pytest.mark.parametrize("claim", ["iat", "nbf"])
@pytest.mark.parametrize("value", ["now", True, [], float("nan"), 10**400], ids=repr)
def test_a_beginning_that_is_no_moment_is_refused(terminal: KeyTerminal, claim: str, value: Any) -> None:
    assert refusal(terminal.ask(_signed_by_hand(terminal, {claim: value}))) == BAD


def test_when_it_was_made_may_be_left_out(terminal: KeyTerminal) -> None:
    assert terminal.ask(terminal.assertion(iat=None)).status_code == 200


@pytest.mark.parametrize("jti", [None, "", "x" * 129, 7, ["x"], {}], ids=repr)
def test_it_has_an_id_of_128_characters_at_most(terminal: KeyTerminal, jti: Any) -> None:
    assert refusal(terminal.ask(_signed_by_hand(terminal, {"jti": jti}))) == BAD
    assert terminal.ask(terminal.assertion(jti=uuid4().hex * 4)).status_code == 200


def test_an_id_may_be_any_text(terminal: KeyTerminal) -> None:
    for jti in ("\x00", "編號", "\ud800", "'; DROP TABLE client"):
        answer = terminal.ask(_signed_by_hand(terminal, {"jti": jti + uuid4().hex}))
        assert answer.status_code in {200, 401}  # half a surrogate pair is no JSON to a strict reader


def test_it_is_taken_once(terminal: KeyTerminal) -> None:
    assertion = terminal.assertion()
    assert terminal.ask(assertion).status_code == 200
    assert refusal(terminal.ask(assertion)) == BAD
    assert refusal(terminal.ask(terminal.assertion(jti=terminal.claims()["jti"]) + "x")) == BAD


def test_its_id_counts_whatever_else_is_new(terminal: KeyTerminal) -> None:
    assert terminal.ask(terminal.assertion(jti="the-same")).status_code == 200
    assert refusal(terminal.ask(terminal.assertion(jti="the-same", exp=terminal.claims()["exp"] + 60))) == BAD


def test_another_client_may_use_the_same_id(terminal: KeyTerminal, shared: Service) -> None:
    jti = uuid4().hex
    other = KeyTerminal.enrolled(shared)
    assert [each.ask(each.assertion(jti=jti)).status_code for each in (terminal, other)] == [200, 200]


def test_it_is_taken_once_by_two_workers_at_the_same_instant(service: Service, worker: WorkerMaker) -> None:
    terminal, second = KeyTerminal.enrolled(service), worker(service)
    for _ in range(20):
        assertion = terminal.assertion()
        https = [(service, second)[number % 2].client() for number in range(6)]
        asks = [partial(terminal.ask, assertion, http=http) for http in https]
        assert sorted(answer.status_code for answer in at_once(*asks)) == [200] + [401] * 5


def test_a_refused_scope_spends_it_all_the_same(terminal: KeyTerminal) -> None:
    assertion = terminal.assertion()
    assert refusal(terminal.ask(assertion, scope="cards")) == (400, "invalid_scope")
    assert refusal(terminal.ask(assertion)) == BAD


def test_what_nobody_signed_spends_nothing(terminal: KeyTerminal, shared: Service) -> None:
    jti, before = uuid4().hex, spent(shared)
    assert refusal(terminal.ask(jwt.encode(terminal.claims(jti=jti), new_key(), "ES256"))) == BAD
    assert refusal(terminal.ask(terminal.assertion(jti=jti, aud="another"))) == BAD
    assert spent(shared) == before
    assert terminal.ask(terminal.assertion(jti=jti)).status_code == 200


def test_spent_ids_are_forgotten_when_they_are_out_of_date_and_not_before(service: Service) -> None:
    terminal = KeyTerminal.enrolled(service).log_in()

    def purged() -> int:
        with service.session() as session:
            return assertions.purge(session, now=service.clock.now())

    service.clock.advance(60 + 59)  # a minute more than it lives: another server's clock may be behind this one's
    assert (purged(), spent(service)) == (0, 1)
    service.clock.advance(1)
    assert (purged(), spent(service)) == (1, 0)
    assert terminal.ask().status_code == 200


@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "es256", "HS256", "RS256", "ES384", "EdDSA"])
def test_an_algorithm_other_than_es256_is_refused(terminal: KeyTerminal, name: str) -> None:
    for signature in (b"", bytes(64)):
        assert refusal(terminal.ask(by_hand({"alg": name, "typ": "JWT"}, terminal.claims(), signature))) == BAD
    assert refusal(terminal.ask(by_hand({"typ": "JWT"}, terminal.claims()))) == BAD


def test_a_good_signature_under_another_algorithms_name_is_refused(terminal: KeyTerminal) -> None:
    _, body, _ = terminal.assertion().split(".")
    for name in ("none", "HS256", "ES256K"):
        renamed = b64(json.dumps({"alg": name}).encode())
        signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(
            f"{renamed}.{body}".encode(), terminal.key
        )
        assert refusal(terminal.ask(f"{renamed}.{body}.{b64(signature)}")) == BAD


def test_the_public_key_as_a_secret_is_refused(terminal: KeyTerminal) -> None:
    public = terminal.key.public_key()
    secrets = [public.public_bytes(form, PublicFormat.SubjectPublicKeyInfo) for form in (Encoding.PEM, Encoding.DER)]
    secrets += [json.dumps(jwk_of(terminal.key)).encode(), b"", bytes(32)]
    for secret in secrets:
        signed = by_hand({"alg": "HS256", "typ": "JWT"}, terminal.claims()).rpartition(".")[0]
        assert refusal(terminal.ask(f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}")) == BAD


def test_a_key_of_another_client_is_refused(terminal: KeyTerminal, shared: Service) -> None:
    other = KeyTerminal.enrolled(shared)
    kid = read_jwk(jwk_of(other.key)).thumbprint
    for headers in (None, {"kid": kid}):
        assert refusal(terminal.ask(jwt.encode(terminal.claims(), other.key, "ES256", headers=headers))) == BAD


def test_a_client_without_a_key_proves_nothing_so(terminal: KeyTerminal, shared: Service) -> None:
    name = shared.terminal.credentials.client_id
    assert refusal(terminal.ask(terminal.assertion(iss=name, sub=name))) == BAD


def test_the_key_that_stands_in_for_nobodys_proves_nothing(terminal: KeyTerminal, shared: Service) -> None:
    """It is printed in RFC 7517 with its private half: whoever signs with it names a client that has no key."""
    private = int.from_bytes(jwt.utils.base64url_decode("870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"), "big")
    key = ec.derive_private_key(private, ec.SECP256R1())
    for name in (shared.terminal.credentials.client_id, "terminal-000000000000", terminal.about["client_id"]):
        assert refusal(terminal.ask(jwt.encode(terminal.claims(iss=name, sub=name), key, "ES256"))) == BAD


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c", "kid"])
def test_a_key_that_it_brings_or_points_at_is_not_looked_at(terminal: KeyTerminal, member: str) -> None:
    stranger = new_key()
    brought: Any = {
        "jwk": jwk_of(stranger),
        "jku": "http://127.0.0.1:9/keys",
        "x5u": "http://127.0.0.1:9/certificate",
        "x5c": [b64(b"certificate")],
        "kid": "../../etc/passwd",
    }[member]
    assert refusal(terminal.ask(jwt.encode(terminal.claims(), stranger, "ES256", headers={member: brought}))) == BAD
    assert (
        terminal.ask(jwt.encode(terminal.claims(), terminal.key, "ES256", headers={member: brought})).status_code == 200
    )


@pytest.mark.parametrize("kid", [7, [], {}, None], ids=repr)
def test_a_kid_that_is_no_text_is_refused_or_passed_over(terminal: KeyTerminal, kid: Any) -> None:
    signed = by_hand({"alg": "ES256", "kid": kid}, terminal.claims()).rpartition(".")[0]
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(signed.encode(), terminal.key)
    assert terminal.ask(f"{signed}.{b64(signature)}").status_code in {200, 401}


@pytest.mark.parametrize(
    "extra", [{"crit": ["b64"], "b64": False}, {"crit": ["x"], "x": 1}, {"crit": []}, {"b64": True}], ids=repr
)
def test_it_may_ask_for_nothing_special(terminal: KeyTerminal, extra: dict[str, Any]) -> None:
    signed = by_hand({"alg": "ES256", **extra}, terminal.claims()).rpartition(".")[0]
    signature = jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).sign(signed.encode(), terminal.key)
    assert refusal(terminal.ask(f"{signed}.{b64(signature)}")) == BAD


def test_keys_of_other_kinds_are_refused(terminal: KeyTerminal) -> None:
    big = rsa.generate_private_key(65537, 2048)
    assert refusal(terminal.ask(jwt.encode(terminal.claims(), big, "RS256"))) == BAD
    assert refusal(terminal.ask(jwt.encode(terminal.claims(), ec.generate_private_key(ec.SECP384R1()), "ES384"))) == BAD


def test_every_bit_counts(terminal: KeyTerminal) -> None:
    head, body, signature = terminal.assertion().split(".")
    raw = jwt.utils.base64url_decode(signature)
    for at in (0, 31, 32, 63):
        changed = bytearray(raw)
        changed[at] ^= 1
        assert refusal(terminal.ask(f"{head}.{body}.{b64(bytes(changed))}")) == BAD
    for wrong in (b"", raw[:-1], raw + b"\x00", bytes(64), b"\xff" * 64):
        assert refusal(terminal.ask(f"{head}.{body}.{b64(wrong)}")) == BAD
    claims = terminal.claims()
    assert refusal(terminal.ask(f"{head}.{b64(json.dumps(claims).encode())}.{signature}")) == BAD


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", "...", "a.b.c", "é.é.é", "\x00", "e30.e30.e30", f"{'W1sx' * 300}.e30.AA", "[" * 4000, "x" * 60_000]
    + [f"{b64(b'{' + b'[' * 3000)}.e30.AA"]
    + [
        f"{b64(json.dumps({'alg': 'ES256'}).encode())}.{b64(payload)}.{b64(bytes(64))}"
        for payload in (b"[" * 2500, b"7", b"")
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_assertion_is_refused(terminal: KeyTerminal, text: str) -> None:
    assert refusal(terminal.ask(text)) == BAD


def test_it_has_4096_characters_at_most(terminal: KeyTerminal) -> None:
    long = next(
        made for pad in range(2700, 3000) if len(made := terminal.assertion(pad="x" * pad)) > assertions.LONGEST
    )
    short = next(
        made for pad in range(2900, 0, -1) if len(made := terminal.assertion(pad="x" * pad)) <= assertions.LONGEST
    )
    assert terminal.ask(short).status_code == 200
    assert refusal(terminal.ask(long)) == BAD
    assert len(long) - len(short) <= 8


def test_it_comes_alone_and_whole(terminal: KeyTerminal, shared: Service) -> None:
    good = {"grant_type": "client_credentials", "client_assertion_type": assertions.TYPE}
    form = good | {"client_assertion": terminal.assertion()}
    post = shared.client().post
    bad = (400, "invalid_request")
    assert refusal(post("/oauth/token", data=good)) == bad
    assert refusal(post("/oauth/token", data=form | {"client_assertion_type": "another"})) == bad
    assert refusal(post("/oauth/token", data={k: v for k, v in form.items() if k != "client_assertion_type"})) == bad
    assert refusal(post("/oauth/token", data=form | {"client_secret": "x"})) == bad
    assert refusal(post("/oauth/token", data=form, headers={"Authorization": "Basic eDp5"})) == bad
    assert refusal(post("/oauth/token", data={**form, "client_assertion": [form["client_assertion"]] * 2})) == bad
    assert post("/oauth/token", data=form).status_code == 200  # none of them spent it


def test_an_assertion_is_no_bearer_token(terminal: KeyTerminal, shared: Service) -> None:
    headers = {"Authorization": f"Bearer {terminal.assertion(aud=shared.settings.audience)}"}
    assert shared.client().get("/v1/terminals/self", headers=headers).status_code == 401


def test_a_client_that_does_not_exist_costs_as_much_and_is_told_the_same(
    terminal: KeyTerminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[object] = []

    def counted(*given: Any) -> None:
        checks.append(given)
        jwk.require_signed(*given)

    monkeypatch.setattr(assertions, "require_signed", counted)
    sentences = set()
    for name in (terminal.about["client_id"], "terminal-000000000000"):
        answer = terminal.ask(jwt.encode(terminal.claims(iss=name, sub=name), new_key(), "ES256"))
        assert refusal(answer) == BAD
        sentences.add(answered(answer)["error_description"])
    assert (len(checks), len(sentences)) == (2, 1)


def test_a_disabled_client_and_an_ended_key_get_no_token(service: Service) -> None:
    for end in ("client", "key"):
        terminal = KeyTerminal.enrolled(service)
        assert terminal.ask().status_code == 200
        with service.session() as session:
            if end == "client":
                clients.disable(session, terminal.about["client_id"], now=service.clock.now())
            else:
                assert client_keys.end_keys(session, UUID(terminal.id), now=service.clock.now())
        assert refusal(terminal.ask()) == BAD


def test_no_assertion_is_written_down(service: Service) -> None:
    terminal = KeyTerminal.enrolled(service)
    assertion = terminal.assertion(jti="a-jti-to-look-for")
    assert terminal.ask(assertion).status_code == 200
    with service.session() as session:
        kept = b"".join(session.scalars(select(ClientAssertionRow.jti_hash)))
        entries = " ".join(session.scalars(select(AuditRow.entry)))
    assert b"a-jti-to-look-for" not in kept
    assert "a-jti-to-look-for" not in entries


def test_a_token_is_a_sign_of_life_noted_once_a_minute(service: Service) -> None:
    terminal = KeyTerminal.enrolled(service)
    times = []
    for seconds in (0, 59, 1):
        service.clock.advance(seconds)
        terminal.ask()
        with service.session() as session:
            times.append(session.scalar(select(TerminalRow.seen_at).where(TerminalRow.client_id == UUID(terminal.id))))
    assert times[0] == times[1]
    assert times[2] == service.clock.now()


def test_a_secret_gets_a_terminal_its_token_as_before(service: Service) -> None:
    form = {"grant_type": "client_credentials", **vars(service.terminal.credentials)}
    assert service.client().post("/oauth/token", data=form).status_code == 200


def test_a_terminal_with_a_key_has_no_secret_that_anybody_knows(terminal: KeyTerminal, shared: Service) -> None:
    for secret in ("", terminal.about["client_id"], "None"):
        form = {"grant_type": "client_credentials", "client_id": terminal.about["client_id"], "client_secret": secret}
        assert refusal(shared.client().post("/oauth/token", data=form)) == BAD
