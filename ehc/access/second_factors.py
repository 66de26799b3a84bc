"""Second factors: TOTP, authenticators, recovery codes; and whether what somebody shows is one. Nothing here commits."""

from base64 import b32encode
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from secrets import token_bytes
from uuid import UUID

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from ehc.access import passkeys, totp
from ehc.access.passkeys import Answered, Site
from ehc.access.staff_login_models import StaffPasskeyRow, StaffPasswordRow, StaffRecoveryCodeRow, StaffTotpRow
from ehc.access.staff_models import StaffRow
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.errors import EhcError, Text
from ehc.keystore.secret_keys import Secrets

RECOVERY_CODES = 10
_GROUPS, _GROUP = 4, 4  # 16 characters of base32: 80 bits, so a keyed hash is enough


class LastFactor(EhcError):
    """An account keeps one second factor at least."""

    code = "last-second-factor"


class NoSuchFactor(EhcError):
    """The person has no such second factor."""

    code = "second-factor-not-found"


class Verdict(StrEnum):
    """What became of the second factor."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"
    NONE_YET = "none-yet"
    """The person has none, and can do nothing but set one up."""


@dataclass(frozen=True)
class Shown:
    """What somebody shows to prove who they are: the password, and one of the others."""

    password: str
    totp: str | None = None
    recovery_code: str | None = None
    passkey: Answered | None = None

    @property
    def by(self) -> str:
        """Which second factor it is, as the audit log tells it."""
        kinds = {"totp": self.totp, "recovery-code": self.recovery_code, "webauthn": self.passkey}
        return next((kind for kind, value in kinds.items() if value is not None), "password")


def check(
    session: Session, person: StaffRow, shown: Shown, purpose: str, *, site: Site, secrets: Secrets, now: datetime
) -> Verdict:
    """Whether the second factor is right. What it shows is used up either way: commit. Needs the account held."""
    if not has_any(session, person.id):
        return Verdict.NONE_YET
    if shown.totp is not None:
        right = _totp_is_right(session, person, shown.totp, sealer=secrets.sealer, now=now)
    elif shown.passkey is not None:
        right = passkeys.is_right(session, person, shown.passkey, purpose, site=site, now=now)
    elif shown.recovery_code is not None and purpose == passkeys.LOG_IN:
        right = _recovery_code_is_right(session, person, shown.recovery_code, secrets.blind_index)
    else:
        return Verdict.MISSING
    return Verdict.RIGHT if right else Verdict.WRONG


def kinds(session: Session, staff_id: UUID) -> list[str]:
    """What the person can show: `totp`, `webauthn`, `recovery-code`."""
    asked = {
        "totp": _confirmed(staff_id),
        "webauthn": select(StaffPasskeyRow.id).where(StaffPasskeyRow.staff_id == staff_id),
        "recovery-code": select(StaffRecoveryCodeRow.staff_id).where(StaffRecoveryCodeRow.staff_id == staff_id),
    }
    return [kind for kind, wanted in asked.items() if session.scalar(wanted.limit(1)) is not None]


def has_any(session: Session, staff_id: UUID) -> bool:
    """Whether the person has a second factor. Recovery codes alone are none."""
    return bool({"totp", "webauthn"} & set(kinds(session, staff_id)))


def recovery_codes_left(session: Session, staff_id: UUID) -> int:
    """How many recovery codes were not used."""
    mine = StaffRecoveryCodeRow.staff_id == staff_id
    return session.scalar(select(func.count()).select_from(StaffRecoveryCodeRow).where(mine)) or 0


def begin_totp(session: Session, person: StaffRow, *, sealer: Sealer, now: datetime) -> str:
    """A new secret, which counts once a code of it was shown; one that was begun before is dropped."""
    pending = StaffTotpRow.staff_id == person.id, StaffTotpRow.confirmed_at.is_(None)
    session.execute(delete(StaffTotpRow).where(*pending))
    secret, row_id = totp.new_secret(), uuid7(now)
    sealed = sealer.seal(secret, _place(row_id))
    session.add(StaffTotpRow(id=row_id, staff_id=person.id, secret=sealed, last_step=0, created_at=now))
    session.flush()
    return secret


def confirm_totp(session: Session, person: StaffRow, typed: str, *, sealer: Sealer, now: datetime) -> bool:
    """Let the new secret count, in the place of the old one, if this is its code. Raises `NoSuchFactor` without one."""
    pending = StaffTotpRow.staff_id == person.id, StaffTotpRow.confirmed_at.is_(None)
    row = session.scalars(select(StaffTotpRow).where(*pending).with_for_update()).one_or_none()
    if row is None:
        raise no_such_factor()
    step = totp.step_of(sealer.unseal(row.secret, _place(row.id)), typed, now=now)
    if step is None:
        return False
    session.execute(
        delete(StaffTotpRow).where(StaffTotpRow.staff_id == person.id, StaffTotpRow.confirmed_at.is_not(None))
    )
    row.confirmed_at, row.last_step = now, step
    session.flush()
    return True


def remove_totp(session: Session, person: StaffRow) -> None:
    """Take the TOTP secret away. Raises `NoSuchFactor` or `LastFactor`. Needs the account held."""
    gone = session.execute(delete(StaffTotpRow).where(StaffTotpRow.staff_id == person.id).returning(StaffTotpRow.id))
    _require_removed(session, person, len(gone.all()))


def remove_passkey(session: Session, person: StaffRow, passkey_id: UUID) -> None:
    """Take an authenticator away. Raises `NoSuchFactor` or `LastFactor`. Needs the account held."""
    mine = StaffPasskeyRow.id == passkey_id, StaffPasskeyRow.staff_id == person.id
    gone = session.execute(delete(StaffPasskeyRow).where(*mine).returning(StaffPasskeyRow.id))
    _require_removed(session, person, len(gone.all()))


def remove_all(session: Session, person: StaffRow) -> None:
    """Take every second factor and recovery code away."""
    for table in (StaffTotpRow, StaffPasskeyRow, StaffRecoveryCodeRow):
        session.execute(delete(table).where(table.staff_id == person.id))


def new_recovery_codes(session: Session, person: StaffRow, *, blind_index: BlindIndex) -> list[str]:
    """Ten new recovery codes, told once; the old ones stop."""
    session.execute(delete(StaffRecoveryCodeRow).where(StaffRecoveryCodeRow.staff_id == person.id))
    codes = [_recovery_code() for _ in range(RECOVERY_CODES)]
    for made in codes:
        session.add(StaffRecoveryCodeRow(code_hash=_code_hash(blind_index, person.id, made), staff_id=person.id))
    session.flush()
    return codes


def settle(session: Session, person: StaffRow, *, now: datetime) -> None:
    """Say anew whether the person has still to set up the account. Needs the account held."""
    newest = select(StaffPasswordRow.must_change).where(StaffPasswordRow.staff_id == person.id)
    newest = newest.order_by(StaffPasswordRow.created_at.desc(), StaffPasswordRow.id.desc()).limit(1)
    person.limited = bool(session.scalar(newest)) or not has_any(session, person.id)
    if not person.limited and person.set_up_at is None:
        person.set_up_at = now
    session.flush()


def no_such_factor() -> NoSuchFactor:
    """The answer for a second factor that the person does not have."""
    return NoSuchFactor(Text("没有此第二因素，请先设置。", "There is no such second factor. Begin to set one up."))


def _totp_is_right(session: Session, person: StaffRow, typed: str, *, sealer: Sealer, now: datetime) -> bool:
    mine = StaffTotpRow.staff_id == person.id, StaffTotpRow.confirmed_at.is_not(None)
    row = session.scalars(select(StaffTotpRow).where(*mine)).one_or_none()
    step = totp.step_of(sealer.unseal(row.secret, _place(row.id)), typed, now=now) if row is not None else None
    if row is None or step is None:
        return False
    once = update(StaffTotpRow).where(StaffTotpRow.id == row.id, StaffTotpRow.last_step < step)
    taken = session.execute(once.values(last_step=step).returning(StaffTotpRow.id))
    return taken.one_or_none() is not None


def _recovery_code_is_right(session: Session, person: StaffRow, typed: str, blind_index: BlindIndex) -> bool:
    wanted = StaffRecoveryCodeRow.code_hash == _code_hash(blind_index, person.id, typed)
    gone = session.execute(delete(StaffRecoveryCodeRow).where(wanted).returning(StaffRecoveryCodeRow.staff_id))
    return gone.one_or_none() is not None


def _require_removed(session: Session, person: StaffRow, count: int) -> None:
    if not count:
        raise no_such_factor()
    if not has_any(session, person.id):
        raise LastFactor(
            Text("这是最后一个第二因素，请先设置另一个。", "This is the last second factor. Set another one up first.")
        )


def _confirmed(staff_id: UUID) -> Select[UUID]:
    return select(StaffTotpRow.id).where(StaffTotpRow.staff_id == staff_id, StaffTotpRow.confirmed_at.is_not(None))


def _recovery_code() -> str:
    letters = b32encode(token_bytes(_GROUPS * _GROUP * 5 // 8)).decode()
    return "-".join(letters[at : at + _GROUP] for at in range(0, len(letters), _GROUP))


def _code_hash(blind_index: BlindIndex, staff_id: UUID, typed: str) -> bytes:
    plain = "".join(letter for letter in typed.upper() if letter.isalnum())
    return blind_index.of("staff-recovery-code", f"{staff_id}:{plain}")


def _place(row_id: UUID) -> str:
    return f"staff_totp.secret:{row_id}"
