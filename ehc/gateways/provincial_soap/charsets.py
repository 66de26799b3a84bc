"""Which characters the bytes of a body are: UTF-8, or GBK and its kin where that is declared (provincial SOAP 1.4). Pure."""

import re

_CODECS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",
    "ascii": "utf-8",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "gb18030": "gb18030",
    "cp936": "gb18030",
}
"""GB 18030 reads whatever GB 2312 and GBK can write."""
_BOM = b"\xef\xbb\xbf"
_IN_TYPE = re.compile(r";\s*charset\s*=\s*[\"']?([A-Za-z0-9._-]{1,40})", re.IGNORECASE)
_IN_XML = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")


class UnknownCharset(Exception):
    """Another charset is declared, or the bytes are none of the declared one."""


def decode(body: bytes, content_type: str) -> str:
    """The text of a body: by its content type, else by its XML declaration, else UTF-8. Raises `UnknownCharset`."""
    body = body.removeprefix(_BOM)
    declared = _declared(body, content_type)
    codec = _CODECS.get(declared.lower())
    if codec is None:
        raise UnknownCharset
    try:
        return body.decode(codec)
    except UnicodeDecodeError:
        raise UnknownCharset from None


def _declared(body: bytes, content_type: str) -> str:
    found = _IN_TYPE.search(content_type)
    if found is not None:
        return found[1]
    in_xml = _IN_XML.match(body)
    return in_xml[1].decode("ascii") if in_xml else "utf-8"
