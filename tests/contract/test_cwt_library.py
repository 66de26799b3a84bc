"""A COSE library that is not ours reads the codes and the published keys, and comes to the same end."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ehc.codes.minting import mint
from ehc.codes.signed import Claims, open_envelope
from ehc.crypto.keys import VerifyKey
from ehc.crypto.signer import SoftwareSigner
from ehc.keystore.publish import cose_key_set, jwk_set
from tests.fuzz.properties import CODES, verify_key
from tests.vectors import NOON

LIBRARY = Path(sys.prefix) / "cwt" / "bin" / "python"
PROGRAM = Path(__file__).with_name("verify_with_cwt.py")

PUBLISHED = [verify_key(key) for key in CODES["keys"] if key["state"] != "revoked"]

both_key_sets = pytest.mark.parametrize("key_set", ["cose", "jwks"])


def library_verdicts(texts: list[str], keys: list[VerifyKey]) -> dict[str, list[dict[str, Any]]]:
    """What the library says of each text, under the keys as COSE key set and as JWK Set."""
    assert LIBRARY.exists(), f"{LIBRARY} is missing: the independent verifier is installed by `make test`"
    case = {"texts": texts, "cose": cose_key_set(keys).hex(), "jwks": jwk_set(keys)}
    command = [str(LIBRARY), "-I", "-X", "utf8", str(PROGRAM)]
    ran = subprocess.run(command, input=json.dumps(case), capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, list[dict[str, Any]]] = json.loads(ran.stdout)
    return answer


def texts_that_end(*ends: str) -> list[str]:
    return [vector["text"] for vector in CODES["vectors"] if vector["expect"] in ends]


def claims_in(text: str) -> dict[str, Any]:
    """What we read in a code, as the library's verdict has it."""
    code = open_envelope(text)
    times = {"exp": code.claims.expires_at, "iat": code.claims.issued_at}
    kind = {"kind": 1, "claims": 4} if code.claims.static else {"kind": None, "claims": 3}
    return {"alg": code.algorithm, "kid": code.key_id.hex(), **times, "cti": code.claims.cti.hex(), **kind}


@both_key_sets
def test_the_library_reads_the_same_claims_in_every_good_code(key_set: str) -> None:
    texts = texts_that_end("valid", "expired", "not-yet-valid")
    assert {open_envelope(text).claims.static for text in texts} == {False, True}
    assert library_verdicts(texts, PUBLISHED)[key_set] == [claims_in(text) for text in texts]


@both_key_sets
def test_the_library_reads_codes_as_we_make_them(key_set: str) -> None:
    signer = SoftwareSigner.generate()
    keys = [*PUBLISHED, VerifyKey(signer.public, PUBLISHED[0].since)]
    made_of = [Claims(NOON + life, NOON + 2 * life, bytes([life] * 16), life % 2 == 0) for life in range(1, 61)]
    texts = [mint(claims, signer) for claims in made_of]
    assert library_verdicts(texts, keys)[key_set] == [claims_in(text) for text in texts]


@both_key_sets
def test_the_library_refuses_every_bad_signature(key_set: str) -> None:
    texts = texts_that_end("bad-signature")
    verdicts = library_verdicts(texts, PUBLISHED)[key_set]
    assert texts
    assert [verdict.get("refused") for verdict in verdicts] == ["VerifyError"] * len(texts)


@both_key_sets
def test_the_library_finds_no_key_for_a_stranger_or_a_revoked_one(key_set: str) -> None:
    names = {"kid of nobody", "kid with one bit changed", "revoked key"}
    texts = [vector["text"] for vector in CODES["vectors"] if vector["name"] in names]
    verdicts = library_verdicts(texts, PUBLISHED)[key_set]
    assert len(texts) == len(names)
    assert all("refused" in verdict for verdict in verdicts)
