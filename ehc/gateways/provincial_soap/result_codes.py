"""The result codes (接口返回码): all 65, with the words that go with them (provincial SOAP 5). Pure."""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import NamedTuple


class ResultCode(NamedTuple):
    """One code: `result` is `success` or `failure`; `text` the sentence of the table, in Chinese."""

    code: str
    result: str
    text: str

    @property
    def good(self) -> bool:
        """Whether it tells of a success."""
        return self.result == "success"


class Failed(Exception):
    """An operation ends with a code of the table. `parts` are elements that go with it, `detail` words behind its text."""

    def __init__(self, code: str, detail: str = "", parts: "tuple[object, ...]" = ()) -> None:
        super().__init__(code)
        self.code, self.detail, self.parts = code, detail, parts


@cache
def result_codes() -> Mapping[str, ResultCode]:
    """Every code, in the order of the table."""
    text = files("ehc.gateways.provincial_soap").joinpath("data", "result_codes.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return MappingProxyType({row["code"]: ResultCode(row["code"], row["result"], row["text_zh"]) for row in rows})
