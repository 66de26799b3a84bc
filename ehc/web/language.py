"""Which language a caller reads: `Accept-Language` decides between Chinese and English; Chinese where it does not say."""

from flask import request

from ehc.errors import Text


def language() -> str:
    """`zh-CN` or `en`, for this request."""
    if "Accept-Language" not in request.headers:
        return "zh-CN"
    for tag, quality in request.accept_languages:  # the most wanted first
        word = tag.lower().partition("-")[0]
        if quality > 0 and word in {"zh", "en", "*"}:
            return "en" if word == "en" else "zh-CN"
    return "zh-CN"


def said(text: Text) -> str:
    """The sentence in the caller's language."""
    return text.en if language() == "en" else text.zh
