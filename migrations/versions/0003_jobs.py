"""Background jobs: the schema of Procrastinate 3.10.

Revision ID: 0003
Revises: 0002
"""

from pathlib import Path

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SCHEMA = Path(__file__).parent.parent / "procrastinate-3.10.sql"
_FUNCTIONS = (
    "defer_jobs_v1",
    "defer_periodic_job_v2",
    "fetch_job_v2",
    "finish_job_v1",
    "cancel_job_v1",
    "retry_job_v1",
    "retry_job_v2",
    "register_worker_v1",
    "unregister_worker_v1",
    "update_heartbeat_v1",
    "prune_stalled_workers_v1",
)
_TABLES = ("periodic_defers", "events", "jobs", "workers")
_TRIGGER_FUNCTIONS = (
    "notify_queue_job_inserted_v1",
    "notify_queue_abort_job_v1",
    "trigger_function_status_events_insert_v1",
    "trigger_function_status_events_update_v1",
    "trigger_function_scheduled_events_v1",
    "trigger_abort_requested_events_procedure_v1",
    "unlink_periodic_defers_v1",
)
_TYPES = ("job_to_defer_v1", "job_event_type", "job_status")


def upgrade() -> None:
    # without parameters, or its percent signs would be read as places for some
    op.get_bind().exec_driver_sql(_SCHEMA.read_text(encoding="utf-8"), execution_options={"no_parameters": True})


def downgrade() -> None:
    # what speaks of a table goes before it; what its triggers call, after it
    for kind, names in (
        ("FUNCTION", _FUNCTIONS),
        ("TABLE", _TABLES),
        ("FUNCTION", _TRIGGER_FUNCTIONS),
        ("TYPE", _TYPES),
    ):
        for name in names:
            op.execute(f"DROP {kind} procrastinate_{name}")
