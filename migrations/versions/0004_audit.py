"""Audit: the method of each link, ties, and triggers that let the log only grow.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # a constant default: no row is rewritten, and workers of the version before go on adding theirs
    op.add_column("audit", sa.Column("method", sa.Text(), server_default="sha256", nullable=False))
    op.create_table(
        "audit_tie",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_tie")),
    )
    op.execute("""
        CREATE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE insufficient_privilege USING MESSAGE = format('%s refused: %I only grows', TG_OP, TG_TABLE_NAME);
        END $$
    """)
    for table in ("audit", "audit_tie"):
        op.execute(f"""
            CREATE TRIGGER {table}_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
            FOR EACH STATEMENT EXECUTE FUNCTION audit_only_grows()
        """)
        # also where session_replication_role = replica switches ordinary triggers off
        op.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_only_grows")
    op.execute("""
        CREATE FUNCTION verification_partition(name text, since timestamptz, until timestamptz) RETURNS void
        LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
        BEGIN
            IF name !~ '^verification_y[0-9]{4}m[0-9]{2}$' THEN
                RAISE invalid_parameter_value;
            END IF;
            EXECUTE format('CREATE TABLE %I (LIKE verification INCLUDING ALL)', name);
            EXECUTE format('WITH moved AS (DELETE FROM verification_default WHERE verified_at >= $1 AND verified_at < $2 '
                           'RETURNING *) INSERT INTO %I SELECT * FROM moved', name) USING since, until;
            EXECUTE format('ALTER TABLE verification ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, since, until);
        END $$
    """)
    op.execute("REVOKE EXECUTE ON FUNCTION verification_partition FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION verification_partition")
    op.execute("DROP TRIGGER audit_only_grows ON audit")
    op.drop_table("audit_tie")
    op.execute("DROP FUNCTION audit_only_grows()")
    op.drop_column("audit", "method")
