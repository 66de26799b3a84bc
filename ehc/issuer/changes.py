"""Changing an account: plain facts at once, the identity only with fresh proof. Functions commit nothing.

A name, number or type that changes gives another index id and card id (national rules 1.4). The card itself stays, with all
that hangs on it; the old pair is kept as a closed alias, and codes made under it are never live again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ehc import audit
from ehc.callers import Caller
from ehc.cards import events
from ehc.cards import store as cards
from ehc.cards.models import AliasRow, CardRow
from ehc.cards.states import CardStatus, Party
from ehc.cards.store import Acting, acting
from ehc.core.documents import Document, citizen_facts, read_document
from ehc.core.ids import uuid7
from ehc.core.names import normal_name
from ehc.core.phones import normal_phone
from ehc.errors import EhcError, InvalidValue, Text, WrongFields
from ehc.issuer import accounts, family, family_links, lifecycle, majority, phone_proofs, proofs
from ehc.issuer.accounts import Account
from ehc.issuer.applications import Proof
from ehc.issuer.proofs import Weighed
from ehc.issuer.registry import Registry, national_ids
from ehc.keystore.secret_keys import Secrets
from ehc.residents import store as residents
from ehc.residents.models import DocumentRow, ResidentRow
from ehc.residents.store import Person

_FACTS = ("phone", "address", "employer", "ethnicity", "sex", "birth_date")
"""Facts about a person that are no part of the identity."""

CHANGEABLE = frozenset({CardStatus.ACTIVE, CardStatus.SUSPENDED, CardStatus.LOST})
"""The states in which a person's identity can change."""


class DocumentInUse(EhcError):
    """Another person is registered with this document."""

    code = "document-in-use"


class Replaced(StrEnum):
    """What a new number makes of the old one."""

    RENEWED = "renewed"
    """The old document was this person's, and still leads to them."""
    CORRECTED = "corrected"
    """The old number was a mistake: it may turn up with its real owner."""


@dataclass(frozen=True)
class Identity:
    """The identity a person shall have: in normal form, with what proves it."""

    name: str
    document: Document
    replaced: Replaced = Replaced.RENEWED
    since: bytes | None = None
    """The blind index of the card id that the person had when this was weighed, None where it cannot have changed since."""


def weigh_identity(
    account: Account, wanted: Mapping[str, Any], proof: Proof, *, registry: Registry, today: date
) -> tuple[Identity, Weighed]:
    """The identity that `wanted` (name, id_type, id_number, replaced) asks for, and what its proof is worth.

    Asks the identity authority, so it runs outside a transaction. Raises `InvalidValue`, or `Conflict` for a temporary card.
    """
    if account.person.document is None:
        raise cards.wrong_state()
    old = account.person.document
    wrong = WrongFields()
    with wrong:
        name = normal_name(wanted["name"]) if "name" in wanted else account.person.name
    with wrong:
        document = old
        if "id_type" in wanted or "id_number" in wanted:
            document = read_document(wanted.get("id_type", old.type), wanted.get("id_number", old.number), today=today)
        _require_same_birth(account.person, document)
    wrong.require_none()
    facts = citizen_facts(document)  # its birth date is what is asked about, also where the old number told another
    born = facts.birth_date if facts else account.person.birth_date
    person = replace(account.person, name=name, document=document, birth_date=born)
    identity = Identity(name, document, Replaced(wanted["replaced"]), account.card.ehc_id_index)
    return identity, proofs.weigh(registry, proof, person)


def change_facts(
    session: Session,
    card: CardRow,
    facts: Mapping[str, Any],
    *,
    caller: Caller,
    party: Party,
    registry: Registry,
    now: datetime,
) -> list[str]:
    """What a holder changes at once: phone, address, employer, ethnicity, sex, the switch for static codes. Which differed.

    `facts` are as typed, `phone_proof` among them where the phone was proved. Raises `InvalidValue`, or `Conflict` for a
    card that was reported lost: whoever found the phone must not give the account another.
    """
    if not facts:
        return []
    if card.status == CardStatus.LOST:
        raise cards.wrong_state()
    family_links.hold(session, {card.resident_id})
    wanted = dict(facts)
    if wanted.get("phone") is not None:
        wanted["phone"] = normal_phone(wanted["phone"])
    if party is Party.GUARDIAN and not wanted.keys().isdisjoint({"phone", "phone_proof"}):
        _require_minor(session, card, now)
    changed = _write(session, card, wanted, registry.secrets, party=party)
    if wanted.get("phone_proof") is not None:
        proof_id, secrets = wanted["phone_proof"], registry.secrets
        _prove_phone(session, card, proof_id, caller=caller, party=party, secrets=secrets, now=now)
        changed.append("phone_proved")
    switch = wanted.get("static_allowed", card.static_allowed)
    if switch != card.static_allowed:
        changed.append("static_codes")
    if changed:
        by = acting(caller, party)
        note(session, card, "changed", changed, by=by, registry=registry, now=now, static_allowed=switch)
    if "static_codes" in changed and not switch:  # after the card's row was written: a print under way is there by now
        lifecycle.revoke_prints(session, card, refusal="static-not-allowed", at=now)
    return changed


def correct_facts(
    session: Session, card: CardRow, facts: Mapping[str, Any], *, by: Acting, registry: Registry, now: datetime
) -> list[str]:
    """What staff put right: facts in normal form, the birth date too. Returns which differed. The caller holds the card.

    Raises `Conflict`.
    """
    changed = _write(session, card, facts, registry.secrets, party=by.party)
    if changed:
        note(session, card, "changed", changed, by=by, registry=registry, now=now)
    if "birth_date" in changed:
        majority.reckon(session, card.resident_id, facts["birth_date"], now=now)
    return changed


def change_identity(
    session: Session,
    card: CardRow,
    wanted: Identity,
    weighed: Weighed,
    *,
    by: Acting,
    registry: Registry,
    now: datetime,
) -> list[str]:
    """Give a person another name or document, freshly proved; returns what differed. The card stays, its ids change.

    Raises `NotConfirmed`, `AuthorityAway`, `DocumentInUse`, `Conflict`, or `StaleVersion` after another such change.
    """
    family_links.hold(session, {card.resident_id})
    if wanted.since is not None and wanted.since != card.ehc_id_index:
        raise cards.stale()
    account = accounts.account_of(session, card, secrets=registry.secrets)
    old = accounts.document_of(account.person)
    changed = [name for name, differs in _differences(account.person, old, wanted) if differs]
    if not changed:
        return []
    if card.status not in CHANGEABLE:
        raise cards.wrong_state()
    proofs.require_fresh(weighed)
    document = session.get_one(DocumentRow, card.document_id)
    if wanted.document != old:
        document = _other_document(session, card, document, wanted, registry=registry, now=now)
        _swap_names(session, card, account.person.name, document, registry)
    _rename(session, card, wanted, old, registry=registry, now=now)
    _keep_alias(session, card, account, registry, now)
    ids = national_ids(wanted.document, wanted.name, card.id, registry.secrets)
    columns = {"document_id": document.id, "level": weighed.level, "codes_since": max(now, card.codes_since or now)}
    try:
        with session.begin_nested():
            note(
                session,
                card,
                "identity-changed",
                changed,
                by=by,
                registry=registry,
                now=now,
                weighed=weighed,
                **columns,
                **ids,
            )
    except IntegrityError:  # a card that was joined to this one has this very pair of ids, and they stay its own
        raise in_use() from None
    lifecycle.revoke_prints(session, card, refusal="card-cancelled", at=now)  # after the card's row, as above
    proofs.keep(session, card, weighed, at=now)
    return changed


def note(
    session: Session,
    card: CardRow,
    action: str,
    changed: list[str],
    *,
    by: Acting,
    registry: Registry,
    now: datetime,
    weighed: Weighed | None = None,
    **columns: Any,
) -> None:
    """Write a change onto the card, into its history and into the audit log. Raises `Conflict` after a faster writer."""
    if not cards.change(session, card, **columns):
        raise cards.wrong_state()
    words = weighed.words if weighed else events.NO_WORDS
    events.note(
        session,
        card,
        action,
        old=CardStatus(card.status),
        acting=by,
        sealer=registry.secrets.sealer,
        at=now,
        words=words,
        changed=changed,
    )
    facts = {"changed": changed, "party": by.party}
    audit.record(session, f"card.{action}", actor=by.actor, subject=str(card.id), at=now, facts=facts)


def in_use() -> DocumentInUse:
    """The answer where a document leads to somebody else."""
    return DocumentInUse(
        Text(
            "该证件已登记在另一账户下，请到发卡机构窗口办理合并。",
            "This document is registered with another account. An issuing institution can join the two.",
        )
    )


def _require_minor(session: Session, card: CardRow, now: datetime) -> None:
    """An adult's phone is what an adult agrees by, so no guardian changes or proves it. Raises `HolderOnly`."""
    if not majority.is_minor(session.get_one(ResidentRow, card.resident_id).birth_date, now):
        raise family.holder_only()


def _write(session: Session, card: CardRow, wanted: Mapping[str, Any], secrets: Secrets, *, party: Party) -> list[str]:
    """Write those facts of a card's holder that differ; which these are. A phone that changes has yet to be proved."""
    resident = residents.locked(session, card.resident_id)
    known = residents.open_person(resident, None, sealer=secrets.sealer)
    changed = [name for name in _FACTS if name in wanted and wanted[name] != getattr(known, name)]
    texts = {name: wanted[name] for name in changed if name in residents.SEALED}
    columns = residents.sealed(resident.id, texts, sealer=secrets.sealer, blind_index=secrets.blind_index)
    columns |= {name: wanted[name] for name in changed if name not in residents.SEALED}
    if "phone" in changed:
        columns |= {"phone_proved_at": None, "phone_by_guardian": party is Party.GUARDIAN}
    for name, value in columns.items():
        setattr(resident, name, value)
    resident.version += 1
    session.flush()
    return changed


def _prove_phone(
    session: Session,
    card: CardRow,
    proof_id: UUID,
    *,
    caller: Caller,
    party: Party,
    secrets: Secrets,
    now: datetime,
) -> None:
    """The phone on record is proved. Raises `InvalidValue`."""
    resident = session.get_one(ResidentRow, card.resident_id)
    phone = residents.open_person(resident, None, sealer=secrets.sealer).phone
    phone_proofs.spend(session, proof_id, phone, caller=caller, secrets=secrets, now=now)
    if party is not Party.GUARDIAN:
        resident.phone_by_guardian = False
    elif resident.phone_proved_at is None:
        resident.phone_by_guardian = True
    resident.phone_proved_at = now
    session.flush()


def _differences(person: Person, old: Document, wanted: Identity) -> list[tuple[str, bool]]:
    return [
        ("name", wanted.name != person.name),
        ("id_type", wanted.document.type != old.type),
        ("id_number", wanted.document.number != old.number),
    ]


def _other_document(
    session: Session, card: CardRow, old: DocumentRow, wanted: Identity, *, registry: Registry, now: datetime
) -> DocumentRow:
    secrets = registry.secrets
    if wanted.replaced is Replaced.CORRECTED:
        old.closed_at = now
        session.flush()
    found = residents.find(session, wanted.document, blind_index=secrets.blind_index)
    if found is not None and found.resident_id == card.resident_id:
        return found
    if found is not None:
        raise in_use()
    accounts.require_alive(session, wanted.document, registry=registry)
    try:
        with session.begin_nested():
            return residents.add_document(
                session,
                card.resident_id,
                wanted.document,
                at=now,
                sealer=secrets.sealer,
                blind_index=secrets.blind_index,
            )
    except IntegrityError:  # somebody registered with it in this very moment
        raise in_use() from None


def _swap_names(session: Session, card: CardRow, old_name: str, document: DocumentRow, registry: Registry) -> None:
    """Another document names the card from now on. If it had a name of its own, the one before keeps the other name."""
    if document.name is not None:
        before, sealer = session.get_one(DocumentRow, card.document_id), registry.secrets.sealer
        residents.name_document(before, old_name, sealer=sealer)
        residents.name_document(document, None, sealer=sealer)
        session.flush()


def _rename(
    session: Session, card: CardRow, wanted: Identity, old: Document, *, registry: Registry, now: datetime
) -> None:
    resident = residents.locked(session, card.resident_id)
    resident.name = registry.secrets.sealer.seal(wanted.name, residents.name_place(resident.id))
    facts = citizen_facts(wanted.document)
    if facts is not None:
        if resident.birth_date != facts.birth_date:
            majority.reckon(session, resident.id, facts.birth_date, now=now)
        resident.birth_date = facts.birth_date
        before = citizen_facts(old)
        if resident.sex is None or (before is not None and resident.sex == before.sex):  # else believe what was told
            resident.sex = facts.sex
    resident.version += 1
    session.flush()


def _keep_alias(session: Session, card: CardRow, account: Account, registry: Registry, now: datetime) -> None:
    ehc_id, index_id = account.ehc_id, account.index_id
    if ehc_id is None or index_id is None or card.ehc_id_index is None or card.index_id_index is None:
        raise LookupError("a formal card has ids")
    alias_id, sealer = uuid7(now), registry.secrets.sealer
    session.add(
        AliasRow(
            id=alias_id,
            card_serial=card.serial,
            ehc_id=sealer.seal(ehc_id, f"card_alias.ehc_id:{alias_id}"),
            ehc_id_index=card.ehc_id_index,
            index_id=sealer.seal(index_id, f"card_alias.index_id:{alias_id}"),
            index_id_index=card.index_id_index,
            closed_at=now,
        )
    )
    session.flush()


def _require_same_birth(person: Person, document: Document) -> None:
    facts = citizen_facts(document)
    if facts is None or person.birth_date is None or document == person.document:
        return
    if facts.birth_date != person.birth_date and person.document and citizen_facts(person.document) is None:
        message = Text(
            "该证件的出生日期与登记的不一致，请核对。",
            "The birth date in this number is not the one on record. Check both.",
        )
        raise InvalidValue.at("/id_number", "birth-date-mismatch", message)
