"""Subscriptions of apps: made, changed, paused, given new secrets, deleted. Nothing here commits."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from ehc import audit, jobs
from ehc.callers import Caller, Scope
from ehc.cards.store import StaleVersion
from ehc.core.ids import uuid7
from ehc.core.randomness import random_bytes
from ehc.crypto.sealed import Sealer
from ehc.errors import EhcError, Text
from ehc.outbox import writing as outbox
from ehc.outbox.kinds import NO_CARD, EventKind
from ehc.outbox.models import DeliveryRow, DeliveryState, EventRow, PausedBy, WebhookRow, WebhookState
from ehc.outside.guarded_http import Poster, require_target

MOST = 20
"""Subscriptions of one app."""

OVERLAP = timedelta(hours=24)
"""How long the secret before the newest goes on signing, unless the app says otherwise."""

_PREFIX, _BYTES = "whsec_", 32
_TESTS = 5


class NoSuchWebhook(EhcError):
    """No subscription with this id, or another app's."""

    code = "webhook-not-found"


class WebhookExists(EhcError):
    """The app has a subscription with this URL."""

    code = "webhook-exists"


class TooManyWebhooks(EhcError):
    """The app has as many subscriptions as it may."""

    code = "too-many-webhooks"


class WebhookHeld(EhcError):
    """Staff paused the subscription, so staff must set it going again."""

    code = "webhook-held"


class KindNotAllowed(EhcError):
    """The app's scopes do not cover this kind of event."""

    code = "kind-not-allowed"


class TestsWait(EhcError):
    """Test events that were asked for before have not been delivered yet."""

    code = "tests-wait"


class ReplayWaits(EhcError):
    """A replay that was asked for before waits, or runs."""

    code = "replay-waits"


@dataclass(frozen=True)
class Made:
    """A subscription and its newest secret, which is told once."""

    row: WebhookRow
    secret: str = field(repr=False)


def create(session: Session, caller: Caller, url: str, kinds: Sequence[str], *, sealer: Sealer, now: datetime) -> Made:
    """Subscribe an app to a URL that was looked at (`look`); with the secret, which nobody is told again.

    Raises `KindNotAllowed`, `WebhookHeld`, `TooManyWebhooks` or `WebhookExists`.
    """
    _require_allowed(caller, kinds)
    _lock(session, caller.id)
    mine = of_app(session, caller.id)
    if any(row.paused_by == PausedBy.STAFF for row in mine):  # else a new one would take the place of what staff paused
        raise _held()
    if len(mine) >= MOST:
        raise TooManyWebhooks(
            Text(
                f"每个应用最多 {MOST} 个订阅，请先删除不用的。",
                f"An app has {MOST} subscriptions at most. Delete one first.",
            )
        )
    webhook_id, secret = uuid7(now), new_secret()
    values = {
        "id": webhook_id,
        "client_id": caller.id,
        "url": url,
        "kinds": sorted(set(kinds)),
        "state": WebhookState.LIVE,
        "secret": sealer.seal(secret, secret_place(webhook_id, 1)),
        "created_at": now,
        "state_at": now,
    }
    made = insert(WebhookRow).values(**values).on_conflict_do_nothing().returning(WebhookRow)
    row = session.scalars(made).one_or_none()
    if row is None:
        raise _exists()
    _record(session, row, "created", f"{caller.kind}:{caller.id}", {"after": facts(row)}, now=now)
    return Made(row, secret)


def of_app(session: Session, client_id: UUID, *, state: str | None = None) -> list[WebhookRow]:
    """The subscriptions of an app, the oldest first; those in one state, where it is named."""
    mine = (WebhookRow.client_id == client_id) & (WebhookRow.state != WebhookState.DELETED)
    if state is not None:
        mine &= WebhookRow.state == state
    return list(session.scalars(select(WebhookRow).where(mine).order_by(WebhookRow.id)))


def one(session: Session, webhook_id: UUID, client_id: UUID | None = None, *, lock: bool = False) -> WebhookRow:
    """A subscription; of this app, where one is named. Raises `NoSuchWebhook`."""
    wanted = select(WebhookRow).where(WebhookRow.id == webhook_id, WebhookRow.state != WebhookState.DELETED)
    if client_id is not None:
        wanted = wanted.where(WebhookRow.client_id == client_id)
    if lock:
        wanted = wanted.with_for_update().execution_options(populate_existing=True)
    row = session.scalars(wanted).one_or_none()
    if row is None:
        raise NoSuchWebhook(Text("没有这个订阅，请先查询列表。", "There is no such subscription. Read the list first."))
    return row


def change(
    session: Session, caller: Caller, webhook_id: UUID, wanted: dict[str, Any], *, version: int | None, now: datetime
) -> WebhookRow:
    """Change URL, kinds or state of an app's subscription; whoever calls has looked at the URL (`look`).

    Raises `NoSuchWebhook`, `StaleVersion`, `KindNotAllowed`, `WebhookHeld` or `WebhookExists`.
    """
    row = one(session, webhook_id, caller.id, lock=True)
    if version is not None and row.version != version:
        raise StaleVersion(
            Text(
                "该订阅已被修改，请重新读取后再试。", "The subscription changed meanwhile. Read it again, then repeat."
            )
        )
    before = facts(row)
    if "kinds" in wanted:
        _require_allowed(caller, wanted["kinds"])
        row.kinds = sorted(set(wanted["kinds"]))
    if "url" in wanted and wanted["url"] != row.url:
        _move(session, row, wanted["url"])
    if "state" in wanted and wanted["state"] != row.state:
        if row.paused_by == PausedBy.STAFF:
            raise _held()
        _set(session, row, None if wanted["state"] == WebhookState.LIVE else PausedBy.APP, now)
    row.version += 1
    session.flush()
    told = {"before": before, "after": facts(row)}
    _record(session, row, "changed", f"{caller.kind}:{caller.id}", told, now=now)
    return row


def rotate(
    session: Session, caller: Caller, webhook_id: UUID, *, overlap: timedelta, sealer: Sealer, now: datetime
) -> Made:
    """Give a subscription a new secret. The one before it signs too for `overlap`; one still older ends at once.

    Raises `NoSuchWebhook`.
    """
    row, secret = one(session, webhook_id, caller.id, lock=True), new_secret()
    row.old_secret, row.old_until = (row.secret, now + overlap) if overlap else (None, None)
    row.secret_number += 1
    row.secret = sealer.seal(secret, secret_place(row.id, row.secret_number))
    row.version += 1
    session.flush()
    told = {"number": row.secret_number, "overlap_seconds": int(overlap.total_seconds())}
    _record(session, row, "secret-rotated", f"{caller.kind}:{caller.id}", told, now=now)
    return Made(row, secret)


def delete(session: Session, caller: Caller, webhook_id: UUID, *, now: datetime) -> None:
    """End a subscription at once; what waited for it is forgotten by the next upkeep. Raises `NoSuchWebhook`, `WebhookHeld`."""
    row = one(session, webhook_id, caller.id, lock=True)
    if row.paused_by == PausedBy.STAFF:
        raise _held()
    before = facts(row)
    row.state, row.paused_by, row.state_at = WebhookState.DELETED, None, now
    row.old_secret = row.old_until = None
    session.flush()
    _record(session, row, "deleted", f"{caller.kind}:{caller.id}", {"before": before}, now=now)


def test(session: Session, caller: Caller, webhook_id: UUID, *, now: datetime) -> UUID:
    """Have a test event sent to a subscription, and to no other; its id. Raises `NoSuchWebhook` or `TestsWait`."""
    row = one(session, webhook_id, caller.id, lock=True)
    waiting = (DeliveryRow.webhook_id == row.id) & (DeliveryRow.card_serial == NO_CARD)
    waiting &= DeliveryRow.state == DeliveryState.PENDING
    if (session.scalar(select(func.count()).where(waiting)) or 0) >= _TESTS:
        raise TestsWait(
            Text("已有测试事件等待送达，请稍后再试。", "Test events are waiting already. See the deliveries.")
        )
    event_id = outbox.put(session, EventKind.TEST, NO_CARD, {}, at=now)
    session.flush()
    session.execute(update(EventRow).where(EventRow.id == event_id).values(position=0))  # for this one alone
    session.add(DeliveryRow(webhook_id=row.id, event_id=event_id, card_serial=NO_CARD, created_at=now, due_at=now))
    session.flush()
    return event_id


def replay_lock(row: WebhookRow) -> str:
    """The lock of a subscription's replays in the queue."""
    return f"webhook:{row.id}"


def require_no_replay(session: Session, row: WebhookRow) -> None:
    """Raises `ReplayWaits` while one waits or runs: each goes over thirty days of events. Needs the subscription held."""
    if jobs.is_coming(session, replay_lock(row)):
        raise ReplayWaits(
            Text(
                "该订阅的重放尚未完成，请稍后再试。", "A replay of this subscription is not done yet. Try again later."
            )
        )


def pause(session: Session, webhook_id: UUID, *, actor: str, reason: str, now: datetime) -> WebhookRow:
    """Pause by decision of staff, whoever paused it before. Raises `NoSuchWebhook`."""
    return _by_staff(session, webhook_id, PausedBy.STAFF, actor=actor, reason=reason, now=now)


def resume(session: Session, webhook_id: UUID, *, actor: str, reason: str, now: datetime) -> WebhookRow:
    """Set going again by decision of staff. Raises `NoSuchWebhook`."""
    return _by_staff(session, webhook_id, None, actor=actor, reason=reason, now=now)


def new_secret() -> str:
    """A secret as the Standard Webhooks specification writes it."""
    return _PREFIX + b64encode(random_bytes(_BYTES)).decode()


def secret_place(webhook_id: UUID, number: int) -> str:
    """What a secret is sealed for."""
    return f"webhook.secret:{webhook_id}:{number}"


def facts(row: WebhookRow) -> dict[str, Any]:
    """What the audit log keeps: of the URL the host alone, since the rest may hold a token of the app's own."""
    return {
        "host": urlsplit(row.url).hostname,
        "kinds": list(row.kinds),
        "state": row.state,
        "paused_by": row.paused_by,
    }


def _by_staff(
    session: Session, webhook_id: UUID, paused_by: PausedBy | None, *, actor: str, reason: str, now: datetime
) -> WebhookRow:
    row = one(session, webhook_id, lock=True)
    before = {"state": row.state, "paused_by": row.paused_by}
    _set(session, row, paused_by, now)
    row.version += 1
    session.flush()
    after = {"state": row.state, "paused_by": row.paused_by}
    told = {"before": before, "after": after, "reason": reason}
    _record(session, row, "paused" if paused_by else "resumed", actor, told, now=now)
    return row


def _set(session: Session, row: WebhookRow, paused_by: PausedBy | None, now: datetime) -> None:
    """Pause, or set going: then what waits is due at once."""
    row.state, row.paused_by = (WebhookState.PAUSED if paused_by else WebhookState.LIVE), paused_by
    row.state_at = now
    if paused_by is None:
        _start_anew(session, row, now)


def _move(session: Session, row: WebhookRow, url: str) -> None:
    """The caller has looked at the URL."""
    mine = (
        (WebhookRow.client_id == row.client_id) & (WebhookRow.url == url) & (WebhookRow.state != WebhookState.DELETED)
    )
    _lock(session, row.client_id)
    if session.scalar(select(WebhookRow.id).where(mine)) is not None:
        raise _exists()
    row.url = url
    row.failures, row.hold_until, row.struggling = 0, None, False


def _start_anew(session: Session, row: WebhookRow, now: datetime) -> None:
    row.failures, row.failing_since, row.hold_until, row.struggling = 0, None, None, False
    waiting = (
        (DeliveryRow.webhook_id == row.id) & (DeliveryRow.state == DeliveryState.PENDING) & (DeliveryRow.due_at > now)
    )
    session.execute(update(DeliveryRow).where(waiting).values(due_at=now).execution_options(synchronize_session=False))


def look(url: str, poster: Poster) -> None:
    """Resolve a URL and look at its addresses; outside a transaction, it may take three seconds. Raises `TargetRefused`."""
    require_target(url, loopback=poster.loopback, lookup=poster.lookup)


def _lock(session: Session, client_id: UUID) -> None:
    """One at a time for each app, so that two cannot both be the last that is allowed."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"ehc.webhooks.{client_id}"))))


def _require_allowed(caller: Caller, kinds: Sequence[str]) -> None:
    if EventKind.BINDING_CHANGED in kinds and Scope.BINDINGS not in caller.scopes:
        raise KindNotAllowed(
            Text("订阅绑定事件须有 bindings 权限。", "Events of bindings need a token with the scope bindings.")
        )


def _held() -> WebhookHeld:
    return WebhookHeld(
        Text(
            "有订阅由管理员暂停，恢复前不能新建、删除或启用，请联系管理员。",
            "Staff paused a subscription. Until they set it going again none is made, deleted or set going: ask them.",
        )
    )


def _exists() -> WebhookExists:
    return WebhookExists(
        Text(
            "本应用已订阅该地址；密钥遗失可用轮换密钥取得新的。",
            "This app has a subscription with this URL. If its secret is lost, rotate it.",
        )
    )


def _record(session: Session, row: WebhookRow, what: str, actor: str, told: dict[str, Any], *, now: datetime) -> None:
    audit.record(session, f"webhook.{what}", actor=actor, subject=str(row.id), at=now, facts=told)
