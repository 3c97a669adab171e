# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What every family of vision-language models has to do, in a few short runs each: see `docs/families.md`.

The page is written from what is found here: `make families`.
"""

import logging

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import torch
from datasets import Dataset, Features, List
from datasets import Image as ImageFeature
from fixtures.family_page import PAGE, page, page_row
from fixtures.resuming import history
from fixtures.trainers import build_trainer
from peft import LoraConfig
from transformers import AutoModelForImageTextToText

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.data.decoding import as_conversation
from mmr1_trl.engines.frames import add_frames
from mmr1_trl.engines.picture_tokens import placeholder_ids
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.runner import evaluate_model
from mmr1_trl.models import build_tiny_vlm, load_processor
from mmr1_trl.models.families import FAMILIES
from mmr1_trl.models.tiny_vlm import FAMILIES as TINY
from mmr1_trl.trainers.vision.freezing import is_frozen


WINDOW = {
    "num_generations": 2,
    "steps_per_generation": 2,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 4,
}
PLAIN = {"share_prompts": "off"}
WITHOUT_BALANCE = {"glm4v_moe": {"router_aux_loss_coef": 0.0}}  # TRL does not find its number of experts
FROZEN = {"freeze_vision_tower": True, "freeze_merger": True}


def rows(counts, seed=0):
    """Rows with so many pictures, of all shapes, and questions of all lengths."""
    rng = np.random.default_rng(seed)

    def row(i, count):
        sizes = rng.integers(28, 113, (count, 2))
        return {
            "prompt": [{"role": "user", "content": "upleft plus lowright is" + f" {i % 7} ?" * (1 + i % 3)}],
            "images": [PIL.Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in sizes],
            "solution": str(i % 3),
        }

    records = [row(i, count) for i, count in enumerate(counts)]
    pictured = Dataset.from_list([record for record in records if record["images"]])
    features = Features(pictured.features | {"images": List(ImageFeature())})
    return Dataset.from_list(records, features=features)


def lively(trainer):
    """Weights at which the next token depends on the pictures, as in a trained model."""
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.dim() > 1:
                parameter *= 2
    return trainer


def spread_reward(completion_ids, solution, **kwargs):
    """Hardly ever the same for two completions."""
    return [(sum(ids) + int(gold)) % 13 / 13 for ids, gold in zip(completion_ids, solution)]


@pytest.fixture(scope="module", params=TINY)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(family, tmp_path_factory):
    return tmp_path_factory.mktemp(family)


def grpo(family, folder, **options):
    options = {"rows": rows([1, 2, 1, 2, 2, 1, 1, 1]), "max_steps": 2} | WINDOW | FROZEN | PLAIN | options
    options = WITHOUT_BALANCE.get(family, {}) | options
    return lively(build_trainer(family=family, output_dir=str(folder), reward_funcs=spread_reward, **options))


@pytest.fixture(scope="module")
def once(family, folder):
    """GRPO over one generation batch of two updates, with an evaluation and a checkpoint between them."""
    trainer = grpo(
        family, folder / "once", save_strategy="steps", save_steps=1, eval_strategy="steps", eval_steps=1,
        eval_rows=rows([0, 2, 1, 1], seed=1),
    )  # fmt: skip
    trainer.train()
    return trainer


def equal_weights(one, other):
    for (name, mine), theirs in zip(one.model.named_parameters(), other.model.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


def test_pictures_encoded_once_change_nothing(family, folder, once):
    if FAMILIES[family].alone_counts:
        mine = grpo(family, folder / "single", rows=rows([1] * 8))
        mine.train()
        plain = grpo(family, folder / "plain", rows=rows([1] * 8), encode_once=False)
    else:
        mine, plain = once, grpo(family, folder / "plain", encode_once=False)
    plain.train()
    assert plain.vision is None and 0 < mine.vision.encoded < mine.vision.asked / 2
    names = ("loss", "grad_norm", "reward", "entropy")
    assert [[e.get(n) for n in names] for e in history(mine, 0)] == [
        [e.get(n) for n in names] for e in history(plain, 0)
    ]
    equal_weights(mine, plain)


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(family, folder, once):
    resumed = grpo(family, folder / "resumed", save_strategy="no")
    resumed.train(resume_from_checkpoint=str(folder / "once" / "checkpoint-1"))
    assert history(resumed, 1)[0]["grad_norm"] == history(once, 1)[0]["grad_norm"] > 0
    equal_weights(resumed, once)


def test_all_switches_with_adapters_and_rows_without_pictures(family, folder):
    """And what the sampler and TRL compute of rows side by side is what the model says about each alone."""
    trainer = lively(
        build_trainer(
            MSSRTrainer, MSSRConfig, family=family, output_dir=str(folder / "all"),
            rows=rows([0, 1, 2, 1, 0, 2, 1, 1]),
            prompt_sampling="variance_aware", vas_refresh="full", vas_update_steps=1, vas_rollouts=2,
            entropy_schedule="two_stage", switch_fraction=0.5, explore_coef=0.1, exploit_coef=0.1,
            peft_config=LoraConfig(r=2, target_modules="all-linear"), freeze_vision_tower=True,
            **(WINDOW | {"num_generations": 1, "max_steps": 2, "beta": 0.05} | WITHOUT_BALANCE.get(family, {})),
        )
    )  # fmt: skip
    before = {name: parameter.clone() for name, parameter in trainer.model.named_parameters()}
    seen = watch(trainer)
    trainer.train()
    moved = {name for name, p in trainer.model.named_parameters() if not torch.equal(p, before[name])}
    assert moved and all("lora_" in name for name in moved) and not any(is_frozen(name, False) for name in moved)
    # Adapters reach the projection, which is a bare matrix in Gemma 3.
    assert any(is_frozen(name, True) for name in moved) == (family != "gemma3")
    logged = set().union(*history(trainer, 0))
    assert all(any(key.startswith(prefix) for key in logged) for prefix in ("mssr/", "vas/", "entropy/"))
    assert (
        len(seen["rows"]) == 8
        and len({len(pictures) for pictures in trainer.train_dataset[seen["rows"]]["images"]}) > 1
    )
    torch.testing.assert_close(seen["trained"], seen["alone"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(seen["sampled"], seen["alone"], atol=1e-4, rtol=1e-4)
    assert (seen["blind"] - seen["alone"]).abs().max() > 1e-3, "these weights do not look at pictures"


def watch(trainer):
    """Keep the log-probs of the first generation batch as sampled, as TRL computes them and of each row alone."""
    seen, model, processor = {}, trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class
    generate, read, per_token = model.generate, trainer.reader.read, trainer._get_per_token_logps_and_entropies

    def watched_generate(*args, **kwargs):
        output = generate(*args, **kwargs, return_dict_in_generate=True, output_logits=True)
        seen.setdefault("logits", []).append(torch.stack(output.logits, dim=1))
        return output.sequences

    def watched_read(numbers):
        result = read(numbers)
        seen["read"] = result[0]
        return result

    def log_probs(logits, ids):
        return torch.log_softmax(logits, dim=-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)

    def alone(row, prompt, completion, pictures=lambda pictures: pictures):
        record = read([row])[1][0]
        record = record | {"images": [pictures(picture) for picture in record["images"]]}
        inputs = processor.apply_chat_template(
            [as_conversation(record)], add_generation_prompt=True, tokenize=True, return_dict=True,
            return_tensors="pt",
        )  # fmt: skip
        assert torch.equal(inputs["input_ids"][0], prompt)
        for name in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
            if name in inputs:
                more = {"input_ids": completion, "attention_mask": torch.ones_like(completion)}
                more = more.get(name, torch.zeros_like(completion))
                inputs[name] = torch.cat([inputs[name], more[None]], dim=1)
        return log_probs(model(**inputs).logits[0, -len(completion) - 1 : -1], completion)

    def watched(policy, ids, mask, keep, *args, **kwargs):
        result = per_token(policy, ids, mask, keep, *args, **kwargs)
        if "rows" not in seen:
            seen["rows"] = seen["read"]
            seen["trained"] = result[0].detach() * mask[:, -keep:]
            seen["sampled"] = log_probs(seen["logits"][-1][:, :keep], ids[:, -keep:]) * mask[:, -keep:]
            for kind, change in {"alone": lambda picture: picture, "blind": PIL.ImageOps.invert}.items():
                seen[kind] = torch.zeros_like(result[0])
                for i, row in enumerate(seen["rows"]):
                    prompt, own = ids[i, :-keep][mask[i, :-keep].bool()], ids[i, -keep:][mask[i, -keep:].bool()]
                    with torch.no_grad():
                        seen[kind][i, : len(own)] = alone(row, prompt, own, change)
        return result

    model.generate, trainer.reader.read = watched_generate, watched_read
    trainer._get_per_token_logps_and_entropies = watched
    return seen


def test_prompts_shared_by_rollouts_differ_by_rounding(family, folder, once):
    """Where `share_prompts` says that it works; elsewhere it says why not, and nothing is shared."""
    shared = grpo(family, folder / "shared", share_prompts="auto")
    assert shared.sharing.active == (page_row(family).split(" | ")[3] == "yes")
    if shared.sharing.active:
        shared.train()
        for mine, other in zip(history(shared, 0), history(once, 0), strict=True):
            for name in ("loss", "grad_norm", "entropy"):
                assert mine.get(name) == pytest.approx(other.get(name), rel=1e-3, abs=1e-5), name


def test_a_saved_model_is_evaluated_as_the_trained_one(family, folder, once):
    path = folder / "once" / "checkpoint-2"
    reloaded, processor = AutoModelForImageTextToText.from_pretrained(path), load_processor(path)
    assert type(processor.image_processor).__name__.endswith("Pil")
    dataset = rows([1, 0, 2], seed=2)
    options = {"num_samples": 2, "max_new_tokens": 4, "progress": False}
    mine, other = (
        evaluate_model(model, tools, dataset, **options)
        for model, tools in ((once.model, once.processing_class), (reloaded, processor))
    )
    assert mine.predictions == other.predictions


def test_no_token_of_a_picture_is_sampled(family, once):
    names = (FAMILIES[family].image_token, FAMILIES[family].video_token)
    tokenizer = once.processing_class.tokenizer
    ids = {tokenizer.convert_tokens_to_ids(name) for name in names if name in tokenizer.get_vocab()}
    assert ids and ids <= set(placeholder_ids(once.model.config)) <= set(once.generation_config.suppress_tokens)


def test_the_page_says_what_was_found(family):
    assert page_row(family) in PAGE.read_text(encoding="utf-8").splitlines(), "write it anew: make families"


def test_the_page_has_all_families_and_nothing_else():
    written = PAGE.read_text(encoding="utf-8")
    lines = [line for line in written.splitlines() if line.startswith("| `") and "model_type" not in line]
    assert written == page(lines), "write it anew: make families"
    assert [line.split("`")[1] for line in lines] == list(TINY) and set(TINY) == set(FAMILIES)


@pytest.mark.parametrize(
    ("family", "counts"), [("idefics3", [0, 2, 1, 1]), ("smolvlm", [1, 1, 3, 0]), ("llava_onevision", [1, 2, 1, 1])]
)
def test_rows_that_trl_would_mix_up_are_refused_where_pictures_are_not_encoded_once(family, counts, tmp_path):
    with pytest.raises(BadInputError, match=r"Rows with .* pictures cannot be trained .*encode_once is off.*TRL "):
        grpo(family, tmp_path, rows=rows(counts), encode_once=False)


def test_experts_whose_load_trl_cannot_balance_are_refused(tmp_path):
    with pytest.raises(BadInputError, match="number of experts of glm4v_moe_text.*router_aux_loss_coef=0"):
        build_trainer(family="glm4v_moe", output_dir=str(tmp_path), num_generations=2)


def test_limits_of_pixels_that_save_nothing_are_said(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    for family, said in {"gemma3": True, "qwen3_5": False}.items():
        caplog.clear()
        grpo(family, tmp_path, max_pixels=3000)
        assert ("not how long prompts are: the processor of gemma3" in caplog.text) == said


def test_a_family_that_writes_y_first_says_so(caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    processor = build_tiny_vlm("gemma3")[1]
    located = rows([1]).map(lambda row: {"solution": "[1, 2, 3, 4]", "answer_type": "box"})
    with pytest.raises(BadInputError, match="were taught to write y before x.*--coordinates"):
        add_frames(located, processor, "auto", lambda: "gemma3")
    add_frames(located, processor, "thousandths", lambda: "gemma3")
    assert "were taught to write y before x" in caplog.text
