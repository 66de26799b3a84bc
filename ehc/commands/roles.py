"""What the application's own database role may do: on each table what the service needs, and no more.

Nothing is granted on the partitions of `verification`: PostgreSQL asks for privileges on the table that a statement names, so
those on the parent are enough, also for partitions that the owner makes later. Identity columns need none on their sequence,
save that of cards, from which an import takes a thousand numbers at once.
"""

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.app import database
from ehc.errors import EhcError, Text

_ORDINARY = "SELECT, INSERT, UPDATE, DELETE"
_KEPT = "SELECT, INSERT, UPDATE"
_NARROW = {
    "audit": "SELECT, INSERT",
    "audit_tie": "SELECT, INSERT",
    "audit_head": "SELECT, UPDATE (seq, hash)",
    # History. What may be changed is what erasing a person takes out, and when a consent ended.
    "verification": "SELECT, INSERT, UPDATE (operator, request_id)",
    "card_event": "SELECT, INSERT, UPDATE (reason, evidence, clerk)",
    "consent": "SELECT, INSERT, UPDATE (withdrawn_at)",
    "card_alias": "SELECT, INSERT, DELETE",
    "plastic_use": "SELECT, INSERT, UPDATE (told)",
    "provincial_card": _KEPT,
    "provincial_change": "SELECT, INSERT, DELETE",
    "import_error": "SELECT, INSERT",
    "disclosure_version": "SELECT, INSERT",
    "disclosure_rule": "SELECT, INSERT",
    "secret_key": "SELECT, INSERT",
    "region": "SELECT",
    "institution_code": "SELECT, INSERT, UPDATE (valid_until)",
    "institution_fault": "SELECT, INSERT",
    **dict.fromkeys(
        ("app", "app_key", "client_secret"), _KEPT,
    ),
    **dict.fromkeys(
        ("approval", "card", "client", "client_key", "department", "family_link", "identity_document", "import_piece",
         "import_run", "institution", "institution_import", "mass_cancellation", "printed_code", "resident", "signing_key",
         "staff", "staff_grant", "terminal", "terminal_release"),
        _KEPT,
    ),
}  # fmt: skip
_JOBS = "procrastinate\\_%"


class NoSuchRole(EhcError):
    """The database has no role of this name."""

    code = "role-not-found"


class RoleTooStrong(EhcError):
    """The role could change the audit log, whatever is granted."""

    code = "role-too-strong"


def grant(session: Session, role: str) -> list[str]:
    """Give a role what the application needs on every table, and take what it had beyond; returns the names of the tables.

    Needs the role that owns the tables. Safe to run twice; run it after every migration. Never commits. Raises `NoSuchRole`,
    or `RoleTooStrong` for a superuser, an owner of tables, and whoever may act for one, be it by `SET ROLE` alone.
    """
    if session.scalar(text("SELECT 1 FROM pg_roles WHERE rolname = :role"), {"role": role}) is None:
        raise NoSuchRole(Text("没有这个数据库角色，请先创建。", "There is no such database role. Create it first."))
    named = session.connection().dialect.identifier_preparer.quote_identifier
    schema = named(session.scalars(text("SELECT current_schema()")).one())
    jobs = _found(session, "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace", "relname")
    tables = sorted({*database.metadata.tables, *jobs})
    _run(session, f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {named(role)}")
    _run(session, f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {named(role)}")
    _run(session, f"REVOKE CREATE ON SCHEMA {schema} FROM {named(role)}")
    _run(session, f"GRANT USAGE ON SCHEMA {schema} TO {named(role)}")
    for table in tables:
        _run(session, f"GRANT {_NARROW.get(table, _ORDINARY)} ON {named(table)} TO {named(role)}")
    cards = session.scalars(text("SELECT pg_get_serial_sequence('card', 'serial')")).one()
    _run(session, f"GRANT USAGE ON SEQUENCE {cards} TO {named(role)}")
    for sequence in _found(session, "SELECT relname FROM pg_class WHERE relkind = 'S' AND relnamespace", "relname"):
        _run(session, f"GRANT USAGE ON SEQUENCE {named(sequence)} TO {named(role)}")
    for function in _found(session, "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace", "proname"):
        _run(session, f"GRANT EXECUTE ON FUNCTION {function} TO {named(role)}")
    _run(session, f"GRANT EXECUTE ON FUNCTION verification_partition TO {named(role)}")
    require_weak(session, role)
    return tables


def require_weak(session: Session, role: str | None = None) -> None:
    """Raises `RoleTooStrong` where this role, or the session's own, could change the audit log."""
    if audit.too_strong(session, role):
        raise RoleTooStrong(
            Text(
                "该角色权限过大（超级用户、表的属主、可建角色或建表、可改审计或验卡记录，或为此类角色的成员），请换用普通角色。",
                "This role is too strong: a superuser, an owner of tables, one that may make roles or tables or change the "
                "audit log or the record of checks, or a member of such a role. Use an ordinary role.",
            )
        )


def _found(session: Session, question: str, name: str) -> list[str]:
    """Names of what Procrastinate made in this schema."""
    asked = text(f"{question} = current_schema()::regnamespace AND {name} LIKE :pattern ORDER BY 1")
    return list(session.scalars(asked, {"pattern": _JOBS}))


def _run(session: Session, statement: str) -> None:
    session.execute(text(statement.replace(":", "\\:")))
