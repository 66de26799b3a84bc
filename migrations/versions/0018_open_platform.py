"""The open platform: tokens, one-time codes, what its clients report; and patient ids bound through a hospital's own app.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_SOURCES = "source IN ('check', 'import', 'review', 'change'{})"


def upgrade() -> None:
    _codes()
    _reports()
    _allow_sources(", 'app'")


def downgrade() -> None:
    _allow_sources("")
    for table in ("report", "relation", "seen", "code", "token"):
        op.drop_table(f"open_platform_{table}")


def _codes() -> None:
    op.create_table(
        "open_platform_token",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_open_platform_token")),
        _account("open_platform_token"),
    )
    op.create_table(
        "open_platform_code",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=True),
        sa.Column("issued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('wechat', 'health', 'wallet')", name=op.f("ck_open_platform_code_kind")),
        sa.CheckConstraint("(kind = 'wechat') = (card_serial IS NULL)", name=op.f("ck_open_platform_code_card")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_open_platform_code")),
        _account("open_platform_code"),
        _card("open_platform_code"),
    )
    op.create_table(
        "open_platform_seen",
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_open_platform_seen")),
    )
    for table in ("token", "code"):
        op.create_index(op.f(f"ix_open_platform_{table}_account_id"), f"open_platform_{table}", ["account_id"])
    for table in ("token", "code", "seen"):
        op.create_index(op.f(f"ix_open_platform_{table}_expires_at"), f"open_platform_{table}", ["expires_at"])
    op.create_index(
        "ix_open_platform_code_card",
        "open_platform_code",
        ["card_serial", "account_id"],
        postgresql_where=sa.text("used_at IS NULL"),
    )


def _reports() -> None:
    op.create_table(
        "open_platform_relation",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "card_serial", name=op.f("pk_open_platform_relation")),
        _account("open_platform_relation"),
        _card("open_platform_relation"),
    )
    words = ("hospital_code", "sub_hospital_code", "scene", "department", "card_type", "card_channel", "cost_types")
    op.create_table(
        "open_platform_report",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("card_serial", sa.BigInteger(), nullable=True),
        sa.Column("sandbox", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("code_kind", sa.Text(), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reported_at", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(word, sa.Text(), nullable=False) for word in (*words, "service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_open_platform_report")),
        _account("open_platform_report"),
        _card("open_platform_report"),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_open_platform_report_institution_id_institution")
        ),
    )
    op.create_index(op.f("ix_open_platform_relation_card_serial"), "open_platform_relation", ["card_serial"])
    op.create_index(op.f("ix_open_platform_report_card_serial"), "open_platform_report", ["card_serial"])
    op.create_index(op.f("ix_open_platform_report_reported_at"), "open_platform_report", ["reported_at"])
    op.create_index("ix_open_platform_report_institution", "open_platform_report", ["institution_id", "reported_at"])


def _account(table: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_account_id_gateway_account")
    return sa.ForeignKeyConstraint(["account_id"], ["gateway_account.id"], name=name)


def _card(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f(f"fk_{table}_card_serial_card"))


def _allow_sources(more: str) -> None:
    """Not checked against the rows there are: whatever they say was allowed before."""
    op.execute("ALTER TABLE patient_id DROP CONSTRAINT ck_patient_id_source")
    op.execute(f"ALTER TABLE patient_id ADD CONSTRAINT ck_patient_id_source CHECK ({_SOURCES.format(more)}) NOT VALID")
