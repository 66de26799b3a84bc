"""Which language a caller reads: `Accept-Language` decides between Chinese and English; Chinese where it does not say."""

from flask import request

from ehc.errors import Text


def language() -> str:
    """`zh-CN` or `en`, for this request."""
    if not request.headers.get("Accept-Language"):
        return "zh-CN"
    return "en" if request.accept_languages.best_match(("zh", "en"), default="zh") == "en" else "zh-CN"


def said(text: Text) -> str:
    """The sentence in the caller's language."""
    return text.en if language() == "en" else text.zh
