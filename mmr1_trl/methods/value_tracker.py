# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A Beta success tracker per prompt: the baseline that makes one rollout per prompt enough."""

from collections import deque
from collections.abc import Sequence

import torch

from mmr1_trl.errors import BadInputError, did_you_mean


FORGETTING_RULES = ("paper", "monotone", "fixed", "per_prompt")

# SPO's half-life: a prompt's evidence is halved when the policy has moved by this much on it.
SPO_HALF_DIVERGENCE = 0.06


def jeffreys(successes: torch.Tensor, trials: torch.Tensor) -> torch.Tensor:
    """
    Pass rate under Jeffreys' prior, `(successes + 1/2) / (trials + 1)`: never exactly 0 or 1.

    Args:
        successes (`torch.Tensor`):
            Number of rollouts that passed.
        trials (`torch.Tensor`):
            Number of rollouts.

    Returns:
        `torch.Tensor`: The smoothed pass rates, of the same shape.
    """
    return (successes + 0.5) / (trials + 1.0)


class ValueTracker:
    """
    Success probability of every prompt as a Beta distribution that forgets.

    After a reward `r` in {0, 1} for a prompt, `alpha <- rho * alpha + r` and `beta <- rho * beta + (1 - r)`. The
    prompt's baseline is `alpha / (alpha + beta)`, read before the update with the rewards that it is compared with. A
    prompt starts with `N0 = 1 / (1 - rho_min)` pseudo-rollouts at `initial_value`, the most that `rho_min` remembers.
    Sources: MSSR, https://huggingface.co/papers/2512.18215 (Eq. 2-3 are the forgetting rule `"paper"`), after SPO,
    https://huggingface.co/papers/2509.13232.

    The forgetting factor `rho` follows one of four rules, with `k` the mean of the last `kl_window` observed KLs:

    - `"paper"`: the paper's rule as printed. Above the target `rho_min`; at or below it
      `rho_min + k / target_kl * (rho_max - rho_min)`. It is not monotone: both a still and a fast policy forget fast.
    - `"monotone"`: ours, what the paper's prose asks for. `rho_max` at KL 0, linear down to `rho_min` at the target.
    - `"fixed"`: always `rho_max`.
    - `"per_prompt"`: SPO's. `2 ** (-D / 0.06)` clipped to `[rho_min, rho_max]`, with `D` the policy's move on that
      prompt.

    The state lives on the CPU in float64, so that every rank which makes the same updates holds the same bits.

    Args:
        num_prompts (`int`):
            Number of prompts; valid prompt ids are `0 .. num_prompts - 1`.
        rho_min (`float`, *optional*, defaults to `0.875`):
            Fastest forgetting (a memory of 8 rollouts).
        rho_max (`float`, *optional*, defaults to `0.96`):
            Slowest forgetting (a memory of 25 rollouts).
        forgetting (`str`, *optional*, defaults to `"paper"`):
            One of `"paper"`, `"monotone"`, `"fixed"`, `"per_prompt"`.
        target_kl (`float`, *optional*, defaults to `0.01`):
            KL at which `"paper"` and `"monotone"` change over, in nats.
        kl_window (`int`, *optional*, defaults to `20`):
            Number of observed KLs that are averaged. The released code uses 10, whatever its config says.
        initial_value (`float`, *optional*, defaults to `0.5`):
            Success probability of a prompt that was never seen.

    Attributes:
        alpha (`torch.Tensor` of shape `(num_prompts,)`, float64): Forgetting count of successes.
        beta (`torch.Tensor` of shape `(num_prompts,)`, float64): Forgetting count of failures.
        visits (`torch.Tensor` of shape `(num_prompts,)`, int64): Number of rewards that reached the prompt.
    """

    def __init__(
        self,
        num_prompts: int,
        rho_min: float = 0.875,
        rho_max: float = 0.96,
        forgetting: str = "paper",
        target_kl: float = 0.01,
        kl_window: int = 20,
        initial_value: float = 0.5,
    ):
        if num_prompts < 1:
            raise BadInputError(f"The value tracker needs at least one prompt, got num_prompts={num_prompts}.")
        if not 0.0 < rho_min <= rho_max <= 1.0 or rho_min == 1.0:
            raise BadInputError(
                f"Forgetting factors must satisfy 0 < rho_min <= rho_max <= 1 and rho_min < 1, got rho_min={rho_min} "
                f"and rho_max={rho_max}. MSSR uses 0.875 and 0.96."
            )
        if forgetting not in FORGETTING_RULES:
            hint = did_you_mean(forgetting, FORGETTING_RULES)
            raise BadInputError(f"Unknown forgetting rule {forgetting!r}; choose from {FORGETTING_RULES}.{hint}")
        if target_kl <= 0.0:
            raise BadInputError(f"target_kl must be positive, got {target_kl}. MSSR uses 0.01.")
        if kl_window < 1:
            raise BadInputError(f"kl_window must be at least 1, got {kl_window}. MSSR uses 20.")
        if not 0.0 <= initial_value <= 1.0:
            raise BadInputError(f"initial_value is a probability, got {initial_value}. MSSR uses 0.5.")
        self.num_prompts = num_prompts
        self.rho_min = rho_min
        self.rho_max = rho_max
        self.forgetting = forgetting
        self.target_kl = target_kl
        self.initial_count = 1.0 / (1.0 - rho_min)
        self.alpha = torch.full((num_prompts,), self.initial_count * initial_value, dtype=torch.float64)
        self.beta = torch.full((num_prompts,), self.initial_count * (1.0 - initial_value), dtype=torch.float64)
        self.visits = torch.zeros(num_prompts, dtype=torch.int64)
        self._kls: deque[float] = deque(maxlen=kl_window)

    @property
    def mean_kl(self) -> float:
        """Mean of the KLs in the window, in nats; `nan` before the first one."""
        return sum(self._kls) / len(self._kls) if self._kls else float("nan")

    @property
    def rho(self) -> float:
        """The current forgetting factor; under `"per_prompt"` that of a prompt on which the policy has not moved."""
        if self.forgetting in ("fixed", "per_prompt"):
            return self.rho_max
        if not self._kls:
            return (self.rho_min + self.rho_max) / 2.0
        share = min(max(self.mean_kl / self.target_kl, 0.0), 1.0)
        if self.forgetting == "monotone":
            return self.rho_max - share * (self.rho_max - self.rho_min)
        if self.mean_kl > self.target_kl:
            return self.rho_min
        return self.rho_min + share * (self.rho_max - self.rho_min)

    @property
    def frac_unseen(self) -> float:
        """Share of the prompts that no reward has reached yet, in [0, 1]."""
        return (self.visits == 0).double().mean().item()

    def observe_kl(self, kl: float) -> None:
        """
        Add one mean KL (in nats) to the window. The released code observes before it updates with the same batch.

        Args:
            kl (`float`):
                Mean KL of one generation batch.
        """
        self._kls.append(float(kl))

    def values(self, prompt_ids: torch.Tensor | Sequence[int]) -> torch.Tensor:
        """
        Success probability of each prompt as it stands now.

        Args:
            prompt_ids (`torch.Tensor` or `list[int]` of shape `(B,)`):
                Prompt ids; repeats are allowed.

        Returns:
            `torch.Tensor` of shape `(B,)`: float32 on the CPU.
        """
        ids = self._as_ids(prompt_ids)
        alpha, beta = self.alpha[ids], self.beta[ids]
        return (alpha / (alpha + beta)).float()

    def update(
        self,
        prompt_ids: torch.Tensor | Sequence[int],
        rewards: torch.Tensor | Sequence[float],
        divergence: torch.Tensor | Sequence[float] | None = None,
    ) -> None:
        """
        Forget a little and count the new rewards. Repeats of a prompt are applied one after the other, in order.

        Args:
            prompt_ids (`torch.Tensor` or `list[int]` of shape `(B,)`):
                Prompt ids.
            rewards (`torch.Tensor` or `list[float]` of shape `(B,)`):
                Rewards in [0, 1]. `nan` marks a completion that could not be scored and is left out.
            divergence (`torch.Tensor` or `list[float]` of shape `(B,)`, *optional*):
                How far the policy has moved on each prompt since its last rollout, in nats; `nan` on a first visit.
                Needed by, and only used by, `forgetting="per_prompt"`.
        """
        ids = self._as_ids(prompt_ids)
        outcomes = torch.as_tensor(rewards, dtype=torch.float64, device="cpu").detach()
        if outcomes.shape != ids.shape:
            raise BadInputError(f"Got {tuple(ids.shape)} prompt ids but {tuple(outcomes.shape)} rewards.")
        if (outcomes < 0.0).any() or (outcomes > 1.0).any():
            raise BadInputError(
                "The value tracker counts successes: rewards must lie in [0, 1], got "
                f"{outcomes.nan_to_num(0.5).min():g} to {outcomes.nan_to_num(0.5).max():g}. Threshold them first."
            )
        rho = self._rho_per_row(ids, divergence)
        scored = ~outcomes.isnan()
        ids, outcomes, rho = ids[scored], outcomes[scored], rho[scored]
        # The k-th repeat of every prompt goes into round k: inside a round no prompt occurs twice.
        for rows in _rounds(ids):
            where, reward, decay = ids[rows], outcomes[rows], rho[rows]
            self.alpha[where] = decay * self.alpha[where] + reward
            self.beta[where] = decay * self.beta[where] + (1.0 - reward)
            self.visits[where] += 1

    def initialize(self, prompt_ids: torch.Tensor | Sequence[int], pass_rates: torch.Tensor | Sequence[float]) -> None:
        """
        Set prompts to known pass rates, worth `N0` pseudo-rollouts each, as MSSR and SPO do. Not a visit.

        Args:
            prompt_ids (`torch.Tensor` or `list[int]` of shape `(B,)`):
                Prompt ids, without repeats.
            pass_rates (`torch.Tensor` or `list[float]` of shape `(B,)`):
                Pass rates in [0, 1]; `nan` leaves the prompt as it is. The released code does not smooth them; see
                [`jeffreys`] for the smoothing that SPO's code has.
        """
        ids = self._as_ids(prompt_ids)
        rates = torch.as_tensor(pass_rates, dtype=torch.float64, device="cpu").detach()
        if rates.shape != ids.shape:
            raise BadInputError(f"Got {tuple(ids.shape)} prompt ids but {tuple(rates.shape)} pass rates.")
        if (rates < 0.0).any() or (rates > 1.0).any():
            raise BadInputError("Pass rates must lie in [0, 1]; percentages have to be divided by 100.")
        known = ~rates.isnan()
        self.alpha[ids[known]] = self.initial_count * rates[known]
        self.beta[ids[known]] = self.initial_count * (1.0 - rates[known])

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Everything that changes during training, as a flat dict of tensors that safetensors can store."""
        return {
            "alpha": self.alpha.clone(),
            "beta": self.beta.clone(),
            "visits": self.visits.clone(),
            "kl_window": torch.tensor(list(self._kls), dtype=torch.float64),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """
        Take over a state written by [`~ValueTracker.state_dict`].

        Args:
            state (`dict[str, torch.Tensor]`):
                The saved state. A state for another number of prompts is refused with a `BadInputError`.
        """
        missing = {"alpha", "beta", "visits", "kl_window"} - state.keys()
        if missing:
            raise BadInputError(f"The saved value tracker lacks {sorted(missing)}; it was not written by mmr1-trl.")
        saved = state["alpha"].numel()
        if saved != self.num_prompts:
            raise BadInputError(
                f"The saved value tracker has {saved} prompts but the training set has {self.num_prompts}. Resume "
                "with the dataset that the checkpoint was trained on, or start a new run."
            )
        self.alpha = state["alpha"].to("cpu", torch.float64).clone()
        self.beta = state["beta"].to("cpu", torch.float64).clone()
        self.visits = state["visits"].to("cpu", torch.int64).clone()
        self._kls.clear()
        self._kls.extend(state["kl_window"].tolist())

    def _as_ids(self, prompt_ids: torch.Tensor | Sequence[int]) -> torch.Tensor:
        ids = torch.as_tensor(prompt_ids, device="cpu").long()
        if ids.numel() and (ids.min() < 0 or ids.max() >= self.num_prompts):
            raise BadInputError(
                f"Prompt ids must lie in 0 .. {self.num_prompts - 1}, got {int(ids.min())} .. {int(ids.max())}."
            )
        return ids

    def _rho_per_row(self, ids: torch.Tensor, divergence: torch.Tensor | Sequence[float] | None) -> torch.Tensor:
        if self.forgetting != "per_prompt":
            return torch.full(ids.shape, self.rho, dtype=torch.float64)
        if divergence is None:
            raise BadInputError('forgetting="per_prompt" needs the divergence of every prompt of the batch.')
        moved = torch.as_tensor(divergence, dtype=torch.float64, device="cpu").detach().nan_to_num(0.0)
        if moved.shape != ids.shape:
            raise BadInputError(f"Got {tuple(ids.shape)} prompt ids but {tuple(moved.shape)} divergences.")
        return torch.exp2(-moved / SPO_HALF_DIVERGENCE).clamp(self.rho_min, self.rho_max)


def _rounds(ids: torch.Tensor) -> list[torch.Tensor]:
    """Split row numbers so that round k holds the k-th occurrence of every id, in order of the ids."""
    order = torch.argsort(ids, stable=True)
    _, counts = torch.unique_consecutive(ids[order], return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    occurrence = torch.arange(len(ids)) - starts
    by_round = torch.argsort(occurrence, stable=True)
    return list(torch.split(order[by_round], torch.bincount(occurrence).tolist()))
