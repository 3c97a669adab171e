# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The tiny models, processor loading and the cache of built-in models."""

import json
import shutil

import numpy as np
import pytest
import torch
from datasets import Dataset, List
from datasets import Image as ImageFeature
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedTokenizerBase,
    ProcessorMixin,
    Qwen2Config,
    ViTConfig,
)
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from mmr1_trl.cli.commands import check
from mmr1_trl.errors import BadInputError
from mmr1_trl.models import build_tiny_vlm, load_config, load_processor, resolve_model
from mmr1_trl.models.cache import build_once
from mmr1_trl.models.tiny_vlm import FAMILIES


QUESTION = "add topleft and topright ?"


def _pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (56, 56, 3), dtype=np.uint8)) for _ in range(count)]


def _inputs(processor: ProcessorMixin) -> dict[str, torch.Tensor]:
    chats = [
        [{"role": "user", "content": [{"type": "image", "image": picture}, {"type": "text", "text": text}]}]
        for picture, text in zip(_pictures(2), [QUESTION, "what ?"])
    ]
    return processor.apply_chat_template(
        chats, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        processor_kwargs={"padding": True},
    )  # fmt: skip


@pytest.fixture
def tiny_folder(tmp_path):
    model, processor = build_tiny_vlm("qwen2_5_vl")
    model.save_pretrained(tmp_path / "tiny")
    processor.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.mark.parametrize("family", FAMILIES)
def test_model_and_processor_survive_saving(family, tmp_path):
    model, processor = build_tiny_vlm(family, seed=3)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    reloaded = AutoModelForImageTextToText.from_pretrained(tmp_path)
    inputs, again = _inputs(processor), _inputs(load_processor(tmp_path))
    assert inputs.keys() == again.keys()
    for name in inputs:
        torch.testing.assert_close(inputs[name], again[name], rtol=0, atol=0)
    with torch.no_grad():
        assert torch.equal(model.eval()(**inputs).logits, reloaded.eval()(**again).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_picture_changes_the_logits(family):
    model, processor = build_tiny_vlm(family)
    inputs = _inputs(processor)
    with torch.no_grad():
        seen = model.eval()(**inputs).logits
        other = model(**{**inputs, "pixel_values": -inputs["pixel_values"]}).logits
    assert not torch.equal(seen[:, -1], other[:, -1])


def test_trl_trains_the_tiny_model(tmp_path):
    model, processor = build_tiny_vlm()
    answer = "<think> 3 + 5 </think> <answer> 8 </answer>"
    rows = {
        "prompt": [[{"role": "user", "content": QUESTION}]] * 4,
        "images": [[picture] for picture in _pictures(4)],
        "completion": [[{"role": "assistant", "content": answer}]] * 4,
    }
    dataset = Dataset.from_dict(rows).cast_column("images", List(ImageFeature()))
    common = {
        "output_dir": str(tmp_path), "max_steps": 1, "per_device_train_batch_size": 4, "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no", "learning_rate": 1e-3,
    }  # fmt: skip
    before = model.get_input_embeddings().weight.detach().clone()
    SFTTrainer(
        model, args=SFTConfig(max_length=None, **common), train_dataset=dataset, processing_class=processor
    ).train()
    after_sft = model.get_input_embeddings().weight.detach().clone()
    assert not torch.equal(before, after_sft)

    texts: list[str] = []

    def first_is_best(completions, **kwargs):
        texts.extend(completion[0]["content"] for completion in completions)
        return [1.0, 0.0] * (len(completions) // 2)

    GRPOTrainer(
        model,
        reward_funcs=first_is_best,
        args=GRPOConfig(num_generations=2, max_completion_length=6, **common),
        train_dataset=dataset.remove_columns("completion"),
        processing_class=processor,
    ).train()
    assert len(texts) == 4 and all(len(text.split()) > 0 for text in texts)
    assert not torch.equal(after_sft, model.get_input_embeddings().weight)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_tiny_vlm(seed=5)[0]
    expected = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(2)
    again, other = build_tiny_vlm(seed=5)[0], build_tiny_vlm(seed=6)[0]
    assert torch.equal(first.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_tokenizer_round_trip_keeps_the_tags():
    tokenizer = build_tiny_vlm()[1].tokenizer
    text = "<think> 3 + 5 = 8 + 2 </think> <answer> [ 14 , 42 ] </answer>"
    ids = tokenizer(text.replace(" ", "") + tokenizer.eos_token)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer("zebra")["input_ids"] == [tokenizer.unk_token_id]
    assert tokenizer.unk_token_id not in tokenizer("What is 12 + 3 ? A B C D yes no")["input_ids"]
    assert tokenizer.padding_side == "left"


def test_prompt_is_a_prefix_of_the_conversation():
    processor = build_tiny_vlm()[1]
    prompt = [{"role": "system", "content": "think"}, {"role": "user", "content": QUESTION}]
    chat = [*prompt, {"role": "assistant", "content": "8"}]
    start = processor.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    whole = processor.apply_chat_template(chat, tokenize=False)
    assert whole == start + "8" + processor.tokenizer.eos_token


def test_saved_class_name_is_the_upstream_one(tiny_folder):
    saved = json.loads((tiny_folder / "processor_config.json").read_text())
    assert saved["processor_class"] == "Qwen2_5_VLProcessor"
    assert saved["image_processor"]["image_processor_type"] == "Qwen2VLImageProcessor"
    assert saved["video_processor"]["video_processor_type"] == "Qwen2VLVideoProcessor"


def test_unknown_family_suggests_one():
    with pytest.raises(BadInputError, match="Did you mean 'qwen2_5_vl'"):
        build_tiny_vlm("qwen25vl")


def test_model_folder_without_processor_is_refused(tiny_folder):
    (tiny_folder / "processor_config.json").unlink()
    with pytest.raises(BadInputError, match=r"model folder without processor \(missing: processor_config.json"):
        load_processor(tiny_folder)


def test_model_folder_without_tokenizer_is_refused(tiny_folder):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tiny_folder / name).unlink()
    with pytest.raises(BadInputError, match="missing: tokenizer_config.json"):
        load_processor(tiny_folder)


def test_model_folder_without_chat_template_is_refused(tiny_folder):
    (tiny_folder / "chat_template.jinja").unlink()
    with pytest.raises(BadInputError, match="has no chat template"):
        load_processor(tiny_folder)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for i in range(90000) %}{% for j in range(90000) %}{% endfor %}{% endfor %}", "did not come to an end"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
        ("{{ messages[0]", "TemplateSyntaxError"),
        ("{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}", "RecursionError"),
        ("{{ raise_exception('No questions.') }}", "No questions"),
    ],
)
def test_a_chat_template_that_cannot_write_a_prompt_is_refused(tiny_folder, template, message, monkeypatch):
    monkeypatch.setattr("mmr1_trl.models.chat_template.LIMIT", 0.5)
    (tiny_folder / "chat_template.jinja").write_text(template)
    with pytest.raises(BadInputError, match=f"chat template of .* cannot write a prompt: .*{message}"):
        load_processor(tiny_folder)


def test_a_cache_that_cannot_be_written_is_named(monkeypatch):
    monkeypatch.setenv("MMR1_HOME", "/proc/nowhere")
    with pytest.raises(BadInputError, match="/proc/nowhere, cannot be written: .*Set MMR1_HOME"):
        resolve_model("figures/tiny")


def test_of_text_only_models_the_tokenizer_is_loaded_and_others_are_refused(tiny_folder, tmp_path):
    Qwen2Config().save_pretrained(tmp_path / "text")
    ViTConfig().save_pretrained(tmp_path / "eye")
    with pytest.raises(BadInputError, match="without tokenizer"):
        load_processor(tmp_path / "text")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_folder / name, tmp_path / "text")
    with pytest.raises(BadInputError, match="tokenizer of .* has no chat template"):
        load_processor(tmp_path / "text")
    shutil.copy(tiny_folder / "chat_template.jinja", tmp_path / "text")
    assert isinstance(load_processor(tmp_path / "text"), PreTrainedTokenizerBase)
    with pytest.raises(BadInputError, match="no model that writes text"):
        load_processor(tmp_path / "eye")


def test_missing_folder_is_refused(tmp_path):
    with pytest.raises(BadInputError, match="no model folder"):
        load_processor(tmp_path / "nowhere")


def test_resolve_model(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path))
    path = resolve_model("figures/tiny")
    assert path.startswith(str(tmp_path)) and resolve_model("figures/tiny") == path
    assert isinstance(load_processor(path), ProcessorMixin)
    assert resolve_model("Qwen/Qwen2.5-VL-3B-Instruct") == "Qwen/Qwen2.5-VL-3B-Instruct"
    with pytest.raises(BadInputError, match="Did you mean 'figures/tiny'"):
        resolve_model("figures/tinny")


def test_interrupted_build_leaves_no_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path))

    def interrupted(folder):
        (tmp_path / folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once("entry", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_the_slower_of_two_builds_keeps_the_first(tmp_path, monkeypatch):
    monkeypatch.setenv("MMR1_HOME", str(tmp_path))

    def slow(folder):
        build_once("entry", lambda inner: (tmp_path / inner / "first").touch())
        (tmp_path / folder / "second").touch()

    entry = build_once("entry", slow)
    assert [file.name for file in entry.iterdir()] == ["first"]
    assert list(tmp_path.iterdir()) == [entry]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model_type": "qwen9_vl", "transformers_version": "99.0.0"},
            "saved by transformers 99.0.0.*pip install --upg",
        ),
        ({"model_type": "qwen25_vl"}, "does not know. Did you mean 'qwen2_5_vl'.*pip install --upgrade transformers"),
        (
            {"model_type": "ovis99", "auto_map": {"AutoConfig": "a.B"}},
            "own code: look at it, .*--trust_remote_code",
        ),
        ({"model_type": ["qwen"]}, "Cannot load a model config"),
    ],
)
def test_a_model_that_transformers_does_not_know_is_refused_with_what_to_install(tiny_folder, changes, message):
    config = json.loads((tiny_folder / "config.json").read_text()) | changes
    (tiny_folder / "config.json").write_text(json.dumps(config))
    (tiny_folder / "model.safetensors").unlink()
    for load in (load_config, load_processor):
        with pytest.raises(BadInputError, match=message):
            load(tiny_folder)
    with pytest.raises(BadInputError, match=message):
        parse_and_check(["--model_name_or_path", str(tiny_folder)])


def parse_and_check(words):
    return check.run(["grpo", *words, "--num_train_rows", "8", "--use_cpu", "--samples", "0"])


def test_a_processor_of_a_newer_transformers_or_without_its_package_is_named(tmp_path, monkeypatch):
    model, processor = build_tiny_vlm("smolvlm")
    model.config.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
        with pytest.raises(BadInputError, match="cannot be built here: .*pip install num2words"):
            load_processor(tmp_path)
    settings = json.loads((tmp_path / "processor_config.json").read_text())
    settings["image_processor"]["image_processor_type"] = "ImageProcessorOfTomorrow"
    (tmp_path / "processor_config.json").write_text(json.dumps(settings))
    config = json.loads((tmp_path / "config.json").read_text()) | {"transformers_version": "99.0.0"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInputError, match="saved by transformers 99.0.0.*pip install --upgrade transformers"):
        load_processor(tmp_path)
    config["text_config"]["model_type"] = "llama99"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadInputError, match="is a 'llama99' model, which transformers .* does not know"):
        load_config(tmp_path)
