# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Which rows come next.

The training dataloader only sets the pace; the prompts of a generation batch are picked here, at the moment the batch
is generated. The uniform order is a pure function of the seed and of how many batches were drawn before, so that every
rank draws the same prompts without talking to the others, and a resumed run goes on exactly where the first one
stopped.
"""

import torch


class PromptSource:
    """
    Draws the rows of each generation batch, the same on every rank.

    Uniform draws equal those of TRL's `RepeatSampler` in an uninterrupted run: epoch `e` walks the `(e + 1)`-th
    permutation of a generator seeded with `seed`, and the incomplete batch at the end of an epoch is left out. Unlike
    TRL's, they do not start again with the permutation of epoch 0 after a resume.

    Args:
        num_rows (`int`):
            Rows of the training set.
        prompts_per_batch (`int`):
            Prompts in one generation batch, over all ranks. At most `num_rows`.
        seed (`int`):
            Seed of the order.
        shuffle (`bool`, *optional*, defaults to `True`):
            Whether to shuffle; `False` walks the rows in order.
    """

    def __init__(self, num_rows: int, prompts_per_batch: int, seed: int, shuffle: bool = True) -> None:
        self.num_rows = num_rows
        self.prompts_per_batch = prompts_per_batch
        self.seed = seed
        self.shuffle = shuffle
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

    def next_batch(self) -> torch.Tensor:
        """
        Draw the next generation batch.

        Returns:
            `torch.Tensor` of shape `(prompts_per_batch,)`: Row numbers, over all ranks and without repetitions for the
            rollouts of a group.
        """
        epoch, batch = divmod(self.batches_drawn, self.batches_per_epoch)
        self.batches_drawn += 1
        return self._order_of(epoch)[batch * self.prompts_per_batch : (batch + 1) * self.prompts_per_batch]
