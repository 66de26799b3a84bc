"""What an answer says of itself: 0, or a number and a sentence (open-platform JSON 5.8).

The numbers are ours: nobody knows those of the platform.
"""

from enum import IntEnum


class Result(IntEnum):
    """The `resultCode` of an answer."""

    OK = 0
    NOT_A_REQUEST = 10001
    """Not JSON, or without what every request has."""
    BAD_MEMBER = 10002
    NOT_OPEN = 10003
    BAD_SIGNATURE = 20001
    BAD_TOKEN = 20002
    BAD_TIME = 20003
    NO_SUCH_APP = 20004
    NOT_ITS_HOSPITAL = 20005
    BAD_WECHAT_CODE = 30001
    BAD_HEALTH_CODE = 30002
    NOT_CONFIRMED = 30003
    NO_SUCH_CARD = 40001
    BAD_CODE = 40002
    CODE_OVER = 40003
    CARD_CANCELLED = 40004
    NOT_ITS_DOCUMENT = 40005
    BUSY = 50000


MESSAGES: dict[Result, str] = {
    Result.OK: "成功",
    Result.NOT_A_REQUEST: "请求格式错误",
    Result.BAD_MEMBER: "参数缺失或不合法",
    Result.NOT_OPEN: "接口未开通",
    Result.BAD_SIGNATURE: "签名错误",
    Result.BAD_TOKEN: "appToken无效或已过期",
    Result.BAD_TIME: "时间戳超出允许范围",
    Result.NO_SUCH_APP: "appId不存在或未授权",
    Result.NOT_ITS_HOSPITAL: "医院ID未授权",
    Result.BAD_WECHAT_CODE: "wechatCode无效或已使用",
    Result.BAD_HEALTH_CODE: "healthCode无效或已使用",
    Result.NOT_CONFIRMED: "实名核身未通过",
    Result.NO_SUCH_CARD: "健康卡不存在",
    Result.BAD_CODE: "二维码错误",
    Result.CODE_OVER: "二维码已过期",
    Result.CARD_CANCELLED: "健康卡已注销",
    Result.NOT_ITS_DOCUMENT: "证件信息与健康卡不匹配",
    Result.BUSY: "系统繁忙，请稍后重试",
}


_TELL_MORE = frozenset({Result.BAD_MEMBER, Result.BAD_CODE, Result.NOT_CONFIRMED})


class Refusal(Exception):
    """A call that is not carried out. `more` says why: to operators always, to the client where somebody can act on it."""

    def __init__(self, result: Result, more: str = "") -> None:
        super().__init__(result.name)
        self.result, self.more = result, more

    @property
    def message(self) -> str:
        """The `errMsg`, which a patient may read: the sentence of the table, and what to do where they can do something."""
        return self.whole if self.result in _TELL_MORE else MESSAGES[self.result]

    @property
    def whole(self) -> str:
        """The sentence with the reason, for whoever runs the service."""
        told = MESSAGES[self.result]
        return f"{told}：{self.more}" if self.more else told
