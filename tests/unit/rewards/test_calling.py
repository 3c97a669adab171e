# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Reward functions of the user's own are found out before anything is trained, and end a training in words."""

import functools

import numpy as np
import pytest
import torch
from fixtures.trainers import picture_rows

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.data.prepare import prepare_dataset
from mmr1_trl.errors import BadInputError, TrainingStopped
from mmr1_trl.models.tiny_vlm import tiny_parts
from mmr1_trl.rewards import accuracy_reward
from mmr1_trl.rewards.calling import reward_values, try_rewards, watched
from mmr1_trl.run_folder import newest_complete


ROWS = [
    {"prompt": [{"role": "user", "content": "1 + 1?"}], "solution": "2", "answer": "2", "prompt_id": "a"},
    {"prompt": [{"role": "user", "content": "1 + 2?"}], "solution": "3", "answer": "3", "prompt_id": "b"},
]


def a_float(completions, **kwargs):
    return 0.5


def words(completions, **kwargs):
    return ["1.0" for _ in completions]


def one_word(completions, **kwargs):
    return "ab"  # of the right length


def mappings(completions, **kwargs):
    return [{"reward": 1.0} for _ in completions]


def a_mapping(completions, **kwargs):
    return {"first": 1.0, "second": 0.0}


def too_few(completions, **kwargs):
    return [1.0]


def too_many(completions, **kwargs):
    return [1.0] * (len(completions) + 1)


def nothing(completions, **kwargs):
    pass


def a_matrix(completions, **kwargs):
    return torch.ones(len(completions), 2)


def closed(completions, solution):
    return [0.0 for _ in completions]


def asks(completions, anwser, **kwargs):
    return [0.0 for _ in completions]


def raises(completions, **kwargs):
    return [1 / 0 for _ in completions]


def counts_on_an_answer(completions, **kwargs):
    return [float(completion[0]["content"].split("<answer>")[1] == "2") for completion in completions]


async def a_late_float(completions, **kwargs):
    return 0.5


class Closed:
    def __call__(self, completions):
        return [0.0 for _ in completions]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (a_float, "calling.a_float returned float 0.5. It must return a list with one number"),
        (words, "calling.words returned str '1.0' for completion 0"),
        (one_word, "calling.one_word returned str 'ab'"),
        (mappings, "calling.mappings returned dict {'reward': 1.0} for completion 0"),
        (a_mapping, "calling.a_mapping returned dict {'first': 1.0, 'second': 0.0}"),
        (too_few, r"calling.too_few returned 1 values. .* for each of 2 completions"),
        (too_many, "calling.too_many returned 3 values"),
        (nothing, "calling.nothing returned NoneType None"),
        (a_matrix, "calling.a_matrix returned Tensor .* for completion 0"),
        (closed, r"calling.closed takes no \*\*kwargs, .* 'answer'. Add \*\*kwargs"),
        (Closed(), r"calling.Closed takes no \*\*kwargs"),
        (
            asks,
            "asks asks for 'anwser'.* Did you mean 'answer'. There are answer, prompt_id, solution; and TRL passes",
        ),
        (functools.partial(asks, scale=2), "asks asks for 'anwser'"),
        (
            raises,
            "calling.raises fails on rows of this dataset: ZeroDivisionError: division by zero. It is called",
        ),
        (counts_on_an_answer, "IndexError"),  # a completion without one will come
        (a_late_float, "calling.a_late_float returned float 0.5"),
    ],
)
def test_what_is_wrong_with_an_own_reward_is_named(function, message):
    with pytest.raises(BadInputError, match=message):
        try_rewards([accuracy_reward, function], ROWS)


def test_what_trl_takes_is_taken():
    async def late(completions, **kwargs):
        return [None for _ in completions]

    seen = []

    def reward(prompts, completions, answer, completion_ids, trainer_state, log_extra, log_metric, **kwargs):
        seen.append((answer, kwargs["solution"], len(completions[0][0]["content"]), len(completion_ids)))
        log_metric("length", 3.0)
        return (value for value in np.array([1.0, 0.0]))

    try_rewards([reward, late, torch.nn.Linear(1, 1), "a/reward-model", functools.partial(reward)], ROWS)
    assert seen == [(["2", "3"], ["2", "3"], 43, 2)] * 2
    texts = [row | {"prompt": "1 + 1?"} for row in ROWS]
    try_rewards([lambda completions, **kwargs: [float(len(text)) for text in completions]], texts)
    assert reward_values(reward, [torch.tensor(1.0), None, np.float32(2), True], 4) == [1.0, None, 2.0, 1.0]


def test_the_answer_is_passed_under_its_own_name_too():
    raw = picture_rows(4).add_column("answer", ["7", "8", "9", "7"]).remove_columns("solution")
    rows = prepare_dataset(raw.rename_column("answer", "final_answer"), answer_column="final_answer")
    assert rows["final_answer"][:] == rows["solution"][:] == ["7", "8", "9", "7"]
    again = prepare_dataset(rows)
    assert (again["solution"][:], again["final_answer"][:]) == (rows["solution"][:], rows["final_answer"][:])


def test_watched_functions_say_who_where_and_what():
    for function, message in [
        (raises, "calling.raises raised ZeroDivisionError: division by zero. At the end."),
        (too_few, "calling.too_few returned 1 values. It must return .* At the end."),
        (words, "calling.words returned str '1.0'"),
    ]:
        with pytest.raises(TrainingStopped, match=message):
            watched(function, lambda: "At the end.")(completions=[None, None], prompts=[])
    model = torch.nn.Linear(1, 1)
    assert watched(model, str) is model
    assert watched(lambda completions, **kwargs: [1, None], str)(completions=[0, 0]) == [1.0, None]


def test_before_the_model_loads(tmp_path):
    for function, message in [(a_float, "returned float 0.5"), (asks, "asks for 'anwser'")]:
        with pytest.raises(BadInputError, match=message):
            MSSRTrainer(
                model="nobody/has-this-model",
                reward_funcs=[function],
                args=MSSRConfig(str(tmp_path), use_cpu=True, per_device_train_batch_size=4),
                train_dataset=picture_rows(8),
                processing_class=tiny_parts()[1],
            )


def test_a_reward_that_raises_in_mid_run_leaves_a_whole_checkpoint(make_trainer, tmp_path):
    rows = picture_rows(16).add_column("prompt_id", [f"id-{i}" for i in range(16)])
    calls = []

    def reward(completions, **kwargs):
        calls.append(kwargs["prompt_id"])
        if len(calls) == 4:  # after the trial and two steps
            raise KeyError("the judge is gone")
        return [float(len(calls) + i) for i in range(len(completions))]

    options = {"save_strategy": "steps", "save_steps": 1, "tracker_forgetting": "fixed", "beta": 0.0}
    trainer = make_trainer(MSSRTrainer, MSSRConfig, rows=rows, reward_funcs=reward, **options)
    assert len(calls) == 1
    with pytest.raises(TrainingStopped) as stopped:
        trainer.train()
    message = str(stopped.value)
    assert "reward raised KeyError: 'the judge is gone'. That was after step 2" in message
    assert all(name in message for name in calls[-1])
    assert "The last complete checkpoint, checkpoint-2, is untouched." in message
    assert newest_complete(tmp_path / "run")[0].name == "checkpoint-2"
