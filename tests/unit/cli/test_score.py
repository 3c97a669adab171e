# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 score`: the table, its use as prompt_scores and as a filter, and going on after a kill."""

import importlib.util
import json
import os
import shutil
import signal
import time

import pytest
from datasets import Dataset, load_dataset
from fixtures import forked
from fixtures.forked import Forked

from mmr1_trl import VASConfig, VASTrainer
from mmr1_trl.cli import main
from mmr1_trl.cli.commands.score import run
from mmr1_trl.data.load import load_data
from mmr1_trl.data.pictures.images import open_image
from mmr1_trl.data.score_table import read_metadata
from mmr1_trl.trainers import scorer as offline
from mmr1_trl.trainers.scorer import ScoreConfig, Scorer


def even_first_token(completion_ids, **kwargs):
    """A reward that a random model gets now and then."""
    return [float(ids[0] % 2 == 0) for ids in completion_ids]


def words(folder, *more):
    return [
        "--model_name_or_path", "figures/tiny", "--num_train_rows", "10", "--vas_rollouts", "3",
        "--per_device_train_batch_size", "4", "--max_completion_length", "6", "--output_dir", str(folder),
        "--reward_funcs", "test_score.even_first_token", "--gradient_accumulation_steps", "1", "--disable_tqdm",
        "true", *more,
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))


def columns(folder):
    return Dataset.from_parquet(str(folder / "scores.parquet")).to_dict()


def test_table_filter_and_use(tmp_path, make_trainer):
    folder = tmp_path / "scores"
    bounds = ("--min_pass_rate", "0.2", "--max_pass_rate", "0.8")
    assert run(words(folder, "--save_completions", "true", *bounds)) == 0
    table = columns(folder)
    assert len(table["prompt_id"]) == 10 and table["count"] == [3] * 10
    assert 0 < sum(table["pass_rate"]) < 10
    for i, (p, rewards) in enumerate(zip(table["pass_rate"], table["rewards"])):
        assert p == pytest.approx(sum(rewards) / 3) and len(table["completions"][i]) == 3
        assert table["outcome_variance"][i] == pytest.approx(p * (1 - p))
        assert table["score"][i] == pytest.approx(0.8 * p * (1 - p) + 0.2 * table["diversity"][i])
    metadata = read_metadata(folder / "scores.parquet")
    assert metadata["model"] == "figures/tiny" and metadata["vas_rollouts"] == 3 and metadata["temperature"] == 1.0
    assert len(metadata["fingerprint"]) == 32 and metadata["rewards"] == ["even_first_token"]

    # What was kept can be trained on, with the table as its scores.
    kept = load_data(str(folder / "kept.parquet"))
    expected = [i for i, p in zip(table["prompt_id"], table["pass_rate"]) if 0.2 <= p <= 0.8]
    assert [str(i) for i in kept["prompt_id"]] == [str(i) for i in expected] and 0 < len(expected) < 10
    trainer = make_trainer(
        VASTrainer, VASConfig, rows=kept, beta=0.0, num_generations=2, per_device_train_batch_size=4,
        vas_refresh="off", prompt_scores=str(folder / "scores.parquet"),
    )  # fmt: skip
    by_id = dict(zip(map(str, table["prompt_id"]), table["score"]))
    assert trainer.sampler.scores[trainer.prompts.numbers].tolist() == pytest.approx([by_id[str(i)] for i in expected])


def test_kept_rows_hold_their_pictures(make_trainer, tmp_path, monkeypatch):
    from fixtures import datasets as published  # here, because the commands of other tests import this file

    path = published.write_jsonl(tmp_path / "set", num_rows=6)
    monkeypatch.chdir(tmp_path)
    rows = load_data("set/train.jsonl")
    pictures = {key: (path.parent / f"pictures/{i}.png").read_bytes() for i, key in enumerate(rows["prompt_id"])}
    scorer = make_trainer(
        Scorer, ScoreConfig, rows=rows, reward_funcs=even_first_token, min_pass_rate=0.5,
        output_dir=str(tmp_path / "scores"),
    )  # fmt: skip
    slots = scorer.prompts.numbers.tolist()
    scorer._write_kept(tmp_path / "kept.parquet", [{"prompt": s, "successes": int(s < 4), "trials": 1} for s in slots])
    wanted = {rows["prompt_id"][row] for row, slot in enumerate(slots) if slot < 4}
    shutil.rmtree(path.parent)
    kept = load_data(str(tmp_path / "kept.parquet"))
    assert set(kept["prompt_id"]) == wanted and len(kept) == 4
    for row in kept:
        stored = {"bytes": pictures[row["prompt_id"]], "path": None}
        assert open_image(row["images"][0], "kept").tobytes() == open_image(stored, "original").tobytes()
    assert [file.name for file in tmp_path.glob("kept*")] == ["kept.parquet"]


def test_scores_are_those_of_a_training_refresh(make_trainer, make_rows, tmp_path):
    options = {"rows": make_rows(6), "reward_funcs": even_first_token, "per_device_train_batch_size": 8, "seed": 3}
    scorer = make_trainer(Scorer, ScoreConfig, vas_rollouts=4, output_dir=str(tmp_path / "s"), **options)
    table = scorer.score(scorer.describe("rows", "tiny"))
    trainer = make_trainer(
        VASTrainer, VASConfig, vas_rollouts=4, vas_refresh="full", num_generations=2, beta=0.0, max_steps=1,
        output_dir=str(tmp_path / "t"), **options,
    )  # fmt: skip
    trainer.train()
    assert table["score"] == pytest.approx(trainer.sampler.scores.tolist(), abs=1e-12)
    assert table["prompt_id"] == list(range(6))


def test_interrupted_run_goes_on(tmp_path, monkeypatch):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run(words(whole)) == 0
    calls = []
    score_rows = Scorer.score_rows

    def stops(self, rows):
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score_rows(self, rows)

    monkeypatch.setattr(Scorer, "score_rows", stops)
    assert run(words(parts)) == 130
    assert not (parts / "scores.parquet").exists()
    assert run(words(parts)) == 0
    assert sum(calls) == 10 * 3 + 3  # the interrupted call alone was made twice
    assert columns(parts) == columns(whole)
    calls.clear()
    assert run(words(parts, "--max_pass_rate", "0.9")) == 0 and calls == []  # filtering later costs nothing


def test_broken_pictures_are_left_out(make_trainer, make_rows, tmp_path):
    rows = make_rows(6)
    records = [row | {"images": [{"bytes": b"broken", "path": None}] if i == 2 else row["images"]}
               for i, row in enumerate(rows.with_format("arrow")[:].to_pylist())]  # fmt: skip
    scorer = make_trainer(
        Scorer, ScoreConfig, rows=Dataset.from_list(records), reward_funcs=even_first_token, vas_rollouts=2,
        on_bad_row="skip", output_dir=str(tmp_path / "s"),
    )  # fmt: skip
    table = scorer.score(scorer.describe("rows", "tiny"))
    assert table["prompt_id"] == [0, 1, 3, 4, 5]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--min_pass_rate", "0.9", "--max_pass_rate", "0.1"), "min_pass_rate"),
        (("--vas_rollouts", "0"), "vas_rollouts"),
        (("--push_to_hub", "true"), "push_to_hub"),
        (("--model_name_or_path", "figures/tinny"), "figures/tiny"),
        (("--resume_from_checkpoint", "x"), "goes on by itself"),
        (("--reward_funcs", "acuracy_reward"), "accuracy_reward"),
    ],
)
def test_bad_input_ends_in_one_line(tmp_path, capsys, more, says):
    assert main(["score", *words(tmp_path), *more]) == 2
    message = capsys.readouterr().err
    assert message.startswith("mmr1: error:") and says in message


@pytest.mark.parametrize(
    ("command", "more", "says"),
    [
        ("grpo", ("--report_to", "wandb"), "report_to needs wandb: pip install wandb"),
        ("grpo", ("--use_vllm", "true"), "use_vllm needs vllm: pip install 'mmr1-trl[vllm]'"),
        ("sft", ("--report_to", "wandb"), "report_to needs wandb: pip install wandb"),
        ("score", ("--use_vllm", "true"), "use_vllm needs vllm: pip install 'mmr1-trl[vllm]'"),
    ],
)
def test_a_missing_package_is_one_line(tmp_path, monkeypatch, capsys, command, more, says):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name in ("wandb", "vllm") else find(name, *rest)
    )
    assert main([command, "--model_name_or_path", "figures/tiny", "--output_dir", str(tmp_path), *more]) == 2
    assert capsys.readouterr().err == f"mmr1: error: {says}\n"


def test_the_folder_that_is_written_is_checked(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores").touch()
    assert main(["score", "--model_name_or_path", "figures/tiny"]) == 2
    assert "scores is a file. Choose another folder" in capsys.readouterr().err


def test_long_prompts_are_left_out(tmp_path, capsys):
    assert main(["score", *words(tmp_path, "--max_prompt_tokens", "1")]) == 2
    assert "Every prompt is longer than 1 tokens" in capsys.readouterr().err


def test_other_scores_are_not_mixed_in(tmp_path, capsys):
    assert run(words(tmp_path)) == 0
    assert main(["score", *words(tmp_path, "--temperature", "0.7")]) == 2
    assert "temperature was 1.0, now 0.7" in capsys.readouterr().err


def test_a_training_config_serves_as_it_is(tmp_path):
    config = ScoreConfig(
        output_dir=str(tmp_path), use_cpu=True, num_generations=8, per_device_train_batch_size=4, beta=0.04,
        prompt_sampling="variance_aware", vas_refresh="full", eval_strategy="steps", eval_steps=5,
        load_best_model_at_end=True, save_steps=5, save_strategy="steps", prompt_scores="x.parquet",
    )  # fmt: skip
    assert config.num_generations == 1 and config.beta == 0.0 and config.prompt_scores is None


@pytest.mark.slow
def test_killed_process_goes_on(tmp_path):
    """kill -9 in the middle, then the same command: no prompt is lost, none sampled twice, the table is the same."""
    journal = tmp_path / "parts" / offline.SCORES_JOURNAL
    more = ("--num_train_rows", "48")
    command = ["-m", "mmr1_trl.cli", "score", *words(tmp_path / "parts"), *more]
    process = Forked(*command, cwd=os.path.dirname(__file__))
    deadline = time.monotonic() + 240
    while not (journal.is_file() and journal.read_bytes().count(b"\n") > 6) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.finish()
    before = journal.read_bytes()
    assert before.count(b"\n") < 49, "it had finished already"
    forked.run(*command, cwd=os.path.dirname(__file__))
    complete = before[: before.rindex(b"\n") + 1]
    assert journal.read_bytes().startswith(complete)
    prompts = [record["prompt"] for line in journal.read_text().splitlines()[1:] for record in json.loads(line)]
    assert sorted(prompts) == list(range(48))
    assert run(words(tmp_path / "whole", *more)) == 0
    assert columns(tmp_path / "parts") == columns(tmp_path / "whole")


@pytest.mark.slow
def test_two_processes_score_every_prompt(tmp_path):
    command = ["-m", "mmr1_trl.cli", "score", *words(tmp_path), "--num_processes", "2"]
    forked.run(*command, cwd=os.path.dirname(__file__))
    table = load_dataset("parquet", data_files=str(tmp_path / "scores.parquet"), split="train")
    assert len(table) == 10 and set(table["count"]) == {3}
    assert 0.5 < max(table["diversity"]) <= 1.0
