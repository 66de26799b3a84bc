"""Institutions: region, kind, state, contacts; their codes elsewhere, departments, and files of them.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

from ehc.core.tables import regions

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _regions()
    op.add_column("institution", sa.Column("region", sa.Text(), nullable=True))
    op.add_column("institution", sa.Column("kind", sa.Text(), server_default=sa.text("'other'"), nullable=False))
    op.add_column("institution", sa.Column("state", sa.Text(), server_default=sa.text("'live'"), nullable=False))
    op.add_column("institution", sa.Column("contacts", sa.LargeBinary(), nullable=True))
    op.add_column("institution", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False))
    op.create_index(op.f("ix_institution_region"), "institution", ["region"])
    op.create_foreign_key(op.f("fk_institution_region_region"), "institution", "region", ["region"], ["code"])
    op.create_check_constraint(op.f("ck_institution_state"), "institution", "state IN ('live', 'suspended', 'closed')")
    _codes()
    _departments()
    _imports()


def downgrade() -> None:
    for table in ("institution_fault", "institution_import", "department", "institution_code"):
        op.drop_table(table)
    for column in ("version", "contacts", "state", "kind", "region"):
        op.drop_column("institution", column)
    op.drop_table("region")


def _regions() -> None:
    table = op.create_table(
        "region",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["parent"], ["region.code"], name=op.f("fk_region_parent_region")),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_region")),
    )
    op.create_index(op.f("ix_region_parent"), "region", ["parent"])
    op.bulk_insert(
        table,
        [
            {"code": region.code, "name": region.name_zh, "level": region.level, "parent": region.parent}
            for region in regions().values()
        ],
    )


def _codes() -> None:
    op.create_table(
        "institution_code",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.CheckConstraint("kind IN ('ws-218', 'uscc', 'clinic', 'local')", name=op.f("ck_institution_code_kind")),
        sa.CheckConstraint(
            "valid_until IS NULL OR valid_until >= valid_from", name=op.f("ck_institution_code_in_order")
        ),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_institution_code_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_institution_code")),
    )
    op.create_index(op.f("ix_institution_code_institution_id"), "institution_code", ["institution_id"])
    live = sa.text("valid_until IS NULL")
    op.create_index(
        "uq_institution_code_live_code", "institution_code", ["kind", "code"], unique=True, postgresql_where=live
    )
    op.create_index(
        "uq_institution_code_live_kind",
        "institution_code",
        ["institution_id", "kind"],
        unique=True,
        postgresql_where=live,
    )
    op.execute("""
        INSERT INTO institution_code (id, institution_id, kind, code, valid_from)
        SELECT gen_random_uuid(), id, CASE length(code) WHEN 22 THEN 'ws-218' WHEN 18 THEN 'uscc'
            ELSE CASE WHEN code ~ '^[0-9]{12}$' THEN 'clinic' ELSE 'local' END END, code,
            (created_at AT TIME ZONE 'Asia/Shanghai')::date
        FROM institution
    """)


def _departments() -> None:
    op.create_table(
        "department",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("standard_code", sa.Text(), nullable=True),
        sa.Column("local_code", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_department_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_department")),
        sa.UniqueConstraint("institution_id", "id", name=op.f("uq_department_institution_id_id")),
        sa.ForeignKeyConstraint(
            ["institution_id", "parent_id"],
            ["department.institution_id", "department.id"],
            name="fk_department_parent_id_department",
        ),
    )
    op.create_index(
        "uq_department_live_code",
        "department",
        ["institution_id", "local_code"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )


def _imports() -> None:
    counts = ("added", "changed", "unchanged", "bad")
    op.create_table(
        "institution_import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False) for name in counts),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_institution_import")),
    )
    op.create_table(
        "institution_fault",
        sa.Column("import_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("column", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["import_id"], ["institution_import.id"], name=op.f("fk_institution_fault_import_id_institution_import")
        ),
        sa.PrimaryKeyConstraint("import_id", "line", "column", name=op.f("pk_institution_fault")),
    )
