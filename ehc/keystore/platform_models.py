"""The table of what apps log people in with at the platforms."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from ehc.db import Base


class AppPlatformRow(Base):
    """An app's credentials at one platform. The secret is sealed, and given to nobody but the platform."""

    __tablename__ = "app_platform"
    __table_args__ = (CheckConstraint("platform IN ('wechat', 'alipay')", name="platform"),)

    client_id: Mapped[UUID] = mapped_column(ForeignKey("client.id"), primary_key=True)
    platform: Mapped[str] = mapped_column(Text, primary_key=True)
    appid: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """Sealed: `app_platform.secret`."""
    set_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
