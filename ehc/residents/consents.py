"""Consents (同意): the purposes they are for, and the records of them. Nothing here commits.

Each purpose has a consent of its own (个人信息保护法 arts. 14, 23, 29), recorded with the wording, the time and the channel,
and can be taken back (art. 15). A person has at most one live record for a purpose through an app: a newer wording ends the
record of the older one, which stays as it was given. So `withdrawn_at` is when a consent ceased to count, be it taken back or
replaced; which of the two it was, the card's history and the audit log say.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from ehc.core.ids import uuid7
from ehc.errors import InvalidValue, Text
from ehc.residents.models import ConsentRow


class Purpose(StrEnum):
    """What personal data are used for."""

    ACCOUNT = "account"
    INSTITUTION_SHARING = "institution-sharing"
    APP_ACCESS = "app-access"


@dataclass(frozen=True)
class About:
    """A purpose for people. `of_app`: it concerns one app, so that only this app takes it back."""

    name: Text
    withdrawable: bool = True
    of_app: bool = False


PURPOSES: Mapping[Purpose, About] = MappingProxyType(
    {
        Purpose.ACCOUNT: About(Text("开立并使用电子健康卡", "Running the electronic health card"), withdrawable=False),
        Purpose.INSTITUTION_SHARING: About(
            Text(
                "验卡时向医疗机构告知脱敏信息",
                "Telling institutions masked facts about the holder when a code is checked",
            )
        ),
        Purpose.APP_ACCESS: About(
            Text("本应用查看和使用该健康卡", "Letting this app see and use the card"), of_app=True
        ),
    }
)
"""Every purpose there is; a new one is a line here, and what ends with it in `ehc/issuer/consents.py`."""


@dataclass(frozen=True)
class Given:
    """A consent as it was given: to which version of the wording, through which channel (a word of the code table), when."""

    purpose: Purpose
    text_version: str
    channel: str
    given_at: datetime


def record(
    session: Session, resident_id: UUID, client_id: UUID, given: Given, *, at: datetime, pointer: str = "/given_at"
) -> tuple[ConsentRow, bool]:
    """The record of a consent, and whether it was made now: the live one of the same wording, or a new one in its place.

    The caller holds the person, so that their decisions take turns. Raises `InvalidValue` at `pointer` for a consent that is
    older than what the person decided since: a message that was long under way must not undo a withdrawal.
    """
    rows = _of_purpose(session, resident_id, given.purpose, client_id)
    live = next((row for row in rows if row.withdrawn_at is None and row.client_id == client_id), None)
    if live is not None and live.text_version == given.text_version:
        return live, False
    if any(given.given_at < moment for moment in _decisions(rows, client_id)):
        message = Text(
            "该同意早于其后的撤回或更新，不能再登记；请重新征得同意。",
            "The person withdrew, or agreed anew, after this consent. Ask again, and send what they say now.",
        )
        raise InvalidValue.at(pointer, "consent-outdated", message)
    if live is not None:
        live.withdrawn_at = at
        session.flush()  # before the new one: the unique index knows one live record
    row = ConsentRow(
        id=uuid7(at),
        resident_id=resident_id,
        client_id=client_id,
        purpose=given.purpose,
        text_version=given.text_version,
        channel=given.channel,
        given_at=given.given_at,
    )
    session.add(row)
    session.flush()
    return row, True


def find(session: Session, resident_id: UUID, consent_id: UUID) -> ConsentRow | None:
    """A person's consent by its id."""
    wanted = select(ConsentRow).where(ConsentRow.id == consent_id, ConsentRow.resident_id == resident_id)
    return session.scalars(wanted.execution_options(populate_existing=True)).one_or_none()


def live(session: Session, residents: Collection[UUID], purpose: Purpose | None = None) -> list[ConsentRow]:
    """The consents of people that count now, whichever app they were given through; for one purpose, or for all."""
    wanted = select(ConsentRow).where(ConsentRow.resident_id.in_(residents), ConsentRow.withdrawn_at.is_(None))
    if purpose is not None:
        wanted = wanted.where(ConsentRow.purpose == purpose)
    return list(session.scalars(wanted.order_by(ConsentRow.id).execution_options(populate_existing=True)))


def all_of(session: Session, residents: Collection[UUID]) -> list[ConsentRow]:
    """Every consent that people ever gave, the oldest first."""
    wanted = select(ConsentRow).where(ConsentRow.resident_id.in_(residents))
    return list(session.scalars(wanted.order_by(ConsentRow.given_at, ConsentRow.id)))


def move(session: Session, old_id: UUID, new_id: UUID, *, at: datetime) -> None:
    """Let the consents of a record be another's, of the same person. Where both have a live one for a purpose through an app,
    that which was given later counts.
    """
    theirs = {(row.purpose, row.client_id): row for row in live(session, {new_id})}
    moved = list(session.scalars(select(ConsentRow).where(ConsentRow.resident_id == old_id)))
    for row in moved:
        twin = theirs.get((row.purpose, row.client_id))
        if row.withdrawn_at is None and twin is not None:
            min(row, twin, key=lambda one: one.given_at).withdrawn_at = at
    session.flush()  # before they move: the unique index knows one live record
    for row in moved:
        row.resident_id = new_id
    session.flush()


def page(
    session: Session, resident_id: UUID, *, limit: int, before: tuple[datetime, UUID] | None
) -> tuple[list[ConsentRow], bool]:
    """A page of a person's consents, the newest first, and whether more follow."""
    place = ConsentRow.given_at, ConsentRow.id
    wanted = select(ConsentRow).where(ConsentRow.resident_id == resident_id)
    if before is not None:
        wanted = wanted.where(tuple_(*place) < tuple_(*before))
    rows = list(session.scalars(wanted.order_by(*(column.desc() for column in place)).limit(limit + 1)))
    return rows[:limit], len(rows) > limit


def _of_purpose(session: Session, resident_id: UUID, purpose: Purpose, client_id: UUID) -> list[ConsentRow]:
    wanted = select(ConsentRow).where(ConsentRow.resident_id == resident_id, ConsentRow.purpose == purpose)
    if PURPOSES[purpose].of_app:
        wanted = wanted.where(ConsentRow.client_id == client_id)
    return list(session.scalars(wanted.execution_options(populate_existing=True)))


def _decisions(rows: list[ConsentRow], client_id: UUID) -> list[datetime]:
    """When the person decided about a purpose: agreed through this app, or took it back through any.

    The end of another app's record is a withdrawal unless that app has a live one, which then replaced it.
    """
    agreeing = {row.client_id for row in rows if row.withdrawn_at is None}
    told = [row.given_at for row in rows if row.client_id == client_id and row.withdrawn_at is None]
    return told + [
        row.withdrawn_at
        for row in rows
        if row.withdrawn_at is not None and (row.client_id == client_id or row.client_id not in agreeing)
    ]
