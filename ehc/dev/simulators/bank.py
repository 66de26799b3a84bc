"""The simulated bank: accounts, four factors, one-time codes, agreements, notices. In memory; it moves nobody's money.

One start is one binding, whatever is sent again; one `request_id` of a confirmation counts once. By default any number whose
last digit checks is an account of whoever is named with it, so that the demo's people can try; how it ends decides the rest.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from secrets import randbelow, token_urlsafe
from threading import Lock
from typing import Any
from uuid import UUID

from ehc.binding.bank_numbers import bins, passes_luhn
from ehc.clock import local_day

SECONDS, TRIES = 300, 3
"""How long a one-time code is good, and how many wrong ones are taken."""

BY_NUMBER = {
    "1111": "factors-mismatch",
    "2222": "account-state",
    "3333": "account-class",
    "4444": "phone-unreachable",
}
"""How the digits before the last one end, and what a start is refused for, for accounts it was not told about."""

ACCOUNT_STATES = {"normal": None, "closed": "account-state", "frozen": "account-state", "lost": "account-state"}
"""The states of an account it was told about, and what a start is refused for."""

STATES = ("started", "bound", "refused", "expired", "ended")

Limits = tuple[int | None, int | None]
_LIMITS: Limits = (500_000, 2_000_000)


@dataclass
class Account:
    """An account the bank was told about."""

    number: str
    name: str
    document: tuple[str, str]
    phone: str
    state: str
    kind: str
    limits: Limits


@dataclass
class Binding:
    """What came of one start."""

    start_request: str
    last4: str
    state: str
    bank: str = "SIMBANK"
    kind: str = "debit"
    reason: str | None = None
    code: str = ""
    until: float = 0.0
    tries: int = 0
    token: str = ""
    limits: Limits = _LIMITS
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)


class Bank:
    """Threads share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.clear()

    def clear(self) -> None:
        """Forget every account, binding and notice."""
        with self._lock:
            self._accounts: dict[str, Account] = {}
            self._bindings: dict[str, Binding] = {}
            self._notices: list[tuple[str, dict[str, Any]]] = []

    def add_account(self, told: dict[str, Any]) -> None:
        """Hold this account, in place of one with its number."""
        number, state, kind = (
            str(told["number"]),
            told.get("state", "normal"),
            told.get("kind") or _issuer(told["number"])[1],
        )
        if state not in ACCOUNT_STATES or kind not in {"debit", "credit"} or not number.isdigit():
            raise ValueError
        document = (told["id_type"], told["id_number"])
        account = Account(number, told["name"], document, told["phone"], state, kind, _limits(told, _LIMITS))
        with self._lock:
            self._accounts[account.number] = account

    def start(self, question: dict[str, Any]) -> dict[str, Any]:
        """Check the four factors and send a code."""
        start, number = _id(question["start_request"]), str(question["account_number"])
        with self._lock:
            binding = self._bindings.get(start)
            if binding is None:
                binding = self._bindings[start] = self._begun(start, number, question)
            if binding.state == "refused":
                return {"result": "refused", "reason": binding.reason}
            if not binding.until:  # ended before it came
                return {"result": "refused", "reason": "code-expired"}
            return {
                "result": "started",
                "seconds": max(1, int(binding.until - time.time())),
            }  # whatever came of it since

    def confirm(self, question: dict[str, Any]) -> dict[str, Any]:
        """Bind, with the code."""
        start, request, code = _id(question["start_request"]), _id(question["request_id"]), str(question["code"])
        with self._lock:
            binding = self._bindings.get(start)
            if binding is None:
                return {"result": "refused", "reason": "code-expired"}
            if request not in binding.answers:
                binding.answers[request] = self._confirmed(binding, code)
            return binding.answers[request]

    def end(self, question: dict[str, Any]) -> dict[str, Any]:
        """End whatever came of a start; one that never came will be refused when it does."""
        start, _ = _id(question["start_request"]), _id(question["request_id"])
        with self._lock:
            binding = self._bindings.setdefault(start, Binding(start, "", "ended"))
            if binding.state in {"started", "bound"}:
                binding.state = "ended"
        return {"result": "ended"}

    def status(self, question: dict[str, Any]) -> dict[str, Any]:
        """What came of a start."""
        with self._lock:
            binding = self._bindings.get(_id(question["start_request"]))
            if binding is None:
                return {"state": "none"}
            self._run_out(binding)
            told: dict[str, Any] = {"state": binding.state}
            if binding.state == "bound":
                told["agreement"] = _agreement(binding)
            if binding.state == "started":
                told["seconds"] = max(0, int(binding.until - time.time()))
            if binding.state == "refused":
                told["reason"] = binding.reason
            return told

    def notices(self, question: dict[str, Any]) -> dict[str, Any]:
        """A part of a day's file; its cursor counts them."""
        start, wanted = int(question["after"] or 0), date.fromisoformat(question["day"]).isoformat()
        with self._lock:
            day = [notice for day, notice in self._notices if day == wanted]
            page = day[start : start + min(int(question["limit"]), 100)]
        end = start + len(page)
        return {"notices": page, "cursor": str(end), "more": end < len(day)}

    def agreements(self, question: dict[str, Any]) -> dict[str, Any]:
        """A part of the agreements that stand; its cursor counts them."""
        start = int(question["after"] or 0)
        with self._lock:
            bound = [_agreement(one) for one in self._bindings.values() if one.state == "bound"]
        page = bound[start : start + min(int(question["limit"]), 100)]
        end = start + len(page)
        return {"agreements": page, "cursor": str(end), "more": end < len(bound)}

    def codes(self) -> list[dict[str, str]]:
        """Every one-time code that waits, as the bank's customers read them on their phones."""
        with self._lock:
            waiting = [one for one in self._bindings.values() if one.state == "started"]
            return [{"start_request": one.start_request, "last4": one.last4, "code": one.code} for one in waiting]

    def notice(self, told: dict[str, Any]) -> dict[str, Any]:
        """The holder, or the bank, did something with an account that is bound: one more notice, which is returned."""
        start, what = _id(told["start_request"]), told["what"]
        with self._lock:
            binding = self._bindings.get(start)
            if binding is not None and what in {"ended", "closed"}:
                binding.state = "ended"
            if binding is not None and what == "limits":
                binding.limits = _limits(told, (None, None))
            happened = told.get("happened_at") or datetime.now(UTC).isoformat(timespec="seconds")
            notice = {
                "notice_id": told.get("notice_id") or f"SIM-B-{len(self._notices) + 1:06}",
                "what": what,
                "start_request": start,
                "happened_at": happened,
                "single_limit": told.get("single_limit"),
                "day_limit": told.get("day_limit"),
            }
            self._notices.append((local_day(datetime.fromisoformat(happened)).isoformat(), notice))
            return notice

    def told(self) -> list[dict[str, Any]]:
        """Every notice, the oldest first."""
        with self._lock:
            return [notice for _, notice in self._notices]

    def set_binding(self, told: dict[str, Any]) -> None:
        """Make a binding appear, change or vanish at the bank alone: `state` is one of `STATES`, or `forgotten`."""
        start, state = _id(told["start_request"]), told["state"]
        with self._lock:
            if state == "forgotten":
                self._bindings.pop(start, None)
                return
            if state not in STATES:
                raise ValueError
            binding = self._bindings.setdefault(start, Binding(start, told.get("last4", "0000"), state))
            binding.state, binding.last4 = state, told.get("last4", binding.last4)
            binding.limits = _limits(told, binding.limits)
            binding.token = binding.token or token_urlsafe(24)
            binding.reason = binding.reason or "account-state"
            if state == "started":
                binding.code, binding.until = f"{randbelow(10**6):06}", time.time() + SECONDS

    def bindings(self) -> list[dict[str, Any]]:
        """Every binding with its state."""
        with self._lock:
            return [{"start_request": one.start_request, "state": one.state} for one in self._bindings.values()]

    def _begun(self, start: str, number: str, question: dict[str, Any]) -> Binding:
        bank, kind = _issuer(number)
        account, reason = self._accounts.get(number), self._refusal(number, question)
        begun = Binding(start, number[-4:], "refused" if reason else "started", bank, kind, reason)
        begun.code, begun.until = f"{randbelow(10**6):06}", time.time() + SECONDS
        if account is not None:
            begun.kind, begun.limits = account.kind, account.limits
        return begun

    def _refusal(self, number: str, question: dict[str, Any]) -> str | None:
        account = self._accounts.get(number)
        if account is None:
            return BY_NUMBER.get(number[-5:-1]) if passes_luhn(number) else "factors-mismatch"
        named = question["document"]["type"], question["document"]["number"]
        if (account.name, account.document, account.phone) != (question["name"], named, question["phone"]):
            return "factors-mismatch"
        return ACCOUNT_STATES[account.state]

    def _confirmed(self, binding: Binding, code: str) -> dict[str, Any]:
        self._run_out(binding)
        if binding.state == "bound":
            return {"result": "bound", "agreement": _agreement(binding)}
        if binding.state != "started":
            return {"result": "refused", "reason": "code-expired"}
        if code != binding.code:
            binding.tries += 1
            if binding.tries >= TRIES:
                binding.state = "expired"
            return {"result": "wrong-code", "tries_left": TRIES - binding.tries}
        binding.state, binding.token = "bound", token_urlsafe(24)
        return {"result": "bound", "agreement": _agreement(binding)}

    def _run_out(self, binding: Binding) -> None:
        if binding.state == "started" and binding.until <= time.time():
            binding.state = "expired"


def _agreement(binding: Binding) -> dict[str, Any]:
    single, day = binding.limits
    return {
        "start_request": binding.start_request,
        "token": binding.token,
        "bank": binding.bank,
        "kind": binding.kind,
        "last4": binding.last4,
        "single_limit": single,
        "day_limit": day,
    }


def _id(text: object) -> str:
    return str(UUID(str(text)))


def _issuer(number: str) -> tuple[str, str]:
    """The bank and the kind of a number, by the table that the service has too."""
    known = next((bins()[number[:size]] for size in range(8, 3, -1) if number[:size] in bins()), None)
    return (known.bank, known.kind) if known is not None else ("SIMBANK", "debit")


def _limits(told: dict[str, Any], otherwise: Limits) -> Limits:
    return told.get("single_limit", otherwise[0]), told.get("day_limit", otherwise[1])
