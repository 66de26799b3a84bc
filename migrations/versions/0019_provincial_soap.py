"""Photographs of applications, uses of plastic cards, and what the provincial interface knows of cards.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    time = sa.DateTime(timezone=True)
    # by itself, in a transaction that keeps nobody from the table: 0018 only let other words in
    op.execute("ALTER TABLE patient_id VALIDATE CONSTRAINT ck_patient_id_source")
    op.create_table(
        "photo",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("picture", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", time, nullable=False),
        sa.Column("kept_until", time, nullable=False),
        sa.CheckConstraint("kind IN ('front', 'reverse', 'face')", name=op.f("ck_photo_kind")),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_photo_card_serial_card")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_photo_client_id_client")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_photo")),
    )
    op.create_index(op.f("ix_photo_card_serial"), "photo", ["card_serial"])
    op.create_index(op.f("ix_photo_kept_until"), "photo", ["kept_until"])
    op.create_table(
        "plastic_use",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("used_at", time, nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("told", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at", time, nullable=False),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_plastic_use_card_serial_card")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_plastic_use_client_id_client")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_plastic_use_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plastic_use")),
        sa.UniqueConstraint("digest", name=op.f("uq_plastic_use_digest")),
    )
    op.create_index(op.f("ix_plastic_use_card_serial"), "plastic_use", ["card_serial"])
    op.create_table(
        "provincial_card",
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("made_at", time, nullable=True),
        sa.Column("code_at", time, nullable=True),
        sa.Column("static_at", time, nullable=True),
        sa.Column("age", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_provincial_card_card_serial_card")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_provincial_card_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("card_serial", name=op.f("pk_provincial_card")),
    )
    op.create_index(
        "ix_provincial_card_made",
        "provincial_card",
        ["institution_id", "made_at"],
        postgresql_where=sa.text("made_at IS NOT NULL"),
    )
    op.create_table(
        "provincial_change",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", time, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "number_index", name=op.f("pk_provincial_change")),
    )
    op.create_index(op.f("ix_provincial_change_made_at"), "provincial_change", ["made_at"])


def downgrade() -> None:
    for table in ("provincial_change", "provincial_card", "plastic_use", "photo"):
        op.drop_table(table)
