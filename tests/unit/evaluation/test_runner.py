# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The evaluation runner on a tiny random model: what it generates, what it leaves out and what it leaves alone."""

import io
import json

import pytest
import torch
from datasets import Dataset, List
from datasets import Image as ImageFeature
from PIL import Image
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation import generation
from mmr1_trl.evaluation.generation import TransformersGenerator
from mmr1_trl.evaluation.results import summarize
from mmr1_trl.evaluation.runner import evaluate_model
from mmr1_trl.models import build_tiny_vlm


@pytest.fixture(scope="module")
def tiny():
    return build_tiny_vlm("qwen2_5_vl", seed=0)


def png(color, size=(56, 56)):
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def make_rows():
    questions = ["upleft plus lowright is ?", "largest ?", "upleft upright lowleft sum ?", "upleft ?", "largest is ?"]
    images = [[png("red")], [png("blue", (84, 56))], [png("green")], [], [png("gray"), png("white")]]
    return [
        {
            "prompt": [{"role": "user", "content": question}],
            "images": image,
            "solution": str(i),
            "answer_type": "number",
            "prompt_id": 100 + i,
            "family": "add" if i < 2 else "other",
        }
        for i, (question, image) in enumerate(zip(questions, images))
    ]


def argmax_decode(model, processor, row, max_new_tokens):
    """One row at a time, without padding, without a cache: the answer key for batched generation."""
    images = [Image.open(io.BytesIO(image["bytes"])) for image in row["images"]]
    inputs = processor.apply_chat_template(
        [prepare_multimodal_messages(row["prompt"], images)],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    start = inputs["input_ids"].shape[1]
    tokenizer = processor.tokenizer
    placeholders = [model.config.image_token_id]
    if "<|video_pad|>" in tokenizer.get_vocab():
        placeholders.append(tokenizer.convert_tokens_to_ids("<|video_pad|>"))
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1]
        logits[placeholders] = -torch.inf
        token = logits.argmax().view(1, 1)
        inputs["input_ids"] = torch.cat([inputs["input_ids"], token], 1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        if "mm_token_type_ids" in inputs:
            inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(token)], 1)
        if token.item() == processor.tokenizer.eos_token_id:
            break
    ids = inputs["input_ids"][0, start:]
    return processor.tokenizer.decode(ids, skip_special_tokens=True), len(ids)


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
def test_greedy_batches_equal_decoding_row_by_row(family):
    model, processor = build_tiny_vlm(family, seed=0)
    rows = make_rows()
    result = evaluate_model(model, processor, Dataset.from_list(rows), max_new_tokens=6, batch_size=3, progress=False)
    assert [prediction["row"] for prediction in result.predictions] == [0, 1, 2, 3, 4]
    model.eval()
    for row, prediction in zip(rows, result.predictions):
        assert (prediction["completion"], prediction["length"]) == argmax_decode(model, processor, row, 6)
        assert prediction["prompt_id"] == row["prompt_id"]
    assert result.skipped == []
    assert result.by["family"]["add"]["num_prompts"] == 2
    assert result.by["family"]["other"]["num_prompts"] == 3


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llava", "idefics3"])
def test_pictures_follow_the_models_number_type(family):
    model, processor = build_tiny_vlm(family, seed=0)
    result = evaluate_model(
        model.to(torch.bfloat16), processor, Dataset.from_list(make_rows()), max_new_tokens=3, progress=False
    )
    assert result.num_prompts == 5


def test_samples_depend_on_the_seed_alone(tiny):
    model, processor = tiny
    dataset = Dataset.from_list(make_rows())
    options = {"num_samples": 3, "max_new_tokens": 5, "batch_size": 6, "progress": False}
    first = evaluate_model(model, processor, dataset, seed=1, **options)
    torch.rand(7)
    again = evaluate_model(model, processor, dataset, seed=1, **options)
    other = evaluate_model(model, processor, dataset, seed=2, **options)
    assert first.predictions == again.predictions
    texts = [[p["completion"] for p in result.predictions if p["sample"] >= 0] for result in (first, other)]
    assert len(texts[0]) == 15 and texts[0] != texts[1]
    greedy = [[p["completion"] for p in result.predictions if p["sample"] == -1] for result in (first, other)]
    assert greedy[0] == greedy[1]
    assert set(first.pass_at) == {1, 2, 3}


def test_model_mode_and_random_state_are_left_alone(tiny):
    model, processor = tiny
    model.train()
    model.model.visual.eval()
    flags = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    evaluate_model(
        model, processor, Dataset.from_list(make_rows()), num_samples=2, max_new_tokens=3, batch_size=4, progress=False
    )
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state)
    model.train()


def test_broken_pictures_are_left_out_and_named(tiny):
    model, processor = tiny
    rows = make_rows()
    whole = rows[2]["images"][0]["bytes"]
    rows[0]["images"] = [{"bytes": b"not a picture", "path": None}]
    rows[2]["images"] = [{"bytes": whole[: len(whole) // 2], "path": None}]
    narrow = io.BytesIO()
    Image.new("RGB", (2000, 8)).save(narrow, "PNG")
    rows[3]["images"] = [{"bytes": narrow.getvalue(), "path": None}]
    dataset = Dataset.from_list(rows)
    result = evaluate_model(model, processor, dataset, num_samples=2, max_new_tokens=3, batch_size=4, progress=False)
    assert [(entry["row"], entry["prompt_id"]) for entry in result.skipped] == [(0, 100), (2, 102), (3, 103)]
    assert all("row" in entry["reason"] for entry in result.skipped)
    assert result.skipped[2]["reason"] == "row 3, image 0: a picture of 2000 x 8 pixels is too narrow."
    assert result.num_prompts == 2
    assert {prediction["row"] for prediction in result.predictions} == {1, 4}
    with pytest.raises(BadInputError, match="None of the 1 rows"):
        evaluate_model(model, processor, dataset.select([0]), max_new_tokens=3, progress=False)


def test_a_dataset_that_decodes_on_access_is_not_decoded_at_every_look(tiny, monkeypatch):
    model, processor = tiny
    stored = Dataset.from_list(make_rows()).cast_column("images", List(ImageFeature(decode=False)))
    decoding = stored.cast_column("images", List(ImageFeature()))
    options = {"num_samples": 2, "max_new_tokens": 3, "batch_size": 4, "progress": False}
    expected = evaluate_model(model, processor, stored, **options).predictions
    monkeypatch.setattr(ImageFeature, "decode_example", None)
    assert evaluate_model(model, processor, decoding, **options).predictions == expected


def test_missing_columns_are_named(tiny):
    model, processor = tiny
    dataset = Dataset.from_list(make_rows())
    with pytest.raises(BadInputError, match="needs the column 'solution'"):
        evaluate_model(model, processor, dataset.remove_columns("solution"))
    with pytest.raises(BadInputError, match="Did you mean 'family'"):
        evaluate_model(model, processor, dataset, by=["familly"])
    with pytest.raises(BadInputError, match="'images' cannot be a category: it holds List values"):
        evaluate_model(model, processor, dataset, by=["images"])


def test_saved_predictions_give_the_same_numbers(tiny, tmp_path):
    model, processor = tiny
    dataset = Dataset.from_list(make_rows())
    result = evaluate_model(
        model, processor, dataset, num_samples=2, max_new_tokens=4, prompt_style="figures", progress=False
    )
    result.save(tmp_path, dataset)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["greedy_accuracy"] == result.greedy_accuracy
    assert summary["formatted"] == 0.0
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["0.png", "1.png", "2.png", "4.png"]
    stored = Dataset.from_parquet(str(tmp_path / "predictions.parquet"), cache_dir=str(tmp_path)).to_list()
    again = summarize(stored, ["family", "answer_type"], num_samples=2)
    for name in ("greedy_accuracy", "sampled_accuracy", "interval", "by", "pass_at", "unparsed", "mean_length"):
        assert getattr(again, name) == getattr(result, name)


def test_pictures_of_an_earlier_evaluation_are_removed(tmp_path):
    def save(dataset):
        summarize(predictions_of(*[["7"]] * len(dataset))).save(tmp_path, dataset)
        return {path.name: Image.open(path).getpixel((0, 0)) for path in tmp_path.glob("pictures/*")}

    images = List(ImageFeature())
    before = Dataset.from_dict({"images": [[png("red")]] * 3}).cast_column("images", images)
    assert save(before) == dict.fromkeys(("0.png", "1.png", "2.png"), (255, 0, 0))
    after = Dataset.from_dict({"images": [[png("blue")], []]}).cast_column("images", images)
    assert save(after) == {"0.png": (0, 0, 255)}
    assert save(Dataset.from_dict({"question": ["?"]})) == {}


def predictions_of(*groups):
    return [
        {
            "row": row,
            "sample": sample,
            "extracted": answer,
            "correct": float(answer == "7"),
            "length": 4 + sample,
            "truncated": answer is None,
            "formatted": None,
            "level": row % 2,
        }
        for row, group in enumerate(groups)
        for sample, answer in enumerate(group, start=-1)
    ]


def test_summary_of_known_answers():
    # Per row: the greedy answer, then four samples; 7 is right everywhere.
    rows = [
        ["7", "7", "7", "7", "7"],
        ["3", "7", "3", "3", None],
        [None, "7", "7", "1", "2"],
        ["7", "1", "2", "3", "4"],
    ]
    result = summarize(predictions_of(*rows), ["level"], num_samples=4)
    assert result.greedy_accuracy == 0.5
    assert result.sampled_accuracy == (4 + 1 + 2 + 0) / 16
    assert result.majority_accuracy == 0.5
    assert result.pass_at[1] == pytest.approx(7 / 16)
    assert result.pass_at[2] == pytest.approx((1 + 3 / 6 + 5 / 6 + 0) / 4)
    assert result.pass_at[4] == 0.75
    assert result.unparsed == result.truncated == 0.25
    assert result.mean_length == 3
    assert result.by["level"]["0"] == {
        "num_prompts": 2,
        "greedy_accuracy": 0.5,
        "interval": result.by["level"]["1"]["interval"],
        "sampled_accuracy": 0.75,
    }


def test_an_interrupted_evaluation_goes_on_and_gives_the_same_result(tiny, tmp_path, monkeypatch):
    model, processor = tiny
    rows = make_rows()
    rows[1]["images"] = [{"bytes": rows[1]["images"][0]["bytes"][:60], "path": None}]
    dataset = Dataset.from_list(rows)
    options = {"num_samples": 2, "max_new_tokens": 4, "batch_size": 2, "progress": False}
    expected = evaluate_model(model, processor, dataset, **options)
    calls = []

    def generate(*args, stop_at=3, **kwargs):
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        calls.append(kwargs["num_samples"])
        return original(*args, **kwargs)

    original = generation.generate
    monkeypatch.setattr(generation, "generate", generate)
    log = tmp_path / "new" / "unfinished.jsonl"
    with pytest.raises(KeyboardInterrupt):
        evaluate_model(model, processor, dataset, log_file=log, **options)
    with log.open("a") as file:
        file.write('{"kind": "greedy", "ind')  # a kill in the middle of a line
    with pytest.raises(BadInputError, match="another temperature"):
        evaluate_model(model, processor, dataset, log_file=log, temperature=0.5, **options)
    with pytest.raises(BadInputError, match="another data"):
        evaluate_model(model, processor, dataset.select([0, 1, 2]), log_file=log, **options)
    monkeypatch.setattr(generation, "generate", lambda *args, **kwargs: generate(*args, stop_at=99, **kwargs))
    result = evaluate_model(model, processor, dataset, log_file=log, **options)
    assert len(calls) == 8  # three greedy batches, one of them mixed with a broken picture, and five of samples
    assert result.predictions == expected.predictions and result.skipped == expected.skipped
    assert not log.exists()


def test_trained_weights_have_another_fingerprint(tiny):
    model, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    before = TransformersGenerator(model, processor).fingerprint()
    assert before == TransformersGenerator(*tiny).fingerprint()
    with torch.no_grad():
        model.lm_head.weight += 1e-4
    assert TransformersGenerator(model, processor).fingerprint() != before
