"""The synthetic people: valid where they should be, faulty where they should be, the same for the same seed."""

import csv
import io
from collections import Counter
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from ehc.cards.states import Level
from ehc.commands import main
from ehc.commands.people import Planted, people, write_people
from ehc.files.pieces import Record
from ehc.issuer.batch.columns import PEOPLE
from ehc.issuer.batch.preparing import prepare

TODAY = date(2026, 1, 9)


def written(count: int, seed: int = 1) -> tuple[str, Planted]:
    out = io.StringIO()
    planted = write_people(out, count, seed=seed)
    return out.getvalue(), planted


def test_the_same_seed_gives_the_same_people_and_another_gives_others() -> None:
    first, _ = written(300)
    assert written(300)[0] == first
    other = {row[2] for row, kind in people(300, seed=2) if kind == "new"}
    assert other.isdisjoint(row[2] for row, kind in people(300, seed=1) if kind == "new")


@pytest.mark.parametrize("count", [0, 1, 100, 250])
def test_it_tells_what_it_planted(count: int) -> None:
    text, planted = written(count)
    assert next(csv.reader([text.splitlines()[0]])) == list(PEOPLE.names)
    assert planted.rows == count == planted.new + planted.again + planted.other_name + planted.faulty


def test_all_but_the_faulty_pass_every_rule() -> None:
    for number, (row, kind) in enumerate(people(2000, seed=3)):
        found = prepare(iter([Record(2, list(row))]), header=list(PEOPLE.names), level=Level.CLERK, today=TODAY)
        assert bool(found.faults) == (kind == "faulty"), (number, kind, found.faults)


def test_new_people_are_all_different_and_the_others_are_known_from_a_row_before_them() -> None:
    seen: dict[str, list[str]] = {}
    kinds: Counter[str] = Counter()
    referred: Counter[str] = Counter()
    for row, kind in people(5000, seed=4):
        kinds[kind] += 1
        if kind == "new":
            assert row[2] not in seen
            seen[row[2]] = row
        elif kind in {"again", "other_name"}:
            referred[row[2]] += 1
            assert (seen[row[2]][0] == row[0]) is (kind == "again")
    assert kinds == {"new": 4700, "again": 100, "other_name": 50, "faulty": 150}
    assert max(referred.values()) == 1


def test_there_are_newborns_foreigners_and_every_fault() -> None:
    rows = [row for row, kind in people(1000, seed=5) if kind == "new"]
    types = Counter(row[1] for row in rows)
    assert {"01", "03", "06", "08", "99"} <= set(types)
    bad = [Record(n, list(row)) for n, (row, kind) in enumerate(people(2000, seed=5)) if kind == "faulty"]
    found = prepare(iter(bad), header=list(PEOPLE.names), level=Level.CLERK, today=TODAY)
    assert {"columns", "required", "phone-form", "id-number-check", "id-number-length", "id-number-date"} == {
        fault.code for fault in found.faults
    }


def test_the_command_writes_a_file_or_standard_output(tmp_path: Path) -> None:
    told = CliRunner().invoke(main, ["dev", "people", "3", "--seed", "9"])
    assert told.exit_code == 0
    assert told.stdout.splitlines() == written(3, 9)[0].splitlines()
    assert "rows 3 new 3" in told.stderr
    file = tmp_path / "people.csv"
    assert CliRunner().invoke(main, ["dev", "people", "3", "--seed", "9", "--out", str(file)]).exit_code == 0
    assert file.read_bytes().decode() == written(3, 9)[0]
