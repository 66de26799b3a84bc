"""Accounts: families, consents, proofs, corrections; lost, temporary and joined cards; remembered and printed codes.

Revision ID: 0002
Revises: 0001

Going back fails while there are temporary or lost cards, or people without a phone: the old tables cannot hold them.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CHECKS = {
    "status": "status IN ('pending-review', 'rejected', 'active', 'suspended', 'lost', 'cancelled')",
    "level": "level IN ('none', 'self-declared', 'document-seen', 'clerk', 'external-match')",
    "kind": "kind IN ('formal', 'temporary')",
    "cause": "cause IN ('cancelled', 'closed', 'deceased', 'joined', 'expired')",
    "cancelled_for_a_cause": "(status = 'cancelled') = (cause IS NOT NULL)",
    "whole": "CASE kind WHEN 'formal' THEN num_nulls(document_id, ehc_id, ehc_id_index, index_id, index_id_index) = 0"
    " ELSE level = 'none' AND expires_at IS NOT NULL AND temporary_index IS NOT NULL END",
}


def upgrade() -> None:
    op.drop_constraint("ck_card_level", "card")
    op.drop_constraint("ck_card_status", "card")
    op.drop_index("uq_card_live", "card")
    op.drop_index("uq_identity_document_number_index", "identity_document")
    op.create_table(
        "death_notice_cursor",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("cursor", sa.Text(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_death_notice_cursor_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_death_notice_cursor")),
    )
    op.create_table(
        "death_notice",
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("notice_id", sa.Text(), nullable=False),
        sa.Column("noted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number_index", name=op.f("pk_death_notice")),
    )
    op.create_table(
        "national_code",
        sa.Column("text_index", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("key_version", sa.SmallInteger(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uses", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("max_uses", sa.SmallInteger(), nullable=False),
        sa.Column("last_use_id", sa.Uuid(), nullable=True),
        sa.Column("last_use_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_use_client", sa.Uuid(), nullable=True),
        sa.Column("last_use_step", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("device_index", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("text_index", name=op.f("pk_national_code")),
    )
    op.create_index("ix_national_code_card_serial_seq", "national_code", ["card_serial", "seq"], unique=False)
    op.create_index(op.f("ix_national_code_expires_at"), "national_code", ["expires_at"], unique=False)
    op.create_table(
        "family_link",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("guardian_id", sa.Uuid(), nullable=False),
        sa.Column("member_id", sa.Uuid(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_for", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["guardian_id"], ["resident.id"], name=op.f("fk_family_link_guardian_id_resident")),
        sa.ForeignKeyConstraint(["member_id"], ["resident.id"], name=op.f("fk_family_link_member_id_resident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_family_link")),
    )
    op.create_index(op.f("ix_family_link_guardian_id"), "family_link", ["guardian_id"], unique=False)
    op.create_index(op.f("ix_family_link_member_id"), "family_link", ["member_id"], unique=False)
    op.create_index(
        "uq_family_link_live",
        "family_link",
        ["guardian_id", "member_id"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "consent",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resident_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("text_version", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_consent_client_id_client")),
        sa.ForeignKeyConstraint(["resident_id"], ["resident.id"], name=op.f("fk_consent_resident_id_resident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent")),
    )
    op.create_index(op.f("ix_consent_resident_id"), "consent", ["resident_id"], unique=False)
    op.create_index(
        "uq_consent_live",
        "consent",
        ["resident_id", "purpose", "client_id"],
        unique=True,
        postgresql_where=sa.text("withdrawn_at IS NULL"),
    )
    op.create_table(
        "phone_proof",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("phone", sa.LargeBinary(), nullable=False),
        sa.Column("phone_index", sa.LargeBinary(), nullable=False),
        sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("proved_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_phone_proof_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_phone_proof")),
    )
    op.create_index("ix_phone_proof_client_id_sent_at", "phone_proof", ["client_id", "sent_at"], unique=False)
    op.create_index("ix_phone_proof_phone_index_sent_at", "phone_proof", ["phone_index", "sent_at"], unique=False)
    op.create_index(op.f("ix_phone_proof_sent_at"), "phone_proof", ["sent_at"], unique=False)
    op.create_table(
        "card_alias",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("ehc_id", sa.LargeBinary(), nullable=False),
        sa.Column("ehc_id_index", sa.LargeBinary(), nullable=False),
        sa.Column("index_id", sa.LargeBinary(), nullable=False),
        sa.Column("index_id_index", sa.LargeBinary(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_card_alias_card_serial_card")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_card_alias")),
    )
    op.create_index(op.f("ix_card_alias_card_serial"), "card_alias", ["card_serial"], unique=False)
    op.create_index(op.f("ix_card_alias_ehc_id_index"), "card_alias", ["ehc_id_index"], unique=False)
    op.create_index(op.f("ix_card_alias_index_id_index"), "card_alias", ["index_id_index"], unique=False)
    op.create_table(
        "correction",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("wanted", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_correction_card_serial_card")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_correction_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_correction")),
    )
    op.create_index(op.f("ix_correction_card_serial"), "correction", ["card_serial"], unique=False)
    op.create_index(
        "ix_correction_open", "correction", ["asked_at"], unique=False, postgresql_where=sa.text("decided_at IS NULL")
    )
    op.create_table(
        "identity_proof",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("finding", sa.Text(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=True),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_identity_proof_card_serial_card")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identity_proof")),
    )
    op.create_index(op.f("ix_identity_proof_card_serial"), "identity_proof", ["card_serial"], unique=False)
    op.create_index(
        "ix_identity_proof_waiting",
        "identity_proof",
        ["asked_at"],
        unique=False,
        postgresql_where=sa.text("finding IS NULL"),
    )
    op.create_table(
        "printed_code",
        sa.Column("cti", sa.LargeBinary(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("layout", sa.Text(), nullable=False),
        sa.Column("printed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("refusal", sa.Text(), nullable=True),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wrong_in_all", sa.SmallInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_printed_code_card_serial_card")),
        sa.PrimaryKeyConstraint("cti", name=op.f("pk_printed_code")),
    )
    op.create_index(op.f("ix_printed_code_card_serial"), "printed_code", ["card_serial"], unique=False)
    op.create_index(
        "uq_printed_code_live",
        "printed_code",
        ["card_serial"],
        unique=True,
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.add_column("card", sa.Column("kind", sa.Text(), server_default="formal", nullable=False))
    op.add_column("card", sa.Column("cause", sa.Text(), nullable=True))
    op.add_column("card", sa.Column("held_by", sa.Text(), nullable=True))
    op.add_column("card", sa.Column("codes_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("card", sa.Column("static_allowed", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("card", sa.Column("static_wrong", sa.SmallInteger(), server_default="0", nullable=False))
    op.add_column("card", sa.Column("sharing", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("card", sa.Column("guardian_id", sa.Uuid(), nullable=True))
    op.add_column("card", sa.Column("guardian_relation", sa.Text(), nullable=True))
    op.add_column("card", sa.Column("guardian_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("card", sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("card", sa.Column("visit_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("card", sa.Column("temporary_index", sa.LargeBinary(), nullable=True))
    op.add_column("card", sa.Column("joined_to", sa.BigInteger(), nullable=True))
    op.alter_column("card", "document_id", existing_type=sa.UUID(), nullable=True)
    op.alter_column("card", "ehc_id", existing_type=postgresql.BYTEA(), nullable=True)
    op.alter_column("card", "ehc_id_index", existing_type=postgresql.BYTEA(), nullable=True)
    op.alter_column("card", "index_id", existing_type=postgresql.BYTEA(), nullable=True)
    op.alter_column("card", "index_id_index", existing_type=postgresql.BYTEA(), nullable=True)
    op.create_index(
        "ix_card_expires_at",
        "card",
        ["expires_at"],
        unique=False,
        postgresql_where=sa.text("expires_at IS NOT NULL AND cause IS NULL"),
    )
    op.create_index(
        "ix_card_guardian_id",
        "card",
        ["guardian_id"],
        unique=False,
        postgresql_where=sa.text("guardian_id IS NOT NULL"),
    )
    op.create_index(
        "ix_card_joined_to", "card", ["joined_to"], unique=False, postgresql_where=sa.text("joined_to IS NOT NULL")
    )
    op.create_index(
        "ix_card_pending", "card", ["serial"], unique=False, postgresql_where=sa.text("status = 'pending-review'")
    )
    op.create_unique_constraint(op.f("uq_card_temporary_index"), "card", ["temporary_index"])
    op.create_foreign_key(op.f("fk_card_joined_to_card"), "card", "card", ["joined_to"], ["serial"])
    op.create_foreign_key(op.f("fk_card_guardian_id_resident"), "card", "resident", ["guardian_id"], ["id"])
    op.add_column("card_event", sa.Column("action", sa.Text(), server_default="moved", nullable=False))
    op.add_column("card_event", sa.Column("clerk", sa.LargeBinary(), nullable=True))
    op.add_column("card_event", sa.Column("changed", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.add_column("card_event", sa.Column("party", sa.Text(), server_default="resident", nullable=False))
    op.add_column("card_grant", sa.Column("link_id", sa.Uuid(), nullable=True))
    op.add_column("card_grant", sa.Column("until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("card_grant", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_card_grant_link_id"), "card_grant", ["link_id"], unique=False)
    op.create_foreign_key(op.f("fk_card_grant_link_id_family_link"), "card_grant", "family_link", ["link_id"], ["id"])
    op.add_column("identity_document", sa.Column("name", sa.LargeBinary(), nullable=True))
    op.add_column("identity_document", sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "institution", sa.Column("static_allowed", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("resident", sa.Column("phone_proved_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "resident", sa.Column("phone_by_guardian", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    )
    op.add_column("resident", sa.Column("employer", sa.LargeBinary(), nullable=True))
    op.add_column("resident", sa.Column("birth_order", sa.SmallInteger(), nullable=True))
    op.add_column("resident", sa.Column("erase_after", sa.Date(), nullable=True))
    op.alter_column("resident", "phone", existing_type=postgresql.BYTEA(), nullable=True)
    op.alter_column("resident", "phone_index", existing_type=postgresql.BYTEA(), nullable=True)
    op.create_index(
        "ix_resident_erase_after",
        "resident",
        ["erase_after"],
        unique=False,
        postgresql_where=sa.text("erase_after IS NOT NULL"),
    )
    op.execute("UPDATE card SET cause = 'cancelled' WHERE status = 'cancelled'")
    for name, rule in _CHECKS.items():
        op.create_check_constraint(op.f(f"ck_card_{name}"), "card", rule)
    op.create_check_constraint(
        op.f("ck_card_event_party"), "card_event", "party IN ('resident', 'guardian', 'staff', 'authority', 'system')"
    )
    op.create_index(
        "uq_card_live",
        "card",
        ["resident_id"],
        unique=True,
        postgresql_where="status IN ('pending-review', 'active', 'suspended', 'lost')",
    )
    op.create_index(
        "uq_identity_document_number_index",
        "identity_document",
        ["number_index"],
        unique=True,
        postgresql_where="closed_at IS NULL",
    )
    op.add_column("verification", sa.Column("assurance", sa.Text(), nullable=True))
    op.add_column("verification", sa.Column("wrong_tries", sa.SmallInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("verification", "wrong_tries")
    op.drop_column("verification", "assurance")
    op.drop_index("uq_identity_document_number_index", "identity_document")
    op.drop_index("uq_card_live", "card")
    op.drop_constraint("ck_card_event_party", "card_event")
    for name in _CHECKS:
        op.drop_constraint(f"ck_card_{name}", "card")
    op.drop_index("ix_resident_erase_after", table_name="resident", postgresql_where=sa.text("erase_after IS NOT NULL"))
    op.alter_column("resident", "phone_index", existing_type=postgresql.BYTEA(), nullable=False)
    op.alter_column("resident", "phone", existing_type=postgresql.BYTEA(), nullable=False)
    op.drop_column("resident", "erase_after")
    op.drop_column("resident", "birth_order")
    op.drop_column("resident", "employer")
    op.drop_column("resident", "phone_by_guardian")
    op.drop_column("resident", "phone_proved_at")
    op.drop_column("institution", "static_allowed")
    op.drop_column("identity_document", "closed_at")
    op.drop_column("identity_document", "name")
    op.drop_constraint(op.f("fk_card_grant_link_id_family_link"), "card_grant", type_="foreignkey")
    op.drop_index(op.f("ix_card_grant_link_id"), table_name="card_grant")
    op.drop_column("card_grant", "closed_at")
    op.drop_column("card_grant", "until")
    op.drop_column("card_grant", "link_id")
    op.drop_column("card_event", "party")
    op.drop_column("card_event", "changed")
    op.drop_column("card_event", "clerk")
    op.drop_column("card_event", "action")
    op.drop_constraint(op.f("fk_card_guardian_id_resident"), "card", type_="foreignkey")
    op.drop_constraint(op.f("fk_card_joined_to_card"), "card", type_="foreignkey")
    op.drop_constraint(op.f("uq_card_temporary_index"), "card", type_="unique")
    op.drop_index("ix_card_pending", table_name="card", postgresql_where=sa.text("status = 'pending-review'"))
    op.drop_index("ix_card_joined_to", table_name="card", postgresql_where=sa.text("joined_to IS NOT NULL"))
    op.drop_index("ix_card_guardian_id", table_name="card", postgresql_where=sa.text("guardian_id IS NOT NULL"))
    op.drop_index(
        "ix_card_expires_at", table_name="card", postgresql_where=sa.text("expires_at IS NOT NULL AND cause IS NULL")
    )
    op.alter_column("card", "index_id_index", existing_type=postgresql.BYTEA(), nullable=False)
    op.alter_column("card", "index_id", existing_type=postgresql.BYTEA(), nullable=False)
    op.alter_column("card", "ehc_id_index", existing_type=postgresql.BYTEA(), nullable=False)
    op.alter_column("card", "ehc_id", existing_type=postgresql.BYTEA(), nullable=False)
    op.alter_column("card", "document_id", existing_type=sa.UUID(), nullable=False)
    op.drop_column("card", "joined_to")
    op.drop_column("card", "temporary_index")
    op.drop_column("card", "visit_at")
    op.drop_column("card", "expires_at")
    op.drop_column("card", "guardian_until")
    op.drop_column("card", "guardian_relation")
    op.drop_column("card", "guardian_id")
    op.drop_column("card", "sharing")
    op.drop_column("card", "static_wrong")
    op.drop_column("card", "static_allowed")
    op.drop_column("card", "codes_since")
    op.drop_column("card", "held_by")
    op.drop_column("card", "cause")
    op.drop_column("card", "kind")
    op.drop_index("uq_printed_code_live", table_name="printed_code", postgresql_where=sa.text("revoked_at IS NULL"))
    op.drop_index(op.f("ix_printed_code_card_serial"), table_name="printed_code")
    op.drop_table("printed_code")
    op.drop_index("ix_identity_proof_waiting", table_name="identity_proof", postgresql_where=sa.text("finding IS NULL"))
    op.drop_index(op.f("ix_identity_proof_card_serial"), table_name="identity_proof")
    op.drop_table("identity_proof")
    op.drop_index("ix_correction_open", table_name="correction", postgresql_where=sa.text("decided_at IS NULL"))
    op.drop_index(op.f("ix_correction_card_serial"), table_name="correction")
    op.drop_table("correction")
    op.drop_index(op.f("ix_card_alias_index_id_index"), table_name="card_alias")
    op.drop_index(op.f("ix_card_alias_ehc_id_index"), table_name="card_alias")
    op.drop_index(op.f("ix_card_alias_card_serial"), table_name="card_alias")
    op.drop_table("card_alias")
    op.drop_index(op.f("ix_phone_proof_sent_at"), table_name="phone_proof")
    op.drop_index("ix_phone_proof_phone_index_sent_at", table_name="phone_proof")
    op.drop_index("ix_phone_proof_client_id_sent_at", table_name="phone_proof")
    op.drop_table("phone_proof")
    op.drop_index("uq_consent_live", table_name="consent", postgresql_where=sa.text("withdrawn_at IS NULL"))
    op.drop_index(op.f("ix_consent_resident_id"), table_name="consent")
    op.drop_table("consent")
    op.drop_index("uq_family_link_live", table_name="family_link", postgresql_where=sa.text("ended_at IS NULL"))
    op.drop_index(op.f("ix_family_link_member_id"), table_name="family_link")
    op.drop_index(op.f("ix_family_link_guardian_id"), table_name="family_link")
    op.drop_table("family_link")
    op.drop_index(op.f("ix_national_code_expires_at"), table_name="national_code")
    op.drop_index("ix_national_code_card_serial_seq", table_name="national_code")
    op.drop_table("national_code")
    op.drop_table("death_notice")
    op.drop_table("death_notice_cursor")
    op.create_index("uq_identity_document_number_index", "identity_document", ["number_index"], unique=True)
    op.create_index(
        "uq_card_live",
        "card",
        ["resident_id"],
        unique=True,
        postgresql_where="status IN ('pending-review', 'active', 'suspended')",
    )
    op.create_check_constraint(
        op.f("ck_card_status"),
        "card",
        "status IN ('pending-review', 'rejected', 'active', 'suspended', 'cancelled')",
    )
    op.create_check_constraint(
        op.f("ck_card_level"), "card", "level IN ('self-declared', 'document-seen', 'clerk', 'external-match')"
    )
