"""The shapes of requests and answers about terminals."""

from typing import Any

from marshmallow import Schema, fields, validate

from ehc.access import terminals
from ehc.access.terminal_models import ReleaseRow
from ehc.access.terminals import BlockReason, Kind, State, Terminal
from ehc.core.tables import MEDICAL_STEPS
from ehc.web.answers import instant
from ehc.web.fields import choice, text
from ehc.web.paging import LimitField, PageQuery

_STEPS = [step.word for step in MEDICAL_STEPS]
KIND_ABOUT = "window 窗口, kiosk 自助机, doctor-station 医生站, gate 闸机, mobile 移动."
DEPARTMENT_ABOUT = "Department (科室): standard code or name."


def matching(pattern: str, *, about: str) -> fields.String:
    """A text of this form."""
    form = validate.Regexp(rf"(?:{pattern})\Z", error="characters")
    return fields.String(required=True, validate=form, metadata={"description": about})


def _version() -> fields.String:
    return matching(terminals.VERSION, about="Numbers with points, as 2.10.3.")


def steps_field(**more: Any) -> fields.List[str]:
    """A list of medical steps."""
    return fields.List(
        choice(_STEPS, about="Medical step (诊疗环节): its word."),
        validate=validate.Length(1, len(_STEPS), error="length"),
        metadata={"description": "The steps that it may check at; left out or null: all of them."},
        **more,
    )


class TerminalChangeIn(Schema):
    """What is to change; null takes a department or a limit of steps away."""

    name = text(1, 100, about="What people call it.")
    kind = choice(list(Kind), about=KIND_ABOUT)
    department = text(1, 32, about=DEPARTMENT_ABOUT, allow_none=True)
    steps = steps_field(allow_none=True)


class BlockIn(Schema):
    """Why it is blocked."""

    reason = choice(list(BlockReason), required=True, about="stolen, lost, misused, retired or other.")


class ReleaseIn(Schema):
    """The newest software for a kind of terminal."""

    kind = choice(list(Kind), required=True, about=KIND_ABOUT)
    version = _version()


class TerminalsQuery(PageQuery):
    """Which terminals."""

    institution_id = fields.UUID(load_default=None)
    kind = choice(list(Kind), load_default=None, about=KIND_ABOUT)
    state = choice(list(State), load_default=None, about="live, blocked or replaced.")


class AttentionQuery(PageQuery):
    """How long a terminal may be silent."""

    silent_minutes = LimitField(
        load_default=60,
        validate=validate.Range(15, 43_200, error="range"),
        metadata={"description": "Minutes without a sign of life; 15 at least, since tokens live ten."},
    )


class HeartbeatIn(Schema):
    """What a terminal says of itself."""

    version = _version()
    clock = fields.AwareDateTime(required=True, metadata={"description": "Its own time as it sends this."})


class ConfigurationOut(Schema):
    """What a terminal is to go by. A greater `revision` is a newer one."""

    revision = fields.Integer(required=True)
    name = fields.String(required=True)
    kind = fields.String(required=True)
    department = fields.String(required=True, allow_none=True)
    steps = fields.List(fields.String(), required=True, allow_none=True, metadata={"description": "Null: all."})
    heartbeat_seconds = fields.Integer(required=True)
    newest_version = fields.String(required=True, allow_none=True)


class HeartbeatOut(Schema):
    """What the heartbeat measured."""

    server_time = fields.AwareDateTime(required=True)
    clock_offset_ms = fields.Integer(
        required=True, metadata={"description": "How far the terminal's clock is ahead; the way here counts as behind."}
    )
    clock_ok = fields.Boolean(required=True)
    clock_limit_ms = fields.Integer(required=True)
    configuration = fields.Nested(ConfigurationOut, required=True)


class SelfOut(Schema):
    """What a terminal is."""

    terminal_id = fields.UUID(required=True)
    client_id = fields.String(required=True)
    terminal_code = fields.String(required=True)
    institution_id = fields.UUID(required=True)
    institution = fields.String(required=True)
    configuration = fields.Nested(ConfigurationOut, required=True)


class TerminalOut(Schema):
    """A terminal as the staff see it."""

    terminal_id = fields.UUID(required=True)
    client_id = fields.String(required=True)
    terminal_code = fields.String(required=True)
    name = fields.String(required=True)
    institution_id = fields.UUID(required=True)
    institution = fields.String(required=True)
    state = fields.String(required=True)
    block_reason = fields.String(required=True, allow_none=True)
    replaced_by = fields.UUID(required=True, allow_none=True)
    kind = fields.String(required=True)
    department = fields.String(required=True, allow_none=True)
    steps = fields.List(fields.String(), required=True, allow_none=True)
    revision = fields.Integer(required=True)
    version = fields.String(required=True, allow_none=True)
    newest_version = fields.String(required=True, allow_none=True)
    seen_at = fields.AwareDateTime(required=True, allow_none=True)
    clock_offset_ms = fields.Integer(required=True, allow_none=True)
    created_at = fields.AwareDateTime(required=True)


class TerminalsOut(Schema):
    """A page of terminals, newest first."""

    items = fields.List(fields.Nested(TerminalOut), required=True)
    next = fields.String(required=True, allow_none=True)


class FaultyTerminalOut(TerminalOut):
    """A terminal that somebody should look after."""

    faults = fields.List(fields.String(), required=True, metadata={"description": "silent, outdated, clock."})


class AttentionOut(Schema):
    """A page of terminals that somebody should look after."""

    items = fields.List(fields.Nested(FaultyTerminalOut), required=True)
    next = fields.String(required=True, allow_none=True)


class ReleaseOut(Schema):
    """The newest software for a kind of terminal."""

    kind = fields.String(required=True)
    version = fields.String(required=True)
    changed_at = fields.AwareDateTime(required=True)


class ReleasesOut(Schema):
    """The newest software of each kind that has one."""

    items = fields.List(fields.Nested(ReleaseOut), required=True)


def ordered(steps: list[str] | None) -> list[str] | None:
    """Steps in the order of the table, each once."""
    return None if steps is None else [step for step in _STEPS if step in steps]


def configuration_out(terminal: Terminal) -> dict[str, Any]:
    """What a terminal is to go by."""
    return {
        "revision": terminal.row.revision,
        "name": terminal.client.name,
        "kind": terminal.row.kind,
        "department": terminal.row.department,
        "steps": terminal.row.steps,
        "heartbeat_seconds": terminals.HEARTBEAT_SECONDS,
        "newest_version": terminal.newest,
    }


def self_out(terminal: Terminal) -> dict[str, Any]:
    """What a terminal is, for itself."""
    return {
        "terminal_id": str(terminal.client.id),
        "client_id": terminal.client.client_id,
        "terminal_code": terminal.client.terminal_code,
        "institution_id": str(terminal.institution.id),
        "institution": terminal.institution.name,
        "configuration": configuration_out(terminal),
    }


def terminal_out(terminal: Terminal) -> dict[str, Any]:
    """A terminal as the staff see it."""
    client, row = terminal.client, terminal.row
    return {
        "terminal_id": str(client.id),
        "client_id": client.client_id,
        "terminal_code": client.terminal_code,
        "name": client.name,
        "institution_id": str(terminal.institution.id),
        "institution": terminal.institution.name,
        "state": terminal.state,
        "block_reason": row.block_reason,
        "replaced_by": str(row.replaced_by) if row.replaced_by else None,
        "kind": row.kind,
        "department": row.department,
        "steps": row.steps,
        "revision": row.revision,
        "version": row.version,
        "newest_version": terminal.newest,
        "seen_at": instant(row.seen_at) if row.seen_at else None,
        "clock_offset_ms": row.clock_offset_ms,
        "created_at": instant(client.created_at),
    }


def release_out(row: ReleaseRow) -> dict[str, Any]:
    """The newest software for a kind of terminal."""
    return {"kind": row.kind, "version": row.version, "changed_at": instant(row.changed_at)}
