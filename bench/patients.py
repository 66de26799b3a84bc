"""A hospital's list of 100,000 existing patients, 3 % of it dirty, bound to a province's cards: rate, memory, and a kill."""

import csv
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from sqlalchemy import select, text

from bench.ground import Ground
from ehc.access.models import InstitutionRow
from ehc.binding import patient_ids
from ehc.binding.patient_ids import PatientNumber
from ehc.binding.patient_lists import COLUMNS
from ehc.cards.models import CardRow
from ehc.cards.patient_id_models import PatientIdRow
from ehc.dev.region import HOSPITALS
from ehc.keystore import secret_keys

ROWS = 100_000
_DIRTY = 33
"""Every so many rows one is dirty: another name, no card, no patient id, in turn."""
ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Bound:
    """What a list came to. `memory_mb` (10^6 bytes) is the most that its process held."""

    rows: int
    bound: int
    review: int
    bad: int
    seconds: float
    memory_mb: float

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.rows / self.seconds


def measure(ground: Ground, people: Path) -> Bound:
    """Bind a list of the first people of an imported file; killed once on the way, then gone on with, and measured anew.

    Raises `RuntimeError` where the list that was killed comes to anything else than one that was not.
    """
    first, second = (
        _list(people, ground.folder / f"patients-{kind}.csv", kind) for kind in ("outpatient", "inpatient")
    )
    killed = _command(ground, first)
    time.sleep(3)
    killed.send_signal(SIGKILL)
    killed.wait()
    after_kill, _, _ = _run(ground, first)
    told, seconds, peak = _run(ground, second)
    if after_kill != told:
        raise RuntimeError(f"a list that was killed came to {after_kill}, one that was not to {told}")
    return Bound(told["rows"], told["bound"], told["review"], told["bad"], seconds, peak)


def bind_half(ground: Ground) -> int:
    """Give every second card of the ground a patient id of the terminal's hospital; where they begin."""
    half = len(ground.cards) // 2
    with ground.place.work() as session:
        secrets = secret_keys.load(session, ground.place.kek)
        hospital = session.scalars(select(InstitutionRow.id).where(InstitutionRow.code == HOSPITALS["HA"][0])).one()
        held = set(session.scalars(select(PatientIdRow.card_serial).where(PatientIdRow.ended_at.is_(None))))
        for card in ground.cards[half:]:
            if card.serial not in held:
                row = session.get_one(CardRow, card.serial)
                number = PatientNumber("outpatient", f"BENCH-{card.serial}")
                index = number.index(hospital, secrets.blind_index)
                now = ground.place.clock.now()
                patient_ids.add(session, row, number, hospital, index, source="import", secrets=secrets, now=now)
        session.execute(text("SELECT 1"))
    return half


def _list(people: Path, file: Path, kind: str) -> Path:
    with people.open(encoding="utf-8", newline="") as source, file.open("w", encoding="utf-8", newline="") as out:
        written = csv.writer(out)
        written.writerow(COLUMNS.names)
        for number, person in zip(range(ROWS), csv.DictReader(source), strict=False):
            name, document, patient = person["name"], person["id_number"], f"{kind[:2].upper()}{number:08}"
            if number % _DIRTY == 0:
                turn = number // _DIRTY % 3
                name = f"{name}某" if turn == 0 else name
                document = "110105190001010015" if turn == 1 else document
                patient = "?" if turn == 2 else patient
            written.writerow((patient, kind, name, person["id_type"], document))
    return file


def _command(ground: Ground, file: Path) -> "subprocess.Popen[str]":
    words = ["bindings", "patients", "import", HOSPITALS["HA"][0], str(file)]
    command = [sys.executable, "-c", "from ehc.commands import main; main()", *words]
    return subprocess.Popen(
        command, env=os.environ | ground.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )


def _run(ground: Ground, file: Path) -> tuple[dict[str, int], float, float]:
    """What the command told, how long it took, and the most memory it held, in units of 10^6 bytes."""
    began = time.monotonic()
    process = _command(ground, file)
    told = process.stdout.read() if process.stdout is not None else ""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError("the list was not bound; run the command by hand to see why")
    words = [line.split()[:2] for line in told.splitlines()]
    counts = {name: int(count) for name, count in words if name in {"rows", "bound", "review", "bad"}}
    return counts, time.monotonic() - began, used.ru_maxrss * 1024 / 10**6
