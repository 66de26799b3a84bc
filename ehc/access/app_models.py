"""Tables of apps: what each may do and who said so, its secrets, and its public keys, by value or by address."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, SmallInteger, Text, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class AppRow(Base):
    """What is asked and allowed of an app, beside its row in `client`.

    `made_by` made the draft, or asked last for other scopes; `authors` are all who had a hand in what was approved last, or
    waits to be. None of them approves it.
    """

    __tablename__ = "app"
    __table_args__ = (
        CheckConstraint("state IN ('draft', 'approved', 'live', 'suspended')", name="state"),
        CheckConstraint("approved_by IS NULL OR approved_by <> made_by", name="two_people"),
        CheckConstraint("approved_by <> ALL (authors)", name="no_author"),
        CheckConstraint("per_minute > 0 AND per_day > 0", name="limits"),
    )

    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    asked_scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))
    """Scopes of a live app that wait for approval; until then it goes on with those it has."""
    networks: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    """From where it may call; empty: from anywhere."""
    per_minute: Mapped[int | None] = mapped_column()
    per_day: Mapped[int | None] = mapped_column()
    """Its own limits, where they differ from those of the deployment."""
    made_by: Mapped[str] = mapped_column(Text)
    authors: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default="{}", default=list)
    approved_by: Mapped[str | None] = mapped_column(Text)
    approved_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"), default=1)


class SecretRow(Base):
    """A secret of a client; only its hash is kept. The two slots make two live ones the most, whoever adds at one moment."""

    __tablename__ = "client_secret"
    __table_args__ = (
        CheckConstraint("slot IN (1, 2)", name="slot"),
        Index("uq_client_secret_live", "client_id", "slot", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), index=True)
    slot: Mapped[int] = mapped_column(SmallInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class AppKeyRow(Base):
    """A public key of an app, by value: what `private_key_jwt` is checked with."""

    __tablename__ = "app_key"
    __table_args__ = (
        Index("uq_app_key_live", "client_id", "thumbprint", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), index=True)
    thumbprint: Mapped[str] = mapped_column(Text)
    jwk: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class AppJwksRow(Base):
    """Where an app publishes its keys, and what was found there last. `tried_at` holds all workers to one try a minute."""

    __tablename__ = "app_jwks"

    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    url: Mapped[str] = mapped_column(Text)
    keys: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, server_default=text("'[]'"), default=list)
    fetched_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    tried_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
