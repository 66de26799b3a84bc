"""How a resident's own token is let in: the session, the app behind it, and how far the route lets it go."""

from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.callers import Caller, NotAuthentic, Reach, ResidentParty
from ehc.cards.store import NoSuchCard
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.errors import EhcError, Text
from ehc.sessions import reach as reaches
from ehc.sessions import tokens
from ehc.web.auth import app_token_needed
from ehc.web.gate import Gate
from ehc.web.problems import HttpProblem


@dataclass(frozen=True)
class Door:
    """Asks the database about every request: what ends a session, a link or an app counts from the next one on."""

    work: UnitOfWork
    clock: Clock
    gate: Gate

    def __call__(self, token: str, reach: Reach | None, card_id: UUID | None) -> Caller:
        """The app, calling for a resident. Raises `NotAuthentic`, `NoSuchCard` or `HttpProblem`."""
        now = self.clock.now()
        with self.work() as session:
            live = tokens.find(session, token, now=now)
            app = clients.by_id(session, live.identity.client_id) if live is not None else None
            if live is None or app is None:
                raise NotAuthentic
            party = ResidentParty(live.row.id, live.identity.id, live.resident_id)
            refusal = self._refusal(session, party, reach, card_id, app)
        self.gate.admit(app)  # after the transaction, since it may ask Redis; a refusal counts against the limits too
        if refusal is not None:
            raise refusal
        return replace(app, resident=party)

    def _refusal(
        self, session: Session, party: ResidentParty, reach: Reach | None, card_id: UUID | None, app: Caller
    ) -> EhcError | None:
        if reach is None:
            return app_token_needed()
        if reach is Reach.SELF:
            return None
        if party.resident_id is None:
            return _not_linked()
        if card_id is None:
            raise LookupError("the route says that it has a card in its path")
        try:
            reaches.require(session, party.resident_id, card_id, reach, client_id=app.id, now=self.clock.now())
        except NoSuchCard as error:
            return error
        return None


def _not_linked() -> HttpProblem:
    detail = Text(
        "该登录尚未关联持卡人：请先办卡，或通过 /v1/sessions/current/link 关联。",
        "This log-in is linked to nobody yet: register in it, or link it at /v1/sessions/current/link.",
    )
    return HttpProblem(403, "session-not-linked", detail)
