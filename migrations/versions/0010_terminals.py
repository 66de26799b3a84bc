"""Terminals: what they are for, their enrolment, their keys.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_KINDS = "kind IN ('window', 'kiosk', 'doctor-station', 'gate', 'mobile')"
_SOME_STEP = "steps IS NULL OR cardinality(steps) >= 1"


def _when(name: str, *, nullable: bool = True) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def _client(
    table: str, column: str = "client_id", *, nullable: bool = False
) -> tuple[sa.Column[sa.Uuid], sa.ForeignKeyConstraint]:
    name = op.f(f"fk_{table}_{column}_client")
    return sa.Column(column, sa.Uuid(), nullable=nullable), sa.ForeignKeyConstraint([column], ["client.id"], name=name)


def upgrade() -> None:
    op.create_table(
        "terminal",
        *_client("terminal"),
        sa.Column("kind", sa.Text(), server_default="window", nullable=False),
        sa.Column("department", sa.Text(), nullable=True),
        sa.Column("steps", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("revision", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("block_reason", sa.Text(), nullable=True),
        *_client("terminal", "replaced_by", nullable=True),
        sa.Column("version", sa.Text(), nullable=True),
        _when("seen_at"),
        _when("heartbeat_at"),
        sa.Column("clock_offset_ms", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_terminal_kind")),
        sa.CheckConstraint(_SOME_STEP, name=op.f("ck_terminal_some_step")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_terminal")),
    )
    op.execute("INSERT INTO terminal (client_id) SELECT id FROM client WHERE kind = 'terminal'")
    op.create_table(
        "terminal_enrolment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("selector_index", sa.LargeBinary(), nullable=True),
        sa.Column("code_index", sa.LargeBinary(), nullable=True),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("terminal_code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=True),
        sa.Column("steps", postgresql.ARRAY(sa.Text()), nullable=True),
        *_client("terminal_enrolment", "replaces", nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("made_by", sa.Text(), nullable=False),
        _when("created_at", nullable=False),
        _when("expires_at", nullable=False),
        _when("used_at"),
        _when("cancelled_at"),
        *_client("terminal_enrolment", nullable=True),
        sa.CheckConstraint(_KINDS, name=op.f("ck_terminal_enrolment_kind")),
        sa.CheckConstraint(_SOME_STEP, name=op.f("ck_terminal_enrolment_some_step")),
        sa.CheckConstraint("tries BETWEEN 0 AND 5", name=op.f("ck_terminal_enrolment_tries")),
        sa.CheckConstraint("(used_at IS NULL) = (client_id IS NULL)", name=op.f("ck_terminal_enrolment_used")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_terminal_enrolment_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_terminal_enrolment")),
        sa.UniqueConstraint("selector_index", name=op.f("uq_terminal_enrolment_selector_index")),
    )
    op.create_index(op.f("ix_terminal_enrolment_institution_id"), "terminal_enrolment", ["institution_id"])
    op.create_index(op.f("ix_terminal_enrolment_expires_at"), "terminal_enrolment", ["expires_at"])
    op.create_table(
        "terminal_release",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        _when("changed_at", nullable=False),
        sa.CheckConstraint(_KINDS, name=op.f("ck_terminal_release_kind")),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_terminal_release")),
    )
    op.create_table(
        "client_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        *_client("client_key"),
        sa.Column("thumbprint", sa.Text(), nullable=False),
        sa.Column("jwk", postgresql.JSONB(), nullable=False),
        _when("created_at", nullable=False),
        _when("ended_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_key")),
        sa.UniqueConstraint("thumbprint", name=op.f("uq_client_key_thumbprint")),
    )
    op.create_index(op.f("ix_client_key_client_id"), "client_key", ["client_id"])
    op.create_table(
        "client_assertion",
        *_client("client_assertion"),
        sa.Column("jti_hash", sa.LargeBinary(), nullable=False),
        _when("expires_at", nullable=False),
        sa.PrimaryKeyConstraint("client_id", "jti_hash", name=op.f("pk_client_assertion")),
    )
    op.create_index(op.f("ix_client_assertion_expires_at"), "client_assertion", ["expires_at"])


def downgrade() -> None:
    for table in ("client_assertion", "client_key", "terminal_release", "terminal_enrolment", "terminal"):
        op.drop_table(table)
