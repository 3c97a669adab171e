# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Rollouts as samplers and baselines see them: those that training makes, and those that are sampled beside it.

No trainer comes in here. Training hands over a [`RolloutBatch`]; sampling outside of training (before it, at a refresh
of the scores, or by `mmr1 score`) is a function from rows to [`Rollouts`].
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, reduce
from tqdm.auto import tqdm

from mmr1_trl.data.prompts import Prompts
from mmr1_trl.data.score_table import PromptTable
from mmr1_trl.methods.value_tracker import ValueTracker, jeffreys
from mmr1_trl.run_folder import Journal
from mmr1_trl.trainers.budget import Budget


if TYPE_CHECKING:
    from mmr1_trl.trainers.config import RLVRConfig

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
class RolloutBatch:
    """
    A generation batch of training, of all ranks and the same on each: `N` completions, those of a prompt in a row.

    Args:
        rows (`torch.Tensor` of shape `(N,)`), prompts (`torch.Tensor` of shape `(N,)`):
            Row of the training set and number of the prompt of each completion. Rows can repeat a prompt.
        rewards (`torch.Tensor` of shape `(N,)`):
            Weighted rewards, NaN where no reward function could score.
        group_size (`int`):
            Completions of each draw.
        num_weighted (`int`, *optional*, defaults to `0`):
            Draws that were made by score; they come first.
        completion_ids (`list[list[int]]`, *optional*):
            Token ids, unpadded; gathered only if a part says that it `needs_completions`.
    """

    rows: torch.Tensor
    prompts: torch.Tensor
    rewards: torch.Tensor
    group_size: int
    num_weighted: int = 0
    completion_ids: list[list[int]] | None = None

    @property
    def groups(self) -> torch.Tensor:
        """The rewards, of shape `(draws, group_size)`."""
        return self.rewards.view(-1, self.group_size)


@dataclass
class Rollouts:
    """Completions sampled outside of training, of all ranks: rows, weighted rewards (NaN: none could score), ..."""

    rows: list[int]
    rewards: torch.Tensor
    completion_ids: list[list[int]]
    texts: list[str]
    truncated: list[bool]


# Rows -> a completion for each of them, of the policy as it is now. Called on every rank with the same rows.
Sample = Callable[[torch.Tensor], Rollouts]


def _no_sampling(rows: torch.Tensor) -> Rollouts:
    raise ValueError("Nothing was given to sample with.")


@dataclass
class Resources:
    """
    What a sampler or a baseline can be given of a run, beside its batches: see `SAMPLERS` and `BASELINES`.

    Args:
        args ([`RLVRConfig`]), prompts ([`~mmr1_trl.data.prompts.Prompts`]):
            The options and the training set.
        table ([`~mmr1_trl.data.score_table.PromptTable`], *optional*):
            What `prompt_scores` says about the prompts.
        tracker ([`~methods.value_tracker.ValueTracker`], *optional*):
            That of the baseline, where it has one.
        budget ([`~trainers.budget.Budget`], *optional*):
            Where rollouts are counted.
        sample (`Callable`, *optional*):
            Samples outside of training.
        step (`Callable`, *optional*):
            Says how many optimizer steps were made.
        identity (`Callable`, *optional*):
            Says what rollouts depend on beside the options in `SAMPLING`, with the `"weights"` of the policy now.
        pad_token_id (`int`, *optional*, defaults to `0`):
            Padding of the tokenizer.
    """

    args: "RLVRConfig"
    prompts: Prompts
    table: PromptTable | None = None
    tracker: ValueTracker | None = None
    budget: Budget = field(default_factory=Budget)
    sample: Sample = _no_sampling
    step: Callable[[], int] = lambda: 0
    identity: Callable[[], dict[str, Any]] = dict
    pad_token_id: int = 0


# ---- What all ranks do together ----


def sum_over_ranks(tensor: torch.Tensor) -> torch.Tensor:
    """Sum a tensor on the CPU over ranks."""
    state = PartialState()
    if state.num_processes == 1:
        return tensor
    return reduce(tensor.to(state.device), reduction="sum").cpu()


def measure_groups(groups: Sequence[Sequence[Sequence[int]]], measure: DiversityMeasure) -> torch.Tensor:
    """
    Measure the diversity of groups of rollouts that all ranks hold; each rank measures its part.

    Returns:
        `torch.Tensor` of shape `(len(groups),)`, float64, the same on every rank.
    """
    state = PartialState()
    own = [measure(group) if i % state.num_processes == state.process_index else 0.0 for i, group in enumerate(groups)]
    return sum_over_ranks(torch.tensor(own, dtype=torch.float64))


def weights_digest(model: torch.nn.Module) -> str:
    """Hash a model's weights by the sum of each parameter: quick, and enough to tell two runs apart."""
    digest = hashlib.blake2b(digest_size=8)
    for name, parameter in model.named_parameters():
        total = parameter.detach().sum(dtype=torch.float64).item()
        digest.update(f"{name} {tuple(parameter.shape)} {total!r};".encode())
    return digest.hexdigest()


# ---- Sampling outside of training ----


def in_pieces(sample_share: Sample, rows: torch.Tensor, size: int, multiple: int = 1) -> Rollouts:
    """
    Sample one completion for each row, in pieces that every rank takes an equal share of.

    Args:
        sample_share (`Callable`):
            Samples this rank's share, and returns the completions of all ranks.
        rows (`torch.Tensor` of shape `(B,)`):
            The rows, the same on every rank.
        size (`int`):
            Most rows of a piece.
        multiple (`int`, *optional*, defaults to `1`):
            What a rank's share has to be a multiple of.

    Returns:
        [`Rollouts`]: In the order of `rows`.
    """
    state = PartialState()
    pieces = []
    for piece in rows.split(size):
        # Every rank makes the same number of calls of the same size: a short piece is filled up, and cut afterwards.
        filled = torch.cat([piece, piece[-1:].expand(-len(piece) % (state.num_processes * multiple))])
        share = len(filled) // state.num_processes
        pieces.append((len(piece), sample_share(filled[state.process_index * share :][:share])))
    return Rollouts(
        rows=[row for count, piece in pieces for row in piece.rows[:count]],
        rewards=torch.cat([piece.rewards[:count].cpu() for count, piece in pieces]),
        completion_ids=[ids for count, piece in pieces for ids in piece.completion_ids[:count]],
        texts=[text for count, piece in pieces for text in piece.texts[:count]],
        truncated=[cut for count, piece in pieces for cut in piece.truncated[:count]],
    )


def score_prompts(
    sample: Sample,
    prompts: Prompts,
    numbers: Sequence[int],
    num_rollouts: int,
    args: "RLVRConfig",
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
        sample (`Callable`):
            Samples and scores; inside a training loop every rank must call this function at the same step.
        prompts ([`~mmr1_trl.data.prompts.Prompts`]):
            The training set.
        numbers (`Sequence[int]`):
            Which prompts, each once.
        num_rollouts (`int`):
            Rollouts per prompt.
        args ([`RLVRConfig`]):
            The run's options.
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
    """
    state = PartialState()
    chunks: list[Any] = [journal.resume() if journal is not None and state.is_main_process else []]
    chunks = broadcast_object_list(chunks)[0] if state.num_processes > 1 else chunks[0]
    records = [record for chunk in chunks for record in chunk]
    done = {record["prompt"] for record in records}
    todo = [number for number in numbers if number not in done]
    assert args.generation_batch_size is not None
    size = max(1, args.generation_batch_size // num_rollouts)
    hidden = args.disable_tqdm or not state.is_main_process
    device = state.device
    forked: dict[str, Any] = (
        {"devices": []} if device.type == "cpu" else {"devices": [device], "device_type": device.type}
    )
    with (
        torch.random.fork_rng(**forked),
        tqdm(total=len(numbers), initial=len(done), desc=desc, unit="prompt", disable=hidden) as progress,
    ):
        for start in range(0, len(todo), size):
            chunk = todo[start : start + size]
            key = (args.seed, tag, chunk[0], state.process_index)
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            rollouts = sample(prompts.first_rows[chunk].repeat_interleave(num_rollouts))
            finished = _summarize(chunk, num_rollouts, rollouts, args.tracker_success_threshold, measure, keep_texts)
            if journal is not None and state.is_main_process:
                journal.append(finished)
            records += finished
            progress.update(len(chunk))
    return records


def _summarize(
    numbers: list[int],
    num_rollouts: int,
    rollouts: Rollouts,
    threshold: float,
    measure: DiversityMeasure | None,
    keep_texts: bool,
) -> list[dict[str, Any]]:
    spans = [slice(i * num_rollouts, (i + 1) * num_rollouts) for i in range(len(numbers))]
    if measure is None:
        diversity = torch.zeros(len(numbers), dtype=torch.float64)
    else:
        diversity = measure_groups([rollouts.completion_ids[span] for span in spans], measure)
    records = []
    for number, span, diverse in zip(numbers, spans, diversity.tolist()):
        rewards = rollouts.rewards[span]
        record = {
            "prompt": number,
            "row": rollouts.rows[span.start],
            "successes": int((rewards > threshold).sum()),
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


def initial_pass_rates(sample: Sample, prompts: Prompts, args: "RLVRConfig") -> torch.Tensor:
    """
    Measure the pass rate of every prompt with the current policy, by `tracker_initial_rollouts` rollouts each.

    Args:
        sample (`Callable`), prompts ([`~mmr1_trl.data.prompts.Prompts`]), args ([`RLVRConfig`]):
            As for [`score_prompts`].

    Returns:
        `torch.Tensor` of shape `(num_prompts,)`, float64; NaN for prompts whose completions could not be scored.
    """
    records = score_prompts(
        sample, prompts, range(prompts.count), args.tracker_initial_rollouts, args, tag=INITIAL_ROLLOUTS,
        desc="Initial rollouts",
    )  # fmt: skip
    successes, trials = count_outcomes(records, prompts.count)
    rates = jeffreys(successes, trials) if args.tracker_smoothing else successes / trials
    return torch.where(trials > 0, rates, torch.full_like(rates, math.nan))


# ---- Sampling for training, where groups may be rejected ----


@dataclass
class SampledGroups:
    """
    Groups of completions of all ranks, before TRL makes a batch of them.

    Args:
        batch ([`RolloutBatch`]):
            Their rows and rewards.
        rewards (`torch.Tensor` of shape `(N, reward functions)`):
            What each function said.
        generated (`list[tuple]`):
            Of each completion, what TRL's generation returned: token ids of prompt and completion, the completion as
            rewards read it, and the sampler's log-probs or `None`.
    """

    batch: RolloutBatch
    rewards: torch.Tensor
    generated: list[tuple[Any, ...]]

    def of(self, groups: torch.Tensor, num_weighted: int) -> "SampledGroups":
        """Return the groups of some numbers, of which the first ones were drawn by weight."""
        size, batch = self.batch.group_size, self.batch
        where = (groups.unsqueeze(1) * size + torch.arange(size)).flatten()
        ids = None if batch.completion_ids is None else [batch.completion_ids[i] for i in where.tolist()]
        kept = RolloutBatch(
            batch.rows[where], batch.prompts[where], batch.rewards[where], size, num_weighted, completion_ids=ids
        )
        return SampledGroups(kept, self.rewards[where], [self.generated[i] for i in where.tolist()])

    def as_generated(self, completions: Sequence[int]) -> tuple[Any, ...]:
        """Return some completions, by their places, as TRL's generation returns those of a rank."""
        prompt_tokens, ids, texts, logps = zip(*(self.generated[i] for i in completions))
        sampler_logps = None if logps[0] is None else list(logps)
        # No tools and no fields of theirs; without pictures here TRL takes those of the rows.
        return list(prompt_tokens), list(ids), None, list(texts), sampler_logps, {}, None, []


def until_accepted(
    sample: Callable[[], SampledGroups],
    accept: Callable[[RolloutBatch], torch.Tensor],
    wanted: int,
    most_rounds: int,
) -> SampledGroups:
    """
    Sample generation batches until enough of their groups are accepted.

    Args:
        sample (`Callable`):
            Samples a generation batch, the same on every rank.
        accept (`Callable`):
            Says which of its groups are good.
        wanted (`int`):
            Groups to return.
        most_rounds (`int`):
            Generation batches after which rejected groups, the newest first, fill up what is missing.

    Returns:
        [`SampledGroups`]: `wanted` groups, those that were drawn by weight first.
    """
    rounds: list[SampledGroups] = []
    accepted: list[torch.Tensor] = []
    while not rounds or (sum(int(good.sum()) for good in accepted) < wanted and len(rounds) < most_rounds):
        rounds.append(sample())
        accepted.append(accept(rounds[-1].batch).cpu())
    first = rounds[0].batch
    ids = [ids for each in rounds for ids in each.batch.completion_ids or ()]
    together = SampledGroups(
        RolloutBatch(
            torch.cat([each.batch.rows for each in rounds]),
            torch.cat([each.batch.prompts for each in rounds]),
            torch.cat([each.batch.rewards for each in rounds]),
            first.group_size,
            completion_ids=None if first.completion_ids is None else ids,
        ),
        torch.cat([each.rewards for each in rounds]),
        [generated for each in rounds for generated in each.generated],
    )
    good = torch.cat(accepted)
    by_weight = torch.cat([torch.arange(len(each.batch.groups)) < each.batch.num_weighted for each in rounds])
    chosen = torch.cat([good.nonzero().flatten(), (~good).nonzero().flatten().flip(0)])[:wanted]
    chosen = torch.cat([chosen[by_weight[chosen]], chosen[~by_weight[chosen]]])
    return together.of(chosen, int(by_weight[chosen].sum()))
