"""Log-in of residents through an app (小程序登录): a platform's code, or one sent to their phone, becomes a session.

1. The try is written down and committed, or refused (`ehc/sessions/tries.py`).
2. The platform is asked, outside any transaction; for `sms` the code is tried in one that is committed, right or wrong.
3. One transaction holds the identity, opens the session and takes the try out.

Whoever has no say in it (a platform that is busy or away, an app that it refuses) has made no wrong try.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from ehc import audit
from ehc.audit.sources import source_index, source_name
from ehc.callers import Caller
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.errors import EhcError
from ehc.issuer import phone_proofs
from ehc.keystore import platforms as credentials
from ehc.keystore.secret_keys import Secrets
from ehc.outside.alipay import HttpAlipay
from ehc.outside.platforms import LoginCodeInvalid, LoginCodeUsed, Platform, PlatformPerson
from ehc.outside.wechat import HttpWechat
from ehc.sessions import identities, tokens, tries
from ehc.sessions.models import PlatformIdentityRow, ResidentSessionRow
from ehc.sessions.tries import PER_ADDRESS, PER_APP, PER_PHONE_ADDRESS, Limits

_WRONG = (LoginCodeInvalid, LoginCodeUsed, phone_proofs.WrongCode, phone_proofs.CodeOver)


@dataclass(frozen=True)
class LogInDesk:
    """What log-in works with; a platform that the deployment has no address of is None."""

    work: UnitOfWork
    secrets: Callable[[], Secrets]
    clock: Clock
    wechat: HttpWechat | None
    alipay: HttpAlipay | None
    demo: bool = False


@dataclass(frozen=True)
class Source:
    """From where a log-in comes: the address of whoever called, and that of the phone, if the back end told it."""

    caller: str | None
    phone: str | None = None


@dataclass(frozen=True)
class Standing:
    """A session as it is now, and the card of whom it leads to, if it does."""

    row: ResidentSessionRow
    identity: PlatformIdentityRow
    card: CardRow | None


def by_platform(
    desk: LogInDesk, platform: Platform, code: str, *, caller: Caller, source: Source
) -> tuple[str, Standing]:
    """A session for who a platform's log-in code stands for; its token, which is not kept, comes with it.

    Raises `PlatformNotSet`, `TooManyWrong`, and what `ehc/outside/platforms.py` has.
    """
    ask = _asker(desk, platform, code, caller)
    with _counted(desk, caller, source) as counted:
        who = ask()
        with desk.work() as session:
            return _open(session, desk, platform, who, caller=caller, source=source, counted=counted)


def by_phone(desk: LogInDesk, proof_id: UUID, code: str, *, caller: Caller, source: Source) -> tuple[str, Standing]:
    """A session for who holds the phone that a one-time code was sent to.

    The proof stays good for half an hour, once, for a link or a registration. Raises `WrongCode`, `CodeOver`, `TooManyWrong`.
    """
    with _counted(desk, caller, source) as counted:
        with desk.work() as session:  # committed also when the code is wrong: the try counts
            secrets, now = desk.secrets(), desk.clock.now()
            right = phone_proofs.confirm(session, proof_id, code, caller=caller, secrets=secrets, now=now)
            if right:
                who = PlatformPerson(phone_proofs.phone_of(session, proof_id, secrets=secrets))
                return _open(session, desk, Platform.SMS, who, caller=caller, source=source, counted=counted)
            left = phone_proofs.tries_left(session, proof_id)
        raise phone_proofs.wrong(left)


def standing(session: Session, session_id: UUID) -> Standing:
    """A session as it is now."""
    row = session.get_one(ResidentSessionRow, session_id)
    return _standing(session, row, session.get_one(PlatformIdentityRow, row.identity_id))


def subjects(secrets: Secrets, caller: Caller, source: Source) -> dict[bytes, Limits]:
    """Whose tries those are that come through an app, from an address."""
    index = secrets.blind_index
    told = {index.of("try-app", str(caller.id)): PER_APP}
    told[source_index(index, source.caller or "")] = PER_ADDRESS
    if source.phone is not None:
        told[index.of("try-phone", source_index(index, source.phone).hex())] = PER_PHONE_ADDRESS
    return told


class _counted:
    """A try that is written down first. It stays where the code was wrong, with a line in the audit log."""

    def __init__(self, desk: LogInDesk, caller: Caller, source: Source) -> None:
        self._desk, self._caller, self._source = desk, caller, source

    def __enter__(self) -> list[UUID]:
        told = subjects(self._desk.secrets(), self._caller, self._source)
        with self._desk.work() as session:
            self._tries = tries.begin(session, told, now=self._desk.clock.now())
        return self._tries

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        with suppress(EhcError), self._desk.work() as session:
            if not isinstance(error, _WRONG):
                tries.not_wrong(session, self._tries)
                return
            facts = {"why": error.code} | _from(self._desk.secrets(), self._source)
            actor, now = f"app:{self._caller.id}", self._desk.clock.now()
            audit.record(
                session, "resident.log-in-refused", actor=actor, subject=str(self._caller.id), at=now, facts=facts
            )


def _asker(desk: LogInDesk, platform: Platform, code: str, caller: Caller) -> Callable[[], PlatformPerson]:
    sealer, demo = desk.secrets().sealer, desk.demo
    with desk.work() as session:
        if platform is Platform.WECHAT and desk.wechat is not None:
            wechat, mini_program = desk.wechat, credentials.wechat_app(session, caller.id, sealer=sealer, demo=demo)
            return lambda: wechat.person(mini_program, code)
        if platform is Platform.ALIPAY and desk.alipay is not None:
            alipay, app = desk.alipay, credentials.alipay_app(session, caller.id, sealer=sealer, demo=demo)
            return lambda: alipay.person(app, code)
    raise credentials.not_set()


def _open(
    session: Session,
    desk: LogInDesk,
    platform: Platform,
    who: PlatformPerson,
    *,
    caller: Caller,
    source: Source,
    counted: list[UUID],
) -> tuple[str, Standing]:
    secrets, now = desk.secrets(), desk.clock.now()
    identity = identities.known(
        session, caller.id, platform, who, sealer=secrets.sealer, blind_index=secrets.blind_index, now=now
    )
    token, row = tokens.open_session(session, identity, now=now)
    tries.not_wrong(session, counted)
    found = _standing(session, row, identity)
    facts = {"platform": platform, "session": str(row.id), "linked": found.card is not None} | _from(secrets, source)
    audit.record(session, "resident.logged-in", actor=f"app:{caller.id}", subject=str(identity.id), at=now, facts=facts)
    return token, found


def _standing(session: Session, row: ResidentSessionRow, identity: PlatformIdentityRow) -> Standing:
    resident = tokens.leads_to(session, identity)
    return Standing(row, identity, cards.of_resident(session, resident.id) if resident is not None else None)


def _from(secrets: Secrets, source: Source) -> dict[str, str]:
    return {"from": source_name(source_index(secrets.blind_index, source.caller))} if source.caller else {}


def log_out(session: Session, caller: Caller, *, now: datetime) -> None:
    """End the session that a resident's token belongs to."""
    party = caller.resident
    if party is not None and tokens.end(session, party.session_id, why="logged-out", now=now):
        facts = {"session": str(party.session_id)}
        actor, subject = cards.acting(caller).actor, str(party.identity_id)
        audit.record(session, "resident.logged-out", actor=actor, subject=subject, at=now, facts=facts)
