# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Points, boxes and detections as models write them. Standard library only.

Replies are untrusted: every pattern here is possessive or bounded, so that reading is linear in their length.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from mmr1_trl.rewards.grounding.boxes import Detection, corners, point_in_box


Numbers = tuple[float, ...]  # (x, y) or (x1, y1, x2, y2)

MAX_CHARS = 20_000
_MAX_OBJECTS, _MAX_BROKEN_OBJECTS = 300, 20
_LIMIT = 1e9

_NUMBER = r"[-+]?(?:\d++(?:\.\d*+)?+|\.\d++)(?:[eE][-+]?\d{1,3}+)?+(?:[ ]?(?:%|px\b|pixels?\b))?+"
_COMMA = r"(?:\s*+[,;]\s*+|\s++)"
_PAIR = rf"{_NUMBER}{_COMMA}{_NUMBER}"
_NEXT_BRACKET = r"(?:\s*+[\])]++\s*+,\s*+[\[(]++\s*+|[\])]++[ ]?[\[(]++)"
# (x1,y1),(x2,y2) or x1, y1, x2, y2. A chain of pairs is bounded, because each of its brackets may begin one.
_GROUP = (
    rf"(?:{_PAIR}(?:{_NEXT_BRACKET}{_PAIR}){{1,40}}+(?!{_COMMA}{_NUMBER}|{_NEXT_BRACKET}{_PAIR})"
    rf"|{_NUMBER}(?:{_COMMA}{_NUMBER})++)"
)
_VALUE = re.compile(rf"[\s\"'\[({{]*+(?:<\|?\w{{1,20}}+\|?>[\s\[(]*+)?+({_GROUP})")
_FLOAT = re.compile(_NUMBER)

# Names that a point or a box goes by, in JSON, in calls (`start_box='(x,y)'`) and in prose ("Position: (x, y)").
_NAMES = (
    "bbox_2d", "point_2d", "bbox", "bounding_box", "boundingbox", "box", "point", "coordinate", "coordinates",
    "coords", "position", "location", "center", "click", "start_box", "end_box", "start_point", "end_point",
    "click_point", "click_position", "click_coordinate", "click_coordinates", "center_point", "centre", "answer",
    "points", "boxes", "bboxes", "bounds", "rect", "region", "target", "pos", "xy",
)  # fmt: skip
# Texts of an object that may be a call or an object of their own, and lists of it that are no places: sizes, and the
# boxes that some models write y first.
_ACTIONS = ("action", "actions", "arguments", "code", "command")
_NO_PLACES = ("box_2d", "size", "image_size", "screen_size", "resolution", "window_size")
_NAMED = re.compile(
    # box: [..]   <box>..</box>   <|box_start|>..   click(..), pyautogui.doubleClick(..), tap(..)
    rf"(?<![A-Za-z0-9_])(?:{'|'.join(_NAMES)})[\"']?\s*+[:=]"
    r"|<\|?(?:box_start|begin_of_box|bbox|box|point|click|coordinates?|coords)\|?>"
    r"|(?:click|tap|press|touch|move_?to)\(",
    re.IGNORECASE,
)
# Coordinates one by one: across, down and, for a box, the two others.
_BY_ONE = (
    ("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
    ("left", "top", "right", "bottom"), ("left", "top", "width", "height"), ("x", "y", "width", "height"),
    ("x", "y", "w", "h"), ("x", "y"),
)  # fmt: skip
_ONE_BY_ONE = [
    re.compile(
        r"(?:\s*+(?:[,;]|and\b)?+\s*+)".join(
            rf"[\"']?(?<![A-Za-z0-9_]){name}[\"']?\s*+[:=]\s*+[\"']?({_NUMBER})[\"']?" for name in names
        ),
        re.IGNORECASE,
    )
    for names in _BY_ONE
]
_MOLMO = re.compile(r"<points?\s([^<>]*+)>", re.IGNORECASE)
_MOLMO_POINT = re.compile(rf"(?<!\w)x\d*+\s*+=\s*+[\"']?({_NUMBER})[\"']?\s*+y\d*+\s*+=\s*+[\"']?({_NUMBER})")
_MOLMO_COORDS = re.compile(r"(?<!\w)coords\s*+=\s*+[\"']([\d\s.]*+)[\"']")
_BRACKETS = re.compile(rf"[\[(]\s*+({_GROUP})\s*+\\?[\])]")
_BARE = re.compile(rf"(?<![\w.])({_NUMBER}(?:{_COMMA}{_NUMBER})++)(?!\w)")
_OBJECT = re.compile(r"\{\s*+[\"']")
# A string in either kind of quotes, where an apostrophe between letters ends none, or a constant of Python's.
_STRING = re.compile(
    r"\"(?:[^\"\\]|\\.)*+(?:\"|\\?+\Z)"
    r"|(?<!\w)'((?:[^'\\]|\\.|(?<=\w)'(?=\w))*+)(?:'|\\?+\Z)|\b(None|True|False)\b",
    re.DOTALL,
)
_PLAIN = str.maketrans("（），；：［］【】", "(),;:[][]")


def locate(text: str, kind: str) -> Numbers | None:
    """
    Read the one point or box that a text names.

    What stands under a name (`bbox_2d`, `point_2d`, `coordinate`, `click(..)`, `<box>`, `<|box_start|>`, `x=.., y=..`)
    goes before numbers in brackets, and these before bare numbers. `(x1,y1),(x2,y2)` is one box.

    Args:
        text (`str`):
            A reply, or a gold box. See `docs/rewards.md` for the forms that are read.
        kind (`str`):
            `"point"` (a box will do where there is no point) or `"box"`.

    Returns:
        `tuple[float, ...]` or `None`: Two or four numbers as the text has them; `None` when it names none, or several
        that differ.
    """
    for found in _candidates(text[-MAX_CHARS:].translate(_PLAIN)):
        points, boxes = ({numbers for numbers in found if len(numbers) == length} for length in (2, 4))
        if kind == "point" and points:
            # A box beside it does not disturb if it is around it.
            point = points.pop()
            return None if points or not all(point_in_box(point, box) for box in boxes) else point
        if boxes:
            return boxes.pop() if len(boxes) == 1 else None
    return None


def _candidates(text: str) -> Iterator[list[Numbers]]:
    """Yield what a text names, then what it has in brackets, then its bare numbers."""
    text = text.replace("\\left", "").replace("\\right", "").replace("\\,", " ")
    objects, text = json_objects(text)
    named, unnamed = _of_objects(objects)
    for tag in _MOLMO.findall(text):
        named += _of_molmo(tag)
    text = _MOLMO.sub(" ", text)
    for match in _NAMED.finditer(text):
        value = _VALUE.match(text, match.end())
        numbers = _floats(value[1]) if value else ()
        # click(x, y, clicks)
        named += [numbers[:2]] if match[0].endswith("(") and len(numbers) == 3 else _split(numbers)
    for names, pattern in zip(_BY_ONE, _ONE_BY_ONE):
        if found := [_by_one(names, _floats(" ".join(match))) for match in pattern.findall(text)]:
            named += found
            break  # the x and y of a longer form are no point of their own
    yield named
    yield [*unnamed, *(numbers for group in _BRACKETS.findall(text) for numbers in _split(_floats(group)))]
    yield [numbers for run in _BARE.findall(text) for numbers in _split(_floats(run))]


def _floats(text: str) -> Numbers:
    numbers = tuple(float(number.rstrip("%pixels ")) for number in _FLOAT.findall(text))
    return numbers if all(abs(number) < _LIMIT for number in numbers) else ()


def _split(numbers: Numbers) -> list[Numbers]:
    """What is longer than a box, such as a polygon, are several points."""
    if len(numbers) <= 4:
        return [numbers]
    return [numbers[start : start + 2] for start in range(0, len(numbers), 2)]


def _by_one(names: Sequence[str], numbers: Numbers) -> Numbers:
    if len(numbers) == 4 and names[2][0] == "w":
        return (numbers[0], numbers[1], numbers[0] + numbers[2], numbers[1] + numbers[3])
    return numbers


def _of_molmo(tag: str) -> list[Numbers]:
    """The points of `<points x1="10" y1="20" ..>`, or of Molmo 2's `coords="picture number x y number x y .."`."""
    found = [_floats(f"{x} {y}") for x, y in _MOLMO_POINT.findall(tag)]
    for coords in _MOLMO_COORDS.findall(tag):
        numbers = _floats(coords)
        found += [numbers[start + 1 : start + 3] for start in range(1, len(numbers), 3)]
    return found


def json_objects(text: str) -> tuple[list[dict[str, Any]], str]:
    """
    Read the JSON objects of a text; Python's notation of them (single quotes, `None`) will do.

    Args:
        text (`str`):
            Any text.

    Returns:
        `tuple[list[dict], str]`: At most 300 outermost objects, and the text without them.
    """
    objects, rest = _decoded(text)
    return (objects, rest) if not _OBJECT.search(rest) else _decoded(_STRING.sub(_as_json, text))


def _decoded(text: str) -> tuple[list[dict[str, Any]], str]:
    decoder = json.JSONDecoder(parse_int=float)
    objects: list[dict[str, Any]] = []
    rest: list[str] = []
    end = broken = 0
    for match in _OBJECT.finditer(text):
        if match.start() < end:
            continue
        if len(objects) >= _MAX_OBJECTS or broken >= _MAX_BROKEN_OBJECTS:
            break
        try:
            value, stop = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            broken += 1
            continue
        objects.append(value)
        rest.append(text[end : match.start()])
        end = stop
    return objects, " ".join([*rest, text[end:]])


def _as_json(match: re.Match[str]) -> str:
    if match[2]:
        return {"None": "null", "True": "true", "False": "false"}[match[2]]
    return match[0] if match[1] is None else json.dumps(match[1].replace("\\'", "'"))


def _of_objects(items: list[Any]) -> tuple[list[Numbers], list[Numbers]]:
    """
    The points and boxes in objects, at any depth: those under their names, and lists of numbers under other keys.
    Texts, such as labels, do not count, save those that hold an action.
    """
    named: list[Numbers] = []
    unnamed: list[Numbers] = []
    todo = list(items)
    while todo:
        item = todo.pop()
        if isinstance(item, list):
            todo += item
        if not isinstance(item, dict):
            continue
        entries = {str(key).lower(): value for key, value in item.items()}
        for names in _BY_ONE:
            if numbers := _numbers([entries.get(name) for name in names]):
                named.append(_by_one(names, numbers))
                break
        for key, value in entries.items():
            if key in _ACTIONS and isinstance(value, str):
                named += next(_candidates(value))
            elif key in _NAMES:
                named += _of_value(value)
            elif key not in _NO_PLACES and isinstance(value, list):
                unnamed += _of_value(value)
            todo += [value] if isinstance(value, dict | list) else []
    return named, unnamed


def _of_value(value: Any) -> list[Numbers]:
    if isinstance(value, str):
        match = _VALUE.match(value.translate(_PLAIN))
        return _split(_floats(match[1])) if match else []
    if not isinstance(value, list):
        return []
    if numbers := _numbers(value):
        return _split(numbers)
    if len(value) == 2 and all(isinstance(corner, list) and len(corner) == 2 for corner in value):
        value = [value[0] + value[1]]
    return [_numbers(box) for box in value if isinstance(box, list)]


def _numbers(values: list[Any]) -> Numbers:
    """All values as numbers, also those in quotes; empty if one is none."""
    numbers = [float(v) if isinstance(v, str) and _FLOAT.fullmatch(v) and v[-1] not in "%xs" else v for v in values]
    return tuple(map(float, numbers)) if all(map(_is_number, numbers)) else ()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LIMIT


# ---- Golds and detections

_BOX_KEYS = ("bbox_2d", "bbox", "box", "bounding_box", "position")
_LABEL_KEYS = ("label", "category", "class", "name")
_CONFIDENCE_KEYS = ("confidence", "score")
# <ref>cat</ref><box>[[..],[..]]</box>   <|object_ref_start|>cat<|object_ref_end|><|box_start|>(..),(..)<|box_end|>
_TAGGED = re.compile(
    r"(?:<(?:ref|\|object_ref_start\|)>([^<>]*+)<(?:/ref|\|object_ref_end\|)>\s*+)?+"
    r"<(?:box|\|box_start\|)>([^<>]*+)"
)


_NOTHING = re.compile(r"[\s\"'\[]*+no objects?[\s\"'\].]*+", re.IGNORECASE)


def read_gold(text: str) -> Numbers | None:
    """
    Read a gold box or point.

    Args:
        text (`str`):
            Such as `"[x1, y1, x2, y2]"`, in pixels of the stored picture.

    Returns:
        `tuple[float, ...]` or `None`: A box with its corners in order, or a point; `None` when it is neither, or a box
        without area.
    """
    box = locate(text, "box")
    if box is None:
        return locate(text, "point")
    left, top, right, bottom = corners(box)
    return (left, top, right, bottom) if left < right and top < bottom else None


def read_detections(text: str) -> list[Detection] | None:
    """
    Read a list of detections.

    Args:
        text (`str`):
            JSON, with or without a code fence or words around it: `[{"bbox_2d": [..], "label": "cat", "confidence":
            0.9}, ..]`, also with the keys `Position` and `Confidence` and single quotes (Visual-RFT), a list of bare
            boxes, or boxes in tags (`<ref>cat</ref><box>[[..]]</box>`, `<|box_start|>(x1,y1),(x2,y2)<|box_end|>`).
            `No Objects` (Visual-RFT) is an empty list.

    Returns:
        `list[Detection]` or `None`: At most 300 detections; `None` when the text is no such list.
    """
    text = text[:MAX_CHARS].translate(_PLAIN)
    if _NOTHING.fullmatch(text):
        return []
    if tagged := _TAGGED.findall(text):
        found = [_detection({"box": list(box), "label": label}) for label, boxes in tagged for box in _of_tag(boxes)]
    else:
        objects, rest = json_objects(text)
        found = [_detection(item) for item in _listed(objects)] if objects else _bare_boxes(text)
        if objects and _OBJECT.search(rest):  # the list breaks off, or something in it cannot be read
            return None
    return None if None in found else [detection for detection in found if detection is not None][:_MAX_OBJECTS]


def _listed(objects: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The objects themselves, or those in the lists of one that has no box, such as `{"objects": [..]}`."""
    for item in objects:
        inner = [entry for value in item.values() if isinstance(value, list) for entry in value]
        yield from inner if inner and all(isinstance(entry, dict) for entry in inner) else [item]


def _of_tag(text: str) -> list[Numbers]:
    numbers = _floats(text)
    return [numbers[start : start + 4] for start in range(0, len(numbers), 4)] or [()]


def _bare_boxes(text: str) -> list[Detection | None]:
    start, end = text.find("["), text.rfind("]")
    try:
        items = json.loads(text[start : end + 1], parse_int=float)
    except (ValueError, RecursionError):
        return [None]
    if len(items) == 4 and all(map(_is_number, items)):
        items = [items]
    return [_detection({"box": item}) for item in items[:_MAX_OBJECTS]]


def _detection(item: dict[str, Any]) -> Detection | None:
    entry = {str(key).lower(): value for key, value in item.items()}
    box: Any = next((entry[key] for key in _BOX_KEYS if key in entry), None)
    label = next((entry[key] for key in _LABEL_KEYS if key in entry), "")
    confidence = next((entry[key] for key in _CONFIDENCE_KEYS if key in entry), 1.0)
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, [*box, confidence])):
        return None
    return Detection(tuple(map(float, box)), str(label).casefold(), min(1.0, max(0.0, float(confidence))))
