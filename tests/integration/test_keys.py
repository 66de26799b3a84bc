"""Keys at rest: made, rotated, revoked, wrapped; a key of the specification is refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from ehc.codes import national
from ehc.codes.national import SAMPLE_KEYS
from ehc.commands import main
from ehc.core.documents import read_document
from ehc.crypto.keys import BadSignature, KeyId
from ehc.crypto.signer import SoftwareSigner
from ehc.crypto.wrapping import KekError, KeyEncryptingKey
from ehc.keystore import secret_keys, signing_keys
from ehc.keystore.models import SecretKeyRow, SigningKeyRow
from ehc.keystore.ring import KeyState, Purpose, load_ring, state_of
from ehc.keystore.secret_keys import SampleKeyRefused, SecretPurpose
from ehc.keystore.signing_keys import NoActiveKey, NoSuchKey, signer_at
from tests.support.service import Service, citizen_number


def run(service: Service, *words: str) -> Result:
    env = {"EHC_DATABASE_URL": service.engine.url.render_as_string(hide_password=False)}
    return CliRunner().invoke(main, ["keys", *words], env=env)


def listed(service: Service) -> list[list[str]]:
    result = run(service, "list")
    assert result.exit_code == 0
    return [line.split() for line in result.stdout.splitlines()]


def kek_of(service: Service) -> KeyEncryptingKey:
    return service.settings.key_encrypting_key()


def key_file(folder: Path, content: str) -> str:
    path = folder / "key"
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_a_deployment_has_one_active_key_for_each_purpose(service: Service) -> None:
    assert sorted((row[0], row[2], row[4]) for row in listed(service)) == [
        ("audit", "active", "-"),
        ("code", "active", "-"),
        ("list", "active", "-"),
        ("print", "active", "-"),
        ("token", "active", "-"),
    ]


def test_making_keys_twice_makes_none(service: Service) -> None:
    before = listed(service)
    result = run(service, "init")
    assert (result.exit_code, result.stdout, listed(service)) == (0, "", before)


def test_making_keys_makes_what_is_missing(service: Service) -> None:
    with service.session() as session:
        session.query(SigningKeyRow).filter_by(purpose="token").delete()
        session.query(SecretKeyRow).filter_by(purpose="cti").delete()
    assert run(service, "init").stdout.splitlines() == ["made cti", "made token signing key"]


def test_a_rotated_key_waits_its_minute(service: Service) -> None:
    old = next(row[1] for row in listed(service) if row[0] == "code")
    result = run(service, "rotate")
    new = result.stdout.split()[0]
    states = {row[1]: row[2] for row in listed(service)}
    assert (states[new], states[old]) == ("pending", "active")
    with service.session() as session:
        rows = {row.id.hex(): row for row in session.query(SigningKeyRow)}
        assert rows[old].signs_until == rows[new].signs_from
        for key, before, after in ((new, KeyState.PENDING, KeyState.ACTIVE), (old, KeyState.ACTIVE, KeyState.RETIRED)):
            turn = rows[new].signs_from
            assert state_of(rows[key], turn - timedelta(microseconds=1)) is before
            assert state_of(rows[key], turn) is after


def test_the_key_of_tokens_is_rotated_by_name(service: Service) -> None:
    assert run(service, "rotate", "token").exit_code == 0
    assert sorted(row[0] for row in listed(service)) == ["audit", "code", "list", "print", "token", "token"]
    assert run(service, "rotate", "other").exit_code == 2


def test_a_second_rotation_within_the_minute_leaves_no_gap(service: Service) -> None:
    now = service.clock.now()
    with service.session() as session:
        kek = kek_of(service)
        signing_keys.rotate(session, kek, Purpose.CODE, now=now)
        signing_keys.rotate(session, kek, Purpose.CODE, now=now + timedelta(seconds=30))
        signers = signing_keys.load_signers(session, kek, Purpose.CODE)
    used = [signer_at(signers, now + timedelta(seconds=second)).key_id for second in range(121)]
    assert len(set(used)) == 3


def test_a_revoked_key_has_a_successor_at_once(service: Service) -> None:
    old = next(row[1] for row in listed(service) if row[0] == "code")
    result = run(service, "revoke", old)
    assert result.stdout.startswith("revoked; ")
    states = {row[1]: row[2] for row in listed(service) if row[0] == "code"}
    assert states[old] == "revoked"
    assert states[result.stdout.split()[1]] == "active"
    assert service.app.code(service.app.register()["card_id"])


def test_a_revoked_key_needs_no_successor_where_another_signs(service: Service) -> None:
    with service.session() as session:
        kek, now = kek_of(service), service.clock.now()
        other = signing_keys.create(session, kek, Purpose.CODE, signs_from=now - timedelta(days=1), now=now)
        assert signing_keys.revoke(session, kek, other, now=now) is None


@pytest.mark.parametrize("key_id", ["00" * 8, "", "ab"])
def test_a_key_that_is_not_there_cannot_be_revoked(service: Service, key_id: str) -> None:
    result = run(service, "revoke", key_id)
    assert result.exit_code == 1
    assert "There is no such key" in result.stderr


def test_what_is_not_a_key_id_is_told_so(service: Service) -> None:
    result = run(service, "revoke", "x")
    assert result.exit_code == 1
    assert "A key id has 16 hex digits." in result.stderr


def test_a_key_is_revoked_once(service: Service) -> None:
    with service.session() as session:
        key_id = KeyId(session.query(SigningKeyRow).filter_by(purpose="code").one().id)
        signing_keys.revoke(session, kek_of(service), key_id, now=service.clock.now())
        with pytest.raises(NoSuchKey):
            signing_keys.revoke(session, kek_of(service), key_id, now=service.clock.now())
        assert key_id not in load_ring(session, Purpose.CODE)


def test_before_its_time_no_key_signs(service: Service) -> None:
    with service.session() as session:
        signers = signing_keys.load_signers(session, kek_of(service), Purpose.CODE)
    assert signer_at(signers, signers[0].since)
    with pytest.raises(NoActiveKey):
        signer_at(signers, signers[0].since - timedelta(microseconds=1))


def test_a_signer_that_does_not_match_its_published_key_is_refused(service: Service) -> None:
    with service.session() as session:
        row = session.query(SigningKeyRow).filter_by(purpose="code").one()
        context = f"signing_key:code:{row.id.hex()}"
        row.wrapped_private_key = kek_of(service).wrap(SoftwareSigner.generate().dump(), context)
        session.flush()
        with pytest.raises(BadSignature):
            signing_keys.load_signers(session, kek_of(service), Purpose.CODE)


def test_a_wrapped_key_in_another_place_does_not_open(service: Service) -> None:
    with service.session() as session:
        session.execute(
            text("""
                UPDATE secret_key SET wrapped_key = other.wrapped_key FROM secret_key AS other
                WHERE secret_key.purpose = 'seal' AND other.purpose = 'blind-index'
            """)
        )
        with pytest.raises(KekError):
            secret_keys.load(session, kek_of(service))


def test_without_a_key_of_each_purpose_nothing_starts(service: Service) -> None:
    with service.session() as session:
        session.query(SecretKeyRow).filter_by(purpose="card-id").delete()
        with pytest.raises(LookupError, match="ehc keys init"):
            secret_keys.load(session, kek_of(service))


def test_an_older_key_still_opens_what_it_sealed(service: Service) -> None:
    with service.session() as session:
        kek = kek_of(service)
        sealed = secret_keys.load(session, kek).sealer.seal("王小明", "a.b:1")
        assert secret_keys.store(session, kek, SecretPurpose.SEAL, bytes(range(32)), at=service.clock.now()) == 2
        sealer = secret_keys.load(session, kek).sealer
        assert sealer.unseal(sealed, "a.b:1") == "王小明"
        assert sealer.seal("x", "a.b:1")[1:3] == b"\x00\x02"


def test_a_province_brings_its_own_security_key(service: Service, tmp_path: Path) -> None:
    mine = bytes(range(16))
    before = service.app.register(1)
    result = run(service, "import-security-key", key_file(tmp_path, mine.hex().upper() + "\n"))
    assert result.stdout.strip() == "card-id key version 2"
    with service.session() as session:
        secrets = secret_keys.load(session, kek_of(service))
    assert (secrets.security_key, secrets.security_key_version) == (mine, 2)
    document = read_document("01", citizen_number(1), today=service.clock.now().date())
    expected = national.card_id(mine, document, bytes.fromhex(before["index_id"]))
    assert before["ehc_id"] != national.hex_upper(expected)
    assert mine.hex() not in result.output


@pytest.mark.parametrize("sample", sorted(SAMPLE_KEYS), ids=["one", "other"])
def test_a_key_of_the_specification_is_refused(service: Service, tmp_path: Path, sample: bytes) -> None:
    result = run(service, "import-security-key", key_file(tmp_path, sample.hex()))
    assert result.exit_code == 1
    assert "This key is printed in the specification." in result.stderr
    assert sample.hex() not in result.output.lower()
    with service.session() as session:
        assert secret_keys.load(session, kek_of(service)).security_key_version == 1


def test_a_key_of_the_specification_in_the_database_is_refused_too(service: Service) -> None:
    with service.session() as session:
        wrapped = kek_of(service).wrap(min(SAMPLE_KEYS), "secret_key:card-id:2")
        session.add(SecretKeyRow(purpose="card-id", version=2, wrapped_key=wrapped))
        session.flush()
        with pytest.raises(SampleKeyRefused):
            secret_keys.load(session, kek_of(service))


@pytest.mark.parametrize(
    "content", ["", "00" * 15, "00" * 17, "xy" * 16, "密钥"], ids=["empty", "15", "17", "letters", "zh"]
)
def test_what_is_not_a_security_key_is_refused(service: Service, tmp_path: Path, content: str) -> None:
    result = run(service, "import-security-key", key_file(tmp_path, content))
    assert result.exit_code == 1
    assert "The file has 32 hex digits." in result.stderr


def test_a_key_encrypting_key_is_made_for_its_owner_alone_and_never_overwritten(
    service: Service, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "kek"
    assert run(service, "make-kek", str(path)).exit_code == 0
    made = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not KeyEncryptingKey.from_file(path).demo
    result = run(service, "make-kek", str(path))
    assert result.exit_code == 1
    assert "is not overwritten" in result.stderr
    assert path.read_bytes() == made


def test_the_key_of_lists_is_rotated_and_revoked_by_name(service: Service) -> None:
    assert run(service, "rotate", "list").exit_code == 0
    keys = [row for row in listed(service) if row[0] == "list"]
    assert sorted(row[2] for row in keys) == ["active", "pending"]
    (active,) = (row[1] for row in keys if row[2] == "active")
    assert run(service, "revoke", active).exit_code == 0
    assert [row[2] for row in listed(service) if row[1] == active] == ["revoked"]
