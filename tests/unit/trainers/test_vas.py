# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Variance-aware sampling: the draw, the scores of every mode against brute force, and the refreshes."""

import json
import math
from collections import defaultdict

import pytest
import torch
from datasets import Dataset

from mmr1_trl import MSSRConfig, RLVRConfig, RLVRTrainer, VASConfig, VASTrainer
from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.score_table import PromptTable, read_prompt_table, write_table
from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.methods.text_diversity import trajectory_diversity
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.methods.variance_promotion import walk_permutation
from mmr1_trl.run_folder import Journal
from mmr1_trl.trainers.budget import Budget
from mmr1_trl.trainers.rollouts import Resources, RolloutBatch, Rollouts
from mmr1_trl.trainers.samplers import SAMPLERS, Fixed, Online, Refreshed, Uncertainty
from mmr1_trl.trainers.samplers.base import RowWalk, Sampler
from mmr1_trl.trainers.samplers.scored import constant_groups, effective_sample_size


def config(cls=VASConfig, **options):
    settings = {"use_cpu": True, "num_generations": 4, "per_device_train_batch_size": 8, "beta": 0.0}
    return cls(**settings | options)


def table(pass_rates, counts=None, diversity=None, scores=None):
    nan = [math.nan] * len(pass_rates)
    columns = (pass_rates, counts or nan, diversity or nan, scores or nan)
    return PromptTable(*(torch.tensor(column, dtype=torch.float64) for column in columns))


def prompts(count):
    return Prompts(torch.arange(count))


def batch(numbers, rewards, group_size, num_weighted=1, ids=None):
    """A generation batch of some prompts, one number per completion."""
    numbers = torch.as_tensor(numbers)
    return RolloutBatch(numbers, numbers, torch.as_tensor(rewards), group_size, num_weighted, completion_ids=ids)


def drawn(sampler, number):
    """The scores that the generation batch of a number is drawn by."""
    sampler.batches_drawn = number
    sampler.next_batch()
    return sampler.scores


# ---- Options ----


@pytest.mark.parametrize(
    ("cls", "options", "says"),
    [
        (VASConfig, {"prompt_sampling": "varience_aware"}, "variance_aware"),
        (VASConfig, {"vas_refresh": "offline"}, "Did you mean"),
        (VASConfig, {"vas_diversity_metric": "bleu"}, "self_bleu"),
        (VASConfig, {"vas_weighted_fraction": 1.5}, "vas_weighted_fraction=1.5"),
        (VASConfig, {"vas_outcome_weight": -1.0}, "vas_outcome_weight"),
        (VASConfig, {"vas_outcome_weight": 0.0, "vas_diversity_weight": 0.0}, "both 0"),
        (VASConfig, {"vas_update_steps": 0}, "vas_update_steps"),
        (VASConfig, {"vas_rollouts": 1}, "vas_rollouts"),
        (VASConfig, {"vas_refresh": "off"}, "mmr1 score"),
        (VASConfig, {"vas_variant": "released_code"}, "vas_refresh='full'"),
        (VASConfig, {"prompt_sampling": "uncertainty"}, "value_tracker"),
        (VASConfig, {"num_generations": 8}, "none of them by score"),
        (RLVRConfig, {"vas_refresh": "full"}, "no effect"),
        (RLVRConfig, {"prompt_scores": "x.parquet"}, "no effect"),
    ],
)
def test_bad_options_are_refused(cls, options, says):
    with pytest.raises(BadInputError, match=says):
        config(cls, **options)


# ---- The draw ----


class Weighted(Sampler):
    """Draws by the weights that it was made with."""

    def __init__(self, weights, **options):
        size = options.pop("size", 8)
        settings = {"num_generations": 2, "per_device_train_batch_size": 2 * size, "gradient_accumulation_steps": 1}
        super().__init__(prompts(len(weights)), config(MSSRConfig, tracker_forgetting="fixed", **settings | options))
        self.given = weights

    def weights(self, batch_number):
        return self.given


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_draw_is_a_weighted_part_and_the_same_walk(fraction):
    weights = torch.zeros(20, dtype=torch.float64)
    weights[[3, 11]] = torch.tensor([1.0, 3.0], dtype=torch.float64)
    sampler = Weighted(weights, seed=5, vas_weighted_fraction=fraction)
    count = math.floor(fraction * 8)
    batches = [sampler.next_batch() for _ in range(12)]
    assert all(num_weighted == count for _, num_weighted in batches)
    batches = [rows for rows, _ in batches]
    assert all(len(rows) == 8 and set(rows[:count].tolist()) <= {3, 11} for rows in batches)
    if count < 8:
        stride = 8 - count
        per_epoch = 20 // stride
        walk = torch.Generator().manual_seed(5)
        for epoch in range(12 // per_epoch):
            order = torch.randperm(20, generator=walk)
            for i in range(per_epoch):
                part = batches[epoch * per_epoch + i][count:]
                assert torch.equal(part, order[i * stride : (i + 1) * stride])
    if count:
        rows = torch.cat([rows[:count] for rows in batches])
        assert (rows == 11).sum() > (rows == 3).sum()


def test_draw_depends_only_on_seed_and_number_of_the_batch():
    weights = torch.rand(30, dtype=torch.float64)
    first, second = (Weighted(weights, seed=1, size=6) for _ in range(2))
    expected = [first.next_batch()[0] for _ in range(9)]
    second.load_state_dict({"batches_drawn": 7})
    assert torch.equal(second.next_batch()[0], expected[7])
    assert not torch.equal(expected[7][:3], expected[8][:3])


def test_a_prompt_of_two_rows_is_drawn_twice_as_often():
    sampler = Weighted(torch.ones(4, dtype=torch.float64), size=4, vas_weighted_fraction=1.0)
    sampler.prompts = Prompts(torch.tensor([0, 1, 1, 2]))
    sampler.given = torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)
    rows = torch.cat([sampler.next_batch()[0] for _ in range(300)])
    shares = torch.bincount(rows, minlength=4) / len(rows)
    assert shares.tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0.0], abs=0.05)


def test_released_code_walks_one_permutation():
    walk = RowWalk(10, seed=2, one_permutation=True)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    position = 0
    for number in range(7):
        expected, position = walk_permutation(order, position, 4)
        assert torch.equal(walk.rows(number, 4), expected)


# ---- Scores ----


def test_online_scores_against_brute_force(monkeypatch):
    args = config(tracker_rho_max=0.9, vas_diversity_weight=0.2)
    sampler = Online(prompts(3), args)
    monkeypatch.setattr(Online, "batches_per_epoch", 3)
    a, b = [0.0] * 3, [0.0] * 3
    mean_rate, variance, strength = 0.5, 1 / 6, 2.0  # Beta(1, 1)
    diversity, last = [math.nan] * 3, [-1] * 3
    texts = {0: [[1, 2, 3], [1, 2, 3]], 1: [[1, 2, 3], [4, 5, 6]], 2: [[1, 2, 3], [1, 2, 4]]}
    batches = [([0, 1], [1.0, 0.0, math.nan, 1.0]), ([1, 1], [1.0, 1.0, 0.0, 1.0]), ([2, 0], [0.0, 0.0, 1.0, 1.0])]
    for number, (seen, rewards) in enumerate(batches):
        weights = drawn(sampler, number)
        known = [d for d in diversity if not math.isnan(d)]
        mean = sum(known) / len(known) if known else 0.0
        for slot in range(3):
            kept = 0.5 ** ((number - last[slot]) / 3)
            x, y = kept * a[slot] + mean_rate * strength, kept * b[slot] + (1 - mean_rate) * strength
            d = mean if math.isnan(diversity[slot]) else mean + kept * (diversity[slot] - mean)
            expected = (0.8 * x * y / ((x + y) * (x + y + 1)) + 0.2 * d) ** 2
            assert weights[slot].item() == pytest.approx(expected, abs=1e-12)
        of_completions = [slot for slot in seen for _ in range(2)]
        ids = [sequence for slot in seen for sequence in texts[slot]]
        sampler.observe(batch(of_completions, rewards, 2, ids=ids))
        for slot, reward in zip(of_completions, rewards):
            if not math.isnan(reward):
                a[slot], b[slot] = 0.9 * a[slot] + reward, 0.9 * b[slot] + 1 - reward
            last[slot] = number
        # The uniformly drawn groups, of which there are all or those after the weighted ones.
        groups = [rewards[:2], rewards[2:]][1:]
        groups = [group for group in groups if not any(map(math.isnan, group))]
        if groups:
            mean_rate += 0.1 * (sum(map(sum, groups)) / (2 * len(groups)) - mean_rate)
            variance += 0.1 * (sum((x - y) ** 2 / 2 for x, y in groups) / len(groups) - variance)
        between = mean_rate * (1 - mean_rate) - variance
        strength = variance / between
        for slot in set(seen):
            new = trajectory_diversity(texts[slot])
            diversity[slot] = new if math.isnan(diversity[slot]) else (diversity[slot] + new) / 2
    assert sampler.metrics()["vas/coverage"] == 1.0 and sampler.metrics() == {}


def test_a_prompt_not_seen_for_long_comes_back(monkeypatch):
    sampler = Online(prompts(2), config(vas_diversity_weight=0.0))
    monkeypatch.setattr(Online, "batches_per_epoch", 4)
    drawn(sampler, 0)
    sampler.observe(batch([0] * 8, torch.zeros(8), 4))
    values = [drawn(sampler, number)[0].item() for number in (1, 5, 9, 400)]
    assert 0 < values[0] < values[1] < values[2] < values[3]
    # Nothing is known of it any more but what is known of all.
    a, b = sampler.population.prior
    assert values[3] == pytest.approx((0.8 * a * b / ((a + b) * (a + b + 1))) ** 2)


def test_scores_of_a_large_set_are_brought_up_to_date_in_turn(monkeypatch):
    import mmr1_trl.trainers.samplers.scored as module

    monkeypatch.setattr(Online, "batches_per_epoch", 4)
    exact, turns = (Online(prompts(50), config(vas_diversity_weight=0.0)) for _ in range(2))
    for number in range(30):
        seen = torch.tensor([number % 50, (number * 7) % 50]).repeat_interleave(4)
        for sampler in (exact, turns):
            monkeypatch.setattr(module, "BLOCK", 50 if sampler is exact else 8)
            drawn(sampler, number)
        if number:
            assert torch.equal(turns.scores[turns.touched], exact.scores[turns.touched])
        for sampler in (exact, turns):
            sampler.observe(batch(seen, torch.ones(8), 4))
    assert (turns.scores - exact.scores).abs().max() < 0.1


def test_given_pass_rates_start_the_online_counts():
    given = table([0.0, 0.25, math.nan], counts=[4.0, 1000.0, math.nan])
    sampler = Online(prompts(3), config(tracker_rho_max=0.9), table=given)
    assert sampler.own_tracker.alpha.tolist() == pytest.approx([0.0, 2.5, 0.0])  # a memory of 1 / (1 - 0.9) = 10
    assert sampler.own_tracker.beta.tolist() == pytest.approx([4.0, 7.5, 0.0])


def test_with_mssr_the_tracker_is_shared(monkeypatch):
    args = config(MSSRConfig, num_generations=1, prompt_sampling="variance_aware", tracker_forgetting="fixed")
    tracker = ValueTracker(3)
    tracker.initialize([0], [0.0])
    sampler = Online(prompts(3), args, tracker=tracker)
    monkeypatch.setattr(Online, "batches_per_epoch", 3)
    weights = sampler.weights(0)
    assert sampler.own_tracker is None and not any("tracker" in name for name in sampler.state_dict())
    kept = 0.5 ** (1 / 3)
    x, y = 4 - 4 * kept, 4 + 4 * kept
    assert weights.tolist() == pytest.approx(
        [(0.8 * x * y / (8 * 9)) ** 2, (0.8 * 16 / 72) ** 2, (0.8 * 16 / 72) ** 2]
    )


def test_uncertainty_is_spo():
    args = config(MSSRConfig, num_generations=1, prompt_sampling="uncertainty", tracker_forgetting="fixed")
    tracker = ValueTracker(3)
    tracker.initialize([0, 1], [0.0, 0.2])
    assert Uncertainty(prompts(3), args, tracker).weights(0).tolist() == pytest.approx([0.05, 0.4 + 0.05, 0.5 + 0.05])


def test_fixed_scores_and_unknown_prompts():
    args = config(vas_refresh="off", prompt_scores="x")
    scores = Fixed(prompts(3), args, 0, table([0.5, math.nan, 0.0], diversity=[0.5, 0.1, 1.0])).scores
    assert scores.tolist() == pytest.approx([0.2 + 0.1, 0.25, 0.2])  # the unknown one has the others' mean
    nan = [math.nan] * 3
    ready = Fixed(prompts(3), args, 0, table(nan, scores=[3.0, math.nan, 1.0]))
    assert ready.scores.tolist() == [3.0, 2.0, 1.0]


def refreshed(count, folder, score=None, step=lambda: 0, budget=None, **options):
    args = config(vas_refresh="full", output_dir=str(folder), disable_tqdm=True, **options)
    return Refreshed(prompts(count), args, score, step, lambda: {"weights": "w"}, budget or Budget(), pad_token_id=9)


def test_released_code_by_hand(tmp_path):
    sampler = refreshed(
        3, tmp_path, vas_variant="released_code", vas_outcome_weight=1.0,
        vas_diversity_weight=1.0, max_completion_length=4,
    )  # fmt: skip
    # Rollouts [1] and [1] padded to [1, 9, 9, 9]: alike, so the uninverted self-BLEU is 1.
    assert sampler.measure([[1], [1]]) == pytest.approx(1.0)
    assert sampler.measure([[1], [2]]) < 1.0
    sampler.pass_rates = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    sampler.set_diversity(torch.arange(3), torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64))
    sampler.scores = sampler.combine()  # 1.25, 0.5, 0.5 -> 1, 0, 0
    sampler.last_refresh = 0
    assert sampler.scores.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
    sampler.pass_rates = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)  # 1, 0.75, 0.5 -> 1, 0.5, 0
    assert sampler.combine().tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)


def test_refreshes_come_when_they_are_due_and_ask_a_function_for_rollouts(tmp_path):
    """No trainer: prompt `i` of 4 succeeds in `i` of 3 rollouts, and steps pass by three per generation batch."""
    asked, budget, now = [], Budget(), iter(range(0, 18, 3))

    def score(rows):
        asked.append(rows.tolist())
        rewards = torch.tensor([float(i % 3 < row) for i, row in enumerate(rows.tolist())])
        ids = [[int(row), i % 3] for i, row in enumerate(rows.tolist())]
        return Rollouts(rows.tolist(), rewards, ids, ["x"] * len(rows), [False] * len(rows))

    options = {"vas_rollouts": 3, "vas_update_steps": 5, "vas_diversity_weight": 0.0}
    sampler = refreshed(4, tmp_path, score, lambda: next(now), budget, **options)
    for _ in range(6):  # at the steps 0, 3, 6, 9, 12, 15: refreshes at 0, 6 and 12
        sampler.next_batch()
    assert (budget.refreshes, budget.scoring, sampler.last_refresh) == (3, 36, 12)
    assert [report["step"] for report in sampler.reports] == [0, 6, 12]
    assert sorted(row for rows in asked for row in rows) == sorted([0, 1, 2, 3] * 9)
    assert sampler.scores.tolist() == pytest.approx([0.8 * p * (1 - p) for p in (0, 1 / 3, 2 / 3, 1)])


MADE = {
    "uniform": {},
    "variance_aware, online": {"prompt_sampling": "variance_aware"},
    "variance_aware, full": {"prompt_sampling": "variance_aware", "vas_refresh": "full"},
    "variance_aware, off": {"prompt_sampling": "variance_aware", "vas_refresh": "off", "prompt_scores": "x"},
    "uncertainty": {"prompt_sampling": "uncertainty"},
    "posterior": {"prompt_sampling": "posterior"},
    "skip_list": {"prompt_sampling": "skip_list"},
    "dynamic": {"prompt_sampling": "dynamic"},
}


@pytest.mark.parametrize("name", MADE)
def test_every_sampler_is_the_same_on_all_ranks_and_resumes(name, tmp_path):
    """What any sampler owes: pure draws of rows, a state that says all, metrics once."""
    options = {"num_generations": 2, "tracker_forgetting": "fixed", "output_dir": str(tmp_path)} | MADE[name]
    args = config(MSSRConfig, disable_tqdm=True, vas_rollouts=2, vas_update_steps=1, **options)

    def sample(rows):
        ones = torch.ones(len(rows))
        return Rollouts(rows.tolist(), ones, [[1]] * len(rows), ["x"] * len(rows), [False] * len(rows))

    def make():
        return SAMPLERS[args.prompt_sampling](
            Resources(
                args, prompts(12), table=table([i / 11 for i in range(12)]), tracker=ValueTracker(12), sample=sample,
                identity=lambda: {"weights": "w"},
            )
        )  # fmt: skip

    first, second, resumed = make(), make(), make()
    for _ in range(5):
        (rows, num_weighted), (same, _) = first.next_batch(), second.next_batch()
        assert torch.equal(rows, same) and len(rows) == first.size and 0 <= num_weighted <= len(rows)
        assert set(rows.tolist()) <= set(range(12))
        seen = batch(rows.repeat_interleave(2), (torch.arange(2 * len(rows)) % 3 == 0).float(), 2, num_weighted)
        for sampler in (first, second):
            sampler.observe(seen)
            assert all(math.isfinite(value) for value in sampler.metrics().values()) and sampler.metrics() == {}
    resumed.load_state_dict(first.state_dict())
    assert torch.equal(resumed.next_batch()[0], first.next_batch()[0])


def test_small_functions():
    assert effective_sample_size(torch.tensor([1.0, 1.0, 2.0])) == pytest.approx(16 / 6)
    assert effective_sample_size(torch.zeros(4)) == 4.0
    nan = math.nan
    groups = torch.tensor([[0.0, 1.0], [1.0, 1.0], [nan, 1.0], [nan, nan]])
    assert constant_groups(groups).tolist() == [False, True, True, True]


# ---- Files ----


def test_journal_goes_on_after_a_torn_line_and_knows_other_work(tmp_path):
    journal = Journal(tmp_path / "a" / "j.jsonl", {"seed": 0})
    assert journal.resume() == []
    journal.append([1, 2.5])
    journal.append({"x": 0.1})
    with open(journal.path, "ab") as file:
        file.write(b'{"torn": ')
    assert Journal(journal.path, {"seed": 0}).resume() == [[1, 2.5], {"x": 0.1}]
    journal.append("after")
    assert Journal(journal.path, {"seed": 0}).resume()[-1] == "after"
    other = Journal(journal.path, {"seed": 1})
    assert other.differences() == ["seed was 0, now 1"]
    assert other.resume() == [] and other.differences() == []


def test_scores_of_other_data_are_refused(make_rows, tmp_path):
    rows = make_rows(6)
    rows = rows.add_column("prompt_id", [f"p{i}" for i in range(6)])
    path = tmp_path / "scores.parquet"
    columns = {
        "prompt_id": rows["prompt_id"][:],
        "pass_rate": [i / 5 for i in range(6)],
        "content": Prompts.of(rows).digests,
    }
    write_table(path, columns, {"dataset": "mine", "model": "m"})
    part = rows.select([4, 1])  # a part of the scored rows in another order is the same data
    read = read_prompt_table(str(path), Prompts.of(part))
    assert Prompts.of(part).per_row(read.pass_rates).tolist() == pytest.approx([0.8, 0.2])
    changed = rows.map(lambda row: {"solution": "7"} if row["prompt_id"] == "p1" else {})
    with pytest.raises(BadInputError, match=r"made for other data \(mine, scored by m\): row 1"):
        read_prompt_table(str(path), Prompts.of(changed))


def test_ready_made_scores_have_to_be_asked_for(make_rows, tmp_path):
    rows = make_rows(3).add_column("prompt_id", [0, 1, 2])
    Dataset.from_dict({"prompt_id": [2, 0], "score": [5.0, 1.0]}).to_csv(str(tmp_path / "s.csv"))
    with pytest.raises(BadInputError, match="no pass rates"):
        read_prompt_table(str(tmp_path / "s.csv"), Prompts.of(rows))
    read = read_prompt_table(str(tmp_path / "s.csv"), Prompts.of(rows), needs_pass_rates=False)
    assert read.scores.nan_to_num(-1.0).tolist() == [1.0, -1.0, 5.0]
    named = rows.add_column("score", [0.5, 0.1, -1.0])
    with pytest.raises(BadInputError, match="score of -1.0"):
        read_prompt_table("score", Prompts.of(named), needs_pass_rates=False)


# ---- In the trainer ----

FAST = {"num_generations": 2, "beta": 0.0, "weight_decay": 0.0, "per_device_train_batch_size": 8}


def losses(trainer):
    return [(entry["loss"], entry["grad_norm"], entry["reward"]) for entry in trainer.state.log_history[:-1]]


def varied_reward(completion_ids, solution, **kwargs):
    return [float(ids[0] % 2 == int(gold) % 2) for ids, gold in zip(completion_ids, solution)]


def test_scoring_leaves_no_trace_in_training(make_trainer, tmp_path):
    """Nothing drawn by score: `full` must then train exactly as plain GRPO, whatever its refreshes sample."""
    plain = make_trainer(RLVRTrainer, RLVRConfig, reward_funcs=varied_reward, max_steps=3, **FAST)
    plain.train()
    scored = make_trainer(
        VASTrainer, VASConfig, reward_funcs=varied_reward, max_steps=3, vas_refresh="full", vas_update_steps=2,
        vas_rollouts=3, vas_weighted_fraction=0.0, output_dir=str(tmp_path / "b"), **FAST,
    )  # fmt: skip
    scored.train()
    assert losses(scored) == losses(plain)
    assert scored.budget.refreshes == 2 and scored.budget.scoring == 2 * 16 * 3
    assert scored.state.log_history[0]["num_rollouts"] == 48 + plain.state.log_history[0]["num_rollouts"]
    assert scored.state.log_history[-2]["num_rollouts"] == 96 + scored.budget.training
    history = [json.loads(line) for line in (tmp_path / "b" / "prompt_scores.jsonl").read_text().splitlines()]
    assert [line["event"] for line in history] == ["refresh", "refresh"] and sum(history[0]["counts"]) == 16
    names = {"score_mean", "effective_sample_size", "coverage", "scoring_rollouts", "training_rollouts"}
    assert {f"vas/{name}" for name in names} <= scored.state.log_history[0].keys()


def test_killed_refresh_goes_on_without_repeating(make_trainer, tmp_path):
    calls = []

    def reward(completion_ids, **kwargs):
        calls.append(len(completion_ids))
        if len(calls) == 4 and not survived:  # the first call is the trial on two rows
            raise OSError("killed")
        return [float(ids[0] % 2) for ids in completion_ids]

    options = {"max_steps": 1, "vas_refresh": "full", "vas_rollouts": 4, "reward_funcs": reward} | FAST
    survived = False
    with pytest.raises(TrainingStopped, match="killed"):
        make_trainer(VASTrainer, VASConfig, output_dir=str(tmp_path / "a"), **options).train()
    survived = True
    resumed = make_trainer(VASTrainer, VASConfig, output_dir=str(tmp_path / "a"), **options)
    calls.clear()
    resumed.train()
    assert sum(calls) == (16 - 4) * 4 + 8  # two prompts per call, two calls were finished before; then a batch of 8
    whole = make_trainer(VASTrainer, VASConfig, output_dir=str(tmp_path / "b"), **options)
    whole.train()
    assert torch.equal(resumed.sampler.scores, whole.sampler.scores)
    for mine, other in zip(resumed.model.parameters(), whole.model.parameters()):
        assert torch.equal(mine, other)


def test_a_run_with_other_rewards_or_sampling_scores_anew(make_trainer, tmp_path):
    def never(completion_ids, **kwargs):
        return [0.0] * len(completion_ids)

    def always(completion_ids, **kwargs):
        return [1.0] * len(completion_ids)

    scored = []
    for reward, threshold in ((never, 0.5), (always, 0.5), (always, 2.0)):
        options = {"reward_funcs": reward, "tracker_success_threshold": threshold}
        options |= {"max_steps": 1, "vas_refresh": "full", "vas_rollouts": 4, "output_dir": str(tmp_path / "a")} | FAST
        trainer = make_trainer(VASTrainer, VASConfig, **options)
        trainer.train()
        scored.append(trainer.sampler.pass_rates.mean().item())
    assert scored == [0.0, 1.0, 0.0]


def test_refresh_measures_what_it_says(make_trainer, make_rows):
    rows = make_rows(6).add_column("prompt_id", list("aabcde"))  # two rows of the first prompt
    sampled = defaultdict(list)

    def reward(completion_ids, prompt_id, **kwargs):
        for key, ids in zip(prompt_id, completion_ids):
            sampled[key].append(ids)
        return [float(ids[0] % 2) for ids in completion_ids]

    trainer = make_trainer(
        VASTrainer, VASConfig, rows=rows, reward_funcs=reward, max_steps=1, vas_refresh="full", vas_rollouts=3, **FAST
    )
    sampled.clear()  # of the trial on two rows
    trainer.train()
    for slot, key in enumerate("abcde"):
        rollouts = sampled[key][:3]
        p = sum(ids[0] % 2 for ids in rollouts) / 3
        expected = 0.8 * p * (1 - p) + 0.2 * trajectory_diversity(rollouts)
        assert trainer.sampler.scores[slot].item() == pytest.approx(expected, abs=1e-12)


def watch_draws(trainer):
    draw, rows = trainer.sampler.next_batch, []
    trainer.sampler.next_batch = lambda: (rows.append(draw()), rows[-1])[1]
    return rows


def test_rows_are_drawn_by_their_scores(make_trainer, make_rows):
    rows = make_rows(16).add_column("score", [float(i in (2, 5)) for i in range(16)])
    trainer = make_trainer(
        VASTrainer, VASConfig, rows=rows, reward_funcs=varied_reward, max_steps=3, vas_refresh="off",
        prompt_scores="score", **FAST,
    )  # fmt: skip
    draws = watch_draws(trainer)
    trainer.train()
    assert len(draws) == 3 and all(set(rows[:2].tolist()) <= {2, 5} for rows, _ in draws)
    assert trainer.budget.training == 24 and trainer.budget.scoring == 0
    assert trainer.state.log_history[0]["vas/effective_sample_size"] == pytest.approx(2.0)


def test_given_pass_rates_stand_in_for_the_first_refresh(make_trainer, make_rows):
    rows = make_rows(16).add_column("rate", [i / 15 for i in range(16)])
    trainer = make_trainer(
        VASTrainer, VASConfig, rows=rows, reward_funcs=varied_reward, max_steps=3, vas_refresh="full",
        vas_rollouts=2, vas_update_steps=2, vas_diversity_weight=0.0, prompt_scores="rate", **FAST,
    )  # fmt: skip
    expected = [0.8 * i / 15 * (1 - i / 15) for i in range(16)]
    assert trainer.sampler.scores.tolist() == pytest.approx(expected)
    trainer.train()
    assert trainer.budget.refreshes == 1 and trainer.sampler.last_refresh == 2
    assert trainer.budget.scoring == 32


@pytest.mark.parametrize("mode", ["online", "full"])
def test_groups_of_one_and_more_work_with_mssr(make_trainer, mode):
    from mmr1_trl import MSSRTrainer

    for group in (1, 2):
        trainer = make_trainer(
            MSSRTrainer, MSSRConfig, reward_funcs=varied_reward, max_steps=2, prompt_sampling="variance_aware",
            vas_refresh=mode, vas_rollouts=2, tracker_forgetting="fixed", **FAST | {"num_generations": group},
        )  # fmt: skip
        trainer.train()
        assert trainer.budget.training == 16 and (trainer.budget.scoring > 0) == (mode != "online")
        assert ("vas/frac_zero_variance_groups" in trainer.state.log_history[0]) == (group > 1)
        assert (trainer.value_tracker.visits > 0).any()
