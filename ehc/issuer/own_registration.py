"""What a resident's own token may do to a register that believes apps: register the resident, on the resident's own word.

An app vouches for how it saw who somebody is (`verification`, `proof`). A session does not: whoever holds its token could
say anything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from ehc.callers import Caller
from ehc.cards.models import CardRow
from ehc.cards.states import Level
from ehc.errors import InvalidValue, Text
from ehc.issuer import accounts, identity_links
from ehc.issuer.accounts import Account
from ehc.issuer.applications import Application
from ehc.issuer.deps import IssuerDeps
from ehc.keystore.secret_keys import Secrets
from ehc.residents.models import ResidentRow
from ehc.residents.store import Person
from ehc.sessions import identities, tries
from ehc.sessions.tries import PER_DOCUMENT, PER_IDENTITY
from ehc.web.auth import app_token_needed, caller


@dataclass(frozen=True)
class OwnRegistration:
    """A registration in the resident's own session, whose try is written down."""

    person: Person
    caller: Caller
    secrets: Secrets
    tried: list[UUID]

    def require(self, session: Session) -> bool:
        """Whether the person is known already, and may go on as who they are. Raises `LinkRefused`."""
        return identity_links.require_own(session, self.person, secrets=self.secrets)

    def settle(self, session: Session, account: Account, *, new: bool, known: bool, now: datetime) -> None:
        """Tie the log-in to who was registered. Raises `LinkRefused` or `Conflict`."""
        if known:  # the register holds the person now: the phone may have changed since `require`
            self.require(session)
        identity_links.registered(session, account, new=new, known=known, caller=self.caller, now=now)
        tries.not_wrong(session, self.tried)


def begin(deps: IssuerDeps, wanted: Application, person: Person) -> OwnRegistration:
    """Before anybody is asked about the person. Raises `InvalidValue` for what a session cannot say, `AlreadyLinked`, or
    `TooManyWrong`.
    """
    who = caller()
    if who.resident is not None and who.resident.resident_id is not None:
        raise identity_links.already()
    if wanted.proof.level is not Level.SELF_DECLARED:
        message = Text("居民会话中只能自行申报。", "In a resident's own session it is self-declared.")
        raise InvalidValue.at("/verification/method", "self-declared-only", message)
    if wanted.phone_proof is None:
        message = Text("请先验证手机号码。", "Prove the phone first, at /v1/phone-proofs.")
        raise InvalidValue.at("/phone_proof", "required", message)
    secrets = deps.registry().secrets
    index, document = secrets.blind_index, accounts.document_of(person)
    subjects = {
        identity_links.identity_subject(index, who): PER_IDENTITY,
        identity_links.document_subject(index, document): PER_DOCUMENT,
    }
    with deps.work() as session:
        tried = tries.begin(session, subjects, now=deps.clock.now())
    return OwnRegistration(person, who, secrets, tried)


def require_no_word(wanted: Mapping[str, Any], *members: str) -> None:
    """Refuse members by which an app vouches for somebody, where a session's token came. Raises `HttpProblem`."""
    if caller().resident is not None and any(member in wanted for member in members):
        raise app_token_needed()


def follow_phone(session: Session, card: CardRow, wanted: Mapping[str, Any], *, caller: Caller) -> None:
    """Where the holder has just proved another phone in their own session, its link hangs on that one."""
    mine = caller.resident
    if mine is not None and mine.resident_id == card.resident_id and "phone_proof" in wanted:
        identities.follow_phone(session, mine.identity_id, session.get_one(ResidentRow, card.resident_id))
