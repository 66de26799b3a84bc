"""`/healthz`, `/readyz`, `/metrics`, `/docs`, and the public keys in both forms."""

from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import cbor2
import jwt
import pytest
from sqlalchemy import text

from ehc.codes.signed import open_envelope
from ehc.crypto.keys import key_id
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.keystore import signing_keys
from ehc.keystore.ring import Purpose
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import minted, problem, signer_of
from tests.support.service import Service
from tests.support.service import told as answered


def kids(service: Service) -> list[bytes]:
    """Ids of the keys in the JWK Set."""
    keys = answered(service.client().get("/.well-known/ehc/keys"))["keys"]
    return [urlsafe_b64decode(key["kid"] + "=") for key in keys]


def cose(service: Service) -> list[dict[int, Any]]:
    answer = service.client().get("/.well-known/ehc/keys.cose")
    assert answer.content_type == "application/cose-key-set"
    found: list[dict[int, Any]] = cbor2.loads(answer.data)
    return found


def test_a_process_that_runs_is_healthy(shared: Service) -> None:
    with shared.statements() as seen:
        answer = shared.client().get("/healthz")
    assert (answer.status_code, answered(answer), seen) == (200, {"status": "ok"}, [])


def test_a_service_that_can_serve_is_ready(shared: Service) -> None:
    answer = shared.client().get("/readyz")
    checks = {"database": True, "keys": True, "partitions": True, "redis": True, "limits": True}
    assert (answer.status_code, answered(answer)) == (200, {"status": "ok", "checks": checks})


def test_a_service_without_its_database_is_healthy_and_not_ready(shared: Service, worker: WorkerMaker) -> None:
    client = worker(shared, database_url="postgresql+psycopg://nobody@127.0.0.1:1/nothing").client()
    answer = client.get("/readyz")
    assert (answer.status_code, answered(answer)["status"]) == (503, "unavailable")
    assert answered(answer)["checks"] == dict.fromkeys(("database", "keys", "partitions"), False) | {
        "redis": True,
        "limits": True,
    }
    assert client.get("/healthz").status_code == 200
    refused = client.get("/.well-known/ehc/keys")
    assert problem(refused) == (503, "unavailable")
    assert refused.headers["Retry-After"]


@pytest.mark.parametrize(("redis_url", "told"), [(None, None), ("redis://127.0.0.1:1/0", False)])
def test_redis_is_told_and_does_not_count(
    shared: Service, worker: WorkerMaker, redis_url: str | None, told: bool | None
) -> None:
    answer = worker(shared, redis_url=redis_url).client().get("/readyz")
    assert (answer.status_code, answered(answer)["checks"]["redis"]) == (200, told)


def test_a_service_without_the_partition_of_this_month_is_not_ready(service: Service) -> None:
    with service.session() as session:
        month = f"verification_y{service.clock.now():%Y}m{service.clock.now():%m}"
        session.execute(text(f"DROP TABLE {month}"))
    answer = service.client().get("/readyz")
    assert (answer.status_code, answered(answer)["checks"]["partitions"]) == (503, False)


def test_a_service_without_an_active_key_is_not_ready(service: Service) -> None:
    with service.session() as session:
        session.execute(text("UPDATE signing_key SET revoked_at = now()"))
    answer = service.client().get("/readyz")
    assert (answer.status_code, answered(answer)["checks"]["keys"]) == (503, False)


def test_a_service_with_another_key_encrypting_key_is_not_ready(
    shared: Service, worker: WorkerMaker, tmp_path: Path
) -> None:
    KeyEncryptingKey.make_file(tmp_path / "kek", demo=True)
    answer = worker(shared, kek_file=tmp_path / "kek").client().get("/readyz")
    assert (answer.status_code, answered(answer)["checks"]["keys"]) == (503, False)


def test_metrics_are_told_as_prometheus_reads_them(shared: Service) -> None:
    shared.client().get("/healthz")
    answer = shared.client().get("/metrics")
    assert answer.content_type.startswith("text/plain")
    for line in ("ehc_requests_total", "ehc_request_seconds_bucket", "ehc_scans_total", "ehc_codes_issued_total"):
        assert line in answer.text


def test_the_public_keys_are_the_same_in_both_forms(shared: Service) -> None:
    found = cose(shared)
    signers = {signer_of(shared, purpose).key_id for purpose in (Purpose.CODE, Purpose.PRINT)}
    assert kids(shared) == [key[2] for key in found]
    assert set(kids(shared)) == signers
    assert all(key.keys() == {1, 2, 3, 4, -1, -2, -3} for key in found)
    assert [(key[1], key[3], key[4], key[-1]) for key in found] == [(2, -7, [2], 1)] * len(found)
    jwk = answered(shared.client().get("/.well-known/ehc/keys"))["keys"][0]
    assert [urlsafe_b64decode(jwk[name] + "=") for name in "xy"] == [found[0][-2], found[0][-3]]
    assert (jwk["kty"], jwk["crv"], jwk["alg"], jwk["use"]) == ("EC", "P-256", "ES256", "sig")
    assert "d" not in jwk


def test_the_public_keys_may_be_kept_for_half_a_minute(shared: Service) -> None:
    for path in ("/.well-known/ehc/keys", "/.well-known/ehc/keys.cose"):
        assert shared.client().get(path).headers["Cache-Control"] == "public, max-age=30"


def test_a_code_is_checked_with_a_published_key(shared: Service, newcomer: dict[str, Any]) -> None:
    envelope = open_envelope(minted(shared, serial=1))
    keys = jwt.PyJWKSet.from_dict(answered(shared.client().get("/.well-known/ehc/keys"))).keys
    (key,) = [key for key in keys if key_id(key.key) == envelope.key_id]
    assert jwt.algorithms.ECAlgorithm(jwt.algorithms.ECAlgorithm.SHA256).verify(
        envelope.signed, key.key, envelope.signature
    )


def test_the_keys_of_tokens_are_not_published(shared: Service) -> None:
    assert signer_of(shared, Purpose.TOKEN).key_id not in kids(shared)


def test_a_pending_key_is_published_and_a_revoked_one_is_not(service: Service, worker: WorkerMaker) -> None:
    old = signer_of(service).key_id
    with service.session() as session:
        kek = service.settings.key_encrypting_key()
        new = signing_keys.rotate(session, kek, Purpose.CODE, now=service.clock.now())
    informed = worker(service)
    printing = signer_of(service, Purpose.PRINT).key_id
    assert kids(informed) == [key[2] for key in cose(informed)]
    assert set(kids(informed)) == {new, old, printing}
    told = dict(zip(kids(informed), answered(informed.client().get("/.well-known/ehc/keys"))["keys"], strict=True))
    assert told[new]["nbf"] == told[old]["exp"] == int(service.clock.now().timestamp()) + 60
    with service.session() as session:
        signing_keys.revoke(session, kek, old, now=service.clock.now())
    assert old not in kids(worker(service))


def test_the_page_of_the_interface_shows_every_route(shared: Service) -> None:
    answer = shared.client().get("/docs")
    assert (answer.status_code, answer.content_type) == (200, "text/html; charset=utf-8")
    for path in answered(shared.client().get("/openapi.json"))["paths"]:
        assert f"<code>{path}</code>" in answer.text
    assert "<script" not in answer.text


def test_the_page_finds_its_style(shared: Service) -> None:
    page = shared.client().get("/docs").text
    address = page.partition('href="')[2].partition('"')[0]
    with shared.client().get(address) as style:
        assert (style.status_code, style.mimetype) == (200, "text/css")


@pytest.mark.parametrize("path", ["/static/web/../status.py", "/static/web/%2e%2e/status.py", "/static/web/etc/passwd"])
def test_no_other_file_is_served(shared: Service, path: str) -> None:
    assert shared.client().get(path).status_code == 404
