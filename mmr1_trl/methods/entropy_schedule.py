# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What token entropy costs at a given step."""

from dataclasses import dataclass

from mmr1_trl.errors import BadInputError, did_you_mean


# Direction of each stage: +1 maximizes entropy, -1 minimizes it.
_STAGES = {
    "two_stage": (1, -1),
    "minimize_then_maximize": (-1, 1),
    "maximize": (1, 1),
    "minimize": (-1, -1),
    "maximize_noisy": (-1, -1),
    "minimize_noisy": (1, 1),
    "none": (0, 0),
}
# The same for rows with a wrong label, where they are treated otherwise.
_NOISY_STAGES = {"maximize_noisy": (1, 1), "minimize_noisy": (-1, -1)}


@dataclass(frozen=True)
class EntropySchedule:
    """
    Coefficient of the token entropy as a pure function of the step, so that a resumed run needs no state.

    `loss = policy_loss - coefficient * entropy`: a positive coefficient raises entropy, a negative one lowers it.
    Source: https://huggingface.co/papers/2511.07738, the phase-switched weight of the entropy loss (there the loss is
    minus the entropy, which is the same).

    Args:
        kind (`str`):
            `"two_stage"` (maximize, then minimize: the paper's method), `"minimize_then_maximize"`, `"maximize"`,
            `"minimize"` (its ablations) or `"none"`. Two more are oracles, because they have to know which labels are
            wrong: `"maximize_noisy"` maximizes on those rows and minimizes on the others (LF.Max LT.Min in the
            paper), `"minimize_noisy"` does the reverse (LT.Max LF.Min); both throughout the run.
        explore_coef (`float`):
            Size of the coefficient while entropy is maximized. The paper's value could not be established.
        exploit_coef (`float`):
            Size of the coefficient while entropy is minimized. The paper's value could not be established.
        switch_fraction (`float`, *optional*, defaults to `0.8`):
            Share of the steps that belong to the first stage. The paper's best of 0.5, 0.7, 0.8 and 0.9.
    """

    kind: str
    explore_coef: float
    exploit_coef: float
    switch_fraction: float = 0.8

    def __post_init__(self) -> None:
        if self.kind not in _STAGES:
            hint = did_you_mean(self.kind, _STAGES)
            raise BadInputError(f"Unknown entropy schedule {self.kind!r}; choose from {', '.join(_STAGES)}.{hint}")
        if self.explore_coef < 0.0 or self.exploit_coef < 0.0:
            raise BadInputError(
                f"explore_coef={self.explore_coef} and exploit_coef={self.exploit_coef} are sizes and must not be "
                "negative; the schedule sets the direction."
            )
        if not 0.0 <= self.switch_fraction <= 1.0:
            raise BadInputError(f"switch_fraction={self.switch_fraction} must lie between 0 and 1. The paper has 0.8.")

    @property
    def is_oracle(self) -> bool:
        """Whether the coefficient depends on which labels are wrong."""
        return self.kind in _NOISY_STAGES

    def switch_step(self, max_steps: int) -> int:
        """Number of steps in the first stage; also the first step, counted from 0, of the second."""
        return round(self.switch_fraction * max_steps)

    def stage(self, step: int, max_steps: int) -> int:
        """1 before the switch, 2 from the switch on."""
        return 1 if step < self.switch_step(max_steps) else 2

    def __call__(self, step: int, max_steps: int, noisy: bool = False) -> float:
        """
        Coefficient of the entropy at a step.

        Args:
            step (`int`):
                Number of optimizer steps already taken (0 for the first one).
            max_steps (`int`):
                Number of optimizer steps of the whole run.
            noisy (`bool`, *optional*, defaults to `False`):
                Whether the row's label is wrong; only the oracles look at it.

        Returns:
            `float`: Positive to maximize entropy, negative to minimize it, 0 to leave it alone.
        """
        stages = _NOISY_STAGES.get(self.kind, _STAGES[self.kind]) if noisy else _STAGES[self.kind]
        direction = stages[self.stage(step, max_steps) - 1]
        return direction * (self.explore_coef if direction > 0 else self.exploit_coef)
