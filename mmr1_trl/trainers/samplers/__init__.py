# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which prompts come next: one class per way of drawing them. `base.Sampler` says what such a class is."""

from collections.abc import Callable

from mmr1_trl.trainers.rollouts import Resources
from mmr1_trl.trainers.samplers.base import Sampler, Uniform
from mmr1_trl.trainers.samplers.chosen import Dynamic, Posterior, SkipList
from mmr1_trl.trainers.samplers.scored import ScoredSampler, Uncertainty
from mmr1_trl.trainers.samplers.variance_aware import Fixed, Online, Refreshed


__all__ = [
    "SAMPLERS",
    "Dynamic",
    "Fixed",
    "Online",
    "Posterior",
    "Refreshed",
    "Sampler",
    "ScoredSampler",
    "SkipList",
    "Uncertainty",
    "Uniform",
]


def _variance_aware(have: Resources) -> Sampler:
    """The sampler of `vas_refresh`."""
    prompts, args, pad, table = have.prompts, have.args, have.pad_token_id, have.table
    if args.vas_refresh == "online":
        return Online(prompts, args, pad, table, have.tracker)
    if args.vas_refresh == "off":
        assert table is not None  # an option without the other is refused
        return Fixed(prompts, args, pad, table)
    return Refreshed(prompts, args, have.sample, have.step, have.identity, have.budget, pad, table)


def _uncertainty(have: Resources) -> Sampler:
    assert have.tracker is not None  # an option without the other is refused
    return Uncertainty(have.prompts, have.args, have.tracker)


# The values of `prompt_sampling`, and what makes a sampler of each with what a run has.
SAMPLERS: dict[str, Callable[[Resources], Sampler]] = {
    "uniform": lambda have: Uniform(have.prompts, have.args),
    "variance_aware": _variance_aware,
    "uncertainty": _uncertainty,
    "posterior": lambda have: Posterior(have.prompts, have.args),
    "skip_list": lambda have: SkipList(have.prompts, have.args),
    "dynamic": lambda have: Dynamic(have.prompts, have.args),
}
