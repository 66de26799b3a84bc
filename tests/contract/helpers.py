"""What the contract tests share: requests as bytes, problems, calls at the same moment, codes of our own making."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import Any, TypeVar

import orjson
from flask import Flask
from sqlalchemy import text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from ehc.codes.minting import mint
from ehc.codes.signed import Claims
from ehc.crypto.signer import SoftwareSigner
from ehc.keystore import secret_keys, signing_keys
from ehc.keystore.ring import Purpose
from ehc.keystore.secret_keys import Secrets
from tests.support.service import Api, Service
from tests.support.service import told as answered

Answer = TypeVar("Answer")


def send(api: Api, path: str, body: bytes, **headers: str) -> TestResponse:
    """A POST of these very bytes, as JSON unless `Content_Type` says otherwise."""
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return api.http.post(path, data=body, headers=api.headers | named)


def problem(answer: TestResponse) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert answer.content_type == "application/problem+json", answer.text
    assert answered(answer)["status"] == answer.status_code
    return answer.status_code, answered(answer)["code"]


def wrong(answer: TestResponse) -> list[tuple[str, str]]:
    """Pointer and code of each wrong member of a 422."""
    assert problem(answer) == (422, "invalid-request")
    return [(error["pointer"], error["code"]) for error in answered(answer)["errors"]]


def at_once(*calls: Callable[[], Answer]) -> list[Answer]:
    """The results of calls that start together, each in a thread."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Answer]) -> Answer:
        barrier.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [waiting.result(timeout=30) for waiting in [pool.submit(run, call) for call in calls]]


def poster(service: Service, api: Api, path: str, body: Any, **headers: str) -> Callable[[], TestResponse]:
    """A POST to be made later, on a connection of its own."""
    own = elsewhere(api, service.flask)
    return lambda: own.post(path, body, **headers)


def elsewhere(api: Api, flask: Flask) -> Api:
    """The same client with the same token, on a connection of its own."""
    own = Api.__new__(Api)
    own.http, own.credentials, own.headers = flask.test_client(), api.credentials, dict(api.headers)
    return own


def secrets_of(service: Service) -> Secrets:
    """The deployment's symmetric keys."""
    with service.session() as session:
        return secret_keys.load(session, service.settings.key_encrypting_key())


def signer_of(service: Service, purpose: Purpose = Purpose.CODE) -> SoftwareSigner:
    """The deployment's newest signing key."""
    with service.session() as session:
        return signing_keys.load_signers(session, service.settings.key_encrypting_key(), purpose)[0].signer


def minted(
    service: Service,
    *,
    serial: int | None = None,
    cti: bytes | None = None,
    life: int = 60,
    issued_in: int = 0,
    signer: SoftwareSigner | None = None,
) -> str:
    """A code that the service's own key signs: valid for `serial`, except for what is changed."""
    issued = int(service.clock.now().timestamp()) + issued_in
    block = cti if cti is not None else secrets_of(service).cti.make(serial or 1)
    return mint(Claims(issued, issued + life, block), signer or signer_of(service))


def serial_of(service: Service, card_id: str) -> int:
    """The serial of a card."""
    with service.session() as session:
        return int(session.execute(text("SELECT serial FROM card WHERE id = :id"), {"id": card_id}).scalar_one())


def tables(session: Session) -> list[str]:
    """Every table that holds rows, partitions by their parent."""
    names = text("""
        SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
        WHERE nspname = 'public' AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname
    """)
    return list(session.scalars(names))


def row_counts(service: Service) -> dict[str, int]:
    """How many rows every table has."""
    with service.session() as session:
        return {name: session.scalar(text(f"SELECT count(*) FROM {name}")) or 0 for name in tables(session)}


def metric(service: Service, line: str) -> float:
    """The value of one line of `/metrics`, 0 where it is not there."""
    for told in service.client().get("/metrics").text.splitlines():
        if told.startswith(f"{line} "):
            return float(told.rpartition(" ")[2])
    return 0.0


@contextmanager
def counted(service: Service, line: str, by: float) -> Iterator[None]:
    """The block moves one line of `/metrics` by so much."""
    before = metric(service, line)
    yield
    assert metric(service, line) - before == by


def without_request_id(answer: TestResponse) -> Mapping[str, Any]:
    """A problem document without the one member that differs between equal answers."""
    told = orjson.loads(answer.data)
    told.pop("request_id")
    return dict(told)
