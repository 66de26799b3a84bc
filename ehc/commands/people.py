"""Synthetic people for imports: valid numbers, common names, and the faults that registers have. They belong to nobody.

Every row follows from the seed and its own place, so any number of them takes the same little memory. In each hundred
rows: 94 new people (2 of them newborns without a citizen id, 1 with a passport, 1 from Hong Kong, 3 typed untidily), 2 who
were there before, 1 with a number that another name has, 3 with a fault that no rule lets pass.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from typing import TextIO

from ehc.core.documents import check_character
from ehc.issuer.batch.columns import PEOPLE

_SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈"
    "姚卢姜崔钟谭陆汪范金石廖贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严"
)
_GIVEN = (
    "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰梅建国文志红波辉鹏飞鑫宇浩然子轩梓涵雨欣佳怡思源"
    "晨曦俊熙一诺诗琪嘉懿博雅春生福禄永康淑珍翠凤"
)
_DOUBLE = ("欧阳", "司马", "上官", "诸葛", "东方", "皇甫")
_DOTTED = ("阿依古丽·买买提", "古丽娜尔·艾合买提", "迪力木拉提·吐尔逊", "巴特尔·乌兰", "扎西·次仁")
_REGIONS = (
    "110101", "110105", "120103", "130102", "140105", "150102", "210102", "220102", "230102", "310104", "310115", "320102",
    "330106", "340102", "350102", "360102", "370102", "371302", "410102", "420106", "430102", "440106", "440305", "450102",
    "460105", "500103", "510104", "520102", "530102", "540102", "610102", "620102", "630102", "640104", "650102",
)  # fmt: skip
_NATIONS = ("汉族", "汉族", "汉族", "汉族", "汉族", "汉族", "汉族", "回族", "满族", "壮族", "苗族", "维吾尔族")
_STREETS = ("人民路", "解放路", "建设大街", "中山路", "和平里", "幸福小区", "朝阳街", "滨河南路", "文化巷", "新华大道")
_WORK = ("市第一中学", "临沂纺织厂", "自由职业", "城关镇卫生院", "大学生", "供电公司", "退休", "物流公司")
_LEVELS = ("document-seen", "document-seen", "document-seen", "clerk", "self-declared", "")

_FIRST_DAY, _DAYS = date(1931, 1, 1), 33_000  # to the spring of 2021: nobody is born in the future
_SEQUENCES = 990
_SPACE = len(_REGIONS) * _DAYS * _SEQUENCES
_STRIDE = 612_370_267  # has no divisor in common with the space, so that all numbers differ until the space is used up

_AGAIN, _OTHER_NAME, _FAULTY = {53: 10, 97: 20}, {71: 30}, (13, 44, 88)
_NEWBORNS, _PASSPORT, _HONG_KONG, _UNTIDY = (5, 61), 29, 76, (2, 36, 83)


@dataclass
class Planted:
    """What was put into a file, so that what an import says of it can be checked."""

    rows: int = 0
    new: int = 0
    again: int = 0
    other_name: int = 0
    faulty: int = 0


def write_people(out: TextIO, count: int, *, seed: int) -> Planted:
    """Write a header and `count` rows; what is in them. The same seed gives the same people."""
    rows, planted = csv.writer(out), Planted(rows=count)
    rows.writerow(PEOPLE.names)
    for row, kind in people(count, seed=seed):
        rows.writerow(row)
        setattr(planted, kind, getattr(planted, kind) + 1)
    return planted


def people(count: int, *, seed: int) -> Iterator[tuple[list[str], str]]:
    """Rows as `PEOPLE.names` has them, and what each is: a member of `Planted`."""
    if count > _SPACE:
        raise ValueError("there are not so many different numbers")
    for at in range(count):
        block, place = divmod(at, 100)
        if place in _AGAIN:
            yield _row(seed, _earlier(block, _AGAIN[place])), "again"
        elif place in _OTHER_NAME:
            row = _row(seed, _earlier(block, _OTHER_NAME[place]))
            yield ["赵冒名", *row[1:]], "other_name"
        elif place in _FAULTY:
            yield _spoilt(_row(seed, at), _draw(seed, at, b"fault")), "faulty"
        else:
            yield _row(seed, at), "new"


def _earlier(block: int, place: int) -> int:
    """A row of an earlier block, or of this one: near and far, and each at most once for a place and the next."""
    return block // 2 * 100 + place + block % 2


def _row(seed: int, at: int) -> list[str]:
    draw = _draw(seed, at, b"person")
    place = at % 100
    region, day, sequence = _number_parts(seed, at)
    born = _FIRST_DAY + timedelta(days=day)
    draw, name = _name(draw)
    draw, digits = divmod(draw, 10**9)
    phone = f"1{(3, 5, 7, 8, 9)[draw % 5]}{digits:09}"
    draw //= 5
    sex = ("", "", "1", "2")[draw % 4]
    first = f"{_REGIONS[region]}{born:%Y%m%d}{sequence:03}"
    id_type, number = "01", first + check_character(first)
    birth = ("", born.isoformat())[draw // 4 % 2]
    draw //= 8
    sex = sex and str(2 - sequence % 2)
    other = (at + seed * 1_000_003) % 10**8
    if place in _NEWBORNS:
        id_type, number = ("08", f"T{other:09}") if place == _NEWBORNS[0] else ("99", f"新生儿{other:09}")
        birth, sex = date(2025, 1 + at % 6, 1 + at % 28).isoformat(), ("1", "2")[at % 2]
    elif place == _PASSPORT:
        id_type, number, birth = "03", f"E{other:08}", born.isoformat()
    elif place == _HONG_KONG:
        id_type, number, birth = "06", f"H{other:08}", born.isoformat()
    draw, nation = _pick(draw, _NATIONS)
    draw, street = _pick(draw, _STREETS)
    draw, work = _pick(draw, _WORK)
    draw, level = _pick(draw, _LEVELS)
    address = f"{street}{draw % 400 + 1}号" if place % 10 else f"{street}{draw % 400 + 1}号, {draw % 30 + 1}室"
    row = [name, id_type, number, phone, sex, birth, nation, address, work, level, f"卷宗{at}"]
    return _untidy(row) if place in _UNTIDY else row


def _number_parts(seed: int, at: int) -> tuple[int, int, int]:
    """Region, day and sequence of a citizen id: different for every row of a seed."""
    spot = (at * _STRIDE + seed * 7919) % _SPACE
    spot, region = divmod(spot, len(_REGIONS))
    sequence, day = divmod(spot, _DAYS)
    return region, day, sequence + 1


def _name(draw: int) -> tuple[int, str]:
    draw, kind = divmod(draw, 100)
    if kind == 0:
        return _pick(draw, _DOTTED)
    draw, surname = _pick(draw, _DOUBLE if kind == 1 else _SURNAMES)
    draw, first = _pick(draw, _GIVEN)
    draw, second = _pick(draw, _GIVEN)
    return draw, surname + first + (second if kind % 4 else "")


def _untidy(row: list[str]) -> list[str]:
    """As people type: spaces, full-width digits, a small x, hyphens. All of it means the same."""
    name, id_type, number, phone, *rest = row
    wide = number.translate({ord("0") + n: ord("０") + n for n in range(10)})
    return [" \u3000".join((name[:1], name[1:])), id_type, f" {wide.lower()} ", f"+86 {phone[:3]}-{phone[3:]}", *rest]


def _spoilt(row: list[str], draw: int) -> list[str]:
    """One fault that no rule lets pass."""
    name, id_type, number, phone, *rest = row
    kind = draw % 6
    if kind == 0:
        number = number[:17] + ("0" if number[17] != "0" else "1")
    elif kind == 1:
        number = number[:-1]
    elif kind == 2:
        phone = phone[:-1]
    elif kind == 3:
        number = number[:10] + "1345" + number[14:]
    elif kind == 4:
        name = ""
    else:
        return row[:-1]
    return [name, id_type, number, phone, *rest]


def _pick(draw: int, among: "str | tuple[str, ...]") -> tuple[int, str]:
    draw, at = divmod(draw, len(among))
    return draw, among[at]


def _draw(seed: int, at: int, what: bytes) -> int:
    """A large number that follows from the seed, the row and what it is for."""
    return int.from_bytes(blake2b(b"%d:%d" % (seed, at), digest_size=32, person=what).digest(), "big")
