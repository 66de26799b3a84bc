"""Checks by hour.

Revision ID: 0015
Revises: 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0013"
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


def downgrade() -> None:
    op.drop_table("usage_hour")
