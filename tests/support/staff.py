"""Accounts of the staff as tests use them: made whole, logged in over HTTP, with authenticators made of software."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from secrets import token_bytes
from typing import Any
from uuid import UUID

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from flask import Flask
from werkzeug.test import TestResponse

from ehc.access import own_account, second_factors, totp
from ehc.access.passwords import Hasher
from ehc.access.staff_models import StaffRow
from ehc.callers import Branch, Role
from ehc.core.ids import uuid7
from ehc.keystore import secret_keys
from tests.support.service import Service, StaffApi, told

SESSIONS = "/v1/admin/sessions"
CURRENT = f"{SESSIONS}/current"
ME = "/v1/admin/me"
PASSWORD = "春眠不觉晓处处闻啼鸟夜来风"
ORIGIN, RP_ID = "https://ehc.local", "ehc.local"
HASHER = Hasher()
_HASHES: dict[str, str] = {}


def hashed(password: str) -> str:
    """The hash of a password, computed once a run."""
    if password not in _HASHES:
        _HASHES[password] = HASHER.hash(password)
    return _HASHES[password]


@dataclass
class Person:
    """Somebody with an account: what they know and hold."""

    service: Service
    id: UUID
    login: str
    secret: str
    password: str = PASSWORD
    device: str | None = None
    recovery_codes: list[str] = field(default_factory=list)

    def code(self, steps: int = 0) -> str:
        """What their app shows now."""
        return totp.code(self.secret, totp.step_at(self.service.clock.now()) + steps)

    def wrong_code(self) -> str:
        """Six digits that are no code around now."""
        near = {self.code(steps) for steps in range(-3, 4)}
        return next(f"{number:06}" for number in range(10) if f"{number:06}" not in near)

    def try_with(self, *, address: str = "192.0.2.1", flask: Flask | None = None, **changes: Any) -> TestResponse:
        """A log-in as they would make it, changed in some members; None leaves one out."""
        body = {"login": self.login, "password": self.password, "totp": self.code(), "device": self.device} | changes
        return log_in(flask or self.service.flask, address=address, **body)

    def enter(self, **changes: Any) -> StaffApi:
        """Logged in. The clock goes on to the next code first, so that none is used twice."""
        self.service.clock.advance(totp.STEP_SECONDS)
        answer = self.try_with(**changes)
        assert answer.status_code == 201, answer.text
        self.device = told(answer)["device"] or self.device
        return StaffApi(self.service.flask.test_client(), self.id, told(answer)["token"])


def log_in(
    flask: Flask, *, address: str = "192.0.2.1", headers: dict[str, str] | None = None, **body: Any
) -> TestResponse:
    """A POST to /v1/admin/sessions from an address."""
    sent = {name: value for name, value in body.items() if value is not None}
    return flask.test_client().post(SESSIONS, json=sent, headers=headers, environ_base={"REMOTE_ADDR": address})


def person(
    service: Service, *roles: Role, login: str = "zhang.san", branch: Branch | None = None, recovery: bool = False
) -> Person:
    """An account that is set up, with roles in effect, a password and a TOTP app."""
    now, branch = service.clock.now(), branch or Branch()
    with service.session() as session:
        secrets = secret_keys.load(session, service.settings.key_encrypting_key())
        staff_id = uuid7(now)
        row = StaffRow(
            id=staff_id,
            login=login,
            name=secrets.sealer.seal("张三", f"staff.name:{staff_id}"),
            roles=sorted(roles),
            region=branch.region,
            institution_id=branch.institution_id,
            created_at=now,
        )
        session.add(row)
        session.flush()
        own_account.keep(session, row, hashed(PASSWORD), must_change=False, expires_at=None, now=now)
        secret = second_factors.begin_totp(session, row, sealer=secrets.sealer, now=now)
        earlier = now - timedelta(hours=1)
        code = totp.code(secret, totp.step_at(earlier))
        assert second_factors.confirm_totp(session, row, code, sealer=secrets.sealer, now=earlier)
        second_factors.settle(session, row, now=now)
        codes = second_factors.new_recovery_codes(session, row, blind_index=secrets.blind_index) if recovery else []
    return Person(service, staff_id, login, secret, recovery_codes=codes)


def encoded(data: bytes) -> str:
    """Base64url without padding, as WebAuthn writes bytes."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    """Its bytes."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class Authenticator:
    """A WebAuthn authenticator with one key, which does what it is told, also what a real one would not."""

    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    credential_id: bytes = field(default_factory=lambda: token_bytes(32))
    count: int = 0
    origin: str = ORIGIN
    rp_id: str = RP_ID

    def attest(self, challenge: str, *, kind: str = "webauthn.create") -> dict[str, Any]:
        """The answer to `navigator.credentials.create`."""
        numbers = self.key.public_key().public_numbers()
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        held = bytes(16) + len(self.credential_id).to_bytes(2, "big") + self.credential_id + cose
        made = {"fmt": "none", "attStmt": {}, "authData": self._data(0x41) + held}
        response = {
            "clientDataJSON": encoded(self._client(challenge, kind)),
            "attestationObject": encoded(cbor2.dumps(made)),
        }
        return self._credential(response)

    def assertion(self, challenge: str, *, kind: str = "webauthn.get", user: bytes | None = None) -> dict[str, Any]:
        """The answer to `navigator.credentials.get`."""
        self.count += 1
        data, client = self._data(0x01), self._client(challenge, kind)
        signature = self.key.sign(data + sha256(client).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": encoded(client),
            "authenticatorData": encoded(data),
            "signature": encoded(signature),
            "userHandle": encoded(user) if user else None,
        }
        return self._credential(response)

    def _client(self, challenge: str, kind: str) -> bytes:
        told = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": False}
        return json.dumps(told).encode()

    def _data(self, flags: int) -> bytes:
        return sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big")

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        name = encoded(self.credential_id)
        return {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}


def add_passkey(who: StaffApi, key: Authenticator) -> str:
    """Add an authenticator to a logged-in person's account; its id."""
    asked = told(who.post(f"{ME}/webauthn"))
    body = {
        "challenge_id": asked["challenge_id"],
        "label": "钥匙",
        "credential": key.attest(asked["options"]["challenge"]),
    }
    answer = who.post(f"{ME}/webauthn/confirm", body)
    assert answer.status_code == 201, answer.text
    return str(told(answer)["passkey_id"])
