"""`ehc cards import` on a database of its own: who is made, who is known, what is bad; resumed, repeated, raced."""

import os
import signal
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread, Timer
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from ehc.access import models as _access  # noqa: F401 - the tables that those of imports refer to
from ehc.cards.states import Level
from ehc.commands.people import write_people
from ehc.files import holding, pieces
from ehc.files.pieces import Cutter, Piece
from ehc.issuer.batch import files, pool, runs, standing, writing
from ehc.issuer.batch.columns import PEOPLE
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.writing import Counts, Writer
from ehc.issuer.registry import Registry
from ehc.place import Place
from ehc.settings import Settings
from tests.integration.audited import findings
from tests.support.imports import Imports, counted, csv_bytes, faults, row, written
from tests.support.service import Service, citizen_number, person, told


@pytest.fixture
def imports(database_url: str) -> Imports:
    return Imports(database_url)


@pytest.fixture
def place(settings: Settings) -> Iterator[Place]:
    made = Place(settings, connections=2)
    yield made
    made.close()


def app_id(service: Service) -> str:
    return service.app.credentials.client_id


def test_imported_people_are_as_good_as_registered_ones(imports: Imports, service: Service, tmp_path: Path) -> None:
    rows = [
        row(1, "欧阳小明", sex="1", birth_date="1990-03-07", nation="汉族", address="北京, 朝阳\n1 号", employer="一中",
            level="clerk", reference="卷宗 7"),
        row(2, "Zhang  San", id_type="03", id_number="e12345678", phone="", level=""),
    ]  # fmt: skip
    path = written(tmp_path, rows)
    assert imports.take(path, "--client", app_id(service)) == {"rows": 2, "made": 2, "known": 0, "bad": 0}
    for wanted, level in ((rows[0], "clerk"), (rows[1], "document-seen")):
        (card,) = imports.rows("SELECT id, serial FROM card WHERE level = :level", level=level)
        read = told(service.app.get(f"/v1/cards/{card.id}"))
        assert (read["status"], read["level"]) == ("active", level)
        assert service.other_app.get(f"/v1/cards/{card.id}").status_code == 404
        body = {name: wanted[name] for name in ("name", "id_type", "id_number")} | {"phone": "13800138000"}
        again = service.other_app.post("/v1/cards", body | {"verification": {"method": "document-seen"}})
        assert (again.status_code, told(again)["card_id"]) == (200, str(card.id))
        assert (told(again)["ehc_id"], told(again)["index_id"]) == (read["ehc_id"], read["index_id"])
        assert service.terminal.scan(service.app.code(str(card.id)))["resident"]["name"].startswith(
            wanted["name"][0].upper()
        )
    (event,) = imports.rows("SELECT * FROM card_event WHERE evidence IS NOT NULL")
    assert (event.action, event.old_status, event.new_status, event.party, event.actor) == (
        "imported", None, "active", "staff", "operator",
    )  # fmt: skip


def test_every_column_opens_as_it_was_sent(imports: Imports, tmp_path: Path) -> None:
    sent = row(
        1, "欧阳小明", sex="2", birth_date="1990-03-07", nation="回族", address="北京", employer="一中",
        level="clerk", reference="卷宗 7",
    )  # fmt: skip
    imports.take(written(tmp_path, [sent]))
    assert imports.run("export", str(tmp_path / "out.csv")).exit_code == 0
    header, line = (tmp_path / "out.csv").read_text(encoding="utf-8").splitlines()
    assert dict(zip(header.split(","), line.split(","), strict=True)) == sent


def test_bad_rows_are_told_and_the_rest_is_imported(imports: Imports, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(
        csv_bytes([row(1), row(2, phone="1"), row(3, id_number="1")])
        + b'"stray,01,x,y\r\n'
        + csv_bytes([row(4)]).split(b"\n")[1]
    )
    report = imports.run("import", str(path), "--workers", "1", "--errors", str(tmp_path / "e.csv"))
    assert counted(report.stdout) == {"rows": 5, "made": 2, "known": 0, "bad": 3}
    assert faults(tmp_path / "e.csv") == [
        (3, "phone", "phone-form"),
        (4, "id_number", "id-number-length"),
        (5, "", "quote"),
    ]
    assert stat.S_IMODE((tmp_path / "e.csv").stat().st_mode) == 0o600
    assert "phone-form 1" in report.stdout
    for value in ("王小明", citizen_number(2), "stray"):
        assert value not in report.output + (tmp_path / "e.csv").read_text(encoding="utf-8")
    columns = imports.rows("SELECT run_id::text || line || position || field || code FROM import_error")
    assert not any("王" in str(each) or "stray" in str(each) for each in columns)


def test_people_who_are_known_gain_the_grant_alone(imports: Imports, service: Service, tmp_path: Path) -> None:
    cards = [service.app.register(n) for n in (1, 2)]
    path = written(tmp_path, [row(1), row(2, "李四"), row(3)])
    other = service.other_app.credentials.client_id
    assert imports.take(path, "--client", other) == {"rows": 3, "made": 1, "known": 1, "bad": 1}
    assert faults(tmp_path / "people.csv.errors.csv") == [(3, "name", "identity-mismatch")]
    assert service.other_app.get(f"/v1/cards/{cards[0]['card_id']}").status_code == 200
    assert service.other_app.get(f"/v1/cards/{cards[1]['card_id']}").status_code == 404
    assert imports.people() == 3


def test_an_app_gains_what_registering_would_give_it_and_the_holder_is_told(
    imports: Imports, service: Service, tmp_path: Path
) -> None:
    cards = [service.app.register(n)["card_id"] for n in range(1, 5)]
    other = service.other_app.credentials.client_id
    path = written(tmp_path, [row(n) for n in range(1, 5)])
    service.other_app.register(4)
    imports.take(written(tmp_path, [row(n) for n in range(1, 4)], "first.csv"), "--client", other)
    with service.session() as session:
        client = session.scalars(text("SELECT id FROM client WHERE client_id = :c"), {"c": other}).one()
        for at, ended in enumerate(("closed_at = now()", "until = now() - interval '1 s'", "link_id = NULL")):
            session.execute(
                text(
                    f"UPDATE card_grant SET {ended} FROM card WHERE serial = card_serial AND id = :card AND client_id = :c"
                ),
                {"card": cards[at], "c": client},
            )
    granted = "SELECT subject, count(*) FROM audit WHERE action = 'card.granted' GROUP BY 1"
    assert {subject for subject, _ in imports.rows(granted)} == set(cards)
    assert imports.take(path, "--client", other) == {"rows": 4, "made": 0, "known": 4, "bad": 0}
    assert [service.other_app.get(f"/v1/cards/{card}").status_code for card in cards] == [200] * 4
    open_ = "SELECT count(*) FROM card_grant WHERE closed_at IS NULL AND until IS NULL AND link_id IS NULL"
    assert imports.rows(open_) == [(8,)]
    assert dict(map(tuple, imports.rows(granted))) == dict(zip(cards, (2, 2, 1, 1), strict=True))
    last = "SELECT entry::json FROM audit WHERE subject = :card AND action = 'card.granted' ORDER BY seq DESC LIMIT 1"
    told = imports.rows(last, card=cards[0])[0][0]
    assert (told["facts"], told["actor"]) == ({"client_id": str(client)}, "operator")
    assert findings(service) == []


def test_a_guardians_grant_becomes_the_holders_own(imports: Imports, service: Service, tmp_path: Path) -> None:
    guardian, member = (service.app.register(n) for n in (1, 2))
    other = service.other_app.credentials.client_id
    with service.session() as session:
        session.execute(
            text("""
                INSERT INTO family_link (id, guardian_id, member_id, relation, method, created_at)
                SELECT gen_random_uuid(), g.resident_id, m.resident_id, '20', 'clerk', now() FROM card g, card m
                WHERE g.id = :g AND m.id = :m
            """),
            {"g": guardian["card_id"], "m": member["card_id"]},
        )
        session.execute(
            text("""
                INSERT INTO card_grant (card_serial, client_id, link_id, created_at)
                SELECT serial, client.id, family_link.id, now() FROM card, client, family_link
                WHERE card.id = :m AND client_id = :c
            """),
            {"m": member["card_id"], "c": other},
        )
    imports.take(written(tmp_path, [row(2)]), "--client", other)
    assert imports.rows("SELECT count(*) FROM card_grant WHERE link_id IS NOT NULL") == [(0,)]
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'card.granted'") == [(1,)]


def test_who_closes_the_account_between_the_question_and_the_grant_is_not_shown(
    imports: Imports, place: Place, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards = [service.app.register(n)["card_id"] for n in (1, 2)]

    def and_then(cursor: Any, people: Any, secrets: Any) -> Any:
        found = standing.standings(cursor, people, secrets)
        assert service.app.post(f"/v1/cards/{cards[0]}/cancel", {"reason": "私事"}).status_code == 200
        return found

    monkeypatch.setattr(writing, "standings", and_then)
    client = imports.rows("SELECT id FROM client WHERE client_id = :c", c=service.other_app.credentials.client_id)
    wrote, (piece,) = writer(place, written(tmp_path, [row(1), row(1), row(2)]), client_id=client[0].id)
    assert wrote.write(piece) == Counts(3, 0, 1, 2)
    assert imports.rows("SELECT line, code FROM import_error ORDER BY line") == [
        (2, "card-cancelled"), (3, "card-cancelled"),
    ]  # fmt: skip
    assert [service.other_app.get(f"/v1/cards/{card}").status_code for card in cards] == [404, 200]


def test_workers_that_grant_many_known_people_do_not_lock_each_other_out(
    imports: Imports, service: Service, tmp_path: Path
) -> None:
    path = written(tmp_path, [row(n) for n in range(600)])
    imports.take(path)
    result = imports.run(
        "import",
        str(path),
        "--workers",
        "3",
        "--piece-kib",
        "4",
        "--client",
        app_id(service),
        EHC_AUDIT_HASH="hmac-sm3",
    )
    assert counted(result.stdout) == {"rows": 600, "made": 0, "known": 600, "bad": 0}, result.output
    assert imports.rows("SELECT count(*), count(DISTINCT subject) FROM audit WHERE action = 'card.granted'") == [
        (600, 600)
    ]
    assert findings(service, method="hmac-sm3") == []


def test_within_a_piece_the_first_of_a_number_counts(imports: Imports, tmp_path: Path) -> None:
    path = written(tmp_path, [row(1), row(1), row(1, "李四"), row(1), row(2)])
    assert imports.take(path) == {"rows": 5, "made": 2, "known": 2, "bad": 1}
    assert faults(tmp_path / "people.csv.errors.csv") == [(4, "name", "identity-mismatch")]


def test_a_name_of_before_is_known_and_a_cancelled_card_is_refused(
    imports: Imports, place: Place, service: Service, tmp_path: Path
) -> None:
    for n in (1, 2):
        service.app.register(n)
    with service.session() as session:  # both get another name: the first pair of ids is kept as an alias
        session.execute(
            text("""
                INSERT INTO card_alias (id, card_serial, ehc_id, ehc_id_index, index_id, index_id_index, closed_at)
                SELECT id, serial, ehc_id, ehc_id_index, index_id, index_id_index, now() FROM card
            """)
        )
        session.execute(
            text("UPDATE card SET ehc_id_index = sha256(ehc_id_index), index_id_index = sha256(index_id_index)")
        )
        listed = session.execute(text("SELECT serial, resident_id FROM card ORDER BY serial"))
        names: dict[int, UUID] = {row.serial: row.resident_id for row in listed}
        first, second = names
        session.execute(
            text("UPDATE card SET status = 'cancelled', cause = 'cancelled' WHERE serial = :s"), {"s": second}
        )
        sealed = place.secrets().sealer.seal("王大明", f"resident.name:{names[first]}")
        session.execute(text("UPDATE resident SET name = :n WHERE id = :id"), {"n": sealed, "id": names[first]})
    path = written(tmp_path, [row(1), row(1, "王大明"), row(1, "王二明"), row(2)])
    assert imports.take(path) == {"rows": 4, "made": 0, "known": 2, "bad": 2}
    assert faults(tmp_path / "people.csv.errors.csv") == [
        (4, "name", "identity-mismatch"),
        (5, "id_number", "card-cancelled"),
    ]


def test_a_dry_run_tells_what_an_import_would_and_writes_nobody(imports: Imports, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        planted = write_people(file, 400, seed=1)
    small = ("--piece-kib", "4")
    dry = imports.take(path, "--dry-run", *small)
    told_dry = faults(tmp_path / "people.csv.errors.csv")
    tables = ("resident", "identity_document", "card", "card_event", "card_grant", "import_seen")
    assert [imports.rows(f"SELECT count(*) FROM {table}")[0][0] for table in tables] == [0] * len(tables)
    assert dry == {"rows": 400, "made": planted.new, "known": planted.again, "bad": planted.faulty + planted.other_name}
    assert imports.take(path, "--dry-run", *small) == dry
    assert imports.take(path, *small) == dry
    assert faults(tmp_path / "people.csv.errors.csv") == told_dry
    after = imports.take(path, "--dry-run", *small)
    assert (after["made"], after["known"]) == (0, planted.new + planted.again)


def test_a_file_that_was_imported_is_only_told_of_again(imports: Imports, tmp_path: Path) -> None:
    path = written(tmp_path, [row(1), row(2, phone="1")])
    first = imports.take(path)
    (tmp_path / "people.csv.errors.csv").unlink()
    assert imports.take(path) == first
    assert faults(tmp_path / "people.csv.errors.csv") == [(3, "phone", "phone-form")]
    assert imports.take(path, "--again") == {"rows": 2, "made": 0, "known": 1, "bad": 1}
    path.write_bytes(path.read_bytes() + b"\n")
    assert imports.take(path)["known"] == 1
    assert imports.people() == 1


def test_several_workers_and_neighbouring_duplicates_make_each_person_once(imports: Imports, tmp_path: Path) -> None:
    rows = [row(n % 300) for n in range(900)]
    path = written(tmp_path, rows)
    result = imports.run("import", str(path), "--workers", "3", "--piece-kib", "2")
    assert counted(result.stdout) == {"rows": 900, "made": 300, "known": 600, "bad": 0}, result.output
    assert imports.people() == 300
    assert imports.rows("SELECT count(*), count(DISTINCT id) FROM card")[0] == (300, 300)


def test_reviewed_levels_wait_for_review(imports: Imports, tmp_path: Path) -> None:
    path = written(tmp_path, [row(1, level="self-declared"), row(2)])
    imports.take(path, EHC_REVIEWED_LEVELS="self-declared")
    assert imports.rows("SELECT level, status FROM card ORDER BY level") == [
        ("document-seen", "active"),
        ("self-declared", "pending-review"),
    ]
    assert imports.rows("SELECT new_status FROM card_event ORDER BY level")[1][0] == "pending-review"


def test_every_piece_leaves_a_row_in_the_audit_log(imports: Imports, service: Service, tmp_path: Path) -> None:
    path = written(tmp_path, [row(n, address="x" * 99) for n in range(100)])
    assert imports.take(path, "--piece-kib", "1")["made"] == 100
    acts = imports.rows(
        "SELECT action, count(*) FROM audit WHERE action LIKE ANY(ARRAY['import.%', 'cards.%']) GROUP BY 1"
    )
    pieces = imports.rows("SELECT pieces FROM import_run")[0][0]
    assert pieces > 2
    assert dict(tuple(act) for act in acts) == {"import.begun": 1, "cards.imported": pieces, "import.done": 1}
    made = imports.rows("SELECT sum((entry::json->'facts'->>'made')::int) FROM audit WHERE action = 'cards.imported'")
    assert made[0][0] == 100
    from ehc import audit

    with service.session() as session:
        assert list(audit.verify(session, audit.Keys())) == []


def test_a_client_that_is_no_app_and_a_wrong_header_are_refused(
    imports: Imports, service: Service, tmp_path: Path
) -> None:
    path = written(tmp_path, [row(1)])
    for client in ("app-0", service.terminal.credentials.client_id):
        result = imports.run("import", str(path), "--client", client)
        assert (result.exit_code, "no app" in result.output) == (1, True)
    path.write_text("姓名,证件\n", encoding="utf-8")
    result = imports.run("import", str(path))
    assert (result.exit_code, "The header holds these names" in result.output) == (1, True)
    assert imports.people() == 0


def writer(place: Place, path: Path, **changes: Any) -> tuple[Writer, list[Piece]]:
    """A run begun on a file, its writer and its pieces."""
    with path.open("rb") as file:
        cutter = Cutter(file.read, size=changes.pop("size", 1024))
        options = replace(Options(cutter.header("utf-8", PEOPLE)), **changes)
        pieces = list(cutter.pieces())
    with place.patient_work() as session:
        run = runs.begin(session, os.urandom(32), options, size=0, now=place.clock.now())
    registry = Registry(place.secrets(), place.settings.reviewed_levels)
    return Writer(place.patient_work, registry, place.clock, run.id, options), pieces


def test_a_piece_is_written_once_whoever_asks(imports: Imports, place: Place, tmp_path: Path) -> None:
    wrote, pieces = writer(place, written(tmp_path, [row(n) for n in range(40)]))
    first = [wrote.write(piece) for piece in pieces]
    assert sum(counts.made for counts in first) == 40
    assert [wrote.write(piece) for piece in pieces] == first
    assert imports.people() == 40


def test_two_workers_with_one_piece_write_it_once(imports: Imports, place: Place, tmp_path: Path) -> None:
    wrote, (piece,) = writer(place, written(tmp_path, [row(n) for n in range(200)]), size=1 << 20)
    answers: list[Counts] = []
    threads = [Thread(target=lambda: answers.append(wrote.write(piece))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [Counts(200, 200, 0, 0)] * 2
    assert imports.people() == 200


def test_who_is_registered_between_the_question_and_the_copy_is_known(
    imports: Imports, place: Place, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.app.register(1)
    asked = []

    def late(cursor: Any, people: Any, secrets: Any) -> Any:
        asked.append(len(people))
        return {} if len(asked) == 1 else standing.standings(cursor, people, secrets)

    monkeypatch.setattr(writing, "standings", late)
    wrote, (piece,) = writer(place, written(tmp_path, [row(1), row(2), row(3, phone="x")]))
    assert wrote.write(piece) == Counts(3, 1, 1, 1)
    assert asked == [2, 2]
    assert imports.people() == 2


def test_a_card_id_that_is_taken_refuses_its_row_and_no_other(
    imports: Imports, place: Place, service: Service, tmp_path: Path
) -> None:
    service.app.register(1)
    with service.session() as session:
        session.execute(text("UPDATE identity_document SET closed_at = now()"))
    wrote, (piece,) = writer(place, written(tmp_path, [row(1), row(2)]))
    assert wrote.write(piece) == Counts(2, 1, 0, 1)
    assert imports.rows("SELECT line, field, code FROM import_error") == [(2, "id_number", "card-cancelled")]


def test_an_import_goes_on_where_an_earlier_start_left_off(
    imports: Imports, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(n) for n in range(120)] + [row(n, "李四") for n in range(5)])
    wrote, pieces = writer(place, path, size=2048, piece_bytes=2048)
    for piece in pieces[::2]:
        wrote.write(piece)
    from hashlib import sha256

    print_ = runs.fingerprint(sha256(path.read_bytes()).digest(), wrote.options)
    imports_run = "UPDATE import_run SET fingerprint = :print"
    with place.work() as session:
        session.execute(text(imports_run), {"print": print_})
    assert imports.take(path, "--piece-kib", "2") == {"rows": 125, "made": 120, "known": 0, "bad": 5}
    assert imports.rows("SELECT count(*) FROM import_run") == [(1,)]
    assert imports.people() == 120


def test_an_import_that_is_under_way_is_not_begun_twice(
    imports: Imports, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(1)])
    monkeypatch.setattr(files, "held", lambda place, run: holding.held(place, run, patience=0.2))
    with place.patient_work() as session:
        run = runs.begin(session, _print(path), Options([]), size=0, now=place.clock.now())
    with holding.held(place, run.id):
        result = imports.run("import", str(path))
    assert (result.exit_code, "under way" in result.output) == (1, True)
    assert imports.take(path)["made"] == 1


def test_a_file_that_changes_meanwhile_is_not_called_done(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(1)])
    write = pool.write_pieces

    def and_then(*words: Any, **named: Any) -> Any:
        used = write(*words, **named)
        path.write_bytes(path.read_bytes() + csv_bytes([row(2)]).split(b"\n")[1])
        return used

    monkeypatch.setattr(files, "write_pieces", and_then)
    result = imports.run("import", str(path))
    assert (result.exit_code, "The file changed" in result.output) == (1, True)
    assert imports.rows("SELECT state FROM import_run") == [("running",)]
    monkeypatch.undo()
    assert imports.take(path) == {"rows": 2, "made": 1, "known": 1, "bad": 0}


def test_a_worker_that_fails_is_told_of_without_what_it_held(imports: Imports, tmp_path: Path) -> None:
    path = written(tmp_path, [row(1)])
    imports.rows("SELECT 1")
    result = imports.run("import", str(path), "--workers", "1", EHC_KEK_FILE=os.environ["EHC_KEK_FILE"])
    assert result.exit_code == 0
    from sqlalchemy import create_engine

    engine = create_engine(imports._url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE card_event RENAME TO card_event_gone"))
    again = written(tmp_path, [row(2, "李四")], "more.csv")
    result = imports.run("import", str(again), "--workers", "2")
    assert (result.exit_code, "the database failed (UndefinedTable)" in result.output) == (1, True)
    assert "李四" not in result.output
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE card_event_gone RENAME TO card_event"))
    engine.dispose()
    assert imports.people() == 1
    assert imports.take(again)["made"] == 1


def test_an_empty_file_and_one_without_its_last_line_end(imports: Imports, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_bytes(csv_bytes([]))
    assert imports.take(path) == {"rows": 0, "made": 0, "known": 0, "bad": 0}
    path.write_bytes(csv_bytes([row(1), row(2)]).rstrip())
    assert imports.take(path)["made"] == 2


def test_a_file_that_is_overwritten_after_it_was_hashed_brings_in_no_stranger(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(n) for n in range(1, 40)])
    right, changed = path.read_bytes(), csv_bytes([row(n) for n in range(401, 440)])
    assert len(right) == len(changed)
    times = path.stat()
    begun = files.ImportFile._begun

    def and_then(self: Any, *words: Any, **named: Any) -> Any:
        run = begun(self, *words, **named)
        path.write_bytes(changed)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        return run

    monkeypatch.setattr(files, "_BLOCK", 512)
    monkeypatch.setattr(files.ImportFile, "_begun", and_then)
    result = imports.run("import", str(path), "--workers", "1", "--piece-kib", "1")
    assert (result.exit_code, "The file changed" in result.output) == (1, True)
    monkeypatch.undo()
    path.write_bytes(right)
    assert imports.take(path, "--piece-kib", "1") == {"rows": 39, "made": 39, "known": 0, "bad": 0}


def test_a_worker_that_finds_other_bytes_than_it_was_told_of_refuses(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(1)])
    right = path.read_bytes()
    write = pool.write_pieces

    def after(*words: Any, **named: Any) -> Any:
        path.with_name("other").write_bytes(csv_bytes([row(2)]))
        path.with_name("other").replace(path)  # the command goes on reading the file that it opened
        return write(*words, **named)

    monkeypatch.setattr(files, "write_pieces", after)
    result = imports.run("import", str(path))
    assert (result.exit_code, "The file changed" in result.output) == (1, True)
    assert imports.people() == 0
    monkeypatch.undo()
    path.write_bytes(right)
    assert imports.take(path)["made"] == 1


def test_a_run_whose_pieces_are_not_the_files_says_so_and_the_next_goes_through_it_anew(
    imports: Imports, place: Place, tmp_path: Path
) -> None:
    path = written(tmp_path, [row(1), row(2)])
    wrote, _ = writer(place, path)
    (piece,) = writer(place, written(tmp_path, [row(3), row(4)], "other.csv"))[1]
    wrote.write(piece)
    with place.work() as session:
        values = {"print": _print(path, piece_bytes=1024), "run": wrote.run_id}
        session.execute(text("UPDATE import_run SET fingerprint = :print WHERE id = :run"), values)
    result = imports.run("import", str(path), "--piece-kib", "1")
    assert (result.exit_code, "other rows than this file holds" in result.output) == (1, True)
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'import.failed'") == [(1,)]
    assert imports.take(path, "--piece-kib", "1") == {"rows": 2, "made": 2, "known": 0, "bad": 0}


def test_a_start_that_waited_for_another_reports_and_does_not_finish_again(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(1), row(2, phone="1")])

    @contextmanager
    def after_the_first(place: Place, run_id: UUID) -> Iterator[None]:
        monkeypatch.undo()
        imports.take(path)
        with holding.held(place, run_id):
            yield

    monkeypatch.setattr(files, "held", after_the_first)
    assert imports.take(path) == {"rows": 2, "made": 1, "known": 0, "bad": 1}
    assert imports.rows("SELECT count(*) FROM audit WHERE action = 'import.done'") == [(1,)]


def test_two_first_starts_at_once_are_one_run(
    imports: Imports, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(1)])
    find = runs.find

    def too_early(session: Any, print_: bytes) -> Any:
        monkeypatch.undo()
        imports.take(path, "--dry-run")  # another fingerprint
        with place.work() as other:
            runs.begin(other, print_, Options([]), size=0, now=datetime.now(UTC))

    monkeypatch.setattr(runs, "find", too_early)
    assert imports.take(path)["made"] == 1
    assert runs.find is find
    assert imports.rows("SELECT count(*) FROM import_run WHERE NOT dry_run") == [(1,)]


def test_who_is_registered_between_the_two_questions_of_a_second_attempt_is_known(
    imports: Imports, place: Place, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def and_then(cursor: Any, people: Any, secrets: Any) -> Any:
        found = standing.taken(cursor, people, secrets)
        service.app.register(1)
        return found

    monkeypatch.setattr(writing, "taken", and_then)
    wrote, (piece,) = writer(place, written(tmp_path, [row(1), row(2)]), dry_run=True)
    assert wrote.write(piece) == Counts(2, 1, 1, 0)


def test_a_dry_run_tells_of_card_ids_that_are_taken(imports: Imports, service: Service, tmp_path: Path) -> None:
    service.app.register(1)
    with service.session() as session:
        session.execute(text("UPDATE identity_document SET closed_at = now()"))
    path = written(tmp_path, [row(1), row(2)])
    assert imports.take(path, "--dry-run") == imports.take(path) == {"rows": 2, "made": 1, "known": 0, "bad": 1}


def test_what_was_wrong_is_told_also_when_the_import_stops(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "MOST_SLIPS", 1)
    path = written(tmp_path, [row(1, phone="1"), *(row(n) for n in range(30))])
    path.write_bytes(path.read_bytes() + b'"x,01,1,1\n' * 3)
    result = imports.run("import", str(path), "--workers", "1", "--piece-kib", "1")
    assert (result.exit_code, "no CSV" in result.output) == (1, True)
    assert faults(tmp_path / "people.csv.errors.csv") == [(2, "phone", "phone-form")]


def test_a_place_for_the_errors_that_cannot_be_written_is_told_at_the_start(imports: Imports, tmp_path: Path) -> None:
    path = written(tmp_path, [row(1)])
    result = imports.run("import", str(path), "--errors", str(tmp_path / "nowhere" / "errors.csv"))
    assert (result.exit_code, "Cannot write" in result.output) == (1, True)
    assert imports.people() == 0


def test_an_error_file_that_fails_leaves_no_draft(
    imports: Imports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, [row(1, phone="1")])

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write_csv", fails)
    assert imports.run("import", str(path)).exit_code == 1
    assert [each.name for each in tmp_path.iterdir()] == ["people.csv"]


@pytest.mark.parametrize("interrupts", [1, 2])
def test_a_worker_that_hangs_does_not_outlive_ctrl_c(monkeypatch: pytest.MonkeyPatch, interrupts: int) -> None:
    monkeypatch.setattr(pool, "_COMMAND", [sys.executable, "-c", "import time; time.sleep(600)"])
    monkeypatch.setattr(pool, "_PATIENCE", 0.5 if interrupts == 1 else 600)
    for at in range(interrupts):
        Timer(1 + at, os.kill, (os.getpid(), signal.SIGINT)).start()
    pieces = iter([Piece(0, 0, 2, b"x\n")])
    with pytest.raises(KeyboardInterrupt):
        pool.write_pieces(pieces, workers=1, order={}, tell=lambda size, counts: None)


def test_an_operator_vouches_for_the_register(imports: Imports, tmp_path: Path) -> None:
    imports.take(written(tmp_path, [row(1, level="external-match")]), EHC_AUTHORITY_URL="http://127.0.0.1:1",
                 EHC_AUTHORITY_KEY_FILE=os.environ["EHC_KEK_FILE"])  # fmt: skip
    assert imports.rows("SELECT status, level FROM card") == [("active", "external-match")]
    assert imports.rows("SELECT count(*) FROM identity_proof") == [(0,)]


def _print(path: Path, **options: Any) -> bytes:
    from hashlib import sha256

    header = path.read_bytes().splitlines()[0].decode().split(",")
    return runs.fingerprint(sha256(path.read_bytes()).digest(), Options(header, level=Level.DOCUMENT_SEEN, **options))


def test_ids_tell_when_they_were_made(imports: Imports, tmp_path: Path) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)
    imports.take(written(tmp_path, [row(1)]))
    from ehc.core.ids import uuid7_time

    for table in ("resident", "identity_document", "card", "card_event"):
        made: UUID = imports.rows(f"SELECT id FROM {table}")[0][0]
        assert began < uuid7_time(made) < datetime.now(UTC)
    assert person(1)["id_number"] == citizen_number(1)
