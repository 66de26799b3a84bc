"""One normal form for a person's name (national rules 1.4): the index id is a hash, so every byte counts.

A name is brought to what its holder would read on the document, however it was typed:

- what cannot be seen is dropped: zero-width and direction marks, variation selectors, fillers. They come along when
  text is pasted, and never tell two names apart;
- Unicode NFC. It replaces CJK compatibility ideographs (U+F900 and on) by the character they repeat, which is wanted:
  the same name typed on two systems. It leaves every other rare character, in whatever plane, as it is;
- full-width letters, digits and signs become ordinary ones, and letters upper case, as machine-read documents have
  them;
- white space is trimmed, each run of it is one space, and between two Chinese characters it goes: the space in 张 三
  (often U+3000, to line up with three-character names) is layout, the one in ZHANG SAN parts two words;
- the dot in 阿依古丽·买买提 is U+00B7: for each of the look-alikes that keyboards and old character sets produce, for a
  full stop between Chinese characters, and for several in a row; with no space around it.

These rules are fixed from the first card on: changing one changes people's ids.
"""

import re
import unicodedata

from ehc.errors import InvalidValue, Text

MAX_CHARACTERS = 64

# Chinese characters, with 々 and 〇. Planes 2 and 3 are taken whole: they hold nothing else, and characters added there
# after this Python's Unicode tables were made are somebody's name.
_HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fffd\U00030000-\U0003fffd"

# Drawn as nothing, though Unicode does not call them format characters (Cf): combining joiner, Hangul fillers,
# Mongolian and general variation selectors, ideographic variation selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u3164\uffa0\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")

_DOTS: dict[int, str | int] = dict.fromkeys(
    map(ord, "\u2022\u2027\u2219\u22c5\u16eb\u2e31\u2e33\u30fb\uff65"), "\u00b7"
)
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SIGNS = {0x2018: "'", 0x2019: "'", 0x2010: "-", 0x2011: "-", 0x2013: "-"}
_FOLDS = {**_DOTS, **_FULL_WIDTH, **_SIGNS}

_STOP_BETWEEN_HAN = re.compile(rf"(?<=[{_HAN}])[ .]*\.[ .]*(?=[{_HAN}])")
_DOT_RUN = re.compile(" *\u00b7[ \u00b7]*")
_SPACE_BETWEEN_HAN = re.compile(rf"(?<=[{_HAN}]) (?=[{_HAN}])")
_IS_HAN = re.compile(f"[{_HAN}]")

# Signs printed in names on documents: O'BRIEN, ANNE-MARIE, J. R., RAVI S/O KUMAR, TAN AH KOW (CHEN YAGAO), ALI @ BABA.
_NAME_SIGNS = frozenset(" \u00b7-'./()@")


def visible(text: str) -> str:
    """`text` without the characters that are drawn as nothing; for names, numbers and phones alike."""
    return _INVISIBLE.sub("", "".join(sign for sign in text if unicodedata.category(sign) != "Cf"))


def normal_name(text: str) -> str:
    """The one form of a name that is hashed, stored and compared, at most 64 characters; the module says how.

    Raises `InvalidValue` at /name: `name-length`, `name-private-use`, `name-character` or `name-form`.
    """
    if len(text) > 4 * MAX_CHARACTERS:  # before any work: folding costs more than counting
        raise _refused("name-length")
    name = unicodedata.normalize("NFC", visible(text)).translate(_FOLDS)
    name = unicodedata.normalize("NFC", name.upper())
    name = " ".join(name.split())
    name = _STOP_BETWEEN_HAN.sub("\u00b7", name)
    name = _SPACE_BETWEEN_HAN.sub("", _DOT_RUN.sub("\u00b7", name))
    _require_name(name)
    return name


def _require_name(name: str) -> None:
    if not 1 <= len(name) <= MAX_CHARACTERS:
        raise _refused("name-length")
    if any(unicodedata.category(sign) == "Co" for sign in name):
        raise _refused("name-private-use")
    if not all(_allowed(sign) for sign in name):
        raise _refused("name-character")
    lettered = any(sign.isalpha() or _IS_HAN.match(sign) for sign in name)
    if not lettered or "\u00b7" in (name[0], name[-1]):
        raise _refused("name-form")


def _allowed(sign: str) -> bool:
    """Whether a character belongs in a name: letters and their marks, decimal digits, a few signs."""
    if sign in _NAME_SIGNS or _IS_HAN.match(sign):
        return True
    kind = unicodedata.category(sign)
    return kind[0] in "LM" or kind == "Nd"


_REFUSALS = {
    "name-length": Text(
        "请填写证件上的姓名，不超过 64 个字。",
        "Give the name as printed on the document, at most 64 characters.",
    ),
    "name-private-use": Text(
        "姓名中有一个字使用了本机自造字编码，其他系统无法识别；请改用该字在 GB 18030 中的标准编码，"
        "尚无标准编码的，请按发证机关登记的替代写法填写。",
        "The name has a character from a private code area, which other systems cannot read; use its standard "
        "GB 18030 code or, if it has none, the spelling the issuing office registered.",
    ),
    "name-character": Text(
        "姓名中有不能用于姓名的符号或控制字符；请删除后按证件上的写法重新填写。",
        "The name has a symbol or control character that names do not use; type it again as printed on the document.",
    ),
    "name-form": Text(
        "姓名至少要有一个文字，且不能以间隔号开头或结尾；请按证件上的写法填写。",
        "A name has at least one letter and no dot at either end; give it as printed on the document.",
    ),
}


def _refused(code: str) -> InvalidValue:
    return InvalidValue.at("/name", code, _REFUSALS[code])
