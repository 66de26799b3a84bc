"""`/v1/imports`: a file taken in, imported by its job, told of to the client that sent it and to nobody else."""

import io
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from ehc import jobs
from ehc.access import clients
from ehc.callers import Scope
from ehc.errors import EhcError
from ehc.files import pieces
from ehc.issuer.batch import api, purging, runs, tasks, uploads, writing
from ehc.issuer.batch.models import ImportPartRow
from ehc.issuer.batch.options import Options
from ehc.place import Place
from ehc.settings import Settings
from ehc.worker import upkeep
from tests.support.imports import csv_bytes, row
from tests.support.service import Api, Service, citizen_number, told


@pytest.fixture
def service(settings: Settings) -> Iterator[Service]:
    """A service that takes files of 1 MiB."""
    made = Service.start(replace(settings, import_megabytes=1))
    yield made
    made.stop()


@pytest.fixture
def place(service: Service) -> Iterator[Place]:
    made = Place(service.settings, clock=service.clock)
    yield made
    made.close()


def importer(service: Service) -> Api:
    with service.session() as session:
        scopes = frozenset({Scope.BATCH, Scope.CARDS})
        made = clients.add_app(session, name="卫生统计平台", scopes=scopes, now=service.clock.now())
    return Api(service.client(), made)


@pytest.fixture
def sender(service: Service) -> Api:
    return importer(service)


def send(sender: Api, data: bytes, query: str = "", **more: Any) -> TestResponse:
    return sender.http.post(
        f"/v1/imports{query}", data=data, headers=sender.headers, **{"content_type": "text/csv", **more}
    )


def accepted(answer: TestResponse) -> str:
    assert answer.status_code == 202, answer.text
    import_id = str(told(answer)["import_id"])
    assert answer.headers["Location"] == f"/v1/imports/{import_id}"
    return import_id


def count(service: Service, table: str) -> int:
    with service.session() as session:
        return int(session.scalars(text(f"SELECT count(*) FROM {table}")).one())


def states(service: Service) -> list[str]:
    with service.session() as session:
        return list(session.scalars(text("SELECT state FROM import_run ORDER BY id")))


def test_a_file_is_imported_by_its_job_and_told_of(service: Service, place: Place, sender: Api) -> None:
    service.app.register(1)
    data = csv_bytes([row(1), row(2), row(3, phone="1"), row(4, "")])
    import_id = accepted(send(sender, data))
    path = f"/v1/imports/{import_id}"
    waiting = told(sender.get(path))
    assert (waiting["state"], waiting["rows"], waiting["finished_at"]) == ("waiting", 0, None)
    assert count(service, "procrastinate_jobs") == 1
    service.clock.advance(2)
    tasks.run_import(place, import_id)
    done = told(sender.get(path))
    counted = {name: done[name] for name in ("state", "dry_run", "rows", "made", "known", "bad")}
    assert counted == {"state": "done", "dry_run": False, "rows": 4, "made": 1, "known": 1, "bad": 2}
    errors = told(sender.get(f"{path}/errors", Accept_Language="en"))
    assert [(each["line"], each["column"], each["code"]) for each in errors["items"]] == [
        (4, "phone", "phone-form"),
        (5, "name", "required"),
    ]
    assert errors["items"][1]["message"] == "This column must be filled."
    assert errors["next"] is None
    with service.session() as session:
        cards = list(session.scalars(text("SELECT id FROM card")))
    assert [sender.get(f"/v1/cards/{card}").status_code for card in cards] == [200, 200]
    tasks.run_import(place, import_id)
    assert told(sender.get(path)) == done
    assert count(service, "import_part") == 0


def test_errors_come_in_pages(service: Service, place: Place, sender: Api) -> None:
    import_id = accepted(send(sender, csv_bytes([row(n, phone="1", sex="x") for n in range(3)])))
    tasks.run_import(place, import_id)
    found, cursor = [], ""
    for _ in range(3):
        page = told(sender.get(f"/v1/imports/{import_id}/errors?limit=2{cursor}"))
        found += [(each["line"], each["column"]) for each in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert found == [(line, column) for line in (2, 3, 4) for column in ("sex", "phone")]
    for wrong in ("limit=0", "limit=1001", "cursor=x", "cursor=MXwx%00"):
        assert sender.get(f"/v1/imports/{import_id}/errors?{wrong}").status_code == 422


def test_nobody_else_sees_an_import(service: Service, place: Place, sender: Api) -> None:
    import_id = accepted(send(sender, csv_bytes([row(1)])))
    other = importer(service)
    for path in ("", "/errors"):
        answer = other.get(f"/v1/imports/{import_id}{path}")
        assert (answer.status_code, told(answer)["code"]) == (404, "import-not-found")


def test_the_scope_batch_is_needed(service: Service) -> None:
    for api_ in (service.app, service.terminal):
        assert send(api_, csv_bytes([row(1)])).status_code == 403
    assert service.client().post("/v1/imports", data=b"", content_type="text/csv").status_code == 401


def test_the_same_file_again_is_the_same_import(service: Service, place: Place, sender: Api) -> None:
    data = csv_bytes([row(1)])
    first = accepted(send(sender, data))
    assert accepted(send(sender, data)) == first
    tasks.run_import(place, first)
    assert accepted(send(sender, data)) == first
    others = {accepted(send(sender, data, "?dry_run=true")), accepted(send(sender, data, "?level=clerk")),
              accepted(send(importer(service), data)), accepted(send(sender, data + b"\n"))}  # fmt: skip
    assert len(others | {first}) == 5
    assert sorted(states(service)) == ["done", *["failed"] * 2, *["waiting"] * 4]  # what came again is not kept
    assert count(service, "import_part") == 4


def test_a_dry_run_makes_nobody(service: Service, place: Place, sender: Api) -> None:
    import_id = accepted(send(sender, csv_bytes([row(1), row(1), row(2, phone="x")]), "?dry_run=true"))
    tasks.run_import(place, import_id)
    done = told(sender.get(f"/v1/imports/{import_id}"))
    assert (done["dry_run"], done["made"], done["known"], done["bad"]) == (True, 1, 1, 1)
    assert (count(service, "resident"), count(service, "import_seen")) == (0, 0)


@pytest.mark.parametrize(("size", "status"), [(2**20, 202), (2**20 + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_file_has_a_largest_size(service: Service, sender: Api, size: int, status: int, chunked: bool) -> None:
    data = csv_bytes([row(1)])
    data += b"\n" * (size - len(data))
    if chunked:
        environ = {"wsgi.input": io.BytesIO(data), "wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        answer = sender.http.post(
            "/v1/imports", headers=sender.headers, content_type="text/csv", environ_overrides=environ
        )
    else:
        answer = send(sender, data)
    assert answer.status_code == status, answer.text
    if status == 413:
        assert told(answer)["code"] == "body-too-large"
        assert states(service) == ["failed"]
        assert count(service, "import_part") == 0


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("text/csv; charset=utf-8", 202),
        ("text/csv; charset=GB18030", 202),
        ("text/csv; charset=big5", 415),
        ("application/json", 415),
        ("text/plain", 415),
    ],
)
def test_only_csv_is_taken(sender: Api, content_type: str, status: int) -> None:
    assert send(sender, b"name,id_type,id_number\n", content_type=content_type).status_code == status


def test_gb18030_is_read_as_such_and_what_is_not_text_costs_its_line(
    service: Service, place: Place, sender: Api
) -> None:
    data = csv_bytes([row(1, "王𠮷明"), row(2)]).decode().encode("gb18030") + b"\xff\xff,01,1,1\n"
    import_id = accepted(send(sender, data, content_type="text/csv; charset=gb18030"))
    tasks.run_import(place, import_id)
    done = told(sender.get(f"/v1/imports/{import_id}"))
    assert (done["made"], done["bad"]) == (2, 1)
    assert told(sender.get(f"/v1/imports/{import_id}/errors"))["items"][0]["code"] == "encoding"


@pytest.mark.parametrize("query", ["?dry_run=yes", "?level=none", "?workers=3"])
def test_a_wrong_query_is_refused(service: Service, sender: Api, query: str) -> None:
    assert send(sender, csv_bytes([row(1)]), query).status_code == 422
    assert count(service, "import_run") == 0


@pytest.mark.parametrize("data", [b"", "姓名\n".encode(), b"\xff\n", b"name,id_type,id_number,guardian\n"])
def test_a_file_without_a_right_header_is_refused(service: Service, sender: Api, data: bytes) -> None:
    answer = send(sender, data)
    assert (answer.status_code, told(answer)["code"]) == (422, "import-file")
    assert count(service, "import_run") == 0


def test_what_waits_is_sealed(service: Service, place: Place, sender: Api) -> None:
    rows = [row(n, address="北京市朝阳区" * 9) for n in range(3)]
    accepted(send(sender, csv_bytes(rows)))
    with service.session() as session:
        kept = b"".join(session.scalars(text("SELECT data FROM import_part")).all())
        said = " ".join(session.scalars(text("SELECT r::text FROM import_run r UNION ALL SELECT args::text FROM"
                                             " procrastinate_jobs UNION ALL SELECT entry FROM audit")).all())  # fmt: skip
    for value in ("王小明", "北京", citizen_number(1), "13800138000"):
        assert value.encode() not in kept
        assert value.encode().decode("latin-1").encode() not in kept
        assert value not in said


def test_a_job_that_is_stopped_goes_on_where_it_was(
    service: Service, place: Place, sender: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PIECE_BYTES", 4096)
    import_id = accepted(send(sender, csv_bytes([row(n) for n in range(300)])))
    write, wrote, again = writing.Writer.write, list[int](), list[int]()

    def interrupted(self: writing.Writer, piece: Any) -> Any:
        if len(wrote) == 2:
            raise ConnectionError
        wrote.append(piece.number)
        return write(self, piece)

    monkeypatch.setattr(writing.Writer, "write", interrupted)
    with pytest.raises(ConnectionError):
        tasks.run_import(place, import_id)
    half = told(sender.get(f"/v1/imports/{import_id}"))
    assert half["state"] == "running"
    assert 0 < half["made"] < 300

    def noted(self: writing.Writer, piece: Any) -> Any:
        again.append(piece.number)
        return write(self, piece)

    monkeypatch.setattr(writing.Writer, "write", noted)
    tasks.run_import(place, import_id)
    assert set(again).isdisjoint(wrote)
    assert told(sender.get(f"/v1/imports/{import_id}"))["made"] == 300 == count(service, "card")


def test_an_app_does_not_vouch_for_the_register(service: Service, place: Place, sender: Api) -> None:
    answer = send(sender, csv_bytes([row(1)]), "?level=external-match")
    assert (answer.status_code, told(answer)["errors"][0]["code"]) == (422, "choice")
    import_id = accepted(send(sender, csv_bytes([row(1, level="external-match"), row(2, level="clerk")])))
    tasks.run_import(place, import_id)
    errors = told(sender.get(f"/v1/imports/{import_id}/errors"))["items"]
    assert [(each["line"], each["column"], each["code"]) for each in errors] == [(2, "level", "choice")]
    with service.session() as session:
        assert session.execute(text("SELECT level, status FROM card")).all() == [("clerk", "active")]
        assert session.execute(text("SELECT party FROM card_event")).all() == [("resident",)]
    assert count(service, "identity_proof") == 0


def test_while_a_file_comes_in_no_connection_is_held(
    service: Service, sender: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PIECE_BYTES", 1024)
    held = []

    read = uploads._Content.read

    def noted(self: Any, size: int) -> bytes:
        held.append(service.engine.pool.checkedout())  # type: ignore[attr-defined]  # a pool of the plain kind
        return read(self, size)

    monkeypatch.setattr(uploads._Content, "read", noted)
    answer = send(sender, csv_bytes([row(n) for n in range(300)]))
    accepted(answer)
    assert len(held) > 3
    assert set(held) == {0}
    assert count(service, "import_part") > 2


def test_what_breaks_off_leaves_nothing_and_can_be_sent_again(
    service: Service, place: Place, sender: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PIECE_BYTES", 1024)
    monkeypatch.setattr(pieces, "MOST_SLIPS", 1)
    data = csv_bytes([row(n) for n in range(300)])
    assert send(sender, data + b'"x,01,1,1\n' * 3).status_code == 422
    assert count(service, "import_part") == count(service, "procrastinate_jobs") == 0
    tasks.run_import(place, accepted(send(sender, data)))
    assert count(service, "card") == 300


def lose_job(service: Service, how: str) -> None:
    """What `ehc jobs cancel` does, and what a tenth failure leaves."""
    with service.session() as session:
        (job,) = session.scalars(text("SELECT id FROM procrastinate_jobs"))
        if how == "cancel":
            jobs.cancel(session, job)
        else:
            session.execute(text("UPDATE procrastinate_jobs SET status = 'failed'"))


@pytest.mark.parametrize("how", ["cancel", "fail"])
def test_an_import_whose_job_is_gone_says_so_and_goes_on_when_it_is_sent_again(
    service: Service, place: Place, sender: Api, how: str
) -> None:
    data = csv_bytes([row(1)])
    import_id = accepted(send(sender, data))
    path = f"/v1/imports/{import_id}"
    lose_job(service, how)
    assert told(sender.get(path))["state"] == "failed"
    for _ in range(2):
        answer = send(sender, data)
        assert (accepted(answer), told(answer)["state"]) == (import_id, "waiting")
    with service.session() as session:
        assert session.scalar(text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo'")) == 1
    tasks.run_import(place, import_id)
    assert told(sender.get(path))["state"] == "done"


def test_what_was_given_up_goes_after_its_time(service: Service, place: Place, sender: Api) -> None:
    kept = accepted(send(sender, csv_bytes([row(1)])))
    lost = accepted(send(sender, csv_bytes([row(2)]), "?dry_run=true"))
    with service.session() as session:
        session.execute(text("DELETE FROM procrastinate_jobs WHERE args->>'run_id' = :run"), {"run": lost})
        session.execute(text("INSERT INTO import_seen VALUES (:run, '\\x00', '\\x00')"), {"run": lost})
        options = Options([], actor=f"app:{uuid4()}")
        half = runs.add(session, options, now=service.clock.now())
        part = ImportPartRow(run_id=half.id, number=0, first_line=2, data=b"x")
        session.add(part)
    for wait, closed in (
        (purging.RECEIVING - timedelta(seconds=1), 0),
        (timedelta(seconds=1), 1),
        (purging.STOPPED - purging.RECEIVING - timedelta(seconds=1), 1),
        (timedelta(seconds=1), 2),
        (timedelta(days=30), 2),
    ):
        service.clock.advance(wait.total_seconds())
        upkeep(place)
        assert states(service).count("failed") == closed
    assert (count(service, "import_part"), count(service, "import_seen")) == (1, 0)
    sender.__post_init__()  # a new token
    assert told(sender.get(f"/v1/imports/{lost}"))["state"] == "failed"
    assert accepted(send(sender, csv_bytes([row(2)]), "?dry_run=true")) != lost
    assert told(sender.get(f"/v1/imports/{kept}"))["state"] == "waiting"


def test_a_client_is_told_how_far_it_is(
    service: Service, place: Place, sender: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "PIECE_BYTES", 4096)
    data = csv_bytes([row(n) for n in range(300)])
    path = f"/v1/imports/{accepted(send(sender, data))}"
    write, seen = writing.Writer.write, []

    def noted(self: writing.Writer, piece: Any) -> Any:
        service.clock.advance(2)
        done = write(self, piece)
        seen.append(told(sender.get(path)))
        return done

    monkeypatch.setattr(writing.Writer, "write", noted)
    tasks.run_import(place, path.rpartition("/")[2])
    first = seen[0]
    assert (first["size"], first["state"]) == (len(data), "running")
    assert 0 < first["bytes_done"] < 4097
    assert first["seconds_left"] == round((len(data) - first["bytes_done"]) * 2 / first["bytes_done"])
    done = told(sender.get(path))
    assert (done["bytes_done"], done["seconds_left"]) == (len(data), 0)


def test_every_kind_of_error_has_a_status() -> None:
    from ehc.files import holding
    from ehc.issuer.batch import pool, runs, uploads

    kinds = {
        kind
        for module in (holding, pool, pieces, runs, uploads)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, EhcError) and kind.__module__ == module.__name__
    }
    assert kinds == set(api.STATUSES)
