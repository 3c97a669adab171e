# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The majority vote, by hand and inside a run."""

import math

import pytest

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards import majority_vote_reward
from mmr1_trl.rewards.resolve import resolve_rewards


def vote(*answers, ids=None, **columns):
    completions = [f"<think>..</think><answer>{answer}</answer>" if answer else "hm" * 60 for answer in answers]
    return majority_vote_reward(completions, prompt_id=ids or [0] * len(answers), **columns)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (["3", "4", "3"], [1, 0, 1]),
        (["4", "3", "3", "4"], [1, 0, 0, 1]),  # a tie: the first
        (["3", "4", "5", "4"], [0, 1, 0, 1]),
        (["0.5", r"\frac{1}{2}", "7", "7", "1/2"], [1, 1, 0, 0, 1]),  # by value, not by wording
        (["3", None, None, None], [1, 0, 0, 0]),  # no answer, no vote
        ([None, None], [0, 0]),
        (["9"], [1]),
    ],
)
def test_one_group(answers, expected):
    assert vote(*answers) == expected


def test_groups_do_not_mix_wherever_their_rows_stand():
    assert vote("3", "4", "3", "4", "4", "3", ids=["a", "b", "a", "a", "b", "b"]) == [1, 1, 1, 0, 1, 0]


def test_answer_type_and_options_decide_what_is_equal():
    answers = ["B", "(b)", "12 cm", "A", "A"]
    columns = {"answer_type": ["multiple_choice"] * 5, "options": [["10 cm", "12 cm"]] * 5}
    assert vote(*answers, **columns) == [1, 1, 1, 0, 0]
    assert vote("cat", "Cat", "dog", answer_type=["text"] * 3) == [1, 1, 0]


def test_plain_and_conversational_completions_and_the_metric():
    logged = {}
    texts = [r"\boxed{3}", r"\boxed{3}", r"\boxed{5}", "<think>open"]
    messages = [[{"role": "assistant", "content": text}] for text in texts]
    rewards = majority_vote_reward(messages, prompt_id=[1] * 4, log_metric=logged.__setitem__)
    assert rewards == majority_vote_reward(texts, prompt_id=[1] * 4) == [1, 1, 0, 0]
    assert logged == {"rewards/majority_frac": pytest.approx(2 / 3)}


def test_without_ids_it_is_refused():
    with pytest.raises(BadInputError, match="prompt_id"):
        majority_vote_reward(["<answer>3</answer>"])


def test_it_trains_by_name(make_trainer, make_rows):
    rows = make_rows(8).add_column("prompt_id", list(range(8)))
    (reward,) = resolve_rewards(["majority_vote_reward"])
    trainer = make_trainer(rows=rows, reward_funcs=reward, num_generations=4, max_steps=1)
    trainer.train()
    entry = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert math.isfinite(entry["loss"]) and 0 <= entry["rewards/majority_vote_reward/mean"] <= 1
