# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The guard on sampler and trainer: its numbers against brute force, and what it does about them."""

import logging
import math
from collections import defaultdict

import pytest
import torch
from fixtures.models import build_attentive
from fixtures.trainers import build_trainer, logged, picture_rows
from fixtures.vllm_stand_in import install
from transformers.utils import logging as transformers_logging

from mmr1_trl import RLVRConfig
from mmr1_trl.cli import main
from mmr1_trl.engines.training import TrainingEngine
from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.trainers.guards.agreement import MISMATCH, AgreementGuard, compare, summarize


@pytest.fixture
def warned(caplog, monkeypatch):
    monkeypatch.setattr(transformers_logging.get_logger("transformers"), "propagate", True)
    caplog.set_level(logging.WARNING)
    return lambda: [r.getMessage() for r in caplog.records if r.name == "mmr1_trl.trainers.guards.agreement"]


def guard_of(tmp_path, mode="sequence_mask", **options):
    args = RLVRConfig(
        output_dir=str(tmp_path), use_cpu=True, num_generations=2, report_to="none",
        vllm_importance_sampling_mode=mode, **options,
    )  # fmt: skip
    args.use_vllm = True  # whether there is one matters to the trainer alone
    return AgreementGuard(args, lambda: 0)


def apart(difference, rows=4, tokens=5, **others):
    """A generation batch whose sampler gave each token so much less than the trainer does."""
    trained = torch.full((rows, tokens), -1.0)
    batch = {
        "completion_mask": torch.ones(rows, tokens, dtype=torch.long),
        "sampling_per_token_logps": trained - difference,
        "old_per_token_logps": trained,
        "importance_sampling_ratio": torch.ones(rows, 1),
    }
    return batch | others


@pytest.mark.parametrize("mode", ["sequence", "token", "off"])
@pytest.mark.parametrize("tools", [False, True])
def test_the_numbers_are_those_of_a_loop(mode, tools):
    rng = torch.Generator().manual_seed(0)
    rows, tokens, micro = 12, 7, 3
    trained = -torch.rand(rows, tokens, generator=rng) * 3
    sampled = -torch.rand(rows, tokens, generator=rng) * 3
    sampled[torch.rand(rows, tokens, generator=rng) < 0.1] = math.nan
    mask = (torch.rand(rows, tokens, generator=rng) < 0.7).long()
    mask[4] = 0  # a completion that is masked as a whole
    batch = {"completion_mask": mask, "sampling_per_token_logps": sampled}
    if tools:
        batch["tool_mask"] = (torch.rand(rows, tokens, generator=rng) < 0.6).long()
    if mode != "off":
        ratio = torch.rand(rows, 1 if mode == "sequence" else tokens, generator=rng)
        batch["importance_sampling_ratio"] = ratio * (ratio > 0.3)
    parts = [
        compare({name: values[i : i + micro] for name, values in batch.items()}, trained[i : i + micro])
        for i in range(0, rows, micro)
    ]
    found = summarize(torch.stack(parts), "tokens")

    differences, ratios, unknown = [], [], 0
    for i in range(rows):
        own = [j for j in range(tokens) if mask[i, j] and (not tools or batch["tool_mask"][i, j])]
        for j in own:
            if math.isnan(sampled[i, j]):
                unknown += 1
                continue
            differences.append(abs(float(trained[i, j]) - float(sampled[i, j])))
            if mode == "token":
                ratios.append(float(batch["importance_sampling_ratio"][i, j]))
            if mode == "off":
                ratios.append(math.exp(float(trained[i, j]) - float(sampled[i, j])))
        if mode == "sequence" and own:
            ratios.append(float(batch["importance_sampling_ratio"][i, 0]))
    assert found.mean == pytest.approx(sum(differences) / len(differences))
    assert found.largest == pytest.approx(max(differences))
    assert found.ratio == pytest.approx(sum(ratios) / len(ratios))
    assert found.removed == pytest.approx(sum(ratio < 0.01 for ratio in ratios) / len(ratios))
    assert found.unknown == pytest.approx(unknown / (unknown + len(differences)))


def test_a_batch_without_a_token_says_nothing(tmp_path, warned):
    batch = apart(3.0)
    batch["completion_mask"][:] = 0
    guard_of(tmp_path).check(batch, defaultdict(list))
    assert warned() == []


def test_too_large_a_difference_stops_with_numbers_causes_and_the_knob(tmp_path):
    ratio = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    with pytest.raises(TrainingStopped) as stopped:
        guard_of(tmp_path).check(apart(1.66, importance_sampling_ratio=ratio), defaultdict(list))
    message = str(stopped.value)
    for words in (
        "Step 1: the sampler (vLLM) and the trainer do not agree",
        "log-probs 1.66 nats apart per token on average and 1.66 at most",
        "mean importance ratio of 0.75, and 25% of the sequences removed",
        "There is no complete checkpoint yet.",
        "--on_mismatch warn",
    ):
        assert words in message, words
    causes = [
        message.index(word) for word in ("another prompt", "stale weights", "stale pictures", "dtype", "temperature")
    ]
    assert causes == sorted(causes)


def test_the_bound_lies_between_right_and_broken_runs(tmp_path):
    guard = guard_of(tmp_path)
    guard.check(apart(MISMATCH * 0.99), defaultdict(list))
    with pytest.raises(TrainingStopped):
        guard.check(apart(MISMATCH * 1.01), defaultdict(list))
    assert 0.01 < MISMATCH < 0.15


def test_top_p_alone_may_explain_as_much_as_it_takes_away(tmp_path):
    guard = guard_of(tmp_path, top_p=0.9)
    guard.check(apart(-math.log(0.9) + 0.99 * MISMATCH), defaultdict(list))
    with pytest.raises(TrainingStopped):
        guard.check(apart(-math.log(0.9) + 1.01 * MISMATCH), defaultdict(list))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"top_k": 5, "use_vllm": True}, "top_k"),
        ({"min_p": 0.1}, "min_p"),
        ({"repetition_penalty": 1.1}, "repetition_penalty"),
        ({"generation_kwargs": {"presence_penalty": 1.0}}, "presence_penalty"),
        ({"vllm_structured_outputs_regex": "[0-9]+"}, "vllm_structured_outputs_regex"),
    ],
)
def test_options_that_explain_any_difference_are_named_and_do_not_stop(tmp_path, warned, options, name):
    guard_of(tmp_path, **options).check(apart(1.0), defaultdict(list))
    (message,) = warned()
    assert f"Not stopped, because {name} alone could do this" in message


def test_a_seed_explains_nothing(tmp_path):
    with pytest.raises(TrainingStopped):
        guard_of(tmp_path, generation_kwargs={"seed": 1}).check(apart(1.0), defaultdict(list))


def test_warn_says_it_once_and_again_after_it_was_well(tmp_path, warned):
    guard = guard_of(tmp_path, on_mismatch="warn")
    for difference in (1.0, 1.0, 0.0, 1.0):
        guard.check(apart(difference), defaultdict(list))
    assert len(warned()) == 2 and all("Not stopped (on_mismatch='warn')" in message for message in warned())


@pytest.mark.parametrize(
    "others",
    [
        {"importance_sampling_ratio": torch.full((4, 1), 0.2)},
        {"importance_sampling_ratio": torch.tensor([[0.0], [1.0], [1.0], [1.0]])},
        {"sampling_per_token_logps": torch.full((4, 500), -1.0).index_fill(1, torch.tensor([0]), -9.0)},
    ],
    ids=["ratio", "removed", "largest"],
)
def test_what_grows_with_the_length_is_a_warning(tmp_path, warned, others):
    guard_of(tmp_path).check(apart(0.0, tokens=500, **others), defaultdict(list))
    (message,) = warned()
    assert "agree on average, but not everywhere" in message


def test_a_sampler_without_log_probs_is_named(tmp_path, warned):
    guard_of(tmp_path).check(apart(math.nan), defaultdict(list))
    assert "vLLM gave no log-probs" in warned()[0]


def test_the_numbers_are_logged_under_trls_names_where_trl_logs_none(tmp_path):
    metrics = defaultdict(list)
    guard_of(tmp_path).check(apart(0.05), metrics)
    assert metrics == {"sampling/removed_share": [0.0]}  # the others are TRL's
    batch, guard = apart(0.05), guard_of(tmp_path)
    del batch["importance_sampling_ratio"], batch["old_per_token_logps"]
    guard.check(batch, metrics)
    logps = torch.full((4, 5), -1.0)
    guard.watch(batch, logps, metrics, last=False)
    assert metrics == {"sampling/removed_share": [0.0]}  # not before the whole batch is known
    guard.watch(batch, logps, metrics, last=True)
    assert metrics["sampling/sampling_logp_difference/mean"] == [pytest.approx(0.05)]
    assert metrics["sampling/sampling_logp_difference/max"] == [pytest.approx(0.05)]
    assert metrics["sampling/importance_sampling_ratio/mean"] == [pytest.approx(math.exp(0.05))]


def test_without_the_correction_the_losss_own_forward_passes_stop_the_run(tmp_path):
    batch, guard = apart(1.0), guard_of(tmp_path)
    del batch["importance_sampling_ratio"], batch["old_per_token_logps"]
    guard.watch(batch, torch.full((4, 5), -1.0), defaultdict(list), last=False)
    with pytest.raises(TrainingStopped, match="removed from the loss"):
        guard.watch(batch, torch.full((4, 5), -1.0), defaultdict(list), last=True)


def test_a_rollout_function_without_vllm_is_left_alone(tmp_path, warned):
    guard = guard_of(tmp_path)
    guard.args.use_vllm = False
    metrics = defaultdict(list)
    guard.check(apart(1.0), metrics)
    guard.watch({"sampling_per_token_logps": torch.zeros(4, 5)}, torch.ones(4, 5), metrics, last=True)
    assert metrics == {} and warned() == []


def test_a_misspelled_choice_is_named():
    with pytest.raises(BadInputError, match=r"on_mismatch='warm' is not one of error, warn\. Did you mean 'warn'"):
        RLVRConfig(on_mismatch="warm", num_generations=2)


# ---- In a training, with a stand-in that does what vLLM does ----

MEAN = "sampling/sampling_logp_difference/mean"


@pytest.fixture
def make_vllm_trainer(monkeypatch, tmp_path):
    """A trainer on four rows that recur in every batch."""
    install(monkeypatch)
    model, processor = build_attentive()
    for part in (model, processor):
        part.save_pretrained(tmp_path / "model")
    monkeypatch.setattr("fixtures.trainers.build", lambda _: (str(tmp_path / "model"), processor))
    settings = {
        "per_device_train_batch_size": 8, "num_generations": 2, "learning_rate": 2e-3, "bf16": False, "max_steps": 2,
        "max_completion_length": 4, "use_vllm": True, "vllm_mode": "colocate", "output_dir": str(tmp_path / "run"),
    }  # fmt: skip
    return lambda **options: build_trainer(rows=picture_rows(4), **settings | options)


TWO = {"steps_per_generation": 2, "per_device_train_batch_size": 4}
MODES = [
    {},
    {"vllm_importance_sampling_correction": False},
    {"vllm_importance_sampling_mode": "token_truncate"} | TWO,
    {"vllm_importance_sampling_correction": False, "gradient_accumulation_steps": 1} | TWO,  # TRL has the log-probs
    {"vllm_importance_sampling_correction": False, "gradient_accumulation_steps": 2} | TWO,
]


@pytest.mark.parametrize("options", MODES, ids=range(len(MODES)))
def test_a_run_that_is_right_agrees(make_vllm_trainer, warned, options):
    trainer = make_vllm_trainer(**options)
    trainer.train()
    differences = logged(trainer, MEAN)
    assert differences and max(differences) < 0.01 and warned() == []
    assert set(logged(trainer, "sampling/removed_share")) == {0.0}
    assert logged(trainer, "sampling/importance_sampling_ratio/mean") == pytest.approx(
        [1.0] * len(differences), abs=0.1
    )
    assert min(logged(trainer, "grad_norm")) > 0.1


@pytest.mark.parametrize("options", MODES, ids=range(len(MODES)))
def test_a_corrupted_prompt_stops_the_first_batch(make_vllm_trainer, options):
    """TRL 1.16 sends the expanded picture tokens, and vLLM expands the first of them again."""
    trainer = make_vllm_trainer(**options)
    trainer.vllm_generation.generate = trainer.engine._generate  # TRL's own
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    with pytest.raises(TrainingStopped, match="Step 1: the sampler"):
        trainer.train()
    assert trainer.state.global_step == 0
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters()))


@pytest.mark.parametrize("options", MODES[:2], ids=range(2))
def test_stale_pictures_stop_the_first_batch_that_has_one_after_an_update(make_vllm_trainer, options):
    trainer = make_vllm_trainer(**options)
    trainer.engine._reset_encoder_cache = lambda: None
    with pytest.raises(TrainingStopped, match="Step 2: the sampler"):
        trainer.train()
    assert trainer.state.global_step == 1


def test_the_last_checkpoint_is_whole(make_vllm_trainer):
    options = {"save_strategy": "steps", "save_steps": 1}
    trainer = make_vllm_trainer(**options)
    trainer.engine._reset_encoder_cache = lambda: None
    with pytest.raises(TrainingStopped, match="The last complete checkpoint, checkpoint-1, is untouched"):
        trainer.train()
    trainer = make_vllm_trainer(**options)
    trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == 2 and max(logged(trainer, MEAN)) < 0.01


def test_stale_weights_and_another_temperature_stop_as_well(make_vllm_trainer):
    trainer = make_vllm_trainer()
    trainer.engine._sync_weights = lambda: None
    with pytest.raises(TrainingStopped, match="Step 2: the sampler"):
        trainer.train()
    trainer = make_vllm_trainer()
    trainer.vllm_generation.temperature = 0.5
    with pytest.raises(TrainingStopped, match="Step 1: the sampler"):
        trainer.train()


def test_a_pictures_token_out_of_vllm_is_named(make_vllm_trainer):
    trainer = make_vllm_trainer()
    token = trainer.model.config.image_token_id
    trainer.vllm_generation.generation_kwargs["logit_bias"] = {token: 100.0}
    with pytest.raises(
        TrainingStopped, match=rf"wrote '<\|image_pad\|>' \(token {token}\).* at place 1 of its completion"
    ):
        trainer.train()


def test_on_the_command_line_the_run_ends_with_3(make_vllm_trainer, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(TrainingEngine, "generate", lambda self, *args, **kwargs: self._generate(*args, **kwargs))
    words = [
        "grpo", "--model_name_or_path", str(tmp_path / "model"), "--dataset_name", "figures", "--num_train_rows", "4",
        "--num_generations", "2", "--per_device_train_batch_size", "4", "--max_completion_length", "2",
        "--max_steps", "1", "--use_vllm", "true", "--vllm_mode", "colocate", "--report_to", "none", "--output_dir",
        str(tmp_path / "cli"),
    ]  # fmt: skip
    assert main(words) == 3
    error = capsys.readouterr().err
    assert "mmr1: error: Step 1: the sampler (vLLM) and the trainer do not agree" in error and "Traceback" not in error
    assert main([*words, "--on_mismatch", "warn"]) == 0
    assert "Trained to step 1 in" in capsys.readouterr().out
