"""The example in docs/terminals.md, as an integrator runs it: a program of its own, over a socket."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from werkzeug.serving import make_server

from tests.support.service import Service
from tests.support.terminals import enrolment

DOCS = Path(__file__).parents[2] / "docs" / "terminals.md"


@pytest.fixture
def address(service: Service) -> Iterator[str]:
    """The service on a port of its own."""
    server = make_server("127.0.0.1", 0, service.flask, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def example() -> str:
    found = re.search(r"<!-- example.*?```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_documented_example_enrols_a_terminal_and_gets_a_token(
    service: Service, address: str, tmp_path: Path
) -> None:
    program = tmp_path / "enrol.py"
    program.write_text(example(), encoding="utf-8")
    made = enrolment(service)
    words = [sys.executable, str(program), address, service.settings.issuer, made["code"]]
    ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert made["terminal_code"] in ran.stdout


def test_the_documented_example_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= 20
