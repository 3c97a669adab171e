# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Variance-aware sampling: by how much the rewards of a prompt's rollouts vary, and how much the rollouts differ.

The classes differ in where the two come from: a table, the training's own rollouts, or rollouts made for it.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.score_table import PromptTable
from mmr1_trl.methods.outcome_population import OutcomePopulation, expected_outcome_variance
from mmr1_trl.methods.text_diversity import trajectory_diversity
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.methods.variance_promotion import (
    min_max_scale,
    padded_self_bleu,
    variance_promotion_score,
)
from mmr1_trl.run_folder import SCORING_JOURNAL, Journal
from mmr1_trl.trainers.budget import Budget, refresh_is_due
from mmr1_trl.trainers.rollouts import (
    SAMPLING,
    DiversityMeasure,
    RolloutBatch,
    Rollouts,
    count_outcomes,
    measure_groups,
    score_prompts,
)
from mmr1_trl.trainers.samplers.scored import ScoredSampler


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig

# Power of the `online` scores. Draws in proportion to the scores themselves are diluted by many prompts of low score.
SHARPNESS = 2
# What a pass rate from `prompt_scores` without a `count` is worth, in rollouts.
ROLLOUTS_BEHIND_A_PASS_RATE = 8.0
# Share of a prompt's newest group in its running diversity.
DIVERSITY_STEP = 0.5


class VarianceAware(ScoredSampler):
    """
    VAS: by `vas_outcome_weight * p (1 - p) + vas_diversity_weight * diversity` of a prompt's rollouts. The subclasses
    say where the two come from. A prompt without a score has the mean of the others.

    Args:
        prompts, args:
            As for [`Sampler`].
        pad_token_id (`int`):
            Padding of the released code's self-BLEU.
        table ([`PromptTable`], *optional*):
            What `prompt_scores` says.
    """

    state = (*ScoredSampler.state, "pass_rates", "diversity", "diversity_sum", "diversity_count")

    def __init__(
        self, prompts: Prompts, args: "RLVRConfig", pad_token_id: int = 0, table: PromptTable | None = None
    ) -> None:
        super().__init__(prompts, args)
        self.diversity_weight = args.vas_diversity_weight or 0.0
        self.measure = self._make_measure(pad_token_id)
        unknown = torch.full((prompts.count,), torch.nan, dtype=torch.float64)
        self.pass_rates = unknown.clone() if table is None else table.pass_rates
        self.diversity = unknown.clone() if table is None else table.diversity
        # Sum and number of the known diversities: a mean over a million prompts in each batch would cost too much.
        self.diversity_sum = self.diversity.nansum().item()
        self.diversity_count = int(torch.count_nonzero(~self.diversity.isnan()))

    def _make_measure(self, pad_token_id: int) -> DiversityMeasure | None:
        if self.diversity_weight == 0:
            return None
        if self.args.vas_variant == "released_code" and self.args.vas_diversity_metric == "self_bleu":
            assert self.args.max_completion_length is not None
            return partial(padded_self_bleu, pad_token_id=pad_token_id, length=self.args.max_completion_length)
        return partial(trajectory_diversity, metric=self.args.vas_diversity_metric)

    @property
    def mean_diversity(self) -> float:
        """Mean over the prompts whose diversity is known, 0 when none is."""
        return self.diversity_sum / max(1, self.diversity_count)

    def set_diversity(self, prompts: torch.Tensor, diversity: torch.Tensor) -> None:
        """Set the diversity of distinct prompts."""
        old = self.diversity[prompts]
        self.diversity_sum += (diversity - old.nan_to_num(0.0)).sum().item()
        self.diversity_count += int(old.isnan().sum())
        self.diversity[prompts] = diversity

    def combine(self) -> torch.Tensor:
        """The scores that pass rates and diversity come to."""
        scores = variance_promotion_score(
            self.pass_rates,
            self.diversity.nan_to_num(self.mean_diversity),
            self.args.vas_outcome_weight,
            self.diversity_weight,
        )
        return fill_unknown(scores)


class Fixed(VarianceAware):
    """By what `prompt_scores` says (a table with pass rates, or ready-made scores), for the whole run."""

    mode = "off"

    def __init__(self, prompts: Prompts, args: "RLVRConfig", pad_token_id: int, table: PromptTable) -> None:
        super().__init__(prompts, args, pad_token_id, table)
        self.scores = fill_unknown(table.scores) if table.pass_rates.isnan().all() else self.combine()


class Online(VarianceAware):
    """
    By forgetting counts of the training's own rollouts.

    The outcome variance is its expectation under the Beta distribution of a prompt's counts and of the population's
    prior, so that a prompt which failed twice is given up only where most prompts always fail or always succeed.
    Counts and diversity fade back to those of an unknown prompt, by half per epoch's worth of batches since the
    prompt's last visit, so that no prompt starves. Draws are by the square of the score.

    Args:
        prompts, args, pad_token_id, table:
            As for [`VarianceAware`].
        tracker ([`~methods.value_tracker.ValueTracker`], *optional*):
            The tracker of `advantage_baseline="value_tracker"`, whose counts are used then.
    """

    mode = "online"
    state = (*(name for name in VarianceAware.state if name != "pass_rates"), "population_moments")

    def __init__(
        self,
        prompts: Prompts,
        args: "RLVRConfig",
        pad_token_id: int = 0,
        table: PromptTable | None = None,
        tracker: ValueTracker | None = None,
    ) -> None:
        super().__init__(prompts, args, pad_token_id, table)
        self.needs_completions = self.measure is not None and (args.num_generations or 1) > 1
        self.own_tracker: ValueTracker | None = None
        if tracker is None:
            self.own_tracker = ValueTracker(
                prompts.count,
                rho_min=min(0.5, args.tracker_rho_max),
                rho_max=args.tracker_rho_max,
                forgetting="fixed",
            )
            # Evidence only: what is believed without any comes from the population, which moves.
            self.own_tracker.alpha.zero_()
            self.own_tracker.beta.zero_()
            if table is not None:
                memory = 1.0 / (1.0 - self.own_tracker.rho_max)
                counts = table.counts.nan_to_num(ROLLOUTS_BEHIND_A_PASS_RATE).clamp(max=memory)
                self.own_tracker.alpha += (counts * table.pass_rates).nan_to_num(0.0)
                self.own_tracker.beta += (counts * (1.0 - table.pass_rates)).nan_to_num(0.0)
        self.tracker: ValueTracker = tracker or self.own_tracker  # type: ignore[assignment]  # one of the two is there
        self.population = OutcomePopulation(
            args.tracker_initial_value, 2.0 if tracker is None else tracker.initial_count
        )

    @property
    def population_moments(self) -> tuple[float, float]:
        """Mean pass rate and mean outcome variance of the population, as checkpoints keep them."""
        return self.population.mean, self.population.variance

    @population_moments.setter
    def population_moments(self, moments: tuple[float, float]) -> None:
        self.population.mean, self.population.variance = moments

    def rescore(self, batch_number: int, turns: list[torch.Tensor | slice]) -> None:
        for prompts in turns:
            a, b = self.tracker.alpha[prompts], self.tracker.beta[prompts]
            ages = (batch_number - self.last_draw[prompts]).double()
            kept = torch.exp2(-ages / max(1, self.batches_per_epoch))
            prior_a, prior_b = self.population.prior
            # MSSR's tracker holds a prior of its own, which the population's takes the place of as it fades.
            missing = 1.0 if self.own_tracker is not None else 1.0 - kept
            scores = self.args.vas_outcome_weight * expected_outcome_variance(
                a * kept + missing * prior_a, b * kept + missing * prior_b
            )
            if self.diversity_weight > 0:
                mean = torch.tensor(self.mean_diversity, dtype=torch.float64)
                diversity = self.diversity[prompts].nan_to_num(self.mean_diversity)
                scores += self.diversity_weight * torch.lerp(mean, diversity, kept)
            self.scores[prompts] = scores**SHARPNESS

    def observe(self, batch: RolloutBatch) -> None:
        outcomes = (batch.rewards > self.args.tracker_success_threshold).double()
        outcomes = outcomes.masked_fill(torch.isnan(batch.rewards), torch.nan)
        if self.own_tracker is not None:
            self.own_tracker.update(batch.prompts, outcomes)
        by_group = outcomes.view(-1, batch.group_size)
        # Those drawn by score are no fair sample of the prompts; without any others they have to do.
        uniform = by_group[batch.num_weighted :]
        self.population.observe(uniform if len(uniform) else by_group)
        if self.measure is not None and batch.completion_ids is not None:
            group, ids = batch.group_size, batch.completion_ids
            groups = [ids[start : start + group] for start in range(0, len(ids), group)]
            self._observe_diversity(batch.prompts[::group], measure_groups(groups, self.measure))
        super().observe(batch)

    def _observe_diversity(self, prompts: torch.Tensor, diversity: torch.Tensor) -> None:
        """Update the running diversity; groups of the same prompt count by their mean."""
        distinct, where, counts = prompts.unique(return_inverse=True, return_counts=True)
        new = torch.zeros(len(distinct), dtype=torch.float64).index_add_(0, where, diversity) / counts
        old = self.diversity[distinct]
        self.set_diversity(distinct, torch.where(old.isnan(), new, old + DIVERSITY_STEP * (new - old)))

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self.own_tracker is not None:
            state |= {f"tracker.{name}": tensor for name, tensor in self.own_tracker.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self.own_tracker is not None:
            self.own_tracker.load_state_dict(
                {name.removeprefix("tracker."): t for name, t in state.items() if name.startswith("tracker.")}
            )


class Refreshed(VarianceAware):
    """
    The paper's VAS: by rollouts for all prompts, made before training and every `vas_update_steps` steps.

    Args:
        prompts, args, pad_token_id, table:
            As for [`VarianceAware`]. A table stands in for the refresh before the first step.
        score (`Callable[[torch.Tensor], Rollouts]`):
            Samples and scores a completion for each row that it is given, with the policy as it is.
        step (`Callable[[], int]`):
            Says how many optimizer steps were made.
        identity (`Callable[[], dict]`):
            Says what such rollouts depend on beside the options in `SAMPLING`, with the `"weights"` of the policy now.
        budget ([`~trainers.budget.Budget`]):
            Where refreshes and their rollouts are counted.
    """

    mode = "full"
    state = (*VarianceAware.state, "last_refresh", "origin")

    def __init__(
        self,
        prompts: Prompts,
        args: "RLVRConfig",
        score: Callable[[torch.Tensor], Rollouts],
        step: Callable[[], int],
        identity: Callable[[], dict[str, Any]],
        budget: Budget,
        pad_token_id: int = 0,
        table: PromptTable | None = None,
    ) -> None:
        super().__init__(prompts, args, pad_token_id, table)
        self.score, self.step, self.identity, self.budget = score, step, identity, budget
        self.last_refresh: int | None = None  # optimizer step
        self.origin: str | None = None  # hash of the weights that the run started from
        self.reports: list[dict[str, int]] = []  # refreshes that nobody has told of yet
        if table is not None:
            self.scores = self.combine()
            self.last_refresh = 0

    def rescore(self, batch_number: int, turns: list[torch.Tensor | slice]) -> None:
        identity = None
        if self.origin is None:
            identity = self.identity()
            self.origin = identity["weights"]
        step = self.step()
        if refresh_is_due(step, self.last_refresh, self.args.vas_update_steps):
            self._refresh(step, identity or self.identity())

    def _refresh(self, step: int, identity: dict[str, Any]) -> None:
        numbers = range(len(self.scores))
        # An interrupted refresh goes on from its journal; so does a run that was killed later, before it could save
        # a checkpoint. Which weights are scored follows from the run's first weights and the step.
        identity = {name: value for name, value in identity.items() if name != "weights"} | {
            "origin": self.origin,
            "step": step,
            "rollouts": self.args.vas_rollouts,
            "prompts": len(numbers),
            "diversity": self.args.vas_diversity_metric if self.measure is not None else None,
            **{name: getattr(self.args, name) for name in SAMPLING},
        }
        records = score_prompts(
            self.score, self.prompts, numbers, self.args.vas_rollouts, self.args, tag=step,
            measure=self.measure, journal=Journal(Path(str(self.args.output_dir)) / SCORING_JOURNAL, identity),
            desc=f"Scoring prompts at step {step}",
        )  # fmt: skip
        successes, trials = count_outcomes(records, len(self.scores))
        scored = trials > 0
        self.pass_rates[scored] = successes[scored] / trials[scored]
        if self.measure is not None:
            diversity = torch.tensor([record["diversity"] for record in records], dtype=torch.float64)
            self.set_diversity(torch.tensor([record["prompt"] for record in records]), diversity)
        self.scores = self.combine()
        self.budget.scoring += len(numbers) * self.args.vas_rollouts
        self.budget.refreshes += 1
        self.last_refresh = step
        self.reports.append({"step": step, "prompts": len(numbers)})

    def combine(self) -> torch.Tensor:
        scores = super().combine()
        if self.args.vas_variant == "released_code":
            scores = min_max_scale(scores)
        return scores


def fill_unknown(scores: torch.Tensor) -> torch.Tensor:
    """Give those that are NaN the mean of the others."""
    return scores.nan_to_num(scores.nanmean().nan_to_num(0.0).item())
