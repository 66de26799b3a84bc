"""`ehc cards export`: what goes out comes in again elsewhere; the file is its owner's alone."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, make_url, text

from ehc.commands.people import write_people
from ehc.issuer.batch import export
from tests.support.imports import Imports, row, written


@pytest.fixture
def imports(database_url: str) -> Imports:
    return Imports(database_url)


@pytest.fixture
def elsewhere(server_engine: Engine, database_url: str) -> Iterator[Imports]:
    """Another, empty system."""
    template, name = make_url(os.environ["EHC_DATABASE_URL"]).database, f"{make_url(database_url).database}_b"
    with server_engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"))
    yield Imports(make_url(database_url).set(database=name).render_as_string(hide_password=False))
    with server_engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_a_round_trip_fills_an_empty_system_with_the_same_people(
    imports: Imports, elsewhere: Imports, tmp_path: Path
) -> None:
    path, first, second = (tmp_path / name for name in ("people.csv", "first.csv", "second.csv"))
    with path.open("w", encoding="utf-8", newline="") as file:
        planted = write_people(file, 300, seed=6)
    imports.take(path)
    assert imports.run("export", str(first)).stdout == f"cards {planted.new}\n"
    assert elsewhere.take(first) == {"rows": planted.new, "made": planted.new, "known": 0, "bad": 0}
    assert elsewhere.run("export", str(second)).exit_code == 0
    assert sorted(first.read_text(encoding="utf-8").splitlines()) == sorted(
        second.read_text(encoding="utf-8").splitlines()
    )
    ids = "SELECT index_id_index FROM card ORDER BY 1"
    assert imports.rows(ids) == elsewhere.rows(ids)


def test_the_file_is_its_owners_alone_and_is_not_written_over(imports: Imports, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    imports.take(written(tmp_path, [row(1)]))
    assert imports.run("export", str(out)).exit_code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = out.read_bytes()
    again = imports.run("export", str(out))
    assert (again.exit_code, "is not overwritten" in again.output) == (1, True)
    assert out.read_bytes() == before


def test_an_export_is_on_record_with_its_count(imports: Imports, tmp_path: Path) -> None:
    imports.take(written(tmp_path, [row(1), row(2)]))
    assert imports.run("export", str(tmp_path / "out.csv")).exit_code == 0
    (entry,) = imports.rows("SELECT entry FROM audit WHERE action = 'cards.exported'")
    assert json.loads(entry.entry)["facts"]["cards"] == 2


@pytest.mark.parametrize(("options", "names"), [([], {"甲", "乙"}), (["--status", "cancelled"], {"丙"})])
def test_which_cards_go_out_follows_their_state(
    imports: Imports, tmp_path: Path, options: list[str], names: set[str]
) -> None:
    imports.take(written(tmp_path, [row(1, "甲"), row(2, "乙"), row(3, "丙")]))
    with Writing(imports) as execute:
        execute("UPDATE card SET status = 'suspended' WHERE serial = (SELECT min(serial) FROM card)")
    imports.run("export", str(tmp_path / "all.csv"))
    order = [line.split(",")[0] for line in (tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()[1:]]
    gone = order.index("丙")
    with Writing(imports) as execute:
        execute("UPDATE card SET status = 'active'")
        execute(
            "UPDATE card SET status = 'cancelled', cause = 'cancelled' WHERE serial ="
            f" (SELECT serial FROM card ORDER BY serial OFFSET {gone} LIMIT 1)"
        )
    out = tmp_path / "out.csv"
    assert imports.run("export", str(out), *options).exit_code == 0
    assert {line.split(",")[0] for line in out.read_text(encoding="utf-8").splitlines()[1:]} == names


def test_an_export_that_fails_leaves_no_file_and_no_record(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports.take(written(tmp_path, [row(1), row(2)]))

    def broken(*_: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(export, "_opened", broken)
    assert imports.run("export", str(tmp_path / "out.csv")).exit_code == 1
    assert not (tmp_path / "out.csv").exists()
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'cards.exported'") == [(0,)]


class Writing:
    """Statements of the test's own."""

    def __init__(self, imports: Imports) -> None:
        from sqlalchemy import create_engine

        self._engine = create_engine(imports._url)

    def __enter__(self) -> Any:
        self._connection = self._engine.connect()
        return self._execute

    def _execute(self, statement: str) -> None:
        self._connection.execute(text(statement))
        self._connection.commit()

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._engine.dispose()
