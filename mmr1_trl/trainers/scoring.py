# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Pass rates of prompts, measured by rollouts apart from training: before it, at a refresh, or by `mmr1 score`."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm

from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.value_tracker import jeffreys
from mmr1_trl.run_folder import Journal


if TYPE_CHECKING:
    from mmr1_trl.trainers.trainer import RLVRTrainer

# Keeps the initial rollouts of the value tracker apart from those of a refresh before the first step.
INITIAL_ROLLOUTS = 2**32

# Options that rollouts and their outcomes depend on, beside the model, the data and the reward functions.
SAMPLING = (
    "seed", "max_completion_length", "temperature", "top_p", "top_k", "min_p", "repetition_penalty",
    "generation_kwargs", "chat_template_kwargs", "use_vllm", "reward_weights", "tracker_success_threshold",
    "min_pixels", "max_pixels",
)  # fmt: skip

# Token ids of a group of rollouts -> how diverse they are.
DiversityMeasure = Callable[[Sequence[Sequence[int]]], float]


@dataclass
class Rollouts:
    """Completions of all ranks: the rows they belong to, weighted rewards (NaN where none could score), and so on."""

    rows: list[int]
    rewards: torch.Tensor
    completion_ids: list[list[int]]
    texts: list[str]
    truncated: list[bool]


def first_rows(slots: torch.Tensor) -> torch.Tensor:
    """Return the first row of each distinct prompt."""
    num_prompts = int(slots.max()) + 1
    return torch.full((num_prompts,), len(slots)).scatter_reduce(0, slots, torch.arange(len(slots)), "amin")


def measure_groups(
    trainer: "RLVRTrainer", groups: Sequence[Sequence[Sequence[int]]], measure: DiversityMeasure
) -> torch.Tensor:
    """
    Measure the diversity of groups of rollouts that all ranks hold; each rank measures its part.

    Returns:
        `torch.Tensor` of shape `(len(groups),)`, float64, the same on every rank.
    """
    ranks, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    own = [measure(group) if i % ranks == rank else 0.0 for i, group in enumerate(groups)]
    return trainer.sum_over_ranks(torch.tensor(own, dtype=torch.float64))


def weights_digest(model: torch.nn.Module) -> str:
    """Hash a model's weights by the sum of each parameter: quick, and enough to tell two runs apart."""
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in model.named_parameters():
        total = parameter.detach().sum(dtype=torch.float64).item()
        digest.update(f"{name} {tuple(parameter.shape)} {total!r};".encode())
    return digest.hexdigest()


def score_prompts(
    trainer: "RLVRTrainer",
    prompts: Sequence[int],
    num_rollouts: int,
    *,
    tag: int = 0,
    measure: DiversityMeasure | None = None,
    journal: Journal | None = None,
    keep_texts: bool = False,
    desc: str = "Scoring",
) -> list[dict[str, Any]]:
    """
    Sample and score rollouts of prompts with the current policy.

    The rollouts are a function of the policy's weights, the seed, `tag` and the number of ranks, and take nothing from
    the random numbers of the training: a run that scores at a step trains on as one that read the scores from a file.

    Args:
        trainer ([`RLVRTrainer`]):
            A trainer; inside its training loop every rank must call this at the same step.
        prompts (`Sequence[int]`):
            Distinct prompts, as numbered in `trainer.prompt_slots`.
        num_rollouts (`int`):
            Rollouts per prompt.
        tag (`int`, *optional*, defaults to `0`):
            Makes the rollouts of one call differ from those of another.
        measure (`Callable`, *optional*):
            Diversity of a prompt's rollouts, from their token ids.
        journal ([`Journal`], *optional*):
            Where finished prompts are kept. Those already in it are not sampled again.
        keep_texts (`bool`, *optional*, defaults to `False`):
            Whether to return the completions.
        desc (`str`, *optional*):
            What the progress bar says.

    Returns:
        `list[dict]`: Per prompt, in no particular order: `prompt`, `row` (really read), `successes` (rewards above
        `tracker_success_threshold`), `trials` (completions with a reward), `diversity`, `mean_length` (tokens),
        `truncated` (share), and with `keep_texts` also `completions` and `rewards` (`None`: no reward).

    Raises:
        [`BadInputError`]: The trainer has tools, which TRL hands out to the rollouts of a training batch only.
    """
    if trainer.tools:
        raise BadInputError(
            "Rollouts for scores and initial values are made without tools. With tools take vas_refresh='online' and "
            "tracker_initial_rollouts=0."
        )
    accelerator = trainer.accelerator
    chunks: list[Any] = [journal.resume() if journal is not None and accelerator.is_main_process else []]
    chunks = broadcast_object_list(chunks)[0] if accelerator.num_processes > 1 else chunks[0]
    records = [record for chunk in chunks for record in chunk]
    done = {record["prompt"] for record in records}
    todo = [prompt for prompt in prompts if prompt not in done]
    assert trainer.args.generation_batch_size is not None
    size = max(1, trainer.args.generation_batch_size // num_rollouts)
    rows = first_rows(trainer.prompt_slots)
    hidden = trainer.args.disable_tqdm or not accelerator.is_main_process
    device = accelerator.device
    forked: dict[str, Any] = (
        {"devices": []} if device.type == "cpu" else {"devices": [device], "device_type": device.type}
    )
    with (
        torch.random.fork_rng(**forked),
        tqdm(total=len(prompts), initial=len(done), desc=desc, unit="prompt", disable=hidden)
        as progress,
    ):  # fmt: skip
        for start in range(0, len(todo), size):
            chunk = todo[start : start + size]
            key = (trainer.args.seed, tag, chunk[0], accelerator.process_index)
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            rollouts = _sample(trainer, rows[chunk].repeat_interleave(num_rollouts))
            finished = _summarize(trainer, chunk, num_rollouts, rollouts, measure, keep_texts)
            if journal is not None and accelerator.is_main_process:
                journal.append(finished)
            records += finished
            progress.update(len(chunk))
    return records


def _sample(trainer: "RLVRTrainer", rows: torch.Tensor) -> Rollouts:
    """One completion for each of `rows`, in pieces of at most a generation batch."""
    assert trainer.args.generation_batch_size is not None
    ranks, rank = trainer.accelerator.num_processes, trainer.accelerator.process_index
    multiple = ranks * (trainer.num_generations if trainer.use_vllm else 1)
    pieces = []
    for piece in rows.split(trainer.args.generation_batch_size):
        # Every rank makes the same number of calls of the same size: a short piece is filled up, and cut afterwards.
        filled = torch.cat([piece, piece[-1:].expand(-len(piece) % multiple)])
        share = len(filled) // ranks
        pieces.append((len(piece), trainer.score_rows(filled[rank * share : (rank + 1) * share])))
    return Rollouts(
        rows=[row for count, piece in pieces for row in piece.rows[:count]],
        rewards=torch.cat([piece.rewards[:count].cpu() for count, piece in pieces]),
        completion_ids=[ids for count, piece in pieces for ids in piece.completion_ids[:count]],
        texts=[text for count, piece in pieces for text in piece.texts[:count]],
        truncated=[cut for count, piece in pieces for cut in piece.truncated[:count]],
    )


def _summarize(
    trainer: "RLVRTrainer",
    prompts: list[int],
    num_rollouts: int,
    rollouts: Rollouts,
    measure: DiversityMeasure | None,
    keep_texts: bool,
) -> list[dict[str, Any]]:
    spans = [slice(i * num_rollouts, (i + 1) * num_rollouts) for i in range(len(prompts))]
    if measure is None:
        diversity = torch.zeros(len(prompts), dtype=torch.float64)
    else:
        diversity = measure_groups(trainer, [rollouts.completion_ids[span] for span in spans], measure)
    records = []
    for prompt, span, diverse in zip(prompts, spans, diversity.tolist()):
        rewards = rollouts.rewards[span]
        record = {
            "prompt": prompt,
            "row": rollouts.rows[span.start],
            "successes": int((rewards > trainer.args.tracker_success_threshold).sum()),
            "trials": int((~torch.isnan(rewards)).sum()),
            "diversity": diverse,
            "mean_length": sum(map(len, rollouts.completion_ids[span])) / num_rollouts,
            "truncated": sum(rollouts.truncated[span]) / num_rollouts,
        }
        if keep_texts:
            record["completions"] = rollouts.texts[span]
            record["rewards"] = [None if math.isnan(reward) else reward for reward in rewards.tolist()]
        records.append(record)
    return records


def count_outcomes(records: list[dict[str, Any]], num_prompts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return successes and trials per prompt, both float64 and of shape `(num_prompts,)`."""
    successes = torch.zeros(num_prompts, dtype=torch.float64)
    trials = torch.zeros(num_prompts, dtype=torch.float64)
    where = [record["prompt"] for record in records]
    successes[where] = torch.tensor([record["successes"] for record in records], dtype=torch.float64)
    trials[where] = torch.tensor([record["trials"] for record in records], dtype=torch.float64)
    return successes, trials


def initial_pass_rates(trainer: "RLVRTrainer", num_rollouts: int, smooth: bool) -> torch.Tensor:
    """
    Measure the pass rate of every prompt with the current policy.

    Args:
        trainer ([`RLVRTrainer`]):
            Trainer inside its training loop. Every rank must call this at the same step.
        num_rollouts (`int`):
            Rollouts per prompt.
        smooth (`bool`):
            Whether to smooth by Jeffreys' prior.

    Returns:
        `torch.Tensor` of shape `(num_prompts,)`, float64; NaN for prompts whose completions could not be scored.
    """
    num_prompts = int(trainer.prompt_slots.max()) + 1
    records = score_prompts(trainer, range(num_prompts), num_rollouts, tag=INITIAL_ROLLOUTS, desc="Initial rollouts")
    successes, trials = count_outcomes(records, num_prompts)
    rates = jeffreys(successes, trials) if smooth else successes / trials
    return torch.where(trials > 0, rates, torch.full_like(rates, math.nan))


def rollouts_made(trainer: "RLVRTrainer") -> int:
    """
    Count the completions that a run has sampled so far, on all ranks: for training, for the initial values of the
    value tracker and for the scores of variance-aware sampling; not those of an evaluation.
    """
    args = trainer.args
    assert args.generation_batch_size is not None
    made = trainer.prompt_source.batches_drawn * args.generation_batch_size
    if trainer.baseline is not None:
        made += args.tracker_initial_rollouts * (int(trainer.prompt_slots.max()) + 1)
    return made if trainer.scores is None else made + trainer.scores.scoring_rollouts
