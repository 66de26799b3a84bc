"""`/v1/webhooks`: an app subscribes to events and sees what became of them. Parse, call, render."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from ehc import audit, jobs
from ehc.access import webhook_places, webhook_reading, webhooks
from ehc.access.webhook_schemas import (
    DeliveriesOut,
    DeliveriesQuery,
    OwnWebhooksQuery,
    RedeliveredOut,
    RedeliverIn,
    ReplayIn,
    ReplayOut,
    TestOut,
    WebhookChangeIn,
    WebhookIn,
    WebhookMadeOut,
    WebhookOut,
    WebhookSecretIn,
    WebhooksOut,
    delivery_out,
    webhook_out,
)
from ehc.access.webhook_tasks import REPLAY
from ehc.access.webhooks import Made
from ehc.callers import Scope
from ehc.clock import Clock
from ehc.crypto.sealed import Sealer
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text
from ehc.outbox.models import DeliveryRow, EventRow, WebhookRow
from ehc.outbox.writing import KEPT
from ehc.outside.guarded_http import Poster, TargetRefused
from ehc.web import parsing
from ehc.web.answers import Answer, instant
from ehc.web.auth import Authenticate, bearer, caller
from ehc.web.openapi import operation
from ehc.web.paging import Position, cursor
from ehc.web.problems import HttpProblem

STATUSES: dict[type[EhcError], int] = {
    webhooks.NoSuchWebhook: 404,
    webhooks.WebhookExists: 409,
    webhooks.TooManyWebhooks: 409,
    webhooks.WebhookHeld: 409,
    webhooks.KindNotAllowed: 403,
    webhooks.TestsWait: 409,
    webhooks.ReplayWaits: 409,
    TargetRefused: 422,
}

_NEW, _CHANGE, _SECRET, _REPLAY, _PAGE = (
    WebhookIn(),
    WebhookChangeIn(),
    WebhookSecretIn(),
    ReplayIn(),
    DeliveriesQuery(),
)
_AGAIN, _OWN = RedeliverIn(), OwnWebhooksQuery()
_ONE = "/<uuid:webhook_id>"


@dataclass(frozen=True)
class WebhookDeps:
    """What webhooks need."""

    work: UnitOfWork
    clock: Clock
    sealer: Callable[[], Sealer]
    poster: Poster
    authenticate: Authenticate


def webhooks_blueprint(deps: WebhookDeps) -> Blueprint:
    """The subscriptions of the app that calls."""
    bp = Blueprint("webhooks", __name__, url_prefix="/v1/webhooks")
    bp.before_request(bearer(deps.authenticate, Scope.CARDS))
    _add_subscriptions(bp, deps)
    _add_changes(bp, deps)
    _add_deliveries(bp, deps)
    return bp


def _add_subscriptions(bp: Blueprint, deps: WebhookDeps) -> None:
    @bp.post("")
    @operation(
        "Subscribe to events", body=WebhookIn, answers={201: WebhookMadeOut}, scope=Scope.CARDS, problems=(409, 422)
    )
    def post_webhook() -> Response:
        """The secret is told here and never again. Takes no `Idempotency-Key`, whose stored answer would hold it.

        The same URL twice is `409 webhook-exists`.
        """
        wanted = parsing.body(_NEW)
        webhooks.look(wanted["url"], deps.poster)
        with deps.work() as session:
            made = webhooks.create(
                session, caller(), wanted["url"], wanted["kinds"], sealer=deps.sealer(), now=deps.clock.now()
            )
            return _made(session, made, 201)

    @bp.get("")
    @operation(
        "The subscriptions of this app",
        query=OwnWebhooksQuery,
        answers={200: WebhooksOut},
        scope=Scope.CARDS,
        problems=(422,),
    )
    def get_webhooks() -> Response:
        """Twenty at most, so there are no pages."""
        state = parsing.query(_OWN)["state"]
        with deps.work() as session:
            rows = webhooks.of_app(session, caller().id, state=state)
            items = [webhook_out(one) for one in webhook_reading.seen(session, rows)]
        return Answer({"items": items}).response()

    @bp.get(_ONE)
    @operation("A subscription", answers={200: WebhookOut}, scope=Scope.CARDS, problems=(404,))
    def get_webhook(webhook_id: UUID) -> Response:
        """`state` and `notice` tell whether it was paused, and why."""
        with deps.work() as session:
            return _shown(session, webhooks.one(session, webhook_id, caller().id))


def _add_changes(bp: Blueprint, deps: WebhookDeps) -> None:
    @bp.patch(_ONE)
    @operation(
        "Change a subscription",
        body=WebhookChangeIn,
        answers={200: WebhookOut},
        scope=Scope.CARDS,
        conditional=True,
        problems=(404, 409, 412, 422, 428),
    )
    def patch_webhook(webhook_id: UUID) -> Response:
        """Needs `If-Match`. Going on from a pause sends what waits at once."""
        wanted, version = parsing.body(_CHANGE), _if_match()
        if "url" in wanted:
            webhooks.look(wanted["url"], deps.poster)
        with deps.work() as session:
            row = webhooks.change(session, caller(), webhook_id, wanted, version=version, now=deps.clock.now())
            return _shown(session, row)

    @bp.delete(_ONE)
    @operation("End a subscription", answers={204: None}, scope=Scope.CARDS, problems=(404, 409))
    def delete_webhook(webhook_id: UUID) -> Response:
        """Nothing more is sent, also of what waits. Not one that staff paused."""
        with deps.work() as session:
            webhooks.delete(session, caller(), webhook_id, now=deps.clock.now())
        return Response(status=204)

    @bp.post(f"{_ONE}/secret")
    @operation(
        "Give a subscription a new secret",
        body=WebhookSecretIn,
        answers={200: WebhookMadeOut},
        scope=Scope.CARDS,
        problems=(404,),
    )
    def post_webhook_secret(webhook_id: UUID) -> Response:
        """Both secrets sign for `overlap_hours`. Asked for again within that time, the oldest of the three ends at once."""
        overlap = timedelta(hours=parsing.body(_SECRET)["overlap_hours"])
        with deps.work() as session:
            now = deps.clock.now()
            made = webhooks.rotate(session, caller(), webhook_id, overlap=overlap, sealer=deps.sealer(), now=now)
            return _made(session, made, 200)


def _add_deliveries(bp: Blueprint, deps: WebhookDeps) -> None:
    @bp.post(f"{_ONE}/test")
    @operation("Send a test event", answers={202: TestOut}, scope=Scope.CARDS, problems=(404, 409))
    def post_webhook_test(webhook_id: UUID) -> Response:
        """An event `webhook.test` without a card, sent as every other; see the deliveries for what came of it."""
        with deps.work() as session:
            event_id = webhooks.test(session, caller(), webhook_id, now=deps.clock.now())
        return Answer({"event_id": str(event_id)}, 202).response()

    @bp.get(f"{_ONE}/deliveries")
    @operation(
        "What was sent, and what waits",
        query=DeliveriesQuery,
        answers={200: DeliveriesOut},
        scope=Scope.CARDS,
        problems=(404, 422),
    )
    def get_webhook_deliveries(webhook_id: UUID) -> Response:
        """The newest first, for 30 days. `state=dead` are the dead letters."""
        page = parsing.query(_PAGE)
        with deps.work() as session:
            webhooks.one(session, webhook_id, caller().id)
            return deliveries_answer(session, webhook_id, page)

    @bp.post(f"{_ONE}/replay")
    @operation(
        "Have events sent again",
        body=ReplayIn,
        answers={202: ReplayOut},
        scope=Scope.CARDS,
        problems=(404, 409, 422),
    )
    def post_webhook_replay(webhook_id: UUID) -> Response:
        """All since then that the app may see now, in order, with the `webhook-id` that each had: known ones can be dropped.

        One waits or runs at a time.
        """
        since = parsing.body(_REPLAY)["since"].astimezone(UTC)
        now = deps.clock.now()
        if not now - KEPT <= since <= now:
            message = Text("起始时间应在最近 30 天内。", "A time within the last 30 days.")
            raise InvalidValue.at("/since", "range", message)
        with deps.work() as session:
            row, text = webhooks.one(session, webhook_id, caller().id, lock=True), instant(since)
            webhooks.require_no_replay(session, row)
            lock = webhooks.replay_lock(row)
            jobs.defer(session, REPLAY, lock=lock, queueing_lock=lock, webhook_id=str(row.id), since=text)
            told = {"since": text}
            audit.record(
                session, "webhook.replayed", actor=f"app:{caller().id}", subject=str(row.id), at=now, facts=told
            )
        return Answer({"since": text}, 202).response()

    @bp.post(f"{_ONE}/redeliver")
    @operation(
        "Have dead letters sent again",
        body=RedeliverIn,
        answers={200: RedeliveredOut},
        scope=Scope.CARDS,
        problems=(404,),
    )
    def post_webhook_redeliver(webhook_id: UUID) -> Response:
        """They come after what was sent since: go by `timestamp`."""
        event_id = parsing.body(_AGAIN).get("event_id")
        with deps.work() as session:
            row, now = webhooks.one(session, webhook_id, caller().id), deps.clock.now()
            count = webhook_places.redeliver(session, row.id, event_id, now=now)
            note_redelivered(session, row.id, count, actor=f"app:{caller().id}", now=now)
        return Answer({"count": count}).response()


def note_redelivered(session: Session, webhook_id: UUID, count: int, *, actor: str, now: datetime) -> None:
    """Into the audit log."""
    audit.record(
        session,
        "webhook.redelivered",
        actor=actor,
        subject=str(webhook_id),
        at=now,
        facts={"count": count},
    )


def deliveries_answer(session: Session, webhook_id: UUID, page: dict[str, object]) -> Response:
    """A page of deliveries. A cursor holds the place of its last row, and nothing about it."""
    at: Position | None = page["cursor"]  # type: ignore[assignment]  # as the schema of the query loads it
    limit, state = int(str(page["limit"])), page.get("state")
    before = min(at[1].int, 2**63 - 1) if at is not None else None
    rows, more = webhook_reading.deliveries(
        session, webhook_id, limit=limit, state=str(state) if state else None, before=before
    )
    following = _cursor(*rows[-1]) if more else None
    return Answer({"items": [delivery_out(*row) for row in rows], "next": following}).response()


def _cursor(row: DeliveryRow, event: EventRow) -> str:
    return cursor((event.at, UUID(int=row.seq)))


def _shown(session: Session, row: WebhookRow) -> Response:
    (seen,) = webhook_reading.seen(session, [row])
    return Answer(webhook_out(seen), headers={"ETag": f'"{row.version}"'}).response()


def _made(session: Session, made: Made, status: int) -> Response:
    (seen,) = webhook_reading.seen(session, [made.row])
    headers = {"ETag": f'"{made.row.version}"', "Cache-Control": "no-store"}
    return Answer({**webhook_out(seen), "secret": made.secret}, status, headers).response()


def _if_match() -> int | None:
    """The version in `If-Match`, None for `*`. Raises `HttpProblem` without one, `InvalidValue` for a tag that is not ours."""
    header = request.headers.get("If-Match", "").strip()
    if not header:
        detail = Text(
            "修改须携带 If-Match（读取订阅时得到的 ETag）。",
            "A change needs If-Match: the ETag that came with the subscription.",
        )
        raise HttpProblem(428, "precondition-required", detail)
    if header == "*":
        return None
    tag = header.removeprefix("W/").strip('"')
    if tag.isascii() and tag.isdigit() and len(tag) < 19:
        return int(tag)
    message = Text("If-Match 应为读取订阅时得到的 ETag。", "If-Match takes the ETag that came with the subscription.")
    raise InvalidValue.at("/If-Match", "etag", message)
