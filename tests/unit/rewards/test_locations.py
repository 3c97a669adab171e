# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Points and boxes in all the forms and frames that models write them in."""

import json
import time
from pathlib import Path

import pytest

from mmr1_trl import rewards
from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.grounding import locations
from mmr1_trl.rewards.grounding.boxes import COORDINATES, Frame, box_iou, frame_of
from mmr1_trl.rewards.grounding.locations import locate, read_detections, read_gold
from mmr1_trl.rewards.scoring import score_answer


# Replies with the point and the box that they name: the point (120, 230), the box (100, 200, 150, 260), or none.
CASES = [
    json.loads(line) for line in (Path(__file__).parents[2] / "data" / "locations.jsonl").read_text().splitlines()
]
STORED, SEEN = (2560, 1440), (1288, 728)


def _wrong(read, cases=CASES):
    for case in cases:
        for kind in ("point", "box"):
            found = read(case["reply"], kind)
            if (list(found) if found else None) != case[kind]:
                yield case["form"], case["reply"], kind, found


def test_replies_are_read_as_labeled():
    assert len(CASES) >= 150
    assert list(_wrong(locate)) == []


def test_a_reply_counts_the_same_in_every_wrapping_and_reward():
    """Alone, in answer tags, after reasoning that names other places; for the rewards and for `mmr1 eval`."""
    gold = "[100, 200, 150, 260]"
    for case in CASES:
        hit, overlap = float(case["point"] is not None), float(case["box"] is not None)
        for wrapping in ("%s", "<think>Not [700, 800].</think><answer>%s</answer>", "<think>(1, 2)?</think>\n%s\n"):
            reply = wrapping % case["reply"]
            assert rewards.point_in_box_reward([reply], [gold]) == [hit], reply
            assert rewards.iou_reward([reply], [gold]) == [overlap], reply
            assert score_answer(reply, gold, "point").correct == hit, reply
            assert score_answer(reply, gold, "box").correct == overlap, reply


@pytest.mark.parametrize("appended", [" or (700, 800)", "\n[700, 800, 900, 950]", "\n{'point_2d': [700, 800]}"])
def test_a_second_place_is_never_paid(appended):
    """What is named goes before what stands in brackets; where two places stand alike, there is no answer."""
    gold = "[690, 790, 900, 950]"
    for case in CASES:
        reply = case["reply"] + appended
        point, box = rewards.point_in_box_reward([reply], [gold]), rewards.iou_reward([reply], [gold])
        if case["point"] and case["form"] != "bare numbers" and "point_2d" not in appended:
            assert point == [0.0], reply
        if case["box"] and case["form"] != "bare numbers":
            assert box == [0.0], reply


def test_a_place_with_one_number_changed_is_not_paid():
    gold = "[100, 200, 150, 260]"
    changes = {"point": (("120", "720"), ("230", "830")), "box": (("100", "700"), ("260", "960"))}
    reward = {"point": rewards.point_in_box_reward, "box": rewards.iou_reward}
    for case in CASES:
        for kind, pairs in changes.items():
            for right, wrong in pairs:
                reply = case["reply"].replace(right, wrong)
                if (
                    case[kind] in ([120, 230], [100, 200, 150, 260])
                    and reply != case["reply"]
                    and case["form"] != "both"
                ):
                    assert reward[kind]([reply], [gold])[0] < 0.6, reply


@pytest.mark.parametrize("coordinates", COORDINATES)
def test_every_frame_is_brought_to_stored_pixels(coordinates):
    """A screenshot that the limits of a shipped config halve: what the model rightly writes is paid, in each frame."""
    gold, frame = (1500, 1000, 1580, 1040), Frame(coordinates, STORED, SEEN)
    written = [round(number, 4) for number in frame.from_stored(gold)]
    middle = [round((written[0] + written[2]) / 2, 4), round((written[1] + written[3]) / 2, 4)]
    cells = {"coordinates": coordinates, "image_size": [STORED], "seen_size": [SEEN]}
    assert rewards.point_in_box_reward([str(middle)], [str(gold)], **cells) == [1.0]
    assert rewards.iou_reward([str(written)], [str(gold)], **cells) == [pytest.approx(1.0, abs=1e-2)]
    found = json.dumps([{"bbox_2d": written, "label": "x"}])
    detections = json.dumps([{"bbox_2d": gold, "label": "x"}])
    assert rewards.detection_reward([found], [detections], **cells) == [1.0]
    for gold_text, kind, reply in (
        (str(gold), "point", str(middle)), (str(gold), "box", str(written)), (detections, "detections", found)
    ):  # fmt: skip
        columns = {name: values if isinstance(values, str) else values for name, values in cells.items()}
        assert rewards.accuracy_reward([reply], [gold_text], answer_type=[kind], **columns) == [1.0]
    others = [name for name in COORDINATES if name != coordinates]
    assert all(
        rewards.point_in_box_reward([str(middle)], [str(gold)], **(cells | {"coordinates": other})) == [0.0]
        for other in others
    )


def test_places_that_overshoot_the_picture():
    frame = Frame("thousandths", (1000, 500), None)
    assert frame.place_point((1010, 500)) == [1000, 250]
    assert frame.place_point((1100, 500)) is None and frame.place_point((-30, 500)) is None
    assert frame.place_box((900, 800, 1100, 1200)) == [900, 400, 1000, 500]
    assert frame.place_box((1001, 0, 1100, 100)) is None
    assert frame.place_point((900, 800, 1100, 1200)) == [950, 450]  # the center of the visible part
    assert frame.place_box((150, 260, 100, 200)) == [100, 100, 150, 130]  # corners in any order
    cells = {"coordinates": "thousandths", "image_size": [(1000, 500)]}
    assert rewards.iou_reward(["[900, 800, 1100, 1200]"], ["[900, 400, 1000, 500]"], **cells) == [1.0]
    assert rewards.point_in_box_reward(["[5000, 5000]"], ["[900, 400, 1000, 500]"], **cells) == [0.0]


def test_boxes_without_area():
    assert read_gold("[0, 0, 0, 0]") is None and read_gold("[10, 20, 10, 30]") is None
    assert read_gold("[30, 40, 10, 20]") == (10, 20, 30, 40) and read_gold("[10, 20]") == (10, 20)
    assert rewards.point_in_box_reward(["[0, 0]"], ["[0, 0, 0, 0]"]) == [None]
    assert rewards.iou_reward(["[5, 5, 5, 9]"], ["[0, 0, 10, 10]"]) == [0.0]
    assert rewards.point_in_box_reward(["[5, 5, 5, 5]"], ["[0, 0, 10, 10]"]) == [1.0]


@pytest.mark.parametrize(
    "coordinates, size, missing", [("percent", None, "image_size"), ("resized", [9, 9], "seen_size")]
)
def test_a_missing_size_is_named(coordinates, size, missing):
    with pytest.raises(BadInputError, match=missing):
        frame_of(coordinates, size)


def test_lists_of_detections_are_read_whole():
    two = [((10.0, 20.0, 30.0, 40.0), "cat"), ((50.0, 60.0, 70.0, 80.0), "dog")]
    for text in (
        '[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}, {"bbox_2d": [50, 60, 70, 80], "label": "Dog"}]',
        "Here: [{'Position': [10, 20, 30, 40], 'label': 'cat'}, {'Position': [50, 60, 70, 80], 'label': 'dog'}] [1]",
        '{"objects": [{"bbox": [10, 20, 30, 40], "label": "cat"}, {"bbox": [50, 60, 70, 80], "label": "dog"}]}',
        '{"bbox_2d": [10, 20, 30, 40], "label": "cat"}\n{"bbox_2d": [50, 60, 70, 80], "label": "dog"}',
        "<ref>cat</ref><box>[[10,20,30,40]]</box><ref>dog</ref><box>[[50,60,70,80]]</box>",
        "<|object_ref_start|>cat<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|>"
        "<|object_ref_start|>dog<|object_ref_end|><|box_start|>(50,60),(70,80)<|box_end|>",
    ):
        found = read_detections(text)
        assert found is not None and [(box, label) for box, label, _ in found] == two, text
    assert [found.label for found in read_detections("<ref>cat</ref><box>[[1,2,3,4],[5,6,7,8]]</box>")] == ["cat"] * 2
    assert read_detections('[{"bbox_2d": [10, 20, 30, 40], "label": "cat"}, {"bbox_2d": [50, 6') is None


PIECES = (
    "a", "1", "1 ", "1.", "1e", "1e5", "%", " px", "-", "[", "[1,", "[1,2],", "(1,2)", "(1,2),", "1,2)",
    '{"', "{'", '{"a":', '{"a":[1,',
    '{"a":{', "<points ", "<points x=", "<points x=1 y=1 ", "x=", "x=1,", "x=1 y=", "x1=1 y1=1 x2=1 ", "click(",
    "box:", "box: 1,", " ", "\n", "<|box_start|>", "coords=", "'", '"', '\\"', "\\'", "\\", "x = 1 and ", "click(1,2)",
    "bbox", " ,", "box  :", "x   ", "<ref>", "<box>", "<ref></ref>", "\\left", "None ", "a'", "'a",
)  # fmt: skip


def test_reading_is_linear_in_the_length_of_a_reply(monkeypatch):
    monkeypatch.setattr(locations, "MAX_CHARS", 10**9)
    for piece in PIECES:
        for start in ("", "box: ["):
            text = start + piece * (40_000 // len(piece))
            began = time.process_time()
            locate(text, "point"), read_detections(text)
            assert time.process_time() - began < 0.8, (start, piece)  # what is quadratic takes more than a second


def test_a_whole_box_overlaps_itself():
    assert box_iou((0, 0, 10, 10), (10, 10, 0, 0)) == 1.0
