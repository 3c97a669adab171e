# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The options of the one trainer: GRPO's own, and three switches."""

from dataclasses import dataclass, field
from typing import Any

import torch
from trl import GRPOConfig

from mmr1_trl.trainers.baselines import SINGLES
from mmr1_trl.trainers.checkpoints.best import choose_metric
from mmr1_trl.trainers.checkpoints.gone_options import refuse_gone
from mmr1_trl.trainers.checks import check_after, check_before


class _SingleGeneration(int):
    """The number 1 for the length of `GRPOConfig.__post_init__`, which refuses `num_generations < 2`."""

    def __lt__(self, other: object) -> bool:
        return False


@dataclass
class RLVRConfig(GRPOConfig):
    r"""
    Configuration class for the [`RLVRTrainer`].

    With the defaults the trainer is plain GRPO. Each of the three methods turns one switch, and the switches combine:
    `advantage_baseline="value_tracker"` (MSSR), `prompt_sampling` (VAS) and `entropy_schedule` (two-stage entropy).

    This class includes only the parameters that [`~trl.GRPOConfig`] does not have. For the others, see its
    documentation.

    Parameters:
        > Parameters that control the baseline

        advantage_baseline (`str`, *optional*, defaults to `"group"`):
            What a reward is compared with: `"group"` (the mean of the prompt's own rollouts, as in GRPO),
            `"leave_one_out"` (the mean of its other rollouts, RLOO), `"value_tracker"` (the prompt's tracked pass
            rate) or `"batch_mean"` (the mean of the generation batch, as in REINFORCE++); the last two work with
            `num_generations=1`.
        tracker_forgetting (`str`, *optional*, defaults to `"paper"`):
            How the forgetting factor rho follows the policy's KL: `"paper"` (the two-branch rule of MSSR as printed),
            `"monotone"` (ours: the further the policy moves, the faster old outcomes are forgotten), `"fixed"`
            (`tracker_rho_max`) or `"per_prompt"` (SPO: from how far the policy moved since the prompt's last visit).
        tracker_rho_min (`float`, *optional*, defaults to `0.875`):
            Smallest forgetting factor; `1 / (1 - tracker_rho_min)` is also the weight of the initial value.
        tracker_rho_max (`float`, *optional*, defaults to `0.96`):
            Largest forgetting factor.
        tracker_target_kl (`float`, *optional*, defaults to `0.01`):
            KL at which the rule of `tracker_forgetting` turns.
        tracker_kl_window (`int`, *optional*, defaults to `20`):
            Generation batches over which the KL is averaged. (The released code of MSSR sets 20 and uses 10.)
        tracker_kl_source (`str`, *optional*, defaults to `"reference"`):
            `"reference"`: KL between the sampling policy and the reference model, as in the released code of MSSR;
            needs `beta > 0`. `"policy"`: KL between the sampling policy and the policy at the last update of the same
            generation batch; needs at least two updates per generation batch.
        tracker_initial_value (`float`, *optional*, defaults to `0.5`):
            Value of a prompt that nothing is known about.
        tracker_initial_rollouts (`int`, *optional*, defaults to `0`):
            Rollouts per prompt that are scored before the first step to set the initial values. Without effect with
            the group baseline.
        tracker_smoothing (`bool`, *optional*, defaults to `False`):
            Whether the initial rollouts are smoothed by Jeffreys' prior, `(successes + 0.5) / (rollouts + 1)`, so that
            no prompt starts at exactly 0 or 1 (SPO smooths, MSSR does not).
        tracker_success_threshold (`float`, *optional*, defaults to `0.5`):
            A completion counts as a success in the tracker when its weighted reward is above this value. The
            advantage uses the reward itself.
        prompt_scores (`str`, *optional*):
            Where the pass rates come from that training starts with, for the tracker and for `prompt_sampling`: a
            column of the training set, a local `.parquet`, `.jsonl`, `.json` or `.csv` file with `prompt_id` and
            `pass_rate` (and `diversity` and `count`, if it has them; `mmr1 score` writes one), or a dataset id on the
            Hub with these columns. With `vas_refresh="off"` also a column called `score` that holds the weights.

        > Parameters that control which prompts are drawn

        prompt_sampling (`str`, *optional*, defaults to `"uniform"`):
            `"uniform"` (each prompt once per epoch), `"variance_aware"` (VAS: part of each generation batch by
            `vas_outcome_weight * p(1 - p) + vas_diversity_weight * diversity`), `"uncertainty"` (SPO: by
            `sqrt(v(1 - v)) + 0.05` of the value tracker), `"posterior"` (MoPPS: of eight times as many candidates,
            those with a draw from the pass rate's posterior next to one half), `"skip_list"` (GRESO: uniform, but what
            was all right or all wrong at its last visits is mostly passed over) or `"dynamic"` (DAPO: uniform, and
            groups without a signal are thrown away after sampling and others sampled in their place).
        vas_weighted_fraction (`float`, *optional*, defaults to `0.5`):
            Share of each generation batch that is drawn by score, with replacement; the rest is uniform.
        vas_refresh (`str`, *optional*, defaults to `"online"`):
            Where the scores come from: `"online"` (ours: from the rollouts that training makes anyway), `"full"` (the
            paper: `vas_rollouts` rollouts for every prompt, before training and every `vas_update_steps` steps) or
            `"off"` (from `prompt_scores`, fixed).
        vas_update_steps (`int`, *optional*, defaults to `35`):
            Optimizer steps between two refreshes of `"full"`.
        vas_rollouts (`int`, *optional*, defaults to `32`):
            Rollouts per prompt in a refresh, and in `mmr1 score`.
        vas_outcome_weight (`float`, *optional*, defaults to `0.8`):
            Weight of the outcome variance `p(1 - p)` in the score.
        vas_diversity_weight (`float`, *optional*):
            Weight of the diversity of a prompt's rollouts in the score. Defaults to 0.2, the paper's, and to 0 with
            `vas_refresh="online"`, which goes by outcomes alone.
        vas_diversity_metric (`str`, *optional*, defaults to `"self_bleu"`):
            Diversity of a prompt's rollouts: `"self_bleu"` (as `1 - self-BLEU`), `"distinct_n"` or
            `"edit_distance"`.
        vas_variant (`str`, *optional*, defaults to `"paper"`):
            `"released_code"` follows the released code of MMR1 where it parts from the paper: self-BLEU of padded
            rollouts that is not inverted, scores scaled to 0..1, one permutation for the uniform part.

        > Parameters that control entropy shaping

        entropy_shaping (`bool`, *optional*, defaults to `False`):
            Whether to add `min(shaping_alpha * H, |A| / shaping_kappa)` to the advantage of each token.
        shaping_alpha (`float`, *optional*, defaults to `0.4`):
            Factor of the token entropy H.
        shaping_kappa (`float`, *optional*, defaults to `2.0`):
            The bonus never exceeds `|A| / shaping_kappa`; above 1, so that no advantage changes its sign.
        entropy_source (`str`, *optional*, defaults to `"full"`):
            H of the sampling policy: `"full"` (over the vocabulary) or `"sampled_token"` (`-p log p` of the sampled
            token, as in the released code of MSSR).

        negatives (`str`, *optional*, defaults to `"full"`):
            How negative advantages count: `"full"`, `"halved"` (ours), or `"filtered"` (only on the tenth of each
            completion's tokens that was least probable, https://huggingface.co/papers/2606.17250).

        > Parameters that control the entropy schedule

        entropy_schedule (`str`, *optional*, defaults to `"none"`):
            `"two_stage"` (token entropy is maximized, then minimized), `"minimize_then_maximize"`, `"maximize"`,
            `"minimize"` or `"none"`. Oracles for rows with a column `is_noisy` (`label_noise` adds it):
            `"maximize_noisy"` maximizes on rows with a wrong label and minimizes on the others, `"minimize_noisy"` the
            reverse.
        explore_coef (`float`, *optional*, defaults to `0.003`):
            Coefficient while entropy is maximized. The paper publishes no value; this one is ours, the best of a sweep
            on the figures (docs/two_stage.md).
        exploit_coef (`float`, *optional*, defaults to `0.03`):
            Coefficient while entropy is minimized. Ours, from the same sweep.
        switch_fraction (`float`, *optional*, defaults to `0.8`):
            Share of the optimizer steps after which a two-stage schedule turns.
        entropy_low (`float`, *optional*), entropy_high (`float`, *optional*):
            Band in nats that the mean token entropy should stay in (ours), whatever the schedule. It is looked at
            whenever metrics are logged.
        entropy_alarm (`str`, *optional*, defaults to `"warn"`):
            What to do when it leaves the band: `"warn"`, or `"stop"` to save a checkpoint and stop as well.

        > Parameters that control the data

        freeze_vision_tower (`bool`, *optional*, defaults to `False`):
            Whether the vision tower stays as it is: no gradients, no optimizer states, no adapters, and no part of
            the backward pass.
        freeze_merger (`bool`, *optional*, defaults to `False`):
            Whether `freeze_vision_tower` also freezes the projection between the tower and the language model.
        encode_once (`bool`, *optional*, defaults to `True`):
            Whether each distinct picture of a generation batch is pre-processed once, and goes through a frozen vision
            tower once, for all its rollouts and forward passes; through a trained tower once per forward pass. Models
            of other families than those of `docs/families.md`, FSDP of version 1, and tools together with sharded
            weights take the plain path in any case. With a frozen tower (and projection) nothing else changes; with a
            trained one gradients are summed in another order.
        share_prompts (`str`, *optional*, defaults to `"auto"`):
            `"auto"`: within a forward pass the language model computes each distinct prompt once for all its rollouts,
            and padding not at all, where that spares it a tenth of the tokens or more, and 32 for each prompt and
            completion; and each distinct prompt once when transformers samples. Results differ by rounding, as sums
            are taken in another order. Models whose text part is none of the Qwen, Llama and Mistral families, and
            attention other than SDPA and FlashAttention 2, take the plain path in any case; the log says why. `"off"`:
            as TRL, bit for bit.
        group_coherent (`bool`, *optional*, defaults to `False`):
            Whether a generation batch is cut into updates by whole prompts, instead of by rows drawn across prompts
            (as in TRL). More rollouts then share their prompt and their picture. Without it the rollouts of a prompt
            meet within an update: it is for `steps_per_generation` above `gradient_accumulation_steps`, where it
            changes which rows an update sees.
        min_pixels (`int`, *optional*), max_pixels (`int`, *optional*):
            Pictures with fewer or more pixels are resized before the processor sees them.
        coordinates (`str`, *optional*, defaults to `"auto"`):
            In which frame the model writes points and boxes: `"pixels"` of the stored picture, `"resized"` (pixels of
            the picture that its processor made), `"thousandths"`, `"fractions"` or `"percent"` of width and height.
            `"auto"`: what is established of the model's family; others are refused where rows ask for places.
        label_noise (`float`, *optional*, defaults to `0.0`):
            Share of the training answers that are replaced by wrong ones, once for the run, to study noisy labels. The
            true answer stays in the column `clean_solution`, and `accuracy_reward` logs the accuracy against it.
        label_noise_seed (`int`, *optional*, defaults to `0`):
            Seed of the noise; which rows are hit does not depend on their order.
        on_bad_row (`str`, *optional*, defaults to `"error"`):
            What to do with a row whose picture cannot be read, or that has no answer, wrong image markers or an
            impossible box: `"error"` stops with its number, `"skip"` names it, counts it and takes the next instead.

        > Parameters that control what happens when something goes wrong

        on_nonfinite (`str`, *optional*, defaults to `"error"`):
            What to do when the loss, a log-ratio or the gradient of an optimizer step is NaN or infinite: `"error"`
            stops before the weights change and names the prompts, `"skip"` names them and passes over the step. With
            DeepSpeed, which updates within the backward pass, the weights have changed and only `"error"` is possible.
        on_mismatch (`str`, *optional*, defaults to `"error"`):
            What to do when vLLM's log-probs of a generation batch are more than 0.1 nats per token from the trainer's
            on average: `"error"` stops before the next update, with the numbers and the likely causes, `"warn"` says
            so and goes on.
        verbose_metrics (`bool`, *optional*, defaults to `False`):
            Whether to print all metrics of a log step, as transformers does, instead of one line with the main ones.
            Files and trackers hold all of them either way.
    """

    advantage_baseline: str = field(
        default="group",
        metadata={
            "help": "What a reward is compared with: 'group' (as GRPO), 'leave_one_out' (RLOO), 'value_tracker' "
            "(MSSR) or 'batch_mean' (REINFORCE++)."
        },
    )
    tracker_forgetting: str = field(
        default="paper",
        metadata={"help": "Forgetting rule of the value tracker: 'paper', 'monotone', 'fixed' or 'per_prompt'."},
    )
    tracker_rho_min: float = field(default=0.875, metadata={"help": "Smallest forgetting factor."})
    tracker_rho_max: float = field(default=0.96, metadata={"help": "Largest forgetting factor."})
    tracker_target_kl: float = field(default=0.01, metadata={"help": "KL at which the forgetting rule turns."})
    tracker_kl_window: int = field(
        default=20, metadata={"help": "Generation batches over which the tracker's KL is averaged."}
    )
    tracker_kl_source: str = field(
        default="reference",
        metadata={"help": "KL that drives forgetting: 'reference' (needs beta > 0) or 'policy' (within the batch)."},
    )
    tracker_initial_value: float = field(
        default=0.5, metadata={"help": "Value of a prompt that nothing is known about."}
    )
    tracker_initial_rollouts: int = field(
        default=0, metadata={"help": "Rollouts per prompt scored before the first step to set the initial values."}
    )
    tracker_smoothing: bool = field(
        default=False, metadata={"help": "Whether to smooth the initial rollouts by Jeffreys' prior."}
    )
    tracker_success_threshold: float = field(
        default=0.5, metadata={"help": "A weighted reward above this value counts as a success in the tracker."}
    )
    prompt_scores: str | None = field(
        default=None,
        metadata={"help": "Initial pass rates: a column of the training set, a local file, or a dataset on the Hub."},
    )
    prompt_sampling: str = field(
        default="uniform",
        metadata={
            "help": "How prompts are drawn: 'uniform', 'variance_aware' (VAS), 'uncertainty' (SPO), 'posterior' "
            "(MoPPS), 'skip_list' (GRESO) or 'dynamic' (DAPO)."
        },
    )
    vas_weighted_fraction: float = field(
        default=0.5, metadata={"help": "Share of each generation batch that is drawn by score; the rest is uniform."}
    )
    vas_refresh: str = field(
        default="online",
        metadata={
            "help": "Scores come from training's own rollouts ('online'), from rollouts for all prompts ('full'), or "
            "from prompt_scores ('off')."
        },
    )
    vas_update_steps: int = field(default=35, metadata={"help": "Optimizer steps between two refreshes of 'full'."})
    vas_rollouts: int = field(default=32, metadata={"help": "Rollouts per prompt in a refresh and in `mmr1 score`."})
    vas_outcome_weight: float = field(default=0.8, metadata={"help": "Weight of p(1 - p) in the score."})
    vas_diversity_weight: float | None = field(
        default=None,
        metadata={"help": "Weight of the rollouts' diversity in the score: 0.2 unless given, 0 with 'online'."},
    )
    vas_diversity_metric: str = field(
        default="self_bleu",
        metadata={"help": "Diversity of rollouts: 'self_bleu', 'distinct_n' or 'edit_distance'."},
    )
    vas_variant: str = field(
        default="paper",
        metadata={"help": "'released_code' follows MMR1's code where it parts from the paper."},
    )
    entropy_shaping: bool = field(
        default=False, metadata={"help": "Whether to add min(alpha * H, |A| / kappa) to each token's advantage."}
    )
    shaping_alpha: float = field(default=0.4, metadata={"help": "Factor of the token entropy in the shaping bonus."})
    shaping_kappa: float = field(default=2.0, metadata={"help": "The shaping bonus never exceeds |A| / kappa."})
    entropy_source: str = field(
        default="full", metadata={"help": "Entropy of the bonus: 'full' or 'sampled_token' (-p log p)."}
    )
    negatives: str = field(
        default="full",
        metadata={
            "help": "How negative advantages count: 'full', 'halved', or 'filtered' (on the least probable tenth of "
            "the tokens alone)."
        },
    )
    entropy_schedule: str = field(
        default="none",
        metadata={
            "help": "Schedule of the token entropy term: 'none', 'two_stage', 'maximize', 'minimize', "
            "'minimize_then_maximize', or with known wrong labels 'maximize_noisy' or 'minimize_noisy'."
        },
    )
    explore_coef: float = field(
        default=0.003,
        metadata={"help": "Coefficient while entropy is maximized; ours, from a sweep on the figures."},
    )
    exploit_coef: float = field(
        default=0.03,
        metadata={"help": "Coefficient while entropy is minimized; ours, from a sweep on the figures."},
    )
    switch_fraction: float = field(
        default=0.8, metadata={"help": "Share of the optimizer steps after which a two-stage schedule turns."}
    )
    entropy_low: float | None = field(
        default=None, metadata={"help": "Lower end in nats of the band that token entropy should stay in."}
    )
    entropy_high: float | None = field(
        default=None, metadata={"help": "Upper end in nats of the band that token entropy should stay in."}
    )
    entropy_alarm: str = field(
        default="warn", metadata={"help": "When token entropy leaves its band: 'warn', or 'stop' (save and stop)."}
    )
    freeze_vision_tower: bool = field(default=False, metadata={"help": "Whether the vision tower stays as it is."})
    freeze_merger: bool = field(
        default=False,
        metadata={"help": "Whether freeze_vision_tower freezes the projection behind the tower as well."},
    )
    encode_once: bool = field(
        default=True,
        metadata={"help": "Pre-process each picture once per batch of rollouts; encode it once per batch or forward."},
    )
    share_prompts: str = field(
        default="auto",
        metadata={
            "help": "Each prompt once through the language model, without padding, where it pays ('auto'), or 'off'."
        },
    )
    group_coherent: bool = field(
        default=False,
        metadata={"help": "With several updates per generation batch: whether an update sees whole prompts."},
    )
    min_pixels: int | None = field(default=None, metadata={"help": "Smaller pictures are enlarged to this."})
    max_pixels: int | None = field(default=None, metadata={"help": "Larger pictures are reduced to this."})
    coordinates: str = field(
        default="auto",
        metadata={
            "help": "Frame of the model's points and boxes: 'auto' (its family's), 'pixels' of the stored picture, "
            "'resized' (pixels of the one it sees), 'thousandths', 'fractions' or 'percent'."
        },
    )
    label_noise: float = field(
        default=0.0, metadata={"help": "Share of the training answers that are replaced by wrong ones."}
    )
    label_noise_seed: int = field(default=0, metadata={"help": "Seed of the label noise."})
    on_bad_row: str = field(
        default="error", metadata={"help": "A picture that cannot be read stops the run ('error') or is skipped."}
    )
    on_nonfinite: str = field(
        default="error",
        metadata={"help": "A step whose loss or gradient is NaN or infinite stops the run ('error') or is skipped."},
    )
    on_mismatch: str = field(
        default="error",
        metadata={"help": "A sampler (vLLM) that does not agree with the trainer stops the run ('error') or 'warn's."},
    )

    verbose_metrics: bool = field(
        default=False,
        metadata={"help": "Print all metrics of a log step, not a line of the main ones; files hold all either way."},
    )

    def __new__(cls, *args: Any, **kwargs: Any) -> "RLVRConfig":
        refuse_gone(kwargs)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        if self.bf16 is None and not self.fp16 and (self.use_cpu or not torch.accelerator.is_available()):
            self.bf16 = False  # TRL's default of True is for accelerators: on a CPU autocast is slower and less exact
        check_before(self)
        choose_metric(self)
        num_generations = self.num_generations
        if num_generations == 1 and self.advantage_baseline in SINGLES:
            self.num_generations = _SingleGeneration(1)
        super().__post_init__()
        self.num_generations = num_generations
        if self.vas_diversity_weight is None and self.prompt_sampling != "uniform":
            self.vas_diversity_weight = 0.0 if self.vas_refresh == "online" else 0.2
        check_after(self)

    @property
    def prompts_per_generation(self) -> int:
        """Prompts of one generation batch, over all ranks."""
        assert self.generation_batch_size is not None and self.num_generations is not None
        return self.generation_batch_size // self.num_generations

    @property
    def window(self) -> int:
        """Micro-steps from one generation to the next: `steps_per_generation x num_iterations`."""
        assert self.steps_per_generation is not None
        return self.steps_per_generation * self.num_iterations

    @property
    def computes_old_logps(self) -> bool:
        """Whether log-probs of the sampling policy are computed: it may have been updated since, or be an engine's."""
        misaligned = self.gradient_accumulation_steps % self.window != 0  # TRL's own condition
        return misaligned or (self.use_vllm and self.vllm_importance_sampling_correction)

    def to_run_identity(self) -> dict[str, Any]:
        """The options that a checkpoint depends on: with other values a resumed run would not be the same run."""
        names = (
            "seed", "num_generations", "generation_batch_size", "steps_per_generation", "num_iterations",
            "gradient_accumulation_steps", "per_device_train_batch_size", "shuffle_dataset", "advantage_baseline",
            "prompt_sampling", "vas_weighted_fraction", "vas_refresh", "vas_variant",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}
