"""Events sent, signed as the Standard Webhooks specification has it, to many receivers at a time.

Each subscription is served by one process at a time, which holds a lock in the database for it on a connection that ends
with the process: another takes over at once. Within a turn, cards are spread over a few lanes; each lane has a connection
to the receiver and sends the events of its cards one after the other. A turn ends when the receiver fails, or after five
seconds. An attempt is written down after it was made, so what was sent when the process was killed is sent again.

Receivers that failed or were slow the last time are served apart from the others (`struggling`), each with one lane.
"""

import hmac
import time
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from ssl import SSLContext
from threading import Event, Lock
from uuid import UUID

import structlog
from prometheus_client import Counter
from sqlalchemy import Connection, text

from ehc.access import webhook_turns as turns
from ehc.access.webhook_turns import Order, Outcome, Receiver
from ehc.core.randomness import random_bytes
from ehc.outside.guarded_http import NotSent, Poster, Posting, TargetRefused
from ehc.place import Place

log = structlog.get_logger(__name__)

SENT = Counter("ehc_webhooks_sent", "Attempts to send an event, by how they ended.", ["outcome"])

AT_ONCE = 8
"""Subscriptions that a process serves at a time, of those that go well, and as many of the others."""

_LANES, _BATCH, _TURN = 4, 100, 5.0
_SLOW = 2.0
_ITS_OWN = frozenset({400, 409, 413, 415, 422})
_running = {False: Lock(), True: Lock()}


def run(place: Place, poster: Poster, *, struggling: bool, seconds: float = 10.0) -> int:
    """Send what is due, and return when nothing is, or after `seconds` and the last turns; how many attempts were made.

    One at a time in a process: a second call returns at once.
    """
    if not _running[struggling].acquire(blocking=False):
        return 0
    try:
        with ThreadPoolExecutor(AT_ONCE, "webhooks") as pool:
            return _Pump(place, poster, pool, struggling, time.monotonic() + seconds).serve()
    finally:
        _running[struggling].release()


@dataclass
class _Pump:
    place: Place
    poster: Poster
    pool: ThreadPoolExecutor
    struggling: bool
    deadline: float
    in_hand: dict[Future[int], UUID] = field(default_factory=dict)
    idle: set[UUID] = field(default_factory=set)

    def serve(self) -> int:
        sent, tls = 0, self.poster.tls()
        with self._connection() as connection:
            while True:
                if time.monotonic() < self.deadline:
                    self._take(connection, tls)
                if not self.in_hand:
                    return sent
                done, _ = wait(self.in_hand, timeout=0.2, return_when=FIRST_COMPLETED)
                for one in done:
                    sent += self._finish(connection, one)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self.place.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            try:
                yield connection
            finally:
                connection.execute(text("SELECT pg_advisory_unlock_all()"))

    def _take(self, connection: Connection, tls: SSLContext) -> None:
        free = AT_ONCE - len(self.in_hand)
        if not free:
            return
        with self.place.work() as session:
            waiting = turns.due(session, struggling=self.struggling, now=self.place.clock.now())
        taken = {*self.in_hand.values(), *self.idle}
        for webhook_id in [one for one in waiting if one not in taken][:free]:
            if connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _key(webhook_id)}):
                turn = _Turn(self.place, self.poster, webhook_id, tls, 1 if self.struggling else _LANES)
                self.in_hand[self.pool.submit(turn.run)] = webhook_id

    def _finish(self, connection: Connection, one: Future[int]) -> int:
        webhook_id = self.in_hand.pop(one)
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _key(webhook_id)})
        sent = 0
        try:
            sent = one.result()
        except Exception as error:
            log.warning("webhook turn failed", webhook_id=str(webhook_id), error=type(error).__name__)
        if not sent:
            self.idle.add(webhook_id)  # what is due waits behind what is not, or cannot be sent now
        return sent


@dataclass
class _Turn:
    place: Place
    poster: Poster
    webhook_id: UUID
    tls: SSLContext
    lanes: int
    over: Event = field(default_factory=Event)
    outcomes: list[Outcome] = field(default_factory=list)

    def run(self) -> int:
        """Send for five seconds, or until nothing is due or the receiver fails; how many attempts and omissions."""
        began, ends, done = self.place.clock.now(), time.monotonic() + _TURN, 0
        to = self._receiver()
        if to is None:
            return 0
        try:
            while not self.over.is_set() and time.monotonic() < ends:
                # a receiver that failed is tried with one event before all the others come
                most = 1 if to.failures and not self.outcomes else _BATCH
                with self.place.work() as session:
                    batch = turns.orders(session, to, most=most, now=self.place.clock.now())
                if not batch:
                    break
                done += self._send(to, batch, ends)
        finally:
            self._conclude(to, began)
        return done

    def _receiver(self) -> Receiver | None:
        with self.place.work() as session:
            sealer = self.place.secrets().sealer
            return turns.receiver(session, self.webhook_id, sealer=sealer, now=self.place.clock.now())

    def _conclude(self, to: Receiver, began: datetime) -> None:
        with self.place.work() as session:
            now = self.place.clock.now()
            turns.conclude(session, to, self.outcomes, began=began, chance=_chance(), now=now)

    def _send(self, to: Receiver, batch: Sequence[Order], ends: float) -> int:
        lanes = [
            lane
            for number in range(self.lanes)
            if (lane := [order for order in batch if order.card_serial % self.lanes == number])
        ]
        if len(lanes) == 1:
            return self._lane(to, lanes[0], ends)
        with ThreadPoolExecutor(len(lanes), "lane") as pool:
            return sum(pool.map(lambda lane: self._lane(to, lane, ends), lanes))

    def _lane(self, to: Receiver, orders: Sequence[Order], ends: float) -> int:
        """Send in order; after a failure nothing more of that card, and after one of the receiver nothing more at all."""
        posting, done, held = self._posting(to), 0, set[int]()
        try:
            for order in orders:
                if self.over.is_set() or time.monotonic() >= ends:
                    break
                if order.card_serial in held:
                    continue
                if not order.allowed:
                    with self.place.work() as session:
                        turns.skip(session, order, now=self.place.clock.now())
                    done += 1
                    continue
                outcome = self._attempt(posting, to, order)
                done += 1
                if outcome.error is not None:
                    held.add(order.card_serial)
                    if not outcome.alone:
                        self.over.set()
        finally:
            if posting is not None:
                posting.close()
        return done

    def _posting(self, to: Receiver) -> Posting | None:
        with suppress(TargetRefused):  # loopback was allowed when it subscribed
            return self.poster.line(to.url, self.tls)
        return None

    def _attempt(self, posting: Posting | None, to: Receiver, order: Order) -> Outcome:
        began = time.monotonic()
        outcome = _sent(posting, to, order, now=self.place.clock.now(), began=began)
        SENT.labels(outcome.error or "delivered").inc()
        self.outcomes.append(outcome)
        with self.place.work() as session:
            turns.settle(session, order, outcome, chance=_chance(), now=self.place.clock.now())
        return outcome


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64. Raises `ValueError` for what is no `whsec_…`."""
    key = b64decode(secret.removeprefix("whsec_"), validate=True)
    return "v1," + b64encode(hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")).decode()


def headers(to: Receiver, event_id: UUID, body: bytes, *, now: datetime) -> dict[str, str]:
    """What goes with an event: its id, the time of this attempt, and a signature for each secret that lives."""
    at, message_id = int(now.timestamp()), str(event_id)
    return {
        "Content-Type": "application/json",
        "User-Agent": "ehc-webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": " ".join(signature(secret, message_id, at, body) for secret in to.secrets),
    }


def outcome_of(status: int, retry_after: int | None, *, slow: bool) -> Outcome:
    """What a status means: 2xx is delivered, 410 ends the subscription, anything else is tried again."""
    if 200 <= status < 300:
        return Outcome(None, status, slow=slow)
    error = {410: "gone", 429: "too-many"}.get(status, "redirect" if 300 <= status < 400 else "status")
    return Outcome(error, status, retry_after, alone=status in _ITS_OWN, slow=slow)


def _sent(posting: Posting | None, to: Receiver, order: Order, *, now: datetime, began: float) -> Outcome:
    if posting is None:
        return Outcome("refused")
    try:
        answered = posting.post(order.body, headers(to, order.event_id, order.body, now=now))
    except NotSent as error:
        return Outcome(error.reason, slow=True)
    return outcome_of(answered.status, answered.retry_after, slow=time.monotonic() - began > _SLOW)


def _key(webhook_id: UUID) -> int:
    """The number of a subscription's lock: 63 bits that are random in its id."""
    return webhook_id.int & (2**62 - 1)


def _chance() -> float:
    return int.from_bytes(random_bytes(4), "big") / 2**32
