"""What was done to a card, and who did it: audited acts on it, exports of many cards that held it, its import.

The three are in one order, by time and then by id. An act's id is its place in the audit log, an import's that of the card's
own event. The audit log names the card in acts on it alone: an export's row says which states it held, an import's row holds
a hash of its cards.
"""

import json
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards import store as cards
from ehc.cards.models import CardRow
from ehc.cards.states import Kind
from ehc.issuer.batch import export

LOG_READ = "card.access-log-read"
"""Reading the list of who looked is in the audit log, and not in the list: else each page would move the next."""

Position = tuple[datetime, UUID]
"""Where a page ended."""


class Look(NamedTuple):
    """Somebody did something with a card: checked it (`institution_id`, `step`, `outcome`), or acted on it (`actor`)."""

    at: datetime
    id: UUID
    kind: str
    fields: list[str]
    actor: str | None = None
    institution_id: UUID | None = None
    step: str | None = None
    outcome: str | None = None


# Materialized, so that the rows are found by their subject: for the few newest in order of time the planner would walk back
# through the acts on everybody.
#
# An export held a card if the card was in one of its states at the moment it read. That moment is not written down, and
# clocks of machines differ: any state within a minute of the begin counts, and one that nobody can tell. It is better told
# to somebody whose card moved in that minute than kept from somebody whose data are out.
_ACTS = text("""
    WITH mine AS MATERIALIZED (
        SELECT chain, seq, at, action, entry FROM audit WHERE subject = ANY(:subjects) AND action <> :log_read
        UNION ALL
        SELECT chain, seq, at, action, entry FROM audit AS export
        WHERE subject = :all_cards AND action = :export AND EXISTS (
            SELECT FROM card
            WHERE serial = ANY(:serials) AND kind = :formal AND NOT sandbox
            AND created_at <= export.at + interval '1 minute' AND (
                EXISTS (
                    SELECT FROM card_event AS event
                    WHERE event.card_serial = card.serial AND event.at <= export.at + interval '1 minute'
                    AND (
                        export.entry::jsonb -> 'facts' -> 'statuses' ? event.new_status AND NOT EXISTS (
                            SELECT FROM card_event AS later WHERE later.card_serial = card.serial
                            AND later.at > event.at AND later.at <= export.at - interval '1 minute'
                        )
                        OR export.entry::jsonb -> 'facts' -> 'statuses' ? event.old_status
                        AND event.at > export.at - interval '1 minute'
                    )
                )
                OR NOT EXISTS (
                    SELECT FROM card_event AS event
                    WHERE event.card_serial = card.serial AND event.at <= export.at + interval '1 minute'
                )
            )
        )
    )
    SELECT chain, seq, at, action, entry FROM mine
    WHERE CAST(:at AS timestamptz) IS NULL OR (at, chain, seq) < (CAST(:at AS timestamptz), :chain, :seq)
    ORDER BY at DESC, chain DESC, seq DESC LIMIT :limit
""")
_IMPORTS = text("""
    SELECT id, at, action, actor FROM card_event
    WHERE card_serial = ANY(:serials) AND action = 'imported'
    AND (CAST(:at AS timestamptz) IS NULL OR (at, id) < (CAST(:at AS timestamptz), CAST(:id AS uuid)))
    ORDER BY at DESC, id DESC LIMIT :limit
""")
_BITS = 64


def acts_on(session: Session, card: CardRow, *, limit: int, before: Position | None) -> tuple[list[Look], bool]:
    """A page of what was done to a card and to those joined to it, newest first, and whether more follow."""
    whole = [card, *cards.joined_to(session, card)]
    audit.write(session)  # what was done in this very transaction is in the list
    found = [*_audited(session, whole, limit + 1, before), *_imports(session, whole, limit + 1, before)]
    found.sort(key=lambda look: (look.at, look.id), reverse=True)
    return found[:limit], len(found) > limit


def _audited(session: Session, whole: list[CardRow], most: int, before: Position | None) -> list[Look]:
    at, chain, seq = (before[0], *_place(before[1])) if before else (None, 0, 0)
    asked = {
        "subjects": [str(card.id) for card in whole],
        "serials": [card.serial for card in whole],
        "log_read": LOG_READ,
        "all_cards": export.SUBJECT,
        "export": export.BEGUN,
        "formal": Kind.FORMAL,
    }
    found = session.execute(_ACTS, asked | {"at": at, "chain": chain, "seq": seq, "limit": most})
    acts = []
    for row in found:
        told: dict[str, Any] = json.loads(row.entry)
        fields = told["facts"].get("changed", [])
        acts.append(Look(row.at, _act_id(row.chain, row.seq), row.action, fields, actor=told["actor"]))
    return acts


def _imports(session: Session, whole: list[CardRow], most: int, before: Position | None) -> list[Look]:
    at, event_id = before or (None, None)
    asked = {"serials": [card.serial for card in whole], "at": at, "id": event_id, "limit": most}
    found = session.execute(_IMPORTS, asked)
    return [Look(row.at, row.id, f"card.{row.action}", [], actor=row.actor) for row in found]


def _act_id(chain: int, seq: int) -> UUID:
    """The place of an act in the log as an id: smaller than every id of a row, so acts come after checks of one moment."""
    return UUID(int=chain << _BITS | seq)


def _place(row: UUID) -> tuple[int, int]:
    """The chain and number of an act from its id. The id of a check gives a chain that is after every one there is."""
    return min(row.int >> _BITS, audit.CHAINS), min(row.int % 2**_BITS, 2**63 - 1)
