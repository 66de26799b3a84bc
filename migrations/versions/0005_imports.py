"""Imports: runs, their pieces, errors and uploaded parts.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "import_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=True),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("options", postgresql.JSONB(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("pieces", sa.Integer(), nullable=True),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("made", sa.BigInteger(), nullable=True),
        sa.Column("known", sa.BigInteger(), nullable=True),
        sa.Column("bad", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('receiving', 'waiting', 'running', 'done', 'failed')",
            name=op.f("ck_import_run_state"),
        ),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_import_run_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_import_run")),
    )
    op.create_index(op.f("ix_import_run_client_id"), "import_run", ["client_id"], unique=False)
    op.create_index(op.f("ix_import_run_fingerprint"), "import_run", ["fingerprint"], unique=False)
    op.create_index(
        "uq_import_run_open",
        "import_run",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "import_piece",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("made", sa.Integer(), nullable=False),
        sa.Column("known", sa.Integer(), nullable=False),
        sa.Column("bad", sa.Integer(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["import_run.id"], name=op.f("fk_import_piece_run_id_import_run")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_import_piece")),
    )
    op.create_table(
        "import_error",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["import_run.id"], name=op.f("fk_import_error_run_id_import_run")),
        sa.PrimaryKeyConstraint("run_id", "line", "position", name=op.f("pk_import_error")),
    )
    op.create_table(
        "import_part",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["import_run.id"], name=op.f("fk_import_part_run_id_import_run")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_import_part")),
    )
    op.create_table(
        "import_seen",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("index_id_index", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["import_run.id"], name=op.f("fk_import_seen_run_id_import_run")),
        sa.PrimaryKeyConstraint("run_id", "number_index", name=op.f("pk_import_seen")),
    )


def downgrade() -> None:
    for table in ("import_seen", "import_part", "import_error", "import_piece", "import_run"):
        op.drop_table(table)
