"""What a call through a gateway passes once it is known who calls: the app's networks, limits, scopes, and its world.

The same gate as of `/v1`, so that an app has one allowance whichever interface it speaks. What the gate refuses becomes a
`Refused`, which each gateway says in its own words.
"""

from enum import StrEnum
from uuid import UUID

from ehc.callers import Caller, Scope
from ehc.errors import EhcError, Text
from ehc.web.gate import Gate
from ehc.web.problems import HttpProblem


class Why(StrEnum):
    """What a call was refused for."""

    ADDRESS = "address-not-allowed"
    TOO_OFTEN = "too-many-requests"
    QUOTA = "quota-used-up"
    SCOPE = "insufficient-scope"
    SANDBOX = "not-in-sandbox"


class Refused(EhcError):
    """The app may not make this call now, or at all: `why`. `retry_after` is in seconds."""

    code = "gateway-refused"

    def __init__(self, why: Why, detail: Text, *, retry_after: int | None = None) -> None:
        super().__init__(detail, retry_after=retry_after)
        self.why = why


class Door:
    """Lets the calls of a gateway in."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def admit(self, caller: Caller) -> None:
        """Count the call of an authentic caller, who is from now on the request's (`g.caller`): to be called once.

        Raises `Refused`: from elsewhere, too often, or the quota of the day is used up.
        """
        try:
            self._gate.admit(caller)
        except HttpProblem as problem:
            raise _refused(problem) from None

    def count_card(self, caller: Caller, card_id: UUID) -> None:
        """Count a call against how often one app may ask about one card. Raises `Refused`."""
        try:
            self._gate.count_card(caller, card_id)
        except HttpProblem as problem:
            raise _refused(problem) from None


def require_scope(caller: Caller, *enough: Scope, sandbox: bool = False) -> None:
    """Raises `Refused` for a caller with none of these scopes; and for one of the sandbox, unless what it asks is there."""
    if caller.sandbox and not sandbox:
        raise Refused(Why.SANDBOX, Text("沙箱中不提供此功能。", "The sandbox does not have this."))
    if caller.scopes.isdisjoint(enough):
        raise Refused(
            Why.SCOPE, Text("该应用没有此项权限，请联系平台开通。", "The app does not have the scope for this.")
        )


def _refused(problem: HttpProblem) -> Refused:
    after = problem.headers.get("Retry-After")
    return Refused(Why(problem.kind), problem.detail, retry_after=int(after) if after else None)
