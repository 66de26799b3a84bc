"""Redis speeds up and decides nothing: stopped, hanging or absent, every answer is the same."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ehc.dev.redis import EmbeddedRedis, find_redis
from tests.e2e.peers import Peer, Reply
from tests.e2e.sites import Site

BURST = 40
"""More codes than the 30 a minute that a card is given."""
WITHIN_THE_LIMIT = [201] * 30 + [429] * 10

pytestmark = [
    pytest.mark.xdist_group("heavy"),
    pytest.mark.skipif(find_redis() is None, reason="no Redis server here"),
]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    yield server
    server.resume()
    server.stop()


def told(reply: Reply) -> tuple[int, Any, Any]:
    body = reply.body
    return reply.status, body.get("outcome", body.get("status")), body.get("reason", body.get("code", "")) or ""


def script(site: Site, serial: int) -> list[tuple[int, Any, Any]]:
    """A morning at two hospitals; what each call was answered, without what differs by nature (ids, times, codes)."""
    app, first, second = site.peer("app"), site.peer("terminal-0"), site.peer("terminal-1")
    card = app.register(serial)
    code = app.code(card)
    answers = [first.scan(code), first.scan(code), second.scan(code), first.scan(code[:-1]), first.scan("https://a.b")]
    late = app.code(card)
    answers.append(app.post(f"/v1/cards/{card}/suspend", {"reason": "lost"}))
    answers += [second.scan(late), app.post(f"/v1/cards/{card}/codes", {})]
    answers.append(app.post(f"/v1/cards/{card}/resume", {"reason": "found"}))
    answers += [second.scan(late), first.scan(late), app.get(f"/v1/cards/{card}/verifications")]
    answers += [app.post("/v1/verifications", {"code": late}), first.post("/v1/verifications", {"code": late})]
    answers.append(app.get("/readyz"))
    return [told(answer) for answer in answers]


EXPECTED = [
    (200, "accepted", ""),
    (200, "accepted", ""),
    (200, "rejected", "already-used"),
    (200, "rejected", "malformed"),
    (200, "rejected", "unknown-format"),
    (200, "suspended", ""),
    (200, "rejected", "card-suspended"),
    (409, 409, "card-not-active"),
    (200, "active", ""),
    (200, "accepted", ""),
    (200, "rejected", "already-used"),
    (200, None, ""),
    (403, 403, "insufficient-scope"),
    (422, 422, "invalid-request"),
    (200, "ok", ""),
]


def codes_in_a_burst(app: Peer, card: str) -> list[int]:
    while time.time() % 60 > 50:  # the whole burst is to fall into one minute
        time.sleep(0.5)
    return [app.post(f"/v1/cards/{card}/codes", {}).status for _ in range(BURST)]


def test_with_redis_codes_are_counted_and_the_script_is_answered_as_written(site: Site, redis: EmbeddedRedis) -> None:
    site.launch(EHC_REDIS_URL=str(redis.url()), EHC_CODES_PER_MINUTE="30")
    assert script(site, 1) == EXPECTED
    app = site.peer("app")
    assert codes_in_a_burst(app, app.register(2)) == WITHIN_THE_LIMIT


def stop(redis: EmbeddedRedis) -> None:
    redis.stop()


def pause(redis: EmbeddedRedis) -> None:
    redis.pause()


@pytest.mark.parametrize("take_away", [stop, pause])
def test_without_redis_every_answer_is_the_same_and_the_log_says_so(
    site: Site, redis: EmbeddedRedis, take_away: Callable[[EmbeddedRedis], None]
) -> None:
    site.launch(EHC_REDIS_URL=str(redis.url()), EHC_CODES_PER_MINUTE="30")
    assert script(site, 1) == EXPECTED
    assert "redis" not in site.log_text()
    take_away(redis)
    began = time.monotonic()
    assert script(site, 2) == EXPECTED
    assert time.monotonic() - began < 5  # a hanging Redis costs 100 ms once in a while, not in every request
    app = site.peer("app")
    assert codes_in_a_burst(app, app.register(3)) == WITHIN_THE_LIMIT  # each worker holds its own count
    assert "redis does not answer; going on without" in site.log_text()


def test_where_redis_never_was_every_answer_is_the_same(site: Site, redis: EmbeddedRedis) -> None:
    gone = str(redis.url())
    redis.stop()
    site.launch(EHC_REDIS_URL=gone, EHC_CODES_PER_MINUTE="30")
    site.launch(EHC_REDIS_URL="", EHC_CODES_PER_MINUTE="30")
    assert script(site, 1) == EXPECTED
    for server in (0, 1):
        app = site.peer("app", server)
        assert codes_in_a_burst(app, app.register(2 + server)) == WITHIN_THE_LIMIT
    assert "redis does not answer; going on without" in site.servers[0].log.read_text(encoding="utf-8")
