# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reward functions in TRL's signature, their metrics, and their look-up by name."""

import json
import pickle
import random
import subprocess
import sys

import pytest

from mmr1_trl import rewards
from mmr1_trl.data.prompt_style import PROMPT_STYLES, get_prompt_style
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.processing import generation_prompt
from mmr1_trl.rewards.grounding.boxes import Detection, average_precision, box_iou
from mmr1_trl.rewards.grounding.locations import read_detections
from mmr1_trl.rewards.resolve import resolve_rewards


GOOD = "<think>Counting.</think><answer>%s</answer>"


def _messages(text: str) -> list[dict]:
    return [{"role": "assistant", "content": text}]


class Log:
    def __init__(self):
        self.metrics, self.columns = {}, {}

    def metric(self, name, value):
        self.metrics[name] = value

    def extra(self, name, values):
        self.columns[name] = values


def test_accuracy_takes_text_messages_and_blocks():
    blocks = [{"role": "assistant", "content": [{"type": "text", "text": r"\boxed{5}"}]}]
    completions = [GOOD % 5, _messages(GOOD % 5), blocks, [], _messages("")]
    assert rewards.accuracy_reward(completions, ["5"] * 5) == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert rewards.accuracy_reward(completions, [5, 5.0, None, 5, 5]) == [1.0, 1.0, None, 0.0, 0.0]


def test_accuracy_reads_the_columns_of_the_dataset():
    completions = [GOOD % "blue", GOOD % "104", GOOD % "3.14159", GOOD % "7, 5"]
    assert rewards.accuracy_reward(
        completions,
        solution=["B", "100", "3.14", "5, 7"],
        answer_type=["multiple_choice", None, "number", "list"],
        options=[["red", "blue"], None, None, None],
        tolerance=[None, 0.05, None, float("nan")],
        precision=[None, None, 2.0, float("nan")],
        prompts=["ignored"] * 4,
        trainer_state=None,
    ) == [1.0, 1.0, 1.0, 0.0]


NAN = float("nan")


def test_empty_and_foreign_cells_are_no_answers():
    for gold in (None, NAN, "", " ", ["3"], {"answer": 3}, b"3"):
        assert rewards.accuracy_reward([GOOD % 3], [gold]) == [None]
        assert rewards.class_label_reward([GOOD % 3], [gold]) == [None]
    boxes = [r"\boxed{}", r"so \boxed{3"]
    assert rewards.accuracy_reward([GOOD % 3, GOOD % boxes[1]], boxes) == [None, None]
    empty = {name: [NAN] for name in ("answer_type", "options", "tolerance", "precision", "accepted_answers")}
    assert rewards.accuracy_reward([GOOD % 3], ["3"], **empty, image_size=[[None, None]]) == [1.0]


@pytest.mark.parametrize(
    "name, values",
    [("tolerance", (-0.1, 1.5, "0.05", True, float("inf"))), ("precision", (-1, 0.05, 10**9, "2", float("inf")))],
)
def test_a_tolerance_that_is_none_is_named(name, values):
    for value in values:
        with pytest.raises(BadInputError, match=name):
            rewards.accuracy_reward([GOOD % "10.2"], ["10"], **{name: [value]})


def test_accuracy_logs_what_happened():
    log = Log()
    completions = [GOOD % 5, GOOD % 6, r"\boxed{5}", "<think>5", GOOD % "9^{9^{9^{9}}}", GOOD % 1]
    solution = ["5", "5", "5", "5", r"\sqrt{3}", ""]
    values = rewards.accuracy_reward(completions, solution, log_extra=log.extra, log_metric=log.metric)
    assert values == [1.0, 0.0, 1.0, 0.0, 0.0, None]
    assert log.columns == {"extracted": ["5", "6", "5", "", "9^{9^{9^{9}}}", ""], "solution": solution}
    assert log.metrics == {
        "rewards/bad_gold_frac": pytest.approx(1 / 6),
        "rewards/timeout_frac": pytest.approx(1 / 5),
        "rewards/unparsed_frac": pytest.approx(1 / 5),
        "rewards/accuracy_given_format": pytest.approx(1 / 3),
    }


def test_accuracy_refuses_a_column_of_another_length():
    with pytest.raises(ValueError):
        rewards.accuracy_reward([GOOD % 5] * 2, ["5"])


@pytest.mark.parametrize("name", PROMPT_STYLES)
def test_format_reward_follows_the_style(name):
    answer = r"\boxed{5}" if get_prompt_style(name).answer_in == "boxed" else "5"
    formatted = rf"<think>a</think> {answer}" if name == "mssr" else GOOD % answer
    broken = "<think>a" if name != "plain" else None
    assert rewards.format_reward([formatted, _messages(formatted)], prompt_style=name) == [1.0, 1.0]
    if broken:
        doubled = formatted.replace("<think>", "<think><think>")
        wrong = [broken, "", "5"] + (
            [doubled] if "<think>" in get_prompt_style(name).instruction or name == "figures" else []
        )  # which has no thoughts to be doubled
        assert rewards.format_reward(wrong, prompt_style=name) == [0.0] * len(wrong)
    assert rewards.accuracy_reward([formatted], ["5"]) == [1.0]


def test_format_reward_takes_one_style_per_row():
    assert rewards.format_reward(["x", "x"], prompt_style=["plain", "mssr"]) == [1.0, 0.0]


@pytest.mark.parametrize("tag", ["<answer>", "</answer>", "<think>", "</think>"])
def test_tags_may_stand_once_only(tag):
    assert rewards.format_reward([(GOOD % "5") + tag, tag + (GOOD % "5"), GOOD % tag]) == [0.0, 0.0, 0.0]


def test_prompt_styles_place_their_instruction():
    question = "How many?"
    assert get_prompt_style("plain").messages(question) == [{"role": "user", "content": question}]
    assert get_prompt_style("mssr").messages(question)[0]["content"].startswith("How many? You FIRST think")
    assert get_prompt_style("mmr1").messages(question)[0]["content"].endswith("</answer>. How many?")
    with pytest.raises(BadInputError, match="Did you mean 'mssr'"):
        get_prompt_style("msr")


INSIDE = "I add.</think><answer>5</answer>"


def test_a_reply_to_a_prompt_that_opens_the_thoughts_starts_inside_them():
    opened, closed = "<|im_start|>assistant\n<think>\n", "<|im_start|>assistant\n"
    texts = [INSIDE, INSIDE, f"<think>{INSIDE}", "It may be \\boxed{5}, or"]
    prompts = [opened, closed, opened, opened]
    assert rewards.format_reward(texts, generation_prompt=prompts) == [1.0, 0.0, 1.0, 0.0]
    assert rewards.format_reward(texts) == [0.0, 0.0, 1.0, 0.0]
    # Thoughts that never end hold no answer, whatever is boxed in them.
    assert rewards.accuracy_reward(texts, ["5"] * 4, generation_prompt=prompts) == [1.0, 1.0, 1.0, 0.0]
    log = Log()
    rewards.accuracy_reward(texts[:2], ["5", "6"], generation_prompt=prompts[:2], log_metric=log.metric)
    assert log.metrics["rewards/accuracy_given_format"] == 1.0


def test_the_trainer_passes_the_generation_prompt_of_its_chat_template(make_trainer, monkeypatch):
    seen = []

    def spy(completions, generation_prompt, **columns):
        seen.extend(generation_prompt)
        return rewards.format_reward([INSIDE] * len(completions), generation_prompt=generation_prompt)

    trainer = make_trainer(reward_funcs=spy, max_steps=1, num_generations=4)
    assert not trainer._generation_prompt.endswith("<think>\n")
    processor = trainer.processing_class
    template = processor.chat_template + "{%- if add_generation_prompt -%}{{ '<think>\n' }}{%- endif -%}"
    monkeypatch.setattr(processor, "chat_template", template)
    trainer._generation_prompt = generation_prompt(processor)
    assert trainer._generation_prompt.endswith("<think>\n")
    seen.clear()  # of the trial call
    trainer.train()
    assert seen and set(seen) == {trainer._generation_prompt}
    monkeypatch.setattr(processor, "chat_template", "{{ raise_exception('no') }}")
    assert generation_prompt(processor) == ""


def test_repetition_penalty_is_the_share_of_repeated_ngrams():
    words = [str(n) for n in range(100)]
    assert rewards.repetition_penalty([" ".join(words), "short", ""]) == [0.0, 0.0, 0.0]
    (value,) = rewards.repetition_penalty(["a " * 139])  # 100 40-grams, all alike
    assert value == pytest.approx((1 - 1 / 100) * -0.5)
    repeated = " ".join((words * 2)[:150])  # 111 40-grams, of which the last 11 repeat the first
    assert rewards.repetition_penalty([repeated]) == [pytest.approx((1 - 100 / 111) * -0.5)]
    assert rewards.repetition_penalty(["a b a b"], ngram_size=2, max_penalty=-1.0) == [pytest.approx(-1 / 3)]


def test_length_penalty_has_a_slope_and_a_floor():
    lengths = [0, 1024, 1152, 1280, 5000]
    values = rewards.length_penalty([""] * 5, completion_ids=[[0] * n for n in lengths])
    assert values == [0.0, 0.0, -0.5, -1.0, -1.0]


def test_point_in_box_in_all_coordinates():
    gold = "[100, 200, 150, 260]"
    texts = ["[120, 230]", "[99, 230]", "[100, 200, 150, 260]", "I do not know", '[{"point_2d": [120, 230]}]']
    assert rewards.point_in_box_reward([GOOD % t for t in texts], [gold] * 5) == [1.0, 0.0, 1.0, 0.0, 1.0]
    for coordinates, text in (("thousandths", "[120, 460]"), ("fractions", "[0.12, 0.46]")):
        value = rewards.point_in_box_reward([GOOD % text], [gold], coordinates, image_size=[[1000, 500]])
        assert value == [1.0]
    assert rewards.point_in_box_reward([GOOD % "[1, 2]"], ["red"]) == [None]
    with pytest.raises(BadInputError, match="image_size"):
        rewards.point_in_box_reward([GOOD % "[1, 2]"], [gold], "thousandths")
    with pytest.raises(BadInputError, match="Unknown coordinates.*Did you mean 'percent'"):
        rewards.point_in_box_reward([GOOD % "[1, 2]"], [gold], "percents")


def test_iou_equals_counting_pixels():
    generator = random.Random(0)
    for _ in range(50):
        boxes = []
        for _ in range(2):
            x1, x2 = sorted(generator.sample(range(20), 2))
            y1, y2 = sorted(generator.sample(range(20), 2))
            boxes.append([x1, y1, x2, y2])
        pixels = [{(x, y) for x in range(b[0], b[2]) for y in range(b[1], b[3])} for b in boxes]
        expected = len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])
        assert box_iou(*boxes) == pytest.approx(expected)
        assert rewards.iou_reward([GOOD % boxes[0]], [json.dumps(boxes[1])]) == [pytest.approx(expected)]
    assert rewards.iou_reward([GOOD % "5"], ["[1, 2, 3, 4]"]) == [0.0]


def _precision_by_definition(gold, given, threshold=0.5):
    """Interpolated AP over a fine recall grid, from all prefixes of the ranking."""
    ranked = sorted(given, key=lambda d: -d.confidence)
    points, used, hits = [], set(), 0
    for rank, detection in enumerate(ranked, 1):
        overlaps = [(box_iou(g.box, detection.box), i) for i, g in enumerate(gold) if i not in used]
        best, index = max(overlaps, key=lambda pair: (pair[0], -pair[1]), default=(0.0, -1))
        if best >= threshold:
            used.add(index)
            hits += 1
        points.append((hits / len(gold), hits / rank))
    grid = [(step + 0.5) / 6000 for step in range(6000)]
    return sum(max((p for r, p in points if r >= recall), default=0.0) for recall in grid) / len(grid)


def test_fractions_may_lack_their_zero():
    box = "<answer>[.1, .25, .5, 1]</answer>"
    arguments = {"coordinates": "fractions", "image_size": [[100, 200]]}
    assert rewards.iou_reward([box], ["[10, 50, 50, 200]"], **arguments) == [1.0]
    assert rewards.point_in_box_reward(
        ["(.3, -.5)", "(.3, .5)"], ["[10, 50, 50, 200]"] * 2, "fractions", [[100, 200]] * 2
    ) == [0.0, 1.0]


def test_average_precision_equals_its_definition():
    generator = random.Random(1)
    for _ in range(12):
        gold = [Detection((x, 0, x + 10, 10), "", 1.0) for x in range(0, 15 * generator.randint(1, 5), 15)]
        given = [
            Detection((x, 0, x + 10, 10), "", generator.random())
            for x in (generator.choice(range(0, 75, 3)) for _ in range(generator.randint(1, 7)))
        ]
        assert average_precision(gold, given) == pytest.approx(_precision_by_definition(gold, given), abs=1e-3)


def test_detection_reward_rules():
    gold = json.dumps([{"bbox": [0, 0, 10, 10], "label": "cat"}, {"bbox": [20, 20, 30, 30], "label": "dog"}])
    right = (
        '```json\n[{"bbox_2d": [0, 0, 10, 10], "label": "cat"},\n {"bbox_2d": [20, 20, 30, 30], "label": "Dog"}]\n```'
    )
    one = '[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}]'
    spurious = '[{"bbox_2d": [0, 0, 10, 10], "label": "cat"}, {"bbox_2d": [1, 1, 2, 2], "label": "bird"}]'
    texts = [right, GOOD % one, GOOD % spurious, GOOD % "[]", "no idea"]
    assert rewards.detection_reward(texts, [gold] * 5) == [1.0, 0.5, pytest.approx(1 / 3), 0.0, 0.0]
    assert rewards.detection_reward([GOOD % "[]", GOOD % one], ["[]"] * 2) == [1.0, 0.0]
    assert rewards.detection_reward([GOOD % one], ["no list"]) == [None]
    visual_rft = (
        GOOD % "[{'Position': [0, 0, 10, 10], 'Confidence': 0.9}, {'Position': [50, 50, 60, 60], 'Confidence': 0.4}]"
    )
    value = rewards.detection_reward([visual_rft], [gold], rule="visual_rft")
    assert value == [pytest.approx((1.0 + 0.9 + 0.6) / 2)]
    with pytest.raises(BadInputError, match="detection rule"):
        rewards.detection_reward([one], [gold], rule="ap")


@pytest.mark.parametrize(
    "text", ["[" * 50_000, "[[1,2,3]]", '[{"bbox": "x"}]', '[{"bbox": [1, 2, 3, NaN]}]', "{}", "", "[1e999, 0, 1, 1]"]
)
def test_malformed_detections_are_nothing(text):
    assert read_detections(text) is None


def test_a_label_may_hold_an_apostrophe():
    boxes = """[{"bbox_2d": [0, 0, 10, 10], "label": "bird's nest"}]"""
    assert rewards.detection_reward([f"<answer>{boxes}</answer>"], [boxes]) == [1.0]


def test_class_label_is_exact_unless_asked():
    completions = [GOOD % "maine coon", GOOD % "Maine Coon or Persian", GOOD % "", "<think>Maine Coon"]
    assert rewards.class_label_reward(completions, ["Maine_Coon"] * 4) == [1.0, 0.0, 0.0, 0.0]
    assert rewards.class_label_reward(completions, ["Maine_Coon"] * 4, match="substring") == [1.0, 1.0, 0.0, 0.0]


def test_rewards_resolve_by_name_and_dotted_path(tmp_path, monkeypatch):
    (tmp_path / "my_rewards_of_a_user.py").write_text("def brevity(completions, **kwargs):\n    return [0.0]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    names = [*rewards.__all__, "think_format_reward", "get_soft_overlong_punishment", "my_rewards_of_a_user.brevity"]
    functions = resolve_rewards(names)
    assert [function.__name__ for function in functions[: len(rewards.__all__)]] == rewards.__all__
    assert functions[-1](completions=["x"]) == [0.0]
    assert functions[-2](completion_ids=[[0] * 1280]) == [-1]


@pytest.mark.parametrize(
    "name, message",
    [
        ("acuracy_reward", "Did you mean 'accuracy_reward'"),
        ("no_such_module_at_all.reward", "cannot import"),
        ("./my_rewards.py", "my_rewards.py'.* is called my_rewards.my_reward"),
        ("my_rewards.py", "my_rewards.py'.* is called my_rewards.my_reward"),
        (".x", "'.x' is no dotted path"),
        ("mmr1_trl.rewards.acuracy_reward", "Did you mean 'accuracy_reward'"),
    ],
)
def test_unknown_rewards_are_bad_input(name, message):
    with pytest.raises(BadInputError, match=message):
        resolve_rewards([name])


def test_the_functions_survive_pickling():
    for function in resolve_rewards(rewards.__all__):
        assert pickle.loads(pickle.dumps(function)) is function


def test_importing_the_rewards_imports_nothing_heavy():
    code = (
        "import sys; import mmr1_trl.rewards; "
        "print(sorted({'torch', 'numpy', 'sympy', 'math_verify', 'trl', 'datasets', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_noisy_labels_are_rewarded_and_the_clean_ones_logged():
    logged, columns = {}, {}
    values = rewards.accuracy_reward(
        [r"\boxed{3}", r"\boxed{4}", r"\boxed{5}"],
        solution=["3", "9", "9"],
        clean_solution=["3", "4", "7"],
        log_metric=logged.__setitem__,
        log_extra=columns.__setitem__,
    )
    assert values == [1.0, 0.0, 0.0]
    assert logged["rewards/clean_accuracy"] == pytest.approx(2 / 3)
    assert columns["solution"] == ["3", "9", "9"]
