# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Bad input ends in one clear message before anything is trained."""

import io
from collections import Counter

import PIL.Image
import pytest
from datasets import Dataset, Image, List

from mmr1_trl import MSSRConfig, MSSRTrainer, RLVRConfig, run_folder
from mmr1_trl.data.decoding import RowDecoder
from mmr1_trl.errors import BadInputError
from mmr1_trl.trainers.checkpoints import whole


MSSR = {"beta": 0.0, "tracker_forgetting": "fixed"}


def encoded_rows(num_rows, bad=()):
    """Rows with PNG bytes; those in `bad` are cut off in the middle."""
    buffer = io.BytesIO()
    PIL.Image.effect_noise((56, 28), 60).convert("RGB").save(buffer, "PNG")
    whole = buffer.getvalue()
    rows = [
        {
            "prompt": [{"role": "user", "content": f"row {i}"}],
            "images": [{"bytes": whole[: len(whole) // 2] if i in bad else whole, "path": None}],
            "solution": str(i % 3),
        }
        for i in range(num_rows)
    ]
    features = {**Dataset.from_list(rows[:1]).features, "images": List(Image(decode=False))}
    return Dataset.from_list(rows, features=type(Dataset.from_list(rows[:1]).features)(features))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda rows: rows.rename_column("prompt", "prompts"), "no column 'prompt'.*'prompts'.*Did you mean"),
        (lambda rows: rows.select(range(3)), "3 rows, fewer than the 4 prompts"),
        (lambda rows: rows.select([]), "has no rows"),
        (lambda rows: rows.to_iterable_dataset(), "can be indexed"),
        (lambda rows: rows.map(lambda row: {"prompt": row["prompt"][0]["content"]}), "must be a list of messages"),
    ],
    ids=["no-prompt", "few-rows", "empty", "stream", "string-prompt"],
)  # fmt: skip
def test_datasets(make_trainer, make_rows, change, expected):
    with pytest.raises(BadInputError, match=expected):
        make_trainer(MSSRTrainer, MSSRConfig, rows=change(make_rows(16)), **MSSR)


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        (RLVRConfig, {"advantage_baseline": "value_traker"}, "Did you mean 'value_tracker'"),
        (RLVRConfig, {"num_generations": 1}, "value_tracker"),
        (RLVRConfig, {"per_device_train_batch_size": 0}, "must be at least 1"),
        (RLVRConfig, {"num_generations": 3}, "= 4 completions, .* Nearest: generation_batch_size=3 or 6"),
        (RLVRConfig, {"generation_batch_size": 6}, "no multiple .* = 4 x 1 = 4. Nearest: 4 or 8"),
        (MSSRConfig, {"beta": 0.0}, "needs a reference model"),
        (MSSRConfig, {"beta": 0.0, "tracker_kl_source": "policy"}, "there is only 1"),
        (MSSRConfig, {"tracker_forgetting": "per_prompt"}, "there is only 1"),
        (MSSRConfig, {"shaping_kappa": 0.4}, "above 1"),
        (MSSRConfig, {"tracker_rho_min": 0.99}, "rho_min"),
        (MSSRConfig, {"tracker_initial_rollouts": -1}, "tracker_initial_rollouts=-1 .* at least 0"),
        (MSSRConfig, {"prompt_scores": "x", "tracker_initial_rollouts": 2}, "give one"),
        (MSSRConfig, {"min_pixels": 10, "max_pixels": 5}, "larger than max_pixels"),
        (MSSRConfig, {"switch_fraction": 1.5}, "switch_fraction"),
        (RLVRConfig, {"num_generations": 2, "loss_type": "dapo2"}, "Did you mean 'dapo'"),
        (RLVRConfig, {"num_generations": 2, "scale_rewards": "false"}, "not one of group, batch, none"),
        (RLVRConfig, {"num_generations": 2, "importance_sampling_level": "sequnce"}, "Did you mean 'sequence'"),
        (RLVRConfig, {"num_generations": 2, "multi_objective_aggregation": "sum"}, "not one of sum_then_normalize"),
        (RLVRConfig, {"learning_rate": float("inf")}, "learning_rate=inf .* at least 0 and finite"),
        (RLVRConfig, {"learning_rate": float("nan")}, "learning_rate=nan"),
        (RLVRConfig, {"learning_rate": -1e-6}, "learning_rate=-1e-06"),
        (RLVRConfig, {"steps_per_generation": 0}, "steps_per_generation=0 .* at least 1"),
        (RLVRConfig, {"temperature": 0.0}, "temperature=0.0 .* above 0"),
        (RLVRConfig, {"top_p": 2.0}, "top_p=2.0 .* at most 1"),
        (RLVRConfig, {"top_k": -3}, "top_k=-3"),
        (RLVRConfig, {"max_completion_length": 0}, "max_completion_length=0"),
        (RLVRConfig, {"beta": -1.0}, "beta=-1.0"),
        (RLVRConfig, {"epsilon": -1.0}, "epsilon=-1.0"),
        (RLVRConfig, {"max_pixels": 0}, "max_pixels=0 .* at least 1"),
        (RLVRConfig, {"max_steps": 0}, "max_steps=0 .* leave nothing to train"),
        (RLVRConfig, {"num_train_epochs": 0}, "num_train_epochs=0 leave nothing to train"),
        (RLVRConfig, {"seed": -1}, "seed=-1 .* at least 0 and at most 4294967295"),
        (RLVRConfig, {"data_seed": 2**32}, "data_seed=4294967296"),
        (RLVRConfig, {"reward_weights": [float("nan")]}, r"reward_weights=\[nan\]: each must be finite"),
        (RLVRConfig, {"reward_weights": [0.0, 0.0]}, "one of them other than 0"),
        (RLVRConfig, {"adam_beta2": 1.0}, "adam_beta2=1.0 .* below 1"),
        (RLVRConfig, {"max_grad_norm": float("nan")}, "max_grad_norm=nan"),
        (RLVRConfig, {"per_device_eval_batch_size": 0}, "per_device_eval_batch_size=0"),
        (MSSRConfig, {"shaping_alpha": float("nan")}, "shaping_alpha=nan"),
        (MSSRConfig, {"shaping_kappa": float("nan")}, "shaping_kappa=nan"),
        (MSSRConfig, {"explore_coef": float("inf")}, "explore_coef=inf"),
        (MSSRConfig, {"tracker_kl_window": 0}, "tracker_kl_window=0"),
        (MSSRConfig, {"multi_objective_aggregation": "normalize_then_sum"}, "compares the weighted sum"),
    ],
)
def test_configs(config, options, expected):
    with pytest.raises(BadInputError, match=expected):
        config("x", use_cpu=True, **({"per_device_train_batch_size": 4} | options))


def test_grpo_config_is_refused_with_the_remedy(make_trainer):
    from trl import GRPOConfig

    with pytest.raises(BadInputError, match="RLVRConfig"):
        make_trainer(MSSRTrainer, GRPOConfig, num_generations=2, bf16=False)


def test_bad_picture_stops_or_is_skipped(make_trainer):
    rows = encoded_rows(8, bad=[3, 4])
    options = {"shuffle_dataset": False, "max_steps": 2, **MSSR}
    with pytest.raises(BadInputError, match="row 3.*on_bad_row='skip'"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=rows, **options).train()
    trainer = make_trainer(MSSRTrainer, MSSRConfig, rows=rows, on_bad_row="skip", **options)
    trainer.train()
    assert trainer.reader.bad_rows == {3, 4}
    logged = [entry["data/bad_rows"] for entry in trainer.state.log_history if "data/bad_rows" in entry]
    assert logged == [2.0, 2.0]
    assert trainer.value_tracker.visits.tolist() == [1, 1, 1, 0, 0, 3, 1, 1]


def test_bad_picture_of_an_evaluation_stops_or_is_skipped(make_trainer, make_rows):
    eval_rows = encoded_rows(4, bad=[2]).add_column("prompt_id", ["a", "b", "c", "d"])
    seen = []

    def reward(completions, prompt_id=None, **kwargs):
        seen.extend(prompt_id or [])
        return [0.0] * len(completions)

    options = {"num_generations": 2, "eval_rows": eval_rows, "reward_funcs": reward}
    with pytest.raises(BadInputError, match="eval_dataset, prompt_id 'c': .*on_bad_row='skip'"):
        make_trainer(**options).evaluate()
    seen.clear()
    make_trainer(on_bad_row="skip", **options).evaluate()
    counts = Counter(seen)
    assert counts.keys() == {"a", "b", "d"} and sorted(counts.values()) == [2, 2, 4]


def test_reader_gives_the_next_readable_row_and_refuses_a_set_without_any():
    reader = RowDecoder(encoded_rows(5, bad=[0, 4]), on_bad_row="skip")
    rows, records = reader.read([4, 2, 4, 0])
    assert rows == [1, 2, 1, 1]
    assert [record["solution"] for record in records] == ["1", "2", "1", "1"]
    with pytest.raises(BadInputError, match="No row"):
        RowDecoder(encoded_rows(3, bad=[0, 1, 2]), on_bad_row="skip").read([1])


def test_missing_scores_are_named(make_trainer, make_rows, tmp_path):
    with pytest.raises(BadInputError, match="joined by 'prompt_id'"):
        make_trainer(MSSRTrainer, MSSRConfig, prompt_scores="pass_rate", **MSSR)
    rows = make_rows(16).add_column("prompt_id", list(range(16)))
    with pytest.raises(BadInputError, match="no file"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=rows, prompt_scores=str(tmp_path / "no.parquet"), **MSSR)
    Dataset.from_dict({"prompt_id": [1], "rate": [0.5]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(BadInputError, match="no column 'pass_rate'"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=rows, prompt_scores=str(tmp_path / "a.parquet"), **MSSR)
    Dataset.from_dict({"prompt_id": [99], "pass_rate": [0.5]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(BadInputError, match="in common"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=rows, prompt_scores=str(tmp_path / "b.parquet"), **MSSR)
    Dataset.from_dict({"prompt_id": [1], "pass_rate": [50.0]}).to_parquet(tmp_path / "c.parquet")
    with pytest.raises(BadInputError, match="not in 0..1"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=rows, prompt_scores=str(tmp_path / "c.parquet"), **MSSR)


def test_checkpoints_of_another_run_are_refused(make_trainer, make_rows, tmp_path):
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, **MSSR}
    make_trainer(MSSRTrainer, MSSRConfig, **options).train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    with pytest.raises(BadInputError, match="rows was 16, now 12"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=make_rows(12), **options).train(str(checkpoint))
    with pytest.raises(BadInputError, match="another run: dataset was"):
        shuffled = make_rows(16).shuffle(seed=1)
        make_trainer(MSSRTrainer, MSSRConfig, rows=shuffled, **options).train(str(checkpoint))
    with pytest.raises(BadInputError, match="seed was 42, now 7"):
        make_trainer(MSSRTrainer, MSSRConfig, seed=7, **options).train(str(checkpoint))
    with pytest.raises(BadInputError, match="checkpoint-2 is at step 2 and max_steps is 2: nothing is left to train"):
        make_trainer(MSSRTrainer, MSSRConfig, **options).train(resume_from_checkpoint=True)
    with pytest.raises(BadInputError, match="No checkpoint folder"):
        make_trainer(MSSRTrainer, MSSRConfig, **options).train(str(tmp_path / "nowhere"))
    (tmp_path / "plain").mkdir()
    with pytest.raises(BadInputError, match="not written by mmr1_trl"):
        make_trainer(MSSRTrainer, MSSRConfig, **options).train(str(tmp_path / "plain"))


def test_checkpoints_of_weights_alone_are_refused(make_trainer):
    options = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1, "save_only_model": True, **MSSR}
    make_trainer(MSSRTrainer, MSSRConfig, **options | {"max_steps": 1}).train()
    with pytest.raises(BadInputError, match="checkpoint-1 holds the weights alone"):
        make_trainer(MSSRTrainer, MSSRConfig, **options).train(resume_from_checkpoint=True)


def test_half_written_checkpoints_are_named_and_passed_over(make_trainer, tmp_path, caplog):
    options = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, **MSSR}
    make_trainer(MSSRTrainer, MSSRConfig, **options).train()
    (tmp_path / "run" / "checkpoint-3" / run_folder.COMPLETE).unlink()
    newest, skipped = run_folder.newest_complete(tmp_path / "run")
    assert newest.name == "checkpoint-2" and [path.name for path in skipped] == ["checkpoint-3"]
    with pytest.raises(BadInputError, match="half-written"):
        make_trainer(MSSRTrainer, MSSRConfig, **options).train(str(tmp_path / "run" / "checkpoint-3"))
    resumed = make_trainer(MSSRTrainer, MSSRConfig, **options)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 3
    assert (tmp_path / "run" / "checkpoint-3" / run_folder.COMPLETE).is_file()


def test_killed_while_saving_leaves_the_previous_checkpoint(make_trainer, tmp_path, monkeypatch):
    """With `save_total_limit=1` the old checkpoint may go only when the new one is complete."""
    options = {"max_steps": 3, "save_strategy": "steps", "save_steps": 1, "save_total_limit": 1, **MSSR}
    trainer = make_trainer(MSSRTrainer, MSSRConfig, **options)
    mark = run_folder.seal

    def killed_at_two(folder, step, files):
        if step == 2:
            raise KeyboardInterrupt
        mark(folder, step, files)

    monkeypatch.setattr(whole, "seal", killed_at_two)
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert run_folder.newest_complete(tmp_path / "run")[0].name == "checkpoint-1"
    monkeypatch.undo()
    resumed = make_trainer(MSSRTrainer, MSSRConfig, **options)
    resumed.train(resume_from_checkpoint=True)
    assert [path.name for path in run_folder.list_checkpoints(tmp_path / "run")] == ["checkpoint-3"]


def test_label_noise_is_fixed_and_named_in_the_identity(make_trainer, tmp_path):
    from mmr1_trl.data.figures import load_figures

    rows = load_figures("train", num_rows=16, families=["add"])
    options = {"rows": rows, "max_steps": 1, "save_strategy": "steps", "save_steps": 1, **MSSR}
    trainer = make_trainer(MSSRTrainer, MSSRConfig, label_noise=0.5, **options)
    noisy = trainer.train_dataset
    assert sum(a != b for a, b in zip(noisy["solution"], rows["solution"])) == 8 == sum(noisy["is_noisy"])
    assert noisy["clean_solution"][:] == rows["solution"][:]
    trainer.train()
    again = make_trainer(MSSRTrainer, MSSRConfig, label_noise=0.5, **options)
    assert again.train_dataset["solution"][:] == noisy["solution"][:]
    with pytest.raises(BadInputError, match="another run: dataset was"):
        make_trainer(MSSRTrainer, MSSRConfig, label_noise=0.5, label_noise_seed=1, **options).train(
            str(tmp_path / "run" / "checkpoint-1")
        )
    with pytest.raises(BadInputError, match="at least 0 and at most 1"):
        make_trainer(MSSRTrainer, MSSRConfig, label_noise=50, **options)
    with pytest.raises(BadInputError, match="needs the columns"):
        make_trainer(MSSRTrainer, MSSRConfig, label_noise=0.5, **MSSR)


def test_a_picture_too_narrow_for_the_processor_is_a_bad_row(make_trainer, make_rows):
    rows = list(make_rows(8))
    rows[2]["images"] = [PIL.Image.new("RGB", (2000, 8))]
    narrow = Dataset.from_list(rows)
    options = {"shuffle_dataset": False, "max_steps": 1, **MSSR}
    with pytest.raises(BadInputError, match="row 2: a picture of 2000 x 8 pixels is too narrow"):
        make_trainer(MSSRTrainer, MSSRConfig, rows=narrow, **options).train()
    trainer = make_trainer(MSSRTrainer, MSSRConfig, rows=narrow, on_bad_row="skip", **options)
    trainer.train()
    assert trainer.reader.bad_rows == {2}
