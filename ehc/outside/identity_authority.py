"""The identity authority, a population register: does this name fit this document, is it in force, is its holder alive.

Its wire format is docs/outside-parties.md, section 4. Nothing here decides what a finding means for a card.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, Protocol

import structlog

from ehc.clock import Clock, local_day
from ehc.core.documents import Document, read_document
from ehc.errors import InvalidValue, Text, Unavailable
from ehc.outside.members import text
from ehc.outside.signed_http import Misshapen, NoAnswer, PartyKey, SignedParty

PAGE = 100
"""Death notices in a page, at most."""

log = structlog.get_logger(__name__)

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_CURSOR = re.compile(r"[!-~]{1,200}", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)

_AWAY = Text(
    "实名核验服务暂不可用，本次尚未核验；系统将自动重试，也可稍后再试。",
    "The identity authority is away and the person was not checked. It is asked again later; you may also try again.",
)


class AuthorityAway(Unavailable):
    """The identity authority is down, slow, wrongly signed or not making sense; ask again after `retry_after` seconds."""

    code = "authority-away"


class Outcome(StrEnum):
    """What the authority found. `MISMATCH` hides everything else: it never tells of a person whose name was wrong."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_FOUND = "not-found"
    DOCUMENT_INVALID = "document-invalid"
    DECEASED = "deceased"


@dataclass(frozen=True)
class Question:
    """One person as registered. Personal data. With a birth date, that has to fit too."""

    name: str = field(repr=False)
    document: Document = field(repr=False)
    birth_date: date | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Finding:
    """The answer. `reference` names it in the authority's own records; `death_date` may come with `DECEASED`."""

    outcome: Outcome
    reference: str
    death_date: date | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DeathNotice:
    """One death the authority tells of. Personal data. A notice may be told more than once, with the same id."""

    notice_id: str
    document: Document = field(repr=False)
    death_date: date = field(repr=False)


@dataclass(frozen=True)
class DeathPage:
    """Notices in the authority's order. Keep `cursor` for the next call, at once if `more`.

    `unreadable` holds the ids of notices that name no possible document or a day to come: they are for people to look at.
    """

    notices: tuple[DeathNotice, ...]
    unreadable: tuple[str, ...]
    cursor: str
    more: bool


class IdentityAuthority(Protocol):
    """Anything that answers for a population register."""

    def ask(self, person: Question) -> Finding:
        """What is known of a person. Raises `AuthorityAway`."""
        ...

    def deaths(self, since: str | None) -> DeathPage:
        """At most `PAGE` notices after the cursor `since`, from the first one for None. Raises `AuthorityAway`."""
        ...


class HttpIdentityAuthority:
    """The authority behind `url`. Threads may share it; ask outside a database transaction, it can take 3 s."""

    def __init__(self, url: str, key: PartyKey | Path, *, clock: Clock) -> None:
        """`key` or its file. Raises `SetupError`."""
        self._clock = clock
        key = PartyKey.from_file(key) if isinstance(key, Path) else key
        self._party = SignedParty("identity-authority", url, key, clock=clock)

    def ask(self, person: Question) -> Finding:
        """What the authority knows of a person. Raises `AuthorityAway`."""
        question = {
            "name": person.name,
            "document": {"type": person.document.type, "number": person.document.number},
            "birth_date": person.birth_date,
        }
        try:
            return self._party.ask("/v1/identity-checks", question, self._finding)
        except NoAnswer as none:
            _away(none)

    def deaths(self, since: str | None) -> DeathPage:
        """At most `PAGE` death notices after the cursor `since`, from the first one for None. Raises `AuthorityAway`."""

        def read(answer: dict[str, Any]) -> DeathPage:
            return self._page(answer, since)

        try:
            return self._party.ask("/v1/death-notices", {"after": since, "limit": PAGE}, read)
        except NoAnswer as none:
            _away(none)

    def _finding(self, answer: dict[str, Any]) -> Finding:
        outcome = text(answer, "outcome", _ID)
        if outcome not in set(Outcome):
            raise Misshapen
        died = _day(answer, "death_date") if answer.get("death_date") is not None else None
        if died is not None and (outcome != Outcome.DECEASED or died > local_day(self._clock.now())):
            raise Misshapen
        return Finding(Outcome(outcome), text(answer, "reference", _ID), died)

    def _page(self, answer: dict[str, Any], since: str | None) -> DeathPage:
        told, more, cursor = answer.get("notices"), answer.get("more"), text(answer, "cursor", _CURSOR)
        if not isinstance(told, list) or len(told) > PAGE or not isinstance(more, bool):
            raise Misshapen
        if more and cursor == since:  # it would send the caller round for ever
            raise Misshapen
        notices: list[DeathNotice] = []
        unreadable: list[str] = []
        for one in told:
            notice_id = text(one, "notice_id", _ID)
            try:
                notices.append(self._notice(notice_id, one))
            except (InvalidValue, Misshapen):  # it must not stop those behind it
                unreadable.append(notice_id)
        if unreadable:
            log.warning("death notices cannot be read", count=len(unreadable))
        return DeathPage(tuple(notices), tuple(unreadable), cursor, more)

    def _notice(self, notice_id: str, told: Mapping[str, Any]) -> DeathNotice:
        """Raises `InvalidValue` or `Misshapen`."""
        named, today = told.get("document"), local_day(self._clock.now())
        document = read_document(text(named, "type"), text(named, "number"), today=today)
        died = _day(told, "death_date")
        if died > today:
            raise Misshapen
        return DeathNotice(notice_id, document, died)


def _away(none: NoAnswer) -> NoReturn:
    raise AuthorityAway(_AWAY, retry_after=none.retry_after) from None


def _day(holder: object, name: str) -> date:
    try:
        return date.fromisoformat(text(holder, name, _DAY))
    except ValueError:
        raise Misshapen from None
