"""What a card is expected to do, told apart from the code: a model of its states, of who may see it, and of every code.

The moves are written down here once more, by hand. A change of the table in the product has to be made here as well.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

LEVELS = ["none", "self-declared", "document-seen", "clerk", "external-match"]
REVIEWED = "self-declared"
METHODS = LEVELS[1:]
LIVE = {"pending-review", "active", "suspended", "lost"}
RESTORABLE = {"cancelled", "closed"}

FROM = {
    "approved": {"pending-review"},
    "rejected": {"pending-review"},
    "applied-again": {"rejected"},
    "suspended": {"active"},
    "resumed": {"suspended"},
    "loss-reported": {"active", "suspended"},
    "recovered": {"lost"},
    "cancelled": LIVE,
    "joined": LIVE | {"cancelled"},
    "deceased": LIVE | {"rejected", "cancelled"},
    "expired": {"active", "suspended", "lost"},
    "restored": {"cancelled"},
}
TO = {
    "approved": {"active"},
    "rejected": {"rejected"},
    "applied-again": {"active", "pending-review"},
    "suspended": {"suspended"},
    "resumed": {"active"},
    "loss-reported": {"lost"},
    "recovered": {"active"},
    "restored": {"active", "pending-review"},
    "cancelled": {"cancelled"},
    "joined": {"cancelled"},
    "deceased": {"cancelled"},
    "expired": {"cancelled"},
}

Answer = tuple[int, str | None]
OK: Answer = (200, None)
NOT_FOUND, STATE, HELD = (404, "card-not-found"), (409, "card-state"), (409, "held-by-staff")
NOT_ACTIVE, NO_STATIC, OVER = (409, "card-not-active"), (409, "static-not-allowed"), (409, "card-cancelled")


def rank(level: str) -> int:
    return LEVELS.index(level)


def again(level: str) -> str:
    """The least proof that gives a card of this level back."""
    return "document-seen" if level == "external-match" else level


@dataclass(eq=False)
class Shown:
    """A code that was issued, and what became of it."""

    kind: str
    text: str
    at: datetime
    ends: datetime | None
    ehc_id: str | None
    app: str
    refusal: str | None = None
    uses: int = 0
    last: tuple[str, datetime] | None = None


@dataclass(eq=False)
class Life:
    """A card and its holder, as they should be now."""

    card_id: str
    kind: str
    name: str
    documents: list[tuple[str, str]]
    level: str
    status: str
    ehc_id: str | None
    ends: datetime | None = None
    cause: str | None = None
    held: bool = False
    static: bool = False
    static_by_guardian: bool = False
    phone_by_guardian: bool = False
    phoneless: bool = False
    version: int = 1
    closed: datetime | None = None
    grants: dict[str, str] = field(default_factory=dict)
    child: bool = False
    guardian: "Life | None" = None
    children: list["Life"] = field(default_factory=list)
    codes: list[Shown] = field(default_factory=list)
    events: Counter[str] = field(default_factory=lambda: Counter(["registered"]))

    def refused(self, action: str, *, staff: bool = False) -> Answer | None:
        """Why a move is not made; None if it is."""
        if self.status not in FROM[action]:
            return STATE
        if self.status == "cancelled" and self.cause not in (("expired",) if action == "joined" else RESTORABLE):
            return STATE
        if action in {"resumed", "recovered", "restored", "joined"} and self.held and not staff:
            return HELD
        return None

    def move(self, action: str, now: datetime, *, to: str | None = None, staff: bool = False) -> Answer:
        """Make a move, or say why not."""
        refused = self.refused(action, staff=staff)
        if refused:
            return refused
        self.status = to or next(iter(TO[action]))
        self.cause = action if self.status == "cancelled" else None
        if action == "suspended" or (action == "cancelled" and staff):
            self.held = staff
        elif action not in {"loss-reported", "cancelled", "deceased", "expired"}:
            self.held = False
        self.note(action)
        if action in {"loss-reported", "recovered", "restored"} or self.status == "cancelled":
            self.close(now)
        if action == "loss-reported" or self.status == "cancelled":
            self.static = False
            self.stop_print("expired" if action == "loss-reported" else "card-cancelled")
        if self.status == "cancelled":
            self._end()
        return OK

    def leave_guardian(self) -> None:
        """What came through a guardian goes with the link: the phone, the switch for static codes, the print they hold."""
        phone, self.phone_by_guardian = self.phone_by_guardian, False
        self.phoneless = self.phoneless or phone
        if self.status == "cancelled":
            return
        switch = self.static and self.static_by_guardian
        if switch:
            self.static = False
        self.version += phone or switch
        for code in self.codes:
            if code.kind == "print" and code.refusal is None and (not self.static or code.app not in self.grants):
                code.refusal = "expired" if self.static else "static-not-allowed"

    def note(self, action: str) -> None:
        self.version += 1
        self.events[action] += 1

    def close(self, now: datetime) -> None:
        self.closed = max(now, self.closed or now)

    def stop_print(self, refusal: str) -> None:
        for code in self.codes:
            if code.kind == "print" and code.refusal is None:
                code.refusal = refusal

    def applied(self, method: str, now: datetime) -> Answer:
        to = "pending-review" if method == REVIEWED else "active"
        if self.status == "cancelled":
            if self.cause not in RESTORABLE:
                return OVER
            weaker = rank(method) < rank(again(self.level))
            expected = self.move("restored", now, to="pending-review" if weaker else to)
        elif self.status == "rejected":
            expected = self.move("applied-again", now, to=to)
        elif rank(method) > rank(self.level):
            self.note("level-raised")
            expected = OK
        else:
            if method == "clerk":  # who saw a known person is in the history, also where it raises nothing
                self.note("proof-shown")
            return OK
        self.level = method if expected == OK else self.level
        return expected

    def filled(self) -> None:
        """A phone comes with an application, where none is on record and the card is in order."""
        if self.phoneless and self.status not in {"lost", "pending-review"}:
            self.phoneless = False
            self.note("changed")

    def resumed(self, app: str, proof: str | None, now: datetime) -> Answer:
        seen = self.grants.get(app)
        if seen is None:
            return NOT_FOUND
        if self.status != "lost":
            return STATE if seen == "closed" else self.move("resumed", now)
        if seen == "closed":
            return NOT_FOUND
        return self._proved(proof) or self.move("recovered", now)

    def _proved(self, proof: str | None) -> Answer | None:
        if proof is None:
            return 409, "proof-required"
        if proof not in METHODS or not self.documents:
            return 409, "identity-mismatch"
        enough = proof != REVIEWED and rank(proof) >= rank(again(self.level))
        return None if enough else (409, "identity-not-confirmed")

    def renamed(self, app: str, method: str) -> Answer:
        if self.grants.get(app) not in {"own", "guardian"}:
            return NOT_FOUND
        if self.kind == "temporary" or self.status not in {"active", "suspended", "lost"}:
            return STATE
        return OK if rank(method) >= rank("document-seen") else (409, "identity-not-confirmed")

    def linked(self, other: "Life | None", app: str, method: str) -> Answer:
        if self.grants.get(app) not in {"own", "guardian"}:
            return NOT_FOUND
        if rank(method) < rank("document-seen"):
            return 409, "identity-not-confirmed"
        if self.status != "active" or self.kind == "temporary":
            return STATE
        return OK if other is None else self._taken_over(other, method)

    def _taken_over(self, other: "Life", method: str) -> Answer:
        """One person has one citizen id; and of a passport's holder no birth date is known, so the names have to be equal."""
        if other.name != self.name or all("01" in dict(life.documents) for life in (self, other)):
            return 409, "identity-mismatch"
        if other.held:
            return HELD
        if other.status == "lost" and rank(method) < rank(again(other.level)):
            return 409, "identity-not-confirmed"
        return OVER if other.cause == "deceased" else OK

    def issued(self, app: str, kind: str) -> Answer:
        seen, static = self.grants.get(app), kind in {"print", "static"}
        if seen is None or (seen == "closed" and self.status != "cancelled"):
            return NOT_FOUND
        if self.status != "active" or self.kind == "temporary":
            return NOT_ACTIVE
        return NO_STATIC if static and not self.static else (201, None)

    def scan(self, code: Shown, terminal: str, now: datetime) -> str | None:
        """The reason of a refusal; None for a code that is accepted, which may use it up."""
        if code.kind in {"signed", "national"}:
            return self._dynamic(code, terminal, now)
        if code.kind == "static" and code.ehc_id != self.ehc_id:
            return "card-cancelled"
        refusal = self._state()
        if code.kind == "temporary":
            return refusal or ("expired" if self.ends and self.ends < now else None)
        return refusal or code.refusal or (None if self.static else "static-not-allowed")

    def _dynamic(self, code: Shown, terminal: str, now: datetime) -> str | None:
        national = code.kind == "national"
        refusal = self._unused(code, now, national=national)
        if refusal:
            return refusal
        if code.last is not None and code.last[0] == terminal and now < code.last[1] + timedelta(seconds=10):
            return None
        if code.uses >= (3 if national else 1):
            return "already-used"
        code.uses, code.last = code.uses + 1, (terminal, now)
        return None

    def _unused(self, code: Shown, now: datetime, *, national: bool) -> str | None:
        """Why a dynamic code would be refused even if nobody had used it."""
        assert code.ends is not None
        if now > code.ends + timedelta(seconds=0 if national else 5):
            return "expired"
        if national and code.ehc_id != self.ehc_id:
            return "card-cancelled"
        closed = self.closed is not None and code.at <= self.closed
        over = closed or (national and self._newer(code, now))
        return self._state() or ("expired" if over else None)

    def _newer(self, code: Shown, now: datetime) -> bool:
        later = [other for other in self.codes[self.codes.index(code) + 1 :] if other.kind == "national"]
        return any(other.at < now - timedelta(seconds=5) for other in later)

    def _state(self) -> str | None:
        if self.status in {"suspended", "lost"}:
            return "card-suspended"
        if self.status == "cancelled":
            return "expired" if self.cause == "expired" else "card-cancelled"
        return None if self.status == "active" else "card-not-active"

    def _end(self) -> None:
        for app, how in list(self.grants.items()):
            if how == "guardian":
                del self.grants[app]
            else:
                self.grants[app] = "closed"
        if self.guardian is not None:
            self.guardian.children.remove(self)
            self.guardian.events["family-ended"] += 1
            self.events["family-ended"] += 1
            self.guardian = None
        for child in self.children:
            child.grants = {app: how for app, how in child.grants.items() if how != "guardian"}
            child.guardian = None
            child.version += 1
            child.leave_guardian()
            child.events["family-ended"] += 1
            self.events["family-ended"] += 1
        self.children = []
