"""Why a code is refused, and what the person at the scanner should do about it."""

from enum import StrEnum

from ehc.errors import Text


class Reason(StrEnum):
    """The stable names of refusals."""

    MALFORMED = "malformed"
    UNKNOWN_FORMAT = "unknown-format"
    UNKNOWN_KEY = "unknown-key"
    BAD_SIGNATURE = "bad-signature"
    NOT_YET_VALID = "not-yet-valid"
    EXPIRED = "expired"
    ALREADY_USED = "already-used"
    NOT_ISSUED = "not-issued"
    CARD_SUSPENDED = "card-suspended"
    CARD_CANCELLED = "card-cancelled"
    CARD_NOT_ACTIVE = "card-not-active"
    STATIC_NOT_ALLOWED = "static-not-allowed"
    WRONG_REGION = "wrong-region"


NOT_RECORDED = frozenset({Reason.MALFORMED, Reason.UNKNOWN_FORMAT, Reason.WRONG_REGION})
"""Refusals that are only counted: the text is not one of our codes, so there is nothing to record it against."""

_FRESH = Text("请居民刷新二维码后再扫。", "Ask the resident to refresh the code and scan again.")

ADVICE: dict[Reason, Text] = {
    Reason.MALFORMED: Text(
        "二维码内容不完整或有误，请擦净屏幕、调亮后重扫；手工输入的请核对。",
        "The code is incomplete or mistyped. Clean and brighten the screen and scan again.",
    ),
    Reason.UNKNOWN_FORMAT: Text(
        "这不是电子健康卡二维码，请居民打开健康卡页面。",
        "This is not a health card code. Ask the resident to open the health card.",
    ),
    Reason.UNKNOWN_KEY: Text(
        f"该码的签名密钥已停用或不受信任，{_FRESH.zh}", f"The code's key is not trusted, or no longer. {_FRESH.en}"
    ),
    Reason.BAD_SIGNATURE: Text(
        "二维码签名不符，可能被改动，请核对居民身份证件。",
        "The signature does not fit: the code was altered. Check the identity document.",
    ),
    Reason.NOT_YET_VALID: Text(
        "二维码的时间晚于系统时间，请稍候重扫。", "The code is dated in the future. Wait a moment and scan again."
    ),
    Reason.EXPIRED: Text(f"二维码已过期，{_FRESH.zh}", f"The code has expired. {_FRESH.en}"),
    Reason.ALREADY_USED: Text(f"该二维码已使用过，{_FRESH.zh}", f"The code was used already. {_FRESH.en}"),
    Reason.NOT_ISSUED: Text(
        "没有与该码对应的健康卡，请核对居民身份证件。", "No card belongs to this code. Check the identity document."
    ),
    Reason.CARD_SUSPENDED: Text(
        "该健康卡已暂停使用，请居民恢复后再用，或核对身份证件。",
        "The card is suspended. The resident can resume it; or check the identity document.",
    ),
    Reason.CARD_CANCELLED: Text(
        "该健康卡已注销，请居民到发卡机构办理恢复。", "The card was cancelled. An issuing institution can restore it."
    ),
    Reason.CARD_NOT_ACTIVE: Text(
        "该健康卡尚未通过审核，请核对身份证件。", "The card is not approved yet. Check the identity document."
    ),
    Reason.STATIC_NOT_ALLOWED: Text(
        "静态码不能用于此处或此环节，请居民出示动态码，或核对身份证件。",
        "A static code does not count here or for this step. Ask for a dynamic code, or check the identity document.",
    ),
    Reason.WRONG_REGION: Text(
        "这是其他地区或平台签发的码，请由原平台核验，或核对身份证件。",
        "Another region's or platform's code. Have it checked there, or check the identity document.",
    ),
}

_REPRINT = Text(
    "请居民出示动态码或最新打印的码，或核对身份证件后补打。",
    "Ask for a dynamic code or the newest print, or check the identity document and print again.",
)

PRINT_ADVICE: dict[Reason, Text] = {
    Reason.EXPIRED: Text(f"该打印码已失效，{_REPRINT.zh}", f"This print is no longer good. {_REPRINT.en}"),
    Reason.UNKNOWN_KEY: Text(
        f"该打印码的签名密钥已停用，{_REPRINT.zh}", f"This print's key is no longer trusted. {_REPRINT.en}"
    ),
    Reason.CARD_CANCELLED: Text(
        f"该码对应的卡已注销或信息已变更，{_REPRINT.zh}",
        f"The card was cancelled, or its holder's data changed since. {_REPRINT.en}",
    ),
}
"""Where the advice for a static code is another: paper cannot be refreshed."""

TEMPORARY_ADVICE: dict[Reason, Text] = {
    Reason.EXPIRED: Text(
        "临时卡已到期，请重新登记，或凭身份证件办理健康卡。",
        "The temporary card has expired. Register the patient anew, or register a card with an identity document.",
    ),
    Reason.CARD_CANCELLED: Text(
        "临时卡已并入正式卡或已注销，请居民出示健康卡。",
        "The temporary card was joined to a health card, or cancelled. Ask for the health card.",
    ),
}
"""Where the advice for a temporary card is another."""

PLASTIC_ADVICE: dict[Reason, Text] = {
    Reason.MALFORMED: Text(
        "卡号不符合该类实体卡的格式，请重新读卡，不要手工输入。",
        "The number has not the form of this kind of card. Read the card again; do not type it.",
    ),
    Reason.NOT_ISSUED: Text(
        "该实体卡未绑定健康卡，请居民出示健康卡码，或核对证件后绑定。",
        "This plastic card is not bound to a health card. Ask for the code, or bind it after a check.",
    ),
    Reason.CARD_SUSPENDED: Text(
        "该实体卡已挂失，或健康卡已暂停，请核对居民身份证件。",
        "The plastic card was reported lost, or the health card is suspended. Check the identity document.",
    ),
    Reason.CARD_CANCELLED: Text(
        "该实体卡已补换或注销，请居民出示新卡或健康卡码。",
        "The plastic card was replaced or cancelled. Ask for the new one, or for the health card.",
    ),
    Reason.STATIC_NOT_ALLOWED: Text(
        "手机尾号错误次数过多，请核对居民身份证件。", "Too many wrong ends of a phone. Check the identity document."
    ),
}
"""Where the advice for a plastic card is another."""
