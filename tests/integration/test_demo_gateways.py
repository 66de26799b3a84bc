"""The demo's gateway accounts: made once, found again, and made anew where the file knows them no more; and its certificate."""

import json
import ssl
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from ehc.access import clients
from ehc.clock import SystemClock
from ehc.commands.context import Deployment
from ehc.db import unit_of_work
from ehc.dev import region
from ehc.dev.granian import Granian, free_port
from ehc.dev.tls import certificate_for
from ehc.disclosure import versions
from ehc.disclosure.table import shipped
from ehc.gateways.accounts import Accounts
from ehc.gateways.kinds import GatewayKind
from ehc.gateways.secrets import hashed
from ehc.keystore import secret_keys
from tests.support.service import Service


def prepared(service: Service, folder: Path) -> dict[str, Any]:
    place = Deployment()
    return region.prepare(
        unit_of_work(service.engine),
        folder / "demo.json",
        base_url="http://127.0.0.1:1",
        clock=SystemClock(),
        secrets=lambda session: secret_keys.load(session, place.kek),
        tls_url="https://127.0.0.1:2",
    )


def test_accounts_are_found_again_and_call_with_what_the_file_says(service: Service, tmp_path: Path) -> None:
    first, again = prepared(service, tmp_path), prepared(service, tmp_path)
    assert again == first
    public, hospital = first["open_platform"], first["provincial"]
    assert (len(public["appId"]), len(public["appSecret"])) == (32, 32)
    assert public["tls_base_url"] == "https://127.0.0.1:2"
    assert hospital["wsdl"] == "http://127.0.0.1:1/healthCard/services/elecHealthCardWebSevice?wsdl"
    with service.session() as session:
        sealer = secret_keys.load(session, service.settings.key_encrypting_key()).sealer
    service.clock.advance(60)
    accounts = Accounts(unit_of_work(service.engine), lambda: sealer, service.clock)
    found = accounts.find(GatewayKind.OPEN_PLATFORM, public["appId"])
    assert found is not None
    assert found.secrets == (public["appSecret"].encode(),)
    assert found.at("hospital", public["hospitalId"]) is not None
    found = accounts.find(GatewayKind.PROVINCIAL, hospital["userName"])
    assert found is not None
    assert found.secrets == (hashed(hospital["userPwd"].encode()),)
    assert found.at("org", hospital["orgId"]) is not None
    assert found.at("app", hospital["appCode"]) is not None


def test_the_hospital_behind_the_gateways_is_told_what_fills_its_forms_and_the_others_are_not(
    service: Service, tmp_path: Path
) -> None:
    prepared(service, tmp_path)
    prepared(service, tmp_path)  # the rule is made once
    with service.session() as session:
        table, codes = versions.table_of(session), {key: code for key, (code, _) in region.HOSPITALS.items()}
        homes = {key: clients.institution(session, code).id for key, code in codes.items()}
    assert table.version == 1
    told = {key: table.told(home, "registration", service.clock.now()) for key, home in homes.items()}
    assert {"name", "id_number", "phone", "address"} <= told["HG"]
    assert told["HA"] == told["HB"] == shipped().told(None, "registration", service.clock.now())


def test_a_password_that_the_file_has_lost_is_replaced(service: Service, tmp_path: Path) -> None:
    first = prepared(service, tmp_path)
    (tmp_path / "demo.json").unlink()
    again = prepared(service, tmp_path)
    assert again["open_platform"] == first["open_platform"]
    assert again["provincial"]["userPwd"] != first["provincial"]["userPwd"]
    kept = json.loads((tmp_path / "demo.json").read_text(encoding="utf-8"))
    assert kept["provincial"] == again["provincial"]


def test_the_certificate_is_kept_until_it_is_for_another_name(tmp_path: Path) -> None:
    files = certificate_for(tmp_path, "127.0.0.1")
    first = files.certificate.read_bytes()
    assert certificate_for(tmp_path, "127.0.0.1").certificate.read_bytes() == first
    assert certificate_for(tmp_path, "localhost").certificate.read_bytes() == first
    assert certificate_for(tmp_path, "ehc.example").certificate.read_bytes() != first
    names = x509.load_pem_x509_certificate(files.certificate.read_bytes()).extensions
    found = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(found.get_values_for_type(x509.DNSName)) == {"ehc.example", "localhost"}
    assert files.key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_speaks_tls_to_who_trusts_its_authority(
    database_url: str, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    files = certificate_for(tmp_path / "tls", "127.0.0.1")
    env = {"EHC_DATABASE_URL": database_url}
    server = Granian(env, port=free_port(), log=tmp_path / "tls.log", tls=files, threads=4)
    server.start()
    try:
        trust = ssl.create_default_context(cafile=str(files.authority))
        trust.verify_flags |= ssl.VERIFY_X509_STRICT
        trust.maximum_version = version
        wsdl = server.url + "/healthCard/services/elecHealthCardWebSevice?wsdl"
        with urllib.request.urlopen(wsdl, timeout=10, context=trust) as answer:
            assert f'location="{wsdl.removesuffix("?wsdl")}"'.encode() in answer.read()
    finally:
        server.stop()
