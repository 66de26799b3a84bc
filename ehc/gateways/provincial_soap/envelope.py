"""SOAP envelopes: read in either version and in every dialect that was seen, answered in the version received. Pure.

One operation with two strings, `arg0` and `arg1`, that hold XML themselves (provincial SOAP 1.1 to 1.4). Prefixes are looked
through; both names of the wrapper are taken, in the target namespace or in none; the arguments qualified or not.
"""

from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import escape

from ehc.gateways.provincial_soap.charsets import UnknownCharset, decode
from ehc.gateways.provincial_soap.xml_reader import Element, NotXml, read_xml

TARGET = "http://webservice.ehc.cdxt.com/"
OPERATION = "RHCMessageServer"
WRAPPERS = frozenset({OPERATION, f"{OPERATION}Request"})
"""The real service's name, and the one in the schema that the Spring-WS server publishes."""
MAX_BODY = 4 * 2**20
"""Three photographs of 400 kB in base64 fit, with room (provincial SOAP 1.4)."""
_DEPTH, _ELEMENTS = 32, 2_000
"""Security headers that some stacks send are a dozen deep; the body of a call is four."""


class Version(StrEnum):
    """The versions of SOAP, as a dialect names them."""

    SOAP11 = "soap11"
    SOAP12 = "soap12"


_NAMESPACES = {
    Version.SOAP11: "http://schemas.xmlsoap.org/soap/envelope/",
    Version.SOAP12: "http://www.w3.org/2003/05/soap-envelope",
}
_CONTENT_TYPES = {
    Version.SOAP11: "text/xml; charset=UTF-8",
    Version.SOAP12: "application/soap+xml; charset=UTF-8",
}


class NotACall(Exception):
    """No SOAP envelope, or not of our operation: answered with a fault that says `what` (never what was sent)."""

    def __init__(self, what: str, version: Version = Version.SOAP11) -> None:
        super().__init__(what)
        self.what, self.version = what, version


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller sent: the two arguments, "" where one is missing, and in which manner."""

    version: Version
    action: str
    message: str
    dialect: str
    """For operators: the version, the wrapper where it is Spring-WS's, its namespace where it has none, CDATA or escaped."""


def read_call(body: bytes, content_type: str) -> Call:
    """The call in a body of at most `MAX_BODY` bytes. Raises `NotACall`."""
    version, wrapper = _wrapper(body, content_type)
    if wrapper.name not in WRAPPERS or wrapper.namespace not in {TARGET, ""}:
        raise NotACall(f"unknown operation: the body takes {OPERATION} in {TARGET}", version)
    action, message = wrapper.child("arg0"), wrapper.child("arg1")
    return Call(
        version,
        action.text if action else "",
        message.text if message else "",
        _dialect(version, wrapper, message or action),
    )


def content_type_of(version: Version) -> str:
    """The content type of an answer."""
    return _CONTENT_TYPES[version]


def write_answer(version: Version, told: str) -> bytes:
    """An answer, `told` being the XML in its `return`. The result element is always in the target namespace."""
    return _envelope(
        version,
        f'<ns2:{OPERATION}Response xmlns:ns2="{TARGET}"><return>{escape(told)}</return></ns2:{OPERATION}Response>',
    )


def write_fault(version: Version, what: str) -> bytes:
    """A fault of the caller's making."""
    if version is Version.SOAP12:
        code = "<soap:Code><soap:Value>soap:Sender</soap:Value></soap:Code>"
        reason = f'<soap:Reason><soap:Text xml:lang="en">{escape(what)}</soap:Text></soap:Reason>'
        return _envelope(version, f"<soap:Fault>{code}{reason}</soap:Fault>")
    told = f"<faultcode>soap:Client</faultcode><faultstring>{escape(what)}</faultstring>"
    return _envelope(version, f"<soap:Fault>{told}</soap:Fault>")


def _envelope(version: Version, inside: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<soap:Envelope xmlns:soap="{_NAMESPACES[version]}"><soap:Body>{inside}</soap:Body></soap:Envelope>'
    ).encode()


def _wrapper(body: bytes, content_type: str) -> tuple[Version, Element]:
    """The version, and the first element in the body of the envelope."""
    try:
        root = read_xml(decode(body, content_type).strip(), depth=_DEPTH, elements=_ELEMENTS)
    except UnknownCharset:
        raise NotACall("the charset is not known, or not the declared one: send UTF-8, or declare GBK") from None
    except NotXml:
        raise NotACall("not well-formed XML, or with a DTD, or too deep") from None
    version = next((one for one, namespace in _NAMESPACES.items() if namespace == root.namespace), None)
    if version is None or root.name != "Envelope":
        raise NotACall("not a SOAP envelope of version 1.1 or 1.2")
    inside = next((one for one in root.children if one.name == "Body" and one.namespace == root.namespace), None)
    if inside is None or not inside.children:
        raise NotACall("the envelope has no body, or nothing in it", version)
    return version, inside.children[0]


def _dialect(version: Version, wrapper: Element, argument: Element | None) -> str:
    words: list[str] = [version]
    words += ["spring-ws"] if wrapper.name != OPERATION else []
    words += ["unqualified"] if not wrapper.namespace else []
    words += ["qualified-arguments"] if argument is not None and argument.namespace else []
    words += ["cdata" if argument is not None and argument.cdata else "escaped"]
    return " ".join(words)
