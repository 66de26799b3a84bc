"""E0003: a code checked (provincial SOAP 4.3). The check of `/v1/verifications`: one statement, one record."""

from collections.abc import Mapping
from datetime import date, datetime

from ehc.cards.states import CardStatus
from ehc.clock import CHINA_TIME, local_day
from ehc.codes.signed import open_envelope
from ehc.codes.text import TextKind, kind_of
from ehc.core.documents import CITIZEN_ID
from ehc.core.phones import is_mobile
from ehc.core.tables import channel, departments, medical_step
from ehc.gateways.provincial_soap.asking import Asked, Told
from ehc.gateways.provincial_soap.messages import node
from ehc.gateways.provincial_soap.result_codes import Failed
from ehc.gateways.provincial_soap.telling import CHECKED
from ehc.issuer.registry import place
from ehc.verify.disclosure import disclose
from ehc.verify.metrics import scans
from ehc.verify.opening import open_holder
from ehc.verify.owning import owner_of
from ehc.verify.reasons import Reason
from ehc.verify.scans import Assurance, Holder, Settled
from ehc.verify.service import Presentation, verify_code

_NO_CODE = "3001"
_CODES: Mapping[Reason, tuple[str, str]] = {
    Reason.NOT_YET_VALID: ("3004", "二维码的时间晚于系统时间"),
    Reason.EXPIRED: ("3004", ""),
    Reason.ALREADY_USED: ("3004", "该二维码已使用过"),
    Reason.CARD_SUSPENDED: ("2001", "该卡已暂停使用或挂失，可恢复"),
    Reason.CARD_CANCELLED: ("2001", ""),
    Reason.CARD_NOT_ACTIVE: ("2002", ""),
    Reason.STATIC_NOT_ALLOWED: ("3003", "静态码不能用于此处或此环节"),
    Reason.WRONG_REGION: (_NO_CODE, "其他地区或平台签发的码"),
}
"""Each refusal of a check; any other is 3001: malformed, forged, spliced, unknown."""
_TREATMENT = frozenset({"registration", "diagnosis", "medicine", "examination", "prescription", "surgery"})


def check_code(asked: Asked) -> Told:
    """E0003."""
    code, step = asked.text("qr_code"), step_of(asked)
    if kind_of(code) is TextKind.TEMPORARY:
        raise Failed("3002", "这是临时卡二维码，请用 RHC_E0013 验证")
    if asked.services.scenes:
        _require_scene(code, step)
    shown = Presentation(
        code,
        step,
        channel=channel_of(asked),
        department=_department(asked.text("sam")),
        request_id=asked.reference or None,
        ids=True,
    )
    settled = verify_code(shown, asked.caller, tools=asked.services.tools, settle=asked.services.settle)
    scans(settled.reason or "accepted").inc()
    if settled.reason is not None:
        raise _refused(asked, code, settled.reason)
    return Told("3005", (("ehc_cardinfo", node(CHECKED, _values(asked, code, settled))),))


def step_of(asked: Asked) -> str:
    """The word for `medstep_code`; `other` without one. Raises `Failed` for one that is not in the table."""
    given = asked.text("medstep_code")
    step = medical_step(given) if given else "other"
    if step is None:
        raise Failed("1012", "medstep_code 不在代码表中")
    return step


def channel_of(asked: Asked) -> str | None:
    """The word for `channel_code`, None without one. Raises `Failed` for one that is not in the table."""
    given = asked.text("channel_code")
    way = channel(given) if given else None
    if given and way is None:
        raise Failed("1012", "channel_code 不在代码表中")
    return way


def _department(sam: str) -> str | None:
    """The last four digits of `sam` where they are a department; others are not refused (provincial SOAP 6.10)."""
    return sam[-4:] if sam[-4:] in departments() else None


def _require_scene(code: str, step: str) -> None:
    """Raises `Failed` for a static code at payment, and for a dynamic one at registration or treatment."""
    static = code.strip().endswith(":1")
    if (static and step == "payment") or (not static and step in _TREATMENT):
        raise Failed("3003", "该类二维码不能用于此环节")


def _refused(asked: Asked, code: str, reason: Reason) -> Failed:
    told, detail = _CODES.get(reason, (_NO_CODE, ""))
    if reason is Reason.CARD_NOT_ACTIVE:
        with asked.services.work() as session:
            owner = owner_of(session, code, tools=asked.services.tools, sandbox=asked.caller.sandbox, now=asked.now)
        if owner is not None and owner.status == CardStatus.REJECTED:
            return Failed("2003")
    return Failed(told, detail)


def _values(asked: Asked, code: str, settled: Settled) -> dict[str, str]:
    """What the check told, in this interface's elements. A masked date has no form here, and is left out."""
    holder = settled.holder
    ids = _ids(asked, code, settled)
    if holder is None or not settled.told:
        return ids
    today = max(local_day(settled.at), holder.birth_date or date.min)
    view = disclose(open_holder(asked.services.tools.sealer(), holder, settled.told), settled.told, today=today) or {}
    number, phone = view.get("id_number") or "", view.get("phone") or ""
    return ids | {
        "name": view.get("name") or "",
        "telephone": phone,
        "cellphone": phone if phone and is_mobile(phone.replace("*", "0")) else "",
        "id_number": number,
        "id_type": view.get("id_type") or "",
        "id_card": number if view.get("id_type") == CITIZEN_ID else "",
        "nation": view.get("nation") or "",
        "sex": view.get("sex") or "",
        "birthday": (view.get("birth_date") or "").replace("-", "") if "birth_date" in settled.told else "",
        "address": view.get("address") or "",
    }


def _ids(asked: Asked, code: str, settled: Settled) -> dict[str, str]:
    """Card id and index id, and the code decoded, `id:1` or `id:0:validity`. A static code alone tells what is in it."""
    text, holder = code.strip(), settled.holder
    national = kind_of(text) is TextKind.NATIONAL
    if settled.assurance is Assurance.STATIC or holder is None or not (holder.more or {}).get("ehc_id"):
        return {"qr_codetext": text, "ecardId": text.partition(":")[0]} if national else {}
    ehc_id, index_id = (_opened(asked, holder, name) for name in ("ehc_id", "index_id"))
    decoded = text if national else f"{ehc_id}:{_rest(text)}"
    return {"qr_codetext": decoded, "ecardId": ehc_id, "main_index": index_id}


def _opened(asked: Asked, holder: Holder, name: str) -> str:
    sealed = (holder.more or {}).get(name)
    if not sealed:
        return ""
    return asked.services.tools.sealer().unseal(bytes.fromhex(sealed[2:]), place(name, holder.card_id))


def _rest(text: str) -> str:
    """What stands behind the id for a signed code: `1`, or `0:` and when it is over, in digits."""
    claims = open_envelope(text).claims
    return "1" if claims.static else f"0:{datetime.fromtimestamp(claims.expires_at, CHINA_TIME):%Y%m%d%H%M%S}"
