"""`docs/bindings.md` and `docs/blacklist.md` say what the code does. `python -m tests.unit.test_plastic_docs` writes anew."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from ehc.cards.blacklist import number_hash
from ehc.cards.plastic_states import HELD, LISTED, PLASTIC_MOVES, PlasticMove, PlasticState
from ehc.cards.states import Party
from ehc.core.plastic_kinds import plastic_kinds

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "bindings.md"
BEGIN, END = "<!-- moves: made from ehc/cards/plastic_states.py -->\n", "<!-- /moves -->\n"


def test_the_page_shows_the_table_of_the_code() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written_anew(page)


@pytest.mark.parametrize("code", plastic_kinds())
def test_the_page_tells_of_every_kind(code: str) -> None:
    kind = plastic_kinds()[code]
    numbered_by = "each institution" if kind.by_institution else "each region" if kind.by_region else "all"
    (row,) = (line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{code}` |"))
    assert kind.name.zh in row
    assert row.endswith(f"| {numbered_by} |")


def test_the_page_tells_of_every_state_what_a_check_answers() -> None:
    checks = PAGE.read_text(encoding="utf-8").rpartition("| plastic card | answer |")[2]
    assert all(f"`{state}`" in checks for state in PlasticState)


def test_the_hash_in_the_page_is_right() -> None:
    digest = number_hash("resident-health-card", "", "00AB12CD00000001")
    page = (DOCS / "blacklist.md").read_text(encoding="utf-8")
    assert f"`{urlsafe_b64encode(digest).rstrip(b'=').decode()}`" in page


def test_every_state_is_reached_and_every_move_is_somebody_s() -> None:
    assert {how.target for how in PLASTIC_MOVES} == set(PlasticState)
    assert all(how.sources and how.parties and how.zh for how in PLASTIC_MOVES)
    assert PlasticState.REPLACED in HELD
    assert PlasticState.REPLACED in LISTED
    assert not [how for how in PLASTIC_MOVES if PlasticState.REPLACED in how.sources]


def written_anew(page: str) -> str:
    """The page with its made part as the code has it now."""
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    head = "| move | 名称 | from | to | who | check of the card there | blacklist |\n|---|---|---|---|---|---|---|\n"
    rows = "".join(f"| {' | '.join(_cells(how))} |\n" for how in PLASTIC_MOVES)
    return f"{before}{BEGIN}\n{head}{rows}\n{END}{after}"


def _cells(how: PlasticMove) -> Iterator[str]:
    yield f"`{how.name}`"
    yield how.zh
    yield ", ".join(state for state in PlasticState if state in how.sources)
    yield str(how.target)
    yield ", ".join(party for party in Party if party in how.parties)
    yield "yes" if how.check else "–"
    yield "on it" if how.target in LISTED else "as it was" if how.target is PlasticState.UNBOUND else "off it"


if __name__ == "__main__":
    PAGE.write_text(written_anew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
