"""Enrolling a terminal: one code, one use, ten minutes, five tries, a key of its own that it proves."""

from base64 import b64decode
from hashlib import sha256
from io import BytesIO
from typing import Any
from uuid import UUID

import jwt
import pytest
import zxingcpp
from PIL import Image
from sqlalchemy import select, text

from ehc.access import enrolments
from ehc.access.terminal_models import ClientKeyRow, EnrolmentRow
from ehc.audit import AuditRow
from ehc.callers import Branch, Role
from ehc.crypto.jwk import base64url
from tests.contract.conftest import WorkerMaker
from tests.contract.helpers import at_once, problem, wrong
from tests.support.service import Service
from tests.support.service import told as answered
from tests.support.terminals import (
    ADMIN,
    ENROLMENTS,
    KeyTerminal,
    enrolling,
    enrolment,
    institution_id,
    jwk_of,
    new_key,
)

ENROL = "/v1/terminals/enrol"


def enrol(service: Service, body: dict[str, Any], **environ: Any) -> tuple[int, str | None]:
    answer = service.client().post(ENROL, json=body, environ_overrides=environ)
    return (answer.status_code, None) if answer.status_code < 300 else problem(answer)


def other(code: str) -> str:
    """A code that finds the same enrolment and is another."""
    return code[:-1] + ("0" if code[-1] != "0" else "2")


def test_a_terminal_makes_a_key_enrols_and_gets_tokens_with_it(service: Service) -> None:
    made = enrolment(service, kind="kiosk", department="0300", steps=["payment", "registration", "payment"])
    key = new_key()
    answer = service.client().post(ENROL, json=enrolling(service, made["code"], key))
    assert answer.status_code == 201
    assert answer.headers["Cache-Control"] == "no-store"
    about = answered(answer)
    assert about["terminal_code"] == made["terminal_code"]
    assert about["token_endpoint"] == f"{service.settings.issuer}/oauth/token"
    assert about["configuration"] == {
        "revision": 1,
        "name": "挂号窗口",
        "kind": "kiosk",
        "department": "0300",
        "steps": ["registration", "payment"],
        "heartbeat_seconds": 300,
        "newest_version": None,
    }
    terminal = KeyTerminal(service.client(), service, key, about).log_in()
    assert answered(terminal.get("/v1/terminals/self"))["terminal_id"] == about["terminal_id"]


def test_a_code_may_be_typed_in_small_letters_without_hyphens_and_with_letters_that_look_alike(
    service: Service,
) -> None:
    for change in (str.lower, lambda code: code.replace("-", " "), lambda c: c.replace("0", "o").replace("1", "l")):
        typed = change(enrolment(service)["code"])
        assert enrol(service, enrolling(service, typed, new_key())) == (201, None)


@pytest.mark.parametrize("image", ["svg", "png"])
def test_a_code_can_be_had_as_a_qr_symbol_that_reads(service: Service, image: str) -> None:
    made = enrolment(service, image=image, size=300)
    data = b64decode(made["qr"]["data"])
    assert made["qr_text"] == f"ehc-enrol:{made['code']}?iss=https%3A%2F%2Fehc.local"
    if image == "svg":
        assert made["qr"]["media_type"] == "image/svg+xml"
        assert data.startswith(b"<svg ")
        return
    found = zxingcpp.read_barcode(Image.open(BytesIO(data)).convert("L"))
    assert found is not None
    assert found.text == made["qr_text"]


def test_a_code_is_good_for_one_terminal(service: Service) -> None:
    code = enrolment(service)["code"]
    assert enrol(service, enrolling(service, code, new_key())) == (201, None)
    assert enrol(service, enrolling(service, code, new_key())) == (403, "enrolment-refused")


def test_the_same_terminal_may_ask_again_when_the_answer_was_lost(service: Service) -> None:
    code, key = enrolment(service)["code"], new_key()
    body = enrolling(service, code, key)
    first, second = (service.client().post(ENROL, json=body) for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 200)
    assert answered(first) == answered(second)


@pytest.mark.parametrize(("seconds", "expected"), [(599, (201, None)), (600, (403, "enrolment-refused"))])
def test_a_code_lives_ten_minutes(service: Service, seconds: int, expected: tuple[int, str | None]) -> None:
    code = enrolment(service)["code"]
    service.clock.advance(seconds)
    assert enrol(service, enrolling(service, code, new_key())) == expected


def test_a_code_that_was_taken_back_is_refused(service: Service) -> None:
    staff = service.staff(Role.SYSTEM_ADMIN)
    made = enrolment(service, staff)
    assert answered(staff.post(f"{ENROLMENTS}/{made['enrolment_id']}/cancel"))["state"] == "cancelled"
    assert enrol(service, enrolling(service, made["code"], new_key())) == (403, "enrolment-refused")
    assert problem(staff.post(f"{ENROLMENTS}/{made['enrolment_id']}/cancel")) == (409, "enrolment-over")


def test_a_code_that_was_used_cannot_be_taken_back(service: Service) -> None:
    staff = service.staff(Role.SYSTEM_ADMIN)
    made = enrolment(service, staff)
    assert enrol(service, enrolling(service, made["code"], new_key())) == (201, None)
    assert problem(staff.post(f"{ENROLMENTS}/{made['enrolment_id']}/cancel")) == (409, "enrolment-over")


@pytest.mark.parametrize(
    "changes",
    [
        {"proof_code": "0000-0000-0000"},
        {"aud": "https://another"},
        {"typ": "JWT"},
        {"signing": "another"},
        {"proof": "a.b.c"},
        {"proof": "x" * 2048},
    ],
    ids=repr,
)
def test_a_proof_of_something_else_is_refused_and_does_not_count_as_a_try(
    service: Service, changes: dict[str, Any]
) -> None:
    code, key = enrolment(service)["code"], new_key()
    if changes.get("signing"):
        changes = {"signing": new_key()}
    for _ in range(enrolments.TRIES + 1):
        assert enrol(service, enrolling(service, code, key, **changes)) == (422, "proof-invalid")
    assert enrol(service, enrolling(service, code, key)) == (201, None)


def test_a_key_in_the_header_of_a_proof_proves_nothing(service: Service) -> None:
    code, mine, theirs = enrolment(service)["code"], new_key(), new_key()
    says = {"aud": service.settings.issuer, "challenge": enrolments.challenge_of(code)}
    proof = jwt.encode(says, mine, algorithm="ES256", headers={"typ": enrolments.PROOF_TYPE, "jwk": jwk_of(mine)})
    body = {"code": code, "jwk": jwk_of(theirs), "proof": proof}
    assert enrol(service, body) == (422, "proof-invalid")


def test_a_key_is_a_point_of_p_256_and_public(service: Service) -> None:
    key = new_key()
    body = enrolling(service, enrolment(service)["code"], key)
    beside = body | {"jwk": body["jwk"] | {"y": base64url(bytes(31) + b"\x05")}}
    assert wrong(service.client().post(ENROL, json=beside)) == [("/jwk", "key")]
    private = body | {"jwk": body["jwk"] | {"d": base64url(bytes(32))}}
    assert wrong(service.client().post(ENROL, json=private)) == [("/jwk/d", "unknown-member")]
    for change in ({"crv": "P-384"}, {"kty": "RSA"}, {"alg": "HS256"}, {"use": "enc"}):
        ((pointer, code),) = wrong(service.client().post(ENROL, json=body | {"jwk": body["jwk"] | change}))
        assert (pointer, code) == (f"/jwk/{next(iter(change))}", "choice")
    assert enrol(service, body) == (201, None)


def test_a_key_enrols_once_for_ever(service: Service) -> None:
    key = new_key()
    assert enrol(service, enrolling(service, enrolment(service)["code"], key)) == (201, None)
    second = enrolment(service)["code"]
    assert enrol(service, enrolling(service, second, key)) == (409, "key-taken")
    assert enrol(service, enrolling(service, second, new_key())) == (201, None)  # the code is still good


def test_the_fifth_try_may_be_right_and_the_sixth_may_not(service: Service) -> None:
    for wrong_tries, expected in ((4, (201, None)), (5, (403, "enrolment-refused"))):
        code = enrolment(service)["code"]
        for _ in range(wrong_tries):
            assert enrol(service, enrolling(service, other(code), new_key())) == (403, "enrolment-refused")
        assert enrol(service, enrolling(service, code, new_key())) == expected


def test_brute_force_stops_after_five_tries_from_many_addresses_at_many_workers_at_once(
    service: Service, worker: WorkerMaker
) -> None:
    made = enrolment(service)
    workers = [service, worker(service), worker(service)]
    key = new_key()
    guesses = [enrolling(service, made["code"][:-2] + f"{number:02}", key) for number in range(100)]
    guesses = [body for body in guesses if body["code"] != made["code"]][:30]

    def guess(number: int) -> tuple[int, str | None]:
        address = f"203.0.{number}.7"
        return enrol(workers[number % 3], guesses[number], REMOTE_ADDR=address)

    answers = at_once(*(lambda number=number: guess(number) for number in range(30)))
    assert set(answers) == {(403, "enrolment-refused")}
    with service.session() as session:
        assert session.scalars(select(EnrolmentRow.tries)).all() == [enrolments.TRIES]
        noted = select(AuditRow.subject).where(AuditRow.action == "terminal.enrolment-tried-out")
        assert session.scalars(noted).all() == [made["enrolment_id"]]
    assert enrol(workers[1], enrolling(service, made["code"], new_key())) == (403, "enrolment-refused")


def test_a_try_that_finds_no_enrolment_costs_no_other_its_tries(service: Service) -> None:
    made = enrolment(service)
    nowhere = "ZZZZ" + made["code"][4:] if not made["code"].startswith("ZZZZ") else "YYYY" + made["code"][4:]
    for typed in [nowhere, "short", "ÄÖÜ-é", "691" * 13, "'; DROP"] * 2:
        assert enrol(service, enrolling(service, typed, new_key())) == (403, "enrolment-refused")
    assert enrol(service, enrolling(service, made["code"], new_key())) == (201, None)


def test_two_terminals_with_one_code_at_once_are_one(service: Service, worker: WorkerMaker) -> None:
    second = worker(service)
    for _ in range(10):
        code = enrolment(service)["code"]
        bodies = [enrolling(service, code, new_key()) for _ in range(4)]
        answers = at_once(*(lambda n=n, b=b: enrol((service, second)[n % 2], b) for n, b in enumerate(bodies)))
        assert sorted(answers, key=str) == [(201, None)] + [(403, "enrolment-refused")] * 3


def test_two_codes_for_one_terminal_code_make_one_terminal(service: Service) -> None:
    for _ in range(5):
        first = enrolment(service)
        second = enrolment(service, terminal_code=first["terminal_code"])
        bodies = [enrolling(service, made["code"], new_key()) for made in (first, second)]
        answers = at_once(*(lambda b=b: enrol(service, b) for b in bodies))
        assert sorted(answers, key=str) == [(201, None), (409, "terminal-code-taken")]


def test_a_terminal_code_in_use_is_refused_at_once(service: Service) -> None:
    staff = service.staff(Role.SYSTEM_ADMIN)
    wanted = {"institution_id": institution_id(service), "terminal_code": "T1", "name": "窗口", "kind": "window"}
    assert problem(staff.post(ENROLMENTS, wanted)) == (409, "terminal-code-taken")


def test_neither_the_code_nor_a_plain_hash_of_it_is_kept(service: Service) -> None:
    code = enrolment(service)["code"]
    plain = code.replace("-", "")
    with service.session() as session:
        row = session.scalars(select(EnrolmentRow)).one()
        kept = {row.selector_index, row.code_index}
        entries = " ".join(session.scalars(select(AuditRow.entry)))
    for said in (code, plain, plain[:4], plain[4:]):
        assert sha256(said.encode()).digest() not in kept
    assert code not in entries
    assert plain not in entries


def test_what_a_key_is_is_kept_and_nothing_private(service: Service) -> None:
    terminal = KeyTerminal.enrolled(service)
    with service.session() as session:
        row = session.scalars(select(ClientKeyRow)).one()
        assert row.jwk == jwk_of(terminal.key) | {"kid": row.thumbprint}


def test_making_and_using_a_code_is_audited(service: Service) -> None:
    staff = service.staff(Role.SYSTEM_ADMIN)
    terminal = KeyTerminal.enrolled(service, staff)
    with service.session() as session:
        rows = session.execute(select(AuditRow.action, AuditRow.subject, AuditRow.entry)).all()
    acts = {row.action: row for row in rows}
    assert f"staff:{staff.id}" in acts["terminal.enrolment-made"].entry
    assert acts["terminal.enrolled"].subject == terminal.about["client_id"]
    assert '"after"' in acts["terminal.enrolled"].entry


def test_staff_enrol_for_their_own_branch_alone(service: Service) -> None:
    mine, theirs = (UUID(institution_id(service, code)) for code in ("H1", "H2"))
    staff = service.staff(Role.INSTITUTION_OPERATOR, branch=Branch(institution_id=mine))
    made = enrolment(service, staff)
    wanted = {"institution_id": str(theirs), "terminal_code": "X", "name": "窗口", "kind": "window"}
    assert problem(staff.post(ENROLMENTS, wanted)) == (404, "institution-not-found")
    stranger = service.staff(Role.INSTITUTION_OPERATOR, branch=Branch(institution_id=theirs))
    assert answered(stranger.get(ENROLMENTS))["items"] == []
    assert problem(stranger.post(f"{ENROLMENTS}/{made['enrolment_id']}/cancel")) == (404, "enrolment-not-found")
    assert [item["enrolment_id"] for item in answered(staff.get(ENROLMENTS))["items"]] == [made["enrolment_id"]]
    assert "code" not in answered(staff.get(ENROLMENTS))["items"][0]


@pytest.mark.parametrize("role", [Role.SECURITY_ADMIN, Role.CLERK, Role.AUDIT_ADMIN])
def test_who_may_not_write_makes_no_codes(service: Service, role: Role) -> None:
    branch = Branch(institution_id=UUID(institution_id(service))) if role is Role.CLERK else Branch()
    staff = service.staff(role, branch=branch)
    wanted = {"institution_id": institution_id(service), "terminal_code": "X", "name": "窗口", "kind": "window"}
    assert problem(staff.post(ENROLMENTS, wanted)) == (403, "right-missing")
    for path in ("block", "unblock", "replace"):
        body = {"reason": "stolen"} if path == "block" else {}
        assert problem(staff.post(f"{ADMIN}/{institution_id(service)}/{path}", body)) == (403, "right-missing")


def test_old_codes_are_forgotten(service: Service) -> None:
    used, unused = enrolment(service), enrolment(service)
    assert enrol(service, enrolling(service, used["code"], new_key())) == (201, None)

    def purge() -> None:
        with service.session() as session:
            while enrolments.purge(session, now=service.clock.now()):
                pass

    service.clock.advance(1201)
    purge()
    with service.session() as session:
        assert set(session.scalars(select(EnrolmentRow.selector_index))) == {None}
    service.clock.advance(24 * 3600)
    purge()
    with service.session() as session:
        assert [str(row) for row in session.scalars(select(EnrolmentRow.id))] == [used["enrolment_id"]]
    assert unused["enrolment_id"] != used["enrolment_id"]


def test_nothing_is_enrolled_at_an_institution_that_is_closed(service: Service) -> None:
    staff, there = service.staff(Role.SYSTEM_ADMIN), institution_id(service)
    terminal = KeyTerminal.enrolled(service, staff)
    assert staff.post(f"/v1/admin/institutions/{there}/close", {"reason": "停业"}).status_code == 200
    body = {"institution_id": there, "terminal_code": "W-NEW", "name": "窗口", "kind": "window"}
    for path, wanted in ((ENROLMENTS, body), (f"{ADMIN}/{terminal.id}/replace", {})):
        assert problem(staff.post(path, wanted)) == (409, "institution-state")


@pytest.mark.parametrize("lost", ["disabled_at = now()", "roles = '{audit-admin}'"])
def test_a_code_ends_with_the_right_of_whoever_made_it(service: Service, lost: str) -> None:
    staff, key = service.staff(Role.SYSTEM_ADMIN), new_key()
    body = enrolling(service, enrolment(service, staff)["code"], key)
    with service.session() as session:
        session.execute(text(f"UPDATE staff SET {lost} WHERE id = :id"), {"id": staff.id})
    assert problem(service.client().post("/v1/terminals/enrol", json=body)) == (403, "enrolment-refused")
    with service.session() as session:
        session.execute(
            text("UPDATE staff SET disabled_at = NULL, roles = '{system-admin}' WHERE id = :id"), {"id": staff.id}
        )
    assert service.client().post("/v1/terminals/enrol", json=body).status_code == 201
