"""Every method of the interface (open-platform JSON 4): what carries it out and needs which scope, or why it is not open."""

from dataclasses import dataclass
from typing import Any

from ehc.callers import Scope
from ehc.gateways.open_platform import checking, reading, registering, relating, showing
from ehc.gateways.open_platform.deps import Call, Method
from ehc.gateways.open_platform.members import Members

GET_TOKEN = "getAppToken"  # noqa: S105 - the name of a method
OCR = "ocrInfo"


@dataclass(frozen=True, slots=True)
class Open:
    """A method that is carried out. `scope` None: any app that has an account. `sandbox`: also there."""

    act: Method
    scope: Scope | None
    sandbox: bool = True


def _nothing(_: Call, __: Members) -> dict[str, Any]:
    """recvPushMsg: nobody knows what it tells (4.4, CHOICE)."""
    return {}


OPEN: dict[str, Open] = {
    "registerHealthCard": Open(registering.register, Scope.CARDS),
    "registerBatchHealthCard": Open(registering.register_batch, Scope.CARDS),
    "getHealthCardByHealthCode": Open(showing.by_health_code, Scope.CARDS),
    "getHealthCardByQRCode": Open(showing.by_qr_code, Scope.CARDS),
    "getHealthCardByHealthCardId": Open(showing.by_id, Scope.CARDS),
    OCR: Open(reading.ocr_info, Scope.CARDS, sandbox=False),
    "getDynamicQRCode": Open(showing.dynamic_qr_code, Scope.CODES),
    "verifyQRCode": Open(checking.verify, Scope.VERIFY),
    "bindCardRelation": Open(relating.bind_card_relation, Scope.BINDINGS, sandbox=False),
    "reportHISData": Open(relating.report_his_data, None),
    "reportScanQRCode": Open(relating.report_his_data, None),
    "reportRealNamePatientData": Open(relating.report_his_data, None),
    "getOrderIdByOutAppId": Open(relating.order_id, Scope.CARDS, sandbox=False),
    "updateHealthCardId": Open(relating.update_health_card_id, Scope.CARDS),
    "recvPushMsg": Open(_nothing, None),
}

_FACE = "未接入人脸核身服务"
_PAGES = "未接入微信授权页面"
_PATIENTS = "未接入患者主索引服务"
CLOSED: dict[str, str] = {
    "registerOrder": _FACE,
    "verifyFaceIdentity": _FACE,
    "registerUniformOrder": _FACE,
    "registerUniformVerifyOrder": _FACE,
    "checkUniformVerifyResult": _FACE,
    "getOrderInfoByOrderId": _FACE,
    "registerRealPersonAuthOrder": _FACE,
    "ssmGenQrCode": _PAGES,
    "ssmQueryQrCodeResult": _PAGES,
    "registerHealthCardPreAuth": _PAGES,
    "registerHealthCardPreFill": _PAGES,
    "getRegInfoByCode": _PAGES,
    "bindUnionId": "未接入微信用户体系",
    "getThirdPartyPlatformInfo": _PATIENTS,
    "verifyRealNamePatient": _PATIENTS,
    "getPatientsHealthCard": _PATIENTS,
    "savePatients": _PATIENTS,
    "saveScanQrField": "未接入第三方扫码服务",
    "checkAppointmentLimit": "未接入预约风控服务",
    "referralResultNotice": "未接入转诊平台",
    "sendMedicalRecordNotice": "未接入微信消息服务",
}
"""What each of the others would need of an outside party. No answer of theirs is made up."""

NAMES = frozenset({GET_TOKEN, *OPEN, *CLOSED})
