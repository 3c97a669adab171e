# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The entropy term inside the trainer, against a dense float64 reference over the model's full logits."""

import copy
from functools import partial

import pytest
import torch
from peft import LoraConfig
from transformers import TrainerCallback
from trl import GRPOTrainer

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRConfig, RLVRTrainer, TwoStageEntropyConfig, TwoStageEntropyTrainer
from mmr1_trl.errors import BadInputError


ONE_BATCH = {"per_device_train_batch_size": 8, "num_generations": 2, "gradient_accumulation_steps": 1}
PLAIN = {"learning_rate": 0.1, "optim": "sgd", "max_grad_norm": 0.0, "weight_decay": 0.0, "max_steps": 1}
LOSS_TYPES = ["grpo", "bnpo", "dr_grpo", "dapo", "luspo", "cispo", "sapo", "vespo"]


def no_signal(completions, **kwargs):
    """All advantages are 0, so that the gradient is that of the entropy term alone."""
    return [0.0] * len(completions)


def partly_scored(completions, solution, **kwargs):
    """Completions without a reward are masked: lengths of 0 beside full ones."""
    return [None if gold == "0" else 0.0 for gold in solution]


@pytest.fixture
def make_trainer(make_trainer):
    """With the pixels in the batches, which the dense references need."""
    return partial(make_trainer, encode_once=False)


class Watch(TrainerCallback):
    """Records each micro-batch with the model that meets it, and the gradient of each update."""

    def __init__(self, monkeypatch):
        self.batches, self.gradients = [], []
        compute = GRPOTrainer._compute_loss

        def watched(trainer, model, inputs):
            unwrapped = trainer.accelerator.unwrap_model(model)
            self.batches.append((dict(inputs), copy.deepcopy(unwrapped), trainer.state.global_step))
            return compute(trainer, model, inputs)

        monkeypatch.setattr(GRPOTrainer, "_compute_loss", watched)

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})


def dense_term(batch, temperature=1.0):
    """Minus the mean response entropy by full float64 logits, and its gradient."""
    inputs, model, _ = batch
    model = model.double()
    model.zero_grad()
    for module in model.modules():  # TRL's fused head still points to the model it was copied from
        module.__dict__.pop("forward", None)
    length = inputs["completion_ids"].shape[1]
    logits = model(
        input_ids=torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1),
        attention_mask=torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1),
        pixel_values=inputs["pixel_values"].double(),
        image_grid_thw=inputs["image_grid_thw"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
    ).logits
    assert logits.dtype == torch.float64
    logps = torch.log_softmax(logits[:, -length - 1 : -1] / temperature, dim=-1)
    entropies = -(logps.exp() * logps).sum(-1)
    means = [
        entropies[row, inputs["completion_mask"][row].bool()].mean() if inputs["completion_mask"][row].any() else 0.0
        for row in range(len(entropies))
    ]
    term = -sum(means) / len(means)
    term.backward()
    return -term.item(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}, means


def distance(gradient, expected):
    """Norm of the difference relative to the norm of what is expected, over all parameters."""
    assert gradient.keys() >= {name for name, g in expected.items() if g.abs().max() > 0}
    difference = sum(((gradient[n].double() - g) ** 2).sum() for n, g in expected.items() if n in gradient)
    return (difference / sum((g**2).sum() for g in expected.values())).sqrt().item()


def run(
    make_trainer, monkeypatch, trainer_class=TwoStageEntropyTrainer, config_class=TwoStageEntropyConfig, bias=4.5,
    **options,
):  # fmt: skip
    watch = Watch(monkeypatch)
    options = {"reward_funcs": no_signal, "explore_coef": 1.0, "exploit_coef": 1.0} | ONE_BATCH | PLAIN | options
    trainer = make_trainer(trainer_class, config_class, **options)
    # Random weights hardly ever end a completion; with this one in four tokens does, so that lengths differ.
    trainer.generation_config.sequence_bias = [[[trainer.processing_class.tokenizer.eos_token_id], bias]]
    # TRL's head and some layers compute in float32 whatever the weights are; the rest need not blur the comparison.
    trainer.model.double()
    trainer.add_callback(watch)
    trainer.train()
    monkeypatch.undo()
    return watch, [entry for entry in trainer.state.log_history if "entropy/coef" in entry], trainer


# Relative to the gradient's norm, over the whole model; a wrong weight of one token in 48 would be at 1e-2.
GRADIENT = 1e-6
VALUE = 1e-6
CASES = {
    "plain": {},
    "some-empty": {"reward_funcs": partly_scored},
    "truncated-masked": {"mask_truncated_completions": True, "max_completion_length": 3},
    "temperature": {"temperature": 1.5},
    "gradient-checkpointing": {"gradient_checkpointing": True},
    "lora": {"peft_config": LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")},
}


@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_equal_dense_float64(make_trainer, monkeypatch, case):
    watch, logged, trainer = run(make_trainer, monkeypatch, **CASES[case])
    lengths = watch.batches[0][0]["completion_mask"].sum(-1)
    assert len(lengths.unique()) > 2, "all completions are alike: this seed proves nothing"
    assert (lengths == 0).any() == (case in ("some-empty", "truncated-masked"))
    value, gradient, means = dense_term(watch.batches[0], trainer.args.temperature)
    assert distance(watch.gradients[0], gradient) < GRADIENT
    assert logged[0]["entropy/response_mean"] == pytest.approx(value, rel=VALUE)
    assert logged[0]["loss"] == pytest.approx(-value, rel=VALUE)
    tokens = sum(mean * length for mean, length in zip(means, lengths))
    assert logged[0]["entropy/token_mean"] == pytest.approx((tokens / lengths.sum()).item(), rel=VALUE)
    assert logged[0]["entropy/token_mean"] == pytest.approx(logged[0]["entropy"], rel=VALUE)  # TRL's own
    assert logged[0]["entropy/loss_share"] == pytest.approx(1.0)


@pytest.mark.parametrize("loss_type", LOSS_TYPES)
def test_every_loss_type_gets_the_same_term(make_trainer, monkeypatch, loss_type):
    level = {"importance_sampling_level": "sequence"} if loss_type == "luspo" else {}
    level |= {"epsilon_high": 5.0} if loss_type == "cispo" else {}
    watch, logged, _ = run(make_trainer, monkeypatch, loss_type=loss_type, **level)
    value, gradient, _ = dense_term(watch.batches[0])
    assert distance(watch.gradients[0], gradient) < GRADIENT
    assert logged[0]["loss"] == pytest.approx(-value, rel=VALUE)


def test_the_term_adds_to_the_policy_loss(make_trainer, monkeypatch, reward):
    """Three runs over the same first batch: both losses, GRPO's, and the term alone."""
    options = {"reward_funcs": reward, "loss_type": "grpo", "beta": 0.1, "explore_coef": 0.3}
    both, logged, _ = run(make_trainer, monkeypatch, **options)
    policy, _, _ = run(make_trainer, monkeypatch, RLVRTrainer, RLVRConfig, **options)
    _, gradient, _ = dense_term(both.batches[0])
    assert any(g.abs().max() > 0 for g in policy.gradients[0].values())
    expected = {n: policy.gradients[0][n].double() + 0.3 * g for n, g in gradient.items()}
    assert distance(both.gradients[0], expected) < GRADIENT
    assert 0 < logged[0]["entropy/loss_share"] <= 1


def test_one_micro_batch_of_eight_equals_two_of_four(make_trainer, monkeypatch, reward):
    options = {"reward_funcs": reward, "loss_type": "grpo"}
    one, logged_one, _ = run(make_trainer, monkeypatch, **options)
    halves = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    two, logged_two, _ = run(make_trainer, monkeypatch, **options, **halves)
    assert len(one.batches) == 1 and len(two.batches) == 2
    assert distance(two.gradients[0], {n: g.double() for n, g in one.gradients[0].items()}) < GRADIENT
    for name in ("loss", "entropy/response_mean", "entropy/coef"):
        assert logged_one[0][name] == pytest.approx(logged_two[0][name], rel=1e-5), name


def test_a_second_iteration_uses_the_entropy_of_the_policy_as_it_is(make_trainer, monkeypatch):
    watch, logged, _ = run(make_trainer, monkeypatch, num_iterations=2, max_steps=2, switch_fraction=0.5)
    ids = [batch[0]["completion_ids"].sum() for batch in watch.batches]
    assert ids[0] == ids[1], "the second update did not reuse the rollouts"
    for batch, gradients, entry, sign in zip(watch.batches, watch.gradients, logged, (1, -1)):
        value, gradient, _ = dense_term(batch)
        assert distance(gradients, {n: sign * g for n, g in gradient.items()}) < GRADIENT
        assert entry["entropy/response_mean"] == pytest.approx(value, rel=VALUE)
    assert logged[0]["entropy/response_mean"] < logged[1]["entropy/response_mean"]  # the first update raised it


def test_a_batch_without_a_token_leaves_the_weights_alone(make_trainer, monkeypatch):
    watch, logged, _ = run(make_trainer, monkeypatch, reward_funcs=lambda completions, **_: [None] * len(completions))
    assert all(not g.any() for g in watch.gradients[0].values())
    assert (logged[0]["entropy/response_mean"], logged[0]["entropy/token_mean"]) == (0.0, None)


@pytest.mark.parametrize(
    ("kind", "options", "coefs", "stages"),
    [
        ("two_stage", {"switch_fraction": 0.8}, [0.2, 0.2, 0.2, 0.2, -0.1], [1, 1, 1, 1, 2]),
        ("two_stage", {"switch_fraction": 0.4}, [0.2, 0.2, -0.1, -0.1, -0.1], [1, 1, 2, 2, 2]),
        ("minimize_then_maximize", {"switch_fraction": 0.4}, [-0.1, -0.1, 0.2, 0.2, 0.2], [1, 1, 2, 2, 2]),
        ("minimize", {}, [-0.1] * 5, [1, 1, 1, 1, 2]),
        ("maximize", {}, [0.2] * 5, [1, 1, 1, 1, 2]),
    ],
)
def test_schedule_over_steps(make_trainer, monkeypatch, kind, options, coefs, stages):
    _, logged, _ = run(
        make_trainer, monkeypatch, entropy_schedule=kind, explore_coef=0.2, exploit_coef=0.1, max_steps=5, **options
    )
    assert [entry["entropy/coef"] for entry in logged] == pytest.approx(coefs)
    assert [entry["entropy/stage"] for entry in logged] == stages


@pytest.mark.parametrize(("kind", "sign"), [("maximize_noisy", 1), ("minimize_noisy", -1)])
@pytest.mark.parametrize("micro_batches", [1, 2])
def test_oracles_treat_wrong_labels_otherwise(make_trainer, make_rows, monkeypatch, kind, sign, micro_batches):
    rows = make_rows(16).add_column("is_noisy", [i % 2 == 0 for i in range(16)])
    watch, logged, _ = run(
        make_trainer, monkeypatch, rows=rows, entropy_schedule=kind, explore_coef=1.0, exploit_coef=1.0,
        per_device_train_batch_size=8 // micro_batches, gradient_accumulation_steps=micro_batches,
        reward_funcs=(remember := Remember()), bias=0.0,  # completions of six tokens, no two alike
    )  # fmt: skip
    expected = {}
    for batch in watch.batches:
        for row, ids in enumerate(batch[0]["completion_ids"]):
            alone = (dict(batch[0]), copy.deepcopy(batch[1]), 0)
            mask = torch.zeros_like(batch[0]["completion_mask"])
            mask[row] = batch[0]["completion_mask"][row]
            alone[0]["completion_mask"] = mask
            noisy = remember.noisy[tuple(ids[mask[row].bool()].tolist())]
            assert batch[0]["is_noisy"][row] == noisy
            direction = sign if noisy else -sign
            for name, g in dense_term(alone)[1].items():
                expected[name] = expected.get(name, 0) + direction * g / micro_batches
    assert distance(watch.gradients[0], expected) < GRADIENT
    noisy = torch.cat([batch[0]["is_noisy"] for batch in watch.batches]).float().mean().item()
    assert logged[0]["entropy/coef"] == pytest.approx(sign * (2 * noisy - 1))


class Remember:
    """A reward that notes which completions were sampled for rows with a wrong label."""

    __name__ = "remember"

    def __init__(self):
        self.noisy = {}

    def __call__(self, completions, completion_ids, is_noisy, **kwargs):
        self.noisy.update((tuple(ids), flag) for ids, flag in zip(completion_ids, is_noisy))
        return [0.0] * len(completions)


def test_wrong_labels_may_be_marked_by_ones(make_trainer, make_rows, monkeypatch):
    rows = make_rows(16).add_column("is_noisy", [1] * 16)
    watch, logged, _ = run(make_trainer, monkeypatch, rows=rows, entropy_schedule="maximize_noisy", exploit_coef=3.0)
    assert watch.batches[0][0]["is_noisy"].all()
    assert logged[0]["entropy/coef"] == 1.0


def test_label_noise_serves_the_oracles(make_trainer, make_rows, monkeypatch):
    rows = make_rows(16).add_column("prompt_id", list(range(16))).add_column("answer_type", ["number"] * 16)
    watch, _, _ = run(
        make_trainer, monkeypatch, rows=rows, label_noise=0.5, entropy_schedule="maximize_noisy",
        per_device_train_batch_size=32,
    )  # fmt: skip
    assert watch.batches[0][0]["is_noisy"].sum() == 16


def test_oracles_without_known_labels_are_refused(make_trainer):
    with pytest.raises(BadInputError, match="is_noisy"):
        make_trainer(TwoStageEntropyTrainer, TwoStageEntropyConfig, entropy_schedule="maximize_noisy", **ONE_BATCH)


def test_evaluation_is_left_alone(make_trainer, make_rows, monkeypatch):
    _, _, trainer = run(make_trainer, monkeypatch, eval_rows=make_rows(4, seed=9))
    metrics = trainer.evaluate()
    assert "eval_entropy" in metrics and not any(name.startswith("eval_entropy/") for name in metrics)


def test_term_beside_shaped_advantages(make_trainer, monkeypatch):
    """MSSR's bonus reads the same entropies, detached; only the term's gradient goes through them."""
    options = {"beta": 0.0, "tracker_forgetting": "fixed", "num_generations": 1, "entropy_schedule": "maximize"}
    watch, _, _ = run(make_trainer, monkeypatch, MSSRTrainer, MSSRConfig, **options)
    _, gradient, _ = dense_term(watch.batches[0])
    assert distance(watch.gradients[0], gradient) < GRADIENT


def test_an_oracle_resumes_in_the_middle_of_a_window(make_trainer, make_rows, tmp_path):
    options = {
        "rows": make_rows(16).add_column("is_noisy", [i % 3 == 0 for i in range(16)]), "max_steps": 4,
        "entropy_schedule": "maximize_noisy", "num_generations": 2, "steps_per_generation": 2,
        "gradient_accumulation_steps": 1, "save_strategy": "steps", "save_steps": 3,
    }  # fmt: skip
    whole = make_trainer(
        TwoStageEntropyTrainer, TwoStageEntropyConfig, output_dir=str(tmp_path / "whole"), explore_coef=1.0, **options
    )
    whole.train()
    resumed = make_trainer(
        TwoStageEntropyTrainer, TwoStageEntropyConfig, output_dir=str(tmp_path / "more"), explore_coef=1.0, **options
    )
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.add_(0.1)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    for (name, mine), other in zip(resumed.model.named_parameters(), whole.model.parameters()):
        assert torch.equal(mine, other), name
