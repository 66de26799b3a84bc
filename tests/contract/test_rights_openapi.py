"""The rights' routes do what the OpenAPI description says of them (schemathesis), with requests made from it."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.generation import GenerationMode

from tests.contract.test_openapi import CHECKS
from tests.support.service import Service
from tests.support.service import told as answered

CARD = "/v1/cards/{card_id}"
OPERATIONS = [
    ("POST", f"{CARD}/consents"),
    ("GET", f"{CARD}/consents"),
    ("POST", f"{CARD}/consents/{{consent_id}}/withdraw"),
    ("POST", f"{CARD}/export"),
    ("GET", f"{CARD}/access-log"),
    ("POST", f"{CARD}/corrections"),
    ("GET", f"{CARD}/corrections"),
    ("POST", f"{CARD}/close"),
]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[" ".join(operation) for operation in OPERATIONS])
def test_the_service_does_what_its_description_says(
    shared: Service, newcomer: dict[str, Any], method: str, path: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(answered(shared.client().get("/openapi.json")))
    schema.app = shared.flask
    operation = schema[path][method]
    card_id = shared.app.register(**newcomer)["card_id"]
    consent = {"purpose": "institution-sharing", "text_version": "v1"}
    made = answered(shared.app.post(f"/v1/cards/{card_id}/consents", consent))["consent_id"]
    shared.terminal.scan(shared.app.code(card_id))
    known = {"card_id": card_id, "consent_id": made}

    @settings(max_examples=15, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: schemathesis.Case[Any]) -> None:
        if mode is GenerationMode.POSITIVE:
            case.path_parameters = {name: known[name] for name in case.path_parameters}
        case.validate_response(case.call(headers=shared.app.headers), checks=CHECKS)

    run()
