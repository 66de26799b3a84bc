"""A body that is a CSV file."""

from flask import request

from ehc.errors import Text
from ehc.files.pieces import ENCODINGS
from ehc.web.problems import HttpProblem

_CSV_ONLY = Text(
    "请以 text/csv 提交，编码为 utf-8 或 gb18030。", "Send the file as text/csv, its charset utf-8 or gb18030."
)


def csv_encoding() -> str:
    """The encoding of the file that comes. Raises `HttpProblem` (415) for another body."""
    charset = request.mimetype_params.get("charset", "utf-8").lower()
    if request.mimetype != "text/csv" or charset not in ENCODINGS:
        raise HttpProblem(415, "unsupported-media-type", _CSV_ONLY, headers={"Accept": "text/csv"})
    return charset
