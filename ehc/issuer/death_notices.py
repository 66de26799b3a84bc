"""Whether the authority told of somebody's death before anybody applied for them (`ehc/issuer/deaths.py` keeps that)."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.core.documents import Document
from ehc.crypto.sealed import BlindIndex
from ehc.issuer.models import DeathRow
from ehc.residents import store as residents


def told_of(session: Session, document: Document, *, blind_index: BlindIndex) -> bool:
    """Whether a death notice is kept for this document."""
    index = residents.number_index(blind_index, document)
    return session.scalar(select(DeathRow.noted_at).where(DeathRow.number_index == index)) is not None
