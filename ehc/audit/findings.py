"""What following the audit log can find: which kind of harm, in which row or tie, said for the audit administrator."""

from dataclasses import dataclass
from enum import StrEnum

from ehc.errors import Text


class Fault(StrEnum):
    """What is wrong with a row, a chain or a tie."""

    CHANGED = "changed"
    MISSING = "missing"
    MOVED = "moved"
    CUT_OFF = "cut-off"
    ADDED = "added"
    HEAD_CHANGED = "head-changed"
    REBUILT = "rebuilt"
    WEAKENED = "weakened"
    NO_KEY = "no-key"
    TIE_CHANGED = "tie-changed"
    TIE_MISSING = "tie-missing"
    TIE_FORGED = "tie-forged"
    TIE_UNVOUCHED = "tie-unvouched"
    TIE_NOT_KEPT = "tie-not-kept"


_SAID = {
    Fault.CHANGED: Text(
        "已被改动，或其前的行被删除后重新编号",
        "changed, or a row before it was taken out and the numbers closed up",
    ),
    Fault.MISSING: Text("缺失", "missing"),
    Fault.MOVED: Text("顺序被改动：原在现第 {other} 行之后", "out of order: written after the row that is now {other}"),
    Fault.CUT_OFF: Text("被截掉", "cut off the end"),
    Fault.ADDED: Text("不属于该链，为后来添加", "added: no head and no tie knows it"),
    Fault.HEAD_CHANGED: Text("链尾记录缺失或被改动", "the head of the chain is missing or changed"),
    Fault.REBUILT: Text(
        "其中有行被改写并重算：与第 {other} 号系结不符", "some were rewritten: tie {other} holds others"
    ),
    Fault.WEAKENED: Text("应为 HMAC-SM3，却以 SHA-256 链接", "linked by SHA-256 while HMAC-SM3 was in force"),
    Fault.NO_KEY: Text("所用的链接方法或密钥不存在", "linked by a method or key that is not there"),
    Fault.TIE_CHANGED: Text("已被改动", "changed"),
    Fault.TIE_MISSING: Text("缺失", "missing"),
    Fault.TIE_FORGED: Text("不是用本部署的审计密钥签名", "not signed by an audit key of this deployment, in its time"),
    Fault.TIE_UNVOUCHED: Text(
        "密钥已吊销，其后尚无新的系结；请运行 ehc audit tie",
        "its key is revoked and no later tie vouches for it; run `ehc audit tie`",
    ),
    Fault.TIE_NOT_KEPT: Text("与另行保存的哈希不符", "not the tie whose hash was kept"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong. `chain` is None for ties; `seq` to `last` are the rows or ties; `other` is named in the text."""

    fault: Fault
    chain: int | None
    seq: int
    last: int | None = None
    other: int | None = None

    def said(self) -> Text:
        """The finding as a sentence that names the place and tells no content."""
        end = f"-{self.last}" if self.last is not None and self.last != self.seq else ""
        place = Text(f"第 {self.seq}{end} 号系结", f"tie {self.seq}{end}")
        if self.chain is not None:
            place = Text(f"链 {self.chain} 第 {self.seq}{end} 行", f"chain {self.chain}, row {self.seq}{end}")
        what = _SAID[self.fault]
        return Text(
            f"{place.zh}：{what.zh.format(other=self.other)}。", f"{place.en}: {what.en.format(other=self.other)}."
        )
