"""`POST /oauth/token`: client credentials, both ways to send them, and every way to be refused (RFC 6749)."""

from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from werkzeug.test import TestResponse

from ehc.access import clients
from ehc.access.clients import Credentials
from ehc.access.tokens import RECHECK_SECONDS, Names, Tokens
from ehc.callers import NotAuthentic, Scope
from ehc.db import unit_of_work
from ehc.edge.keys import Keys
from tests.contract.helpers import problem
from tests.support.service import Api, Service
from tests.support.service import told as answered

GRANT = {"grant_type": "client_credentials"}


def ask(service: Service, form: dict[str, Any] | Iterable[tuple[str, str]], **headers: str) -> TestResponse:
    return service.client().post("/oauth/token", data=form, headers=headers)


def basic(known: Credentials, *, escape: bool = False) -> dict[str, str]:
    name, secret = known.client_id, known.client_secret
    if escape:
        name, secret = quote(name), "".join(f"%{ord(sign):02X}" for sign in secret)
    return {"Authorization": f"Basic {b64encode(f'{name}:{secret}'.encode()).decode()}"}


def refusal(answer: TestResponse) -> tuple[int, str]:
    """Status and error of RFC 6749 section 5.2."""
    assert answer.content_type == "application/json"
    assert set(answered(answer)) == {"error", "error_description", "request_id"}
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.status_code, answered(answer)["error"]


@pytest.fixture
def fresh(shared: Service) -> Credentials:
    """An app of the test's own."""
    with shared.session() as session:
        return clients.add_app(session, name="一次", scopes=frozenset({Scope.CARDS}), now=shared.clock.now())


def test_a_token_is_told_with_its_life_and_scopes(shared: Service) -> None:
    answer = ask(shared, GRANT | vars(shared.app.credentials))
    assert answer.status_code == 200
    told = answered(answer)
    assert (told["token_type"], told["expires_in"], told["scope"]) == ("Bearer", 600, "bindings cards codes")
    assert set(told) == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    claims = jwt.decode(told["access_token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 600
    assert (claims["iss"], claims["aud"]) == (shared.settings.issuer, shared.settings.audience)
    header = jwt.get_unverified_header(told["access_token"])
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")


def test_two_tokens_are_never_equal(shared: Service) -> None:
    form = GRANT | vars(shared.app.credentials)
    assert answered(ask(shared, form))["access_token"] != answered(ask(shared, form))["access_token"]


@pytest.mark.parametrize("escape", [False, True], ids=["plain", "form-encoded"])
def test_credentials_may_come_as_basic(shared: Service, escape: bool) -> None:
    answer = ask(shared, GRANT, **basic(shared.terminal.credentials, escape=escape))
    assert (answer.status_code, answered(answer)["scope"]) == (200, "verify")


def test_credentials_may_not_come_both_ways(shared: Service) -> None:
    known = shared.app.credentials
    answer = ask(shared, GRANT | vars(known), **basic(known))
    assert refusal(answer) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("client_id", "client_secret"),
    [
        (None, "wrong"),
        (None, ""),
        ("app-000000000000", None),
        ("", None),
        (None, None),
        ("a" * 5000, "b" * 5000),
        ("a\x00b", None),
        ("陈", "密"),
    ],
    ids=["wrong secret", "no secret", "unknown client", "no client", "another's secret", "huge", "NUL", "chinese"],
)
@pytest.mark.parametrize("way", ["basic", "post"])
def test_credentials_that_do_not_fit_are_refused(
    shared: Service, way: str, client_id: str | None, client_secret: str | None
) -> None:
    known = shared.app.credentials
    if client_id is None and client_secret is None:
        client_secret = shared.other_app.credentials.client_secret
    asked = Credentials(
        known.client_id if client_id is None else client_id,
        known.client_secret if client_secret is None else client_secret,
    )
    answer = ask(shared, GRANT, **basic(asked)) if way == "basic" else ask(shared, GRANT | vars(asked))
    assert refusal(answer) == (401, "invalid_client")
    assert answer.headers["WWW-Authenticate"] == 'Basic realm="ehc"'


def test_an_unknown_client_is_answered_like_a_wrong_secret(shared: Service) -> None:
    known = shared.app.credentials
    wrong = ask(shared, GRANT | {"client_id": known.client_id, "client_secret": "x"})
    unknown = ask(shared, GRANT | {"client_id": "app-x", "client_secret": "x"})
    assert answered(wrong) | {"request_id": 0} == answered(unknown) | {"request_id": 0}


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !", "Basic QQ==", "Basic /w==", "Bearer x", "Digest x", "Basic  ", "basic OjpB"]
)
def test_a_header_that_holds_no_credentials_is_refused(shared: Service, header: str) -> None:
    assert refusal(ask(shared, GRANT, Authorization=header)) == (401, "invalid_client")


def test_no_credentials_are_refused(shared: Service) -> None:
    assert refusal(ask(shared, GRANT)) == (401, "invalid_client")


@pytest.mark.parametrize("grant", ["password", "authorization_code", "", "CLIENT_CREDENTIALS"])
def test_another_grant_is_refused(shared: Service, grant: str) -> None:
    answer = ask(shared, {"grant_type": grant} | vars(shared.app.credentials))
    assert refusal(answer) == (400, "unsupported_grant_type")


def test_a_request_without_a_grant_is_refused(shared: Service) -> None:
    assert refusal(ask(shared, vars(shared.app.credentials))) == (400, "invalid_request")


def test_a_request_in_json_is_refused(shared: Service) -> None:
    answer = shared.client().post("/oauth/token", json=GRANT | vars(shared.app.credentials))
    assert refusal(answer) == (400, "invalid_request")


def test_credentials_in_the_address_are_not_looked_at(shared: Service) -> None:
    answer = shared.client().post("/oauth/token", query_string=GRANT | vars(shared.app.credentials))
    assert refusal(answer) == (400, "invalid_request")


def test_a_token_is_asked_for_by_post_only(shared: Service) -> None:
    answer = shared.client().get("/oauth/token")
    assert problem(answer) == (405, "method-not-allowed")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(("size", "status"), [(65_000, 401), (66_000, 413)])
def test_a_form_is_bounded(shared: Service, size: int, status: int) -> None:
    answer = ask(shared, GRANT | {"client_id": "a" * size, "client_secret": "x"})
    assert answer.status_code == status


@pytest.mark.parametrize(
    ("asked", "given"),
    [("cards", "cards"), ("codes cards", "cards codes"), ("cards cards", "cards"), ("", "bindings cards codes")],
)
def test_a_token_is_narrowed_to_the_scopes_asked_for(shared: Service, asked: str, given: str) -> None:
    answer = ask(shared, GRANT | {"scope": asked} | vars(shared.app.credentials))
    assert (answer.status_code, answered(answer)["scope"]) == (200, given)


@pytest.mark.parametrize("asked", ["verify", "cards verify", "CARDS", "everything", "cards,codes"])
def test_a_scope_that_the_client_has_not_is_refused(shared: Service, asked: str) -> None:
    answer = ask(shared, GRANT | {"scope": asked} | vars(shared.app.credentials))
    assert refusal(answer) == (400, "invalid_scope")


def test_a_narrowed_token_does_no_more_than_it_says(shared: Service, newcomer: dict[str, Any]) -> None:
    card_id = shared.app.register(**newcomer)["card_id"]
    token = answered(ask(shared, GRANT | {"scope": "cards"} | vars(shared.app.credentials)))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert shared.client().get(f"/v1/cards/{card_id}", headers=headers).status_code == 200
    answer = shared.client().post(f"/v1/cards/{card_id}/codes", json={}, headers=headers)
    assert problem(answer) == (403, "insufficient-scope")


def test_a_refusal_is_told_in_the_callers_language(shared: Service) -> None:
    english = shared.client().post("/oauth/token", data=GRANT, headers={"Accept-Language": "en"})
    assert answered(english)["error_description"] == "The client id or secret is wrong, or the client is disabled."
    chinese = shared.client().post("/oauth/token", data=GRANT, headers={"Accept-Language": "zh"})
    assert "client_secret 不正确" in answered(chinese)["error_description"]


def test_a_new_secret_replaces_the_old_one(shared: Service, fresh: Credentials) -> None:
    with shared.session() as session:
        renewed = clients.new_secret(session, fresh.client_id, now=shared.clock.now())
    assert refusal(ask(shared, GRANT | vars(fresh))) == (401, "invalid_client")
    assert ask(shared, GRANT | vars(renewed)).status_code == 200


def test_a_disabled_client_gets_no_token(shared: Service, fresh: Credentials) -> None:
    assert ask(shared, GRANT | vars(fresh)).status_code == 200
    with shared.session() as session:
        clients.disable(session, fresh.client_id, now=shared.clock.now())
    assert refusal(ask(shared, GRANT | vars(fresh))) == (401, "invalid_client")


def test_tokens_of_a_disabled_client_stop_within_10_seconds(shared: Service, fresh: Credentials) -> None:
    seconds = [100.0]
    work = unit_of_work(shared.engine)
    tokens = Tokens(
        rings=Keys(work, shared.settings.key_encrypting_key()).token_ring,
        names=Names(shared.settings.issuer, shared.settings.audience),
        work=work,
        clock=shared.clock,
        timer=lambda: seconds[0],
    )
    token = Api(shared.client(), fresh).headers["Authorization"].removeprefix("Bearer ")
    caller = tokens.authenticate(token)
    with shared.session() as session:
        clients.disable(session, fresh.client_id, now=shared.clock.now())
    seconds[0] += RECHECK_SECONDS - 0.001
    assert tokens.authenticate(token) == caller
    seconds[0] += 0.001
    for _ in range(2):
        with pytest.raises(NotAuthentic):
            tokens.authenticate(token)


def test_a_disabled_client_is_refused_by_the_service(shared: Service, fresh: Credentials) -> None:
    """A worker that has not seen the token before looks at once."""
    api = Api(shared.client(), fresh)
    with shared.session() as session:
        clients.disable(session, fresh.client_id, now=shared.clock.now())
    assert problem(api.post("/v1/cards", {})) == (401, "token-invalid")


def test_a_client_that_does_not_exist_is_looked_for_as_long(service: Service) -> None:
    found = []
    for client_id in (service.app.credentials.client_id, "app-nobody"):
        with service.statements() as sent:
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": "x"}
            assert service.client().post("/oauth/token", data=form).status_code == 401
        found.append(sent)
    assert [len(sent) for sent in found] == [2, 2]
    assert found[0] == found[1]
