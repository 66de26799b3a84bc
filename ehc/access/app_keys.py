"""Public keys of apps, which `private_key_jwt` is checked with: by value, or at an address that the app publishes them at.

P-256 (ES256) alone: it is what terminals, codes and tokens are made with here, what every phone's and HSM's key store makes,
and one algorithm leaves nothing to be confused. No RSA, no Ed25519, no other curve; SM2 has no registered JWS algorithm.
A key is known by its thumbprint (RFC 7638), whatever `kid` its owner calls it by.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from ehc.access.app_models import AppJwksRow, AppKeyRow
from ehc.core.ids import uuid7
from ehc.crypto.jwk import Jwk, NotAKey, read_jwk
from ehc.db import UnitOfWork
from ehc.errors import EhcError, InvalidValue, Text, Unavailable
from ehc.outside.public_https import PublicReader, Unfetchable, host_of, is_public

MOST_KEYS = 5
"""Live keys of an app, by value."""
_MOST_IN_SET = 20
CACHED = timedelta(minutes=5)
TRIED = timedelta(minutes=1)
"""How often an address is asked at most, by all workers together, whoever sends whatever `kid`."""
_READING = timedelta(seconds=4)
"""How long a try may take, and a little more: whoever comes meanwhile is asked to come again, and not refused."""
_NUMBERS = re.compile(r"[0-9.]+|.*:.*", re.ASCII)

log = structlog.get_logger(__name__)

Read = Callable[[str], bytes]
"""Reads what is at an address. Raises `Unfetchable`."""


class TooManyKeys(EhcError):
    """The app has as many live keys as it may."""

    code = "too-many-keys"


class KeyKnown(EhcError):
    """The app has this key already."""

    code = "key-known"


class NoSuchKey(EhcError):
    """The app has no live key with this id."""

    code = "app-key-not-found"


class KeysDue(Exception):
    """The address of this app's keys has to be looked at (`read_again`), outside of the transaction; then ask again."""

    def __init__(self, client: UUID) -> None:
        super().__init__()
        self.client = client


def add_key(session: Session, client: UUID, jwk: Jwk, *, now: datetime) -> AppKeyRow:
    """Keep a key of an app, whose row the caller has locked. Raises `TooManyKeys` or `KeyKnown`."""
    held = live_keys(session, client)
    if any(row.thumbprint == jwk.thumbprint for row in held):
        raise KeyKnown(Text("该公钥已登记。", "The app has this key already."))
    if any(row.jwk["kid"] == jwk.kid for row in held):
        raise KeyKnown(Text("该 kid 已用于另一公钥。", "Another key of the app has this kid. Choose another."))
    if len(held) >= MOST_KEYS:
        raise TooManyKeys(
            Text("有效公钥已达上限，请先停用一个。", "The app has as many keys as it may. End one first.")
        )
    row = AppKeyRow(id=uuid7(now), client_id=client, thumbprint=jwk.thumbprint, jwk=dict(jwk.members), created_at=now)
    session.add(row)
    session.flush()
    return row


def end_key(session: Session, client: UUID, key: UUID, *, now: datetime) -> str:
    """End a key, at once; its thumbprint. Raises `NoSuchKey`."""
    mine = AppKeyRow.id == key, AppKeyRow.client_id == client, AppKeyRow.ended_at.is_(None)
    ending = update(AppKeyRow).where(*mine).values(ended_at=now).returning(AppKeyRow.thumbprint)
    ended: str | None = session.scalar(ending)
    if ended is None:
        raise NoSuchKey(Text("没有这个有效公钥。", "The app has no live key with this id."))
    return ended


def live_keys(session: Session, client: UUID) -> list[AppKeyRow]:
    """The keys of an app that count, the oldest first."""
    wanted = select(AppKeyRow).where(AppKeyRow.client_id == client, AppKeyRow.ended_at.is_(None))
    return list(session.scalars(wanted.order_by(AppKeyRow.created_at, AppKeyRow.id)))


def require_url(url: str) -> None:
    """Raises `InvalidValue` for an address that will never be read."""
    try:
        host = host_of(url)[0]
    except Unfetchable:
        host = ""
    if not host or (_NUMBERS.fullmatch(host) and not is_public(host)):
        message = Text(
            "应为公网 https 地址，不含用户名和片段。", "A public https address without a user or a fragment."
        )
        raise InvalidValue.at("/jwks_url", "url", message)


def set_url(session: Session, client: UUID, url: str | None) -> None:
    """Where an app publishes its keys; None: nowhere. What was read at the old address counts no more."""
    row = session.get(AppJwksRow, client)
    if row is not None:
        session.delete(row)
        session.flush()
    if url is not None:
        require_url(url)
        session.add(AppJwksRow(client_id=client, url=url, keys=[]))
        session.flush()


def url_of(session: Session, client: UUID) -> str | None:
    """Where an app publishes its keys."""
    return session.scalar(select(AppJwksRow.url).where(AppJwksRow.client_id == client))


def urls_of(session: Session, clients: Sequence[UUID]) -> dict[UUID, str]:
    """Where each of several apps publishes its keys, for those that do."""
    wanted = select(AppJwksRow.client_id, AppJwksRow.url).where(AppJwksRow.client_id.in_(clients))
    return {row.client_id: row.url for row in session.execute(wanted)}


def keys_for(session: Session, client_row_id: UUID, *, now: datetime, kid: str | None = None) -> tuple[Jwk, ...]:
    """The keys of an app that count now. Those at its address are at most five minutes old, else none of them count.

    Raises `KeysDue` where its address has to be looked at first: they are too old, or there is a `kid` that none of them has.
    Raises `Unavailable` where none are known because somebody reads them at this moment, or just could not.
    """
    by_value = tuple(read_jwk(row.jwk) for row in live_keys(session, client_row_id))
    row = session.get(AppJwksRow, client_row_id)
    if row is None or kid in {key.kid for key in by_value}:
        return by_value
    known = row.fetched_at is not None and now < row.fetched_at + CACHED
    wanted = not known or (kid is not None and kid not in {key["kid"] for key in row.keys})
    if wanted and (row.tried_at is None or row.tried_at <= now - TRIED):
        raise KeysDue(client_row_id)
    if not known and not by_value and row.tried_at is not None and now < row.tried_at + _READING:
        raise Unavailable(
            Text("正在读取该应用的公钥，请稍后重试。", "The keys of the app are being read. Try again shortly."),
            retry_after=1,
        )
    return (*by_value, *map(read_jwk, row.keys)) if known else by_value


def read_again(work: UnitOfWork, client: UUID, *, now: datetime, read: Read | None = None) -> None:
    """Read the keys at an app's address, unless somebody did within the last minute.

    In transactions of its own: an assertion that is refused must not undo that there was a try. Not to be called within one:
    a request that takes a second connection while it holds its first can wait for others that do the same.
    """
    due = or_(AppJwksRow.tried_at.is_(None), AppJwksRow.tried_at <= now - TRIED)
    tried = update(AppJwksRow).where(AppJwksRow.client_id == client, due).values(tried_at=now).returning(AppJwksRow.url)
    with work() as session:
        url = session.scalar(tried)
    if url is None:
        return
    try:  # no transaction is open while the other side takes its time
        found = _keys_in((read or PublicReader().read)(url))
    except Unfetchable as error:
        log.warning("the keys of an app cannot be read", client=str(client), reason=error.reason)
        return
    here = AppJwksRow.client_id == client, AppJwksRow.url == url
    with work() as session:
        session.execute(update(AppJwksRow).where(*here).values(keys=found, fetched_at=now))


def _keys_in(body: bytes) -> list[dict[str, str]]:
    """The keys of a JWK Set that count here; others in it are somebody else's business. Raises `Unfetchable`."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Unfetchable("json") from None
    listed = told.get("keys") if isinstance(told, dict) else None
    if not isinstance(listed, list) or len(listed) > _MOST_IN_SET:
        raise Unfetchable("shape")
    return [dict(key.members) for key in _good(listed)]


def _good(listed: Iterable[Any]) -> Iterable[Jwk]:
    seen: set[str] = set()
    for each in listed:
        try:
            key = read_jwk(each) if isinstance(each, dict) else None
        except NotAKey:
            continue
        if key is not None and key.kid not in seen:
            seen.add(key.kid)
            yield key
