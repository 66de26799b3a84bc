"""Institutions: their region.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("institution", sa.Column("region", sa.Text(), nullable=True))
    op.create_index(op.f("ix_institution_region"), "institution", ["region"])


def downgrade() -> None:
    op.drop_column("institution", "region")
