"""What the benchmarks stand on: a deployment with its keys, its clients, and a few thousand cards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from ehc.access import clients
from ehc.callers import Caller
from ehc.cards.models import CardRow, GrantRow
from ehc.cards.states import CardStatus, Level
from ehc.clock import SystemClock, local_day
from ehc.codes.minting import mint
from ehc.codes.signed import DYNAMIC_SECONDS, Claims
from ehc.commands.context import Deployment
from ehc.commands.db import make_partitions, upgrade_tables
from ehc.commands.keys import init_keys
from ehc.crypto.keys import KeyRing
from ehc.dev import region
from ehc.dev.servers import environment, running
from ehc.issuer import accounts, proofs
from ehc.issuer.applications import Application, Proof, read_person
from ehc.issuer.registry import Registry
from ehc.keystore import ring, secret_keys, signing_keys
from ehc.keystore.ring import Purpose

_AT_ONCE = 250


@dataclass(frozen=True)
class Card:
    """A card as the benchmarks need it."""

    id: UUID
    serial: int


@dataclass(frozen=True)
class Ground:
    """A deployment on servers of its own, and who may call it."""

    place: Deployment
    env: dict[str, str]
    folder: Path
    credentials: dict[str, Any]
    cards: list[Card]

    def codes(self, cards: list[Card]) -> list[str]:
        """A fresh code for each card, as the service would sign it now."""
        now = self.place.clock.now()
        with self.place.work() as session:
            secrets = secret_keys.load(session, self.place.kek)
            signer = signing_keys.signer_at(signing_keys.load_signers(session, self.place.kek, Purpose.CODE), now)
        issued = int(now.timestamp())
        return [mint(Claims(issued, issued + DYNAMIC_SECONDS, secrets.cti.make(card.serial)), signer) for card in cards]

    def ring(self) -> KeyRing:
        """The keys that check codes."""
        with self.place.work() as session:
            return ring.load_ring(session, Purpose.CODE)

    def group_size(self, since: datetime) -> float:
        """Checks per commit since a time: rows written together carry one transaction id."""
        asked = text(
            "SELECT count(*) / greatest(count(DISTINCT xmin::text), 1.0) FROM verification WHERE verified_at > :t"
        )
        with self.place.work() as session:
            return float(session.scalars(asked, {"t": since}).one())


@contextmanager
def prepared(folder: Path, *, cards: int) -> Iterator[Ground]:
    """The ground, made where it is missing: a second run finds the cards of the first."""
    folder.mkdir(parents=True, exist_ok=True)
    with mock.patch.dict(os.environ), running(folder) as servers:  # what comes after finds the environment as it was
        env = environment(servers, folder)
        env["EHC_CODES_PER_MINUTE"] = "1000"  # bursts follow each other faster than phones fetch codes
        env |= {f"EHC_{whose}_PER_MINUTE": "100000000" for whose in ("APP", "TERMINAL", "INSTITUTION")}
        env["EHC_APP_PER_DAY"] = "1000000000"
        os.environ.update(env)
        place = Deployment()
        upgrade_tables(place)
        make_partitions(place)
        init_keys(place)
        demo = region.prepare(place.work, folder / "clients.json", base_url="", clock=SystemClock())
        made = _cards(place, demo["app"], cards)
        with _bare_table(place):
            env["EHC_BENCH_DATABASE"] = place.settings.database_url.replace("+psycopg", "")
            yield Ground(place, env, folder, demo, made)


@contextmanager
def _bare_table(place: Deployment) -> Iterator[None]:
    with place.work() as session:
        session.execute(text("DROP TABLE IF EXISTS bench_row"))
        session.execute(text("CREATE TABLE bench_row (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, step text)"))
    yield
    with place.work() as session:
        session.execute(text("DROP TABLE IF EXISTS bench_row"))


def _cards(place: Deployment, app: dict[str, str], count: int) -> list[Card]:
    with place.work() as session:
        caller = clients.prove(session, app["client_id"], app["client_secret"], now=place.clock.now())
        if caller is None:
            raise RuntimeError("the app that was just made cannot prove itself")
        secrets = secret_keys.load(session, place.kek)
        known = len(_held(session, caller))
    registry = Registry(secrets)
    for start in range(known, count, _AT_ONCE):
        with place.work() as session:
            for number in range(start, min(start + _AT_ONCE, count)):
                _register(session, number, caller=caller, registry=registry, now=place.clock.now())
    with place.work() as session:
        return _held(session, caller)[:count]


def _held(session: Session, caller: Caller) -> list[Card]:
    rows = session.execute(
        select(CardRow.id, CardRow.serial)
        .join(GrantRow, GrantRow.card_serial == CardRow.serial)
        .where(GrantRow.client_id == caller.id, CardRow.status == CardStatus.ACTIVE)
        .order_by(CardRow.serial)
    )
    return [Card(*row) for row in rows]


def _register(session: Session, number: int, *, caller: Caller, registry: Registry, now: datetime) -> None:
    wanted = Application(
        name="欧阳明月",
        id_type="99",
        id_number=f"BENCH{number:09}",
        phone="13800138000",
        proof=Proof(Level.DOCUMENT_SEEN),
    )
    person = read_person(wanted, today=local_day(now))
    weighed = proofs.weigh(registry, wanted.proof, person)
    accounts.register(session, person, wanted, weighed, caller=caller, registry=registry, now=now)
