"""Bodies of every POST: JSON objects in UTF-8, at most 64 KiB, and nothing that a lenient parser would let through."""

import json
from io import BytesIO
from typing import Any

import pytest

from ehc.web.parsing import MAX_BODY
from tests.contract.helpers import problem, send, wrong
from tests.support.service import Api, Service

POSTS = ["/v1/cards", "/v1/cards/{card}/suspend", "/v1/cards/{card}/codes", "/v1/verifications"]


@pytest.fixture(scope="module")
def body_card(shared: Service) -> str:
    """A card of the app."""
    return str(shared.app.register(id_type="99", id_number="BODIES")["card_id"])


@pytest.fixture(params=POSTS, ids=["register", "suspend", "code", "check"])
def post(request: pytest.FixtureRequest, shared: Service, body_card: str) -> tuple[Api, str]:
    """A POST route with a client that may call it."""
    who = shared.terminal if request.param == "/v1/verifications" else shared.app
    return who, request.param.format(card=body_card)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"a":1}x',
        b"[]",
        b'"text"',
        b"7",
        b"null",
        b"true",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":1,}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00\\ud800"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=lambda body: repr(body[:16]),
)
def test_what_is_not_a_json_object_is_malformed(post: tuple[Api, str], body: bytes) -> None:
    api, path = post
    assert problem(send(api, path, body)) == (400, "malformed-json")


def test_nesting_that_parses_is_refused_by_its_member(post: tuple[Api, str]) -> None:
    api, path = post
    answer = send(api, path, b'{"deep":' + b"[" * 900 + b"]" * 900 + b"}")
    assert ("/deep", "unknown-member") in wrong(answer)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json-patch+json", ""])
def test_another_content_type_is_refused(post: tuple[Api, str], kind: str) -> None:
    api, path = post
    answer = send(api, path, b"{}", Content_Type=kind)
    assert problem(answer) == (415, "unsupported-media-type")
    assert answer.headers["Accept"] == "application/json"


def test_a_charset_in_the_content_type_is_taken(shared: Service, newcomer: dict[str, Any]) -> None:
    answer = send(
        shared.app, "/v1/cards", json.dumps(newcomer).encode(), Content_Type="application/json; charset=utf-8"
    )
    assert answer.status_code == 201


@pytest.mark.parametrize(("size", "status"), [(MAX_BODY, 422), (MAX_BODY + 1, 413)])
def test_a_body_has_at_most_64_kib(post: tuple[Api, str], size: int, status: int) -> None:
    api, path = post
    body = b'{"padding":"' + b"x" * (size - 14) + b'"}'
    assert len(body) == size
    answer = send(api, path, body)
    assert problem(answer) == (status, "body-too-large" if status == 413 else "invalid-request")


def test_a_body_of_exactly_64_kib_is_carried_out(shared: Service, newcomer: dict[str, Any]) -> None:
    body = json.dumps(newcomer).encode()
    assert send(shared.app, "/v1/cards", body + b" " * (MAX_BODY - len(body))).status_code == 201


def test_a_body_without_a_length_is_bounded_too(shared: Service) -> None:
    """A chunked body tells no length beforehand."""
    sent = BytesIO(b'{"padding":"' + b"x" * MAX_BODY + b'"}')
    headers = shared.app.headers | {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    answer = shared.app.http.post(
        "/v1/cards", input_stream=sent, headers=headers, environ_overrides={"wsgi.input_terminated": True}
    )
    assert problem(answer) == (413, "body-too-large")


def test_of_a_member_that_comes_twice_the_last_one_counts(shared: Service, newcomer: dict[str, Any]) -> None:
    """One value is looked at and that one is stored, so nothing passes unchecked."""
    good = json.dumps(newcomer)[:-1]
    assert send(shared.app, "/v1/cards", f'{{"name":"<b>",{good[1:]}}}'.encode()).status_code == 201
    answer = send(shared.app, "/v1/cards", f'{good},"name":"<b>"}}'.encode())
    assert wrong(answer) == [("/name", "name-character")]


def test_a_refused_token_comes_before_any_look_at_the_body(shared: Service) -> None:
    answer = shared.client().post("/v1/cards", data=b"{", content_type="text/plain")
    assert problem(answer) == (401, "token-missing")
