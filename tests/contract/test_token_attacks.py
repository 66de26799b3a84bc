"""Tokens that are not ours: forged, altered, out of date, too large, for somebody else."""

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from werkzeug.test import TestResponse

from ehc.crypto.signer import SoftwareSigner
from ehc.keystore.ring import Purpose
from ehc.web.auth import MAX_TOKEN
from tests.contract.helpers import problem, signer_of
from tests.support.service import Api, Service

READ = "/v1/cards/0190163d-8694-739b-aea5-966c26f8ad91"


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token."""
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def own(api: Api) -> str:
    return api.headers["Authorization"].removeprefix("Bearer ")


def forged(service: Service, *, key: EllipticCurvePrivateKey | None = None, **changes: Any) -> str:
    """A token that is right but for the changed claims; None takes a claim out. Signed by the service's token key."""
    header, claims = parts(own(service.app))
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key or signer_of(service, Purpose.TOKEN).private, algorithm="ES256", headers=header)


def read(service: Service, token: str) -> TestResponse:
    return service.client().get(READ, headers={"Authorization": f"Bearer {token}"})


def require_refused(answer: TestResponse) -> None:
    assert problem(answer) == (401, "token-invalid")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_of_our_making_is_taken(shared: Service) -> None:
    assert read(shared, forged(shared, jti="another")).status_code == 404


def test_a_token_without_a_signature_is_refused(shared: Service) -> None:
    header, claims = parts(own(shared.app))
    for name in ("none", "None", "NONE"):
        head = b64(json.dumps(header | {"alg": name}).encode())
        require_refused(read(shared, f"{head}.{b64(json.dumps(claims).encode())}."))


def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(shared: Service) -> None:
    header, claims = parts(own(shared.app))
    public = signer_of(shared, Purpose.TOKEN).public
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    for secret in forms:
        signed = f"{b64(json.dumps(header | {'alg': 'HS256'}).encode())}.{b64(json.dumps(claims).encode())}"
        require_refused(read(shared, f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"))


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"aud": None},
        {"aud": ["another", "more"]},
        {"iss": "https://another"},
        {"iss": None},
        {"sub": None},
        {"sub": "not-a-uuid"},
        {"sub": "0190163d-8694-739b-aea5-966c26f8ad91"},
        {"exp": None},
        {"exp": 0},
        {"exp": "soon"},
        {"iat": None},
        {"iat": 0},
        {"iat": "now"},
        {"scope": None},
        {"scope": 7},
        {"scope": "everything"},
        {"nbf": 4_000_000_000},
    ],
    ids=repr,
)
def test_a_token_with_another_claim_is_refused(shared: Service, changes: dict[str, Any]) -> None:
    require_refused(read(shared, forged(shared, **changes)))


def test_a_token_has_no_scope_that_its_client_has_not(shared: Service) -> None:
    token = forged(shared, scope="cards codes verify")
    headers = {"Authorization": f"Bearer {token}"}
    answer = shared.client().post("/v1/verifications", json={"code": "691", "step": "other"}, headers=headers)
    assert problem(answer) == (403, "insufficient-scope")


def test_a_token_signed_by_the_key_of_codes_is_refused(shared: Service) -> None:
    signer = signer_of(shared, Purpose.CODE)
    _, claims = parts(own(shared.app))
    for kid in (signer.key_id, signer_of(shared, Purpose.TOKEN).key_id):
        headers = {"kid": urlsafe_b64encode(kid).decode(), "typ": "at+jwt"}
        require_refused(read(shared, jwt.encode(claims, signer.private, algorithm="ES256", headers=headers)))


def test_a_token_signed_by_a_strangers_key_is_refused(shared: Service) -> None:
    stranger = SoftwareSigner.generate()
    require_refused(read(shared, forged(shared, key=stranger.private)))
    _, claims = parts(own(shared.app))
    headers = {"kid": urlsafe_b64encode(stranger.key_id).decode()}
    require_refused(read(shared, jwt.encode(claims, stranger.private, algorithm="ES256", headers=headers)))


def test_a_token_that_brings_its_key_is_refused(shared: Service) -> None:
    stranger = SoftwareSigner.generate()
    header, claims = parts(own(shared.app))
    jwk = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(stranger.public))
    brought = header | {"jwk": jwk, "jku": "http://127.0.0.1:1/keys"}
    require_refused(read(shared, jwt.encode(claims, stranger.private, algorithm="ES256", headers=brought)))


def test_a_token_with_one_changed_sign_is_refused(shared: Service) -> None:
    token = own(shared.app)
    header, claims, signature = token.split(".")
    told = parts(token)[1]
    assert read(shared, token).status_code == 404
    require_refused(read(shared, f"{header}.{b64(json.dumps(told | {'scope': 'cards'}).encode())}.{signature}"))
    other = "A" if signature[5] != "A" else "B"
    require_refused(read(shared, f"{header}.{claims}.{signature[:5]}{other}{signature[6:]}"))
    require_refused(read(shared, f"{header}.{claims}."))
    require_refused(read(shared, f"{header}.{claims}"))


def _nested(token: str) -> str:
    return f"{b64(b'[' * 1400)}.{token.partition('.')[2]}"


def _header(**changes: Any) -> Callable[[str], str]:
    def change(token: str) -> str:
        header = json.dumps(parts(token)[0] | changes)
        return f"{b64(header.encode())}.{token.partition('.')[2]}"

    return change


def _claims(raw: str) -> Callable[[str], str]:
    def change(token: str) -> str:
        header, _, signature = token.split(".")
        return f"{header}.{b64(raw.encode())}.{signature}"

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "x",
        lambda _: "...",
        lambda _: "a.b.c",
        lambda _: "令牌".encode().decode("latin-1"),
        lambda token: token[:-1] + "!",
        lambda token: f"{token}.{token}",
        _nested,
        _header(kid=7),
        _header(kid=None),
        _header(kid="陈"),
        _header(kid="AA"),
        _header(kid=""),
        _header(kid=["x"]),
        _header(crit=["b64"]),
        _header(alg=7),
        _claims("[]"),
        _claims("7"),
        _claims('{"iat":Infinity}'),
        _claims('{"iat":-1e999}'),
        _claims('{"iat":NaN}'),
        _claims('{"iat":[1]}'),
        _claims('{"iat":1}{"iat":1}'),
        _claims('{"a":' * 250),
        _claims("[" * 1100),
    ],
    ids=[
        *("x", "dots", "abc", "chinese", "bad base64", "five parts", "nested header"),
        *("kid number", "kid null", "kid chinese", "kid short", "kid empty", "kid list", "crit", "alg number"),
        *("claims list", "claims number", "iat infinite", "iat overflow", "iat NaN", "iat list", "two objects"),
        *("deep claims", "nested claims"),
    ],
)
def test_what_is_not_a_token_is_refused(shared: Service, change: Callable[[str], str]) -> None:
    require_refused(read(shared, change(own(shared.app))))


@pytest.mark.parametrize("size", [MAX_TOKEN + 1, 60_000])
def test_a_huge_token_is_refused(shared: Service, size: int) -> None:
    token = own(shared.app)
    require_refused(read(shared, token + "A" * (size - len(token))))


def test_a_long_token_is_looked_at(shared: Service) -> None:
    token = forged(shared, pad="x" * 900)
    assert len(token) < MAX_TOKEN
    assert read(shared, token).status_code == 404


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic eDp4", "Token x", "bearer"])
def test_a_request_without_a_token_is_told_how_to_get_one(shared: Service, header: str) -> None:
    answer = shared.client().get(READ, headers={"Authorization": header} if header else {})
    assert problem(answer) == (401, "token-missing")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_in_the_address_is_not_looked_at(shared: Service) -> None:
    answer = shared.client().get(READ, query_string={"access_token": own(shared.app)})
    assert problem(answer) == (401, "token-missing")


def test_the_word_bearer_may_be_written_small(shared: Service) -> None:
    answer = shared.client().get(READ, headers={"Authorization": f"bearer {own(shared.app)}"})
    assert problem(answer) == (404, "card-not-found")


def test_a_token_lives_ten_minutes(service: Service) -> None:
    token = own(service.app)
    service.clock.advance(599.999)
    assert read(service, token).status_code == 404
    service.clock.advance(0.001)
    require_refused(read(service, token))
    assert read(service, own(Api(service.client(), service.app.credentials))).status_code == 404


def test_a_token_that_nobody_has_seen_lives_ten_minutes_too(service: Service) -> None:
    """The first look at a token asks the same clock as every later one."""
    late, later = forged(service, jti="a"), forged(service, jti="b")
    service.clock.advance(599.999)
    assert read(service, late).status_code == 404
    service.clock.advance(0.001)
    require_refused(read(service, later))
