"""Every route against every kind of caller. The routes come from the app, the rows from `tests/support/access_rows.py`."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc.access import clients, tokens
from ehc.access.roles import RIGHTS
from ehc.callers import Branch, Caller, ClientKind, Reach, Role, Scope
from ehc.keystore.ring import Purpose
from ehc.keystore.signing_keys import DatedSigner
from ehc.web.openapi import described
from tests.contract.helpers import signer_of
from tests.support import residents
from tests.support.access_rows import CARD, NOBODYS, ROWS, Row
from tests.support.service import Api, Service, citizen_number
from tests.support.service import told as answered

Headers = dict[str, str]
NOT_AUTHENTIC = ("none", "garbage", "expired", "disabled app", "blocked terminal")
STAFF = tuple(f"staff {role}" for role in Role)
CLIENTS = ("app without the scope", "other app", "terminal", "other terminal")
EXPIRED = "expired resident"
GUARDIAN = "resident who acts for the holder"
RESIDENTS = (EXPIRED, "resident", GUARDIAN, "other resident", "resident of another app", "resident not linked")
KINDS = (*NOT_AUTHENTIC, *CLIENTS, *RESIDENTS, *STAFF)
CASES = [(*route, kind) for route in ROWS for kind in KINDS]


@dataclass
class Callers:
    """Makes a token of each kind."""

    service: Service
    stranger: str
    """The card of somebody else."""

    def headers(self, kind: str, row: Row, card_id: str | None = None) -> Headers:
        """What a caller of this kind sends to show who it is, at the card of a route that has one."""
        if kind in RESIDENTS:
            return _bearer(self._resident(kind, card_id or self.stranger))
        known: dict[str, Callable[[], Headers]] = {
            "none": lambda: {},
            "garbage": lambda: _bearer("eyJhbGciOiJub25lIn0.e30."),
            "expired": lambda: _bearer(self._expired()),
            "disabled app": lambda: self._stopped(kind),
            "blocked terminal": lambda: self._stopped(kind),
            "terminal": lambda: self.service.terminal.headers,
            "other terminal": lambda: self.service.second_terminal.headers,
            "other app": lambda: self.rightful(row, self.service.other_app),
            "app without the scope": lambda: self._app(frozenset(Scope) - row.scopes - {Scope.VERIFY}),
        }
        return known[kind]() if kind in known else _staff(self.service, Role(kind.removeprefix("staff ")))

    def rightful(self, row: Row, api: Api) -> Headers:
        """Of this app, or where it lacks the scope, of a new one that has all."""
        return self._app(frozenset(Scope)) if Scope.BATCH in row.scopes else api.headers

    def _resident(self, kind: str, card_id: str) -> str:
        service, app = self.service, self.service.app
        if kind == GUARDIAN and card_id != self.stranger:
            residents.act_for(service, self.stranger, card_id)
        known: dict[str, Callable[[], str]] = {
            EXPIRED: lambda: residents.token_of(service, app, card_id, ended=True),
            "resident": lambda: residents.token_of(service, app, card_id),
            GUARDIAN: lambda: residents.token_of(service, app, self.stranger),
            "other resident": lambda: residents.token_of(service, app, self.stranger),
            "resident of another app": lambda: residents.token_of(service, service.other_app, card_id),
            "resident not linked": lambda: residents.token_of(service, app),
        }
        return known[kind]()

    def _app(self, scopes: frozenset[Scope]) -> Headers:
        with self.service.session() as session:
            made = clients.add_app(session, name="矩阵", scopes=scopes, now=self.service.clock.now())
        return Api(self.service.client(), made).headers

    def _stopped(self, kind: str) -> Headers:
        """A token from before its client was disabled, at a worker that has not seen the client yet."""
        now = self.service.clock.now()
        with self.service.session() as session:
            if kind == "disabled app":
                made = clients.add_app(session, name="矩阵", scopes=frozenset(Scope), now=now)
            else:
                owner = clients.institution(session, "H1")
                code = f"M{session.scalar(text('SELECT count(*) FROM client'))}"
                made = clients.add_terminal(session, name="矩阵", terminal_code=code, owner=owner, now=now)
        headers = Api(self.service.client(), made).headers
        with self.service.session() as session:
            clients.disable(session, made.client_id, now=now)
        return headers

    def _expired(self) -> str:
        with self.service.session() as session:
            found = session.execute(text("SELECT id FROM client WHERE kind = 'app' LIMIT 1")).scalar_one()
        then = self.service.clock.now() - tokens.LIFE - timedelta(seconds=1)
        signer = signer_of(self.service, Purpose.TOKEN)
        caller = Caller(UUID(str(found)), ClientKind.APP, frozenset(Scope))
        names = tokens.Names(self.service.settings.issuer, self.service.settings.audience)
        dated = DatedSigner(signer, then - timedelta(days=1), None)
        return tokens.issue(caller, caller.scopes, signers=(dated,), names=names, now=then)


def _staff(service: Service, role: Role) -> Headers:
    with service.session() as session:
        hospital = clients.institution(session, "H1").id
    if role is Role.REGION_OPERATOR:
        return service.staff(role, branch=Branch(region="370000")).headers
    if role in {Role.INSTITUTION_OPERATOR, Role.CLERK}:
        return service.staff(role, branch=Branch(institution_id=hospital)).headers
    return service.staff(role).headers


def _bearer(token: str) -> Headers:
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def callers(shared: Service) -> Callers:
    stranger = shared.app.register(1, id_number=citizen_number(1, born="19480101"))["card_id"]
    return Callers(shared, stranger)


def test_every_route_has_a_row_and_every_row_a_route(shared: Service) -> None:
    assert set(_routes(shared.flask)) == set(ROWS)


def test_the_description_says_where_a_residents_token_is_taken(shared: Service) -> None:
    for path, method, _, told in described(shared.flask):
        assert told.resident == ROWS[method, path].resident, (method, path)


def _routes(flask: Flask) -> Iterator[tuple[str, str]]:
    for rule in flask.url_map.iter_rules():
        path = re.sub(r"<uuid:(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            yield method, path


def _call(service: Service, method: str, path: str, card_id: str, headers: Headers) -> TestResponse:
    address = re.sub(r"{\w+}|<[^>]+>", NOBODYS, path.replace("{card_id}", card_id))
    row = ROWS[method, path]
    sent: dict[str, Any] = {"json": {} if row.body is None else row.body} if method in {"POST", "PATCH", "PUT"} else {}
    return service.client().open(address, method=method, headers=headers | dict(row.headers), **sent)


@pytest.mark.parametrize("case", CASES, ids=[" ".join(case) for case in CASES])
def test_a_caller_gets_what_the_row_says(
    shared: Service, callers: Callers, newcomer: dict[str, Any], case: tuple[str, str, str]
) -> None:
    method, path, kind = case
    row = ROWS[method, path]
    card_id = shared.app.register(**newcomer)["card_id"] if path.startswith(CARD) else None
    answer = _call(shared, method, path, card_id or NOBODYS, callers.headers(kind, row, card_id))
    expected = _expected(row, kind)
    if expected is None:
        assert answer.status_code < 500
        assert answer.status_code not in {401, 403} or answered(answer)["code"] not in CODES[answer.status_code]
    else:
        assert answer.status_code == expected
    if expected in {401, 403}:
        assert answered(answer)["code"] in CODES[expected]


CODES = {
    401: {"token-missing", "token-invalid"},
    403: {
        "insufficient-scope",
        "right-missing",
        "app-token-needed",
        "resident-token-needed",
        "session-not-linked",
        "not-in-sandbox",
    },
}


def _expected(row: Row, kind: str) -> int | None:
    """The status; None where any will do but a refusal of the caller."""
    if row.anyone:
        return row.other
    for_staff = bool(row.right or row.any_staff)
    if kind in {*NOT_AUTHENTIC, EXPIRED} or for_staff != kind.startswith("staff "):
        return 401
    if kind in RESIDENTS:
        return _expected_of_resident(row, kind)
    return _expected_of_staff(row, kind) if for_staff else _expected_of_client(row, kind)


def _expected_of_staff(row: Row, kind: str) -> int | None:
    allowed = row.any_staff or row.right in RIGHTS[Role(kind.removeprefix("staff "))]
    return None if allowed else 403


def _expected_of_client(row: Row, kind: str) -> int | None:
    if kind in {"terminal", "other terminal"}:
        return row.terminal if Scope.VERIFY in row.scopes else 403
    return row.other if kind == "other app" and row.scopes - {Scope.VERIFY} else 403


def _expected_of_resident(row: Row, kind: str) -> int | None:
    if row.resident is None:
        return 403
    if row.resident is Reach.SELF or kind == "resident":
        return row.mine
    if kind == "resident not linked":
        return 403
    return None if kind == GUARDIAN and row.resident is Reach.FAMILY else 404


OWN = [(method, path) for (method, path), row in ROWS.items() if row.own is not None]


@pytest.mark.parametrize(("method", "path"), OWN, ids=[" ".join(route) for route in OWN])
def test_the_rightful_caller_is_answered(
    shared: Service, callers: Callers, newcomer: dict[str, Any], method: str, path: str
) -> None:
    row = ROWS[method, path]
    card_id = shared.app.register(**newcomer)["card_id"] if path.startswith(CARD) else NOBODYS
    answer = _call(shared, method, path, card_id, callers.rightful(row, shared.app))
    assert answer.status_code == row.own


MINE = [(method, path) for (method, path), row in ROWS.items() if row.resident and (row.mine or row.own)]


@pytest.mark.parametrize(("method", "path"), MINE, ids=[" ".join(route) for route in MINE])
def test_the_resident_is_answered_as_the_app_is(
    shared: Service, callers: Callers, newcomer: dict[str, Any], method: str, path: str
) -> None:
    row = ROWS[method, path]
    card_id = shared.app.register(**newcomer)["card_id"] if path.startswith(CARD) else None
    answer = _call(shared, method, path, card_id or NOBODYS, callers.headers("resident", row, card_id))
    assert answer.status_code == (row.mine or row.own)
