"""A certificate for the demo's second port: the SDKs of the open platform speak HTTPS alone, and look at the name on it.

Made once, for this machine, by an authority whose key is thrown away: who trusts `ca.pem` trusts this one certificate.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=397)
_RENEWED = timedelta(days=30)


@dataclass(frozen=True)
class TlsFiles:
    """Where they are: of the authority its certificate, of the server its certificate and key."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "TlsFiles":
        """The files in this folder, whether they are there or not."""
        return cls(folder / "ca.pem", folder / "server.pem", folder / "server.key")


def certificate_for(folder: Path, host: str) -> TlsFiles:
    """The files in `folder` for `host` and this machine's own names; made anew where they are missing or soon over."""
    files = TlsFiles.in_folder(folder.resolve())
    if not _good(files, host):
        folder.mkdir(parents=True, exist_ok=True)
        _make(files, host)
    return files


def _good(files: TlsFiles, host: str) -> bool:
    if not (files.authority.exists() and files.certificate.exists() and files.key.exists()):
        return False
    held = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    names = held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return _name(host) in list(names) and held.not_valid_after_utc > datetime.now(UTC) + _RENEWED


def _make(files: TlsFiles, host: str) -> None:
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, subject = _called("ehc demo authority"), _called("ehc demo")
    root_id = x509.SubjectKeyIdentifier.from_public_key(root.public_key())
    top = _dated(issuer, issuer, root.public_key(), authority=True)
    top = top.add_extension(_usage(signs_certificates=True), critical=True).add_extension(root_id, critical=False)
    wanted = dict.fromkeys((_name(host), _name("localhost"), _name("127.0.0.1")))
    mine = _dated(subject, issuer, leaf.public_key(), authority=False)
    mine = mine.add_extension(_usage(signs_certificates=False), critical=True)
    mine = mine.add_extension(x509.SubjectAlternativeName(list(wanted)), critical=False)
    mine = mine.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_id)
    mine = mine.add_extension(above, critical=False)
    authority = top.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM)
    _write(files.authority, authority)
    _write(files.certificate, mine.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM) + authority)
    _write(files.key, leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + _LIFE)
    return made.add_extension(x509.BasicConstraints(ca=authority, path_length=0 if authority else None), critical=True)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs_certificates, crl_sign=signs_certificates, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(content)
