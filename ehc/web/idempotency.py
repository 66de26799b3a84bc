"""`Idempotency-Key`: a request sent twice is carried out once, and both get the same answer.

The key, what the request does and the stored answer are one transaction. Two at once: the second waits at the key's primary
key until the first commits, then reads its answer. A request that fails leaves no key behind, so it can be sent again.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from flask import Response, request
from psycopg.errors import LockNotAvailable
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ehc.callers import Caller, Staff
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text
from ehc.keystore.secret_keys import Secrets
from ehc.web.answers import Answer, json_response
from ehc.web.auth import whoever
from ehc.web.models import IdempotencyRow

KEPT = timedelta(hours=24)
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

Again = Callable[[Session, Mapping[str, Any]], Answer | None]


class KeyReused(EhcError):
    """The key came before, with another request."""

    code = "idempotency-key-reused"


class KeyInProgress(EhcError):
    """The first request with this key is still running."""

    code = "idempotency-key-in-progress"


_CLAIM = text("""
    INSERT INTO idempotency AS held (client_id, key, request_hash, created_at) VALUES (:client, :key, :hash, :now)
    ON CONFLICT (client_id, key) DO UPDATE
        SET request_hash = EXCLUDED.request_hash, status = NULL, body = NULL, created_at = EXCLUDED.created_at
        WHERE held.created_at < :expired
    RETURNING 1
""")


@dataclass(frozen=True)
class Once:
    """Runs what a POST does in one transaction, and once per `Idempotency-Key` if the request carries one."""

    work: UnitOfWork
    secrets: Callable[[], Secrets]
    clock: Clock

    def asked(self) -> bool:
        """Whether the request carries a key."""
        return "Idempotency-Key" in request.headers

    def replayed(self) -> Response | None:
        """The stored answer to this request, where it was carried out before; spares what `act` needs from elsewhere.

        None leaves the decision to `run`. Raises `KeyReused` or `InvalidValue`.
        """
        if not self.asked():
            return None
        key, who = _key(), whoever()
        mine = (IdempotencyRow.client_id == who.id) & (IdempotencyRow.key == key)
        with self.work() as session:
            kept = session.scalar(select(IdempotencyRow.created_at).where(mine))
            if kept is None or kept < self.clock.now() - KEPT:
                return None
            return self._stored(session, who, key, self._digest(), None)

    def run(self, act: Callable[[Session], Answer], *, again: Again | None = None) -> Response:
        """The answer of `act`, after its commit; or the stored one. Raises `KeyReused`, `KeyInProgress`, `InvalidValue`.

        `again` is given what was stored, and may answer something else, where the stored answer is true no more.
        """
        if not self.asked():
            with self.work() as session:
                answer = act(session)
            return answer.response()
        key, who = _key(), whoever()
        digest = self._digest()
        with self.work() as session:
            if not self._claimed(session, who, key, digest):
                return self._stored(session, who, key, digest, again)
            answer = act(session)
            self._store(session, who, key, answer)
        return answer.response()

    def _digest(self) -> bytes:
        """By which a request is known again. Keyed: a body holds what could be found out by trying."""
        who = whoever()
        resident = f" {who.resident.identity_id}" if isinstance(who, Caller) and who.resident is not None else ""
        sent = f"{request.method} {request.path}{resident}\n".encode() + request.get_data(cache=True)
        return self.secrets().blind_index.of("idempotency", sent.decode("latin-1"))

    def _claimed(self, session: Session, who: Caller | Staff, key: str, digest: bytes) -> bool:
        now = self.clock.now()
        values = {"client": who.id, "key": key, "hash": digest, "now": now, "expired": now - KEPT}
        try:
            return session.execute(_CLAIM, values).first() is not None
        except OperationalError as error:
            if isinstance(error.orig, LockNotAvailable):
                detail = Text(
                    "同一 Idempotency-Key 的请求正在处理，请稍后重试。",
                    "The first request with this key is still running.",
                )
                raise KeyInProgress(detail, retry_after=2) from None
            raise

    def _store(self, session: Session, who: Caller | Staff, key: str, answer: Answer) -> None:
        whole = orjson.dumps({"body": answer.body, "headers": dict(answer.headers)}).decode()
        mine = (IdempotencyRow.client_id == who.id) & (IdempotencyRow.key == key)
        sealed = self.secrets().sealer.seal(whole, _place(who, key))
        session.execute(update(IdempotencyRow).where(mine).values(status=answer.status, body=sealed))

    def _stored(self, session: Session, who: Caller | Staff, key: str, digest: bytes, again: Again | None) -> Response:
        mine = (IdempotencyRow.client_id == who.id) & (IdempotencyRow.key == key)
        row = session.scalars(select(IdempotencyRow).where(mine)).one()
        if row.request_hash != digest or row.body is None or row.status is None:
            raise reused()
        whole = orjson.loads(self.secrets().sealer.unseal(row.body, _place(who, key)))
        if again is not None and (changed := again(session, whole["body"])) is not None:
            return changed.response()
        response = json_response(orjson.dumps(whole["body"]), row.status, whole["headers"])
        response.headers["Idempotency-Replayed"] = "true"
        return response


def purge_keys(session: Session, *, now: datetime) -> int:
    """Forget up to 10,000 keys older than 24 hours; returns how many. Call until it returns 0."""
    old = text("""
        DELETE FROM idempotency WHERE (client_id, key) IN (
            SELECT client_id, key FROM idempotency WHERE created_at < :before
            ORDER BY created_at LIMIT 10000 FOR UPDATE SKIP LOCKED
        ) RETURNING 1
    """)
    return len(session.execute(old, {"before": now - KEPT}).all())


def key() -> str | None:
    """The key of this request, if it carries one. Raises `InvalidValue`."""
    return _key() if "Idempotency-Key" in request.headers else None


def reused() -> KeyReused:
    """The answer to a key that came before with another request."""
    return KeyReused(
        Text(
            "该 Idempotency-Key 已用于另一请求，请换一个新的。",
            "This key came with another request before. Use a new one.",
        )
    )


def _key() -> str:
    key = request.headers["Idempotency-Key"]
    if not _KEY.fullmatch(key):
        message = Text(
            "Idempotency-Key 应为 1 到 255 个可见 ASCII 字符。",
            "An Idempotency-Key has 1 to 255 visible ASCII characters.",
        )
        raise InvalidValue.at("/Idempotency-Key", "characters", message)
    return key


def _place(who: Caller | Staff, key: str) -> str:
    return f"idempotency.body:{who.id}:{key}"
