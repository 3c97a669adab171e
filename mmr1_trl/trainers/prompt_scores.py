# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What is known about each prompt, and the weights that prompts are drawn by.

Every rank makes the same updates of the same tensors, so nothing is broadcast. All that a draw depends on is in
`state_dict` and `counters`, which go into every checkpoint.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmr1_trl.methods.outcome_population import OutcomePopulation, expected_outcome_variance
from mmr1_trl.methods.text_diversity import trajectory_diversity
from mmr1_trl.methods.value_tracker import ValueTracker
from mmr1_trl.methods.variance_promotion import (
    min_max_scale,
    padded_self_bleu,
    variance_promotion_score,
)
from mmr1_trl.run_folder import SCORING_JOURNAL, Journal
from mmr1_trl.trainers.budget import refresh_is_due
from mmr1_trl.trainers.score_table import PromptTable
from mmr1_trl.trainers.scoring import (
    SAMPLING,
    DiversityMeasure,
    count_outcomes,
    measure_groups,
    score_prompts,
    weights_digest,
)


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig
    from mmr1_trl.trainers.trainer import RLVRTrainer

# Power of the `online` scores. Draws in proportion to the scores themselves are diluted by many prompts of low score.
SHARPNESS = 2
# What a pass rate from `prompt_scores` without a `count` is worth, in rollouts.
ROLLOUTS_BEHIND_A_PASS_RATE = 8.0
# Share of a prompt's newest group in its running diversity.
DIVERSITY_STEP = 0.5
# SPO's floor under the weight of a prompt that is surely solved or surely failed.
UNCERTAINTY_FLOOR = 0.05
# Prompts whose age is brought up to date in one batch (beside those just trained on): bounds the cost of a million.
BLOCK = 65_536

STATE = ("pass_rates", "diversity", "scores", "last_draw", "touched")
COUNTERS = (
    "scoring_rollouts", "training_rollouts", "refreshes", "last_refresh", "origin", "diversity_sum", "diversity_count",
    "population_moments",
)  # fmt: skip


class PromptScores:
    """
    Scores of all prompts, from where `prompt_sampling` and `vas_refresh` say.

    - `"full"`: rollouts for all prompts every `vas_update_steps` steps;
    - `"online"`: forgetting counts of the training rollouts. The outcome variance is its expectation under the Beta
      distribution of a prompt's counts and of the population's prior, so that a prompt which failed twice is given up
      only where most prompts always fail or always succeed. Counts and diversity fade back to those of an unknown
      prompt, by half per epoch's worth of batches since the prompt's last visit, so that no prompt starves. Draws are
      by the square of the score;
    - `"off"`: from `prompt_scores`, for the whole run;
    - `prompt_sampling="uncertainty"`: `sqrt(v (1 - v)) + 0.05` of the value tracker.

    A prompt without a score has the mean of the others.

    Args:
        slots (`torch.Tensor` of shape `(num_rows,)`):
            Prompt of each row.
        args ([`RLVRConfig`]):
            The `vas_*` options.
        batches_per_epoch (`int`):
            Generation batches in one pass over the data.
        pad_token_id (`int`):
            Padding of the released code's self-BLEU.
        tracker ([`~methods.value_tracker.ValueTracker`], *optional*):
            The tracker of `advantage_baseline="value_tracker"`, whose counts are used then.
        table ([`PromptTable`], *optional*):
            What `prompt_scores` says.
    """

    def __init__(
        self,
        slots: torch.Tensor,
        args: "RLVRConfig",
        batches_per_epoch: int,
        pad_token_id: int,
        tracker: ValueTracker | None = None,
        table: PromptTable | None = None,
    ) -> None:
        num_prompts = int(slots.max()) + 1
        self.args = args
        self.mode = "uncertainty" if args.prompt_sampling == "uncertainty" else args.vas_refresh
        self.slots = slots
        self.batches_per_epoch = batches_per_epoch
        self.one_row_each = torch.equal(slots, torch.arange(len(slots)))
        self.diversity_weight = args.vas_diversity_weight or 0.0
        self.measure = self._make_measure(pad_token_id)
        self.own_tracker: ValueTracker | None = None
        if tracker is None and self.mode == "online":
            self.own_tracker = ValueTracker(
                num_prompts,
                rho_min=min(0.5, args.tracker_rho_max),
                rho_max=args.tracker_rho_max,
                forgetting="fixed",
            )
            # Evidence only: what is believed without any comes from the population, which moves.
            self.own_tracker.alpha.zero_()
            self.own_tracker.beta.zero_()
        self.tracker = tracker if tracker is not None else self.own_tracker
        self.population = OutcomePopulation(
            args.tracker_initial_value, 2.0 if tracker is None else tracker.initial_count
        )

        unknown = torch.full((num_prompts,), torch.nan, dtype=torch.float64)
        self.pass_rates = unknown.clone() if table is None else table.pass_rates
        self.diversity = unknown.clone() if table is None else table.diversity
        self.scores = torch.zeros(num_prompts, dtype=torch.float64)
        self.last_draw = torch.full((num_prompts,), -1)  # number of the generation batch
        self.touched = torch.empty(0, dtype=torch.long)  # prompts of the last generation batch
        self.batch = 0  # number of the generation batch that was drawn last
        # Sum and number of the known diversities: a mean over a million prompts in each batch would cost too much.
        self.diversity_sum = self.diversity.nansum().item()
        self.diversity_count = int(torch.count_nonzero(~self.diversity.isnan()))
        self.scoring_rollouts = 0
        self.training_rollouts = 0
        self.refreshes = 0
        self.last_refresh: int | None = None  # optimizer step
        self.origin: str | None = None  # hash of the weights that the run started from
        self.reports: list[dict[str, int]] = []  # refreshes that no callback has told of yet
        if table is not None:
            self._start_from(table)

    def _make_measure(self, pad_token_id: int) -> DiversityMeasure | None:
        if self.diversity_weight == 0:
            return None
        if self.args.vas_variant == "released_code" and self.args.vas_diversity_metric == "self_bleu":
            assert self.args.max_completion_length is not None
            return partial(padded_self_bleu, pad_token_id=pad_token_id, length=self.args.max_completion_length)
        return partial(trajectory_diversity, metric=self.args.vas_diversity_metric)

    def _start_from(self, table: PromptTable) -> None:
        if self.mode == "off" and table.pass_rates.isnan().all():
            self.scores = self._fill_unknown(table.scores)
        elif self.mode in ("full", "off"):
            self.scores = self._combine()
            self.last_refresh = 0
        elif self.own_tracker is not None:
            memory = 1.0 / (1.0 - self.own_tracker.rho_max)
            counts = table.counts.nan_to_num(ROLLOUTS_BEHIND_A_PASS_RATE).clamp(max=memory)
            self.own_tracker.alpha += (counts * table.pass_rates).nan_to_num(0.0)
            self.own_tracker.beta += (counts * (1.0 - table.pass_rates)).nan_to_num(0.0)

    # ---- The draw ----

    def for_batch(self, trainer: "RLVRTrainer") -> torch.Tensor:
        """
        Bring the scores up to date for the next generation batch.

        Args:
            trainer ([`RLVRTrainer`]):
                Trainer about to generate. A refresh that is due samples its rollouts now.

        Returns:
            `torch.Tensor` of shape `(num_rows,)`: The weights of the rows.
        """
        self.batch = trainer.prompt_source.batches_drawn
        if self.mode == "full":
            if self.origin is None:
                self.origin = weights_digest(trainer.accelerator.unwrap_model(trainer.model))
            step = trainer.state.global_step
            if refresh_is_due(step, self.last_refresh, self.args.vas_update_steps):
                self._refresh(trainer, step)
        elif self.mode in ("online", "uncertainty"):
            blocks = -(-len(self.scores) // BLOCK)
            start = self.batch % blocks * BLOCK
            self._rescore(slice(start, start + BLOCK) if self.batch else slice(None))
            self._rescore(self.touched)
        return self.scores if self.one_row_each else self.scores[self.slots]

    def _rescore(self, prompts: torch.Tensor | slice) -> None:
        """Compute the scores of some prompts from the tracker's counts."""
        assert self.tracker is not None
        a, b = self.tracker.alpha[prompts], self.tracker.beta[prompts]
        if self.mode == "uncertainty":
            value = a / (a + b)
            self.scores[prompts] = (value * (1.0 - value)).sqrt() + UNCERTAINTY_FLOOR
            return
        ages = (self.batch - self.last_draw[prompts]).double()
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

    @property
    def population_moments(self) -> tuple[float, float]:
        """Mean pass rate and mean outcome variance of the population, as checkpoints keep them."""
        return self.population.mean, self.population.variance

    @population_moments.setter
    def population_moments(self, moments: tuple[float, float]) -> None:
        self.population.mean, self.population.variance = moments

    @property
    def mean_diversity(self) -> float:
        """Mean over the prompts whose diversity is known, 0 when none is."""
        return self.diversity_sum / max(1, self.diversity_count)

    # ---- After the rollouts ----

    def observe(
        self,
        trainer: "RLVRTrainer",
        slots: torch.Tensor,
        rewards: torch.Tensor,
        completion_ids: list[list[int]],
        metrics: dict[str, list[float]],
    ) -> None:
        """
        Count a generation batch, and log what it says.

        Args:
            trainer ([`RLVRTrainer`]):
                Trainer that generated it.
            slots (`torch.Tensor` of shape `(B,)`), rewards (`torch.Tensor` of shape `(B,)`):
                Prompt and weighted reward (NaN: none) of each completion of all ranks.
            completion_ids (`list[list[int]]`):
                Token ids of the completions of all ranks.
            metrics (`dict[str, list[float]]`):
                Where values are logged, by name; a list is logged as its mean.
        """
        slots, rewards = slots.cpu(), rewards.cpu()
        group = trainer.num_generations
        if self.mode == "online":
            outcomes = (rewards > self.args.tracker_success_threshold).double()
            outcomes = outcomes.masked_fill(torch.isnan(rewards), torch.nan)
            if self.own_tracker is not None:
                self.own_tracker.update(slots, outcomes)
            by_group = outcomes.view(-1, group)
            # Those drawn by score are no fair sample of the prompts; without any others they have to do.
            uniform = by_group[trainer.prompt_source.num_weighted :]
            self.population.observe(uniform if len(uniform) else by_group)
        if self.mode == "online" and self.measure is not None and group > 1:
            groups = [completion_ids[start : start + group] for start in range(0, len(slots), group)]
            self._observe_diversity(slots[::group], measure_groups(trainer, groups, self.measure))
        self.last_draw[slots] = self.batch
        self.touched = slots.unique()
        self.training_rollouts += len(slots)

        weights = self.scores if self.one_row_each else self.scores[self.slots]
        epoch_start = max(0, self.batch + 1 - self.batches_per_epoch)
        drawn = torch.count_nonzero(self.last_draw >= epoch_start)
        metrics["vas/score_mean"].append(weights.mean().item())
        metrics["vas/effective_sample_size"].append(effective_sample_size(weights))
        metrics["vas/coverage"].append(drawn.item() / len(self.last_draw))
        # Sums since the start of the run: the newest one counts, not a mean.
        metrics["vas/scoring_rollouts"] = [float(self.scoring_rollouts)]
        metrics["vas/training_rollouts"] = [float(self.training_rollouts)]
        if group > 1:
            constant = constant_groups(rewards.view(-1, group)).double()
            metrics["vas/frac_zero_variance_groups"].append(constant.mean().item())
            by_score = trainer.prompt_source.num_weighted
            if 0 < by_score < len(constant):
                metrics["vas/frac_zero_variance_weighted"].append(constant[:by_score].mean().item())
                metrics["vas/frac_zero_variance_uniform"].append(constant[by_score:].mean().item())

    def _observe_diversity(self, prompts: torch.Tensor, diversity: torch.Tensor) -> None:
        """Update the running diversity; groups of the same prompt count by their mean."""
        distinct, where, counts = prompts.unique(return_inverse=True, return_counts=True)
        new = torch.zeros(len(distinct), dtype=torch.float64).index_add_(0, where, diversity) / counts
        old = self.diversity[distinct]
        self._set_diversity(distinct, torch.where(old.isnan(), new, old + DIVERSITY_STEP * (new - old)))

    def _set_diversity(self, prompts: torch.Tensor, diversity: torch.Tensor) -> None:
        """Set the diversity of distinct prompts."""
        old = self.diversity[prompts]
        self.diversity_sum += (diversity - old.nan_to_num(0.0)).sum().item()
        self.diversity_count += int(old.isnan().sum())
        self.diversity[prompts] = diversity

    # ---- Refreshes ----

    def _refresh(self, trainer: "RLVRTrainer", step: int) -> None:
        prompts = range(len(self.scores))
        # An interrupted refresh goes on from its journal; so does a run that was killed later, before it could save
        # a checkpoint. Which weights are scored follows from the run's first weights and the step.
        identity = trainer.run_identity() | {
            "origin": self.origin,
            "step": step,
            "rollouts": self.args.vas_rollouts,
            "prompts": len(prompts),
            "diversity": self.args.vas_diversity_metric if self.measure is not None else None,
            "rewards": list(trainer.reward_func_names),
            **{name: getattr(self.args, name) for name in SAMPLING},
        }
        records = score_prompts(
            trainer,
            list(prompts),
            self.args.vas_rollouts,
            tag=step,
            measure=self.measure,
            journal=Journal(Path(str(self.args.output_dir)) / SCORING_JOURNAL, identity),
            desc=f"Scoring prompts at step {step}",
        )
        successes, trials = count_outcomes(records, len(self.scores))
        scored = trials > 0
        self.pass_rates[scored] = successes[scored] / trials[scored]
        if self.measure is not None:
            diversity = torch.tensor([record["diversity"] for record in records], dtype=torch.float64)
            self._set_diversity(torch.tensor([record["prompt"] for record in records]), diversity)
        self.scores = self._combine()
        self.scoring_rollouts += len(prompts) * self.args.vas_rollouts
        self.refreshes += 1
        self.last_refresh = step
        self.reports.append({"step": step, "prompts": len(prompts)})

    def _combine(self) -> torch.Tensor:
        scores = self._fill_unknown(
            variance_promotion_score(
                self.pass_rates,
                self.diversity.nan_to_num(self.mean_diversity),
                self.args.vas_outcome_weight,
                self.diversity_weight,
            )
        )
        if self.args.vas_variant == "released_code":
            scores = min_max_scale(scores)
        return scores

    @staticmethod
    def _fill_unknown(scores: torch.Tensor) -> torch.Tensor:
        return scores.nan_to_num(scores.nanmean().nan_to_num(0.0).item())

    # ---- Checkpoints ----

    def counters(self) -> dict[str, Any]:
        """The plain part of the state."""
        return {name: getattr(self, name) for name in COUNTERS}

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The tensors of the state, the same on all ranks."""
        own = {name: getattr(self, name) for name in STATE}
        if self.own_tracker is not None:
            own |= {f"tracker.{name}": tensor for name, tensor in self.own_tracker.state_dict().items()}
        return {f"scores.{name}": tensor for name, tensor in own.items()}

    def load_state_dict(self, counters: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Restore what [`~PromptScores.counters`] and [`~PromptScores.state_dict`] returned."""
        for name in STATE:
            # A copy: sums over memory that a file is mapped to may differ in the last bit from those over torch's own.
            setattr(self, name, tensors[f"scores.{name}"].clone())
        if self.own_tracker is not None:
            prefix = "scores.tracker."
            own = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
            self.own_tracker.load_state_dict(own)
        for name in COUNTERS:
            setattr(self, name, counters[name])


def effective_sample_size(weights: torch.Tensor) -> float:
    """Return `(sum w)^2 / sum w^2`: how many equally weighted rows would be as many; all of them when all are 0."""
    squares = torch.dot(weights, weights)
    return (weights.sum() ** 2 / squares).item() if squares > 0 else float(len(weights))


def constant_groups(rewards: torch.Tensor) -> torch.Tensor:
    """Return which groups of shape `(groups, rollouts)` have equal rewards and so no gradient; NaN does not count."""
    highest = rewards.nan_to_num(nan=-torch.inf).amax(1)
    return highest <= rewards.nan_to_num(nan=torch.inf).amin(1)
