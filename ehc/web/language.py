"""Which language a caller reads: `Accept-Language` decides between Chinese and English; Chinese where it does not say."""

from flask import request

from ehc.errors import Text


def language() -> str:
    """`zh-CN` or `en`, for this request."""
    header = request.headers.get("Accept-Language")
    if not header:
        return "zh-CN"
    return request.accept_languages.best_match(("zh-CN", "zh", "en"), default="zh-CN").replace("zh-CN", "zh").replace("zh", "zh-CN")


def said(text: Text) -> str:
    """The sentence in the caller's language."""
    return text.en if language() == "en" else text.zh
