# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rewards without labels: agreement with the other rollouts, and how sure the policy was of its own tokens."""

from collections.abc import Hashable, Sequence
from typing import Any

from mmr1_trl.errors import BadInputError
from mmr1_trl.rewards.extraction import extract_answer
from mmr1_trl.rewards.functions import Completions, LogMetric, whole_replies
from mmr1_trl.rewards.scoring import score_answers
from mmr1_trl.rewards.types import MAX_ANSWER_CHARS, make_question


def majority_vote_reward(
    completions: Completions,
    prompt_id: Sequence[Hashable] | None = None,
    answer_type: Sequence[str | None] | None = None,
    options: Sequence[Sequence[str] | None] | None = None,
    generation_prompt: Sequence[str] | None = None,
    log_metric: LogMetric = None,
    **kwargs: Any,
) -> list[float | None]:
    """
    Reward 1.0 for the answer that most rollouts of the prompt give, else 0.0 (TTRL: Test-Time Reinforcement Learning,
    arXiv 2504.16084). The label is not read.

    Answers are equal by the rules of the row's answer type, as in [`accuracy_reward`]. Of several answers with as many
    votes the first one wins. A completion without an answer has no vote and gets 0. Logs `rewards/majority_frac`, the
    share of votes that go to the winners.

    It needs a group: with one rollout per prompt every answer is its own majority. A group that is spread over
    processes votes in each of them apart, so `per_device_train_batch_size x steps_per_generation` should be a multiple
    of `num_generations`.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        prompt_id (`Sequence[int | str]`):
            Dataset column that tells whose rollouts belong together. The text of a prompt does not: many rows may ask
            the same question about different pictures.
        answer_type (`Sequence[str]`, *optional*):
            Dataset column. Inferred from the answers where it is missing.
        options (`Sequence[Sequence[str]]`, *optional*):
            Dataset column with the choices of multiple-choice questions.
        generation_prompt (`Sequence[str]`, *optional*), log_metric (`Callable`, *optional*):
            Passed by the trainer.

    Returns:
        `list[float]`: Rewards.

    Raises:
        [`BadInputError`]: There is no column `prompt_id`.

    Example:
    ```python
    >>> majority_vote_reward(["<answer>0.5</answer>", "<answer>1/2</answer>", "<answer>2</answer>"], prompt_id=[7, 7, 7])
    [1.0, 1.0, 0.0]
    ```
    """  # noqa: E501
    if prompt_id is None:
        raise BadInputError(
            "majority_vote_reward needs the column 'prompt_id', which tells whose rollouts belong together; "
            "mmr1_trl.data.prepare_dataset makes it."
        )
    completions = whole_replies(completions, generation_prompt)
    answers = [extract_answer(text) for text in completions]
    groups: dict[Hashable, list[int]] = {}
    for row, (key, answer) in enumerate(zip(prompt_id, answers, strict=True)):
        if answer is not None and len(answer) <= MAX_ANSWER_CHARS:
            groups.setdefault(key, []).append(row)

    # Each distinct wording is held against the others of its group once; all comparisons go out together.
    pairs: list[tuple[int, int]] = []
    for rows in groups.values():
        wordings = list({answers[row]: row for row in reversed(rows)}.values())
        pairs += [(candidate, other) for candidate in wordings for other in wordings if candidate != other]
    questions = {
        candidate: make_question(
            str(answers[candidate]),
            answer_type[candidate] if answer_type else None,
            options[candidate] if options else None,
        )
        for candidate, _ in pairs
    }
    scores = score_answers(
        [completions[other] for _, other in pairs], [questions[candidate] for candidate, _ in pairs]
    )
    equal = {(answers[a], answers[b], prompt_id[a]) for (a, b), score in zip(pairs, scores) if score.correct}

    rewards = [0.0] * len(completions)
    for key, rows in groups.items():
        voters = {
            row: [
                other
                for other in rows
                if answers[other] == answers[row] or (answers[row], answers[other], key) in equal
            ]
            for row in rows
        }
        for winner in max(voters.values(), key=len):  # the first of the largest
            rewards[winner] = 1.0
    if log_metric is not None and groups:
        log_metric("rewards/majority_frac", sum(rewards) / sum(map(len, groups.values())))
    return list(rewards)


def negative_entropy_reward(
    completions: Completions, mean_entropy: Sequence[float | None] | None = None, **kwargs: Any
) -> list[float | None]:
    """
    Reward minus the entropy of the sampling policy over the whole vocabulary, averaged over the completion's tokens
    (RENT: Reinforcement Learning via Entropy Minimization, arXiv 2505.22660). The label is not read.

    The entropies are those of the pass over the rollouts that TRL makes for the importance ratio, at the sampling
    temperature. It makes none when a generation batch is used for one update only; the trainer refuses that.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        mean_entropy (`Sequence[float]`):
            Passed by [`RLVRTrainer`]: mean token entropy of each completion in nats, `None` for an empty one.

    Returns:
        `list[float]`: Rewards, 0 or less; `None` for a completion without a token.

    Raises:
        [`BadInputError`]: There are no entropies: outside the trainer's own batches a text has none.
    """
    known = _known(mean_entropy, "negative_entropy_reward")
    return [None if entropy is None else -entropy for entropy in known]


def self_certainty_reward(
    completions: Completions, mean_self_certainty: Sequence[float | None] | None = None, **kwargs: Any
) -> list[float | None]:
    """
    Reward the KL divergence of the uniform distribution over the vocabulary to the sampling policy's, averaged over
    the completion's tokens: its self-certainty (Intuitor: Learning to Reason without External Rewards, arXiv
    2505.19590). The label is not read. From the same pass as [`negative_entropy_reward`]'s, on the same condition.

    Args:
        completions (`Sequence[str | list[dict]]`):
            Completions, plain or conversational.
        mean_self_certainty (`Sequence[float]`):
            Passed by [`RLVRTrainer`]: mean self-certainty of each completion in nats, `None` for an empty one.

    Returns:
        `list[float]`: Rewards, 0 or more; `None` for a completion without a token.

    Raises:
        [`BadInputError`]: There is no self-certainty: outside the trainer's own batches a text has none.
    """
    return list(_known(mean_self_certainty, "self_certainty_reward"))


def _known(values: Sequence[float | None] | None, reward: str) -> Sequence[float | None]:
    if values is None:
        raise BadInputError(
            f"{reward} reads the policy's own distributions, which are there only while an RLVRTrainer trains or "
            "evaluates: `mmr1 eval`, `mmr1 score`, vas_refresh='full' and tracker_initial_rollouts cannot "
            "use it."
        )
    return values
