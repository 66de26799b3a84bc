"""Tokens that are not ours: forged, altered, out of date, too large, for somebody else."""

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm as ES256Algorithm
from werkzeug.test import TestResponse

from ehc.callers import Role
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


def _signed(service: Service, header: str, claims: str) -> str:
    """These very bytes of JSON, signed by the service's token key."""
    signed = f"{b64(header.encode())}.{b64(claims.encode())}"
    private = signer_of(service, Purpose.TOKEN).private
    return f"{signed}.{b64(ES256Algorithm(ES256Algorithm.SHA256).sign(signed.encode(), private))}"


def test_bytes_of_our_own_signing_are_taken(shared: Service) -> None:
    """The ground of the tests that follow: what they change is all that is wrong."""
    header, claims = parts(own(shared.app))
    assert read(shared, _signed(shared, json.dumps(header), json.dumps(claims))).status_code == 404


@pytest.mark.parametrize(
    "changes",
    [
        {"crit": ["b64"]},
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"typ": "JWT"},
        {"typ": "client-authentication+jwt"},
        {"typ": "logout+jwt"},
        {"typ": None},
        {"typ": 7},
        {"typ": ["at+jwt"]},
        {"alg": "none"},
        {"alg": "es256"},
        {"alg": "ES384"},
        {"alg": "ES256K"},
        {"alg": "EdDSA"},
        {"alg": "HS256"},
        {"alg": ""},
        {"alg": None},
        {"alg": ["ES256"]},
        {"kid": None},
        {"kid": {"x": 1}},
    ],
    ids=repr,
)
def test_a_header_that_says_something_else_is_refused_though_we_signed_it(
    shared: Service, changes: dict[str, Any]
) -> None:
    header, claims = parts(own(shared.app))
    require_refused(read(shared, _signed(shared, json.dumps(header | changes), json.dumps(claims))))


def test_the_algorithm_of_a_secret_takes_no_form_of_our_public_key(shared: Service) -> None:
    header, claims = parts(own(shared.app))
    signer = signer_of(shared, Purpose.TOKEN)
    point = signer.public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    jwk = jwt.algorithms.ECAlgorithm.to_jwk(signer.public)
    pem = signer.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for secret in (
        point,
        point[1:],
        point[1:33],
        signer.key_id,
        jwk.encode(),
        pem.strip(),
        b"",
        header["kid"].encode(),
    ):
        for name, digest in (("HS256", "sha256"), ("HS384", "sha384"), ("HS512", "sha512"), ("ES256", "sha256")):
            signed = f"{b64(json.dumps(header | {'alg': name}).encode())}.{b64(json.dumps(claims).encode())}"
            require_refused(read(shared, f"{signed}.{b64(hmac.digest(secret, signed.encode(), digest))}"))


@pytest.mark.parametrize("purpose", [Purpose.CODE, Purpose.PRINT, Purpose.LIST])
def test_a_key_for_something_else_signs_no_token(shared: Service, purpose: Purpose) -> None:
    header, claims = parts(own(shared.app))
    signer = signer_of(shared, purpose)
    for kid in (signer.key_id, signer_of(shared, Purpose.TOKEN).key_id):
        named = header | {"kid": urlsafe_b64encode(kid).decode()}
        require_refused(read(shared, jwt.encode(claims, signer.private, algorithm="ES256", headers=named)))


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()], ids=lambda curve: curve.name)
def test_a_key_of_another_curve_signs_no_token(shared: Service, curve: ec.EllipticCurve) -> None:
    name = {"secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}[curve.name]
    header, claims = parts(own(shared.app))
    kid = {"kid": header["kid"], "typ": header["typ"]}
    require_refused(read(shared, jwt.encode(claims, ec.generate_private_key(curve), algorithm=name, headers=kid)))


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../../../dev/null",
        "/proc/self/environ",
        "' OR '1'='1",
        "'; DROP TABLE signing_key; --",
        "http://127.0.0.1:1/keys",
        "file:///etc/passwd",
        "\x00",
        "A" * 1000,
        "%00",
        "AAAAAAAAAAA=",
        "==========",
        "%s%s%n",
    ],
)
def test_the_name_of_a_key_is_nothing_but_a_name(shared: Service, kid: str) -> None:
    _, claims = parts(own(shared.app))
    stranger = SoftwareSigner.generate()
    named = {"kid": kid, "typ": "at+jwt"}
    require_refused(read(shared, jwt.encode(claims, stranger.private, algorithm="ES256", headers=named)))
    assert read(shared, own(shared.app)).status_code == 404


def test_names_of_keys_that_nobody_knows_do_not_make_it_look_again_each_time(service: Service) -> None:
    _, claims = parts(own(service.app))
    stranger = SoftwareSigner.generate()
    with service.statements() as sent:
        for number in range(50):
            kid = urlsafe_b64encode(number.to_bytes(8, "big")).decode()
            headers = {"kid": kid, "typ": "at+jwt"}
            require_refused(read(service, jwt.encode(claims, stranger.private, algorithm="ES256", headers=headers)))
    assert len(sent) <= 3


_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize("r", [0, 1, _ORDER, _ORDER + 1, 2**256 - 1])
@pytest.mark.parametrize("s", [0, 1, _ORDER, 2**256 - 1])
def test_a_signature_of_numbers_that_are_none_is_refused(shared: Service, r: int, s: int) -> None:
    signed = own(shared.app).rpartition(".")[0]
    require_refused(read(shared, f"{signed}.{b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"))


def test_a_signature_in_another_form_is_refused(shared: Service) -> None:
    signed, _, signature = own(shared.app).rpartition(".")
    raw = urlsafe_b64decode(signature + "==")
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    for form in (der, raw + b"\x00", b"\x00" + raw, raw[:63], raw * 2, b""):
        require_refused(read(shared, f"{signed}.{b64(form)}"))


@pytest.mark.parametrize(
    ("part", "member", "value"),
    [
        (0, "alg", '"none"'),
        (0, "alg", '"HS256"'),
        (0, "kid", '"AAAAAAAAAAA="'),
        (0, "typ", '"JWT"'),
        (1, "scope", '"cards codes verify batch"'),
        (1, "sub", '"0190163d-8694-739b-aea5-966c26f8ad91"'),
        (1, "exp", "4000000000"),
        (1, "aud", '"another"'),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_member_that_is_there_twice_changes_nothing_that_was_signed(
    shared: Service, part: int, member: str, value: str, first: bool
) -> None:
    pieces = own(shared.app).split(".")
    inner = urlsafe_b64decode(pieces[part] + "==").decode()[1:-1]
    pieces[part] = b64(
        ("{" + (f'"{member}":{value},{inner}' if first else f'{inner},"{member}":{value}') + "}").encode()
    )
    require_refused(read(shared, ".".join(pieces)))


def test_one_of_the_staff_is_no_client_and_the_other_way_round(shared: Service) -> None:
    who = shared.staff(Role.SYSTEM_ADMIN)
    require_refused(read(shared, who.token))
    answer = shared.client().get("/v1/admin/apps", headers=shared.app.headers)
    require_refused(answer)


@pytest.mark.parametrize("extra", ["", " ", "\t", ".", "=", "A", "%00", ", Bearer x"])
@pytest.mark.parametrize("before", [True, False])
def test_a_token_with_something_around_it_is_no_other_token(shared: Service, extra: str, before: bool) -> None:
    token = own(shared.app)
    answer = read(shared, extra + token if before else token + extra)
    assert answer.status_code == (401 if extra else 404)
