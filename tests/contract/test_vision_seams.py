# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The seams of the model families that `vision/cache.py` leans on. A failure says which upstream change to follow."""

import copy
import inspect

import numpy as np
import PIL.Image
import pytest
import torch
from fixtures.models import build
from transformers import Qwen2VLImageProcessorPil
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from mmr1_trl.models.tiny_vlm import FAMILIES as TINY
from mmr1_trl.trainers.vision import cache as vision_cache
from mmr1_trl.trainers.vision.cache import VisionCache
from mmr1_trl.trainers.vision.freezing import freeze_vision_tower, is_frozen, spare_frozen_towers


# Whose towers gradient checkpointing hooks into.
HOOKED = {
    "qwen2_vl",
    "qwen2_5_vl",
    "gemma3",
    "internvl",
    "llava",
    "llava_next",
    "llava_onevision",
    "idefics3",
    "smolvlm",
}
# Whose projection is a part of the tower, so that what comes before it can be kept.
IN_TOWER = {"qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe", "glm4v", "glm4v_moe"}


def pictures(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [PIL.Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)) for h, w in sizes]


def batch_of(processor, images):
    """One prompt per picture or list of pictures, tokenized, with what the image processor makes of them."""
    images = [each if isinstance(each, list) else [each] for each in images]
    prompts = [
        [{"role": "user", "content": [*[{"type": "image"}] * len(each), {"type": "text", "text": "upleft ?"}]}]
        for each in images
    ]
    texts = processor.apply_chat_template(prompts, add_generation_prompt=True)
    return processor(images=images, text=texts, padding=True, padding_side="left", return_tensors="pt")


def part_of(name):
    """A parameter's name without the part of the model it is in."""
    return "tower" if is_frozen(name, False) else "merger" if is_frozen(name, True) else "text"


@pytest.mark.parametrize("family", TINY)
def test_names_of_towers_and_mergers(family):
    model = build(family)[0]
    parts = {"tower": 0, "merger": 0, "text": 0}
    for name, parameter in model.named_parameters():
        parts[part_of(name)] += parameter.numel()
    text = sum(p.numel() for n, p in model.named_parameters() if "language_model" in n or "text_model" in n)
    assert all(parts.values()), parts
    assert parts["text"] == text + (0 if model.config.tie_word_embeddings else model.lm_head.weight.numel())


@pytest.mark.parametrize("family", TINY)
@pytest.mark.parametrize("freeze_merger", [True, False])
def test_gradient_checkpointing_stays_out_of_a_frozen_tower(family, freeze_merger):
    """If the first assertion fails, transformers hooks the towers of other families than it did."""
    model, processor = build(family)
    freeze_vision_tower(model, freeze_merger)
    batch = batch_of(processor, pictures([(56, 56)] * 2))
    tower = next(
        m for n, m in model.named_modules() if n.rsplit(".", 1)[-1] in ("visual", "vision_tower", "vision_model")
    )
    block = next(m for n, m in tower.named_modules() if n.endswith(("blocks.0", "layers.0", "layer.0")))
    seen = []
    block.register_forward_hook(lambda module, args, output: seen.append(_first(output).requires_grad))

    def run():
        seen.clear()
        model.gradient_checkpointing_enable()  # of two names the one that all versions have
        model(**batch, labels=batch["input_ids"]).loss.backward()
        return seen[0]

    assert run() == (family in HOOKED)
    model.gradient_checkpointing_disable()
    model.zero_grad()
    spare_frozen_towers(model)
    assert not run()
    assert all(p.grad is None for n, p in model.named_parameters() if is_frozen(n, freeze_merger))
    others = [p.grad for n, p in model.named_parameters() if is_frozen(n, True) and not is_frozen(n, freeze_merger)]
    assert all(grad is not None and grad.abs().sum() > 0 for grad in others) and bool(others) != freeze_merger


def _first(output):
    return output if isinstance(output, torch.Tensor) else output[0]


@pytest.mark.parametrize("family", TINY)
def test_generation_and_forward_both_ask_for_image_features(family):
    model, processor = build(family)
    core = vision_cache._find_core(model)
    assert model.base_model is core
    assert next(iter(inspect.signature(core.get_image_features).parameters)) == "pixel_values"
    images = [*pictures([(56, 56), (28, 84)]), pictures([(40, 30), (56, 112)], seed=1)]
    cache = VisionCache(processor)
    model.eval()
    plain_batch = batch_of(processor, images)
    with torch.no_grad():
        expected = model(**plain_batch).logits
    drawn = model.generate(**plain_batch, max_new_tokens=4, do_sample=False)
    cache.install(core)
    with cache.generation("train"):
        batch = batch_of(processor, images)
    assert batch["pixel_values"].dtype == torch.int64 and batch["pixel_values"].shape[1] == 1
    if "image_grid_thw" in batch:
        assert len(batch["pixel_values"]) == int(batch["image_grid_thw"].prod(-1).sum())
    else:
        assert batch["pixel_values"].flatten().tolist() == [0, 1, 2, 2]
    assert torch.equal(batch["input_ids"], plain_batch["input_ids"])
    freeze_vision_tower(model, True)
    assert torch.equal(model.generate(**batch, max_new_tokens=4, do_sample=False), drawn)
    assert (cache.asked, cache.encoded) == (4, 4)
    torch.testing.assert_close(model(**batch).logits, expected, atol=1e-6, rtol=1e-5)
    assert (cache.asked, cache.encoded) == (8, 4)
    assert torch.equal(model(**plain_batch).logits, expected), "pixels that did not come through the cache"


@pytest.mark.parametrize("family", TINY)
def test_what_is_trained_gets_its_gradients_over_pictures_encoded_once(family):
    """The projection over a frozen tower, and then the tower as well."""
    model, processor = build(family)
    core = vision_cache._find_core(model)
    images = pictures([(56, 56), (28, 84), (56, 56)])
    images[2] = images[0]

    def gradients(batch):
        model.zero_grad()
        output = model(**batch, labels=batch["input_ids"])
        output.loss.backward()
        return output.logits.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    freeze_vision_tower(model, False)
    expected = gradients(batch_of(processor, images))
    model.requires_grad_(True)
    all_expected = gradients(batch_of(processor, images))
    cache = VisionCache(processor)
    cache.install(core)
    with cache.generation("train"):
        batch = batch_of(processor, images)

    def compare(ours, theirs):
        torch.testing.assert_close(ours[0], theirs[0], atol=1e-6, rtol=1e-5)
        assert ours[1].keys() == theirs[1].keys() and any(is_frozen(name, True) for name in ours[1])
        for name, gradient in ours[1].items():
            torch.testing.assert_close(gradient, theirs[1][name], atol=1e-6, rtol=1e-4, msg=name)

    freeze_vision_tower(model, False)
    for _ in range(2):
        compare(gradients(batch), expected)
    assert (cache.asked, cache.encoded) == (6, 2 if family in IN_TOWER else 4)
    model.requires_grad_(True)
    compare(gradients(batch), all_expected)
    assert (cache.asked, cache.encoded) == (9, 4 if family in IN_TOWER else 6)


def test_a_deep_copy_encodes_with_its_own_tower():
    model, processor = build("qwen2_5_vl")
    freeze_vision_tower(model, True)
    cache = VisionCache(processor)
    cache.install(vision_cache._find_core(model))
    with cache.generation("train"):
        batch = batch_of(processor, pictures([(56, 56)]))
    model(**batch)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.model.visual.merger.mlp[2].weight.zero_()
        other.model.visual.merger.mlp[2].bias.zero_()
    features = other.model.get_image_features(batch["pixel_values"], batch["image_grid_thw"], return_dict=True)
    assert features.pooler_output[0].abs().sum() == 0


def test_tickets_of_a_batch_that_is_over_are_refused():
    model, processor = build("qwen2_5_vl")
    cache = VisionCache(processor)
    cache.install(vision_cache._find_core(model))
    batches = []
    for _ in range(2):
        with cache.generation("train"):
            batches.append(batch_of(processor, pictures([(56, 56)])))
    assert "_process_images" not in vars(processor)
    model(**batches[1])
    with pytest.raises(RuntimeError, match="generation batch that is over"):
        model(**batches[0])


@pytest.mark.parametrize("patch", [14, 16])
def test_smart_resize_is_what_the_processor_does(patch):
    """`engines/frames.py` computes by it how large a picture is when the model sees it."""
    processor = Qwen2VLImageProcessorPil(patch_size=patch, size={"shortest_edge": 3136, "longest_edge": 100_000})
    for width, height in ((640, 480), (30, 40), (1000, 90)):
        grid = processor(images=[PIL.Image.new("RGB", (width, height))], return_tensors="pt")["image_grid_thw"][0]
        down, across = smart_resize(height, width, patch * processor.merge_size, 3136, 100_000)
        assert [down, across] == (grid[1:] * patch).tolist()
