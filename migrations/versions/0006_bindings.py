"""Bindings: plastic cards and their blacklist, patient ids and lists of them, bank accounts, and the view that pays.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What a payment room may read: the default account of each active card. The token is sealed for `bank_account.token`.
_PAYABLE = """
    CREATE VIEW payable AS
    SELECT card.serial AS card_serial, card.id AS card_id, account.id AS account_id, account.payer, account.payer_id,
           account.bank, account.kind, account.token, account.single_limit, account.day_limit
    FROM bank_account AS account JOIN card ON card.serial = account.card_serial
    WHERE account.is_default AND account.state = 'bound' AND card.status = 'active'
      AND (account.payer = 'self' OR card.guardian_until IS NULL OR card.guardian_until > now())
"""


def upgrade() -> None:
    op.create_table(
        "bank_comparison",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("compared", sa.BigInteger(), nullable=False),
        sa.Column("differences", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_comparison")),
    )
    op.create_table(
        "bank_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("notices", sa.BigInteger(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_bank_day")),
    )
    op.create_table(
        "bank_notice",
        sa.Column("notice_id", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("start_request", sa.Uuid(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("happened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("notice_id", name=op.f("pk_bank_notice")),
    )
    op.create_index(op.f("ix_bank_notice_start_request"), "bank_notice", ["start_request"], unique=False)
    op.create_table(
        "plastic_blacklist",
        sa.Column("number_hash", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number_hash", name=op.f("pk_plastic_blacklist")),
    )
    op.create_index("uq_plastic_blacklist_seq", "plastic_blacklist", ["seq"], unique=True)
    op.create_index(
        "ix_plastic_blacklist_unnumbered",
        "plastic_blacklist",
        ["changed_at"],
        unique=False,
        postgresql_where=sa.text("seq IS NULL"),
    )
    op.create_table(
        "plastic_blacklist_head",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_plastic_blacklist_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plastic_blacklist_head")),
    )
    op.create_table(
        "patient_import",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("done_pieces", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("bound", sa.BigInteger(), nullable=False),
        sa.Column("known", sa.BigInteger(), nullable=False),
        sa.Column("review", sa.BigInteger(), nullable=False),
        sa.Column("bad", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_patient_import_state")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_patient_import_institution_id_institution")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_import")),
    )
    op.create_index(
        "uq_patient_import_open",
        "patient_import",
        ["fingerprint"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "patient_fault",
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["patient_import.id"], name=op.f("fk_patient_fault_run_id_patient_import")),
        sa.PrimaryKeyConstraint("run_id", "line", name=op.f("pk_patient_fault")),
    )
    op.create_table(
        "bank_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("payer", sa.Text(), nullable=False),
        sa.Column("payer_id", sa.Uuid(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=True),
        sa.Column("bank", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("last4", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("start_request", sa.Uuid(), nullable=False),
        sa.Column("confirm_request", sa.Uuid(), nullable=True),
        sa.Column("end_request", sa.Uuid(), nullable=True),
        sa.Column("token", sa.LargeBinary(), nullable=True),
        sa.Column("single_limit", sa.BigInteger(), nullable=True),
        sa.Column("day_limit", sa.BigInteger(), nullable=True),
        sa.Column("is_default", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tries", sa.SmallInteger(), nullable=False),
        sa.Column("failed_for", sa.Text(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_for", sa.Text(), nullable=True),
        sa.Column("compared_in", sa.Uuid(), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("(state = 'bound') <= (token IS NOT NULL)", name=op.f("ck_bank_account_bound_by_token")),
        sa.CheckConstraint("NOT is_default OR state = 'bound'", name=op.f("ck_bank_account_default_is_bound")),
        sa.CheckConstraint("payer IN ('self', 'guardian')", name=op.f("ck_bank_account_payer")),
        sa.CheckConstraint(
            "state IN ('starting', 'started', 'confirming', 'bound', 'ending', 'ended', 'failed')",
            name=op.f("ck_bank_account_state"),
        ),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_bank_account_card_serial_card")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_bank_account_client_id_client")),
        sa.ForeignKeyConstraint(["payer_id"], ["resident.id"], name=op.f("fk_bank_account_payer_id_resident")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bank_account")),
    )
    op.create_index(op.f("ix_bank_account_card_serial"), "bank_account", ["card_serial"], unique=False)
    op.create_index(
        "ix_bank_account_open",
        "bank_account",
        ["changed_at"],
        unique=False,
        postgresql_where="state IN ('starting', 'started', 'confirming', 'ending')",
    )
    op.create_index(op.f("ix_bank_account_payer_id"), "bank_account", ["payer_id"], unique=False)
    op.create_index(
        "uq_bank_account_card",
        "bank_account",
        ["card_serial", "number_index"],
        unique=True,
        postgresql_where="state IN ('starting', 'started', 'confirming', 'bound', 'ending')",
    )
    op.create_index(
        "uq_bank_account_default", "bank_account", ["card_serial"], unique=True, postgresql_where=sa.text("is_default")
    )
    op.create_index(
        "uq_bank_account_self",
        "bank_account",
        ["number_index"],
        unique=True,
        postgresql_where=sa.text(
            "payer = 'self' AND state IN ('starting', 'started', 'confirming', 'bound', 'ending')"
        ),
    )
    op.create_index("uq_bank_account_start", "bank_account", ["start_request"], unique=True)
    op.create_table(
        "binding_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("binding_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("party", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint(
            "kind IN ('plastic-card', 'patient-id', 'bank-account')", name=op.f("ck_binding_event_kind")
        ),
        sa.CheckConstraint(
            "party IN ('resident', 'guardian', 'staff', 'authority', 'system')", name=op.f("ck_binding_event_party")
        ),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_binding_event_card_serial_card")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_binding_event")),
    )
    op.create_index("ix_binding_event_card_serial_seq", "binding_event", ["card_serial", "seq"], unique=False)
    op.create_table(
        "patient_id",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("id_type", sa.Text(), nullable=False),
        sa.Column("number", sa.LargeBinary(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("verification_id", sa.Uuid(), nullable=True),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_for", sa.Text(), nullable=True),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.CheckConstraint("id_type IN ('outpatient', 'inpatient')", name=op.f("ck_patient_id_id_type")),
        sa.CheckConstraint("source IN ('check', 'import', 'review', 'change')", name=op.f("ck_patient_id_source")),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_patient_id_card_serial_card")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_patient_id_institution_id_institution")
        ),
        sa.ForeignKeyConstraint(["replaced_by"], ["patient_id.id"], name=op.f("fk_patient_id_replaced_by_patient_id")),
        sa.ForeignKeyConstraint(["run_id"], ["patient_import.id"], name=op.f("fk_patient_id_run_id_patient_import")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_id")),
    )
    op.create_index(op.f("ix_patient_id_card_serial"), "patient_id", ["card_serial"], unique=False)
    op.create_index(
        "uq_patient_id_card",
        "patient_id",
        ["card_serial", "institution_id", "id_type"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "uq_patient_id_number",
        "patient_id",
        ["number_index"],
        unique=True,
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_table(
        "patient_review",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("line", sa.BigInteger(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=False),
        sa.Column("id_type", sa.Text(), nullable=False),
        sa.Column("number", sa.LargeBinary(), nullable=True),
        sa.Column("name", sa.LargeBinary(), nullable=True),
        sa.Column("card_serial", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision", sa.Text(), nullable=True),
        sa.Column("decided_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_patient_review_card_serial_card")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_patient_review_institution_id_institution")
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["patient_import.id"], name=op.f("fk_patient_review_run_id_patient_import")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_patient_review")),
    )
    op.create_index(op.f("ix_patient_review_card_serial"), "patient_review", ["card_serial"], unique=False)
    op.create_index(
        "ix_patient_review_open",
        "patient_review",
        ["institution_id", "run_id", "line"],
        unique=False,
        postgresql_where=sa.text("decided_at IS NULL"),
    )
    op.create_index("uq_patient_review_line", "patient_review", ["run_id", "line"], unique=True)
    op.create_table(
        "plastic_card",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("card_serial", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("institution_id", sa.Uuid(), nullable=True),
        sa.Column("number", sa.LargeBinary(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("replaced_by", sa.Uuid(), nullable=True),
        sa.Column("verification_id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("tries", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wrong_in_all", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("bound_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state_changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_for", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "(state = 'loss-temporary') = (until IS NOT NULL)", name=op.f("ck_plastic_card_temporary_until")
        ),
        sa.CheckConstraint(
            "state IN ('active', 'loss-temporary', 'lost', 'replaced', 'cancelled', 'unbound')",
            name=op.f("ck_plastic_card_state"),
        ),
        sa.ForeignKeyConstraint(["card_serial"], ["card.serial"], name=op.f("fk_plastic_card_card_serial_card")),
        sa.ForeignKeyConstraint(["client_id"], ["client.id"], name=op.f("fk_plastic_card_client_id_client")),
        sa.ForeignKeyConstraint(
            ["institution_id"], ["institution.id"], name=op.f("fk_plastic_card_institution_id_institution")
        ),
        sa.ForeignKeyConstraint(
            ["replaced_by"], ["plastic_card.id"], name=op.f("fk_plastic_card_replaced_by_plastic_card")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plastic_card")),
    )
    op.create_index(op.f("ix_plastic_card_card_serial"), "plastic_card", ["card_serial"], unique=False)
    op.create_index(
        "uq_plastic_card_held",
        "plastic_card",
        ["number_index"],
        unique=True,
        postgresql_where="state IN ('active', 'loss-temporary', 'lost', 'replaced')",
    )
    op.create_index("ix_plastic_card_number_index_bound_at", "plastic_card", ["number_index", "bound_at"], unique=False)
    op.create_index(
        "ix_plastic_card_until", "plastic_card", ["until"], unique=False, postgresql_where=sa.text("until IS NOT NULL")
    )
    op.execute(_PAYABLE)


def downgrade() -> None:
    op.execute("DROP VIEW payable")
    for table in (
        "plastic_card",
        "patient_review",
        "patient_id",
        "binding_event",
        "bank_account",
        "patient_fault",
        "patient_import",
        "plastic_blacklist_head",
        "plastic_blacklist",
        "bank_notice",
        "bank_day",
        "bank_comparison",
    ):
        op.drop_table(table)
