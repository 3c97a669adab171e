# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Files of a checkpoint: weights of every family, state of every rank, nothing half-written taken for whole."""

import json

import pytest
import torch
from safetensors import SafetensorError
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
)

from mmr1_trl import run_folder
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.checkpoints import state, weights


TEXT = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1,
}  # fmt: skip
QWEN_TEXT = TEXT | {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 3, 3]},
    "tie_word_embeddings": True,
}
LLAVA = {
    "text_config": TEXT | {"model_type": "llama"},
    "vision_config": {
        "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
    },
    "image_token_index": 63,
}  # fmt: skip
MODELS = {
    "qwen2_vl": (
        Qwen2VLForConditionalGeneration,
        lambda: Qwen2VLConfig(
            text_config=QWEN_TEXT,
            vision_config={"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2},
            tie_word_embeddings=True,
        ),
    ),
    "qwen2_5_vl": (
        Qwen2_5_VLForConditionalGeneration,
        lambda: Qwen2_5_VLConfig(
            text_config=QWEN_TEXT,
            vision_config={
                "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 32,
            },
            tie_word_embeddings=True,
        ),
    ),
    "llava": (LlavaForConditionalGeneration, lambda: LlavaConfig(**LLAVA)),
    "llava_next": (LlavaNextForConditionalGeneration, lambda: LlavaNextConfig(**LLAVA)),
}  # fmt: skip


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("shard", ["5GB", "50KB"], ids=["one-file", "sharded"])
def test_reload_restores_every_weight_of_the_families_that_transformers_does_not(family, shard, tmp_path):
    model_class, config = MODELS[family]
    model = model_class(config())
    model.save_pretrained(tmp_path, max_shard_size=shard)
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    pointers = {name: value.data_ptr() for name, value in model.state_dict().items()}
    weights.reload_weights(model, tmp_path)
    for name, value in model.state_dict().items():
        assert torch.equal(value, saved[name]), name
        assert value.data_ptr() == pointers[name], "the optimizer would hold on to other tensors"


def test_reload_refuses_weights_of_another_shape(tmp_path):
    model_class, config = MODELS["qwen2_5_vl"]
    model_class(config()).save_pretrained(tmp_path)
    other = config()
    other.text_config.intermediate_size = 96
    with pytest.raises(BadInputError, match="its weights hold in another shape"):
        weights.reload_weights(model_class(other), tmp_path)


def test_rank_state_comes_back_as_it_was(tmp_path):
    whole = torch.arange(24.0).reshape(8, 3)
    batches = [  # views of one tensor, as TRL splits them
        {"advantages": whole[:4], "num_images": [1, 2, 1, 1], "num_items_in_batch": torch.tensor(7)},
        {"advantages": whole[4:], "num_images": [1, 1, 1, 1], "num_items_in_batch": torch.tensor(7)},
    ]
    state.save_rank_state(tmp_path, 1, batches, {"kl_sum": torch.tensor([1.0, 2.0])}, {"bad_rows": [3]})
    loaded, tensors, meta = state.load_rank_state(tmp_path, 1, torch.device("cpu"))
    assert len(loaded) == 2 and meta == {"bad_rows": [3]} and tensors["kl_sum"].tolist() == [1.0, 2.0]
    for before, after in zip(batches, loaded):
        assert after.keys() == before.keys() and after["num_images"] == before["num_images"]
        assert torch.equal(after["advantages"], before["advantages"])
        assert after["num_items_in_batch"].shape == () and after["num_items_in_batch"] == 7


def test_leftovers_of_an_interrupted_save_are_removed(tmp_path):
    folder = tmp_path / "checkpoint-3"
    folder.mkdir()
    (folder / "rlvr_rank_0.safetensors").write_bytes(b"half")
    state.prepare_folder(folder)
    assert list(folder.iterdir()) == []
    (folder / "model.safetensors").write_bytes(b"whole")
    run_folder.seal(folder, 3, {})
    state.prepare_folder(folder)  # the same step is saved again: not complete while it is written
    assert [path.name for path in folder.iterdir()] == ["model.safetensors"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    run_folder.write_json(path, {"step": 1})
    with pytest.raises(TypeError):
        run_folder.write_json(path, {"step": object()})
    assert json.loads(path.read_text()) == {"step": 1}
    path = tmp_path / "state.safetensors"
    state.write_tensors(path, {"a": torch.ones(2)})
    monkeypatch.setattr(state, "save_file", _fails_half_way)
    with pytest.raises(SafetensorError):
        state.write_tensors(path, {"a": torch.zeros(2)})
    monkeypatch.undo()
    assert state.load_file(path)["a"].tolist() == [1.0, 1.0]


def _fails_half_way(tensors, path):
    path.write_bytes(b"half")
    raise SafetensorError("disk full")


def test_checkpoints_are_ordered_by_step(tmp_path):
    for step in (9, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    assert [path.name for path in run_folder.list_checkpoints(tmp_path)] == [
        "checkpoint-9", "checkpoint-10", "checkpoint-100",
    ]  # fmt: skip
    assert run_folder.list_checkpoints(tmp_path / "nowhere") == []
