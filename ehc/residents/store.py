"""People and their documents: sealed on the way in, opened on the way out. Nothing here commits."""

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.core.documents import Document
from ehc.core.ids import uuid7
from ehc.crypto.sealed import BlindIndex, Sealer
from ehc.residents.models import DocumentRow, ResidentRow


@dataclass(frozen=True)
class Person:
    """What is known of a resident, in clear and in normal form. `sex` and `ethnicity` are codes of the national tables."""

    name: str
    phone: str
    document: Document
    sex: str | None = None
    birth_date: date | None = None
    ethnicity: str | None = None
    address: str | None = None


def add(session: Session, person: Person, *, sealer: Sealer, blind_index: BlindIndex, at: datetime) -> DocumentRow:
    """Store a person and the document that proves them. Raises `IntegrityError` if the document is known already."""
    resident_id, document_id = uuid7(at), uuid7(at)
    session.add(
        ResidentRow(
            id=resident_id,
            name=sealer.seal(person.name, name_place(resident_id)),
            phone=sealer.seal(person.phone, _place("phone", resident_id)),
            phone_index=blind_index.of("phone", person.phone),
            address=person.address and sealer.seal(person.address, _place("address", resident_id)),
            sex=person.sex,
            birth_date=person.birth_date,
            ethnicity=person.ethnicity,
            created_at=at,
        )
    )
    session.flush()
    row = DocumentRow(
        id=document_id,
        resident_id=resident_id,
        type=person.document.type,
        number=sealer.seal(person.document.number, _number_place(document_id)),
        number_index=number_index(blind_index, person.document),
        created_at=at,
    )
    session.add(row)
    session.flush()
    return row


def find(session: Session, document: Document, *, blind_index: BlindIndex) -> DocumentRow | None:
    """The stored document with this type and number, if any."""
    index = number_index(blind_index, document)
    return session.scalars(select(DocumentRow).where(DocumentRow.number_index == index)).one_or_none()


def open_person(resident: ResidentRow, document: DocumentRow, *, sealer: Sealer) -> Person:
    """A stored person in clear. Raises `SealBroken` if a value was altered or moved."""
    return Person(
        name=sealer.unseal(resident.name, name_place(resident.id)),
        phone=sealer.unseal(resident.phone, _place("phone", resident.id)),
        document=Document(document.type, sealer.unseal(document.number, _number_place(document.id))),
        sex=resident.sex,
        birth_date=resident.birth_date,
        ethnicity=resident.ethnicity,
        address=sealer.unseal(resident.address, _place("address", resident.id)) if resident.address else None,
    )


def number_index(blind_index: BlindIndex, document: Document) -> bytes:
    """The blind index of a document: type and number together, so equal numbers of two types are two people."""
    return blind_index.of("identity-document", f"{document.type}:{document.number}")


def name_place(resident_id: UUID) -> str:
    """Where a resident's name is sealed."""
    return _place("name", resident_id)


def _place(column: str, resident_id: UUID) -> str:
    return f"resident.{column}:{resident_id}"


def _number_place(document_id: UUID) -> str:
    return f"identity_document.number:{document_id}"
