"""Apps as the tests make them: drafted by one of the staff, approved by another, with a secret, live."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from werkzeug.test import TestResponse

from ehc.access.clients import Credentials
from ehc.callers import Role
from tests.support.service import Api, Service, StaffApi, told

APPS = "/v1/admin/apps"


class Office:
    """The two people whom an app takes."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.writer: StaffApi = service.staff(Role.SYSTEM_ADMIN)
        self.approver: StaffApi = service.staff(Role.SECURITY_ADMIN)

    def draft(self, **changes: Any) -> dict[str, Any]:
        answer = self.writer.post(APPS, {"name": "健康城市", "scopes": ["cards", "codes"], **changes})
        assert answer.status_code == 201, answer.text
        return told(answer)

    def read(self, app_id: str) -> TestResponse:
        return self.writer.get(f"{APPS}/{app_id}")

    def patch(self, app_id: str, who: StaffApi | None = None, **changes: Any) -> TestResponse:
        tag = self.read(app_id).headers["ETag"]
        return (who or self.writer).call("PATCH", f"{APPS}/{app_id}", changes, If_Match=tag)

    def approve(self, app_id: str, who: StaffApi | None = None) -> TestResponse:
        tag = self.read(app_id).headers["ETag"]
        return (who or self.approver).post(f"{APPS}/{app_id}/approve", {}, If_Match=tag)

    def move(self, app_id: str, name: str, who: StaffApi | None = None) -> TestResponse:
        mine = self.writer if name == "go-live" else self.approver
        return (who or mine).post(f"{APPS}/{app_id}/{name}", {"reason": "测试"})

    def secret(self, app_id: str, **more: Any) -> Credentials:
        answer = self.writer.post(f"{APPS}/{app_id}/secrets", more)
        assert answer.status_code == 201, answer.text
        made = told(answer)
        return Credentials(made["client_id"], made["client_secret"])

    def live(self, **changes: Any) -> tuple[str, Api]:
        """A live app and its client."""
        app_id = self.draft(**changes)["app_id"]
        credentials = self.secret(app_id)
        assert self.approve(app_id).status_code == 200
        assert self.move(app_id, "go-live").status_code == 200
        return app_id, Api(self.service.client(), credentials)


def ask_token(service: Service, credentials: Credentials, **environ: Any) -> TestResponse:
    """What the token endpoint says to a client."""
    form = {"grant_type": "client_credentials", **vars(credentials)}
    return service.client().post("/oauth/token", data=form, **environ)


def public_jwk(private: ec.EllipticCurvePrivateKey | None = None, **more: Any) -> dict[str, Any]:
    """A public key on P-256 as an app sends it."""
    return {
        **ECAlgorithm.to_jwk((private or ec.generate_private_key(ec.SECP256R1())).public_key(), as_dict=True),
        **more,
    }
