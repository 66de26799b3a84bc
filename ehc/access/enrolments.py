"""Enrolling terminals: the staff make a one-time code, the terminal proves a key of its own with it. Nothing here commits.

A code has 12 characters of Crockford's base32, to be typed in three groups of four. The first four find the enrolment and are
no secret; the other eight are 40 bits. Every try counts in the row that it finds, before it is compared, so five tries are all
that there are for one code, from however many addresses and processes: five chances in 2^40 that somebody guesses it. What a
try finds nothing with cannot succeed. Only HMACs are kept, under a key that is not in the database in clear: 40 bits alone
could be searched from a plain hash within the ten minutes.
"""

import hmac
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from secrets import choice
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Select, delete, select, tuple_, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.access import client_keys, clients, institutions, terminals
from ehc.access.branches import require_within, within
from ehc.access.models import ClientRow, InstitutionRow
from ehc.access.staff_acts import entitled
from ehc.access.terminal_models import EnrolmentRow, TerminalRow
from ehc.access.terminals import Doer, Position, State, Terminal, TerminalState
from ehc.callers import Branch, Right
from ehc.core.ids import uuid7
from ehc.crypto.jwk import Jwk, NotSigned, base64url, read_jws, require_signed
from ehc.crypto.sealed import BlindIndex
from ehc.errors import EhcError, Text

LIFE = timedelta(minutes=10)
TRIES = 5
PROOF_TYPE = "ehc-enrolment+jwt"
"""The `typ` of a proof, so that nothing else that the key signs is one."""
_LONGEST_PROOF = 2048
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SELECTOR, _LENGTH = 4, 12
_CODE = re.compile(f"[{_ALPHABET}]{{{_LENGTH}}}", re.ASCII)
_TYPED = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_KEPT = timedelta(days=1)


class TerminalCodeTaken(EhcError):
    """Another terminal has this code."""

    code = "terminal-code-taken"


class NoSuchEnrolment(EhcError):
    """There is no such enrolment in the branch of whoever asks."""

    code = "enrolment-not-found"


class EnrolmentOver(EhcError):
    """The enrolment was used, cancelled, or is out of time."""

    code = "enrolment-over"


class EnrolmentRefused(EhcError):
    """The code is not one that may be used now. Why is not told."""

    code = "enrolment-refused"


class ProofInvalid(EhcError):
    """The terminal did not prove that it holds the key."""

    code = "proof-invalid"


@dataclass(frozen=True)
class Plan:
    """What a terminal will be."""

    institution_id: UUID
    terminal_code: str
    name: str
    kind: str
    department: str | None = None
    steps: list[str] | None = None
    replaces: UUID | None = None


class Enrolled(NamedTuple):
    """A terminal that has just been enrolled; `new` is false where it asked again."""

    terminal: Terminal
    new: bool


def make(session: Session, plan: Plan, *, doer: Doer, index: BlindIndex, now: datetime) -> tuple[EnrolmentRow, str]:
    """An enrolment and its code, which is told once. Raises `NoSuchInstitution`, `WrongState`, `TerminalCodeTaken`."""
    institutions.require_open(require_within(session, doer.branch, plan.institution_id))
    if plan.replaces is None:
        taken = select(ClientRow.id).where(ClientRow.terminal_code == plan.terminal_code)
        if session.scalar(taken) is not None:
            raise _code_taken()
    row = EnrolmentRow(id=uuid7(now), **vars(plan), made_by=doer.actor, created_at=now, expires_at=now + LIFE, tries=0)
    code = _placed(session, row, index)
    facts = {"after": _facts(row)}
    audit.record(session, "terminal.enrolment-made", actor=doer.actor, subject=str(row.id), at=now, facts=facts)
    return row, code


def replace(
    session: Session, client: UUID, *, doer: Doer, index: BlindIndex, now: datetime
) -> tuple[EnrolmentRow, str]:
    """An enrolment for the terminal that will take another's place and code. Raises `NoSuchTerminal` or `TerminalState`."""
    old = terminals.find(session, client, doer.branch, lock=True)
    if old.state is State.REPLACED:
        raise TerminalState(Text("该终端已被更换。", "The terminal was replaced already."))
    plan = Plan(
        old.institution.id,
        old.client.terminal_code or "",
        old.client.name,
        old.row.kind,
        old.row.department,
        old.row.steps,
        client,
    )
    return make(session, plan, doer=doer, index=index, now=now)


def find(session: Session, enrolment: UUID, branch: Branch, *, lock: bool = False) -> EnrolmentRow:
    """An enrolment of the branch. Raises `NoSuchEnrolment`."""
    wanted = _in_branch(branch).where(EnrolmentRow.id == enrolment)
    if lock:
        wanted = wanted.with_for_update(of=EnrolmentRow)
    row = session.scalars(wanted).one_or_none()
    if row is None:
        raise NoSuchEnrolment(Text("没有这次登记。", "There is no such enrolment."))
    return row


def page(session: Session, branch: Branch, *, limit: int, before: Position | None) -> tuple[list[EnrolmentRow], bool]:
    """The newest enrolments of the branch before a position, and whether there are more."""
    wanted = _in_branch(branch)
    if before is not None:
        wanted = wanted.where(tuple_(EnrolmentRow.created_at, EnrolmentRow.id) < tuple_(*before))
    ordered = wanted.order_by(EnrolmentRow.created_at.desc(), EnrolmentRow.id.desc()).limit(limit + 1)
    found = list(session.scalars(ordered))
    return found[:limit], len(found) > limit


def state_of(row: EnrolmentRow, *, now: datetime) -> str:
    """`waiting`, `used`, `cancelled`, `tried-out` or `expired`."""
    if row.used_at is not None:
        return "used"
    if row.cancelled_at is not None:
        return "cancelled"
    if now >= row.expires_at:
        return "expired"
    return "tried-out" if row.tries >= TRIES else "waiting"


def cancel(session: Session, enrolment: UUID, *, doer: Doer, now: datetime) -> EnrolmentRow:
    """Take a code back that nobody used. Raises `NoSuchEnrolment` or `EnrolmentOver`."""
    row = find(session, enrolment, doer.branch, lock=True)
    if row.used_at is not None or row.cancelled_at is not None:
        raise EnrolmentOver(
            Text("该登记码已使用或已取消。", "This code was used, or taken back, already. Block the terminal instead.")
        )
    row.cancelled_at = now
    session.flush()
    facts = {"before": {"cancelled": False}, "after": {"cancelled": True}}
    audit.record(session, "terminal.enrolment-cancelled", actor=doer.actor, subject=str(row.id), at=now, facts=facts)
    return row


def challenge_of(code: str) -> str:
    """What a terminal signs over: a hash of the code as it sends it."""
    return base64url(sha256(code.encode()).digest())


def require_proof(proof: str, jwk: Jwk, code: str, *, issuer: str) -> None:
    """Raises `ProofInvalid` unless the key signed the challenge of this code for this deployment."""
    try:
        said = read_jws(proof, longest=_LONGEST_PROOF)
        require_signed(said, jwk.public)
    except NotSigned:
        raise _proof_invalid() from None
    wanted = {"aud": issuer, "challenge": challenge_of(code)}
    if said.header.get("typ") != PROOF_TYPE or any(said.payload.get(name) != value for name, value in wanted.items()):
        raise _proof_invalid()


def enrol(session: Session, code: str, jwk: Jwk, *, index: BlindIndex, now: datetime) -> Enrolled | None:
    """The terminal of a code whose key was proved, made now; None for a refused try, which the caller has to commit.

    The same code with the same key again, in its time, gets the same terminal: an answer may be lost. Raises `KeyTaken`,
    `TerminalCodeTaken`, or `TerminalState` where what it was to replace was replaced by another.
    """
    typed = code.upper().translate(_TYPED)
    if not _CODE.fullmatch(typed):
        return None
    row = _tried(session, typed[:_SELECTOR], index=index, now=now)  # counted before it is compared
    if row is None or row.code_index is None:
        return None
    if not hmac.compare_digest(row.code_index, _code_index(index, typed)):
        _note_last(session, row, now=now)
        return None
    if row.client_id is not None:
        return _again(session, row, jwk, now=now)
    if not _stands(session, row):
        return None
    client = _place_taken(session, row, now=now)
    client_keys.add_key(session, client.id, jwk, now=now)
    row.used_at, row.client_id = now, client.id
    session.flush()
    facts = {"before": None, "after": _facts(row) | {"terminal": str(client.id), "key": jwk.thumbprint}}
    audit.record(session, "terminal.enrolled", actor=row.made_by, subject=client.client_id, at=now, facts=facts)
    return Enrolled(terminals.find(session, client.id, Branch()), True)


def purge(session: Session, *, now: datetime) -> int:
    """Forget the codes that are over, and a day later what nobody used. Returns how many; call until it returns 0."""
    over = EnrolmentRow.expires_at < now - LIFE, EnrolmentRow.selector_index.is_not(None)
    forgotten = update(EnrolmentRow).where(*over).values(selector_index=None, code_index=None)
    cleared = session.execute(forgotten.returning(EnrolmentRow.id)).all()
    old = EnrolmentRow.expires_at < now - _KEPT, EnrolmentRow.used_at.is_(None)
    deleted = session.execute(delete(EnrolmentRow).where(*old).returning(EnrolmentRow.id)).all()
    return len(cleared) + len(deleted)


def _placed(session: Session, row: EnrolmentRow, index: BlindIndex) -> str:
    """Puts the row in under a code whose first four characters nobody else has now; the code."""
    for _ in range(8):
        code = "".join(choice(_ALPHABET) for _ in range(_LENGTH))
        row.selector_index, row.code_index = _selector_index(index, code), _code_index(index, code)
        try:
            with session.begin_nested():
                session.add(row)
        except IntegrityError:  # another's first four characters: one in a million for each that waits
            continue
        return "-".join(code[at : at + 4] for at in range(0, _LENGTH, 4))
    raise TerminalState(Text("登记过多，请稍后再试。", "Too many enrolments are waiting. Try again in ten minutes."))


def _tried(session: Session, selector: str, *, index: BlindIndex, now: datetime) -> EnrolmentRow | None:
    """The enrolment that a code finds, if it may still be tried. One after the other: the row is locked from here on."""
    may = (
        EnrolmentRow.selector_index == _selector_index(index, selector),
        EnrolmentRow.tries < TRIES,
        EnrolmentRow.expires_at > now,
        EnrolmentRow.cancelled_at.is_(None),
    )
    counted = update(EnrolmentRow).where(*may).values(tries=EnrolmentRow.tries + 1).returning(EnrolmentRow)
    return session.scalars(counted.execution_options(populate_existing=True)).one_or_none()


def _note_last(session: Session, row: EnrolmentRow, *, now: datetime) -> None:
    """A code that nobody can use any more, since somebody tried others, is worth a look."""
    if row.tries == TRIES:
        facts = {"before": {"state": "waiting"}, "after": {"state": "tried-out"}}
        audit.record(session, "terminal.enrolment-tried-out", actor="anyone", subject=str(row.id), at=now, facts=facts)


def _stands(session: Session, row: EnrolmentRow) -> bool:
    """Whether whoever made the code could make it now: one who was disabled, or lost the right, leaves no codes behind."""
    kind, _, staff_id = row.made_by.partition(":")
    return kind != "staff" or entitled(session, UUID(staff_id), Right.TERMINALS_WRITE)


def _again(session: Session, row: EnrolmentRow, jwk: Jwk, *, now: datetime) -> Enrolled | None:
    assert row.client_id is not None
    if jwk.thumbprint not in {key.thumbprint for key in client_keys.keys_of(session, row.client_id, now=now)}:
        return None
    return Enrolled(terminals.find(session, row.client_id, Branch()), False)


def _place_taken(session: Session, row: EnrolmentRow, *, now: datetime) -> ClientRow:
    """The new client, and what it replaces ended. Raises `TerminalCodeTaken` or `TerminalState`."""
    old = terminals.find(session, row.replaces, Branch(), lock=True) if row.replaces is not None else None
    before = terminals.settings_of(old) if old is not None else {}
    if old is not None:
        _require_in_place(old, row)
        old.client.terminal_code = f"{row.terminal_code}/{old.client.id.hex}"  # no other can be called so
        old.client.disabled_at = old.client.disabled_at or now
        session.flush()
    try:
        with session.begin_nested():
            client = clients.add_key_terminal(
                session,
                name=row.name,
                terminal_code=row.terminal_code,
                institution_id=row.institution_id,
                actor=row.made_by,
                now=now,
            )
    except IntegrityError:
        raise _code_taken() from None
    session.add(
        TerminalRow(client_id=client.id, kind=row.kind, department=row.department, steps=row.steps, seen_at=now)
    )
    session.flush()
    if old is not None:
        old.row.replaced_by = client.id
        ended = client_keys.end_keys(session, old.client.id, now=now)
        facts = {"before": before, "after": terminals.settings_of(old), "by": client.client_id, "keys_ended": ended}
        audit.record(session, "terminal.replaced", actor=row.made_by, subject=old.client.client_id, at=now, facts=facts)
    return client


def _require_in_place(old: Terminal, row: EnrolmentRow) -> None:
    if old.state is State.REPLACED or old.client.terminal_code != row.terminal_code:
        raise TerminalState(Text("原终端已被更换。", "The terminal to be replaced was replaced already."))


def _in_branch(branch: Branch) -> Select[EnrolmentRow]:
    return (
        select(EnrolmentRow)
        .join(InstitutionRow, InstitutionRow.id == EnrolmentRow.institution_id)
        .where(within(branch))
    )


def _facts(row: EnrolmentRow) -> dict[str, object]:
    return {
        "institution": str(row.institution_id),
        "terminal_code": row.terminal_code,
        "name": row.name,
        "kind": row.kind,
        "department": row.department,
        "steps": row.steps,
        "replaces": str(row.replaces) if row.replaces else None,
    }


def _selector_index(index: BlindIndex, code: str) -> bytes:
    return index.of("terminal-enrolment-selector", code[:_SELECTOR])


def _code_index(index: BlindIndex, code: str) -> bytes:
    return index.of("terminal-enrolment-code", code)


def _code_taken() -> TerminalCodeTaken:
    return TerminalCodeTaken(
        Text(
            "终端编号已被使用，请换一个。", "Another terminal has this code. Choose another, or replace that terminal."
        )
    )


def _proof_invalid() -> ProofInvalid:
    return ProofInvalid(
        Text(
            "未能证明持有私钥：请按文档用 ES256 对登记码的挑战值签名。",
            "The proof does not show that you hold the key: sign the challenge of the code as docs/terminals.md says.",
        )
    )
