"""Log-in and proof of the staff: a password and a second factor, counted, and the same path whoever asks.

1. The try is written down and committed, or refused (`tries`).
2. The password is computed, outside any transaction; for an unknown login, or one without a password, that of nobody.
3. One transaction holds the account, decides in a fixed order, and leaves a session or a row in the audit log.

Who is refused learns nothing but that; the audit log says why.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from ehc.access import institutions, passkeys, second_factors, staff_sessions, tries
from ehc.access.passkeys import Site
from ehc.access.passwords import Hasher
from ehc.access.second_factors import Shown, Verdict
from ehc.access.staff_acts import NOBODY, By, note
from ehc.access.staff_login_models import StaffDeviceRow, StaffPasswordRow
from ehc.access.staff_models import StaffRow
from ehc.audit.sources import source_name
from ehc.callers import Staff
from ehc.clock import Clock
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex
from ehc.db import UnitOfWork
from ehc.errors import EhcError, Text
from ehc.keystore.secret_keys import Secrets

DEVICE_LIFE = timedelta(days=90)
"""How long a device is known after the last log-in on it."""
UNLOCK_LIFE = timedelta(minutes=30)
"""How long the device token is good that an unlock hands out."""
DEVICES = 10
DEVICE_PREFIX = "ehcd_"


class LogInRefused(EhcError):
    """The login, the password or the second factor is wrong; it is not told which."""

    code = "log-in-refused"


class ProofRefused(EhcError):
    """The password or the second factor is wrong; after a few of these the session ends."""

    code = "proof-refused"


@dataclass(frozen=True)
class Desk:
    """What log-in works with. `password_days` is how old a password may get, 0 for as old as it likes."""

    work: UnitOfWork
    secrets: Callable[[], Secrets]
    clock: Clock
    hasher: Hasher
    site: Site
    password_days: int = 0
    demo: bool = False


@dataclass(frozen=True)
class Opened:
    """A session was opened. The tokens are not kept."""

    token: str
    staff_id: UUID
    limited: bool
    device: str | None
    recovery_codes_left: int


@dataclass(frozen=True)
class Asked:
    """The password is right; a second factor is still to be shown."""

    kinds: list[str]
    webauthn: dict[str, Any] | None


@dataclass(frozen=True)
class _Kept:
    """The password of an account as it was when the try began."""

    password_id: UUID
    hash: str


def log_in(desk: Desk, login: str, shown: Shown, *, device: str | None, source: bytes) -> Opened | Asked:
    """Open a session, or ask for the second factor. Raises `LogInRefused`, `TooManyTries`, `Unavailable`."""
    now, blind_index, login = desk.clock.now(), desk.secrets().blind_index, login.casefold()
    with desk.work() as session:
        kept = _kept(session, StaffRow.login == login)
        device_id = _device(session, login, device, now)
        subject = device_subject(blind_index, device_id) if device_id else login_subject(blind_index, login)
        try_id = tries.begin(session, subject, None if device_id else source, now=now)
    right = desk.hasher.matches(kept.hash if kept else None, shown.password)
    better = desk.hasher.hash(shown.password) if right and kept and desk.hasher.outdated(kept.hash) else None
    with desk.work() as session:
        person = session.scalars(select(StaffRow).where(StaffRow.login == login).with_for_update()).one_or_none()
        why = _why_not(session, desk, person, kept, right=right, now=now)
        if person is not None and why is None:
            verdict = _second(session, desk, person, shown, passkeys.LOG_IN)
            if verdict is Verdict.MISSING:
                tries.was_right(session, try_id)
                webauthn = passkeys.ask(session, person, passkeys.LOG_IN, site=desk.site, now=now)
                return Asked(second_factors.kinds(session, person.id), webauthn)
            why = "second-factor" if verdict is Verdict.WRONG else None
        if person is not None and why is None:
            _improve(session, kept, better)
            tries.was_right(session, try_id)
            if device_id:
                tries.forget(session, subject)
            return _open(session, desk, person, shown, device_id=device_id, source=source)
        whom = str(person.id) if person else f"login:{login_subject(blind_index, login).hex()[:32]}"
        used_up = tries.used_up(session, subject, now=now)
        by = By(NOBODY, None, source_name(source))
        note(session, "staff.log-in-refused", whom, by=by, at=now, why=why or "unknown", locked=used_up)
    raise LogInRefused(
        Text("登录名、密码或第二因素不正确。", "The login, the password or the second factor is not right.")
    )


def prove(desk: Desk, who: Staff, shown: Shown, *, source: bytes) -> bool:
    """Prove again who one is; false where the second factor is still to be shown. Raises as `log_in`, `ProofRefused`."""
    now = desk.clock.now()

    def settle(session: Session, person: StaffRow) -> bool:
        verdict = _second(session, desk, person, shown, passkeys.PROVE)
        if verdict in {Verdict.RIGHT, Verdict.NONE_YET}:
            staff_sessions.refresh(session, who, now=now)
            by = By.staff(who, source_name(source))
            note(session, "staff.proved", who.id, by=by, at=now, in_session=str(who.session_id), second=shown.by)
        if verdict is Verdict.WRONG:
            raise _WrongAfterAll
        return verdict is not Verdict.MISSING

    return as_proved(desk, who, shown.password, settle, source=source)


class _WrongAfterAll(Exception):
    """What was to be done with a right password turned out to be another wrong try."""


def as_proved(
    desk: Desk, who: Staff, password: str, act: Callable[[Session, StaffRow], bool], *, source: bytes
) -> bool:
    """Do something that asks for the password of whoever is logged in. `act` gets the account, held.

    Wrong ones are counted for the account; the session in which they are used up ends. Raises `ProofRefused`, `TooManyTries`,
    `Unavailable`.
    """
    now, subject = desk.clock.now(), proof_subject(desk.secrets().blind_index, who.id)
    with desk.work() as session:
        kept = _kept(session, StaffRow.id == who.id)
        try_id = tries.begin(session, subject, None, now=now)
    right = desk.hasher.matches(kept.hash if kept else None, password)
    with desk.work() as session:
        person = session.scalars(select(StaffRow).where(StaffRow.id == who.id).with_for_update()).one_or_none()
        if person is not None and _why_not(session, desk, person, kept, right=right, now=now) is None:
            try:
                done = act(session, person)
            except _WrongAfterAll:
                pass
            else:
                tries.was_right(session, try_id)
                return done
        ended = tries.used_up(session, subject, now=now)
        if ended:
            staff_sessions.end_session(session, who, now=now)
        by = By.staff(who, source_name(source))
        note(session, "staff.proof-refused", who.id, by=by, at=now, in_session=str(who.session_id), ended=ended)
    raise proof_refused()


def proof_refused() -> ProofRefused:
    """The one answer to a proof that is none."""
    return ProofRefused(Text("密码或第二因素不正确。", "The password or the second factor is not right."))


def login_subject(blind_index: BlindIndex, login: str) -> bytes:
    """Whose tries those of strangers at this login are."""
    return blind_index.of("staff-login", login)


def proof_subject(blind_index: BlindIndex, staff_id: UUID) -> bytes:
    """Whose tries those of somebody are who is logged in."""
    return blind_index.of("staff-proof", str(staff_id))


def device_subject(blind_index: BlindIndex, device_id: UUID) -> bytes:
    """Whose tries those on a known device are."""
    return blind_index.of("staff-device", str(device_id))


def new_device(session: Session, person: StaffRow, *, life: timedelta, now: datetime) -> str:
    """Make a device known; its token, which is not kept. The oldest make room."""
    mine = StaffDeviceRow.staff_id == person.id
    newest = select(StaffDeviceRow.id).where(mine).order_by(StaffDeviceRow.id.desc()).limit(DEVICES - 1)
    session.execute(delete(StaffDeviceRow).where(mine, StaffDeviceRow.id.not_in(newest.scalar_subquery())))
    token = DEVICE_PREFIX + token_urlsafe(32)
    row = StaffDeviceRow(id=uuid7(now), staff_id=person.id, token_hash=_hash(token), expires_at=now + life)
    session.add(row)
    session.flush()
    return token


def forget_devices(session: Session, person: StaffRow) -> None:
    """Know no device of this person any more."""
    session.execute(delete(StaffDeviceRow).where(StaffDeviceRow.staff_id == person.id))


def _kept(session: Session, whose: Any) -> _Kept | None:
    newest = StaffPasswordRow.created_at.desc(), StaffPasswordRow.id.desc()
    wanted = select(StaffPasswordRow.id, StaffPasswordRow.hash)
    wanted = wanted.join(StaffRow, StaffRow.id == StaffPasswordRow.staff_id).where(whose)
    found = session.execute(wanted.order_by(*newest).limit(1)).one_or_none()
    return _Kept(found.id, found.hash) if found else None


def _device(session: Session, login: str, token: str | None, now: datetime) -> UUID | None:
    """The device that somebody comes with, if the person of this login has logged in on it."""
    if token is None:
        return None
    wanted = select(StaffDeviceRow.id).join(StaffRow, StaffRow.id == StaffDeviceRow.staff_id)
    mine = StaffRow.login == login, StaffDeviceRow.token_hash == _hash(token), StaffDeviceRow.expires_at > now
    return session.scalar(wanted.where(*mine))


def _why_not(
    session: Session, desk: Desk, person: StaffRow | None, kept: _Kept | None, *, right: bool, now: datetime
) -> str | None:
    """Why somebody is refused, whatever their second factor; None where nothing speaks against them."""
    if person is None or kept is None:
        return "unknown" if person is None else "password"
    newest = select(StaffPasswordRow).where(StaffPasswordRow.staff_id == person.id)
    row = session.scalars(
        newest.order_by(StaffPasswordRow.created_at.desc(), StaffPasswordRow.id.desc()).limit(1)
    ).one_or_none()
    if row is None or row.id != kept.password_id or not right:
        return "password"
    if row.expires_at is not None and now >= row.expires_at:
        return "password-expired"
    if person.disabled_at is not None:
        return "disabled"
    if person.institution_id is not None and not institutions.is_live(session, person.institution_id):
        return "institution"
    return "demo" if person.demo and not desk.demo else None


def _second(session: Session, desk: Desk, person: StaffRow, shown: Shown, purpose: str) -> Verdict:
    secrets, now = desk.secrets(), desk.clock.now()
    return second_factors.check(session, person, shown, purpose, site=desk.site, secrets=secrets, now=now)


def _open(
    session: Session, desk: Desk, person: StaffRow, shown: Shown, *, device_id: UUID | None, source: bytes
) -> Opened:
    now = desk.clock.now()
    if desk.password_days:
        old = StaffPasswordRow.created_at <= now - timedelta(days=desk.password_days)
        aged = update(StaffPasswordRow).where(StaffPasswordRow.staff_id == person.id, old)
        session.execute(aged.values(must_change=True))
    second_factors.settle(session, person, now=now)
    token = staff_sessions.open_session(session, person, now=now)
    device = None
    if device_id is None:
        device = new_device(session, person, life=DEVICE_LIFE, now=now)
    else:
        known = update(StaffDeviceRow).where(StaffDeviceRow.id == device_id)
        session.execute(known.values(expires_at=now + DEVICE_LIFE))
    by = By(f"staff:{person.id}", person.id, source_name(source))
    note(session, "staff.logged-in", person.id, by=by, at=now, second=shown.by, device=device_id is not None)
    left = second_factors.recovery_codes_left(session, person.id)
    return Opened(token, person.id, person.limited, device, left)


def _improve(session: Session, kept: _Kept | None, better: str | None) -> None:
    """Keep a password that was made with other parameters as one of today's."""
    if kept is not None and better is not None:
        row = update(StaffPasswordRow).where(StaffPasswordRow.id == kept.password_id)
        session.execute(row.values(hash=better))


def _hash(token: str) -> bytes:
    return sha256(token.encode()).digest()
