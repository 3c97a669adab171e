# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pictures stay on their rank, unless somebody wants to see them."""

import copy
import copyreg
import io
import pickle

import PIL.Image
import pytest

from mmr1_trl.trainers.vision.gathers import LeanGathers


def opened():
    file = io.BytesIO()
    PIL.Image.new("RGB", (200, 100), (1, 2, 3)).save(file, format="PNG")
    return PIL.Image.open(file)


@pytest.mark.parametrize("picture", [PIL.Image.new("RGB", (200, 100), (1, 2, 3)), opened()], ids=["made", "opened"])
def test_pictures_are_pickled_whole_but_for_the_end_of_a_generation(picture):
    gathers = LeanGathers(active=True)
    gathers.rewards_are_done()  # rewards outside a generation, as in a scoring
    assert pickle.loads(pickle.dumps(picture)) == picture
    with gathers.generation():
        assert copy.deepcopy(picture) == picture == pickle.loads(pickle.dumps(picture))
        gathers.rewards_are_done()
        assert len(pickle.dumps([picture] * 8)) < 1000
        assert pickle.loads(pickle.dumps(picture)).size == (1, 1)
    assert pickle.loads(pickle.dumps(picture)) == picture


def test_an_error_leaves_nothing_behind():
    gathers = LeanGathers(active=True)
    with pytest.raises(RuntimeError), gathers.generation():
        gathers.rewards_are_done()
        raise RuntimeError
    assert PIL.Image.Image not in copyreg.dispatch_table


@pytest.mark.parametrize("log_completions", [False, True])
def test_what_a_training_gathers(make_trainer, monkeypatch, log_completions):
    from trl.trainer import grpo_trainer

    sizes = []
    seen = []
    monkeypatch.setattr(grpo_trainer, "gather_object", lambda thing: sizes.append(len(pickle.dumps(thing))) or thing)

    def reward(completion_ids, images, **kwargs):
        seen.extend(pickle.loads(pickle.dumps(picture)).size for pictures in images for picture in pictures)
        return [float(sum(ids) % 2) for ids in completion_ids]

    make_trainer(num_generations=2, max_steps=1, reward_funcs=reward, log_completions=log_completions).train()
    assert set(seen) == {(56, 28)}, "a reward function's own processes get the pictures"
    whole = 2 * 56 * 28 * 3  # two prompts, whose copies are pickled once
    assert (max(sizes) > whole) == log_completions
