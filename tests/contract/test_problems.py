"""Problem documents, and the manners of every answer: language, request ids, security headers, who may call."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from flask import Blueprint
from psycopg.errors import DeadlockDetected, SerializationFailure
from sqlalchemy.exc import OperationalError

from ehc.app import STATUSES
from ehc.errors import EhcError, Text, Unavailable
from ehc.web.problems import HttpProblem, Problems, database_away
from tests.contract.conftest import ServiceMaker
from tests.contract.helpers import problem
from tests.support.service import Service, person
from tests.support.service import told as answered

SECRET = "王小明 110105199003070017"
FIELDS = ["type", "title", "status", "code", "detail", "request_id"]


def kinds(base: type[EhcError] = EhcError) -> Iterator[type[EhcError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.fixture
def failing(written: Callable[[], str], start: ServiceMaker) -> tuple[Service, Callable[[], str]]:
    """A service with routes that fail, each in its way."""
    service = start(log_level="INFO")
    bp = Blueprint("failing", __name__, url_prefix="/failing")

    def fail(error: BaseException) -> Callable[[], Any]:
        def view() -> Any:
            held = SECRET  # a local, which a trace with values would show
            assert held
            raise error

        return view

    class Unheard(EhcError):
        code = "unheard-of"

    away = OperationalError("SELECT 1", {"name": SECRET}, Exception(SECRET))
    for name, error in {
        "plain": ValueError(SECRET),
        "key": KeyError(SECRET),
        "chained": RuntimeError(SECRET, ValueError(SECRET)),
        "unheard": Unheard(Text(SECRET, SECRET)),
        "away": away,
        "deadlock": OperationalError("UPDATE card", {"name": SECRET}, DeadlockDetected(SECRET)),
        "serialization": OperationalError("UPDATE card", {}, SerializationFailure(SECRET)),
        "unavailable": Unavailable(Text("忙。", "Busy."), retry_after=7),
    }.items():
        bp.add_url_rule(f"/{name}", name, fail(error))
    service.flask._got_first_request = False
    service.flask.register_blueprint(bp)
    return service, written


def test_a_problem_has_the_members_of_rfc_9457_and_a_stable_code(shared: Service) -> None:
    answer = shared.app.get(f"/v1/cards/{uuid4()}", Accept_Language="en")
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answered(answer) == {
        "type": "urn:ehc:problem:card-not-found",
        "title": "Not found",
        "status": 404,
        "code": "card-not-found",
        "detail": "There is no such card, or this client has no grant for it.",
        "request_id": answer.headers["X-Request-Id"],
    }
    assert answer.headers["Content-Language"] == "en"
    assert answer.headers["Vary"] == "Accept-Language"


def test_a_wrong_member_has_a_pointer_a_code_and_a_sentence(shared: Service) -> None:
    answer = shared.app.post("/v1/cards", person(sex="3"), Accept_Language="en")
    assert list(answered(answer)) == [*FIELDS, "errors"]
    assert answered(answer)["errors"] == [
        {"pointer": "/sex", "code": "choice", "message": "Not one of the listed values. See /docs."}
    ]


@pytest.mark.parametrize(
    ("header", "language"),
    [
        (None, "zh-CN"),
        ("", "zh-CN"),
        ("zh", "zh-CN"),
        ("zh-CN", "zh-CN"),
        ("zh-TW", "zh-CN"),
        ("en", "en"),
        ("EN-us", "en"),
        ("en-GB,zh;q=0.5", "en"),
        ("en;q=0.4,zh;q=0.5", "zh-CN"),
        ("zh;q=0,en;q=0.1", "en"),
        ("fr", "zh-CN"),
        ("fr,en;q=0.1", "en"),
        ("*", "zh-CN"),
        ("x" * 3000, "zh-CN"),
        (";;;,,,q=", "zh-CN"),
    ],
)
def test_a_problem_is_in_the_callers_language(shared: Service, header: str | None, language: str) -> None:
    answer = shared.client().get("/nowhere", headers={} if header is None else {"Accept-Language": header})
    assert answer.headers["Content-Language"] == language
    assert answered(answer)["title"] == {"zh-CN": "未找到", "en": "Not found"}[language]


def test_an_address_that_is_not_there(shared: Service) -> None:
    assert problem(shared.client().get("/v1/nothing")) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1/cards"), ("GET", "/v1/cards"), ("DELETE", f"/v1/cards/{uuid4()}"), ("GET", "/v1/verifications")],
    ids=["put", "list", "delete", "checks"],
)
def test_a_method_that_is_not_there(shared: Service, method: str, path: str) -> None:
    answer = shared.app.http.open(path, method=method, headers=shared.app.headers)
    assert problem(answer) == (405, "method-not-allowed")
    assert answer.headers["Allow"]


@pytest.mark.parametrize("name", ["plain", "key", "chained", "unheard"])
def test_what_fails_here_tells_nothing(failing: tuple[Service, Callable[[], str]], name: str) -> None:
    service, written = failing
    answer = service.client().get(f"/failing/{name}", headers={"Accept-Language": "en"})
    assert problem(answer) == (500, "internal")
    assert list(answered(answer)) == FIELDS
    log = written()
    for part in SECRET.split():
        assert part not in answer.text + log
    assert '"event":"unhandled error"' in log
    assert f"{__name__.rpartition('.')[2]}.py" in log  # but where it failed is told
    assert "ValueError" not in answer.text


def test_an_unhandled_error_is_logged_with_its_kind(failing: tuple[Service, Callable[[], str]]) -> None:
    service, written = failing
    service.client().get("/failing/key")
    assert '"error":"KeyError"' in written()


def test_a_database_that_is_away_asks_to_come_again(failing: tuple[Service, Callable[[], str]]) -> None:
    service, written = failing
    answer = service.client().get("/failing/away")
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"
    log = written()
    assert '"event":"database away"' in log
    assert SECRET not in log


@pytest.mark.parametrize(("path", "sqlstate"), [("deadlock", "40P01"), ("serialization", "40001")])
def test_transactions_that_crossed_are_not_called_a_database_that_is_away(
    failing: tuple[Service, Callable[[], str]], path: str, sqlstate: str
) -> None:
    service, written = failing
    answer = service.client().get(f"/failing/{path}", headers={"Accept-Language": "en"})
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "1"
    assert answered(answer)["detail"] == "Another request was in the way, and nothing was changed. Send it again."
    log = written()
    assert '"event":"transactions crossed"' in log
    assert f'"sqlstate":"{sqlstate}"' in log
    assert "database away" not in log
    assert SECRET not in log


def test_what_is_busy_says_when_to_come_again(failing: tuple[Service, Callable[[], str]]) -> None:
    answer = failing[0].client().get("/failing/unavailable")
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "7"


def test_an_error_of_the_service_itself_does_not_mean_that_the_database_is_away() -> None:
    assert not database_away(ValueError())
    assert database_away(OperationalError("SELECT 1", {}, Exception()))
    assert not database_away(OperationalError("SELECT 1", {}, DeadlockDetected()))


AT_THE_COMMAND_LINE = {"NoSuchNotice", "TornLog", "NoSuchRole", "RoleTooStrong"}


def test_every_kind_of_error_has_a_status_and_a_code_of_its_own() -> None:
    problems = Problems(STATUSES)
    ours = [kind for kind in kinds() if kind is not HttpProblem and kind.__module__.startswith("ehc.")]
    ours = [kind for kind in ours if kind.__name__ not in AT_THE_COMMAND_LINE]
    assert len(ours) > 10
    assert [kind for kind in ours if problems.status_of(kind) is None] == []
    codes = [kind.code for kind in ours]
    assert sorted(set(codes)) == sorted(codes)
    assert "internal" not in codes


def test_every_blueprint_names_its_callers(shared: Service) -> None:
    assert set(shared.flask.blueprints) == {name for name in shared.flask.before_request_funcs if name}


def test_every_route_under_v1_wants_a_token(shared: Service) -> None:
    rules = [rule for rule in shared.flask.url_map.iter_rules() if rule.rule.startswith("/v1")]
    assert len(rules) >= 7
    for rule in rules:
        # signed by the bank; opened by a one-time code; who logs in has no token yet
        if rule.rule in {"/v1/bank-notices", "/v1/terminals/enrol", "/v1/admin/sessions"}:
            continue
        path = re.sub("<uuid:[a-z_]+>", str(uuid4()), rule.rule)
        for method in (rule.methods or set()) - {"HEAD"}:
            assert problem(shared.client().open(path, method=method)) == (401, "token-missing")


ANYWHERE = ["/healthz", "/nowhere", "/metrics", "/openapi.json", "/v1/cards", "/docs", "/.well-known/ehc/keys"]


@pytest.mark.parametrize("path", ANYWHERE)
def test_every_answer_has_the_security_headers(shared: Service, path: str) -> None:
    headers = shared.client().get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] in {"no-store", "public, max-age=30"}
    assert "Set-Cookie" not in headers
    assert "Access-Control-Allow-Origin" not in headers


def test_answers_about_people_are_not_stored(shared: Service, newcomer: dict[str, Any]) -> None:
    assert shared.app.post("/v1/cards", newcomer).headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("given", ["0190163d-8694-739b-aea5-966c26f8ad91", "4BF92F3577B34DA6A3CE929D0E0E4736"])
def test_a_request_id_that_the_caller_gives_comes_back(shared: Service, given: str) -> None:
    answer = shared.client().get("/nowhere", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == answered(answer)["request_id"] == given


@pytest.mark.parametrize(
    "given",
    ["", "1", "13800138000", "110105199003070017", "a b", "x" * 65, "王小明".encode().decode("latin-1"), "<script>"],
)
def test_another_request_id_is_replaced(shared: Service, given: str) -> None:
    answer = shared.client().get("/nowhere", headers={"X-Request-Id": given})
    assert answer.headers["X-Request-Id"] == answered(answer)["request_id"] != given
    assert len(answered(answer)["request_id"]) == 16


def test_two_requests_have_two_ids(shared: Service) -> None:
    first, second = (shared.client().get("/healthz").headers["X-Request-Id"] for _ in range(2))
    assert first != second


def test_every_request_is_logged_by_route_with_its_client(written: Callable[[], str], start: ServiceMaker) -> None:
    service = start(log_level="INFO")
    card_id = service.app.register()["card_id"]
    service.app.get(f"/v1/cards/{card_id}")
    line = written().strip().splitlines()[-1]
    assert '"route":"/v1/cards/<uuid:card_id>"' in line
    assert '"status":200' in line
    assert card_id not in line
    assert UUID(line.partition('"client":"')[2][:36]).version == 7


def test_requests_are_counted_by_route(shared: Service) -> None:
    shared.client().get("/nowhere/13800138000")
    told = shared.client().get("/metrics").text
    assert 'ehc_requests_total{method="other",route="none",status="404"}' in told
    assert "13800138000" not in told
