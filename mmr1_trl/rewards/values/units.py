# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
r"""
Units of measurement as one table of names, each with its size and its dimensions.

A compound unit (`kg m/s^2`, `km per hour`, `N·m`) is the product of its parts, so that newtons agree with kg m/s^2,
and km/h with m/s times 5/18, without an entry of their own. Standard library only.
"""

import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache


# A dimension, then names with their size in its base unit. A dimension can be made of others: "kg*m/s^2".
_TABLE = """
m | m meter metre 米 =1 | km kilometer kilometre 千米 公里 =1000 | dm decimeter decimetre 分米 =.1
  | cm centimeter centimetre 厘米 公分 =.01 | mm millimeter millimetre 毫米 =.001
  | μm um micrometer micrometre micron 微米 =.000001 | nm nanometer nanometre 纳米 =.000000001
  | in inch inche 英寸 =.0254 | ft foot feet 英尺 =.3048 | yd yard =.9144 | mi mile 英里 =1609.344
kg | kg kilogram kilo 千克 公斤 =1 | g gram 克 =.001 | mg milligram 毫克 =.000001 | μg ug microgram =.000000001
  | t ton tonne 吨 =1000 | lb lbs =.45359237 | oz ounce =.028349523125
s | s sec second 秒 秒钟 =1 | ms millisecond 毫秒 =.001 | μs us microsecond =.000001 | ns nanosecond =.000000001
  | min minute 分钟 =60 | h hr hour 小时 时 =3600 | day 天 日 =86400 | week 周 星期 =604800
month | month 个月 =1 | yr year 年 =12
A | A amp ampere 安 安培 =1 | mA milliampere milliamp 毫安 =.001 | μA microampere =.000001
K | K kelvin 开尔文 =1
mol | mol mole 摩尔 =1 | mmol =.001
cd | cd candela =1
kg*m/s^2 | N newton 牛 牛顿 =1 | kN kilonewton 千牛 =1000 | mN =.001
kg*m^2/s^2 | J joule 焦 焦耳 =1 | kJ kilojoule 千焦 =1000 | MJ megajoule 兆焦 =1000000 | kWh 千瓦时 =3600000 | Wh =3600
  | cal calorie 卡 =4.184 | kcal kilocalorie 千卡 =4184 | eV =.0000000000000000001602176634
  | keV =.0000000000000001602176634 | MeV =.0000000000001602176634
kg*m^2/s^3 | W watt 瓦 瓦特 =1 | mW milliwatt =.001 | kW kilowatt 千瓦 =1000 | MW megawatt =1000000
  | hp horsepower =745.7
kg/m/s^2 | Pa pascal 帕 帕斯卡 =1 | hPa =100 | kPa kilopascal 千帕 =1000 | MPa megapascal =1000000 | bar =100000
  | atm atmosphere =101325 | mmHg =133.322387415
A*s | C coulomb 库仑 库 =1 | mC =.001 | μC uC microcoulomb =.000001 | nC =.000000001 | Ah =3600 | mAh =3.6
kg*m^2/s^3/A | V volt 伏 伏特 =1 | mV millivolt 毫伏 =.001 | kV kilovolt 千伏 =1000
kg*m^2/s^3/A^2 | Ω ohm 欧 欧姆 =1 | mΩ milliohm =.001 | kΩ kilohm kiloohm 千欧 =1000 | MΩ megohm 兆欧 =1000000
A^2*s^4/kg/m^2 | F farad 法拉 =1 | μF uF microfarad =.000001 | nF =.000000001 | pF =.000000000001
kg*m^2/s^2/A^2 | H henry =1 | mH =.001
kg/s^2/A | T tesla 特斯拉 =1 | mT =.001
kg*m^2/s^2/A | Wb weber =1
1/s | Hz hertz 赫兹 赫 =1 | kHz kilohertz =1000 | MHz megahertz =1000000 | GHz gigahertz =1000000000
turn/s | rpm =1/60
m^3 | L l liter litre 升 =.001 | mL ml milliliter millilitre 毫升 =.000001 | dL dl =.0001 | cc =.000001
  | gal gallon =.003785411784
m^2 | ha hectare 公顷 =10000 | acre 英亩 =4046.8564224 | 亩 =2000/3
m/s | mph =.44704 | kmh kph kmph =5/18 | knot =1852/3600
degree | ° deg degree 度 =1
radian | rad radian 弧度 =1
celsius | °C degC celsius centigrade 摄氏度 =1
fahrenheit | °F degF fahrenheit 华氏度 =1
dollar | $ usd dollar us$ buck 美元 =1 | cent ¢ 美分 =.01
euro | € eur euro 欧元 =1
pound | £ gbp pound 英镑 =1
yen | yen jpy 円 日元 =1
yuan | yuan rmb cny 元 块 块钱 人民币 =1 | 角 =.1
rupee | ₹ inr rs rupee =1
¥ | ¥ =1
percent | % percent pct percentage =1
bit | bit =1 | byte =8 | kB KB kilobyte =8000 | MB megabyte =8000000 | GB gigabyte =8000000000
dB | dB decibel =1
"""
_LONGEST_UNIT = 40  # of one behind an expression, so that no search runs over a long text
Unit = tuple[Fraction, tuple[tuple[str, int], ...]]  # size, and the dimensions with their powers
GENERIC = frozenset("unit 个 个单位 单位 piece item".split())  # count nothing in particular


def _dimension(formula: str) -> Counter[str]:
    powers: Counter[str] = Counter()
    for sign, name, power in re.findall(r"([*/]?)([^*/^]+)(?:\^(\d))?", formula):
        if name != "1":
            powers[name] += int(power or 1) * (-1 if sign == "/" else 1)
    return powers


NAMES: dict[str, tuple[Fraction, Counter[str]]] = {}
_dimensions: Counter[str] = Counter()
for _line in _TABLE.strip().splitlines():
    _formula, *_entries = _line.split(" | ") if not _line.startswith(" ") else ["", *_line.strip("| ").split(" | ")]
    _dimensions = _dimension(_formula) if _formula else _dimensions
    for _entry in _entries:
        _words, _size = _entry.split("=")
        for _name in _words.split():
            NAMES[_name] = (Fraction(_size.strip()), _dimensions)
_LONGEST = max(map(len, NAMES))
_IN_BRACES = r"\s?((?:[^{}]|\{[^{}]{1,9}\}){1,40}+)"
# Written in several words, or with signs that a name cannot have.
_PHRASES = [
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"(?:°|degrees?\b|deg\b)\s?(?:c|celsius|centigrade)\b", "°C"),
        (r"(?:°|degrees?\b|deg\b)\s?(?:f|fahrenheit)\b", "°F"),
        (r"\bper\s?cent\b", "%"),
        (r"\bmiles? (?:per|an) hour\b", "mph"),
        (r"\bfluid ounces?\b", "floz"),
        (r"\blight[ -]years?\b", "lightyear"),
        (r"\bu\.s\. dollars?\b|\bus dollars?\b", "usd"),
        (r"\byears? old\b", "year"),
        (rf"\\frac\s?\{{{_IN_BRACES}\}}\s?\{{{_IN_BRACES}\}}", r"\1/(\2)"),
        (r"\\mu\s?(?=m|s|g|A|C|F)", "μ"),
        (r"\\omega\b", "Ω"),
        (r"\\(?:cdot|times)(?![a-z])|\u2022|\u2219|\u22c5", "*"),
        (r"(?<=[a-z])-(?=[a-z])", " "),
        (r"(?<=\w) squared\b", "^2"),
        (r"(?<=\w) cubed\b", "^3"),
        ("每", "/"),
    )
]
# Words that may follow a number without being its unit.
_NOT_UNITS = frozenset(
    "or and to not no if is was but than then times minus plus pi sqrt sin cos tan log ln exp maybe perhaps possibly "
    "probably wrong incorrect either neither nor unsure guess otherwise unless more less least most fewer over under "
    "above below vs versus almost nearly mod base factorial squared cubed each other".split()
)
_UNIT = re.compile(r"(?:(?:[^\W\d_]|[°%$€£¥¢₹])++[.]?(?:\s?\^\s?\{?\s?-?\d\s?\}?|[23](?!\d))?[\s/*()]*+)++")
_LETTER_RUN = re.compile(r"[^\W\d_]+")
_FACTOR = re.compile(r"([*/()]|[^\s*/()^{}]+)\s?(?:\^\s?\{?\s?(-?\d)\s?\}?)?")
_AREA_WORDS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "平方": 2, "立方": 3}


def read_unit(rest: str) -> str | None:
    """
    Read what follows a number.

    Args:
        rest (`str`):
            The rest of the text, with the space that sets it off.

    Returns:
        `str` or `None`: The unit as [`same_unit`] takes it, `""` for none, `None` when this is not a unit.
    """
    unit = rest.strip().rstrip(".")
    if not unit:
        return ""
    attached = not rest[0].isspace()
    for pattern, name in _PHRASES:
        unit = pattern.sub(name, unit)
    if not _UNIT.fullmatch(unit):
        return None
    # "3N" and "4ab" are products of a number and letters; "3 N" is a force and "4 apples" a count. Metres are written
    # "5m" in GEOQA and elsewhere.
    if attached and unit[0].isascii() and unit[0].isalpha():
        if (len(unit) == 1 and unit != "m") or _parse(unit) is None:
            return None
    elif len(unit) == 1 and unit.isalpha() and unit.isascii() and unit not in NAMES:
        return None
    words = unit.lower().split()
    if len(words) > 6 or (_NOT_UNITS.intersection(_LETTER_RUN.findall(unit.lower())) and words != ["times"]):
        return None  # "5 times x" is a product, "5 times" a factor
    if any(re.search("[a-z]", word) and re.search("[\u4e00-\u9fff]", word) for word in words) and _parse(unit) is None:
        return None  # 3个x
    names = [_singular(word) for word in words]
    if names and names[-1].rstrip("^23") in GENERIC and all(w in _AREA_WORDS for w in names[:-1]):
        return ""
    if _parse(unit) is not None:
        return unit
    return None if any(char in unit for char in "^/*()") and attached else " ".join(names)


@lru_cache(maxsize=4096)
def _parse(unit: str) -> Unit | None:
    """Size and dimensions of a unit of which every part is in the table."""
    size, powers = Fraction(1), Counter[str]()
    sign = outer = 1  # outer: that of the bracket
    area = 0
    for word, power in _FACTOR.findall(unit):
        if word in ("/", "per"):
            sign = -outer
        elif word == "*":
            sign = outer
        elif word == "(":
            outer = sign
        elif word == ")":
            sign = outer = 1
        elif word.lower() in _AREA_WORDS and not power:
            area = _AREA_WORDS[word.lower()]
        else:
            exponent = int(power) if power else 1
            if word[-1] in "23" and not power and len(word) > 1:
                word, exponent = word[:-1], int(word[-1])
            if word[:2] in _AREA_WORDS and word not in NAMES:
                word, exponent = word[2:], _AREA_WORDS[word[:2]]
            entry = _look_up(word)
            if entry is None or not word:
                return None
            exponent = (area or exponent) * sign
            area, sign = 0, outer
            if abs(exponent) > 9:
                return None
            size *= entry[0] ** exponent
            for name, count in entry[1].items():
                powers[name] += count * exponent
    found = tuple(sorted((name, count) for name, count in powers.items() if count))
    return (size, found) if powers and not area else None


def _look_up(word: str) -> tuple[Fraction, Counter[str]] | None:
    if len(word) > _LONGEST + 2:
        return None
    # mW is not MW, but Kg is kg and CM is cm.
    return NAMES.get(word) or NAMES.get(_singular(word.lower())) or NAMES.get(word.lower())


_TRAILING_UNIT = re.compile(
    r"(?:(?<=\s)|(?<=[})])(?=[ckmd]?m(?![A-Za-z])))"
    r"((?:(?:square|cubic|sq) )?[A-Za-z$€£¥Ωμ°%/]+(?:\s?\^\s?\{?-?[23]\}?)?(?:/[A-Za-z]+(?:\s?\^\s?\{?[23]\}?)?)?)\Z"
)


def split_unit(text: str) -> tuple[str, str]:
    r"""
    Take a known unit off the end of an expression: `r"16\pi cm^2"` gives `(r"16\pi", "cm^2")`. Of the single
    letters only m counts as a unit, and only behind an expression without variables.
    """
    match = _TRAILING_UNIT.search(text, max(0, len(text) - _LONGEST_UNIT))
    if match is None or _parse(match[1]) is None:
        return text, ""
    expression = text[: match.start()].strip()
    name = match[1].split("^")[0].split("/")[0].strip()
    if name.isalpha() and len(name) == 1 and name.isascii():
        if name != "m" or re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", expression)):
            return text, ""
    if expression.endswith(("=", "+", "-", "*", "/", "\\cdot", "\\times", "^", "_")):
        return text, ""
    return expression, match[1]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def is_percent(unit: str) -> bool:
    """Whether a unit is the percent sign in one of its spellings."""
    parsed = _parse(unit) if unit else None
    return parsed is not None and parsed[1] == (("percent", 1),)


def is_degree(unit: str) -> bool:
    """Whether a unit is the degree of an angle."""
    parsed = _parse(unit) if unit else None
    return parsed is not None and parsed[1] == (("degree", 1),)


def same_unit(gold: str, answer: str) -> tuple[Fraction, bool]:
    """
    Compare two units.

    Returns:
        `tuple[Fraction, bool]`: The factor that turns the answer's number into the gold's unit, and whether the units
        agree. A unit that one side leaves out agrees with any ("5" for "5 cm"); unknown units agree when the words of
        one contain the other's ("red apple", "apple").
    """
    if not gold or not answer or gold == answer:
        return Fraction(1), True
    right, given = _parse(gold), _parse(answer)
    if right and given:
        if right[1] != given[1]:
            names = {right[1], given[1]}
            return Fraction(1), (("¥", 1),) in names and bool(names & {(("yen", 1),), (("yuan", 1),)})
        return given[0] / right[0], True
    words = set(gold.lower().split()), set(answer.lower().split())
    return Fraction(1), not (right or given) and (words[0] <= words[1] or words[1] <= words[0])
