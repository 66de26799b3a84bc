"""Apps: their states, secrets, keys and limits; and a world of its own for those that try things out.

Secrets move from `client` to a table of their own, so that two can live side by side while one replaces the other.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    op.add_column("client", sa.Column("sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("card", sa.Column("sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.create_table(
        "app",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_scopes", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("networks", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=True),
        sa.Column("per_day", sa.Integer(), nullable=True),
        sa.Column("made_by", sa.Text(), nullable=False),
        sa.Column("approved_by", sa.Text(), nullable=True),
        sa.Column("approved_at", time, nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("state IN ('draft', 'approved', 'live', 'suspended')", name=op.f("ck_app_state")),
        sa.CheckConstraint("approved_by IS NULL OR approved_by <> made_by", name=op.f("ck_app_two_people")),
        sa.CheckConstraint("per_minute > 0 AND per_day > 0", name=op.f("ck_app_limits")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_app_client_id_client")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_app")),
    )
    op.execute(
        "INSERT INTO app (client_id, state, made_by) SELECT id, 'live', 'operator' FROM client WHERE kind = 'app'"
    )
    op.create_table(
        "client_secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.SmallInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("ends_at", time, nullable=True),
        sa.Column("ended_at", time, nullable=True),
        sa.CheckConstraint("slot IN (1, 2)", name=op.f("ck_client_secret_slot")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_client_secret_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_secret")),
    )
    op.create_index(op.f("ix_client_secret_client_id"), "client_secret", ["client_id"])
    live = sa.text("ended_at IS NULL")
    op.create_index("uq_client_secret_live", "client_secret", ["client_id", "slot"], unique=True, postgresql_where=live)
    op.execute(
        "INSERT INTO client_secret (id, client_id, slot, hash, created_at)"
        " SELECT id, id, 1, secret_hash, created_at FROM client"
    )
    op.drop_column("client", "secret_hash")
    op.create_table(
        "app_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("thumbprint", sa.Text(), nullable=False),
        sa.Column("jwk", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("ended_at", time, nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_app_key_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_key")),
    )
    op.create_index(op.f("ix_app_key_client_id"), "app_key", ["client_id"])
    op.create_index("uq_app_key_live", "app_key", ["client_id", "thumbprint"], unique=True, postgresql_where=live)
    op.create_table(
        "app_jwks",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("keys", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
        sa.Column("fetched_at", time, nullable=True),
        sa.Column("tried_at", time, nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_app_jwks_client_id_client")),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_app_jwks")),
    )


def downgrade() -> None:
    op.drop_table("app_jwks")
    op.drop_table("app_key")
    op.add_column("client", sa.Column("secret_hash", sa.LargeBinary(), nullable=True))
    # Of two live secrets the newest stays; a client without one gets a hash that no secret has.
    op.execute(
        "UPDATE client SET secret_hash = coalesce((SELECT hash FROM client_secret AS held"
        " WHERE held.client_id = client.id AND held.ended_at IS NULL ORDER BY created_at DESC LIMIT 1), '\\x00')"
    )
    op.alter_column("client", "secret_hash", nullable=False)
    op.drop_table("client_secret")
    op.execute("UPDATE client SET disabled_at = now() FROM app WHERE app.client_id = client.id AND app.state <> 'live'")
    op.drop_table("app")
    op.drop_column("card", "sandbox")
    op.drop_column("client", "sandbox")
