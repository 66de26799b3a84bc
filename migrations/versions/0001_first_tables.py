"""First tables: keys, people, cards, clients, checks, audit.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("chain", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", "seq", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_subject"), "audit", ["subject"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("chain", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("chain", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "code_use",
        sa.Column("card_serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cti", sa.LargeBinary(), nullable=False),
        sa.Column("verification_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("card_serial", "cti", name=op.f("pk_code_use")),
    )
    op.create_index("ix_code_use_expires_at", "code_use", ["expires_at"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_table(
        "institution",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_institution")),
        sa.UniqueConstraint("code", name=op.f("uq_institution_code")),
    )
    op.create_table(
        "resident",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("phone", sa.LargeBinary(), nullable=False),
        sa.Column("phone_index", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        sa.Column("sex", sa.Text(), nullable=True),
        sa.Column("birth_date", sa.Date(), nullable=True),
        sa.Column("ethnicity", sa.Text(), nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resident")),
    )
    op.create_index(op.f("ix_resident_phone_index"), "resident", ["phone_index"], unique=False)
    op.create_table(
        "secret_key",
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version", sa.SmallInteger(), nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("purpose", "version", name=op.f("pk_secret_key")),
    )
    op.create_table(
        "signing_key",
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("wrapped_private_key", sa.LargeBinary(), nullable=False),
        sa.Column("signs_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signs_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("octet_length(id) = 8", name=op.f("ck_signing_key_id_size")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_key")),
    )
    op.create_table(
        "verification",
        sa.Column("card_serial", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("verified_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("department", sa.Text(), nullable=True),
        sa.Column("operator", sa.LargeBinary(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("disclosed", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("key_id", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("card_serial", "verified_at", "id", name=op.f("pk_verification")),
        postgresql_partition_by="RANGE (verified_at)",
    )
    op.create_table(
        "client",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("terminal_code", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind = 'app' OR (institution_id IS NOT NULL AND terminal_code IS NOT NULL AND scopes = ARRAY['verify'])",
            name=op.f("ck_client_terminal_only_verifies"),
        ),
        sa.CheckConstraint("kind IN ('app', 'terminal')", name=op.f("ck_client_kind")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_client_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client")),
        sa.UniqueConstraint("client_id", name=op.f("uq_client_client_id")),
        sa.UniqueConstraint("terminal_code", name=op.f("uq_client_terminal_code")),
    )
    op.create_index(op.f("ix_client_institution_id"), "client", ["institution_id"], unique=False)
    op.create_table(
        "identity_document",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resident_id", sa.Uuid(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("number", sa.LargeBinary(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["resident_id"], ["resident.id"], name=op.f("fk_identity_document_resident_id_resident")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_document")),
    )
    op.create_index(op.f("ix_identity_document_resident_id"), "identity_document", ["resident_id"], unique=False)
    op.create_index("uq_identity_document_number_index", "identity_document", ["number_index"], unique=True)
    op.create_table(
        "card",
        sa.Column("serial", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resident_id", sa.Uuid(), nullable=False),
        sa.Column("document_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("ehc_id", sa.LargeBinary(), nullable=False),
        sa.Column("ehc_id_index", sa.LargeBinary(), nullable=False),
        sa.Column("index_id", sa.LargeBinary(), nullable=False),
        sa.Column("index_id_index", sa.LargeBinary(), nullable=False),
        sa.Column("security_key_version", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "level IN ('self-declared', 'document-seen', 'clerk', 'external-match')", name=op.f("ck_card_level")
        ),
        sa.CheckConstraint(
            "status IN ('pending-review', 'rejected', 'active', 'suspended', 'cancelled')", name=op.f("ck_card_status")
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["identity_document.id"], name=op.f("fk_card_document_id_identity_document")
        ),
        sa.ForeignKeyConstraint(["resident_id"], ["resident.id"], name=op.f("fk_card_resident_id_resident")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_card")),
        sa.UniqueConstraint("ehc_id_index", name=op.f("uq_card_ehc_id_index")),
        sa.UniqueConstraint("id", name=op.f("uq_card_id")),
    )
    op.create_index(op.f("ix_card_document_id"), "card", ["document_id"], unique=False)
    op.create_index(op.f("ix_card_index_id_index"), "card", ["index_id_index"], unique=False)
    op.create_index(op.f("ix_card_resident_id"), "card", ["resident_id"], unique=False)
    op.create_index(
        "uq_card_live",
        "card",
        ["resident_id"],
        unique=True,
        postgresql_where="status IN ('pending-review', 'active', 'suspended')",
    )
    op.create_table(
        "card_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("old_status", sa.Text(), nullable=True),
        sa.Column("new_status", sa.Text(), nullable=False),
        sa.Column("level", sa.Text(), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_card_event_card_serial_card")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_event")),
    )
    op.create_index(op.f("ix_card_event_card_serial"), "card_event", ["card_serial"], unique=False)
    op.create_table(
        "card_grant",
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_card_grant_card_serial_card")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_card_grant_client_id_client")),
        sa.PrimaryKeyConstraint("card_serial", "client_id", name=op.f("pk_card_grant")),
    )
    op.execute("CREATE TABLE verification_default PARTITION OF verification DEFAULT")
    op.execute(
        "INSERT INTO audit_head (chain, seq, hash) SELECT n, 0, decode(repeat('00', 32), 'hex') FROM generate_series(0, 63) n"
    )


def downgrade() -> None:
    for table in (
        "card_grant",
        "card_event",
        "card",
        "identity_document",
        "client",
        "verification",
        "signing_key",
        "secret_key",
        "resident",
        "institution",
        "idempotency",
        "code_use",
        "audit_head",
        "audit",
    ):
        op.drop_table(table)
