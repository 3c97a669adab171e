# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Score a model on rows with checkable answers, greedily and from samples, by the rewards' own scorer."""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from datasets import Dataset
from tqdm.auto import tqdm
from transformers import PreTrainedModel, ProcessorMixin

from mmr1_trl.data.images import open_image
from mmr1_trl.data.prompt_style import get_prompt_style
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.evaluation.generation import Completion, generate, load_batch, plan_batches, undisturbed
from mmr1_trl.evaluation.metrics import bootstrap_interval, majority_correct, mean_interval, pass_at_k
from mmr1_trl.rewards.scoring import make_question, score_answers


@dataclass
class EvalResult:
    """
    What an evaluation found. Shares and accuracies are in [0, 1].

    Attributes:
        num_prompts (`int`):
            Prompts that were scored.
        num_samples (`int`):
            Sampled completions per prompt, 0 when only greedy decoding was asked for.
        greedy_accuracy (`float`):
            Mean score of the greedy completions.
        sampled_accuracy (`float`, *optional*):
            Mean score over prompts and samples.
        pass_at (`dict[int, float]`):
            pass@k for k = 1, 2, 4, ... and `num_samples`.
        majority_accuracy (`float`, *optional*):
            Accuracy of the majority vote over `num_samples` samples.
        interval (`dict[str, tuple[float, float]]`):
            95 % interval of each accuracy above: Wilson's for greedy decoding, a bootstrap over prompts otherwise.
        by (`dict[str, dict[str, dict]]`):
            For each category column and value: `num_prompts`, `greedy_accuracy`, `interval`, `sampled_accuracy`.
        unparsed (`float`):
            Share of greedy completions in which no answer was found.
        truncated (`float`):
            Share of greedy completions cut off at the token limit.
        formatted (`float`, *optional*):
            Share of greedy completions that follow the prompt style's format, if one was given.
        mean_length (`float`):
            Mean length of the greedy completions, in tokens.
        skipped (`list[dict]`):
            Rows left out because of a broken picture: `row`, `prompt_id`, `reason`. They are in no number above.
        seconds (`float`):
            Wall-clock time.
        predictions (`list[dict]`):
            One entry per completion, in row order: `row`, `prompt_id`, `sample` (-1 for the greedy one), `question`,
            `solution`, `completion`, `extracted`, `correct`, `reason`, `length`, `truncated`, `formatted` and the
            category columns.
    """

    num_prompts: int
    num_samples: int
    greedy_accuracy: float
    sampled_accuracy: float | None
    majority_accuracy: float | None
    pass_at: dict[int, float]
    interval: dict[str, tuple[float, float]]
    by: dict[str, dict[str, dict[str, Any]]]
    unparsed: float
    truncated: float
    formatted: float | None
    mean_length: float
    skipped: list[dict[str, Any]]
    seconds: float
    predictions: list[dict[str, Any]] = field(repr=False)

    def summary(self) -> dict[str, Any]:
        """Everything but the predictions, ready for JSON."""
        return {key: value for key, value in vars(self).items() if key != "predictions"}

    def to_json(self, path: str | Path) -> None:
        """Write [`~EvalResult.summary`] to `path`."""
        Path(path).write_text(json.dumps(self.summary(), indent=2) + "\n", encoding="utf-8")

    def save(self, folder: str | Path, dataset: Dataset | None = None, num_pictures: int = 48) -> None:
        """
        Write `summary.json` and `predictions.parquet`, and a few pictures for a report to show.

        Args:
            folder (`str` or `Path`):
                Where to write; created if missing.
            dataset (`datasets.Dataset`, *optional*):
                The evaluated rows. With it, the pictures of rows spread evenly over the set are written to
                `pictures/<row>.png` (the first picture of a row).
            num_pictures (`int`, *optional*, defaults to `48`):
                How many pictures to write.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.to_json(folder / "summary.json")
        pd.DataFrame(self.predictions).to_parquet(folder / "predictions.parquet")
        if dataset is None or "images" not in dataset.column_names:
            return
        (folder / "pictures").mkdir(exist_ok=True)
        rows = [prediction["row"] for prediction in self.predictions if prediction["sample"] == -1]
        for row in rows[:: math.ceil(len(rows) / num_pictures)]:
            if images := dataset[row]["images"]:
                open_image(images[0], f"row {row}").save(folder / "pictures" / f"{row}.png")


def evaluate_model(
    model: PreTrainedModel,
    processor: ProcessorMixin,
    dataset: Dataset,
    *,
    num_samples: int = 0,
    temperature: float = 1.0,
    max_new_tokens: int = 512,
    batch_size: int = 64,
    seed: int = 0,
    prompt_style: str | None = None,
    by: Sequence[str] | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    progress: bool = True,
) -> EvalResult:
    """
    Score `model` on `dataset` by the rewards' own answer scorer. These rule-based scores are not comparable with
    leaderboards on which a judge model scores.

    The model's train/eval mode and torch's random state are restored afterwards; the result depends on `seed` alone.

    Args:
        model (`PreTrainedModel`):
            The model, on the device where it should run.
        processor (`ProcessorMixin`):
            Its processor.
        dataset (`datasets.Dataset`):
            Rows with `prompt`, `solution`, optionally `images`, `answer_type`, `options`, `tolerance`, `precision`,
            `prompt_id` and categories.
        num_samples (`int`, *optional*, defaults to `0`):
            Completions to sample per prompt, beside the greedy one.
        temperature (`float`, *optional*, defaults to `1.0`):
            Temperature of the samples.
        max_new_tokens (`int`, *optional*, defaults to `512`):
            Longest completion, in tokens.
        batch_size (`int`, *optional*, defaults to `64`):
            Most completions generated at once.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the samples and of the bootstrap.
        prompt_style (`str`, *optional*):
            Name of the prompt style whose format the completions should follow.
        by (`Sequence[str]`, *optional*):
            Category columns. By default those of `family`, `level` and `answer_type` that are present.
        min_pixels (`int`, *optional*):
            Pictures with fewer pixels are enlarged to this, as in training.
        max_pixels (`int`, *optional*):
            Pictures with more pixels are shrunk to this, as in training.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show a progress bar.

    Returns:
        [`EvalResult`]: The numbers and every prediction.

    Raises:
        `BadInputError`: If a column is missing or no row can be evaluated.
    """
    start = time.perf_counter()
    categories = category_columns(dataset, by)
    is_formatted = get_prompt_style(prompt_style).is_formatted if prompt_style is not None else None
    passes: list[tuple[int | None, int]] = [(None, batch_size)]  # (samples per prompt, prompts per batch)
    if num_samples > 0:
        passes.append((num_samples, max(1, batch_size // num_samples)))

    completions: dict[int, list[Completion]] = {}
    skipped: dict[int, str] = {}
    with undisturbed(model):
        for samples, prompts_per_batch in passes:
            batches, unreadable = plan_batches(dataset, prompts_per_batch)
            skipped |= {row["row"]: row["reason"] for row in unreadable}
            title = "greedy" if samples is None else f"{samples} samples"
            for index, batch in enumerate(tqdm(batches, desc=title, disable=not progress)):
                skipped |= {row["row"]: row["reason"] for row in load_batch(dataset, batch, min_pixels, max_pixels)}
                if not batch.rows:
                    continue
                torch.manual_seed(seed + index)  # each batch by itself, so that what came before it does not matter
                generated = generate(
                    model,
                    processor,
                    batch.conversations,
                    max_new_tokens=max_new_tokens,
                    num_samples=samples,
                    temperature=temperature,
                )
                for row, row_completions in zip(batch.rows, generated):
                    completions.setdefault(row, []).extend(row_completions)
    if not completions:
        first = f" The first: {next(iter(skipped.values()))}" if skipped else ""
        raise BadInputError(f"None of the {len(dataset)} rows can be evaluated.{first}")

    predictions = _score(dataset, completions, categories, is_formatted)
    result = summarize(predictions, categories, num_samples, seed)
    ids = dataset["prompt_id"] if "prompt_id" in dataset.column_names else range(len(dataset))
    result.skipped = [{"row": row, "prompt_id": ids[row], "reason": skipped[row]} for row in sorted(skipped)]
    result.seconds = time.perf_counter() - start
    return result


def summarize(
    predictions: list[dict[str, Any]], categories: Sequence[str] = (), num_samples: int = 0, seed: int = 0
) -> EvalResult:
    """
    Compute every number of an [`EvalResult`] from its predictions, for example after reading them back from disk.

    Args:
        predictions (`list[dict]`):
            Entries as in `EvalResult.predictions`.
        categories (`Sequence[str]`, *optional*):
            Keys of the entries to break the accuracy down by.
        num_samples (`int`, *optional*, defaults to `0`):
            Sampled completions per prompt.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the bootstrap.

    Returns:
        [`EvalResult`]: The numbers; `skipped` is empty and `seconds` 0.
    """
    greedy = [prediction for prediction in predictions if prediction["sample"] == -1]
    sampled: dict[int, list[dict[str, Any]]] = {}
    for prediction in predictions:
        if prediction["sample"] >= 0:
            sampled.setdefault(prediction["row"], []).append(prediction)
    scores = [prediction["correct"] for prediction in greedy]
    interval = {"greedy_accuracy": mean_interval(scores, seed)}
    sampled_accuracy, majority_accuracy, pass_at = None, None, {}
    if sampled:
        prompt_means = [_mean([p["correct"] for p in group]) for group in sampled.values()]
        sampled_accuracy = _mean(prompt_means)
        interval["sampled_accuracy"] = bootstrap_interval(prompt_means, seed)
        votes = [
            majority_correct([p["extracted"] for p in group], [p["correct"] for p in group])
            for group in sampled.values()
        ]
        majority_accuracy = _mean(votes)
        interval["majority_accuracy"] = mean_interval(votes, seed)
        for k in sorted({num_samples, *(2**power for power in range(num_samples.bit_length()))}):
            # A score counts as a success from 0.5 on; the scorer of most answer types gives 0 or 1.
            pass_at[k] = _mean(
                [pass_at_k(len(group), sum(p["correct"] >= 0.5 for p in group), k) for group in sampled.values()]
            )
    by: dict[str, dict[str, dict[str, Any]]] = {}
    for category in categories:
        values = sorted({prediction[category] for prediction in greedy}, key=lambda value: (str(type(value)), value))
        by[category] = {str(value): _breakdown(greedy, sampled, category, value, seed) for value in values}
    formatted = [prediction["formatted"] for prediction in greedy if prediction["formatted"] is not None]
    return EvalResult(
        num_prompts=len(greedy),
        num_samples=num_samples,
        greedy_accuracy=_mean(scores),
        sampled_accuracy=sampled_accuracy,
        majority_accuracy=majority_accuracy,
        pass_at=pass_at,
        interval=interval,
        by=by,
        unparsed=_mean([prediction["extracted"] is None for prediction in greedy]),
        truncated=_mean([prediction["truncated"] for prediction in greedy]),
        formatted=_mean(formatted) if formatted else None,
        mean_length=_mean([prediction["length"] for prediction in greedy]),
        skipped=[],
        seconds=0.0,
        predictions=predictions,
    )


def category_columns(dataset: Dataset, by: Sequence[str] | None = None) -> list[str]:
    """
    The columns to break an evaluation of `dataset` down by: `by`, or what is there of the usual ones.

    Raises:
        `BadInputError`: If one of them, or a column that an evaluation needs, is missing.
    """
    for column in ("prompt", "solution", *(by or ())):
        if column not in dataset.column_names:
            known = dataset.column_names
            raise BadInputError(
                f"Evaluation needs the column {column!r}; the dataset has {', '.join(known)}."
                + did_you_mean(column, known)
            )
    if by is not None:
        return list(by)
    return [column for column in ("family", "level", "answer_type") if column in dataset.column_names]


def _score(
    dataset: Dataset,
    completions: dict[int, list[Completion]],
    categories: Sequence[str],
    is_formatted: Callable[[str], bool] | None,
) -> list[dict[str, Any]]:
    """Score all completions in one batch (what needs algebra runs in parallel) and make a prediction of each."""
    examples = {row: dataset[row] for row in sorted(completions)}
    pairs = [(row, sample) for row in examples for sample in range(len(completions[row]))]
    questions = {
        row: make_question(
            example["solution"], *(example.get(key) for key in ("answer_type", "options", "tolerance", "precision"))
        )
        for row, example in examples.items()
    }
    scores = score_answers([completions[row][i].text for row, i in pairs], [questions[row] for row, _ in pairs])
    predictions = []
    for (row, i), score in zip(pairs, scores):
        example, completion = examples[row], completions[row][i]
        predictions.append(
            {
                "row": row,
                "prompt_id": example.get("prompt_id", row),
                "sample": i - 1,
                "question": str(example["prompt"][-1]["content"]),
                "solution": example["solution"],
                "completion": completion.text,
                "extracted": score.extracted,
                "correct": score.correct,
                "reason": score.reason,
                "length": completion.length,
                "truncated": completion.truncated,
                "formatted": None if is_formatted is None else is_formatted(completion.text),
                **{category: example[category] for category in categories},
            }
        )
    return predictions


def _breakdown(
    greedy: list[dict[str, Any]], sampled: dict[int, list[dict[str, Any]]], category: str, value: Any, seed: int
) -> dict[str, Any]:
    chosen = [prediction for prediction in greedy if prediction[category] == value]
    scores = [prediction["correct"] for prediction in chosen]
    samples = [p["correct"] for prediction in chosen for p in sampled.get(prediction["row"], [])]
    return {
        "num_prompts": len(chosen),
        "greedy_accuracy": _mean(scores),
        "interval": mean_interval(scores, seed),
        "sampled_accuracy": _mean(samples) if samples else None,
    }


def _mean(values: Sequence[float]) -> float:
    return float(sum(values)) / len(values)
