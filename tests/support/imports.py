"""Files of people for tests, and the command that imports them."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from ehc.commands import main
from tests.support.service import citizen_number

HEADER = ["name", "id_type", "id_number", "phone"]


def row(serial: int, name: str = "王小明", **changes: str) -> dict[str, str]:
    """A person; each `serial` below 1000 is another one."""
    return {"name": name, "id_type": "01", "id_number": citizen_number(serial), "phone": "13800138000"} | changes


def csv_bytes(rows: Sequence[dict[str, str]]) -> bytes:
    """A file with a column for everything that a row names."""
    columns = list(dict.fromkeys([*HEADER, *(name for each in rows for name in each)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def written(folder: Path, rows: Sequence[dict[str, str]], name: str = "people.csv") -> Path:
    path = folder / name
    path.write_bytes(csv_bytes(rows))
    return path


class Imports:
    """`ehc cards …` on a test's database."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    def run(self, *words: str, **env: str) -> Result:
        return CliRunner().invoke(main, ["cards", *words], env={"EHC_DATABASE_URL": self._url} | env)

    def take(self, path: Path, *options: str, **env: str) -> dict[str, int]:
        """Import a file; what the report counts."""
        result = self.run("import", str(path), "--workers", "1", *options, **env)
        assert result.exit_code == 0, result.output
        return counted(result.stdout)

    def rows(self, statement: str, **values: Any) -> list[Any]:
        engine = create_engine(self._url, poolclass=NullPool)
        with engine.connect() as connection:
            return list(connection.execute(text(statement), values))

    def people(self) -> int:
        return int(self.rows("SELECT count(*) FROM resident")[0][0])


def counted(report: str) -> dict[str, int]:
    lines = [line.split() for line in report.splitlines()]
    return {line[0]: int(line[1]) for line in lines if line and line[0] in {"rows", "made", "known", "bad"}}


def faults(path: Path) -> list[tuple[int, str, str]]:
    """Line, column and code of everything in an error file."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [(int(each["line"]), each["column"], each["code"]) for each in csv.DictReader(file)]
