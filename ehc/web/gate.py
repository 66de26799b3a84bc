"""What every request of a client passes besides its scope: from where it may call, and how often.

Not Flask-Limiter: it asks its storage for each limit of each request by itself, and again for the headers. `Rates` asks once at
most, and seldom, as a check needs it; two limiters would count one app twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from flask import Flask, Response, g, request
from prometheus_client import Counter

from ehc.callers import Caller, ClientKind
from ehc.clock import Clock
from ehc.errors import Text
from ehc.rates import DAY, Count, Rates, Rule, headers_of
from ehc.web.addresses import Networks, caller_address, within
from ehc.web.auth import Authenticate
from ehc.web.problems import HttpProblem

LIMITED = Counter("ehc_limited", "Requests refused because a limit was used up, by limit.", ["limit"])
_REMEMBERED = 20_000


@dataclass(frozen=True)
class Limits:
    """How often each may call, where an app has no limits of its own. Per minute, but for the quota of a day."""

    app: int
    app_day: int
    card: int
    terminal: int
    institution: int


class Gate:
    """Lets a client in from where it may call, and as often as it may. Counts the request."""

    def __init__(self, rates: Rates, limits: Limits, *, trusted: Networks, clock: Clock) -> None:
        self._rates, self._limits, self._trusted, self._clock = rates, limits, trusted, clock
        self._rules: dict[UUID, tuple[Caller, list[Rule]]] = {}

    def install(self, app: Flask) -> None:
        """Tell every client how it stands with its limits."""
        app.after_request(_tell)

    def before(self, authenticate: Authenticate) -> Authenticate:
        """An `authenticate` that also lets in."""

        def admitted(token: str) -> Caller:
            caller = authenticate(token)
            self.admit(caller)
            return caller

        return admitted

    def admit(self, caller: Caller) -> None:
        """Raises `HttpProblem`: 403 from elsewhere, 429 too often."""
        g.caller = caller
        if caller.networks:
            self._require_address(caller)
        rules = self._rules_of(caller)
        card = (request.view_args or {}).get("card_id")
        if card is not None and caller.kind is ClientKind.APP:
            rules = [*rules, self._of_card(caller, card)]
        self._spend(rules)

    def count_card(self, caller: Caller, card_id: UUID) -> None:
        """Count one call of an app about one card, where the address did not say which. Raises `HttpProblem` (429)."""
        self._spend([self._of_card(caller, card_id)])

    def address(self) -> str | None:
        """From where the request comes."""
        found = caller_address(self._trusted)
        return str(found) if found is not None else None

    def _of_card(self, caller: Caller, card_id: UUID) -> Rule:
        return Rule("card", f"card:{caller.id}:{card_id}", self._limits.card)

    def _spend(self, rules: Sequence[Rule]) -> None:
        counts = self._rates.spend(rules, now=self._clock.now().timestamp())
        g.rates = [*g.get("rates", ()), *counts]
        for count in counts:
            if count.over:
                raise _too_often(count)

    def _require_address(self, caller: Caller) -> None:
        found = caller_address(self._trusted)
        if found is None or not within(found, caller.networks):
            raise HttpProblem(
                403,
                "address-not-allowed",
                Text(
                    "该应用不允许从此地址调用，请联系平台登记出口地址。",
                    "The app may not call from this address. Have the address added to those that it may call from.",
                ),
            )

    def _rules_of(self, caller: Caller) -> list[Rule]:
        known = self._rules.get(caller.id)
        if known is not None and known[0] is caller:
            return known[1]
        if len(self._rules) >= _REMEMBERED:
            self._rules.clear()
        rules = _rules(caller, self._limits)
        self._rules[caller.id] = caller, rules
        return rules


def _rules(caller: Caller, limits: Limits) -> list[Rule]:
    if caller.kind is ClientKind.APP:
        return [
            Rule("app", f"client:{caller.id}", caller.per_minute or limits.app),
            Rule("app-day", f"client:{caller.id}", caller.per_day or limits.app_day, DAY),
        ]
    return [
        Rule("terminal", f"client:{caller.id}", limits.terminal),
        Rule("institution", f"institution:{caller.institution_id}", limits.institution),
    ]


def _too_often(count: Count) -> HttpProblem:
    LIMITED.labels(count.rule.name).inc()
    headers = {"Retry-After": str(count.resets_in)}
    if count.rule.seconds == DAY:
        detail = Text(
            "今日调用配额已用完，请明日再试或申请提高配额。",
            "The quota of today is used up. Wait for midnight, or ask for more.",
        )
        return HttpProblem(429, "quota-used-up", detail, headers=headers)
    detail = Text(
        "调用过于频繁，请按 Retry-After 稍后再试。", "Too many requests. Wait as long as Retry-After says, then go on."
    )
    return HttpProblem(429, "too-many-requests", detail, headers=headers)


def _tell(response: Response) -> Response:
    counts: Sequence[Count] | None = g.get("rates")
    if counts:
        response.headers.extend(headers_of(counts))
    return response
