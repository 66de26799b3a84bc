"""Terminals with keys, as tests make them: the staff's code, the key, the proof, and assertions of any kind."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from ehc.access.assertions import TYPE
from ehc.access.enrolments import PROOF_TYPE, challenge_of
from ehc.access.models import InstitutionRow
from ehc.callers import Role
from ehc.crypto.jwk import base64url
from ehc.crypto.keys import coordinates
from tests.support.service import Service, StaffApi, told

ENROLMENTS = "/v1/admin/terminal-enrolments"
ADMIN = "/v1/admin/terminals"


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def jwk_of(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    x, y = coordinates(key.public_key())
    return {"kty": "EC", "crv": "P-256", "x": base64url(x), "y": base64url(y)}


def institution_id(service: Service, code: str = "H1") -> str:
    with service.session() as session:
        return str(session.scalars(select(InstitutionRow.id).where(InstitutionRow.code == code)).one())


def enrolment(service: Service, staff: StaffApi | None = None, **changes: Any) -> dict[str, Any]:
    """A one-time code of the staff's, for a window of the first institution."""
    staff = staff or service.staff(Role.SYSTEM_ADMIN)
    wanted = {
        "institution_id": institution_id(service),
        "terminal_code": f"W-{uuid4().hex[:8]}",
        "name": "挂号窗口",
        "kind": "window",
    } | changes
    answer = staff.post(ENROLMENTS, wanted)
    assert answer.status_code == 201, answer.text
    return told(answer)


def enrolling(service: Service, code: str, key: ec.EllipticCurvePrivateKey, **changes: Any) -> dict[str, Any]:
    """The body that a terminal enrols itself with. `proof_code`, `aud` and `typ` change the proof."""
    says = {
        "aud": changes.pop("aud", service.settings.issuer),
        "challenge": challenge_of(changes.pop("proof_code", code)),
    }
    header = {"typ": changes.pop("typ", PROOF_TYPE)}
    signing = changes.pop("signing", key)
    proof = jwt.encode(says, signing, algorithm="ES256", headers=header)
    return {"code": code, "jwk": jwk_of(key), "proof": proof} | changes


@dataclass
class KeyTerminal:
    """A terminal that proves itself with its key."""

    http: FlaskClient
    service: Service
    key: ec.EllipticCurvePrivateKey
    about: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def enrolled(cls, service: Service, staff: StaffApi | None = None, **changes: Any) -> "KeyTerminal":
        made, key = enrolment(service, staff, **changes), new_key()
        http = service.client()
        answer = http.post("/v1/terminals/enrol", json=enrolling(service, made["code"], key))
        assert answer.status_code == 201, answer.text
        return cls(http, service, key, told(answer))

    @property
    def id(self) -> str:
        return str(self.about["terminal_id"])

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Good claims; None takes one out."""
        now = self.service.clock.now()
        usual = {
            "iss": self.about["client_id"],
            "sub": self.about["client_id"],
            "aud": self.service.settings.issuer,
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(seconds=60)).timestamp()),
            "jti": uuid4().hex,
        }
        return {name: value for name, value in (usual | changes).items() if value is not None}

    def assertion(self, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.key, algorithm="ES256")

    def ask(self, assertion: str | None = None, *, http: FlaskClient | None = None, **form: str) -> TestResponse:
        """Ask for a token with an assertion."""
        whole = {
            "grant_type": "client_credentials",
            "client_assertion_type": TYPE,
            "client_assertion": self.assertion() if assertion is None else assertion,
        } | form
        return (http or self.http).post("/oauth/token", data=whole)

    def log_in(self) -> "KeyTerminal":
        answer = self.ask()
        assert answer.status_code == 200, answer.text
        self.headers["Authorization"] = f"Bearer {told(answer)['access_token']}"
        return self

    def get(self, path: str, *, http: FlaskClient | None = None) -> TestResponse:
        return (http or self.http).get(path, headers=self.headers)

    def post(self, path: str, body: Any) -> TestResponse:
        return self.http.post(path, json=body, headers=self.headers)
