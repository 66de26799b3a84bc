"""What two people decide, what a check may tell, and cards cancelled in great number.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "approval",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("arguments", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_reason", sa.LargeBinary(), nullable=True),
        sa.Column("outcome", postgresql.JSONB(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'approved', 'rejected', 'withdrawn', 'lapsed')", name=op.f("ck_approval_state")
        ),
        sa.CheckConstraint("(state IN ('open', 'lapsed')) = (decided_by IS NULL)", name=op.f("ck_approval_decided")),
        sa.CheckConstraint("(state = 'withdrawn') = (decided_by = proposed_by)", name=op.f("ck_approval_two_people")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
    )
    op.create_index(
        "uq_approval_open", "approval", ["kind", "subject"], unique=True, postgresql_where=sa.text("state = 'open'")
    )
    op.create_index("ix_approval_proposed_at", "approval", ["proposed_at", "id"])
    op.create_table(
        "disclosure_version",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("approval_id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=False),
        sa.Column("proposed_by", sa.Uuid(), nullable=False),
        sa.Column("approved_by", sa.Uuid(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("proposed_by <> approved_by", name=op.f("ck_disclosure_version_two_people")),
        sa.CheckConstraint("version > 0", name=op.f("ck_disclosure_version_version")),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_disclosure_version")),
        sa.UniqueConstraint("approval_id", name=op.f("uq_disclosure_version_approval_id")),
    )
    op.create_table(
        "disclosure_rule",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=True),
        sa.Column("step", sa.Text(), nullable=True),
        sa.Column("told", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=True),
        sa.Column("valid_until", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("institution_id IS NULL OR kind IS NULL", name=op.f("ck_disclosure_rule_one_scope")),
        sa.CheckConstraint("valid_from < valid_until", name=op.f("ck_disclosure_rule_some_time")),
        sa.CheckConstraint("told && ARRAY['name', 'name:masked']", name=op.f("ck_disclosure_rule_with_a_name")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_disclosure_rule_institution_id_institution")
        ),
        sa.ForeignKeyConstraint(
            ["version"], ["disclosure_version.version"], name=op.f("fk_disclosure_rule_version_disclosure_version")
        ),
        sa.PrimaryKeyConstraint("version", "position", name=op.f("pk_disclosure_rule")),
    )
    op.create_table(
        "mass_cancellation",
        sa.Column("approval_id", sa.Uuid(), nullable=False),
        sa.Column("card_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), server_default="waiting", nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('waiting', 'cancelled', 'skipped')", name=op.f("ck_mass_cancellation_state")),
        sa.ForeignKeyConstraint(
            ["approval_id"], ["approval.id"], name=op.f("fk_mass_cancellation_approval_id_approval")
        ),
        sa.PrimaryKeyConstraint("approval_id", "card_id", name=op.f("pk_mass_cancellation")),
    )
    op.add_column("verification", sa.Column("disclosure_version", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("verification", "disclosure_version")
    op.drop_table("mass_cancellation")
    op.drop_table("disclosure_rule")
    op.drop_table("disclosure_version")
    op.drop_table("approval")
