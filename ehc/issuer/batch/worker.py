"""A worker of an import: a process that writes the pieces it is told of, until there are none.

It is told by lines of JSON on standard input, first of the run, then of each piece, and answers each piece with a line. It
ends when its input does, so it outlives a killed parent by one piece at most; that piece is whole or not there at all.
"""

import gc
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from ehc.files.pieces import Piece
from ehc.issuer.batch.options import Options
from ehc.issuer.batch.writing import Writer
from ehc.issuer.registry import registry_of
from ehc.place import Place
from ehc.settings import Settings


def main() -> int:
    """0 when all pieces were written; 1 after a failure, whose kind was told."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent lets pieces be finished
    try:
        _work(json.loads(sys.stdin.readline()))
    except Exception as error:
        _tell({"failed": type(error).__name__, "database": _is_database(error)})  # its text may hold a name
        return 1
    return 0


def _work(order: dict[str, Any]) -> None:
    settings = Settings.from_env(os.environ)
    place = Place(settings, connections=1)
    writer = Writer(
        work=place.patient_work,
        registry=registry_of(settings, place.secrets(), authority=None),
        clock=place.clock,
        run_id=UUID(order["run"]),
        options=Options.read(order["options"]),
    )
    # Looking for cycles while a piece is prepared finds none and takes a tenth of the time: it is done between pieces.
    gc.freeze()
    gc.disable()
    try:
        with Path(order["file"]).open("rb") as file:
            for line in sys.stdin:
                told = json.loads(line)
                file.seek(told["begins"])
                data = file.read(told["size"])
                piece = Piece(told["number"], told["begins"], told["first_line"], data)
                if piece.digest.hex() != told["digest"]:
                    _tell({"failed": "", "changed": True})
                    return
                counts = writer.write(piece)
                del data, piece
                gc.collect()
                _tell({"number": told["number"], **counts._asdict(), **usage()})
    finally:
        place.close()


def usage() -> dict[str, float]:
    """What this process has taken: its peak of memory in bytes, and processor time in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"peak": _peak(used.ru_maxrss), "cpu": used.ru_utime + used.ru_stime}


def _peak(told: int) -> float:
    """Linux counts into `ru_maxrss` what the process was before it became this program; its own peak is `VmHWM`."""
    status = Path("/proc/self/status")
    if not status.exists():
        return told if sys.platform == "darwin" else told * 1024
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def _tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)  # noqa: T201 - this is how it answers


def _is_database(error: Exception) -> bool:
    return type(error).__module__.startswith(("psycopg", "sqlalchemy"))


if __name__ == "__main__":
    sys.exit(main())
