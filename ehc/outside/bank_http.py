"""The bank over signed HTTP, as docs/bank-gateway.md has it. Answers are read strictly: what is odd is no answer."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import structlog

from ehc.clock import Clock
from ehc.errors import Text
from ehc.outside.bank_gateway import (
    Agreement,
    AgreementPage,
    AtBank,
    BankAway,
    Factors,
    Notice,
    NoticeKind,
    NoticePage,
    Refusal,
    Refused,
    Started,
    Status,
    WrongCode,
)
from ehc.outside.members import member, text, whole
from ehc.outside.signed_http import Misshapen, NoAnswer, PartyKey, SignedParty

PAGE = 100
"""Notices or agreements in a page, at most: with everything at its longest, a page is two thirds of what may come."""

log = structlog.get_logger(__name__)

_AWAY = Text(
    "银行暂未答复；系统会查询结果，请稍后查看。", "The bank does not answer. What came of it is found out; look again."
)
_TOKEN, _BANK = re.compile(r"[!-~]{16,128}", re.ASCII), re.compile(r"[A-Z0-9]{2,16}", re.ASCII)
_ID, _LAST4 = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII), re.compile(r"\d{4}", re.ASCII)
_CURSOR = re.compile(r"[!-~]{1,200}", re.ASCII)
_UUID = re.compile(
    r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", re.ASCII
)  # UUID() also takes braces, no hyphens
_TIME = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)  # RFC 3339
_MOST_FEN = 10**12
_MOST_SECONDS = 3600

Found = TypeVar("Found")


class HttpBankGateway:
    """The bank behind `url`. Threads may share it; ask outside a database transaction, a call can take 3 s."""

    def __init__(self, url: str, key: PartyKey | Path, *, clock: Clock) -> None:
        """`key` or its file. Raises `SetupError`."""
        self._clock = clock
        key = PartyKey.from_file(key) if isinstance(key, Path) else key
        self._party = SignedParty("bank", url, key, clock=clock)

    def start(self, start_request: UUID, factors: Factors) -> Started | Refused:
        """See `BankGateway`. Raises `BankAway`."""
        question = {
            "start_request": start_request,
            "account_number": factors.number,
            "name": factors.name,
            "document": {"type": factors.document.type, "number": factors.document.number},
            "phone": factors.phone,
        }

        def read(answer: dict[str, Any]) -> Started | Refused:
            if answer.get("result") == "started":
                return Started(whole(answer, "seconds", 1, _MOST_SECONDS))
            return _refused(answer)

        return self._ask("/v1/bindings/start", question, read)

    def confirm(self, start_request: UUID, request_id: UUID, code: str) -> Agreement | WrongCode | Refused:
        """See `BankGateway`. Raises `BankAway`."""
        question = {"start_request": start_request, "request_id": request_id, "code": code}

        def read(answer: dict[str, Any]) -> Agreement | WrongCode | Refused:
            if answer.get("result") == "bound":
                return _agreement(answer.get("agreement"), start_request)
            if answer.get("result") == "wrong-code":
                return WrongCode(whole(answer, "tries_left", 0, 99))
            return _refused(answer)

        return self._ask("/v1/bindings/confirm", question, read)

    def end(self, start_request: UUID, request_id: UUID) -> None:
        """See `BankGateway`. Raises `BankAway`."""

        def read(answer: dict[str, Any]) -> None:
            if answer.get("result") != "ended":
                raise Misshapen

        self._ask("/v1/bindings/end", {"start_request": start_request, "request_id": request_id}, read)

    def status(self, start_request: UUID) -> Status:
        """See `BankGateway`. Raises `BankAway`."""

        def read(answer: dict[str, Any]) -> Status:
            state = _one_of(answer, "state", AtBank)
            if state is AtBank.BOUND:
                return Status(state, agreement=_agreement(answer.get("agreement"), start_request))
            if state is AtBank.REFUSED:
                return Status(state, why=_one_of(answer, "reason", Refusal))
            return Status(
                state, seconds=whole(answer, "seconds", 0, _MOST_SECONDS) if state is AtBank.STARTED else None
            )

        return self._ask("/v1/bindings/status", {"start_request": start_request}, read)

    def notices(self, day: date, after: str | None) -> NoticePage:
        """See `BankGateway`. Raises `BankAway`."""

        def read(answer: dict[str, Any]) -> NoticePage:
            told, cursor, more = _page(answer, "notices", after)
            notices: list[Notice] = []
            unreadable: list[str] = []
            for one in told:
                notice_id = text(one, "notice_id", _ID)
                try:
                    notices.append(read_notice(one, now=self._clock.now()))
                except Misshapen:  # it must not stop those behind it
                    unreadable.append(notice_id)
            if unreadable:
                log.warning("bank notices cannot be read", count=len(unreadable))
            return NoticePage(tuple(notices), tuple(unreadable), cursor, more)

        return self._ask("/v1/notices", {"day": day, "after": after, "limit": PAGE}, read)

    def agreements(self, after: str | None) -> AgreementPage:
        """See `BankGateway`. Raises `BankAway`."""

        def read(answer: dict[str, Any]) -> AgreementPage:
            told, cursor, more = _page(answer, "agreements", after)
            return AgreementPage(tuple(_agreement(one, None) for one in told), cursor, more)

        return self._ask("/v1/agreements", {"after": after, "limit": PAGE}, read)

    def _ask(self, path: str, question: Mapping[str, Any], read: Callable[[dict[str, Any]], Found]) -> Found:
        try:
            return self._party.ask(path, question, read)
        except NoAnswer as none:
            raise BankAway(_AWAY, retry_after=none.retry_after) from None


def read_notice(told: object, *, now: datetime) -> Notice:
    """A notice as the bank writes it, in a page or in a webhook. Raises `Misshapen`."""
    what, happened = _one_of(told, "what", NoticeKind), _time(told, "happened_at")
    if happened > now + timedelta(minutes=5):
        raise Misshapen
    single, day = _limits(told) if what is NoticeKind.LIMITS else (None, None)
    return Notice(text(told, "notice_id", _ID), what, _uuid(told, "start_request"), happened, single, day)


def _agreement(told: object, start_request: UUID | None) -> Agreement:
    """An agreement; of this start, where one is given. Raises `Misshapen`."""
    named = _uuid(told, "start_request")
    kind = text(told, "kind")
    if (start_request is not None and named != start_request) or kind not in {"debit", "credit"}:
        raise Misshapen
    token, bank, last4 = text(told, "token", _TOKEN), text(told, "bank", _BANK), text(told, "last4", _LAST4)
    return Agreement(named, token, bank, kind, last4, *_limits(told))


def _limits(told: object) -> tuple[int | None, int | None]:
    single, day = (
        None if member(told, name) is None else whole(told, name, 0, _MOST_FEN)
        for name in ("single_limit", "day_limit")
    )
    return single, day


def _page(answer: dict[str, Any], name: str, after: str | None) -> tuple[list[Any], str, bool]:
    told, more, cursor = answer.get(name), answer.get("more"), text(answer, "cursor", _CURSOR)
    if not isinstance(told, list) or len(told) > PAGE or not isinstance(more, bool):
        raise Misshapen
    if more and (cursor == after or not told):  # it would send the caller round for ever
        raise Misshapen
    return told, cursor, more


def _refused(answer: dict[str, Any]) -> Refused:
    if answer.get("result") != "refused":
        raise Misshapen
    return Refused(_one_of(answer, "reason", Refusal))


Word = TypeVar("Word", AtBank, Refusal, NoticeKind)


def _one_of(holder: object, name: str, words: type[Word]) -> Word:
    value = member(holder, name)
    if not isinstance(value, str) or value not in set(words):
        raise Misshapen
    return words(value)


def _uuid(holder: object, name: str) -> UUID:
    return UUID(text(holder, name, _UUID))


def _time(holder: object, name: str) -> datetime:
    try:
        return datetime.fromisoformat(text(holder, name, _TIME)).astimezone(UTC)
    except ValueError:  # the 31st of February, an offset of 25 hours
        raise Misshapen from None
