"""What holds of the histories of all cards at any time, whatever was done to them, and by how many at once."""

from collections import Counter, defaultdict
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.cards.states import MOVES
from tests.support.service import Service

MOVED = {how.name for how in MOVES}
PATHS = {(how.name, old, how.target, party) for how in MOVES for old in how.sources for party in how.parties}

_EVENTS = text("""
    SELECT card.id, card.status, event.action, event.old_status, event.new_status, event.party
    FROM card_event AS event JOIN card ON card.serial = event.card_serial
    ORDER BY event.at, event.old_status IS NOT NULL, event.id
""")
_ACTS = text("SELECT subject, action FROM audit WHERE action LIKE 'card.%'")
_MOVES = text("""
    SELECT subject, audit.action, entry::json -> 'facts' ->> 'from' AS old_status,
           entry::json -> 'facts' ->> 'to' AS new_status, entry::json -> 'facts' ->> 'party' AS party,
           entry::json -> 'facts' ->> 'status' AS made, card.status
    FROM audit JOIN card ON card.id::text = audit.subject ORDER BY chain, seq
""")
_TWICE_LIVE = text("""
    SELECT resident_id FROM card WHERE status IN ('pending-review', 'active', 'suspended', 'lost')
    GROUP BY resident_id HAVING count(*) > 1
""")
_TWICE_PRINTED = text("""
    SELECT card_serial FROM printed_code WHERE revoked_at IS NULL GROUP BY card_serial HAVING count(*) > 1
""")
_CAUSELESS = text("SELECT id FROM card WHERE (status = 'cancelled') <> (cause IS NOT NULL)")


def assert_sound(service: Service) -> None:
    """One live card for a person, one live print for a card, a cause where there is an end, and whole chains."""
    with service.session() as session:
        assert list(audit.verify(session, audit.Keys())) == []
        for wrong in (_TWICE_LIVE, _TWICE_PRINTED, _CAUSELESS):
            assert session.execute(wrong).all() == []


def assert_hold(service: Service) -> None:
    """All is sound, every event is in the audit log too, and every history is a path of the table."""
    assert_sound(service)
    with service.session() as session:
        histories = histories_of(session)
        audited: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for subject, action in session.execute(_ACTS):
            audited[subject][action.removeprefix("card.")] += 1
    for card_id, events in histories.items():
        assert_path(events)
        told = Counter(event.action for event in events)
        assert {name: audited[card_id][name] for name in told} == told


def assert_serial(service: Service) -> Counter[str]:
    """The moves of every card, in the order in which the audit log's chain took them, are a path of the table.

    The times of acts at one moment have no order that means anything; their chain has. Returns how often each was made.
    """
    paths: defaultdict[str, list[Any]] = defaultdict(list)
    made: Counter[str] = Counter()
    with service.session() as session:
        for row in session.execute(_MOVES):
            paths[row.subject].append(row)
        events = Counter(session.scalars(text("SELECT action FROM card_event")))
    for acts in paths.values():
        state = next(act.made for act in acts if act.action == "card.registered")
        for act in acts:
            name = act.action.removeprefix("card.")
            if name not in MOVED:
                continue
            assert act.old_status == state
            assert (name, act.old_status, act.new_status, act.party) in PATHS
            state = act.new_status
            made[name] += 1
        assert state == acts[0].status
    assert made == {name: events[name] for name in MOVED if events[name]}
    return made


def histories_of(session: Session) -> dict[str, list[Any]]:
    """The events of every card, the oldest first."""
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in session.execute(_EVENTS):
        found[str(row.id)].append(row)
    return found


def assert_path(events: list[Any]) -> None:
    """The moves of one card begin where it was made, follow on one another as the table allows, and end where it is."""
    made = events[0]
    assert (made.action, made.old_status) == ("registered", None)
    state = made.new_status
    for event in events[1:]:
        if event.action not in MOVED:
            assert event.old_status == event.new_status
            continue
        assert event.old_status == state
        assert (event.action, event.old_status, event.new_status, event.party) in PATHS
        state = event.new_status
    assert state == made.status
