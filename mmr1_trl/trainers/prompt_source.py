# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which rows come next.

The training dataloader only sets the pace; the prompts of a generation batch are picked here, at the moment the batch
is generated. The draw is a pure function of the seed, of how many batches were drawn before and of the weights, so
that every rank draws the same prompts without talking to the others, and a resumed run goes on exactly where the first
one stopped.
"""

import math

import numpy as np
import torch

from mmr1_trl.methods.variance_promotion import draw_weighted, walk_permutation


class PromptSource:
    """
    Draws the rows of each generation batch, the same on every rank.

    Uniform draws equal those of TRL's `RepeatSampler` in an uninterrupted run: epoch `e` walks the `(e + 1)`-th
    permutation of a generator seeded with `seed`, and the incomplete batch at the end of an epoch is left out. Unlike
    TRL's, they do not start again with the permutation of epoch 0 after a resume.

    With weights, `floor(weighted_fraction * prompts_per_batch)` rows are drawn by weight with replacement, and the
    rest is the same walk in shorter strides. A row can be drawn more than once; each draw is a group of its own.

    Args:
        num_rows (`int`):
            Rows of the training set.
        prompts_per_batch (`int`):
            Prompts in one generation batch, over all ranks. At most `num_rows`.
        seed (`int`):
            Seed of the order.
        shuffle (`bool`, *optional*, defaults to `True`):
            Whether to shuffle; `False` walks the rows in order.
        weighted_fraction (`float`, *optional*, defaults to `0.0`):
            Share of a batch that is drawn by weight when there are weights.
        one_permutation (`bool`, *optional*, defaults to `False`):
            Whether every epoch of the uniform part walks the same permutation, as in the released code of MMR1.
    """

    def __init__(
        self,
        num_rows: int,
        prompts_per_batch: int,
        seed: int,
        shuffle: bool = True,
        weighted_fraction: float = 0.0,
        one_permutation: bool = False,
    ) -> None:
        self.num_rows = num_rows
        self.prompts_per_batch = prompts_per_batch
        self.seed = seed
        self.shuffle = shuffle
        # Without the tolerance 0.29 * 100 = 28.999999999999996 would lose a prompt.
        self.num_weighted = math.floor(weighted_fraction * prompts_per_batch + 1e-9)
        self.one_permutation = one_permutation
        self.batches_drawn = 0
        self._epoch = -1
        self._generator = torch.Generator().manual_seed(seed)
        self._order = torch.empty(0, dtype=torch.long)

    @property
    def batches_per_epoch(self) -> int:
        """Generation batches in one pass over the data."""
        return self.num_rows // self.prompts_per_batch

    def _order_of(self, epoch: int) -> torch.Tensor:
        if not self.shuffle:
            return torch.arange(self.num_rows)
        if epoch < self._epoch:
            self._epoch, self._generator = -1, torch.Generator().manual_seed(self.seed)
        while self._epoch < epoch:
            self._order = torch.randperm(self.num_rows, generator=self._generator)
            self._epoch += 1
        return self._order

    def _uniform(self, batch: int, count: int) -> torch.Tensor:
        if count == 0:
            return torch.empty(0, dtype=torch.long)
        epoch, stride = divmod(batch, self.num_rows // count)
        order = self._order_of(0 if self.one_permutation else epoch)
        return walk_permutation(order, stride * count, count)[0]

    def next_batch(self, weights: torch.Tensor | None = None) -> torch.Tensor:
        """
        Draw the next generation batch.

        Args:
            weights (`torch.Tensor` of shape `(num_rows,)`, *optional*):
                One weight per row, finite and not negative. Without them all rows are drawn uniformly.

        Returns:
            `torch.Tensor` of shape `(prompts_per_batch,)`: Row numbers, over all ranks and without repetitions for the
            rollouts of a group; those drawn by weight come first.
        """
        batch = self.batches_drawn
        self.batches_drawn += 1
        if weights is None or self.num_weighted == 0:
            return self._uniform(batch, self.prompts_per_batch)
        # A generator of its own for each batch: nothing but the batch's number has to be saved.
        generator = torch.Generator().manual_seed(int(np.random.SeedSequence((self.seed, batch)).generate_state(1)[0]))
        weighted = draw_weighted(weights, self.num_weighted, generator)
        return torch.cat([weighted, self._uniform(batch, self.prompts_per_batch - self.num_weighted)])
