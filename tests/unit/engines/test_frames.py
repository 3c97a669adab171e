# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Points and boxes in the frame that the model sees, whatever resizes its pictures."""

import json
import sys

import pytest
import yaml
from datasets import Dataset, Value
from fixtures import datasets as published
from fixtures.models import build
from fixtures.trainers import build_trainer
from PIL import Image
from transformers import Qwen2VLImageProcessorPil

from mmr1_trl.cli import main
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.cli.parts import load_parts
from mmr1_trl.cli.shipped_configs import find_config
from mmr1_trl.data import prepare_dataset
from mmr1_trl.data.pictures.images import fit_pixels
from mmr1_trl.engines.frames import add_frames, choose_coordinates, in_all_frames, seen_size
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.benchmarks import BENCHMARKS, prepare_benchmark
from mmr1_trl.models.families import FAMILIES
from mmr1_trl.rewards import accuracy_reward, detection_reward, iou_reward, point_in_box_reward
from mmr1_trl.rewards.grounding.boxes import COORDINATES, Frame
from mmr1_trl.rewards.scoring import row_question, score_answers


SIZES = ((56, 42), (200, 100), (101, 333), (640, 480), (31, 31), (1000, 28))
LIMITS = ((None, None), (None, 5000), (40_000, None), (9_000, 12_000))
GOLD = [1500, 1000, 1580, 1040]


def _grid_size(processor, picture, limits):
    """What the processor really makes of a picture: the patches of its grid, in pixels."""
    parts = processor.image_processor
    done = parts(images=[fit_pixels(picture, *limits)], return_tensors="pt")
    _, down, across = done["image_grid_thw"][0].tolist()
    return across * parts.patch_size, down * parts.patch_size


class _Processor:
    def __init__(self, **options):
        self.image_processor = Qwen2VLImageProcessorPil(**options)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_the_seen_size_is_that_of_the_grid(family):
    model, processor = build(family)
    assert model.config.model_type == family
    for size in SIZES:
        for limits in LIMITS:
            assert seen_size(*size, processor, *limits) == _grid_size(processor, Image.new("RGB", size), limits)


@pytest.mark.parametrize("patch", [14, 16])
def test_the_seen_size_of_a_screenshot_is_that_of_the_grid(patch):
    for edge in (1_003_520, 12_845_056):
        processor = _Processor(patch_size=patch, size={"shortest_edge": 3136, "longest_edge": edge})
        for size, limit in (((2560, 1440), 1_048_576), ((1080, 2400), None)):
            limits = (None, limit)
            assert seen_size(*size, processor, *limits) == _grid_size(processor, Image.new("RGB", size), limits)
    # the figures of the reference: 1920 x 1080 under the limits that checkpoints and trainings set
    processor = _Processor(size={"shortest_edge": 3136, "longest_edge": 12_845_056})
    assert seen_size(1920, 1080, processor) == (1932, 1092)


def test_other_processors_have_no_seen_size():
    _, processor = build("llava")
    assert seen_size(200, 100, processor) is None
    with pytest.raises(BadInputError, match="resized needs the size.*CLIPImageProcessor"):
        add_frames(_rows(), processor, "resized", lambda: "llava")


def _rows(num_rows=4, size=(2560, 1440), **options):
    raw = published.screenspot(num_rows, size)
    raw = raw.remove_columns("bbox").add_column("bbox", [GOLD] * num_rows)
    return prepare_dataset(raw, **options)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_what_a_family_rightly_writes_is_paid_under_the_limits_of_a_shipped_config(family):
    """Of a screenshot the model sees less than half of each side, and answers in its own frame."""
    limit = yaml.safe_load(find_config("qwen2_5_vl_3b/vas").read_text())["max_pixels"]
    rewards_seen = []

    def spy(completions, **columns):
        rewards_seen.append(columns)
        return [0.0] * len(completions)

    options = {"max_pixels": limit, "max_steps": 1, "num_generations": 2, "max_completion_length": 2}
    trainer = build_trainer(family=family, rows=_rows(), reward_funcs=spy, **options)
    trainer.train()
    cells = {name: rewards_seen[0][name] for name in ("coordinates", "image_size", "seen_size", "solution")}
    number = len(cells["solution"])
    picture = Image.new("RGB", (2560, 1440))
    seen = _grid_size(trainer.processing_class, picture, (None, limit))
    assert cells["seen_size"] == [list(seen)] * number and cells["image_size"] == [[2560, 1440]] * number
    assert cells["coordinates"] == [FAMILIES[family].coordinates] * number

    middle, box = ((GOLD[0] + GOLD[2]) / 2, (GOLD[1] + GOLD[3]) / 2), GOLD
    per_pixel = [side / whole for side, whole in zip(seen, (2560, 1440))]
    if family != "qwen2_5_vl":
        per_pixel = [1000 / 2560, 1000 / 1440]
    point = [round(number * per_pixel[i % 2], 1) for i, number in enumerate(middle)]
    written = [round(number * per_pixel[i % 2], 1) for i, number in enumerate(box)]
    replies = [f'[{{"bbox_2d": {written}, "label": "close"}}]', f'```json\n{{"point_2d": {point}}}\n```'] * number
    replies = replies[:number]
    assert point_in_box_reward(replies, **cells) == [1.0] * number
    assert accuracy_reward(replies, answer_type=["point"] * number, **cells) == [1.0] * number
    assert min(iou_reward([replies[0]] * number, **cells)) > 0.9 or family == "qwen2_5_vl"
    stored_pixels = [str(list(middle))] * number
    assert point_in_box_reward(stored_pixels, **cells) == [0.0] * number


def test_evaluation_scores_in_the_same_frame():
    _, processor = build("qwen2_5_vl")
    raw = published.screenspot(3, (1000, 400))
    rows = prepare_benchmark(BENCHMARKS["screenspot"], raw, coordinates="resized")
    assert rows[0]["prompt"][-1]["content"].endswith("Coordinates are in pixels.")
    rows = add_frames(rows, processor, "auto", lambda: "qwen2_5_vl")
    width, height = rows[0]["seen_size"]
    assert (width, height) == _grid_size(processor, Image.new("RGB", (1000, 400)), (None, None)) != (1000, 400)
    replies = [f"<think>..</think><answer>[{0.2 * width}, {0.3 * height}]</answer>", "[200, 120]"]
    questions = [row_question(rows[0])] * 2
    assert [score.correct for score in score_answers(replies, questions)] == [1.0, 0.0]


def test_a_gold_in_all_frames():
    _, processor = build("qwen2_5_vl")
    row = add_frames(_rows(1), processor, "auto", lambda: "qwen2_5_vl")[0]
    frames = in_all_frames(row)
    assert list(frames) == list(COORDINATES) and frames["pixels"] == GOLD
    assert frames["fractions"] == [0.5859, 0.6944, 0.6172, 0.7222] and frames["thousandths"][0] == 585.9
    for name, numbers in frames.items():
        stored = Frame(name, tuple(row["image_size"]), tuple(row["seen_size"])).to_stored(numbers)
        assert stored == pytest.approx(GOLD, abs=1.5 if name != "resized" else 30)


def test_rows_without_places_are_left_alone():
    model, processor = build("llava")
    rows = prepare_dataset(published.geometry3k(3))
    assert add_frames(rows, processor, "auto", lambda: "llava") is rows
    mixed = Dataset.from_list([{"prompt": "a", "solution": "[1, 2, 3, 4]"}, {"prompt": "b", "solution": "red"}])
    framed = add_frames(mixed, processor, "thousandths", lambda: "llava")
    assert framed["coordinates"][:] == [None, None]  # without a picture there is nothing to scale by
    every = add_frames(prepare_dataset(published.screenspot(2)), processor, "percent", lambda: "llava", every_row=True)
    assert every["coordinates"][:] == ["percent"] * 2 and every["seen_size"][:] == [None, None]


def test_families_without_an_established_frame_are_refused_before_the_model_loads(tmp_path, capsys):
    model, processor = build("llava")
    assert choose_coordinates("auto", "llava") is choose_coordinates("auto", "gemma3") is None
    assert choose_coordinates("percent", "llava") == "percent"
    with pytest.raises(BadInputError, match="4 rows.*llava models.*--coordinates: pixels, resized"):
        build_trainer(family="llava", rows=_rows(), num_generations=2)
    assert build_trainer(
        family="llava", rows=_rows(), num_generations=2, coordinates="thousandths", reward_funcs=iou_reward
    ).train_dataset[0]["coordinates"]
    processor.save_pretrained(tmp_path / "llava")
    model.config.save_pretrained(tmp_path / "llava")  # no weights: loading them would fail
    published.screenspot(4).to_parquet(tmp_path / "rows.parquet")
    words = ["--model_name_or_path", str(tmp_path / "llava"), "--dataset_name", str(tmp_path / "rows.parquet")]
    words += ["--output_dir", str(tmp_path / "run"), "--report_to", "none", "--num_generations", "2"]
    assert main(["grpo", *words]) == 2
    assert "--coordinates" in capsys.readouterr().err
    eval_words = ["--model", str(tmp_path / "llava"), "--dataset_name", str(tmp_path / "rows.parquet")]
    assert main(["eval", *eval_words, "--dataset_split", "train"]) == 2
    assert "--coordinates" in capsys.readouterr().err


def test_a_reward_of_the_users_own_gets_the_frames_when_it_is_tried(tmp_path, monkeypatch):
    """Rewards are called on two rows before a model loads, and this one compares places."""
    (tmp_path / "clicks_of_a_user.py").write_text(
        "from mmr1_trl.rewards import point_in_box_reward\n\n\ndef clicks(completions, **columns):\n"
        "    return point_in_box_reward(completions, **columns)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("MMR1_HOME", str(tmp_path / "home"))
    published.screenspot(4).to_parquet(tmp_path / "rows.parquet")
    words = ["--model_name_or_path", "figures/tiny", "--dataset_name", "rows.parquet", "--num_generations", "2"]
    words += ["--prompt_style", "ui_r1", "--reward_funcs", "clicks_of_a_user.clicks", "--output_dir", "run"]
    words += ["--report_to", "none", "--per_device_train_batch_size", "2"]
    parts = load_parts(parse_training("grpo", words))
    assert parts.train_rows["coordinates"][:] == ["resized"] * 4 and parts.train_rows[0]["seen_size"]
    assert parts.train_rows[0]["prompt"][-1]["content"].endswith("Coordinates are in pixels.")
    assert main(["check", "grpo", *words, "--samples", "0"]) == 0


def test_prompts_and_rewards_have_to_agree():
    _, processor = build("qwen2_5_vl")
    rows = _rows(2, prompt_style="ui_r1", coordinates="thousandths")
    assert add_frames(rows, processor, "auto", lambda: "qwen2_5_vl")["coordinates"][:] == ["thousandths"] * 2
    with pytest.raises(BadInputError, match="ask for coordinates in 'thousandths'.*would read 'resized'"):
        add_frames(rows, processor, "resized", lambda: "qwen2_5_vl")
    strange = rows.remove_columns("coordinates").add_column(
        "coordinates", ["48.1 N", "2.3 E"], feature=Value("string")
    )
    with pytest.raises(BadInputError, match="column 'coordinates' holds 2.3 E.*Rename"):
        add_frames(strange, processor, "auto", lambda: "qwen2_5_vl")


def test_detections_of_visual_rft_in_thousandths():
    _, processor = build("qwen2_vl")
    found = "[{'Position': [100, 200, 300, 400], 'Confidence': 1, 'category': 'cat'}]"
    rows = [{"problem": "a", "solution": f"<answer>{found}</answer>", "image": published.picture(0, (640, 480))}]
    text = Value("string")
    raw = published.make(rows, problem=text, solution=text, image=published.Image())
    row = add_frames(prepare_dataset(raw, gold_coordinates="thousandths"), processor, "auto", lambda: "qwen2_vl")[0]
    cells = {name: [row[name]] for name in ("solution", "coordinates", "image_size", "seen_size")}
    assert detection_reward([found], **cells) == [1.0]
    assert detection_reward(["[{'Position': [64, 96, 192, 192], 'Confidence': 1, 'category': 'cat'}]"], **cells) == [
        0.0
    ]
    assert json.loads(row["solution"])[0]["bbox_2d"] == [64, 96, 192, 192]
