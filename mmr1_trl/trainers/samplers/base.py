# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Draws the rows of each generation batch: the base class of all samplers, and the uniform one.

The training dataloader only sets the pace; rows are drawn here, at the moment their batch is generated. A draw is a
pure function of the seed, of how many batches were drawn before and of the weights, so that every rank draws the same
rows without talking to the others, and a resumed run goes on exactly where the first one stopped.
"""

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.methods.variance_promotion import draw_weighted, walk_permutation
from mmr1_trl.trainers.rollouts import RolloutBatch


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig


class RowNumbers(torch.utils.data.Dataset):
    """Stands in for the training set in the dataloader, which then sets the pace and reads nothing."""

    def __init__(self, num_rows: int) -> None:
        self.num_rows = num_rows

    def __len__(self) -> int:
        return self.num_rows

    def __getitem__(self, row: int) -> dict[str, int]:
        return {"row": row}


class RowWalk:
    """
    The uniform order of the rows.

    It equals that of TRL's `RepeatSampler` in an uninterrupted run: epoch `e` walks the `(e + 1)`-th permutation of a
    generator seeded with `seed`, and the incomplete batch at the end of an epoch is left out. Unlike TRL's, it does
    not start again with the permutation of epoch 0 after a resume.

    Args:
        num_rows (`int`):
            Rows of the training set.
        seed (`int`):
            Seed of the order.
        shuffle (`bool`, *optional*, defaults to `True`):
            Whether to shuffle; `False` walks the rows in order.
        one_permutation (`bool`, *optional*, defaults to `False`):
            Whether every epoch walks the same permutation, as in the released code of MMR1.
    """

    def __init__(self, num_rows: int, seed: int, shuffle: bool = True, one_permutation: bool = False) -> None:
        self.num_rows = num_rows
        self.seed = seed
        self.shuffle = shuffle
        self.one_permutation = one_permutation
        self._epoch = -1
        self._generator = torch.Generator().manual_seed(seed)
        self.order = torch.empty(0, dtype=torch.long)  # of the epoch that was walked last

    def _order_of(self, epoch: int) -> torch.Tensor:
        if not self.shuffle:
            return torch.arange(self.num_rows)
        if epoch < self._epoch:
            self._epoch, self._generator = -1, torch.Generator().manual_seed(self.seed)
        while self._epoch < epoch:
            self.order = torch.randperm(self.num_rows, generator=self._generator)
            self._epoch += 1
        return self.order

    def rows(self, batch: int, count: int) -> torch.Tensor:
        """Return the `count` rows of a batch, by its number, when every batch takes as many."""
        if count == 0:
            return torch.empty(0, dtype=torch.long)
        epoch, stride = divmod(batch, self.num_rows // count)
        order = self._order_of(0 if self.one_permutation else epoch)
        return walk_permutation(order, stride * count, count)[0]


class Sampler:
    """
    Draws the rows of each generation batch, the same on every rank. A method is a subclass: of `weights` where it
    scores prompts, of `draw` where it draws in another way, of `observe` where it learns from the rollouts, and of
    `accept` where it throws groups away. What it keeps goes into `state_dict` and back.

    By default a `vas_weighted_fraction` of the rows is drawn by weight with replacement, and the rest is a walk
    through permutations of the rows. A row can be drawn more than once; each draw is a group of its own.

    Args:
        prompts ([`~mmr1_trl.data.prompts.Prompts`]):
            The training set.
        args ([`RLVRConfig`]):
            The run's options.
    """

    # Whether `observe` and `accept` read the token ids of the completions, which are gathered for that.
    needs_completions = False
    # Whether `accept` may reject groups, and how many generation batches are then sampled for one at most.
    rejects = False
    most_rounds = 8

    def __init__(self, prompts: Prompts, args: "RLVRConfig") -> None:
        self.prompts = prompts
        self.args = args
        self.size = args.prompts_per_generation
        # Without the tolerance 0.29 * 100 = 28.999999999999996 would lose a prompt.
        self.num_weighted = math.floor(args.vas_weighted_fraction * self.size + 1e-9)
        one_permutation = args.vas_variant == "released_code"
        self.walk = RowWalk(prompts.num_rows, args.seed, bool(args.shuffle_dataset), one_permutation)
        self.batches_drawn = 0
        self._logged: dict[str, float] = {}

    @functools.cached_property
    def batches_per_epoch(self) -> int:
        """Generation batches in one pass over the data."""
        return self.prompts.num_rows // self.size

    def next_batch(self) -> tuple[torch.Tensor, int]:
        """Draw the next generation batch, see [`~Sampler.draw`]."""
        # A generator of its own for each batch: nothing but the batch's number has to be saved.
        key = (self.args.seed, self.batches_drawn)
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
        drawn = self.draw(self.size, generator)
        self.batches_drawn += 1
        return drawn

    def weights(self, batch_number: int) -> torch.Tensor | None:
        """
        Say how prompts are weighted in a draw.

        Args:
            batch_number (`int`):
                Number of the generation batch that is about to be drawn, from 0.

        Returns:
            `torch.Tensor` of shape `(num_prompts,)`: Finite and not negative; a prompt of several rows counts once for
            each. `None`: all rows are drawn uniformly.
        """
        return None

    def draw(self, size: int, generator: torch.Generator) -> tuple[torch.Tensor, int]:
        """
        Draw rows.

        Args:
            size (`int`):
                Draws.
            generator (`torch.Generator`):
                Source of randomness, the same on every rank; of this batch alone.

        Returns:
            `tuple[torch.Tensor, int]`: Row numbers of shape `(size,)`, and how many of them were drawn by weight;
            these come first.
        """
        batch = self.batches_drawn
        weights = self.weights(batch)
        if weights is None or self.num_weighted == 0:
            return self.walk.rows(batch, size), 0
        weighted = draw_weighted(self.prompts.per_row(weights), self.num_weighted, generator)
        return torch.cat([weighted, self.walk.rows(batch, size - self.num_weighted)]), self.num_weighted

    def observe(self, batch: RolloutBatch) -> None:
        """Learn from a generation batch that was sampled, rejected groups included."""

    def accept(self, batch: RolloutBatch) -> torch.Tensor:
        """
        Say which groups of a generation batch are trained on, once their rewards are known. Asked only of a sampler
        that `rejects`; others are sampled in the place of those rejected, up to `most_rounds` generation batches. What
        is missing then is filled up with the groups that were rejected last.

        Returns:
            `torch.Tensor` of shape `(draws,)`, bool.
        """
        return torch.ones(len(batch.groups), dtype=torch.bool)

    def metrics(self) -> dict[str, float]:
        """Return what there is to log since the last call."""
        logged, self._logged = self._logged, {}
        return logged

    def state_dict(self) -> dict[str, Any]:
        """What the next draws depend on: tensors and plain values, the same on all ranks."""
        return {"batches_drawn": self.batches_drawn}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what [`~Sampler.state_dict`] returned."""
        self.batches_drawn = state["batches_drawn"]


class Uniform(Sampler):
    """Every row once per epoch, as in GRPO."""
