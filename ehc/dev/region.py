"""The demo region: hospitals with departments, apps, terminals, administrators, gateway accounts. Made once, kept."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ehc.access import clients, departments, institutions
from ehc.access.institutions import OPERATOR
from ehc.access.models import ClientRow, InstitutionRow
from ehc.callers import Scope
from ehc.clock import Clock
from ehc.db import UnitOfWork
from ehc.dev import gateways
from ehc.dev.administrators import administrators
from ehc.dev.simulators.launcher import Simulators
from ehc.keystore import platforms
from ehc.keystore.platforms import AlipayCredentials, WechatCredentials
from ehc.keystore.secret_keys import Secrets

HOSPITALS = {
    "HA": ("43713001911010511A1001", "示范市第一人民医院"),
    "HB": ("43713002711010511A2101", "示范市中医医院"),
    "HG": ("43713003511010511A1001", "示范市第三人民医院（接口切换）"),
}
"""The last works through the gateways, and is told more than the others: see `ehc/dev/fuller_rule.py`."""
_REGION = "110105"
"""Where the demo lies: as the codes of its hospitals say."""
_DEPARTMENTS = (("0300", "内科"), ("0400", "外科"), ("0700", "儿科"))
_APP = "示范健康小程序"
_TERMINALS = {
    "terminal": ("HA", "HA-WIN-01", "门诊挂号窗口 1"),
    "second_terminal": ("HB", "HB-WIN-01", "门诊收费窗口 1"),
}


def prepare(
    work: UnitOfWork,
    file: Path,
    *,
    base_url: str,
    clock: Clock,
    secrets: Callable[[Session], Secrets] | None = None,
    simulators: Simulators | None = None,
    tls_url: str | None = None,
) -> dict[str, Any]:
    """The demo's credentials, made where they are missing, and written to `file` for its owner alone.

    With `secrets` also those of three administrators and of the gateways, and, with `simulators`, of the app at the platforms
    simulated there. `tls_url` is where the gateways are served over HTTPS.
    """
    kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    code, name = HOSPITALS["HA"]
    demo: dict[str, Any] = {"base_url": base_url, "institution": {"code": code, "name": name}}
    with work() as session:
        owners = {key: _institution(session, *facts, clock=clock) for key, facts in HOSPITALS.items()}
        homes = {key: row.id for key, row in owners.items()}
        demo["app"] = _app(session, kept.get("app", {}), clock=clock)
        for role, (owner, terminal_code, title) in _TERMINALS.items():
            made = _terminal(session, kept.get(role, {}), terminal_code, title, owners[owner], clock=clock)
            demo[role] = made | {"terminal_code": terminal_code}
    if secrets is not None:
        demo |= administrators(work, kept, clock=clock, secrets=secrets)
        demo |= gateways.accounts(work, kept, homes, base_url=base_url, tls_url=tls_url, clock=clock, secrets=secrets)
    if secrets is not None and simulators is not None:
        demo["log_in"] = _platforms(work, demo["app"]["client_id"], simulators, clock=clock, secrets=secrets)
    _write_private(file, json.dumps(demo, ensure_ascii=False, indent=2) + "\n")
    return demo


def _platforms(
    work: UnitOfWork, client_id: str, simulators: Simulators, *, clock: Clock, secrets: Callable[[Session], Secrets]
) -> dict[str, str]:
    """Set the app up at the simulated platforms; where log-in codes come from: `POST` there `{"person": "any-name"}`."""
    known = simulators.mini_program.credentials
    with work() as session:
        app, sealer = clients.named(session, client_id), secrets(session).sealer
        for given in (WechatCredentials(**known["wechat"]), AlipayCredentials(**known["alipay"])):
            platforms.put(session, app.id, given, sealer=sealer, actor="operator", demo=True, now=clock.now())
    codes = {f"{name}_codes": f"{simulators.url}/simulator/{name}/codes" for name in known}
    return (
        {f"{name}_appid": told["appid"] for name, told in known.items()}
        | codes
        | {"sms_messages": f"{simulators.url}/simulator/messages"}
    )


def _institution(session: Session, code: str, name: str, *, clock: Clock) -> InstitutionRow:
    known = session.scalars(select(InstitutionRow).where(InstitutionRow.code == code)).one_or_none()
    if known is not None and known.region is not None:
        return known
    now = clock.now()
    row = known or clients.add_institution(session, code=code, name=name, now=now)
    # Static codes count, so that a printed card can be tried.
    facts = {"kind": "hospital", "region": _REGION, "static_allowed": True}
    institutions.change(session, OPERATOR, row.id, facts, version=None, now=now)
    for standard_code, title in _DEPARTMENTS:
        department = {"name": title, "standard_code": standard_code}
        departments.add(session, OPERATOR, row.id, department, now=now)
    return row


def _app(session: Session, kept: dict[str, str], *, clock: Clock) -> dict[str, str]:
    known = session.scalars(select(ClientRow).where(ClientRow.name == _APP, ClientRow.kind == "app")).first()
    if known is None:
        made = clients.add_app(
            session, name=_APP, scopes=frozenset({Scope.CARDS, Scope.CODES, Scope.BINDINGS}), now=clock.now()
        )
        return vars(made)
    return _credentials(session, known, kept, clock=clock)


def _terminal(
    session: Session, kept: dict[str, str], code: str, title: str, owner: InstitutionRow, *, clock: Clock
) -> dict[str, str]:
    known = session.scalars(select(ClientRow).where(ClientRow.terminal_code == code)).one_or_none()
    if known is None:
        return vars(clients.add_terminal(session, name=title, terminal_code=code, owner=owner, now=clock.now()))
    return _credentials(session, known, kept, clock=clock)


def _credentials(session: Session, known: ClientRow, kept: dict[str, str], *, clock: Clock) -> dict[str, str]:
    """What the file still knows, if it is right; else a new secret, since the old one is only kept as a hash."""
    secret = kept.get("client_secret", "")
    if kept.get("client_id") == known.client_id and clients.prove(session, known.client_id, secret, now=clock.now()):
        return {"client_id": known.client_id, "client_secret": secret}
    return vars(clients.new_secret(session, known.client_id, now=clock.now()))


def _write_private(file: Path, text: str) -> None:
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(file)
