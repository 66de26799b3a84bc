"""`ehc institutions …`: all that the API can, and the table of regions."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, text

from ehc.access import clients, regions
from ehc.access.institution_models import RegionRow
from ehc.audit import AuditRow
from ehc.commands import main
from ehc.core import tables
from tests.support.institutions import LIXIA, credit, ws218
from tests.support.service import Service

Run = Callable[..., str]


@pytest.fixture
def invoke(database_url: str) -> Callable[..., Result]:
    def command(*words: str) -> Result:
        return CliRunner().invoke(main, ["institutions", *words], env={"EHC_DATABASE_URL": database_url})

    return command


@pytest.fixture
def run(invoke: Callable[..., Result]) -> Run:
    """What `ehc institutions …` says, where it works."""

    def command(*words: str) -> str:
        result = invoke(*words)
        assert result.exit_code == 0, result.output
        return result.stdout

    return command


def failed(result: Result) -> str:
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr


def test_an_institution_lives_at_the_command_line(run: Run, invoke: Callable[..., Result]) -> None:
    options = ("--name", "第九医院", "--region", LIXIA, "--contact-phone", "0531-1")
    assert run("add", ws218(), "H9", *options).split()[1:] == [ws218(), "第九医院"]
    run("change", "H9", "--name", "第九人民医院", "--contact-name", "王主任")
    code_id = run("add-code", "H9", "uscc", credit(), "--from", "2020-01-01").strip()
    parent = run("add-department", "H9", "内科", "--standard-code", "0300").strip()
    child = run("add-department", credit(), "呼吸内科", "--parent", parent).strip()
    run("change-department", "H9", child, "--name", "呼吸科")
    shown = run("show", ws218(), "--contacts")
    for part in ("第九人民医院", "历下区", credit(), "2020-01-01", "呼吸科", "0531-1", "王主任"):
        assert part in shown
    assert "王主任" not in run("show", ws218())
    run("end-code", "H9", code_id, "--on", "2024-01-01")
    assert "There is no institution with this code." in failed(invoke("show", credit()))
    assert "There are departments below it." in failed(invoke("end-department", "H9", parent))
    run("end-department", "H9", child)
    run("end-department", "H9", parent)
    assert run("suspend", "H9", "--reason", "检查") == "suspended\n"
    assert [line.split()[1] for line in run("list", "--state", "suspended").splitlines()] == [ws218()]
    assert run("resume", "H9", "--reason", "整改") == "live\n"
    assert run("close", "H9", "--reason", "停业") == "closed\n"
    assert "What is closed stays closed." in failed(invoke("resume", "H9", "--reason", "再开"))
    assert [line.split()[1] for line in run("list", "--region", "370000").splitlines()] == [ws218()]
    assert run("list", "--region", "110000") == ""


def test_what_is_wrong_is_a_sentence(invoke: Callable[..., Result]) -> None:
    options = ("--name", "第九医院", "--region", LIXIA)
    assert "请求内容有误" in failed(invoke("add", "1" + ws218()[1:], *options))
    assert "请求内容有误" in failed(invoke("add", "H9", "--name", "x", "--region", "379999"))
    assert "There is no such region." in failed(invoke("regions", "379999"))


def test_a_file_is_brought_with_its_errors_beside_it(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "institutions.csv"
    rows = ("name,kind,region,local_code", f"医院,hospital,{LIXIA},A1", f"医院,zoo,{LIXIA},A2")
    file.write_text("\n".join(rows), encoding="utf-8")
    assert run("import", str(file)).splitlines()[:3] == ["added     1", "changed   0", "unchanged 0"]
    errors = (tmp_path / "institutions.csv.errors.csv").read_text(encoding="utf-8-sig").splitlines()
    assert errors[0] == "line,column,reason,message_zh,message_en"
    assert errors[1].startswith("3,kind,kind,")
    assert run("import", str(file)).splitlines()[:3] == ["added     0", "changed   0", "unchanged 1"]


def test_regions_are_listed(run: Run) -> None:
    assert len(run("regions").splitlines()) == 34
    assert f"{LIXIA} 历下区" in run("regions", "370100").splitlines()


def test_regions_follow_the_data_and_none_is_deleted(
    run: Run, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("load-regions").split() == ["added", "0", "renamed", "0", "retired", "0"]
    told = dict(tables.regions())
    del told[LIXIA]
    told["370103"] = tables.Region("370103", "新名", 3, "370100")
    told["370190"] = tables.Region("370190", "新区", 3, "370100")
    with service.session() as session:
        monkeypatch.setattr(tables, "regions", lambda: told)
        loaded = regions.load(session, actor="operator", now=service.clock.now())
    assert (loaded.added, loaded.renamed, loaded.retired) == (["370190"], ["370103"], [LIXIA])
    with service.session() as session:
        assert session.get_one(RegionRow, LIXIA).retired_at == service.clock.now()
        assert session.get_one(RegionRow, "370103").name == "新名"
        assert list(session.scalars(select(AuditRow.action).where(AuditRow.subject == "regions"))) == ["regions.loaded"]
    monkeypatch.undo()
    assert run("load-regions").splitlines()[0] == f"added    1 {LIXIA}"


def test_the_code_of_an_older_release_is_one_of_the_institutions_codes(service: Service) -> None:
    with service.session() as session:
        found = clients.institution(session, "H1")
        kinds = session.execute(
            text("SELECT kind, code FROM institution_code WHERE institution_id = :id"), {"id": found.id}
        )
        assert [tuple(row) for row in kinds] == [("local", "H1")]
