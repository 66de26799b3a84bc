"""A hospital's list of existing patients: exact matches are bound, everybody else waits for a person."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from ehc.binding import patient_lists, patient_reviews
from ehc.binding.patient_ids import PatientIdInPlace
from ehc.binding.patient_lists import COLUMNS, PatientList, Report, Why, write_faults
from ehc.binding.patient_reviews import NoCardToBind
from ehc.binding.proofs import CardSuspended, NoSuchBinding
from ehc.commands import main
from ehc.files import pieces
from ehc.files.progress import Progress
from ehc.place import Place
from tests.contract.helpers import secrets_of
from tests.support.service import Service, citizen_number, told

Row = dict[str, str]
Bind = Callable[..., Report]


def row(serial: int, number: str, **changes: str) -> Row:
    return {
        "patient_id": number,
        "patient_id_type": "outpatient",
        "name": "王小明",
        "id_type": "01",
        "id_number": citizen_number(serial),
    } | changes


@pytest.fixture
def place(service: Service) -> Iterator[Place]:
    made = Place(service.settings, clock=service.clock)
    yield made
    made.close()


@pytest.fixture
def institution(service: Service) -> UUID:
    with service.session() as session:
        return UUID(str(session.scalar(text("SELECT id FROM institution WHERE code = 'H1'"))))


@pytest.fixture
def bind(place: Place, institution: UUID, tmp_path: Path) -> Bind:
    """Bind the patients of a list: `bind(row(...), row(...))`."""

    def run(*rows: Row, name: str = "list.csv") -> Report:
        file = tmp_path / name
        with file.open("w", encoding="utf-8", newline="") as out:
            written = csv.DictWriter(out, COLUMNS.names)
            written.writeheader()
            written.writerows(rows)
        teller = Progress(file.stat().st_size, io.StringIO())
        return PatientList(place, file, institution, encoding="utf-8", actor="operator", teller=teller).run()

    return run


def counts(report: Report) -> tuple[int, int, int, int, int]:
    return report[1:]


def reasons(service: Service, institution: UUID) -> list[str]:
    with service.session() as session:
        return [one.reason for one in patient_reviews.waiting(session, institution)]


def ids_of(service: Service, card: dict[str, Any]) -> list[str]:
    path = f"/v1/cards/{card['card_id']}/bindings/patient-ids"
    return [one["patient_id"] for one in told(service.terminal.get(path))["items"]]


def test_an_exact_match_is_bound_and_told_at_the_next_check(service: Service, bind: Bind) -> None:
    card = service.app.register(1)
    assert counts(bind(row(1, "P-1"), row(1, "I-1", patient_id_type="inpatient"))) == (2, 2, 0, 0, 0)
    scan = service.terminal.scan(service.app.code(card["card_id"]))
    assert (scan["patient_id"], scan["patient_ids"]) == ("P-1", {"outpatient": "P-1", "inpatient": "I-1"})
    at_bed = service.terminal.scan(service.app.code(card["card_id"]), step="inpatient")
    assert at_bed["patient_id"] == "I-1"
    assert "patient_id" not in service.second_terminal.scan(service.app.code(card["card_id"]))


def test_anything_but_an_exact_match_waits(service: Service, bind: Bind, institution: UUID) -> None:
    for serial in (1, 2, 3, 4):
        service.app.register(serial)
    card = service.app.register(5)
    service.app.post(f"/v1/cards/{card['card_id']}/suspend", {"reason": "出国"})
    bind(row(4, "P-4"), name="first.csv")
    report = bind(
        row(1, "P-1"),
        row(2, "P-2", name="王小红"),
        row(9, "P-9"),
        row(3, "P-1"),  # somebody else's in this very list
        row(3, "P-4"),  # somebody else's in the register
        row(4, "P-5"),  # has another here
        row(5, "P-6"),
        row(4, "P-4"),  # known
    )
    assert counts(report) == (8, 1, 1, 6, 0)
    assert reasons(service, institution) == [
        Why.NAME,
        Why.NO_CARD,
        Why.OTHER_CARD,
        Why.OTHER_CARD,
        Why.OTHER_ID,
        Why.CARD,
    ]


def test_a_bad_row_is_told_with_its_line_and_the_others_are_bound(
    service: Service, bind: Bind, place: Place, tmp_path: Path
) -> None:
    service.app.register(1)
    report = bind(
        row(1, "P 1"),
        row(1, "P-1", patient_id_type="dental"),
        row(1, "P-1", id_number="110105199003070012"),
        row(1, "P-1", name=""),
        row(1, "P-1"),
    )
    assert counts(report) == (5, 1, 0, 0, 4)
    errors = tmp_path / "errors.csv"
    write_faults(place, report.run_id, errors)
    assert errors.stat().st_mode & 0o777 == 0o600
    lines = list(csv.reader(errors.read_text(encoding="utf-8-sig").splitlines()))[1:]
    assert [line[:3] for line in lines] == [
        ["2", "patient_id", "patient-id"],
        ["3", "patient_id_type", "patient-id-type"],
        ["4", "id_number", "document"],
        ["5", "name", "name"],
    ]


def test_the_same_list_again_is_only_reported_on(service: Service, bind: Bind) -> None:
    service.app.register(1)
    first = bind(row(1, "P-1"), row(7, "P-7"))
    assert bind(row(1, "P-1"), row(7, "P-7"), name="copy.csv") == first


def test_a_list_that_was_stopped_goes_on_where_it_was(
    service: Service, bind: Bind, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row(serial, f"P-{serial}") for serial in range(1, 401)]
    for serial in range(20, 401, 20):
        service.app.register(serial)
    cut = pieces.Cutter.__init__
    monkeypatch.setattr(pieces.Cutter, "__init__", lambda self, read: cut(self, read, size=512))
    settle, done = patient_lists._Piece.settle, []

    def stopped(self: Any, piece: Any, *rest: Any) -> None:
        settle(self, piece, *rest)
        done.append(piece.number)
        if len(done) == 3:
            raise ConnectionError  # in the transaction of the third piece

    monkeypatch.setattr(patient_lists._Piece, "settle", stopped)
    with pytest.raises(ConnectionError):
        bind(*rows)
    with service.session() as session:
        after_stop = session.execute(text("SELECT done_pieces, rows, bound, review FROM patient_import")).one()
        kept = [session.scalar(text(f"SELECT count(*) FROM {name}")) for name in ("patient_id", "patient_review")]
    assert after_stop.done_pieces == 2
    assert [after_stop.bound, after_stop.review] == kept
    assert after_stop.rows == sum(kept) < 400
    assert counts(bind(*rows)) == (400, 20, 0, 380, 0)
    assert done[3] == 2  # the one that was rolled back, and none before it


def test_a_person_decides_on_who_waits(service: Service, bind: Bind, institution: UUID) -> None:
    card = service.app.register(1)
    bind(row(1, "P-1", name="王晓明"), row(2, "P-2"))
    secrets, now = secrets_of(service), service.clock.now()
    with service.session() as session:
        named, nobody = patient_reviews.waiting(session, institution)
        shown = patient_reviews.show(session, named.id, by="staff:7", secrets=secrets, now=now)
        assert (shown.number, shown.name, shown.holder) == ("P-1", "王晓明", "王**")
        with pytest.raises(NoCardToBind):
            patient_reviews.bind(session, nobody.id, by="staff:7", secrets=secrets, now=now)
        patient_reviews.bind(session, named.id, by="staff:7", secrets=secrets, now=now)
        patient_reviews.dismiss(session, nobody.id, by="staff:7", now=now)
        with pytest.raises(NoSuchBinding):
            patient_reviews.bind(session, named.id, by="staff:8", secrets=secrets, now=now)
    assert ids_of(service, card) == ["P-1"]
    with service.session() as session:
        left = session.execute(
            text("SELECT number, name, decision, decided_by FROM patient_review ORDER BY line")
        ).all()
        acts = session.scalars(text("SELECT action FROM audit WHERE action LIKE 'patient-ids.review%'")).all()
    assert [tuple(one) for one in left] == [(None, None, "bound", "staff:7"), (None, None, "dismissed", "staff:7")]
    assert sorted(acts) == ["patient-ids.review-decided"] * 2 + ["patient-ids.review-read"]


def test_a_decision_does_not_bind_to_a_card_that_cannot_have_it(
    service: Service, bind: Bind, institution: UUID
) -> None:
    card = service.app.register(1)
    bind(row(1, "P-1"), name="first.csv")
    bind(row(1, "P-2"), row(1, "P-3", patient_id_type="inpatient", name="王晓明"))
    secrets, now = secrets_of(service), service.clock.now()
    with service.session() as session:
        other, named = (one.id for one in patient_reviews.waiting(session, institution))
        with pytest.raises(PatientIdInPlace):
            patient_reviews.bind(session, other, by="staff:7", secrets=secrets, now=now)
    service.app.post(f"/v1/cards/{card['card_id']}/suspend", {"reason": "出国"})
    with service.session() as session, pytest.raises(CardSuspended):
        patient_reviews.bind(session, named, by="staff:7", secrets=secrets, now=now)


def test_what_is_kept_of_a_list_is_sealed(service: Service, bind: Bind) -> None:
    service.app.register(1)
    bind(row(1, "SECRET-1"), row(8, "SECRET-8", name="欧阳修"))
    with service.session() as session:
        for table in ("patient_id", "patient_review", "patient_fault", "binding_event", "audit"):
            held = " ".join(session.scalars(text(f"SELECT row_to_json({table})::text FROM {table}")))
            for secret in ("SECRET-1", "SECRET-8", "欧阳修", citizen_number(8)):
                assert secret not in held
                assert secret.encode().hex() not in held


def test_each_binding_of_a_list_is_told_and_audited_as_any_other(service: Service, bind: Bind) -> None:
    cards = [service.app.register(serial) for serial in (1, 2, 3)]
    bind(row(1, "P-1"), row(2, "P-2"), row(3, "P-3"), row(4, "P-4"))
    with service.session() as session:
        events = session.execute(
            text("SELECT binding_id::text, actor, party FROM binding_event WHERE kind = 'patient-id' ORDER BY seq")
        ).all()
        sent = session.scalars(text("SELECT facts FROM outbox_event WHERE kind = 'binding.changed' ORDER BY seq")).all()
        acts = session.scalars(text("SELECT subject FROM audit WHERE action = 'card.patient-id-bound'")).all()
    assert [tuple(one)[1:] for one in events] == [("operator", "staff")] * 3
    assert sent == [{"binding_id": one[0], "binding_kind": "patient-id", "action": "bound"} for one in events]
    assert sorted(acts) == sorted(card["card_id"] for card in cards)


def test_a_piece_that_lost_a_race_is_settled_again(
    service: Service, bind: Bind, institution: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A window binds a patient id of the list to somebody else's card, after the list was compared with the register."""
    service.app.register(1)
    other = service.app.register(2)
    verified = service.terminal.scan(service.app.code(other["card_id"]))["verification_id"]
    live = patient_lists._Piece._live
    raced: list[int] = []

    def overtaken(self: Any, *args: Any) -> Any:
        found = live(self, *args)
        if not raced:
            body = {"id_type": "outpatient", "patient_id": "P-1", "verification_id": verified}
            answer = service.terminal.post(f"/v1/cards/{other['card_id']}/bindings/patient-ids", body)
            raced.append(answer.status_code)
        return found

    monkeypatch.setattr(patient_lists._Piece, "_live", overtaken)
    report = bind(row(1, "P-1"))
    assert raced == [201]
    assert (counts(report), reasons(service, institution)) == ((1, 0, 0, 1, 0), [Why.OTHER_CARD])
    assert ids_of(service, other) == ["P-1"]


def test_everybody_who_waits_is_listed(service: Service, bind: Bind, institution: UUID) -> None:
    bind(*(row(serial % 999, f"P-{serial}") for serial in range(1050)))
    with service.session() as session:
        assert sum(1 for _ in patient_reviews.waiting(session, institution)) == 1050


def test_those_whom_nobody_can_bind_are_dismissed_together(
    service: Service, bind: Bind, institution: UUID, database_url: str
) -> None:
    service.app.register(1)
    bind(row(1, "P-1", name="王晓明"), *(row(serial % 900 + 2, f"P-{serial}") for serial in range(2, 1100)))
    words = ["bindings", "patients", "dismiss", "H1", "--reason", "no-card", "--by", "7"]
    done = CliRunner().invoke(main, words, env={"EHC_DATABASE_URL": database_url})
    assert (done.exit_code, done.stdout) == (0, "1098 dismissed\n"), done.output
    assert reasons(service, institution) == [Why.NAME]
    with service.session() as session:
        left = text("SELECT count(*) FROM patient_review WHERE reason = 'no-card' AND (name, number) IS NOT NULL")
        assert session.scalar(left) == 0
        acts = text("SELECT count(*) FROM audit WHERE action = 'patient-ids.review-decided'")
        assert session.scalar(acts) == 1098
