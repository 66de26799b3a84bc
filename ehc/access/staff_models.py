"""Tables of the staff and of who is logged in."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, DateTime, ForeignKey, Integer, LargeBinary, Text, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class StaffRow(Base):
    """One person of the staff, with the roles they hold and the branch they hold them for."""

    __tablename__ = "staff"
    __table_args__ = (
        CheckConstraint(
            "NOT (roles && ARRAY['system-admin', 'security-admin', 'audit-admin']) OR cardinality(roles) = 1",
            name="three_apart",
        ),
        CheckConstraint("region IS NULL OR institution_id IS NULL", name="one_branch"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    login: Mapped[str] = mapped_column(Text, unique=True)
    """Lower case; what they type."""
    name: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: `staff.name:ID`."""
    roles: Mapped[list[str]] = mapped_column(ARRAY(Text))
    """Those in effect: none until a security administrator has granted them."""
    region: Mapped[str | None] = mapped_column(Text)
    institution_id: Mapped[UUID | None] = mapped_column(ForeignKey("institution.id"), index=True)
    limited: Mapped[bool] = mapped_column(Boolean, server_default=text("true"), default=True)
    """Has still to change the first password and to set up the second factor."""
    set_up_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    """When they last finished that; null until then and after a reset."""
    demo: Mapped[bool] = mapped_column(Boolean, server_default=text("false"), default=False)
    """Made by `make run`, with secrets in a file: cannot log in anywhere else."""
    version: Mapped[int] = mapped_column(Integer, server_default=text("1"), default=1)
    disabled_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class StaffSessionRow(Base):
    """One log-in. Only a hash of its token is kept. `fresh_at` is when they last proved who they are in it."""

    __tablename__ = "staff_session"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    staff_id: Mapped[UUID] = mapped_column(ForeignKey("staff.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    seen_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    fresh_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
