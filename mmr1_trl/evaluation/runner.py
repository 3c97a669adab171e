# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Score a model on rows with checkable answers, greedily and from samples, by the rewards' own scorer."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import ClassLabel, Dataset, Value
from tqdm.auto import tqdm
from transformers import PreTrainedModel

from mmr1_trl.data.checks.row_checks import find_control_tokens, readable_by
from mmr1_trl.data.mixture import SOURCE_ROW
from mmr1_trl.data.pictures.images import without_images
from mmr1_trl.data.prompt_style import get_prompt_style
from mmr1_trl.engines.frames import add_frames
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.evaluation.generation import (
    Completion,
    Generator,
    TransformersGenerator,
    load_batch,
    plan_batches,
    undisturbed,
)
from mmr1_trl.evaluation.progress import BatchLog, data_fingerprint
from mmr1_trl.evaluation.results import EvalResult, summarize
from mmr1_trl.evaluation.vllm_generation import VLLMGenerator
from mmr1_trl.models.processing import ProcessingClass, generation_prompt
from mmr1_trl.rewards.extraction import whole_reply
from mmr1_trl.rewards.scoring import row_question, score_answers


def evaluate_model(
    model: PreTrainedModel | VLLMGenerator,
    processor: ProcessingClass,
    dataset: Dataset,
    *,
    num_samples: int = 0,
    temperature: float = 1.0,
    max_new_tokens: int = 512,
    batch_size: int = 64,
    seed: int = 0,
    prompt_style: str | None = None,
    by: Sequence[str] | None = None,
    all_right: Mapping[str, Sequence[str]] | None = None,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    coordinates: str = "auto",
    progress: bool = True,
    log_file: str | Path | None = None,
    keep_log: bool = False,
    state: PartialState | None = None,
) -> EvalResult:
    """
    Score `model` on `dataset` by the rewards' own answer scorer. These rule-based scores are not comparable with
    leaderboards on which a judge model scores.

    The model's train/eval mode and torch's random state are restored afterwards; the result depends on `seed` alone.

    Args:
        model (`PreTrainedModel` or [`~mmr1_trl.evaluation.vllm_generation.VLLMGenerator`]):
            The model, on the device where it should run, or a vLLM engine that holds it.
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
        all_right (`Mapping[str, Sequence[str]]`, *optional*):
            Scores that count groups of rows, right when every row of the group is: their names, and the columns that
            the rows of a group share.
        min_pixels (`int`, *optional*):
            Pictures with fewer pixels are enlarged to this, as in training.
        max_pixels (`int`, *optional*):
            Pictures with more pixels are shrunk to this, as in training.
        coordinates (`str`, *optional*, defaults to `"auto"`):
            In which frame the model writes points and boxes (see [`~rewards.grounding.boxes.Frame`]); `"auto"` goes by
            what the rows say and by its family.
        progress (`bool`, *optional*, defaults to `True`):
            Whether to show a progress bar.
        log_file (`str` or `Path`, *optional*):
            File that finished batches are kept in. An interrupted evaluation goes on from it when called again with
            the same arguments, and gives the same result; a finished one deletes it.
        keep_log (`bool`, *optional*, defaults to `False`):
            Whether a finished evaluation leaves `log_file` to the caller.
        state (`accelerate.PartialState`, *optional*):
            With it, every process of a distributed run takes a share of the batches and gets the whole result, the
            same as from one process. Without it this process does everything.

    Returns:
        [`EvalResult`]: The numbers and every prediction.

    Raises:
        `BadInputError`: If a column is missing, no row can be evaluated, or `log_file` belongs to something else.
    """
    start = time.perf_counter()
    dataset = readable_by(processor, dataset, "the rows to evaluate on")
    # In vLLM the family is not at hand; the rows of `mmr1 eval` say their frame themselves.
    family = "unknown" if isinstance(model, VLLMGenerator) else model.config.model_type
    dataset = add_frames(dataset, processor, coordinates, lambda: family, min_pixels, max_pixels)
    categories = category_columns(dataset, by)
    groups = dict(all_right or {})
    is_formatted = get_prompt_style(prompt_style).is_formatted if prompt_style is not None else None
    generator: Generator = model if isinstance(model, VLLMGenerator) else TransformersGenerator(model, processor)
    passes: list[tuple[int | None, int]] = [(None, batch_size)]  # (samples per prompt, prompts per batch)
    if num_samples > 0:
        passes.append((num_samples, max(1, batch_size // num_samples)))
    rank, processes = (0, 1) if state is None else (state.process_index, state.num_processes)

    settings: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    settings |= {"num_samples": num_samples, "batch_size": batch_size, "seed": seed}
    settings |= {"min_pixels": min_pixels, "max_pixels": max_pixels}
    settings |= {"data": data_fingerprint(dataset), "weights": generator.fingerprint()}
    log = BatchLog(log_file, settings, rank)
    completions: dict[int, list[Completion]] = {}
    unsafe = find_control_tokens(dataset, processor)
    skipped: dict[int, str] = {row: f"row {row}: {reason}" for row, reason in unsafe.items()}
    with nullcontext() if isinstance(model, VLLMGenerator) else undisturbed(model):
        for samples, prompts_per_batch in passes:
            batches, unreadable = plan_batches(dataset, prompts_per_batch, unsafe)
            skipped |= {row["row"]: row["reason"] for row in unreadable}
            title = "greedy" if samples is None else f"{samples} samples"
            mine = range(rank, len(batches), processes)
            finished = []
            for index in tqdm(mine, desc=title, disable=not progress or rank > 0):
                done = log.get(title, index)
                if done is None:
                    batch = batches[index]
                    broken = {row["row"]: row["reason"] for row in load_batch(dataset, batch, min_pixels, max_pixels)}
                    # Every batch is seeded by itself, so that it does not matter what came before it, or where.
                    generated = generator.complete(
                        batch.conversations,
                        max_new_tokens=max_new_tokens,
                        num_samples=samples,
                        temperature=temperature,
                        seed=seed + index,
                    )
                    done = dict(zip(batch.rows, generated)), broken
                    log.add(title, index, *done)
                finished.append(done)
            for batch_completions, broken in finished if state is None else gather_object(finished):
                skipped |= broken
                for row, row_completions in batch_completions.items():
                    completions.setdefault(row, []).extend(row_completions)
    if not completions:
        first = f" The first: {next(iter(skipped.values()))}" if skipped else ""
        raise BadInputError(f"None of the {len(dataset)} rows can be evaluated.{first}")

    columns = [*categories, *(column for shared in groups.values() for column in shared)]
    columns += [column for column in ("doc_id", "published_id", "accepted_answers") if column in dataset.column_names]
    predictions = _score(
        dataset, completions, list(dict.fromkeys(columns)), is_formatted, generation_prompt(processor)
    )
    result = summarize(predictions, categories, num_samples, seed, groups)
    ids = dataset["prompt_id"] if "prompt_id" in dataset.column_names else range(len(dataset))
    result.skipped = [{"row": row, "prompt_id": ids[row], "reason": skipped[row]} for row in sorted(skipped)]
    result.seconds = time.perf_counter() - start
    if rank == 0 and not keep_log:
        log.remove()
    return result


def category_columns(dataset: Dataset, by: Sequence[str] | None = None) -> list[str]:
    """
    The columns to break an evaluation of `dataset` down by: `by`, or what is there of the usual ones.

    Raises:
        `BadInputError`: If one of them, or a column that an evaluation needs, is missing, or if one of them has lists,
            structures or pictures.
    """
    for column in ("prompt", "solution", *(by or ())):
        if column not in dataset.column_names:
            known = dataset.column_names
            raise BadInputError(
                f"Evaluation needs the column {column!r}; the dataset has {', '.join(known)}."
                + did_you_mean(column, known)
            )
    for column in by or ():
        if not isinstance(feature := dataset.features[column], Value | ClassLabel):
            raise BadInputError(
                f"The column {column!r} cannot be a category: it holds {type(feature).__name__} values. "
                "Choose columns of texts, numbers or truth values."
            )
    if by is not None:
        return list(by)
    usual = ("source", "family", "level", "answer_type") if SOURCE_ROW in dataset.column_names else ("family", "level")
    return [column for column in dict.fromkeys((*usual, "answer_type")) if column in dataset.column_names]


def _score(
    dataset: Dataset,
    completions: dict[int, list[Completion]],
    columns: Sequence[str],
    is_formatted: Callable[[str], bool] | None,
    opening: str,
) -> list[dict[str, Any]]:
    """Score all completions in one batch (what needs algebra runs in parallel) and make a prediction of each."""
    rows = sorted(completions)
    examples = dict(zip(rows, without_images(dataset).select(rows)))
    pairs = [(row, sample) for row in examples for sample in range(len(completions[row]))]
    questions = {row: row_question(example) for row, example in examples.items()}
    texts = [whole_reply(completions[row][i].text, opening) for row, i in pairs]
    scores = score_answers(texts, [questions[row] for row, _ in pairs])
    predictions = []
    for (row, i), text, score in zip(pairs, texts, scores):
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
                "formatted": None if is_formatted is None else is_formatted(text),
                **{column: example[column] for column in columns},
            }
        )
    return predictions
