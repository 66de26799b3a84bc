"""The XML inside the arguments and the result (provincial SOAP 2 and 3). Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from xml.sax.saxutils import escape

from ehc.gateways.provincial_soap.result_codes import ResultCode
from ehc.gateways.provincial_soap.xml_reader import NotXml, read_xml

MAX_DESC = 100
_DEPTH, _ELEMENTS = 8, 500
"""A request is flat: its depth is two, its elements are a few dozen. Unknown elements may have something in them."""
_SPECIAL = re.compile("[&<>\"']")
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Part = tuple[str, "str | Node"]
"""An element: its name, and its text or what stands in it."""
Node = Sequence[Part]
"""Elements in their order. A name may come several times."""


class NotARequest(Exception):
    """Not well-formed, beyond the bounds, or with another root than `request`: 1012."""


def read_request(text: str) -> dict[str, str]:
    """The fields of a `request`, white space around them taken off; what is empty is left out. Raises `NotARequest`.

    Of a field that is there twice the last counts, as for clients that read with JAXB.
    """
    try:
        root = read_xml(text.strip().removeprefix("\ufeff"), depth=_DEPTH, elements=_ELEMENTS)
    except NotXml:
        raise NotARequest from None
    if root.name != "request":
        raise NotARequest
    return {child.name: told for child in root.children if (told := child.text)}


def has_special(fields: Mapping[str, str], *, but: str = "") -> bool:
    """Whether a value has one of `& < > " '` in it, which 1002 refuses. `but` names a field that may."""
    return _SPECIAL.search("".join([value for name, value in fields.items() if name != but])) is not None


def write_response(code: ResultCode, detail: str, parts: Node) -> str:
    """A `response`: what every result has, in the order of the samples, then `parts`.

    `detail` is put behind the table's text, for whatever the table has no words for.
    """
    head = (("result", code.result), ("desc", desc_of(code, detail)), ("resultCode", code.code))
    return _write("response", [*head, *parts])


def desc_of(code: ResultCode, detail: str) -> str:
    """What a result says of itself. Words of ours, that never hold a value that was sent."""
    return (f"{code.text}：{detail}" if detail else code.text)[:MAX_DESC]


def node(names: Iterable[str], values: Mapping[str, str | None]) -> list[Part]:
    """The elements of a table in its order, every one of them, empty where there is no value."""
    return [(name, values.get(name) or "") for name in names]


def _write(name: str, inside: "str | Node") -> str:
    if not inside:
        return f"<{name}></{name}>"
    told = escape(_clean(inside)) if isinstance(inside, str) else "".join([_write(*part) for part in inside])
    return f"<{name}>{told}</{name}>"


def _clean(text: str) -> str:
    """Without what XML 1.0 has no place for, and without white space around it: what other interfaces let in stays out."""
    return _NOT_IN_XML.sub("", text).strip()
