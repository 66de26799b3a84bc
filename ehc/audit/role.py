"""Whether a role of the database could change what is only ever added to: the audit log, and who checked which card.

A role can do what every role can that it is a member of: it may take their part by `SET ROLE`, whether it inherits or not.
"""

import structlog
from sqlalchemy import text
from sqlalchemy.orm import Session

log = structlog.get_logger(__name__)

_TOO_STRONG = text("""
    SELECT bool_or(
        rolsuper OR rolcreaterole OR has_schema_privilege(rolname, current_schema(), 'CREATE')
        OR rolname IN ('pg_execute_server_program', 'pg_write_server_files')  -- by way of the server's own account
        OR EXISTS (SELECT FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
                   AND relowner = held.oid)
        OR EXISTS (SELECT FROM unnest(ARRAY['audit', 'audit_tie']) AS named
                   WHERE has_any_column_privilege(rolname, to_regclass(named), 'UPDATE'))
        OR EXISTS (SELECT FROM unnest(ARRAY['audit', 'audit_tie', 'verification', 'card_event']::regclass[] || ARRAY(
                       SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = to_regclass('verification')
                   )) AS history
                   WHERE has_table_privilege(rolname, history, 'UPDATE, DELETE, TRUNCATE, TRIGGER'))
    )
    FROM pg_roles AS held WHERE pg_has_role(COALESCE(:role, current_user), held.oid, 'MEMBER')
""")


def too_strong(session: Session, role: str | None = None) -> bool:
    """Whether this role, or the session's own, could change the log whatever else it may. Asks the catalog only."""
    return bool(session.scalars(_TOO_STRONG, {"role": role}).one())


def warn_if_too_strong(session: Session) -> None:
    """Say in the log that the service runs on a role that could change the audit log. Once a process is enough."""
    if too_strong(session):
        log.warning("database role too strong", remedy="ehc db app-role")
