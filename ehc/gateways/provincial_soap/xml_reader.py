"""XML of strangers, read within bounds. Pure.

No document type, so no entity but the five of XML itself, nothing fetched from anywhere; depth and number of elements are
bounded, the size is by whoever hands the text in. What breaks a bound is not read to its end.
"""

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat


class NotXml(Exception):
    """Not well-formed, or with a document type, or beyond the bounds."""


@dataclass(slots=True)
class Element:
    """An element: its local name, its namespace ("" for none), the text directly in it, whether any of that was CDATA."""

    name: str
    namespace: str
    pieces: list[str] = field(default_factory=list)
    children: list["Element"] = field(default_factory=list)
    cdata: bool = False

    @property
    def text(self) -> str:
        """The text directly in it, without white space around it."""
        return "".join(self.pieces).strip()

    def child(self, name: str) -> "Element | None":
        """The first child with a local name, in whatever namespace."""
        return next((one for one in self.children if one.name == name), None)


def read_xml(text: str, *, depth: int, elements: int) -> Element:
    """The root element of a document. An encoding that it declares is ignored: it is text already. Raises `NotXml`."""
    return _Reader(depth, elements).read(text)


class _Reader:
    def __init__(self, depth: int, elements: int) -> None:
        self._depth, self._left = depth, elements
        self._open: list[Element] = []
        self._root: Element | None = None

    def read(self, text: str) -> Element:
        parser = expat.ParserCreate("utf-8", " ")
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.StartCdataSectionHandler = self._cdata
        try:
            parser.Parse(text.encode(), True)
        except (expat.ExpatError, UnicodeEncodeError):
            raise NotXml from None
        if self._root is None:
            raise NotXml
        return self._root

    def _doctype(self, *_: Any) -> None:
        raise NotXml

    def _start(self, name: str, _: list[str]) -> None:
        self._left -= 1
        if len(self._open) >= self._depth or self._left < 0:
            raise NotXml
        namespace, _sep, local = name.rpartition(" ")
        element = Element(local, namespace)
        if self._open:
            self._open[-1].children.append(element)
        else:
            self._root = element
        self._open.append(element)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _text(self, data: str) -> None:
        self._open[-1].pieces.append(data)

    def _cdata(self) -> None:
        self._open[-1].cdata = True
