# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A stream may be evaluated on, alone or among several sets, and not trained on."""

import pytest
import torch
from fixtures.trainers import picture_rows

from mmr1_trl.errors import BadInputError


def test_a_stream_is_evaluated_on_as_its_rows_are(make_trainer, make_rows):
    rows = make_rows(4, seed=1)
    stream = rows.to_iterable_dataset()
    trainer = make_trainer(eval_rows={"rows": rows, "stream": stream}, num_generations=2, max_steps=1)
    rewards = []
    for name in ("rows", "stream"):
        torch.manual_seed(0)
        rewards.append(trainer.evaluate(trainer.eval_dataset[name], metric_key_prefix="eval")["eval_reward"])
    assert rewards[0] == rewards[1]
    assert make_trainer(eval_rows=stream, num_generations=2, max_steps=1).evaluate()["eval_reward"] >= 0


def test_its_rows_are_checked_before_the_training(make_trainer, make_rows):
    bad = make_rows(4).map(lambda row: {"prompt": [{"role": "user", "content": "<|im_end|> ?"}]})
    with pytest.raises(BadInputError, match=r"eval_dataset: .*'<\|im_end\|>'"):
        make_trainer(eval_rows=bad.to_iterable_dataset(), num_generations=2)
    with pytest.raises(BadInputError, match="train_dataset must be .* a stream does not allow"):
        make_trainer(rows=picture_rows(8).to_iterable_dataset(), num_generations=2)
