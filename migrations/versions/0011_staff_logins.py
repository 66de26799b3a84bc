"""How the staff prove who they are: passwords, second factors, tries; and roles that wait for a second person.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_APART = "NOT (roles && ARRAY['system-admin', 'security-admin', 'audit-admin']) OR cardinality(roles) = 1"


def upgrade() -> None:
    op.drop_constraint(op.f("ck_staff_some_role"), "staff")
    op.add_column("staff", sa.Column("set_up_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("staff", sa.Column("demo", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("staff", sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False))
    _make("staff_password", *_id(), *_staff("staff_password"),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        _time("expires_at", nullable=True), _time("created_at"), indexed=True)  # fmt: skip
    _make("staff_totp", *_id(), *_staff("staff_totp"),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", sa.BigInteger(), nullable=False),
        _time("confirmed_at", nullable=True), _time("created_at"))  # fmt: skip
    for name, state in (("confirmed", "confirmed_at IS NOT NULL"), ("pending", "confirmed_at IS NULL")):
        op.create_index(
            f"uq_staff_totp_{name}", "staff_totp", ["staff_id"], unique=True, postgresql_where=sa.text(state)
        )
    _make("staff_passkey", *_id(), *_staff("staff_passkey"),
        sa.Column("credential_id", sa.LargeBinary(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        _time("created_at"),
        sa.UniqueConstraint("credential_id", name=op.f("uq_staff_passkey_credential_id")), indexed=True)  # fmt: skip
    _make("staff_challenge", *_id(), *_staff("staff_challenge"),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("challenge", sa.LargeBinary(), nullable=False),
        _time("expires_at"), indexed=True)  # fmt: skip
    op.create_index(op.f("ix_staff_challenge_expires_at"), "staff_challenge", ["expires_at"])
    _make("staff_recovery_code", sa.Column("code_hash", sa.LargeBinary(), nullable=False),
        *_staff("staff_recovery_code"), key="code_hash", indexed=True)  # fmt: skip
    _make("staff_device", *_id(), *_staff("staff_device"),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        _time("expires_at"),
        sa.UniqueConstraint("token_hash", name=op.f("uq_staff_device_token_hash")), indexed=True)  # fmt: skip
    op.create_index(op.f("ix_staff_device_expires_at"), "staff_device", ["expires_at"])
    _make("staff_try", *_id(),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        _time("at"))  # fmt: skip
    op.create_index(op.f("ix_staff_try_subject_at"), "staff_try", ["subject", "at"])
    op.create_index(op.f("ix_staff_try_address_at"), "staff_try", ["address", "at"])
    op.create_index(op.f("ix_staff_try_at"), "staff_try", ["at"])
    _make_grants()


def _make_grants() -> None:
    _make("staff_grant", *_id(), *_staff("staff_grant"),
        sa.Column("roles", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("region", sa.Text(), nullable=True),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("proposed_by", sa.Uuid(), nullable=True), _time("proposed_at"),
        sa.Column("decided_by", sa.Uuid(), nullable=True), _time("decided_at", nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.CheckConstraint(_APART, name=op.f("ck_staff_grant_three_apart")),
        sa.CheckConstraint("cardinality(roles) >= 1", name=op.f("ck_staff_grant_some_role")),
        sa.CheckConstraint(
            "proposed_by <> staff_id AND decided_by <> staff_id", name=op.f("ck_staff_grant_not_own")),
        sa.CheckConstraint(
            "decided_by <> proposed_by OR outcome <> 'granted'", name=op.f("ck_staff_grant_two_people")),
        sa.CheckConstraint("(decided_at IS NULL) = (outcome IS NULL)", name=op.f("ck_staff_grant_decided")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_staff_grant_institution_id_institution")),
        sa.ForeignKeyConstraint(["proposed_by"], ["staff.id"], name=op.f("fk_staff_grant_proposed_by_staff")),
        sa.ForeignKeyConstraint(["decided_by"], ["staff.id"], name=op.f("fk_staff_grant_decided_by_staff")),
        indexed=True)  # fmt: skip
    op.create_index(
        "uq_staff_grant_open", "staff_grant", ["staff_id"], unique=True, postgresql_where=sa.text("decided_at IS NULL")
    )


def downgrade() -> None:
    for table in ("grant", "try", "device", "recovery_code", "challenge", "passkey", "totp", "password"):
        op.drop_table(f"staff_{table}")
    for column in ("version", "demo", "set_up_at"):
        op.drop_column("staff", column)
    op.create_check_constraint(
        op.f("ck_staff_some_role"), "staff", "cardinality(roles) >= 1", postgresql_not_valid=True
    )


def _make(table: str, *parts: sa.schema.SchemaItem, key: str = "id", indexed: bool = False) -> None:
    op.create_table(table, *parts, sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")))
    if indexed:
        op.create_index(op.f(f"ix_{table}_staff_id"), table, ["staff_id"])


def _id() -> tuple[sa.schema.SchemaItem, ...]:
    return (sa.Column("id", sa.Uuid(), nullable=False),)


def _staff(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("staff_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["staff_id"], ["staff.id"], name=op.f(f"fk_{table}_staff_id_staff")),
    )


def _time(name: str, *, nullable: bool = False) -> sa.schema.SchemaItem:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)
