# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a person sees of sampling by score: its cost before it starts, and how it goes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mmr1_trl.run_folder import SCORES_HISTORY, write_text
from mmr1_trl.trainers.budget import Budget, describe_cost, plan_run
from mmr1_trl.trainers.samplers.scored import ScoredSampler, effective_sample_size
from mmr1_trl.trainers.samplers.variance_aware import Refreshed


HISTOGRAM_BINS = 20


class SamplingReport(TrainerCallback):
    """
    Prints the cost of scoring before the first step, one line per refresh and per log, and writes histograms of the
    scores to `prompt_scores.jsonl` in the output folder. Added by [`RLVRTrainer`] where prompts are drawn by score.

    Args:
        sampler ([`ScoredSampler`]):
            The sampler to tell of.
        budget ([`~trainers.budget.Budget`]):
            What the run has spent.
    """

    def __init__(self, sampler: ScoredSampler, budget: Budget) -> None:
        self.sampler = sampler
        self.budget = budget

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        prompts, options = self.sampler.prompts, self.sampler.args
        plan = plan_run(options, prompts.num_rows, prompts.count, state.max_steps)
        tqdm.write(describe_cost(options, plan, prompts.count))
        # A resumed run continues the history of the run that it resumes, up to its checkpoint.
        path = Path(str(args.output_dir)) / SCORES_HISTORY
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state.global_step]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(kept if state.global_step else []))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not isinstance(self.sampler, Refreshed):
            return
        reports, self.sampler.reports = self.sampler.reports, []
        if not state.is_world_process_zero:
            return
        for report in reports:
            self._record(args, state, "refresh")
            tqdm.write(
                f"VAS refresh at step {report['step']}: {report['prompts']:,} prompts scored by "
                f"{self.sampler.args.vas_rollouts} rollouts each; {self._draw()}"
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not state.is_world_process_zero or not logs or "vas/score_mean" not in logs:
            return
        if self.sampler.mode in ("online", "uncertainty"):
            self._record(args, state, "log")
        parts = [self._draw(), f"coverage {logs['vas/coverage']:.0%}"]
        if "vas/frac_zero_variance_groups" in logs:
            part = f"groups without signal {logs['vas/frac_zero_variance_groups']:.0%}"
            if "vas/frac_zero_variance_weighted" in logs:
                uniform, weighted = logs["vas/frac_zero_variance_uniform"], logs["vas/frac_zero_variance_weighted"]
                part += f" (uniform part {uniform:.0%}, weighted part {weighted:.0%})"
            parts.append(part)
        parts.append(f"rollouts {self.budget.training:,} training + {self.budget.scoring:,} scoring")
        tqdm.write(f"VAS step {state.global_step}: {', '.join(parts)}")

    def _draw(self) -> str:
        weights = self.sampler.scores
        return (
            f"mean score {weights.mean().item():.3f}, effective sample size {effective_sample_size(weights):,.0f} of "
            f"{len(weights):,}"
        )

    def _record(self, args: TrainingArguments, state: TrainerState, event: str) -> None:
        scores = self.sampler.scores.numpy()
        span = (scores.min(), max(scores.max(), scores.min() + 1e-6))  # NumPy refuses a range of rounding errors
        counts, edges = np.histogram(scores, bins=HISTOGRAM_BINS, range=span)
        line = {
            "step": state.global_step,
            "event": event,
            "mode": self.sampler.mode,
            "counts": counts.tolist(),
            "edges": edges.tolist(),
            "scoring_rollouts": self.budget.scoring,
            "training_rollouts": self.budget.training,
        }
        with open(Path(str(args.output_dir)) / SCORES_HISTORY, "a") as file:
            file.write(json.dumps(line) + "\n")
