"""Residents who log in through an app: platform identities, sessions, wrong tries, and apps' credentials at the platforms.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "app_platform",
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("appid", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("platform IN ('wechat', 'alipay')", name=op.f("ck_app_platform_platform")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_app_platform_client_id_client")),
        sa.PrimaryKeyConstraint("client_id", "platform", name=op.f("pk_app_platform")),
    )
    op.create_table(
        "platform_identity",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("platform", sa.Text(), nullable=False),
        sa.Column("external_id", sa.LargeBinary(), nullable=False),
        sa.Column("external_index", sa.LargeBinary(), nullable=False),
        sa.Column("union_id", sa.LargeBinary(), nullable=True),
        sa.Column("resident_id", sa.Uuid(), nullable=True),
        sa.Column("phone_index", sa.LargeBinary(), nullable=True),
        sa.Column("linked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("platform IN ('wechat', 'alipay', 'sms')", name=op.f("ck_platform_identity_platform")),
        sa.CheckConstraint(
            "(resident_id IS NULL) = (linked_at IS NULL)", name=op.f("ck_platform_identity_linked_whole")
        ),
        sa.CheckConstraint(
            "(resident_id IS NULL) = (phone_index IS NULL)", name=op.f("ck_platform_identity_linked_by_phone")
        ),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_platform_identity_client_id_client")),
        sa.ForeignKeyConstraint(
            ["resident_id"], ["resident.id"], name=op.f("fk_platform_identity_resident_id_resident")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_platform_identity")),
        sa.UniqueConstraint(
            "client_id",
            "platform",
            "external_index",
            name=op.f("uq_platform_identity_client_id_platform_external_index"),
        ),
    )
    op.create_index(op.f("ix_platform_identity_resident_id"), "platform_identity", ["resident_id"])
    op.create_index("ix_platform_identity_seen_at", "platform_identity", ["seen_at"])
    op.create_table(
        "resident_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("identity_id", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_for", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["platform_identity.id"], name=op.f("fk_resident_session_identity_id_platform_identity")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resident_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_resident_session_token_hash")),
    )
    op.create_index("ix_resident_session_identity_id_created_at", "resident_session", ["identity_id", "created_at"])
    op.create_index(op.f("ix_resident_session_created_at"), "resident_session", ["created_at"])
    op.create_table(
        "resident_try",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resident_try")),
    )
    op.create_index("ix_resident_try_subject_at", "resident_try", ["subject", "at"])
    op.create_index(op.f("ix_resident_try_at"), "resident_try", ["at"])


def downgrade() -> None:
    op.drop_table("resident_try")
    op.drop_table("resident_session")
    op.drop_table("platform_identity")
    op.drop_table("app_platform")
