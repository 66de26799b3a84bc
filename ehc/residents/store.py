"""People and their documents: sealed on the way in, opened on the way out. Nothing here commits.

A person's row is locked after their cards, never before (docs/architecture.md, Order of locks).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.core.documents import Document, one_type
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.residents.models import DocumentRow, ResidentRow

SEALED = ("name", "phone", "address", "employer")
"""Columns of `resident` that hold sealed text."""


@dataclass(frozen=True)
class Person:
    """What is known of a resident, in clear and in normal form. `sex` and `ethnicity` are codes of the national tables."""

    name: str
    phone: str | None
    document: Document | None
    sex: str | None = None
    birth_date: date | None = None
    ethnicity: str | None = None
    address: str | None = None
    employer: str | None = None


def add(session: Session, person: Person, *, sealer: Sealer, blind_index: BlindIndex, at: datetime) -> DocumentRow:
    """Store a person and the document that proves them. Raises `IntegrityError` if the document is known already."""
    if person.document is None:
        raise ValueError("a person without a document is added by `add_unproved`")
    resident = add_unproved(session, person, sealer=sealer, blind_index=blind_index, at=at)
    return add_document(session, resident.id, person.document, sealer=sealer, blind_index=blind_index, at=at)


def add_unproved(
    session: Session, person: Person, *, sealer: Sealer, blind_index: BlindIndex, at: datetime
) -> ResidentRow:
    """Store a person whom no document proves."""
    resident_id = uuid7(at)
    row = ResidentRow(
        id=resident_id,
        **sealed(resident_id, {name: getattr(person, name) for name in SEALED}, sealer=sealer, blind_index=blind_index),
        sex=person.sex,
        birth_date=person.birth_date,
        ethnicity=person.ethnicity,
        created_at=at,
    )
    session.add(row)
    session.flush()
    return row


def add_document(
    session: Session,
    resident_id: UUID,
    document: Document,
    *,
    name: str | None = None,
    sealer: Sealer,
    blind_index: BlindIndex,
    at: datetime,
) -> DocumentRow:
    """Store another document of a person; `name` where it names them otherwise. Raises `IntegrityError` if it is known."""
    document_id = uuid7(at)
    row = DocumentRow(
        id=document_id,
        resident_id=resident_id,
        type=document.type,
        number=sealer.seal(document.number, number_place(document_id)),
        number_index=number_index(blind_index, document),
        created_at=at,
    )
    name_document(row, name, sealer=sealer)
    session.add(row)
    session.flush()
    return row


def name_document(row: DocumentRow, name: str | None, *, sealer: Sealer) -> None:
    """Write the name that a document has its holder under; None: their own."""
    row.name = sealer.seal(name, document_name_place(row.id)) if name else None


def sealed(
    resident_id: UUID, values: Mapping[str, str | None], *, sealer: Sealer, blind_index: BlindIndex
) -> dict[str, Any]:
    """Columns for texts of a person, each sealed in its place; with a phone comes its blind index."""
    columns: dict[str, Any] = {
        name: sealer.seal(value, place(name, resident_id)) if value else None for name, value in values.items()
    }
    if "phone" in values:
        columns["phone_index"] = blind_index.of("phone", values["phone"]) if values["phone"] else None
    return columns


def find(session: Session, document: Document, *, blind_index: BlindIndex) -> DocumentRow | None:
    """The stored document with this type and number, if any. One that was closed as a mistake is not found."""
    index = number_index(blind_index, document)
    wanted = select(DocumentRow).where(DocumentRow.number_index == index, DocumentRow.closed_at.is_(None))
    return session.scalars(wanted).one_or_none()


def lock(session: Session, people: Collection[UUID]) -> None:
    """Lock people's rows until the transaction ends. The caller holds their cards already."""
    held = select(ResidentRow.id).where(ResidentRow.id.in_(people)).order_by(ResidentRow.id)
    session.execute(held.with_for_update(key_share=True)).all()


def locked(session: Session, resident_id: UUID) -> ResidentRow:
    """A person's row as it is now, locked until the transaction ends. The caller holds their cards already."""
    return session.get_one(ResidentRow, resident_id, with_for_update={"key_share": True}, populate_existing=True)


def documents_of(session: Session, resident_id: UUID) -> list[DocumentRow]:
    """The documents of a person that count, the oldest first."""
    wanted = select(DocumentRow).where(DocumentRow.resident_id == resident_id, DocumentRow.closed_at.is_(None))
    return list(session.scalars(wanted.order_by(DocumentRow.created_at, DocumentRow.id)))


def open_document(row: DocumentRow, *, sealer: Sealer) -> Document:
    """A stored document in clear. Raises `SealBroken`."""
    return Document(row.type, sealer.unseal(row.number, number_place(row.id)))


def document_name(row: DocumentRow, *, sealer: Sealer) -> str | None:
    """The name that a document has its holder under, None where it is their own. Raises `SealBroken`."""
    return sealer.unseal(row.name, document_name_place(row.id)) if row.name else None


def open_person(resident: ResidentRow, document: DocumentRow | None, *, sealer: Sealer) -> Person:
    """A stored person in clear, under the name that this document has them under.

    Raises `SealBroken` if a value was altered or moved.
    """

    def unsealed(column: str) -> str | None:
        value = getattr(resident, column)
        return sealer.unseal(value, place(column, resident.id)) if value else None

    own_name = document_name(document, sealer=sealer) if document else None
    return Person(
        name=own_name or sealer.unseal(resident.name, name_place(resident.id)),
        phone=unsealed("phone"),
        document=open_document(document, sealer=sealer) if document else None,
        sex=resident.sex,
        birth_date=resident.birth_date,
        ethnicity=resident.ethnicity,
        address=unsealed("address"),
        employer=unsealed("employer"),
    )


def number_index(blind_index: BlindIndex, document: Document) -> bytes:
    """The blind index of a document: type and number together, so equal numbers of two types are two people.

    But for the birth certificate, which one province has as 08 and as 99 too (provincial SOAP 7, item 1): one newborn.
    """
    return blind_index.of("identity-document", f"{one_type(document.type, document.number)}:{document.number}")


def name_place(resident_id: UUID) -> str:
    """Where a resident's name is sealed."""
    return place("name", resident_id)


def place(column: str, resident_id: UUID) -> str:
    """Where a text of a resident is sealed."""
    return f"resident.{column}:{resident_id}"


def document_name_place(document_id: UUID) -> str:
    """Where the name in a document is sealed."""
    return f"identity_document.name:{document_id}"


def number_place(document_id: UUID) -> str:
    """Where a document's number is sealed."""
    return f"identity_document.number:{document_id}"
