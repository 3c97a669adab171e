# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The recipes of `docs/extending.md`, run as they stand; the loop of `examples/`; and that pages name what exists."""

import math
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import PIL.Image
import pytest
import torch
from datasets import Dataset

from mmr1_trl.engines.frames import choose_coordinates
from mmr1_trl.evaluation.benchmarks import BENCHMARKS, load_benchmark
from mmr1_trl.models.families import FAMILIES
from mmr1_trl.rewards.resolve import resolve_rewards
from mmr1_trl.trainers.baselines import BASELINES, LeaveOneOut
from mmr1_trl.trainers.rollouts import RolloutBatch
from mmr1_trl.trainers.samplers import SAMPLERS


ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def recipes():
    """The names that the blocks of the page define, and its tables as they were afterwards."""
    tables = (SAMPLERS, BASELINES, BENCHMARKS, FAMILIES)
    before = [dict(table) for table in tables]
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "extending.md").read_text(), re.S | re.M):
        exec(compile(block, "docs/extending.md", "exec"), names)
    yield names
    for table, entries in zip(tables, before):
        table.clear()
        table.update(entries)


def batch(prompts, groups):
    """Made-up rollouts: a row of rewards for each prompt."""
    rewards = torch.tensor(groups)
    rows = torch.tensor(prompts).repeat_interleave(rewards.shape[1])
    return RolloutBatch(rows=rows, prompts=rows, rewards=rewards.flatten(), group_size=rewards.shape[1])


def test_the_sampler_and_the_baseline_train(recipes, make_trainer, make_rows, tmp_path):
    options = {"prompt_sampling": "my_mopps", "advantage_baseline": "my_leave_one_out", "output_dir": str(tmp_path)}
    options |= {"num_generations": 4, "max_steps": 2}
    trainer = make_trainer(rows=make_rows(16), save_strategy="steps", save_steps=1, **options)
    trainer.train()
    assert type(trainer.sampler).__name__ == "MoPPS" and type(trainer.baseline).__name__ == "LeaveOneOut"
    assert trainer.sampler.counts.sum() == 2 * 16 + 2 * 4
    assert [entry["grad_norm"] > 0 for entry in trainer.state.log_history if "grad_norm" in entry]
    resumed = make_trainer(rows=make_rows(16), **options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-1"))
    assert torch.equal(resumed.sampler.counts, trainer.sampler.counts)


def test_the_sampler_prefers_prompts_that_are_half_solved(recipes, make_trainer, make_rows):
    sampler = make_trainer(rows=make_rows(16), prompt_sampling="my_mopps", num_generations=4).sampler
    for _ in range(20):
        sampler.observe(batch(range(16), [[1.0, 0.0]] * 2 + [[1.0, 1.0]] * 7 + [[0.0, 0.0]] * 7))
    draws = [sampler.draw(2, torch.Generator().manual_seed(seed)) for seed in range(20)]
    assert all(number == 0 and len(rows.unique()) == 2 for rows, number in draws)
    assert sum(int((rows < 2).sum()) for rows, _ in draws) > 30
    sampler.memory = 0.5
    sampler.counts[3] = torch.tensor([9.0, 1.0])
    sampler.observe(batch([3], [[1.0, math.nan]]))
    assert sampler.counts[3].tolist() == [4.5 + 0.5 + 1.0, 0.5 + 0.5 + 0.0]


def test_the_baseline_by_hand(recipes):
    rewards = [[1.0, 0.0, 0.0], [1.0, math.nan, 0.0], [1.0, 1.0, 1.0]]
    advantages = recipes["LeaveOneOut"]().advantages(batch([0, 1, 2], rewards))
    assert torch.equal(advantages, LeaveOneOut().advantages(batch([0, 1, 2], rewards)))  # the one that ships
    assert advantages.tolist() == [1.0, -0.5, -0.5, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0]


def test_the_reward_goes_by_its_name(recipes, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "my_rewards", SimpleNamespace(short_reward=recipes["short_reward"]))
    accuracy, short = resolve_rewards(["accuracy_reward", "my_rewards.short_reward"])
    assert accuracy.__name__ == "accuracy_reward"
    texts = ["The answer is 15.", "no", [{"role": "assistant", "content": "15"}], "15" + " and on and on" * 9]
    assert short(completions=texts, solution=["15"] * 4) == [1.0, 0.0, 1.0, 0.0]


def test_the_benchmark_is_read_from_a_folder(recipes, tmp_path):
    picture = PIL.Image.new("RGB", (32, 32))
    row = {"query": "Which?", "label": "B", "choices": ["one", "two"], "topic": "bars", "chart": picture}
    Dataset.from_list([row]).to_parquet(str(tmp_path / "my_charts.parquet"))
    (loaded,) = load_benchmark(BENCHMARKS["my_charts"], folder=tmp_path)
    assert (loaded["solution"], loaded["answer_type"], loaded["topic"]) == ("B", "multiple_choice", "bars")
    assert "two" in loaded["prompt"][-1]["content"] and len(loaded["images"]) == 1


def test_the_family_says_its_frame(recipes):
    assert choose_coordinates("auto", "my_vl") == "thousandths"
    assert choose_coordinates("auto", "another_vl") is None


def test_the_loop_is_short_and_runs():
    loop = ROOT / "examples" / "loop.py"
    assert len(loop.read_text().splitlines()) <= 150
    history = runpy.run_path(str(loop))["train"]("figures/tiny", steps=2, batch=4, updates=1, learning_rate=1e-4)
    assert len(history) == 2 and all(0.0 <= reward <= 1.0 for reward in history)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page):
    """`trainers/x.py` in a page is below the package, the tests or the repository; links lead to files."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+/[\w-]+\.(?:py|yaml|ipynb|sbatch))\b", text))
    named = {name for name in named if not name.startswith(("runs/", "output_dir/", "../", "/"))}
    assert not {
        name for name in named if not any((ROOT / place / name).exists() for place in (".", "mmr1_trl", "tests"))
    }
    links = set(re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text))
    assert not {link for link in links if not (page.parent / link).exists()}
