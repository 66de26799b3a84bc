"""What the tests of the audit log share: acts, a hand that changes the log behind the service's back, and findings."""

from dataclasses import replace
from typing import Any

from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.orm import Session

from ehc import audit
from ehc.audit import Fault, Finding, HmacKey, Made
from ehc.audit.links import chain_of
from ehc.commands import main
from ehc.crypto.wrapping import KeyEncryptingKey
from ehc.db import UnitOfWork, unit_of_work
from ehc.keystore import audit_keys
from tests.support.service import Service

Place = tuple[Fault, int | None, int, int | None]


def live(service: Service, cards: int = 3) -> None:
    """A few acts, five of them on each card and so in one chain."""
    for serial in range(cards):
        card_id = service.app.register(serial)["card_id"]
        for how in ("suspend", "resume", "suspend", "cancel"):
            assert service.app.post(f"/v1/cards/{card_id}/{how}", {"reason": "私事"}).status_code == 200


def run(service: Service, *words: str, **env: str) -> Result:
    """`ehc …` on the service's database."""
    url = service.engine.url.render_as_string(hide_password=False)
    return CliRunner().invoke(main, words, env={"EHC_DATABASE_URL": url} | env)


def kek_of(service: Service) -> KeyEncryptingKey:
    return service.settings.key_encrypting_key()


def keyed(service: Service) -> UnitOfWork:
    """Transactions whose acts are linked by HMAC-SM3."""
    info = audit.hashing(audit.HMAC_SM3, lambda session: audit_keys.newest(session, kek_of(service)))
    return unit_of_work(service.engine, info=info)


def quiet(service: Service) -> str:
    """A subject whose chain is empty still, and not the one of ties."""
    with service.session() as session:
        empty = set(session.scalars(text("SELECT chain FROM audit_head WHERE seq = 0"))) - {chain_of("audit")}
    return next(f"subject {n}" for n in range(10_000) if chain_of(f"subject {n}") in empty)


def act(service: Service, subject: str, times: int = 1, work: UnitOfWork | None = None) -> None:
    """Acts on one subject, each in a transaction of its own."""
    for number in range(times):
        with (work or service.session)() as session:
            facts = {"n": number}
            audit.record(session, "test", actor="test", subject=subject, at=service.clock.now(), facts=facts)


def tie(service: Service, work: UnitOfWork | None = None) -> Made | None:
    """A tie by the deployment's own key."""
    with (work or service.session)() as session:
        return audit_keys.tie(session, kek_of(service), now=service.clock.now())


def hmac_key(service: Service) -> HmacKey:
    with service.session() as session:
        return audit_keys.newest(session, kek_of(service))


def findings(service: Service, **how: Any) -> list[Finding]:
    with service.session() as session:
        audit.still(session)
        return list(audit.verify(session, audit_keys.checking(session, kek_of(service)), **how))


def places(service: Service, **how: Any) -> list[Place]:
    return [_place(finding) for finding in findings(service, **how)]


def tamper(service: Service, *statements: str, **values: Any) -> None:
    """Run statements as a superuser would who first switches the triggers off; each must touch a row."""
    with service.session() as session:
        _tamper(session, statements, values)


def after(service: Service, *statements: str, **values: Any) -> list[Place]:
    """What is found after statements that are undone again at once."""
    with Session(service.engine) as session:
        _tamper(session, statements, values)
        keys = audit_keys.checking(session, kek_of(service))
        return [_place(finding) for finding in audit.verify(session, keys)]


def _tamper(session: Session, statements: tuple[str, ...], values: dict[str, Any]) -> None:
    for table in ("audit", "audit_tie"):
        session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER USER"))
    for statement in statements:
        assert session.execute(text(statement), values).rowcount  # type: ignore[attr-defined]
    for table in ("audit", "audit_tie"):
        session.execute(text(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_only_grows"))


def _place(finding: Finding) -> Place:
    return finding.fault, finding.chain, finding.seq, finding.last


def longest(service: Service) -> int:
    """The chain with the most rows; it has five at least."""
    with service.session() as session:
        chain, length = session.execute(
            text("SELECT chain, seq FROM audit_head ORDER BY seq DESC, chain LIMIT 1")
        ).one()
    assert length >= 5
    return int(chain)


def length(service: Service, chain: int) -> int:
    with service.session() as session:
        return int(session.execute(text("SELECT seq FROM audit_head WHERE chain = :c"), {"c": chain}).scalar_one())


def swapping(one: int, other: int) -> tuple[str, ...]:
    """Statements that let two rows of a chain change places, whole as they are."""
    move = "UPDATE audit SET seq = {new} WHERE chain = :chain AND seq = {old}"
    return tuple(move.format(old=old, new=new) for old, new in ((one, -1), (other, one), (-1, other)))


def rebuild(service: Service, chain: int, since: int) -> None:
    """Change the row at `since` and compute it and all later ones anew by SHA-256, head included."""
    with service.session() as session:
        rows = session.execute(
            text("SELECT seq, entry, hash FROM audit WHERE chain = :c ORDER BY seq"), {"c": chain}
        ).all()
    previous = rows[since - 2].hash if since > 1 else bytes(32)
    for row in rows[since - 1 :]:
        entry = row.entry.replace('"actor":"', '"actor":"x') if row.seq == since else row.entry
        previous = audit.sha256_link(previous, entry)
        tamper(
            service,
            "UPDATE audit SET entry = :entry, hash = :hash, method = 'sha256' WHERE chain = :c AND seq = :seq",
            c=chain, seq=row.seq, entry=entry, hash=previous,
        )  # fmt: skip
    tamper(service, "UPDATE audit_head SET hash = :hash WHERE chain = :c", c=chain, hash=previous)


def with_method(service: Service, method: str) -> Service:
    """The same service as a worker sees it that is set to a method."""
    return replace(service, settings=replace(service.settings, audit_hash=method))
