"""The service as tests use it: clients with tokens, people who can be registered, a clock that stands still."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Timer, current_thread
from typing import Any
from unittest import mock
from uuid import UUID, uuid4

import psycopg
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from ehc.access import clients, staff_sessions
from ehc.access.clients import Credentials
from ehc.access.staff_models import StaffRow
from ehc.app import create_app, database
from ehc.callers import Branch, Role, Scope
from ehc.core.documents import check_character
from ehc.core.ids import uuid7
from ehc.keystore import secret_keys
from ehc.settings import Settings


class HeldClock:
    """A clock that moves only when told to."""

    def __init__(self, at: datetime | None = None) -> None:
        self.at = at or datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)  # the keys are a moment old

    def now(self) -> datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def citizen_number(serial: int, *, region: str = "110105", born: str = "19900307") -> str:
    """A citizen id with the right check character that belongs to nobody we know."""
    first = f"{region}{born}{serial:03}"
    return first + check_character(first)


def person(serial: int = 1, **changes: Any) -> dict[str, Any]:
    """A valid registration; each `serial` below 1000 is another person."""
    return {
        "name": "王小明",
        "id_type": "01",
        "id_number": citizen_number(serial),
        "phone": "13800138000",
        "verification": {"method": "document-seen"},
    } | changes


@dataclass
class Api:
    """One client of the service, with its token."""

    http: FlaskClient
    credentials: Credentials
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        form = {"grant_type": "client_credentials", **vars(self.credentials)}
        answer = self.http.post("/oauth/token", data=form)
        assert answer.status_code == 200, answer.text
        self.headers["Authorization"] = f"Bearer {told(answer)['access_token']}"

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.http.post(path, json=body, headers=self.headers | _dashed(headers))

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.http.get(path, headers=self.headers | _dashed(headers))

    def register(self, serial: int = 1, **changes: Any) -> dict[str, Any]:
        answer = self.post("/v1/cards", person(serial, **changes))
        assert answer.status_code in {200, 201}, answer.text
        return told(answer)

    def code(self, card_id: str) -> str:
        answer = self.post(f"/v1/cards/{card_id}/codes", {})
        assert answer.status_code == 201, answer.text
        return str(told(answer)["code"])

    def scan(self, code: str, step: str = "registration", **more: Any) -> dict[str, Any]:
        answer = self.post("/v1/verifications", {"code": code, "step": step, **more})
        assert answer.status_code == 200, answer.text
        return told(answer)


@dataclass
class StaffApi:
    """One of the staff, logged in."""

    http: FlaskClient
    id: UUID
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.http.open(path, method=method, json=body, headers=self.headers | _dashed(headers))

    def get(self, path: str, **headers: str) -> TestResponse:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any = None, **headers: str) -> TestResponse:
        return self.call("POST", path, {} if body is None else body, **headers)


@dataclass
class Service:
    """A running service and who may call it: `app`, another app, and a terminal in each of two institutions."""

    flask: Flask
    engine: Engine
    clock: HeldClock
    settings: Settings
    app: Api
    other_app: Api
    terminal: Api
    second_terminal: Api

    @classmethod
    def start(cls, settings: Settings) -> "Service":
        clock = HeldClock()
        flask = create_app(settings, clock=clock)
        with flask.app_context():
            engine = database.engine
        with Session(engine) as session, session.begin():
            made = _clients(session, clock.now())
        apis = {name: Api(flask.test_client(), credentials) for name, credentials in made.items()}
        return cls(flask, engine, clock, settings, **apis)

    def stop(self) -> None:
        self.engine.dispose()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction of the test's own."""
        with Session(self.engine) as session, session.begin():
            yield session

    @contextmanager
    def statements(self) -> Iterator[list[str]]:
        """Every SQL statement that the service sends while the block runs, but for what a timer writes behind the answers."""
        seen: list[str] = []

        execute = psycopg.Cursor.execute

        def noted(cursor: Any, statement: Any, *rest: Any, **more: Any) -> Any:
            if not isinstance(current_thread(), Timer):
                seen.append(str(statement))
            return execute(cursor, statement, *rest, **more)

        with mock.patch.object(psycopg.Cursor, "execute", noted):
            yield seen

    def staff(self, *roles: Role, branch: Branch | None = None, limited: bool = False) -> StaffApi:
        """Somebody with these roles, who has just logged in."""
        branch, now = branch or Branch(), self.clock.now()
        staff_id = uuid7(now)
        with self.session() as session:
            sealer = secret_keys.load(session, self.settings.key_encrypting_key()).sealer
            row = StaffRow(
                id=staff_id,
                login=f"staff-{uuid4().hex[:8]}",
                name=sealer.seal("李审", f"staff.name:{staff_id}"),
                roles=sorted(roles),
                region=branch.region,
                institution_id=branch.institution_id,
                limited=limited,
                created_at=now,
            )
            session.add(row)
            session.flush()
            token = staff_sessions.open_session(session, row, now=now)
        return StaffApi(self.flask.test_client(), staff_id, token)

    def client(self) -> FlaskClient:
        """A caller without a token."""
        return self.flask.test_client()


def _clients(session: Session, now: datetime) -> dict[str, Credentials]:
    first = clients.add_institution(session, code="H1", name="第一医院", now=now)
    second = clients.add_institution(session, code="H2", name="第二医院", now=now)
    scopes = frozenset({Scope.CARDS, Scope.CODES, Scope.BINDINGS})
    return {
        "app": clients.add_app(session, name="小程序", scopes=scopes, now=now),
        "other_app": clients.add_app(session, name="另一小程序", scopes=scopes, now=now),
        "terminal": clients.add_terminal(session, name="窗口", terminal_code="T1", owner=first, now=now),
        "second_terminal": clients.add_terminal(session, name="窗口", terminal_code="T2", owner=second, now=now),
    }


def told(answer: TestResponse) -> dict[str, Any]:
    """The JSON object in an answer."""
    found = answer.get_json()
    assert isinstance(found, dict)
    return found


def _dashed(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}
