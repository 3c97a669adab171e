# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Variance-aware sampling: the draw, the scores of every mode against brute force, and the refreshes."""

import json
import math
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset

from mmr1_trl import MSSRConfig, RLVRConfig, RLVRTrainer, VASConfig, VASTrainer
from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.methods.text_diversity import trajectory_diversity
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.methods.variance_promotion import walk_permutation
from mmr1_trl.run_folder import Journal
from mmr1_trl.trainers.prompt_scores import PromptScores, constant_groups, effective_sample_size
from mmr1_trl.trainers.prompt_source import PromptSource
from mmr1_trl.trainers.rows import row_digests
from mmr1_trl.trainers.score_table import PromptTable, read_prompt_table, write_table


def config(cls=VASConfig, **options):
    settings = {"use_cpu": True, "num_generations": 4, "per_device_train_batch_size": 8, "beta": 0.0}
    return cls(**settings | options)


def table(pass_rates, counts=None, diversity=None, scores=None):
    nan = [math.nan] * len(pass_rates)
    columns = (pass_rates, counts or nan, diversity or nan, scores or nan)
    return PromptTable(*(torch.tensor(column, dtype=torch.float64) for column in columns))


def fake_trainer(num_generations, num_weighted=1):
    return SimpleNamespace(
        num_generations=num_generations,
        prompt_source=SimpleNamespace(batches_drawn=0, num_weighted=num_weighted),
        accelerator=SimpleNamespace(num_processes=1, process_index=0),
        sum_over_ranks=lambda tensor: tensor,
    )


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


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.5, 1.0])
def test_draw_is_a_weighted_part_and_the_same_walk(fraction):
    weights = torch.zeros(20, dtype=torch.float64)
    weights[[3, 11]] = torch.tensor([1.0, 3.0], dtype=torch.float64)
    source = PromptSource(20, 8, seed=5, weighted_fraction=fraction)
    count = math.floor(fraction * 8)
    batches = [source.next_batch(weights) for _ in range(12)]
    assert all(len(batch) == 8 and set(batch[:count].tolist()) <= {3, 11} for batch in batches)
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
        drawn = torch.cat([batch[:count] for batch in batches])
        assert (drawn == 11).sum() > (drawn == 3).sum()


def test_draw_depends_only_on_seed_and_number_of_the_batch():
    weights = torch.rand(30, dtype=torch.float64)
    first, second = (PromptSource(30, 6, seed=1, weighted_fraction=0.5) for _ in range(2))
    expected = [first.next_batch(weights) for _ in range(9)]
    second.batches_drawn = 7
    assert torch.equal(second.next_batch(weights), expected[7])
    assert not torch.equal(expected[7][:3], expected[8][:3])


def test_released_code_walks_one_permutation():
    source = PromptSource(10, 8, seed=2, weighted_fraction=0.5, one_permutation=True)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    position = 0
    for _ in range(7):
        expected, position = walk_permutation(order, position, 4)
        assert torch.equal(source.next_batch(torch.ones(10))[4:], expected)


# ---- Scores ----


def test_online_scores_against_brute_force():
    args = config(tracker_rho_max=0.9, vas_diversity_weight=0.2)
    slots = torch.tensor([0, 1, 1, 2])  # two rows of the same prompt
    scores = PromptScores(slots, args, batches_per_epoch=3, pad_token_id=0)
    trainer = fake_trainer(num_generations=2)
    a, b = [0.0] * 3, [0.0] * 3
    mean_rate, variance, strength = 0.5, 1 / 6, 2.0  # Beta(1, 1)
    diversity, last = [math.nan] * 3, [-1] * 3
    texts = {0: [[1, 2, 3], [1, 2, 3]], 1: [[1, 2, 3], [4, 5, 6]], 2: [[1, 2, 3], [1, 2, 4]]}
    batches = [([0, 1], [1.0, 0.0, math.nan, 1.0]), ([1, 1], [1.0, 1.0, 0.0, 1.0]), ([2, 0], [0.0, 0.0, 1.0, 1.0])]
    for number, (prompts, rewards) in enumerate(batches):
        trainer.prompt_source.batches_drawn = number
        weights = scores.for_batch(trainer)
        known = [d for d in diversity if not math.isnan(d)]
        mean = sum(known) / len(known) if known else 0.0
        for row, slot in enumerate(slots.tolist()):
            kept = 0.5 ** ((number - last[slot]) / 3)
            x, y = kept * a[slot] + mean_rate * strength, kept * b[slot] + (1 - mean_rate) * strength
            d = mean if math.isnan(diversity[slot]) else mean + kept * (diversity[slot] - mean)
            expected = (0.8 * x * y / ((x + y) * (x + y + 1)) + 0.2 * d) ** 2
            assert weights[row].item() == pytest.approx(expected, abs=1e-12)
        completion_slots = [slot for slot in prompts for _ in range(2)]
        ids = [sequence for slot in prompts for sequence in texts[slot]]
        logged = defaultdict(list)
        scores.observe(trainer, torch.tensor(completion_slots), torch.tensor(rewards), ids, logged)
        for slot, reward in zip(completion_slots, rewards):
            if not math.isnan(reward):
                a[slot], b[slot] = 0.9 * a[slot] + reward, 0.9 * b[slot] + 1 - reward
            last[slot] = number
        # The uniformly drawn groups, of which there are all or those after the weighted ones.
        groups = [rewards[:2], rewards[2:]][trainer.prompt_source.num_weighted :]
        groups = [group for group in groups if not any(map(math.isnan, group))]
        if groups:
            mean_rate += 0.1 * (sum(map(sum, groups)) / (2 * len(groups)) - mean_rate)
            variance += 0.1 * (sum((x - y) ** 2 / 2 for x, y in groups) / len(groups) - variance)
        between = mean_rate * (1 - mean_rate) - variance
        strength = variance / between
        for slot in set(prompts):
            new = trajectory_diversity(texts[slot])
            diversity[slot] = new if math.isnan(diversity[slot]) else (diversity[slot] + new) / 2
    assert logged["vas/training_rollouts"] == [12.0] and logged["vas/scoring_rollouts"] == [0.0]
    assert logged["vas/coverage"] == [1.0]


def test_a_prompt_not_seen_for_long_comes_back():
    scores = PromptScores(torch.arange(2), config(vas_diversity_weight=0.0), batches_per_epoch=4, pad_token_id=0)
    trainer = fake_trainer(num_generations=4)
    scores.for_batch(trainer)
    scores.observe(trainer, torch.zeros(8, dtype=torch.long), torch.zeros(8), [[1]] * 8, defaultdict(list))
    values = []
    for number in (1, 5, 9, 400):
        trainer.prompt_source.batches_drawn = number
        values.append(scores.for_batch(trainer)[0].item())
    assert 0 < values[0] < values[1] < values[2] < values[3]
    # Nothing is known of it any more but what is known of all.
    a, b = scores.population.prior
    assert values[3] == pytest.approx((0.8 * a * b / ((a + b) * (a + b + 1))) ** 2)


def test_scores_of_a_large_set_are_brought_up_to_date_in_turn(monkeypatch):
    import mmr1_trl.trainers.prompt_scores as module

    exact = PromptScores(torch.arange(50), config(vas_diversity_weight=0.0), batches_per_epoch=4, pad_token_id=0)
    monkeypatch.setattr(module, "BLOCK", 8)
    turns = PromptScores(torch.arange(50), config(vas_diversity_weight=0.0), batches_per_epoch=4, pad_token_id=0)
    trainer = fake_trainer(num_generations=4)
    for number in range(30):
        trainer.prompt_source.batches_drawn = number
        drawn = torch.tensor([number % 50, (number * 7) % 50]).repeat_interleave(4)
        for scores in (exact, turns):
            monkeypatch.setattr(module, "BLOCK", 50 if scores is exact else 8)
            scores.for_batch(trainer)
        if number:
            assert torch.equal(turns.scores[turns.touched], exact.scores[turns.touched])
        for scores in (exact, turns):
            scores.observe(trainer, drawn, torch.ones(8), [[1]] * 8, defaultdict(list))
    assert (turns.scores - exact.scores).abs().max() < 0.1


def test_given_pass_rates_start_the_online_counts():
    given = table([0.0, 0.25, math.nan], counts=[4.0, 1000.0, math.nan])
    scores = PromptScores(torch.arange(3), config(tracker_rho_max=0.9), 3, pad_token_id=0, table=given)
    assert scores.own_tracker.alpha.tolist() == pytest.approx([0.0, 2.5, 0.0])  # a memory of 1 / (1 - 0.9) = 10
    assert scores.own_tracker.beta.tolist() == pytest.approx([4.0, 7.5, 0.0])


def test_with_mssr_the_tracker_is_shared():
    args = config(MSSRConfig, num_generations=1, prompt_sampling="variance_aware", tracker_forgetting="fixed")
    tracker = ValueTracker(3)
    tracker.initialize([0], [0.0])
    scores = PromptScores(torch.arange(3), args, 3, pad_token_id=0, tracker=tracker)
    weights = scores.for_batch(fake_trainer(num_generations=1))
    assert scores.own_tracker is None and not any("tracker" in name for name in scores.state_dict())
    kept = 0.5 ** (1 / 3)
    x, y = 4 - 4 * kept, 4 + 4 * kept
    assert weights.tolist() == pytest.approx(
        [(0.8 * x * y / (8 * 9)) ** 2, (0.8 * 16 / 72) ** 2, (0.8 * 16 / 72) ** 2]
    )


def test_uncertainty_is_spo():
    args = config(MSSRConfig, num_generations=1, prompt_sampling="uncertainty", tracker_forgetting="fixed")
    tracker = ValueTracker(3)
    tracker.initialize([0, 1], [0.0, 0.2])
    weights = PromptScores(torch.arange(3), args, 3, 0, tracker=tracker).for_batch(fake_trainer(1))
    assert weights.tolist() == pytest.approx([0.05, 0.4 + 0.05, 0.5 + 0.05])


def test_fixed_scores_and_unknown_prompts():
    args = config(vas_refresh="off", prompt_scores="x")
    scores = PromptScores(torch.arange(3), args, 3, 0, table=table([0.5, math.nan, 0.0], diversity=[0.5, 0.1, 1.0]))
    assert scores.scores.tolist() == pytest.approx([0.2 + 0.1, 0.25, 0.2])  # the unknown one has the others' mean
    nan = [math.nan] * 3
    ready = PromptScores(torch.arange(3), args, 3, 0, table=table(nan, scores=[3.0, math.nan, 1.0]))
    assert ready.scores.tolist() == [3.0, 2.0, 1.0]


def test_released_code_by_hand():
    args = config(
        vas_refresh="full", vas_variant="released_code", vas_outcome_weight=1.0,
        vas_diversity_weight=1.0, max_completion_length=4,
    )  # fmt: skip
    scores = PromptScores(torch.arange(3), args, 3, pad_token_id=9)
    # Rollouts [1] and [1] padded to [1, 9, 9, 9]: alike, so the uninverted self-BLEU is 1.
    assert scores.measure([[1], [1]]) == pytest.approx(1.0)
    assert scores.measure([[1], [2]]) < 1.0
    scores.pass_rates = torch.tensor([0.5, 0.0, 0.5], dtype=torch.float64)
    scores._set_diversity(torch.arange(3), torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64))
    scores.scores = scores._combine()  # 1.25, 0.5, 0.5 -> 1, 0, 0
    scores.last_refresh = 0
    assert scores.scores.tolist() == pytest.approx([1.0, 0.0, 0.0], abs=1e-6)
    scores.pass_rates = torch.tensor([0.0, 0.5, 0.5], dtype=torch.float64)  # 1, 0.75, 0.5 -> 1, 0.5, 0
    assert scores._combine().tolist() == pytest.approx([1.0, 0.5, 0.0], abs=1e-6)


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
    columns = {"prompt_id": rows["prompt_id"][:], "pass_rate": [i / 5 for i in range(6)], "content": row_digests(rows)}
    write_table(path, columns, {"dataset": "mine", "model": "m"})
    part = rows.select([4, 1])  # a part of the scored rows in another order is the same data
    read = read_prompt_table(str(path), part, torch.arange(2))
    assert read.pass_rates.tolist() == pytest.approx([0.8, 0.2])
    changed = rows.map(lambda row: {"solution": "7"} if row["prompt_id"] == "p1" else {})
    with pytest.raises(BadInputError, match=r"made for other data \(mine, scored by m\): row 1"):
        read_prompt_table(str(path), changed, torch.arange(6))


def test_ready_made_scores_have_to_be_asked_for(make_rows, tmp_path):
    rows = make_rows(3).add_column("prompt_id", [0, 1, 2])
    Dataset.from_dict({"prompt_id": [2, 0], "score": [5.0, 1.0]}).to_csv(str(tmp_path / "s.csv"))
    with pytest.raises(BadInputError, match="no pass rates"):
        read_prompt_table(str(tmp_path / "s.csv"), rows, torch.arange(3))
    read = read_prompt_table(str(tmp_path / "s.csv"), rows, torch.arange(3), needs_pass_rates=False)
    assert read.scores.nan_to_num(-1.0).tolist() == [1.0, -1.0, 5.0]
    named = rows.add_column("score", [0.5, 0.1, -1.0])
    with pytest.raises(BadInputError, match="score of -1.0"):
        read_prompt_table("score", named, torch.arange(3), needs_pass_rates=False)


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
    assert scored.scores.refreshes == 2 and scored.scores.scoring_rollouts == 2 * 16 * 3
    assert scored.state.log_history[0]["num_rollouts"] == 48 + plain.state.log_history[0]["num_rollouts"]
    assert scored.state.log_history[-2]["num_rollouts"] == 96 + scored.scores.training_rollouts
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
    assert torch.equal(resumed.scores.scores, whole.scores.scores)
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
        scored.append(trainer.scores.pass_rates.mean().item())
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
        assert trainer.scores.scores[slot].item() == pytest.approx(expected, abs=1e-12)


def watch_draws(trainer):
    draw, drawn = trainer.prompt_source.next_batch, []
    trainer.prompt_source.next_batch = lambda weights: (drawn.append(draw(weights)), drawn[-1])[1]
    return drawn


def test_rows_are_drawn_by_their_scores(make_trainer, make_rows):
    rows = make_rows(16).add_column("score", [float(i in (2, 5)) for i in range(16)])
    trainer = make_trainer(
        VASTrainer, VASConfig, rows=rows, reward_funcs=varied_reward, max_steps=3, vas_refresh="off",
        prompt_scores="score", **FAST,
    )  # fmt: skip
    drawn = watch_draws(trainer)
    trainer.train()
    assert len(drawn) == 3 and all(set(batch[:2].tolist()) <= {2, 5} for batch in drawn)
    assert trainer.scores.training_rollouts == 24 and trainer.scores.scoring_rollouts == 0
    assert trainer.state.log_history[0]["vas/effective_sample_size"] == pytest.approx(2.0)


def test_given_pass_rates_stand_in_for_the_first_refresh(make_trainer, make_rows):
    rows = make_rows(16).add_column("rate", [i / 15 for i in range(16)])
    trainer = make_trainer(
        VASTrainer, VASConfig, rows=rows, reward_funcs=varied_reward, max_steps=3, vas_refresh="full",
        vas_rollouts=2, vas_update_steps=2, vas_diversity_weight=0.0, prompt_scores="rate", **FAST,
    )  # fmt: skip
    expected = [0.8 * i / 15 * (1 - i / 15) for i in range(16)]
    assert trainer.scores.scores.tolist() == pytest.approx(expected)
    trainer.train()
    assert trainer.scores.refreshes == 1 and trainer.scores.last_refresh == 2
    assert trainer.scores.scoring_rollouts == 32


@pytest.mark.parametrize("mode", ["online", "full"])
def test_groups_of_one_and_more_work_with_mssr(make_trainer, mode):
    from mmr1_trl import MSSRTrainer

    for group in (1, 2):
        trainer = make_trainer(
            MSSRTrainer, MSSRConfig, reward_funcs=varied_reward, max_steps=2, prompt_sampling="variance_aware",
            vas_refresh=mode, vas_rollouts=2, tracker_forgetting="fixed", **FAST | {"num_generations": group},
        )  # fmt: skip
        trainer.train()
        assert trainer.scores.training_rollouts == 16 and (trainer.scores.scoring_rollouts > 0) == (mode != "online")
        assert ("vas/frac_zero_variance_groups" in trainer.state.log_history[0]) == (group > 1)
        assert (trainer.value_tracker.visits > 0).any()
