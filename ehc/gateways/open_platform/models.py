"""Tables of what the open platform has and `/v1` has not: its tokens, its one-time codes, and what its clients report."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class TokenRow(Base):
    """An `appToken`, of which only the SHA-256 is kept. Each lives to its own end."""

    __tablename__ = "open_platform_token"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway_account.id"), index=True)
    issued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)


class OneTimeCodeRow(Base):
    """A code that is good once, through the account that it was made for. Only its SHA-256 is kept."""

    __tablename__ = "open_platform_code"
    __table_args__ = (
        CheckConstraint("kind IN ('wechat', 'health', 'wallet')", name="kind"),
        CheckConstraint("(kind = 'wechat') = (card_serial IS NULL)", name="card"),
        Index("ix_open_platform_code_card", "card_serial", "account_id", postgresql_where=text("used_at IS NULL")),
    )

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway_account.id"), index=True)
    card_serial: Mapped[int | None] = mapped_column(ForeignKey("card.serial"))
    """The card that a `healthCode` hands over, or an order puts into the wallet."""
    issued_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class RelationRow(Base):
    """What an app said the holder is to its user (`relation`), as given: its words are not GB/T 4761's."""

    __tablename__ = "open_platform_relation"

    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway_account.id"), primary_key=True)
    card_serial: Mapped[int] = mapped_column(ForeignKey("card.serial"), primary_key=True, index=True)
    relation: Mapped[str] = mapped_column(Text)


class UseReportRow(Base):
    """A use of a card that a hospital's system reports (`reportHISData`), in its own codes. Nothing in it names anybody.

    `card_serial` is NULL where the code that was reported leads to no card here: a report is kept, never refused.
    """

    __tablename__ = "open_platform_report"
    __table_args__ = (Index("ix_open_platform_report_institution", "institution_id", "reported_at"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey("gateway_account.id"))
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"))
    card_serial: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("card.serial"), index=True)
    sandbox: Mapped[bool] = mapped_column(server_default=text("false"), default=False)
    code_kind: Mapped[str] = mapped_column(Text)
    """`static`, `dynamic`, `signed`, or `unknown`."""
    used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """As the hospital says; NULL where it says no time that can be read."""
    reported_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    hospital_code: Mapped[str] = mapped_column(Text)
    sub_hospital_code: Mapped[str] = mapped_column(Text)
    scene: Mapped[str] = mapped_column(Text)
    department: Mapped[str] = mapped_column(Text)
    card_type: Mapped[str] = mapped_column(Text)
    card_channel: Mapped[str] = mapped_column(Text)
    cost_types: Mapped[str] = mapped_column(Text)
    service_id: Mapped[str] = mapped_column(Text)


class SeenSignatureRow(Base):
    """A signature that counted once, where an account asks for that (2.3), until its time is outside the window."""

    __tablename__ = "open_platform_seen"

    hash: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
