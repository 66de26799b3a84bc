"""The OpenAPI description: valid, complete, and true of what the service does (schemathesis)."""

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

from ehc.access import clients
from ehc.access.roles import RIGHTS
from ehc.callers import Role, Scope
from ehc.web.openapi import described
from tests.support import residents
from tests.support.service import Api, Service
from tests.support.service import told as answered

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
JWT_CHECKS = [check for check in CHECKS if check is not checks.response_schema_conformance]
"""Schemathesis takes `application/jwt` for JSON."""
BLACKLIST = ("GET", "/v1/blacklist")
CARD = "/v1/cards/{card_id}"
INSTITUTION = "/v1/admin/institutions/{institution_id}"
STATUS = ("/healthz", "/readyz", "/.well-known/ehc/keys", "/.well-known/ehc/keys.cose", "/metrics")
GATEWAY = "/v1/admin/gateways/{account_id}"
PLATFORMS = ("wechat", "alipay")
OPERATIONS = [
    ("POST", "/v1/cards"),
    ("GET", CARD),
    ("PATCH", CARD),
    *(("POST", f"{CARD}/{path}") for path in ("suspend", "report-loss", "resume", "cancel", "close", "codes")),
    *(("POST", f"{CARD}/{path}") for path in ("documents", "consents", "corrections", "export", "family")),
    *(
        ("GET", f"{CARD}/{path}")
        for path in ("verifications", "access-log", "consents", "corrections", "family", "print")
    ),
    ("POST", f"{CARD}/consents/{{consent_id}}/withdraw"),
    ("POST", f"{CARD}/family/{{link_id}}/end"),
    ("GET", f"{CARD}/bindings"),
    ("POST", f"{CARD}/bindings/patient-ids"),
    ("GET", f"{CARD}/bindings/patient-ids"),
    ("DELETE", f"{CARD}/bindings/patient-ids/{{binding_id}}"),
    ("POST", "/v1/patient-ids/changes"),
    ("POST", f"{CARD}/bindings/bank-accounts"),
    ("GET", f"{CARD}/bindings/bank-accounts"),
    ("GET", f"{CARD}/bindings/bank-accounts/{{account_id}}"),
    ("DELETE", f"{CARD}/bindings/bank-accounts/{{account_id}}"),
    *(("POST", f"{CARD}/bindings/bank-accounts/{{account_id}}/{path}") for path in ("confirm", "default")),
    ("POST", f"{CARD}/bindings/plastic-cards"),
    ("GET", f"{CARD}/bindings/plastic-cards"),
    ("DELETE", f"{CARD}/bindings/plastic-cards/{{binding_id}}"),
    *(
        ("POST", f"{CARD}/bindings/plastic-cards/{{binding_id}}/{path}")
        for path in ("report-loss", "withdraw-loss", "replace", "found")
    ),
    BLACKLIST,
    ("GET", "/v1/usage/summary"),
    ("POST", "/v1/bank-notices"),
    ("POST", "/v1/imports"),
    ("GET", "/v1/imports/{import_id}"),
    ("GET", "/v1/imports/{import_id}/errors"),
    ("POST", "/v1/phone-proofs"),
    ("POST", "/v1/phone-proofs/{proof_id}/confirm"),
    ("POST", "/v1/temporary-cards"),
    ("POST", "/v1/temporary-cards/{card_id}/join"),
    ("POST", "/v1/verifications"),
    ("POST", "/oauth/token"),
    *(("GET", f"/v1/{path}") for path in ("institutions", "institutions/{institution_id}")),
    *(("GET", f"/v1/admin/{path}") for path in ("regions", "standard-departments", "institutions")),
    ("POST", "/v1/admin/institutions"),
    *((method, INSTITUTION) for method in ("GET", "PATCH")),
    *(("POST", f"{INSTITUTION}/{path}") for path in ("suspend", "resume", "close", "codes", "codes/{code_id}/end")),
    *((method, f"{INSTITUTION}/departments") for method in ("GET", "POST")),
    *((method, f"{INSTITUTION}/departments/{{department_id}}") for method in ("GET", "PATCH", "DELETE")),
    ("POST", "/v1/admin/institutions/imports"),
    *(("GET", f"/v1/admin/institutions/imports/{{import_id}}{path}") for path in ("", "/errors")),
    *((method, "/v1/admin/sessions/current") for method in ("GET", "DELETE")),
    *((method, "/v1/webhooks") for method in ("GET", "POST")),
    *((method, "/v1/webhooks/{webhook_id}") for method in ("GET", "PATCH", "DELETE")),
    *(("POST", f"/v1/webhooks/{{webhook_id}}/{path}") for path in ("secret", "test", "replay", "redeliver")),
    ("GET", "/v1/webhooks/{webhook_id}/deliveries"),
    ("GET", "/v1/admin/webhooks"),
    ("GET", "/v1/admin/webhooks/{webhook_id}/deliveries"),
    *(("POST", f"/v1/admin/webhooks/{{webhook_id}}/{path}") for path in ("pause", "resume", "redeliver")),
    *((method, "/v1/admin/gateways") for method in ("GET", "POST")),
    ("GET", "/v1/admin/gateways/failures"),
    *((method, GATEWAY) for method in ("GET", "PATCH")),
    *(("GET", f"{GATEWAY}/{path}") for path in ("usage", "failures")),
    *(("POST", f"{GATEWAY}/{path}") for path in ("suspend", "resume", "secrets", "places")),
    *(("DELETE", f"{GATEWAY}/{path}") for path in ("secrets/{secret_id}", "places/{place_id}")),
    *((method, "/v1/admin/apps") for method in ("GET", "POST")),
    *((method, "/v1/admin/apps/{app_id}") for method in ("GET", "PATCH")),
    *(("POST", f"/v1/admin/apps/{{app_id}}/{path}") for path in ("approve", "go-live", "suspend", "resume")),
    *(("POST", f"/v1/admin/apps/{{app_id}}/{path}") for path in ("secrets", "keys")),
    ("DELETE", "/v1/admin/apps/{app_id}/secrets/{secret_id}"),
    ("DELETE", "/v1/admin/apps/{app_id}/keys/{key_id}"),
    ("GET", "/v1/admin/apps/{app_id}/platforms"),
    *((method, f"/v1/admin/apps/{{app_id}}/platforms/{name}") for method in ("PUT", "DELETE") for name in PLATFORMS),
    ("POST", "/v1/admin/apps/{app_id}/sessions/end"),
    ("GET", "/v1/admin/cards/{card_id}/sessions"),
    ("POST", "/v1/admin/cards/{card_id}/sessions/end"),
    ("POST", "/v1/sessions"),
    *((method, "/v1/sessions/current") for method in ("GET", "DELETE")),
    *((method, "/v1/sessions/current/link") for method in ("POST", "DELETE")),
    ("POST", "/v1/terminals/enrol"),
    ("POST", "/v1/terminals/heartbeat"),
    ("GET", "/v1/terminals/self"),
    *(("GET", f"/v1/admin/{path}") for path in ("terminals", "terminals/attention", "terminal-releases")),
    *((method, "/v1/admin/terminals/{terminal_id}") for method in ("GET", "PATCH")),
    *(("POST", f"/v1/admin/terminals/{{terminal_id}}/{path}") for path in ("block", "unblock", "replace")),
    *((method, "/v1/admin/terminal-enrolments") for method in ("GET", "POST")),
    ("POST", "/v1/admin/terminal-enrolments/{enrolment_id}/cancel"),
    ("POST", "/v1/admin/terminal-releases"),
    ("POST", "/v1/admin/sessions"),
    *(("POST", f"/v1/admin/sessions/current/{path}") for path in ("challenge", "proof")),
    ("GET", "/v1/admin/me"),
    *(("POST", f"/v1/admin/me/{path}") for path in ("password", "recovery-codes", "totp", "totp/confirm")),
    *(("POST", f"/v1/admin/me/{path}") for path in ("webauthn", "webauthn/confirm")),
    *(("DELETE", f"/v1/admin/me/{path}") for path in ("totp", "webauthn/{passkey_id}")),
    *((method, "/v1/admin/staff") for method in ("GET", "POST")),
    *((method, "/v1/admin/staff/{staff_id}") for method in ("GET", "PATCH")),
    *(
        ("POST", f"/v1/admin/staff/{{staff_id}}/{path}")
        for path in ("disable", "enable", "reset", "unlock", "roles", "roles/revoke")
    ),
    *(("POST", f"/v1/admin/staff/{{staff_id}}/roles/{{grant_id}}/{path}") for path in ("grant", "refuse")),
    ("GET", "/v1/admin/audit"),
    *(("GET", f"/v1/admin/approvals{path}") for path in ("", "/{approval_id}")),
    *(("POST", f"/v1/admin/approvals/{path}") for path in ("key-revocations", "card-cancellations")),
    *(("POST", f"/v1/admin/approvals/{{approval_id}}/{path}") for path in ("approve", "reject", "withdraw")),
    *(("GET", f"/v1/admin/disclosure{path}") for path in ("", "/versions", "/diff", "/explain")),
    ("POST", "/v1/admin/disclosure/proposals"),
    *(("GET", path) for path in (*STATUS, "/.well-known/ehc/list-keys")),
]
NOTHING = {
    ("GET", "/v1/terminals/self"),
    ("GET", "/v1/admin/terminal-releases"),
    ("GET", "/v1/sessions/current"),
    ("DELETE", "/v1/sessions/current"),
    ("DELETE", "/v1/sessions/current/link"),
}
"""What takes nothing, so that nothing of it can be wrong."""


def _takes_something(method: str, path: str) -> bool:
    return path.startswith(("/v1", "/oauth")) and (method, path) not in NOTHING


CASES = [
    (*operation, mode)
    for operation in OPERATIONS
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or _takes_something(*operation)
]


@pytest.fixture(scope="module")
def document(shared: Service) -> dict[str, Any]:
    answer = shared.client().get("/openapi.json")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    return dict(answered(answer))


def test_the_description_is_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    whole = deepcopy(document)  # OpenAPI 3.1.1 lets an address be relative; the schema of 3.1.0 wants a whole one
    whole["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]["tokenUrl"] = "https://ehc.local/"
    assert [error.message for error in OPENAPI_31_VALIDATOR.iter_errors(whole)] == []


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from ([value["$ref"]] if "$ref" in value else [])
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    for reference in set(references(document)):
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_every_route_and_method_is_described(shared: Service, document: dict[str, Any]) -> None:
    for rule in shared.flask.url_map.iter_rules():
        if not rule.rule.startswith(("/v1", "/oauth")):
            continue
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        told = {method.upper() for method in document["paths"][path]}
        assert (rule.methods or set()) - {"HEAD", "OPTIONS"} <= told, path


def test_nothing_is_described_that_is_not_there(shared: Service, document: dict[str, Any]) -> None:
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told == {(method, path) for path, method, *_ in described(shared.flask)} == set(OPERATIONS)


def test_every_operation_has_a_name_of_its_own_and_says_what_it_needs(document: dict[str, Any]) -> None:
    operations = [(path, told) for path, methods in document["paths"].items() for told in methods.values()]
    names = [told["operationId"] for _, told in operations]
    assert len(set(names)) == len(names)
    for path, told in operations:
        assert told["summary"]
        assert ("security" in told) == _for_clients(path)
        assert {"401", "403"} <= set(told["responses"]) or not _for_clients(path)


def test_bodies_are_closed(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for told in methods.values():
            shape = told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            if shape:
                name = shape["$ref"].rpartition("/")[2]
                assert document["components"]["schemas"][name]["additionalProperties"] is False, name


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]} {case[1]}, {case[2].value}" for case in CASES])
def test_the_service_does_what_its_description_says(
    shared: Service, document: dict[str, Any], newcomer: dict[str, Any], case: tuple[str, str, GenerationMode]
) -> None:
    """With a real token, a real card where one is wanted, and requests made from the description, always the same ones."""
    method, path, mode = case
    schema = schemathesis.openapi.from_dict(document)
    schema.app = shared.flask
    operation = schema[path][method]
    card_id = shared.app.register(**newcomer)["card_id"] if path.startswith(CARD) else ""
    headers, refused = _headers(shared, method, path), list[bool]()

    @settings(max_examples=10, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case[Any]) -> None:
        if card_id and mode is GenerationMode.POSITIVE:
            case.path_parameters = {**(case.path_parameters or {}), "card_id": card_id}
        answer = case.call(headers=headers)
        if answer.status_code == 413 and mode is GenerationMode.NEGATIVE:  # refused too, before it was looked at
            return
        case.validate_response(answer, checks=JWT_CHECKS if (method, path) == BLACKLIST else CHECKS)
        refused.append(answer.status_code in {401, 403} and answer.json().get("code") in REFUSALS)

    run()
    assert not all(refused), "nothing was tried: the caller is of the wrong kind"


REFUSALS = {"token-missing", "token-invalid", "insufficient-scope", "right-missing", "terminal-only"}


def _headers(shared: Service, method: str, path: str) -> dict[str, str]:
    """The token of somebody who may call it, of the kind that it is made for."""
    (told,) = (told for *route, _, told in described(shared.flask) if route == [path, method])
    if told.right is not None or told.staff:
        role = next(role for role in (Role.SYSTEM_ADMIN, *Role) if told.right is None or told.right in RIGHTS[role])
        return shared.staff(role).headers
    if path.startswith("/v1/sessions/current"):
        return {"Authorization": f"Bearer {residents.token_of(shared, shared.app)}"}
    if told.scope is Scope.BATCH:
        with shared.session() as session:
            made = clients.add_app(session, name="批量", scopes=frozenset(Scope), now=shared.clock.now())
        return Api(shared.client(), made).headers
    if told.scope is Scope.VERIFY:
        return shared.terminal.headers
    return shared.app.headers if told.scope is not None else {}


def _for_clients(path: str) -> bool:
    """Whether a path is for apps, terminals or staff with their tokens; the bank signs instead.

    A terminal has none yet when it enrols, nor has who logs in.
    """
    return path.startswith("/v1") and path not in {"/v1/bank-notices", "/v1/terminals/enrol", "/v1/admin/sessions"}
