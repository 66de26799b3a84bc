"""What somebody of the staff changes in their own account: the password, and the second factors. Nothing here commits,
save the change of a password, which counts tries (`log_ins.as_proved`).
"""

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from ehc.access import log_ins, passkeys, passwords, second_factors, staff_sessions
from ehc.access.log_ins import Desk, as_proved
from ehc.access.passkeys import Answered
from ehc.access.staff_acts import By, locked, note
from ehc.access.staff_login_models import StaffPasskeyRow, StaffPasswordRow
from ehc.access.staff_models import StaffRow
from ehc.callers import Staff
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex
from ehc.errors import EhcError, InvalidValue, Text
from ehc.keystore.secret_keys import Secrets


class WrongCode(EhcError):
    """The code is not the one that the app shows now."""

    code = "wrong-totp"


def change_password(desk: Desk, who: Staff, current: str, new: str, *, login: str, source: bytes, by: By) -> None:
    """Replace one's password; every other session ends. Raises `InvalidValue`, and what `as_proved` raises."""
    passwords.require_good(new, login=login, pointer="/new_password")
    old: list[str] = []

    def look(session: Session, person: StaffRow) -> bool:
        old.extend(_hashes(session, person.id))
        return True

    as_proved(desk, who, current, look, source=source)
    if any(desk.hasher.matches(kept, new) for kept in old):
        count = passwords.REMEMBERED
        sentence = Text(f"不能使用最近 {count} 次用过的密码。", f"The last {count} passwords do not come again.")
        raise InvalidValue.at("/new_password", "password-used", sentence)
    hashed, now = desk.hasher.hash(new), desk.clock.now()
    with desk.work() as session:
        person = locked(session, who.id)
        if _hashes(session, who.id)[:1] != old[:1] or person.disabled_at is not None:
            raise log_ins.proof_refused()  # somebody changed or reset it meanwhile
        keep(session, person, hashed, must_change=False, expires_at=None, now=now)
        staff_sessions.end_sessions(session, person, now=now, but=who.session_id)
        second_factors.settle(session, person, now=now)
        note(session, "staff.password-changed", who.id, by=by, at=now)


def keep(
    session: Session, person: StaffRow, hashed: str, *, must_change: bool, expires_at: datetime | None, now: datetime
) -> None:
    """Make this a person's password; those that are too old to be remembered go. It is the newest whatever the clocks say."""
    mine = StaffPasswordRow.staff_id == person.id
    last = session.scalar(select(func.max(StaffPasswordRow.created_at)).where(mine))
    created_at = now if last is None else max(now, last + timedelta(microseconds=1))
    newest = select(StaffPasswordRow.id).where(mine)
    newest = newest.order_by(StaffPasswordRow.created_at.desc(), StaffPasswordRow.id.desc())
    remembered = newest.limit(passwords.REMEMBERED - 1).scalar_subquery()
    session.execute(delete(StaffPasswordRow).where(mine, StaffPasswordRow.id.not_in(remembered)))
    row = StaffPasswordRow(
        id=uuid7(now),
        staff_id=person.id,
        hash=hashed,
        must_change=must_change,
        expires_at=expires_at,
        created_at=created_at,
    )
    session.add(row)
    session.flush()


def begin_totp(session: Session, who: Staff, *, secrets: Secrets, by: By, now: datetime) -> tuple[str, str]:
    """A new TOTP secret and the login it is for; it counts once `confirm_totp` was shown a code of it."""
    person = locked(session, who.id)
    note(session, "staff.totp-begun", who.id, by=by, at=now)
    return second_factors.begin_totp(session, person, sealer=secrets.sealer, now=now), person.login


def confirm_totp(session: Session, who: Staff, typed: str, *, secrets: Secrets, by: By, now: datetime) -> list[str]:
    """Let the new secret count; recovery codes, where this is the first second factor. Raises `WrongCode`."""
    person = locked(session, who.id)
    first = not second_factors.has_any(session, who.id)
    if not second_factors.confirm_totp(session, person, typed, sealer=secrets.sealer, now=now):
        raise WrongCode(
            Text(
                "动态码不正确，请核对手机时间后重试。", "Not the code that the app shows now. Check the phone's clock."
            )
        )
    return _added(session, person, first, "totp", blind_index=secrets.blind_index, by=by, now=now)


def begin_passkey(session: Session, desk: Desk, who: Staff) -> dict[str, object]:
    """A challenge for an authenticator that is to be added."""
    return passkeys.ask_to_register(session, locked(session, who.id), site=desk.site, now=desk.clock.now())


def confirm_passkey(
    session: Session, desk: Desk, who: Staff, answered: Answered, label: str, *, by: By
) -> tuple[StaffPasskeyRow, list[str]] | None:
    """Add an authenticator, with recovery codes where it is the first second factor. None where it is no good: commit."""
    person, now = locked(session, who.id), desk.clock.now()
    first = not second_factors.has_any(session, who.id)
    row = passkeys.register(session, person, answered, label, site=desk.site, now=now)
    if row is None:
        note(session, "staff.passkey-refused", who.id, by=by, at=now)
        return None
    codes = _added(session, person, first, "webauthn", blind_index=desk.secrets().blind_index, by=by, now=now)
    return row, codes


def remove_totp(session: Session, who: Staff, *, by: By, now: datetime) -> None:
    """Take one's TOTP secret away. Raises `NoSuchFactor`, `LastFactor`."""
    second_factors.remove_totp(session, locked(session, who.id))
    note(session, "staff.second-factor-removed", who.id, by=by, at=now, kind="totp")


def remove_passkey(session: Session, who: Staff, passkey_id: UUID, *, by: By, now: datetime) -> None:
    """Take one of one's authenticators away. Raises `NoSuchFactor`, `LastFactor`."""
    second_factors.remove_passkey(session, locked(session, who.id), passkey_id)
    note(session, "staff.second-factor-removed", who.id, by=by, at=now, kind="webauthn", passkey=str(passkey_id))


def new_recovery_codes(session: Session, who: Staff, *, blind_index: BlindIndex, by: By, now: datetime) -> list[str]:
    """Ten new recovery codes; the old ones stop. Raises `NoSuchFactor` for somebody without a second factor."""
    person = locked(session, who.id)
    if not second_factors.has_any(session, who.id):
        raise second_factors.no_such_factor()
    note(session, "staff.recovery-codes-made", who.id, by=by, at=now)
    return second_factors.new_recovery_codes(session, person, blind_index=blind_index)


def passkeys_of(session: Session, staff_id: UUID) -> list[StaffPasskeyRow]:
    """Somebody's authenticators, the oldest first."""
    mine = select(StaffPasskeyRow).where(StaffPasskeyRow.staff_id == staff_id)
    return list(session.scalars(mine.order_by(StaffPasskeyRow.id)))


def _added(
    session: Session, person: StaffRow, first: bool, kind: str, *, blind_index: BlindIndex, by: By, now: datetime
) -> list[str]:
    second_factors.settle(session, person, now=now)
    note(session, "staff.second-factor-added", person.id, by=by, at=now, kind=kind)
    return second_factors.new_recovery_codes(session, person, blind_index=blind_index) if first else []


def _hashes(session: Session, staff_id: UUID) -> list[str]:
    mine = select(StaffPasswordRow.hash).where(StaffPasswordRow.staff_id == staff_id)
    newest = mine.order_by(StaffPasswordRow.created_at.desc(), StaffPasswordRow.id.desc())
    return list(session.scalars(newest.limit(passwords.REMEMBERED)))
