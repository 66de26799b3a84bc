"""Counts of checks by the hour, and what tells which hours are to be counted again.

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
        sa.PrimaryKeyConstraint("hour", "institution_id", "step", "channel", "outcome", name=op.f("pk_usage_hour")),
    )
    op.create_table(
        "usage_touched",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_usage_touched")),
    )
    op.create_index(op.f("ix_usage_touched_hour"), "usage_touched", ["hour"])
    op.create_table(
        "usage_run",
        sa.Column("next_xid", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("next_xid", "at", name=op.f("pk_usage_run")),
    )
    _late()


def downgrade() -> None:
    op.execute("DROP TRIGGER usage_late ON verification")
    op.execute("DROP FUNCTION usage_late()")
    for table in ("usage_run", "usage_touched", "usage_hour"):
        op.drop_table(table)


def _late() -> None:
    """A check that is written ten minutes after it was made leaves a note. Of any other, only the comparison is made."""
    op.execute("""
        CREATE FUNCTION usage_late() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO usage_touched (hour) VALUES (date_trunc('hour', NEW.verified_at, 'UTC'));
            RETURN NULL;
        END $$
    """)
    op.execute("""
        CREATE TRIGGER usage_late AFTER INSERT ON verification FOR EACH ROW
        WHEN (NEW.verified_at < clock_timestamp() - interval '10 minutes') EXECUTE FUNCTION usage_late()
    """)
