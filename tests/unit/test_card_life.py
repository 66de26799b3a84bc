"""`docs/card-life.md` says what the code does. `python -m tests.unit.test_card_life` writes the made part anew."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ehc.cards.states import MOVES, CardStatus, Effect, Move, Party

PAGE = Path(__file__).parents[2] / "docs" / "card-life.md"
BEGIN, END = "<!-- moves: made from ehc/cards/states.py -->\n", "<!-- /moves -->\n"
FOLLOWS = {
    Effect.CODES: "codes close",
    Effect.STATIC: "static off",
    Effect.ACCESS: "access closes",
    Effect.FAMILY: "family ends",
    Effect.BINDINGS: "bindings end",
}


def test_the_page_shows_the_table_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written_anew(page)


def test_the_page_tells_of_every_state_what_a_check_answers_and_what_others_call_it() -> None:
    _, checks, names = PAGE.read_text(encoding="utf-8").rsplit("\n## What ", 2)
    for status in CardStatus:
        assert checks.count(f"\n| `{status}` |") == 1
        assert names.count(f"\n| `{status}` |") == 1


def test_every_state_is_reached_and_every_move_is_somebody_s() -> None:
    assert {how.target for how in MOVES} == set(CardStatus)
    assert {party for how in MOVES for party in how.parties} == set(Party)
    assert all(how.sources and how.parties and how.zh for how in MOVES)


def test_who_ends_a_card_says_why_and_nobody_else_does() -> None:
    for how in MOVES:
        assert (how.target is CardStatus.CANCELLED) == (how.cause is not None)
        assert (CardStatus.CANCELLED in how.sources) == bool(how.causes)
        assert (how.target is CardStatus.CANCELLED) == (Effect.ACCESS in how.follows)


def written_anew(page: str) -> str:
    """The page with its made part as the code has it now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{diagram()}\n{table()}\n{END}{after}"


def diagram() -> str:
    """The moves as a Mermaid state diagram."""
    arrows: defaultdict[tuple[CardStatus, CardStatus], list[str]] = defaultdict(list)
    for how in MOVES:
        for source in _ordered(how.sources):
            arrows[source, how.target].append(how.name)
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {_id(status)} : {status}" for status in CardStatus if _id(status) != status]
    lines += [f"    [*] --> {_id(status)} : registered" for status in (CardStatus.ACTIVE, CardStatus.PENDING_REVIEW)]
    lines += [f"    {_id(old)} --> {_id(new)} : {', '.join(names)}" for (old, new), names in arrows.items()]
    return "\n".join([*lines, "```", ""])


def table() -> str:
    """The moves as rows."""
    head = "| move | 名称 | from | to | cause | who | proof | what follows |\n|---|---|---|---|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(_cells(how))} |\n" for how in MOVES)


def _cells(how: Move) -> Iterator[str]:
    yield f"`{how.name}`"
    yield how.zh
    yield ", ".join(_source(how, status) for status in _ordered(how.sources))
    yield str(how.target)
    yield str(how.cause or "–")
    yield ", ".join(party for party in Party if party in how.parties)
    yield "anew" if how.fresh_proof else "–"
    yield ", ".join(said for effect, said in FOLLOWS.items() if effect in how.follows) or "–"


def _source(how: Move, status: CardStatus) -> str:
    if status is not CardStatus.CANCELLED:
        return str(status)
    return f"{status} ({', '.join(sorted(how.causes))})"


def _ordered(states: Iterable[CardStatus]) -> list[CardStatus]:
    known = set(states)
    return [status for status in CardStatus if status in known]


def _id(status: CardStatus) -> str:
    return status.replace("-", "_")


if __name__ == "__main__":
    PAGE.write_text(written_anew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
