"""Checks by hour, and what finds the checks of an hour.

Revision ID: 0015
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_hour",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("checks", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("checks > 0", name=op.f("ck_usage_hour_some")),
        sa.PrimaryKeyConstraint("hour", "institution_id", "step", "channel", "outcome", name=op.f("pk_usage_hour")),
    )
    op.create_index(
        "ix_verification_verified_at",
        "verification",
        ["verified_at"],
        postgresql_using="brin",
        postgresql_with={"pages_per_range": 32},
    )


def downgrade() -> None:
    op.drop_index("ix_verification_verified_at", "verification")
    op.drop_table("usage_hour")
