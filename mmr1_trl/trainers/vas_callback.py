# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What a person sees of variance-aware sampling: its cost before it starts, and how it goes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from mmr1_trl.run_folder import SCORES_HISTORY, write_text
from mmr1_trl.trainers.budget import describe_cost, plan_run
from mmr1_trl.trainers.prompt_scores import PromptScores, effective_sample_size


HISTOGRAM_BINS = 20


class VASCallback(TrainerCallback):
    """
    Prints the cost of scoring before the first step, one line per refresh and per log, and writes histograms of the
    scores to `prompt_scores.jsonl` in the output folder. Added by [`RLVRTrainer`] where prompts are drawn by score.

    Args:
        scores ([`PromptScores`]):
            The scores to tell of.
    """

    def __init__(self, scores: PromptScores) -> None:
        self.scores = scores

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        num_rows, num_prompts = len(self.scores.slots), len(self.scores.scores)
        plan = plan_run(self.scores.args, num_rows, num_prompts, state.max_steps)
        tqdm.write(describe_cost(self.scores.args, plan, num_prompts))
        # A resumed run continues the history of the run that it resumes, up to its checkpoint.
        path = Path(str(args.output_dir)) / SCORES_HISTORY
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= state.global_step]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, "".join(kept if state.global_step else []))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        reports, self.scores.reports = self.scores.reports, []
        if not state.is_world_process_zero:
            return
        for report in reports:
            self._record(args, state, "refresh")
            tqdm.write(
                f"VAS refresh at step {report['step']}: {report['prompts']:,} prompts scored by "
                f"{self.scores.args.vas_rollouts} rollouts each; {self._draw()}"
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
        if self.scores.mode in ("online", "uncertainty"):
            self._record(args, state, "log")
        parts = [self._draw(), f"coverage {logs['vas/coverage']:.0%}"]
        if "vas/frac_zero_variance_groups" in logs:
            part = f"groups without signal {logs['vas/frac_zero_variance_groups']:.0%}"
            if "vas/frac_zero_variance_weighted" in logs:
                uniform, weighted = logs["vas/frac_zero_variance_uniform"], logs["vas/frac_zero_variance_weighted"]
                part += f" (uniform part {uniform:.0%}, weighted part {weighted:.0%})"
            parts.append(part)
        parts.append(f"rollouts {self.scores.training_rollouts:,} training + {self.scores.scoring_rollouts:,} scoring")
        tqdm.write(f"VAS step {state.global_step}: {', '.join(parts)}")

    def _draw(self) -> str:
        weights = self.scores.scores
        return (
            f"mean score {weights.mean().item():.3f}, effective sample size {effective_sample_size(weights):,.0f} of "
            f"{len(weights):,}"
        )

    def _record(self, args: TrainingArguments, state: TrainerState, event: str) -> None:
        scores = self.scores.scores.numpy()
        span = (scores.min(), max(scores.max(), scores.min() + 1e-6))  # NumPy refuses a range of rounding errors
        counts, edges = np.histogram(scores, bins=HISTOGRAM_BINS, range=span)
        line = {
            "step": state.global_step,
            "event": event,
            "mode": self.scores.mode,
            "counts": counts.tolist(),
            "edges": edges.tolist(),
            "scoring_rollouts": self.scores.scoring_rollouts,
            "training_rollouts": self.scores.training_rollouts,
        }
        with open(Path(str(args.output_dir)) / SCORES_HISTORY, "a") as file:
            file.write(json.dumps(line) + "\n")
