"""Fuzzes the reading and checking of codes with atheris: `make fuzz`. Its corpus stays in `var/fuzz` and grows."""

import sys
from hashlib import sha256
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ehc.codes", "ehc.crypto", "ehc.verify.service"]):
    from tests.fuzz.properties import examine_bytes, seeds

CORPUS = Path("var") / "fuzz" / "codes"


def main() -> None:
    CORPUS.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (CORPUS / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    crashes = f"-artifact_prefix={CORPUS.parent}/"
    atheris.Setup([sys.argv[0], crashes, *sys.argv[1:], str(CORPUS)], examine_bytes)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
