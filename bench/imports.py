"""A whole province imported: its rate over a bare COPY of the same rows, its memory, and what a check costs beside it.

The baseline is one connection that copies the same rows, those of the whole file, in one transaction: one COPY for each
table, from files that were prepared beforehand, into tables without indexes, keys or references. The import does everything:
reads the file, derives and seals, keeps every index, reference and the audit log.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import BinaryIO
from uuid import uuid4

import psycopg
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

from bench import patients
from bench.ground import Card, Ground
from bench.patients import Bound
from bench.routes import in_turns, serving
from ehc.cards.states import Level
from ehc.clock import SystemClock, local_day
from ehc.commands.context import Deployment
from ehc.commands.db import make_partitions, upgrade_tables
from ehc.commands.keys import init_keys
from ehc.commands.people import write_people
from ehc.dev import region
from ehc.dev.servers import Servers, environment, running
from ehc.files.pieces import Cutter, records
from ehc.issuer.batch import columns
from ehc.issuer.batch.preparing import LEVELS, prepare
from ehc.issuer.batch.sealing import TABLES, Frame, mark, seal
from ehc.issuer.registry import Registry
from ehc.keystore import secret_keys

PEOPLE = int(os.environ.get("EHC_BENCH_PEOPLE", "1000000"))
_FEW, _CHECKED, _ROUNDS = 10_000, 4000, 7
_CHUNK = 1 << 20
_SIGNATURE, _TRAILER = 19, 2
"""Bytes that PostgreSQL's binary COPY format has at the beginning and at the end."""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Imported:
    """What an import took, and the bare COPY of the same rows: the median of three, one before it and two after."""

    cards: int
    seconds: float
    memory_mb: float
    copied_per_second: float

    @property
    def rate(self) -> float:
        """Cards a second."""
        return self.cards / self.seconds


def measure(folder: Path) -> tuple[Imported, list[float], Bound]:
    """The import of `PEOPLE` people; for each round the cost of a check with all of them over that with 10,000; and what
    a hospital's list of them comes to.
    """
    shutil.rmtree(folder / "postgres", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    with running(folder) as servers, _database(servers, "bench_few") as few, _database(servers, "bench_many") as many:
        small, large = _ground(servers, folder, few), _ground(servers, folder, many)
        _import(small, _people(folder, _FEW))
        file = _people(folder, PEOPLE)
        prepared = _prepared(large, file)
        copied = [_copy(large, prepared)]
        began = time.monotonic()
        cards, memory = _import(large, file)
        seconds = time.monotonic() - began
        copied += [_copy(large, prepared) for _ in range(2)]
        for data in prepared.files.values():
            data.unlink()
        cost = _cost(small, large)
        return Imported(cards, seconds, memory, median(copied)), cost, patients.measure(large, file)


def _cost(small: Ground, large: Ground) -> list[float]:
    """Seconds a check in the large register over those in the small one, round by round in turns."""
    with serving(_with_cards(small)) as few, serving(_with_cards(large)) as many:
        rounds_few, rounds_many = in_turns(_ROUNDS, few.verify(), many.verify())
    return rounds_few.over(rounds_many)


def _import(ground: Ground, file: Path) -> tuple[int, float]:
    """Cards made and memory in MB (10^6 bytes), as the command tells."""
    command = [sys.executable, "-c", "from ehc.commands import main; main()", "cards", "import", str(file)]
    told = subprocess.run(command, env=os.environ | ground.env, stdout=subprocess.PIPE, check=True, text=True, cwd=ROOT)
    words = {line.split()[0]: line.split()[1] for line in told.stdout.splitlines() if len(line.split()) > 1}
    return int(words["made"]), float(words["memory"])


@dataclass(frozen=True)
class Prepared:
    """What one COPY for each table reads, on disk, and how many cards it comes to."""

    files: dict[str, Path]
    cards: int


def _copy(ground: Ground, prepared: Prepared) -> float:
    """Cards a second of a bare COPY of a file's rows, in one transaction."""
    address = make_url(ground.place.settings.database_url).set(drivername="postgresql")
    with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as connection:
        for table in prepared.files:
            connection.execute(f"CREATE TABLE bench_{table} AS SELECT {TABLES[table]} FROM {table} LIMIT 0")
        began = time.monotonic()
        with connection.transaction():
            for table, file in prepared.files.items():
                statement = f"COPY bench_{table} ({TABLES[table]}) FROM STDIN (FORMAT BINARY)"
                with file.open("rb") as data, connection.cursor().copy(statement) as copy:
                    while chunk := data.read(_CHUNK):
                        copy.write(chunk)
        seconds = time.monotonic() - began
        for table in prepared.files:
            connection.execute(f"DROP TABLE bench_{table}")
    return prepared.cards / seconds


def _prepared(ground: Ground, file: Path) -> Prepared:
    """The rows that an import of a file writes, piece after piece, each table's in a file of its own."""
    with ground.place.work() as session:
        secrets = secret_keys.load(session, ground.place.kek)
    registry, now = Registry(secrets), SystemClock().now()
    frame = Frame(secrets, now, "operator", {level: registry.first_status(level) for level in LEVELS}, None)
    cards, known, files = 0, set[bytes](), dict[str, Path]()
    with file.open("rb") as data, ExitStack() as stack:
        outs: dict[str, BinaryIO] = {}
        cutter = Cutter(data.read)
        header = cutter.header("utf-8", columns.PEOPLE)
        for piece in cutter.pieces():
            rows = records(piece.data, first_line=piece.first_line, encoding="utf-8")
            prepared = prepare(rows, header=header, level=Level.DOCUMENT_SEEN, today=local_day(now))
            marked = {person.number_index[:12]: person for person in reversed(mark(prepared.applicants, secrets))}
            people = [person for number, person in marked.items() if number not in known]
            known.update(marked)
            for table, copied in seal(people, range(cards, cards + len(people)), frame).copies.items():
                if table not in outs:
                    files[table] = file.with_suffix(f".{table}.copy")
                    outs[table] = stack.enter_context(files[table].open("wb"))
                    outs[table].write(copied[:_SIGNATURE])
                outs[table].write(copied[_SIGNATURE:-_TRAILER])
            cards += len(people)
        for out in outs.values():
            out.write(b"\xff" * _TRAILER)
    return Prepared(files, cards)


def _with_cards(ground: Ground) -> Ground:
    """The same ground with a sample of its cards, spread over all of them."""
    with ground.place.work() as session:
        found = [Card(row.id, row.serial) for row in session.execute(text("SELECT id, serial FROM card TABLESAMPLE"
                 " BERNOULLI (:share)"), {"share": _share(session.scalar(text("SELECT count(*) FROM card")))})]  # fmt: skip
    cards = random.Random(1).sample(found, min(_CHECKED, len(found)))
    return Ground(ground.place, ground.env, ground.folder, ground.credentials, cards)


def _share(cards: int | None) -> float:
    return min(100.0, 100.0 * 2 * _CHECKED / max(cards or 1, 1))


def _ground(servers: Servers, folder: Path, database_url: str) -> Ground:
    env = environment(servers, folder) | {"EHC_DATABASE_URL": database_url, "EHC_CODES_PER_MINUTE": "1000"}
    env |= {f"EHC_{whose}_PER_MINUTE": "100000000" for whose in ("APP", "TERMINAL", "INSTITUTION")}
    os.environ.update(env)
    place = Deployment()
    upgrade_tables(place)
    make_partitions(place)
    init_keys(place)
    mine = folder / str(make_url(database_url).database)
    mine.mkdir(exist_ok=True)
    credentials = region.prepare(place.work, mine / "clients.json", base_url="", clock=SystemClock())
    env["EHC_BENCH_DATABASE"] = database_url.replace("+psycopg", "")
    return Ground(place, env, mine, credentials, [])


@contextmanager
def _database(servers: Servers, name: str) -> Iterator[str]:
    """A database of its own, empty, for as long as the block runs."""
    name = f"{name}_{uuid4().hex[:8]}"
    engine = create_engine(servers.database_url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


def _people(folder: Path, count: int) -> Path:
    file = folder / f"people-{count}.csv"
    if not file.exists():
        draft = file.with_suffix(".new")
        with draft.open("w", encoding="utf-8", newline="") as out:
            write_people(out, count, seed=1)
        draft.replace(file)
    return file


def main() -> None:
    """Only the import, for a large number: `EHC_BENCH_PEOPLE=10000000 python -m bench.imports`."""
    imported, cost, _ = measure(Path("var") / "bench-imports")
    told = {**vars(imported), "rate": imported.rate, "vs_copy": imported.rate / imported.copied_per_second}
    print(json.dumps(told | {"cost": median(cost), "rounds": cost}, indent=2))


if __name__ == "__main__":
    main()
