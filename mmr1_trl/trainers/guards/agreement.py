# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Stops a run whose sampler and trainer do not agree on how likely the sampled tokens are."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather
from transformers.utils import logging

from mmr1_trl.errors import TrainingStopped
from mmr1_trl.trainers.captured import own_tokens
from mmr1_trl.trainers.guards.exhaustion import last_checkpoint


logger = logging.get_logger(__name__)

# Nats per token, on average over a generation batch. Right runs of the small models stay below 0.02, and broken ones
# are above 0.15 (docs/gpu_training.md); no model of 3B has been measured.
MISMATCH = 0.1
# What is worth a warning, and no more: these depend on the length of the completions and on single tokens.
LARGEST = 5.0  # nats
RATIO = (0.5, 2.0)
REMOVED = 0.1
NEARLY_NOTHING = 0.01  # a weight below this takes a token or sequence out of the loss

CAUSES = (
    "Likely causes, in this order: (1) the sampler got another prompt than the trainer, such as one whose picture "
    "tokens were expanded twice; (2) stale weights: an update did not reach the sampler, or the server is another "
    "run's; (3) stale pictures: the sampler keeps what an older vision tower made of them (a server forgets them only "
    "with VLLM_SERVER_DEV_MODE=1); (4) another dtype or quantization in the sampler than in the trainer; (5) another "
    "temperature, or log-probs from before it (a server needs --logprobs-mode processed_logprobs)."
)
# Options of `generation_kwargs` that the sampler's log-probs depend on and the trainer's do not.
RESHAPING = {
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty",
    "logit_bias", "bad_words", "allowed_token_ids", "structured_outputs",
}  # fmt: skip


@dataclass
class Agreement:
    """
    How far the log-probs of sampler and trainer are apart, over the completions of all ranks.

    Args:
        mean (`float`), largest (`float`):
            Absolute difference per token, in nats.
        ratio (`float`):
            Mean importance ratio: of the sequences or tokens that the correction weighs, or of tokens without it.
        removed (`float`):
            Share of them that the correction leaves less than a hundredth of.
        unit (`str`):
            `"sequences"` or `"tokens"`.
        unknown (`float`):
            Share of the tokens that the sampler gave no log-prob for.
    """

    mean: float
    largest: float
    ratio: float
    removed: float
    unit: str
    unknown: float

    def __str__(self) -> str:
        return (
            f"log-probs {self.mean:.3g} nats apart per token on average and {self.largest:.3g} at most, a mean "
            f"importance ratio of {self.ratio:.3g}, and {self.removed:.0%} of the {self.unit} removed from the loss"
        )


class AgreementGuard:
    """
    Compares the log-probs of the sampler, if it is vLLM, with the trainer's, in every generation batch.

    With TRL's importance sampling correction, or where a batch outlives an update, the trainer's are there when a
    batch has been generated. Otherwise they are read off the loss's forward passes, which all come before the next
    update.

    Args:
        args ([`RLVRConfig`]):
            The run's options.
        step (`Callable[[], int]`):
            Says how many optimizer steps were made.
    """

    def __init__(self, args: Any, step: Callable[[], int]) -> None:
        self.args, self.step = args, step
        self.stops = args.on_mismatch == "error"
        # The sampler's log-probs are of what top_p left, the trainer's of everything: up to -log(top_p) apart in a run
        # that is right. What the others take away has no bound.
        self.bound = MISMATCH - math.log(args.top_p)
        self.reshaped = reshaped_by(args)
        self._apart = False
        self._seen: list[torch.Tensor] = []

    def check(self, batch: dict[str, Any], metrics: dict[str, list[float]]) -> None:
        """
        Judge a generation batch by what TRL knows of it.

        Args:
            batch (`dict`):
                What was generated on this rank.
            metrics (`dict[str, list[float]]`):
                Where to log.

        Raises:
            [`TrainingStopped`]: Sampler and trainer are too far apart.
        """
        if self._has_both(batch):
            self._judge([compare(batch, batch["old_per_token_logps"])], "importance_sampling_ratio" in batch, metrics)

    def watch(self, inputs: dict[str, Any], logps: torch.Tensor, metrics: dict[str, list[float]], last: bool) -> None:
        """
        Collect what the loss's forward passes say, where nothing else does, and judge at the end of the batch.

        Args:
            inputs (`dict`):
                The micro-batch, as the loss gets it.
            logps (`torch.Tensor` of shape `(B, T)`):
                Log-probs of its completions under the policy, detached.
            metrics (`dict[str, list[float]]`):
                Where to log.
            last (`bool`):
                Whether it is the last forward pass on its generation batch.

        Raises:
            [`TrainingStopped`]: Sampler and trainer are too far apart.
        """
        if "sampling_per_token_logps" not in inputs or not self.args.use_vllm or self._has_both(inputs):
            return
        self._seen.append(compare(inputs, logps))
        if last:
            seen, self._seen = self._seen, []
            self._judge(seen, False, metrics)

    def _has_both(self, batch: dict[str, Any]) -> bool:
        # A `rollout_func` without vLLM says what it likes about its log-probs.
        return self.args.use_vllm and {"sampling_per_token_logps", "old_per_token_logps"} <= batch.keys()

    def _judge(self, parts: list[torch.Tensor], corrected: bool, metrics: dict[str, list[float]]) -> None:
        found = summarize(gather(torch.stack(parts)), self._unit(corrected))
        logged = {"sampling/removed_share": found.removed}
        if not corrected:  # under TRL's names, which logs them otherwise
            logged |= {
                "sampling/sampling_logp_difference/mean": found.mean,
                "sampling/sampling_logp_difference/max": found.largest,
                "sampling/importance_sampling_ratio/mean": found.ratio,
            }
        for name, value in logged.items():
            metrics[name].append(value)
        was_apart, step = self._apart, self.step() + 1
        self._apart = True
        if found.mean > self.bound:
            self._report(found, step, was_apart)
        elif found.unknown == 1:
            self._warn(was_apart, f"Step {step}: vLLM gave no log-probs, so nothing tells whether it samples right.")
        elif (
            found.largest > LARGEST or not RATIO[0] <= found.ratio <= RATIO[1] or found.removed > REMOVED
        ):  # each alone can be a matter of length
            self._warn(
                was_apart,
                f"Step {step}: sampler and trainer agree on average, but not everywhere: {found}. The longer the "
                "completions, the more of this is to be expected of vllm_importance_sampling_mode='sequence_mask'; "
                "'token_truncate' weighs each token by itself.",
            )
        else:
            self._apart = False

    def _unit(self, corrected: bool) -> str:
        return "sequences" if corrected and "sequence" in self.args.vllm_importance_sampling_mode else "tokens"

    def _report(self, found: Agreement, step: int, again: bool) -> None:
        what = (
            f"Step {step}: the sampler (vLLM) and the trainer do not agree on what was sampled: {found}. More than "
            f"{self.bound:.3g} on average is no rounding: such a run trains on noise, or on nothing where the "
            f"correction takes it out. {CAUSES}"
        )
        if self.reshaped:
            self._warn(
                again,
                f"{what} Not stopped, because {', '.join(self.reshaped)} alone could do this: the sampler's log-probs "
                "are of what it may choose from, the trainer's of all tokens.",
            )
        elif self.stops:
            kept = last_checkpoint(Path(str(self.args.output_dir)))
            raise TrainingStopped(
                f"{what} The weights were not updated on this batch. {kept} To go on all the same: on_mismatch='warn' "
                "(--on_mismatch warn)."
            )
        else:
            self._warn(again, f"{what} Not stopped (on_mismatch='warn').")

    def _warn(self, again: bool, message: str) -> None:
        if not again and PartialState().is_main_process:
            logger.warning(message)


def reshaped_by(args: Any) -> list[str]:
    """Name the options that make the sampler's distribution another one than the trainer's, however right a run is."""
    given = set(args.generation_kwargs or ()) & RESHAPING
    given |= {"top_k"} if args.top_k > 0 else set()
    given |= {"min_p"} if args.min_p else set()
    given |= {"repetition_penalty"} if args.repetition_penalty != 1 else set()
    given |= {"vllm_structured_outputs_regex"} if args.vllm_structured_outputs_regex else set()
    return sorted(given)


def compare(batch: dict[str, Any], logps: torch.Tensor) -> torch.Tensor:
    """
    Sum up how far sampler and trainer are apart on some completions.

    Args:
        batch (`dict`):
            With `sampling_per_token_logps` (NaN where the sampler gave none), the masks, and with the correction
            `importance_sampling_ratio` of shape `(B, T)` or `(B, 1)`.
        logps (`torch.Tensor` of shape `(B, T)`):
            The trainer's log-probs.

    Returns:
        `torch.Tensor` of shape `(7,)`: sum, number and maximum of the differences; sum and number of the ratios, how
        many of them are nearly 0; tokens without a log-prob.
    """
    own = own_tokens(batch).bool()
    difference = logps.double() - batch["sampling_per_token_logps"].double()
    known = own & ~torch.isnan(difference)
    difference = difference.where(known, 0)
    ratio = batch.get("importance_sampling_ratio")
    ratio = difference.exp() if ratio is None else ratio.double()
    weighed = known if ratio.shape == known.shape else own.any(dim=1, keepdim=True)
    distance = difference.abs()
    sums = [distance.sum(), known.sum(), distance.max(), ratio[weighed].sum(), weighed.sum()]
    sums += [(ratio[weighed] < NEARLY_NOTHING).sum(), (own & ~known).sum()]
    return torch.stack([value.double() for value in sums])


def summarize(parts: torch.Tensor, unit: str) -> Agreement:
    """
    Put the sums of [`compare`] together.

    Args:
        parts (`torch.Tensor` of shape `(N, 7)`):
            Of micro-batches and ranks.
        unit (`str`):
            What the ratios are of.
    """
    distance, known, _, ratio, weighed, removed, unknown = parts.sum(dim=0).tolist()
    return Agreement(
        mean=distance / max(known, 1),
        largest=parts[:, 2].max().item(),
        ratio=ratio / weighed if weighed else 1.0,
        removed=removed / max(weighed, 1),
        unit=unit,
        unknown=unknown / max(known + unknown, 1),
    )
