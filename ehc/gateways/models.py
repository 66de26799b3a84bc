"""Tables of the gateways: accounts, their secrets and places, how much they are used, and their last failed calls."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class AccountRow(Base):
    """An account (接入账号) of a gateway. It stands on one app: scopes, networks, limits, grants and sandbox are the app's."""

    __tablename__ = "gateway_account"
    __table_args__ = (
        CheckConstraint("kind IN ('open-platform', 'provincial')", name="kind"),
        CheckConstraint("state IN ('live', 'suspended')", name="state"),
        CheckConstraint("window_seconds BETWEEN 30 AND 3600", name="window"),
        Index("uq_gateway_account_name", "kind", "name", unique=True),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    """`appId` or `userName`. Never another's, also when this account has long been suspended."""
    state: Mapped[str] = mapped_column(Text, server_default=text("'live'"), default="live")
    strict: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Provincial: a call with both `orgId` and `appCode` is refused."""
    replay: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    """Open platform: a signature counts once within the window."""
    window_seconds: Mapped[int] = mapped_column(server_default=text("300"), default=300)
    """Open platform: how far a timestamp may be off, either way."""
    version: Mapped[int] = mapped_column(BigInteger, server_default=text("1"), default=1)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class GatewaySecretRow(Base):
    """A secret of an account. The two slots make two live ones the most, whoever adds at one moment.

    `sealed`: an `appSecret`, which signatures are computed with. `hash`: SHA-256 of a `userPwd`.
    """

    __tablename__ = "gateway_secret"
    __table_args__ = (
        CheckConstraint("slot IN (1, 2)", name="slot"),
        CheckConstraint("num_nonnulls(sealed, hash) = 1", name="one_form"),
        Index("uq_gateway_secret_live", "account_id", "slot", unique=True, postgresql_where=text("ended_at IS NULL")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway_account.id"), index=True)
    slot: Mapped[int] = mapped_column(SmallInteger)
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    """`gateway_secret.sealed:{id}`."""
    hash: Mapped[bytes | None] = mapped_column(LargeBinary)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ends_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class PlaceRow(Base):
    """An outside code that an account may call with, and the institution that it means."""

    __tablename__ = "gateway_place"
    __table_args__ = (
        CheckConstraint("kind IN ('hospital', 'org', 'app')", name="kind"),
        CheckConstraint("(kind = 'app') = (institution_id IS NULL)", name="institution"),
        Index("uq_gateway_place_live", "account_id", "kind", "code", unique=True, postgresql_where=text("ended_at IS NULL")),
    )  # fmt: skip

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway_account.id"), index=True)
    kind: Mapped[str] = mapped_column(Text)
    code: Mapped[str] = mapped_column(Text)
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class UseRow(Base):
    """How many calls of one hour (UTC) had this in common. `account_id` all zeros: calls of nobody we know."""

    __tablename__ = "gateway_use"
    __table_args__ = (Index("ix_gateway_use_account_id", "account_id", "hour"),)

    hour: Mapped[datetime] = mapped_column(DateTime(timezone=True), primary_key=True)
    account_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    method: Mapped[str] = mapped_column(Text, primary_key=True)
    dialect: Mapped[str] = mapped_column(Text, primary_key=True)
    """The signature profile, or how the SOAP call was written."""
    result: Mapped[str] = mapped_column(Text, primary_key=True)
    """The result code that was answered."""
    ok: Mapped[bool] = mapped_column()
    calls: Mapped[int] = mapped_column(BigInteger)
    milliseconds: Mapped[float] = mapped_column(Double)
    """In all."""
    last_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class FailureRow(Base):
    """A failed call, without what it said of anybody: members are told by their shape. The last 200 of an account are kept."""

    __tablename__ = "gateway_failure"
    __table_args__ = (Index("ix_gateway_failure_account_id", "account_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    account_id: Mapped[UUID] = mapped_column()
    kind: Mapped[str] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    method: Mapped[str] = mapped_column(Text)
    dialect: Mapped[str] = mapped_column(Text)
    result: Mapped[str] = mapped_column(Text)
    reference: Mapped[str] = mapped_column(Text)
    milliseconds: Mapped[float] = mapped_column(Double)
    trace: Mapped[dict[str, Any]] = mapped_column(JSONB)
