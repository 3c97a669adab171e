# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Score a whole dataset by rollouts of one model, without training: what `mmr1 score` does."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from datasets import Dataset
from datasets.table import embed_table_storage

from mmr1_trl.data.score_table import write_table
from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.text_diversity import trajectory_diversity
from mmr1_trl.methods.variance_promotion import outcome_variance, variance_promotion_score
from mmr1_trl.run_folder import KEPT_ROWS, SCORES, SCORES_JOURNAL, Journal
from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.rollouts import SAMPLING, score_prompts, weights_digest
from mmr1_trl.trainers.trainer import RLVRTrainer


@dataclass
class ScoreConfig(RLVRConfig):
    r"""
    Configuration of `mmr1 score`: the options of [`RLVRConfig`] that concern sampling and rewards, so that the YAML of
    a training run serves as it is; those that concern updates have no effect.

    Parameters:
        save_completions (`bool`, *optional*, defaults to `False`):
            Whether the table holds the completions and their rewards as well.
        min_pass_rate (`float`, *optional*), max_pass_rate (`float`, *optional*):
            With either of them the rows within these bounds (inclusive) are written to `kept.parquet`, to train on.

    > [!NOTE]
    > `output_dir` defaults to `"scores"`. `vas_rollouts` rollouts are made per prompt, as many at a time as a
    > generation batch of a training run has.
    """

    output_dir: str | None = field(default="scores", metadata={"help": "Where the scores are written."})
    save_completions: bool = field(
        default=False, metadata={"help": "Whether the table holds the completions and their rewards as well."}
    )
    min_pass_rate: float | None = field(
        default=None, metadata={"help": "Write the rows with at least this pass rate to kept.parquet."}
    )
    max_pass_rate: float | None = field(
        default=None, metadata={"help": "Write the rows with at most this pass rate to kept.parquet."}
    )

    def __post_init__(self) -> None:
        low, high = self.min_pass_rate, self.max_pass_rate
        if not 0 <= (0 if low is None else low) <= (1 if high is None else high) <= 1:
            raise BadInputError(
                f"min_pass_rate={low} and max_pass_rate={high} must satisfy 0 <= min_pass_rate <= max_pass_rate <= 1."
            )
        if self.vas_rollouts < 1:
            raise BadInputError(f"vas_rollouts={self.vas_rollouts} must be at least 1.")
        if self.push_to_hub:
            raise BadInputError("`mmr1 score` uploads nothing: leave out push_to_hub.")
        # Nothing is updated: no reference model, no baseline, no groups, no checkpoints, no dashboard.
        self.advantage_baseline, self.tracker_forgetting, self.beta = "value_tracker", "fixed", 0.0
        self.num_generations, self.num_generations_eval = 1, None
        self.prompt_sampling, self.vas_refresh, self.vas_variant = "uniform", "online", "paper"
        self.prompt_scores, self.tracker_initial_rollouts = None, 0
        self.vas_diversity_weight = 0.2 if self.vas_diversity_weight is None else self.vas_diversity_weight
        self.eval_strategy, self.save_strategy, self.load_best_model_at_end = "no", "no", False
        self.report_to = "none"
        super().__post_init__()


class Scorer(RLVRTrainer):
    """
    An [`RLVRTrainer`] that only samples and scores, by the same prompts, sampling and rewards as in training.

    Args:
        args ([`ScoreConfig`]):
            Configuration.
        model, reward_funcs, train_dataset, processing_class, **kwargs:
            As in [`RLVRTrainer`].
    """

    args: ScoreConfig
    _config_class = ScoreConfig

    @staticmethod
    def _check_enough_rows(train_dataset: Dataset, args: RLVRConfig) -> None:
        pass  # a dataset smaller than a training batch can be scored all the same

    def describe(self, dataset_name: str, model_name: str, revision: str = "main") -> dict[str, Any]:
        """
        Say what the scores depend on.

        Args:
            dataset_name (`str`), model_name (`str`), revision (`str`, *optional*, defaults to `"main"`):
                What the user calls them.

        Returns:
            `dict`: Model, weights, dataset and its fingerprint, reward functions and sampling parameters.
        """
        return {
            "model": model_name,
            "revision": revision,
            "weights": weights_digest(self.accelerator.unwrap_model(self.model)),
            "dataset": dataset_name,
            "fingerprint": self.prompts.fingerprint,
            "rewards": list(self.reward_func_names),
            **{name: getattr(self.args, name) for name in ("vas_rollouts", *SAMPLING, "vas_diversity_metric")},
            "completions": self.args.save_completions,
        }

    def score(self, metadata: dict[str, Any]) -> dict[str, list[Any]]:
        """
        Score every prompt and write `scores.parquet` (and `kept.parquet`) in `output_dir`; a killed run goes on.

        Args:
            metadata (`dict`):
                What [`~Scorer.describe`] returned.

        Returns:
            `dict[str, list]`: The columns of the table, one entry per distinct prompt.

        Raises:
            [`BadInputError`]: `output_dir` holds the scores of another model or dataset, or of another kind; or no
                prompt is within the bounds.
        """
        folder = Path(str(self.args.output_dir))
        journal = Journal(folder / SCORES_JOURNAL, metadata)
        if differences := journal.differences():
            raise BadInputError(
                f"{folder} holds other scores: {'; '.join(differences)}. Choose another --output_dir, or delete "
                f"{folder / SCORES_JOURNAL}."
            )
        self.accelerator.wait_for_everyone()  # nobody writes before everybody has looked
        self.model.train()  # TRL's sampling follows the options of training in this mode
        records = score_prompts(
            self.sample_apart,
            self.prompts,
            range(self.prompts.count),
            self.args.vas_rollouts,
            self.args,
            measure=partial(trajectory_diversity, metric=self.args.vas_diversity_metric),
            journal=journal,
            keep_texts=self.args.save_completions,
        )
        # A row whose picture is broken was sampled as its neighbor, which says nothing about it.
        records = [r for r in records if int(self.prompts.numbers[r["row"]]) == r["prompt"] and r["trials"]]
        if not records:
            raise BadInputError("No prompt could be scored: every reward was None.")
        columns = self._columns(records)
        if self.accelerator.is_main_process:
            write_table(folder / SCORES, columns, metadata)
            self._write_kept(folder / KEPT_ROWS, records)
        self.accelerator.wait_for_everyone()
        return columns

    def _columns(self, records: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """Return the table, in the order of the rows."""
        first = self.prompts.first_rows.tolist()
        records = sorted(records, key=lambda record: first[record["prompt"]])
        rows = [first[record["prompt"]] for record in records]
        ids = self.train_dataset["prompt_id"][:] if "prompt_id" in self.train_dataset.column_names else None
        digests = self.prompts.digests
        pass_rates = torch.tensor([r["successes"] / r["trials"] for r in records], dtype=torch.float64)
        diversity = torch.tensor([r["diversity"] for r in records], dtype=torch.float64)
        weights = self.args.vas_outcome_weight, self.args.vas_diversity_weight or 0.0
        columns: dict[str, list[Any]] = {
            "prompt_id": rows if ids is None else [ids[row] for row in rows],
            "pass_rate": pass_rates.tolist(),
            "count": [record["trials"] for record in records],
            "outcome_variance": outcome_variance(pass_rates).tolist(),
            "diversity": diversity.tolist(),
            "score": variance_promotion_score(pass_rates, diversity, *weights).tolist(),
            "mean_length": [record["mean_length"] for record in records],
            "truncated": [record["truncated"] for record in records],
            "content": [digests[row] for row in rows],
        }
        if self.args.save_completions:
            columns |= {name: [record[name] for record in records] for name in ("completions", "rewards")}
        return columns

    def _write_kept(self, path: Path, records: list[dict[str, Any]]) -> None:
        """Write the rows of the prompts within the bounds."""
        if self.args.min_pass_rate is None and self.args.max_pass_rate is None:
            return
        low = 0.0 if self.args.min_pass_rate is None else self.args.min_pass_rate
        high = 1.0 if self.args.max_pass_rate is None else self.args.max_pass_rate
        kept = {r["prompt"] for r in records if low <= r["successes"] / r["trials"] <= high}
        rows = [row for row, number in enumerate(self.prompts.numbers.tolist()) if number in kept]
        if not rows:
            raise BadInputError(f"No prompt has a pass rate from {low:g} to {high:g}; see {path.with_name(SCORES)}.")
        selected = self.train_dataset.select(rows).with_format("arrow")
        temporary = path.with_name(path.name + ".tmp")
        with pq.ParquetWriter(temporary, selected.features.arrow_schema) as writer:
            for part in selected.iter(batch_size=100):
                try:
                    writer.write_table(embed_table_storage(part))  # whatever folder a picture was in
                except FileNotFoundError as error:
                    raise BadInputError(f"{path}: a picture of a row to keep is gone ({error}).") from error
        temporary.replace(path)


def summarize(columns: dict[str, list[Any]], metadata: dict[str, Any]) -> str:
    """Return a few lines about a table of scores for a person to read."""
    rates = torch.tensor(columns["pass_rate"])
    never, always = (rates == 0).float().mean().item(), (rates == 1).float().mean().item()
    return (
        f"{len(rates):,} prompts of {metadata['dataset']} by {metadata['model']}, {metadata['vas_rollouts']} rollouts "
        f"each (temperature {metadata['temperature']:g}, at most {metadata['max_completion_length']} tokens, seed "
        f"{metadata['seed']}).\n"
        f"  pass rate    {rates.mean().item():.3f}: {never:.0%} never right, {1 - never - always:.0%} mixed, "
        f"{always:.0%} always right\n"
        f"  mean length  {sum(columns['mean_length']) / len(rates):.1f} tokens, "
        f"{sum(columns['truncated']) / len(rates):.0%} cut off"
    )
