"""Tables of the audit log. Triggers of migration 0004 refuse every change of `audit` and `audit_tie` but an insert."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, LargeBinary, SmallInteger, Text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class AuditHead(Base):
    """The last link of each chain. Its row lock orders the acts of a chain."""

    __tablename__ = "audit_head"

    chain: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)


class AuditRow(Base):
    """One act. `entry` is its canonical form and holds ids and outcomes, never personal data."""

    __tablename__ = "audit"

    chain: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    action: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text, index=True)
    entry: Mapped[str] = mapped_column(Text)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    method: Mapped[str] = mapped_column(Text, server_default="sha256")


class AuditTie(Base):
    """The heads of all chains at one moment, signed. `body` is the text that the signature is over."""

    __tablename__ = "audit_tie"

    seq: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    body: Mapped[str] = mapped_column(Text)
    key_id: Mapped[bytes] = mapped_column(LargeBinary)
    signature: Mapped[bytes] = mapped_column(LargeBinary)
