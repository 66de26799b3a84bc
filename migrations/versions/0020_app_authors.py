"""Who made or changed what waits for approval at an app: none of them approves it.

Revision ID: 0020
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("app", sa.Column("authors", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.create_check_constraint(op.f("ck_app_no_author"), "app", "approved_by <> ALL (authors)")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_app_no_author"), "app")
    op.drop_column("app", "authors")
