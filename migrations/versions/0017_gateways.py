"""Gateways: accounts with their secrets and places, counts of calls by the hour, and the last failed calls.

Revision ID: 0017
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0017"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    live = sa.text("ended_at IS NULL")
    op.create_table(
        "gateway_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default=sa.text("'live'"), nullable=False),
        sa.Column("strict", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("replay", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("window_seconds", sa.Integer(), server_default=sa.text("300"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.CheckConstraint("kind IN ('open-platform', 'provincial')", name=op.f("ck_gateway_account_kind")),
        sa.CheckConstraint("state IN ('live', 'suspended')", name=op.f("ck_gateway_account_state")),
        sa.CheckConstraint("window_seconds BETWEEN 30 AND 3600", name=op.f("ck_gateway_account_window")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_gateway_account_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_account")),
    )
    op.create_index(op.f("ix_gateway_account_client_id"), "gateway_account", ["client_id"])
    op.create_index("uq_gateway_account_name", "gateway_account", ["kind", "name"], unique=True)
    op.create_table(
        "gateway_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("hash", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("ends_at", time, nullable=True),
        sa.Column("ended_at", time, nullable=True),
        sa.CheckConstraint("slot IN (1, 2)", name=op.f("ck_gateway_secret_slot")),
        sa.CheckConstraint("num_nonnulls(sealed, hash) = 1", name=op.f("ck_gateway_secret_one_form")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["gateway_account.id"], name=op.f("fk_gateway_secret_account_id_gateway_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_secret")),
    )
    op.create_index(op.f("ix_gateway_secret_account_id"), "gateway_secret", ["account_id"])
    op.create_index(
        "uq_gateway_secret_live", "gateway_secret", ["account_id", "slot"], unique=True, postgresql_where=live
    )
    op.create_table(
        "gateway_place",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("ended_at", time, nullable=True),
        sa.CheckConstraint("kind IN ('hospital', 'org', 'app')", name=op.f("ck_gateway_place_kind")),
        sa.CheckConstraint("(kind = 'app') = (institution_id IS NULL)", name=op.f("ck_gateway_place_institution")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["gateway_account.id"], name=op.f("fk_gateway_place_account_id_gateway_account")
        ),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_gateway_place_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_place")),
    )
    op.create_index(op.f("ix_gateway_place_account_id"), "gateway_place", ["account_id"])
    op.create_index(op.f("ix_gateway_place_institution_id"), "gateway_place", ["institution_id"])
    op.create_index(
        "uq_gateway_place_live", "gateway_place", ["account_id", "kind", "code"], unique=True, postgresql_where=live
    )
    op.create_table(
        "gateway_use",
        sa.Column("hour", time, nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=False),
        sa.Column("last_at", time, nullable=False),
        sa.PrimaryKeyConstraint(
            "hour", "account_id", "kind", "method", "dialect", "result", name=op.f("pk_gateway_use")
        ),
    )
    op.create_index("ix_gateway_use_account_id", "gateway_use", ["account_id", "hour"])
    op.create_table(
        "gateway_failure",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", time, nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("dialect", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("milliseconds", sa.Double(), nullable=False),
        sa.Column("trace", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gateway_failure")),
    )
    op.create_index("ix_gateway_failure_account_id", "gateway_failure", ["account_id", "id"])


def downgrade() -> None:
    for table in ("gateway_failure", "gateway_use", "gateway_place", "gateway_secret", "gateway_account"):
        op.drop_table(table)
