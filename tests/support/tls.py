"""An HTTPS server on the loopback with an authority of its own, for what reads other people's addresses."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class HttpsSite:
    """A running server for `keys.example`, what it was asked, and the context that trusts it."""

    port: int
    trust: ssl.SSLContext
    asked: list[tuple[str, str]] = field(default_factory=list)
    answer: Answer = lambda handler: send(handler, b"{}")

    def url(self, path: str = "/jwks", host: str = "keys.example") -> str:
        return f"https://{host}:{self.port}{path}"


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """A whole answer."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def https_site(folder: Path) -> Iterator[HttpsSite]:
    """The server, until the block ends."""
    certificate, key, authority = _certificates(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, self.headers["Host"]))
            try:
                site.answer(self)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    site = HttpsSite(server.server_address[1], ssl.create_default_context(cafile=str(authority)))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    now = datetime.now(UTC)
    root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])

    def builder(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool) -> x509.CertificateBuilder:
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        return made.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)

    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    top = builder(issuer, root, authority=True).add_extension(usage, critical=True)
    top = top.add_extension(x509.SubjectKeyIdentifier.from_public_key(root.public_key()), critical=False)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keys.example")])
    names = x509.SubjectAlternativeName([x509.DNSName("keys.example"), x509.IPAddress(ip_address("203.0.113.9"))])
    mine = builder(name, leaf, authority=False).add_extension(names, critical=False)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key())
    mine = mine.add_extension(above, critical=False)
    files = folder / "leaf.pem", folder / "leaf.key", folder / "root.pem"
    files[0].write_bytes(mine.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM))
    files[1].write_bytes(leaf.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files[2].write_bytes(top.sign(root, hashes.SHA256()).public_bytes(Encoding.PEM))
    return files
