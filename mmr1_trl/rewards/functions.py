# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Accuracy, format and class-label rewards, and penalties on repetition and length, in TRL's signature."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mmr1_trl.data.prompt_style import get_prompt_style
from mmr1_trl.rewards.extraction import completion_text, extract_answer, whole_reply
from mmr1_trl.rewards.gold import Question, gold_of
from mmr1_trl.rewards.scoring import score_answers
from mmr1_trl.rewards.types import check_gold, row_question
from mmr1_trl.rewards.values.words import normalize_label


Completions = Sequence[str | list[dict]]
LogExtra = Callable[[str, list], None] | None
LogMetric = Callable[[str, float], None] | None
_QUESTION_COLUMNS = (
    "solution", "answer_type", "options", "tolerance", "precision", "accepted_answers", "coordinates", "image_size",
    "seen_size",
)  # fmt: skip
_NOT_COMPARED = ("no answer", "too long", "unreadable")


@lru_cache(maxsize=65_536)
def _question(gold: str | None, *cells: Any) -> Question | None:
    row = dict(zip(_QUESTION_COLUMNS, (gold, *cells), strict=True))
    if gold is None or check_gold(gold, row["answer_type"], row["options"]):
        return None
    return row_question(row)


def cells_of(number: int, *columns: Any) -> Iterator[tuple[Any, ...]]:
    """
    Yield the cells of each row in a form that can be hashed. Those of a missing column are empty, and a text stands
    for a column of the same in all rows.
    """
    spread = [[column] * number if column is None or isinstance(column, str) else column for column in columns]
    return zip(*(map(_cell, column) for column in spread), strict=True)


def _cell(value: Any) -> Any:
    if isinstance(value, Mapping | list | tuple):
        return tuple(map(_cell, value))
    return None if isinstance(value, float) and value != value else value


def whole_replies(completions: Completions, generation_prompt: Sequence[str] | None) -> list[str]:
    """The texts of completions, each with the `<think>` that its chat template has opened, see [`whole_reply`]."""
    texts = [completion_text(completion) for completion in completions]
    return [whole_reply(*pair) for pair in zip(texts, generation_prompt or [""] * len(texts), strict=True)]


def _style_names(prompt_style: str | Sequence[str], number: int) -> Sequence[str]:
    return [prompt_style] * number if isinstance(prompt_style, str) else prompt_style


def accuracy_reward(
    completions: Completions,
    solution: Sequence[str],
    answer_type: Sequence[str | None] | None = None,
    options: Sequence[Sequence[str] | None] | None = None,
    tolerance: Sequence[float | None] | None = None,
    precision: Sequence[float | None] | None = None,
    prompt_style: str | Sequence[str] = "figures",
    clean_solution: Sequence[str] | None = None,
    accepted_answers: Sequence[Sequence[str] | None] | None = None,
    clean_accepted_answers: Sequence[Sequence[str] | None] | None = None,
    coordinates: str | Sequence[str | None] | None = None,
    image_size: Sequence[Sequence[int] | None] | None = None,
    seen_size: Sequence[Sequence[int] | None] | None = None,
    generation_prompt: Sequence[str] | None = None,
    log_extra: LogExtra = None,
    log_metric: LogMetric = None,
    **kwargs: Any,
) -> list[float | None]:
    r"""
    Reward 1.0 when the one final answer of a completion equals the gold, else 0.0.

    Logs `rewards/timeout_frac` (comparisons that no worker finished), `rewards/unparsed_frac` (completions without a
    readable answer), `rewards/bad_gold_frac`, `rewards/accuracy_given_format` and, on noisy labels,
    `rewards/clean_accuracy`, and the columns `extracted` and `solution`.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        solution (`Sequence[str]`):
            Gold answers.
        answer_type (`Sequence[str]`, *optional*):
            Dataset column, see [`types.ANSWER_TYPES`]. Inferred from each gold where it is missing.
        options (`Sequence[Sequence[str]]`, *optional*):
            Dataset column with the choices of multiple-choice questions.
        tolerance (`Sequence[float]`, *optional*):
            Dataset column: relative tolerance on numbers (0.05 for ChartQA).
        precision (`Sequence[float]`, *optional*):
            Dataset column: decimals to round to before comparing (MathVista).
        prompt_style (`str` or `Sequence[str]`, *optional*, defaults to `"figures"`):
            Style whose format `rewards/accuracy_given_format` is conditioned on.
        clean_solution (`Sequence[str]`, *optional*):
            Dataset column with the true answers when `solution` holds noisy ones. It is logged, not rewarded.
        accepted_answers (`Sequence[Sequence[str]]`, *optional*), clean_accepted_answers (the same, *optional*):
            Dataset columns with all answers that are right (DocVQA, VQAv2), beside `solution` and `clean_solution`.
        coordinates, image_size, seen_size (*optional*):
            Dataset columns about points and boxes, see [`point_in_box_reward`].
        generation_prompt (`Sequence[str]`, *optional*), log_extra, log_metric (`Callable`, *optional*):
            Passed by the trainer. A completion whose prompt has opened `<think>` starts inside its reasoning.

    Returns:
        `list[float | None]`: Rewards; `None` (the trainer skips the row) where the gold itself cannot be read.

    Example:
    ```python
    >>> accuracy_reward(["<think>..</think><answer>(B)</answer>", r"\boxed{3}"], solution=["B", "3:4"])
    [1.0, 0.0]
    ```
    """
    completions = whole_replies(completions, generation_prompt)
    number = len(completions)
    columns = (answer_type, options, tolerance, precision, accepted_answers, coordinates, image_size, seen_size)
    golds = list(map(gold_of, solution))
    questions = [_question(*cells) for cells in cells_of(number, golds, *columns)]
    kept = [index for index, question in enumerate(questions) if question is not None]
    scores = score_answers([completions[i] for i in kept], [q for q in questions if q is not None])
    by_row = dict(zip(kept, scores))
    if log_extra is not None:
        extracted = [by_row[i].extracted if i in by_row else None for i in range(number)]
        log_extra("extracted", [answer or "" for answer in extracted])
        log_extra("solution", [str(gold) for gold in solution])
    if log_metric is not None:
        log_metric("rewards/bad_gold_frac", 1 - len(kept) / max(1, number))
        if scores:
            timeouts = sum(score.reason in ("timeout", "memory", "crash") for score in scores)
            log_metric("rewards/timeout_frac", timeouts / len(scores))
            log_metric("rewards/unparsed_frac", sum(s.reason in _NOT_COMPARED for s in scores) / len(scores))
        names = _style_names(prompt_style, number)
        formatted = [by_row[i].correct for i in kept if get_prompt_style(names[i]).is_formatted(completions[i])]
        if formatted:
            log_metric("rewards/accuracy_given_format", sum(formatted) / len(formatted))
        if clean_solution is not None:
            places: dict[str, Any] = {"coordinates": coordinates, "image_size": image_size, "seen_size": seen_size}
            places["accepted_answers"] = clean_accepted_answers
            clean = accuracy_reward(completions, clean_solution, answer_type, options, tolerance, precision, **places)
            scored = [reward for reward in clean if reward is not None]
            if scored:
                log_metric("rewards/clean_accuracy", sum(scored) / len(scored))
    return [by_row[i].correct if i in by_row else None for i in range(number)]


def format_reward(
    completions: Completions,
    prompt_style: str | Sequence[str] = "figures",
    generation_prompt: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward 1.0 for a completion in the shape that its prompt style asks for, else 0.0.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        prompt_style (`str` or `Sequence[str]`, *optional*, defaults to `"figures"`):
            Name of the style, or a dataset column of names. The default asks for `<think>..</think>` and then
            `<answer>..</answer>`.
        generation_prompt (`Sequence[str]`, *optional*):
            Passed by the trainer: what the chat template writes before each completion. Where it opens `<think>`, the
            completion need not.

    Returns:
        `list[float | None]`: Rewards.
    """
    names = _style_names(prompt_style, len(completions))
    return [
        float(get_prompt_style(name).is_formatted(text))
        for text, name in zip(whole_replies(completions, generation_prompt), names, strict=True)
    ]


def class_label_reward(
    completions: Completions, solution: Sequence[str], match: str = "exact", **kwargs: Any
) -> list[float | None]:
    """
    Reward 1.0 for the right class name, else 0.0. Case, spaces, underscores, hyphens and punctuation are ignored.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        solution (`Sequence[str]`):
            Gold class names.
        match (`"exact"` or `"substring"`, *optional*, defaults to `"exact"`):
            `"substring"` is Visual-RFT's rule: either name may contain the other. A policy can exploit it by listing
            every class.

    Returns:
        `list[float | None]`: Rewards; `None` where there is no gold.
    """
    rewards: list[float | None] = []
    for completion, gold in zip(completions, map(gold_of, solution), strict=True):
        right, given = normalize_label(gold or ""), normalize_label(extract_answer(completion_text(completion)) or "")
        same = right == given or (match == "substring" and (right in given or given in right))
        rewards.append(float(bool(right and given) and same) if right else None)
    return rewards


def repetition_penalty(
    completions: Completions, ngram_size: int = 40, max_penalty: float = -0.5, **kwargs: Any
) -> list[float | None]:
    r"""
    Penalize repeated word n-grams: `(1 - unique / total) * max_penalty`, as the released code of MMR1
    (arXiv 2509.21268) does with 40-grams.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        ngram_size (`int`, *optional*, defaults to `40`):
            Length of the n-grams in words.
        max_penalty (`float`, *optional*, defaults to `-0.5`):
            Reward of a completion that only repeats itself.

    Returns:
        `list[float | None]`: Penalties in `[max_penalty, 0]`; 0 for texts shorter than one n-gram.
    """
    return [_repetition(completion_text(c).lower().split(), ngram_size, max_penalty) for c in completions]


def _repetition(words: list[str], size: int, max_penalty: float) -> float:
    total = len(words) - size + 1
    if total < 1:
        return 0.0
    unique = len({tuple(words[start : start + size]) for start in range(total)})
    return (1 - unique / total) * max_penalty if unique < total else 0.0


def length_penalty(
    completions: Completions,
    completion_ids: Sequence[Sequence[int]],
    max_length: int = 1280,
    margin: int = 256,
    **kwargs: Any,
) -> list[float | None]:
    """
    Penalize overlong completions: 0 up to `max_length - margin` tokens, then linearly down to -1 at `max_length`
    (DAPO, arXiv 2503.14476, Eq. 13).

    Args:
        completions (`Sequence[str | list[dict]]`):
            Not read; the length is counted in tokens.
        completion_ids (`Sequence[Sequence[int]]`):
            Token ids, passed by the trainer.
        max_length (`int`, *optional*, defaults to `1280`):
            Length in tokens at which the penalty is complete. The defaults are those of TRL's command line.
        margin (`int`, *optional*, defaults to `256`):
            Width of the slope in tokens.

    Returns:
        `list[float | None]`: Penalties in [-1, 0].
    """
    return [-min(1.0, max(0, len(ids) - (max_length - margin)) / margin) for ids in completion_ids]
