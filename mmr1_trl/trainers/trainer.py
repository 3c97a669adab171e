# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The one subclass of `GRPOTrainer`.

Every name of TRL and transformers that is not public is touched here or in `checkpoints/`, and pinned by
`tests/contract/`. Methods are extended around `super()`, never copied:

- `get_train_dataloader`: the dataloader yields row numbers and only sets the pace;
- `_generate_and_score_completions`: the sampler draws and rows are decoded before it, advantages replaced after it;
- `_calculate_rewards`: reward functions get entropies if they ask, and the rewards of all ranks are kept;
- `_get_per_token_logps_and_entropies`: entropies and log-probs of TRL's own forward are read;
- `_compute_loss`: advantages are shaped between its forward and its loss, and the entropy term is added;
- `training_step`: the baseline learns after the last step of a generation batch.

The parts (`samplers/`, `baselines.py`, `entropy.py`) know no trainer. `checkpoints/` has the class in between.
"""

import contextlib
import copy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel

from mmr1_trl.data.checks.row_checks import usable_rows
from mmr1_trl.data.decoding import RowDecoder, as_conversation
from mmr1_trl.data.token_counts import check_vllm_length
from mmr1_trl.engines.frames import add_training_frames
from mmr1_trl.engines.training import TrainingEngine, starting, suppress_placeholders
from mmr1_trl.errors import BadInputError
from mmr1_trl.models import load_processor
from mmr1_trl.models.processing import ProcessingClass, generation_prompt, unpadded
from mmr1_trl.reporting.terminal import use_table
from mmr1_trl.rewards.calling import watched
from mmr1_trl.rewards.label_free import negative_entropy_reward, self_certainty_reward
from mmr1_trl.trainers.baselines import BASELINES, BatchKL, GroupMean
from mmr1_trl.trainers.budget import Budget, check_enough_rows
from mmr1_trl.trainers.captured import Captured, add_means, own_tokens, swapped
from mmr1_trl.trainers.checkpoints.resume import ResumableTrainer
from mmr1_trl.trainers.checkpoints.weights import on_disk
from mmr1_trl.trainers.checks import CheckedRun, check_experts, check_run
from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.entropy import SelfCertainty, check_head, entropy_term, token_shapings
from mmr1_trl.trainers.guards.entropy_alarm import EntropyAlarm
from mmr1_trl.trainers.guards.exhaustion import last_checkpoint
from mmr1_trl.trainers.guards.step import StepGuards
from mmr1_trl.trainers.method_table import METHODS
from mmr1_trl.trainers.packing.installation import prepare_sharing
from mmr1_trl.trainers.packing.order import coherent_shuffle
from mmr1_trl.trainers.profiling import StepProfile
from mmr1_trl.trainers.rollouts import (
    Resources,
    RolloutBatch,
    Rollouts,
    SampledGroups,
    in_pieces,
    until_accepted,
    weights_digest,
)  # fmt: skip
from mmr1_trl.trainers.samplers import SAMPLERS, ScoredSampler
from mmr1_trl.trainers.samplers.base import RowNumbers
from mmr1_trl.trainers.samplers.sampling_report import SamplingReport
from mmr1_trl.trainers.vision.cache import prepare_vision, restore_pictures
from mmr1_trl.trainers.vision.completion_tables import add_pictures
from mmr1_trl.trainers.vision.freezing import keep_adapters_out
from mmr1_trl.trainers.vision.gathers import LeanGathers
from mmr1_trl.trainers.vision.mixed import allow_rows_without_pictures


class RLVRTrainer(ResumableTrainer):
    """
    GRPO for vision-language models with three switches: baseline, prompt sampling and token entropy.

    With the default [`RLVRConfig`] it trains as [`~trl.GRPOTrainer`] does. It decodes, pre-processes and (through a
    frozen vision tower) encodes each picture once per generation batch, and computes each prompt once per forward
    pass where that pays. Gradients are then the same up to the order of their sums; with `share_prompts="off"` and a
    frozen tower, or `encode_once=False`, the two trainers are equal bit for bit on a CPU.

    Args:
        model, reward_funcs, args, train_dataset, eval_dataset, processing_class, **kwargs:
            As in [`~trl.GRPOTrainer`]. `args` is an [`RLVRConfig`]; `train_dataset` must be indexable; images may be
            PIL images, encoded bytes or paths.
    """

    # Narrower or looser than upstream's own annotations.
    args: RLVRConfig
    num_generations: int
    _logs: Any

    _tag_names = METHODS["grpo"].tags
    _config_class = RLVRConfig
    _check_enough_rows = staticmethod(check_enough_rows)

    def __init__(
        self,
        model: str | PreTrainedModel,
        reward_funcs: Any = None,
        args: RLVRConfig | None = None,
        train_dataset: Dataset | None = None,
        eval_dataset: Any = None,
        processing_class: ProcessingClass | None = None,
        **kwargs: Any,
    ) -> None:
        args = self._config_class() if args is None else args
        if not isinstance(args, RLVRConfig):
            raise BadInputError(
                f"args must be an RLVRConfig (or MSSRConfig, ...), got {type(args).__name__}; it takes all the "
                f"options of {type(args).__name__}."
            )
        if processing_class is None:
            path = model if isinstance(model, str) else str(model.config.name_or_path)
            processing_class = load_processor(path, trust_remote_code=args.trust_remote_code, padding_side="left")
        rows = usable_rows(train_dataset, eval_dataset, processing_class, args.on_bad_row)
        rows = add_training_frames(*rows, model, processing_class, args, reward_funcs)
        environments = kwargs.get("environment_factory") is not None
        checked = check_run(args, reward_funcs, *rows, self._check_enough_rows, environments)
        train_dataset, eval_dataset = checked.rows, rows[1]
        check_vllm_length(args, processing_class, train_dataset=train_dataset, eval_dataset=eval_dataset)
        if args.freeze_vision_tower and kwargs.get("peft_config") is not None:
            kwargs["peft_config"] = keep_adapters_out(kwargs["peft_config"], args.freeze_merger)
        reference = on_disk(model) if args.beta != 0 and "peft_config" not in kwargs else contextlib.nullcontext()
        with starting(args, model), reference:
            super().__init__(
                model, reward_funcs, args=args, train_dataset=train_dataset, eval_dataset=eval_dataset,
                processing_class=processing_class, **kwargs,
            )  # fmt: skip
        evaluations = eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]
        self._set_up(checked, [rows for rows in evaluations if rows is not None], processing_class)

    def _set_up(self, checked: CheckedRun, evaluations: list[Any], processing_class: ProcessingClass) -> None:
        """Make what this trainer has beside TRL's, of models that are built and not yet wrapped for training."""
        args, train_dataset = self.args, checked.rows
        if not args.verbose_metrics:
            use_table(self.callback_handler)
        models = [self.accelerator.unwrap_model(each) for each in (self.model, self.ref_model) if each is not None]
        config = models[0].config
        if self.aux_loss_enabled:
            check_experts(config.get_text_config())
        self.reader = RowDecoder(train_dataset, args.min_pixels, args.max_pixels, args.on_bad_row)
        self.prompts, self.budget = checked.prompts, Budget()
        size, multiple = args.prompts_per_generation * self.num_generations, self.num_generations * self.use_vllm or 1
        self.sample_apart = partial(in_pieces, self.score_rows, size=size, multiple=multiple)
        have = Resources(
            args, self.prompts, table=checked.table, budget=self.budget, sample=self.sample_apart,
            step=lambda: self.state.global_step, identity=self._sampling_identity,
            pad_token_id=self._tokenizer.pad_token_id,
        )  # fmt: skip
        self.baseline = BASELINES[args.advantage_baseline](have)
        have.tracker = self.baseline.tracker
        self.sampler = SAMPLERS[args.prompt_sampling](have)
        self.kl = BatchKL(self.baseline.needs_kl, args)
        self.shapings, self.entropy_term = token_shapings(args), entropy_term(args)
        if isinstance(self.sampler, ScoredSampler):
            self.add_callback(SamplingReport(self.sampler, self.budget))
        if args.entropy_low is not None or args.entropy_high is not None:
            band = args.entropy_low, args.entropy_high
            self.add_callback(EntropyAlarm(*band, args.entropy_alarm == "stop", args.log_completions))
        self.vision = prepare_vision(
            args, models, processing_class, [train_dataset, *evaluations], self.accelerator, self.tools
        )
        self.sharing = prepare_sharing(args, models, self.accelerator, self.tools)
        self.log_multimodal &= allow_rows_without_pictures(args, models, train_dataset, self.accelerator)
        if self.use_vllm:
            pictures_change = not (args.freeze_vision_tower and args.freeze_merger)
            kept = partial(last_checkpoint, Path(str(args.output_dir)))
            self.engine = TrainingEngine(self.vllm_generation, config, pictures_change, kept)
        else:
            suppress_placeholders(self.generation_config, self.generation_kwargs, config)
        self.guards = StepGuards(
            args, train_dataset, config, processing_class,
            group_size=self.num_generations if isinstance(self.baseline, GroupMean) else None,
            step=lambda: self.state.global_step, deepspeed=self.is_deepspeed_enabled,
        )  # fmt: skip
        for callback in self.guards.callbacks:
            self.add_callback(callback)
        self.gathers, self.captured = LeanGathers(active=not args.log_completions), Captured()
        self._rewards_certainty = self_certainty_reward in self.reward_funcs
        self._reads_policy = self._rewards_certainty or negative_entropy_reward in self.reward_funcs
        if self._rewards_certainty:
            check_head(config, sharded=self.is_fsdp_enabled or self.is_deepspeed_enabled)
        if self.sampler.rejects and (self.tools or self.rollout_func is not None or self._reads_policy):
            raise BadInputError(
                f"prompt_sampling={args.prompt_sampling!r} samples completions before it knows which are trained on: "
                "it goes neither with tools nor with rewards that read the policy."
            )
        self._generation_prompt = generation_prompt(self.processing_class, self.chat_template_kwargs)

    @property
    def value_tracker(self) -> Any:
        """The [`~methods.value_tracker.ValueTracker`], or `None` with the group baseline."""
        return self.baseline.tracker

    # ---- One generation batch ----

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        with swapped(self, train_dataset=RowNumbers(len(self.train_dataset))):
            return super().get_train_dataloader()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return self._evaluate_completions(inputs)
        self.baseline.prepare()
        if self.sampler.rejects:
            sampled, num_weighted = self._sample_accepted(), 0
            every = sampled.batch.rows
        else:
            sampled = None
            drawn, num_weighted = self.sampler.next_batch()
            every = drawn.repeat_interleave(self.num_generations)
        rows, records = self.reader.read(self._local(every).tolist())
        self.guards.picture_tokens.rows = rows
        shapes_now = bool(self.shapings) and self.args.computes_old_logps
        with (
            self.captured.during("sampling" if shapes_now or self._reads_policy else "idle"),
            self._vision_of("train"),
            self.gathers.generation(),
            self._replaying(sampled) if sampled is not None else contextlib.nullcontext(),
        ):
            output = super()._generate_and_score_completions(records)
        tokens = self.captured.take_tokens()
        if self.args.on_bad_row == "skip":  # each rank meets bad rows of its own; all of them count
            self.reader.bad_rows.update(gather_object(sorted(self.reader.bad_rows)))
            self._metrics["train"]["data/bad_rows"].append(float(len(self.reader.bad_rows)))
        output["rows"] = torch.tensor(rows, device=output["completion_ids"].device)

        rewards = self.captured.weighted_rewards(self.reward_weights)
        batch = self._observe(rows, rewards, num_weighted) if sampled is None else sampled.batch
        sums = self.budget.metrics(isinstance(self.sampler, ScoredSampler))
        self._metrics["train"].update({name: [value] for name, value in sums.items()})  # the newest one counts
        advantages = self.baseline.advantages(batch)
        if advantages is not None:
            self._replace_advantages(output, advantages.to(rewards.device))
        self._log_part(self.baseline)
        if advantages is not None or self.entropy_term is not None:
            # Without a reward a completion must not move the policy, neither by a KL nor by an entropy term.
            scorable = ~torch.isnan(self._local(rewards)).unsqueeze(1)
            output["completion_mask"] = output["completion_mask"] * scorable.to(output["completion_mask"].dtype)
        if self.entropy_term is not None and self.entropy_term.schedule.is_oracle:
            output["is_noisy"] = torch.tensor([bool(r["is_noisy"]) for r in records], device=rewards.device)
        if shapes_now:
            self._shape(output, tokens["logps"], tokens["entropies"])
        self.guards.batch(output, rewards, self._metrics["train"])
        return output

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        with coherent_shuffle(self.args, self.sharing.active):
            return super()._prepare_inputs(generation_batch)

    def _local(self, values: torch.Tensor) -> torch.Tensor:
        """This rank's part of what is known of the completions of all ranks, which lie side by side."""
        share = len(values) // self.accelerator.num_processes
        return values[self.accelerator.process_index * share :][:share]

    def _observe(self, rows: list[int], rewards: torch.Tensor, num_weighted: int) -> RolloutBatch:
        """Count the completions of all ranks that were just sampled, and let the sampler learn from them."""
        every = self.accelerator.gather(torch.tensor(rows, device=rewards.device)).cpu()
        needed = self.sampler.needs_completions or self.baseline.needs_completions
        batch = RolloutBatch(
            every, self.prompts.numbers[every], rewards.cpu(), self.num_generations, num_weighted,
            completion_ids=gather_object(self.captured.completion_ids) if needed else None,
        )  # fmt: skip
        self.budget.training += len(every)
        self.sampler.observe(batch)
        self._log_part(self.sampler)
        return batch

    def _log_part(self, part: Any) -> None:
        for name, value in part.metrics().items():
            self._metrics["train"][name].append(value)

    def _replace_advantages(self, output: dict[str, Any], advantages: torch.Tensor) -> None:
        output["advantages"] = self._local(advantages)
        # TRL has logged the group's numbers, which say nothing here: the advantages, and the spread of a group of one.
        logged = self._logs["advantages"]
        for _ in range(len(advantages)):
            logged.pop()
        logged.extend(advantages.tolist())
        if self.num_generations == 1:
            del self._metrics["train"]["frac_reward_zero_std"]

    # ---- Groups that may be rejected: sampled and scored first, and handed to TRL when there are enough ----

    def _sample_accepted(self) -> SampledGroups:
        before = self.budget.training
        wanted, sampler = self.args.prompts_per_generation, self.sampler
        sampled = until_accepted(self._sample_groups, sampler.accept, wanted, sampler.most_rounds)
        self._log_part(sampler)  # what it has to say of the last round's groups
        self.budget.rejected += self.budget.training - before - len(sampled.generated)
        return sampled

    def _sample_groups(self) -> SampledGroups:
        drawn, num_weighted = self.sampler.next_batch()
        rows, records = self.reader.read(self._local(drawn.repeat_interleave(self.num_generations)).tolist())
        self.guards.picture_tokens.rows = rows
        (prompt_tokens, completion_ids, _, completions, logps, *_), rewards = self._sample_and_score(records)
        batch = self._observe(rows, self.captured.weighted_rewards(self.reward_weights), num_weighted)
        generated = zip(prompt_tokens, completion_ids, completions, logps or [None] * len(rows), strict=True)
        return SampledGroups(batch, rewards, gather_object(list(generated)))

    def _sample_and_score(self, records: list[dict[str, Any]]) -> tuple[Any, torch.Tensor]:
        """Sample a completion for each row, which no table shows: what `_generate` returns, and the rewards."""
        prompts = [as_conversation(record) for record in records]
        with self._vision_of("scoring"):
            generated = self._generate(prompts)
        rewards = self._calculate_rewards(records, prompts, generated[3], generated[1])
        self._pending_extra_logs.clear()
        return generated, rewards

    def _replaying(self, sampled: SampledGroups) -> contextlib.AbstractContextManager[None]:
        """Let TRL generate and reward what has been sampled already."""
        again = sampled.as_generated(self._local(torch.arange(len(sampled.generated))).tolist())

        def rewards(*args: Any) -> torch.Tensor:
            self.captured.rewards = sampled.rewards
            self.gathers.rewards_are_done()
            return sampled.rewards

        return swapped(self, _generate=lambda prompts: again, _calculate_rewards=rewards)

    # ---- What TRL calls on the way ----

    def _generate(self, prompts: list[Any]) -> Any:
        with self.sharing.sampling():
            sampled = super()._generate(prompts)
        self.guards.picture_tokens.check(prompts, sampled[1], sampled[2])
        return sampled

    def _vision_of(self, batch: str) -> contextlib.AbstractContextManager[None]:
        return self.vision.generation(batch) if self.vision is not None else contextlib.nullcontext()

    def _evaluate_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        records = self.reader.decode_evaluation(inputs)
        phase = self.captured.during("sampling" if self._reads_policy else "idle")
        with phase, self._vision_of("eval"), self.gathers.generation():
            output = super()._generate_and_score_completions(records)
        self.captured.take_tokens()
        if (self.num_generations_eval or self.num_generations) == 1:
            self._metrics["eval"].pop("frac_reward_zero_std", None)
        return output

    def _tokenize_prompts(self, prompts: Any) -> Any:
        with unpadded(self.processing_class):
            ids, images, fields = super()._tokenize_prompts(prompts)
        # In a batch of rows with and without pictures TRL writes None for the latter, which processors refuse.
        return ids, images and [each or [] for each in images], fields

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self.captured.completion_ids = args[3]
        records = [record | {"generation_prompt": self._generation_prompt} for record in args[0]]
        records = add_means(records, self.captured.tokens, args[3]) if self.captured.tokens else records
        functions = [watched(function, lambda: self.guards.rewarding(records)) for function in self.reward_funcs]
        with swapped(self, reward_funcs=functions):
            self.captured.rewards = rewards = super()._calculate_rewards(records, *args[1:], **kwargs)
        self.gathers.rewards_are_done()
        return rewards

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        # TRL has no place for how many pictures LLaVA-OneVision's prompts have: `prepare_vision` sees to it.
        kwargs.pop("batch_num_images", None)
        # The first pass of a generation batch is the one over the sampling policy (asserted by a contract test).
        first = self.captured.phase == "sampling"
        kwargs |= {"compute_entropy": True} if first else {}
        reads_states, core = first and self._rewards_certainty, self.accelerator.unwrap_model(model)
        reading = SelfCertainty(core, self.temperature, args[2]) if reads_states else contextlib.nullcontext()
        with reading as certainty, self.sharing.completions(args[2]):
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if first:
            tokens = {"logps": logps, "entropies": entropies}
            if certainty is not None:
                tokens["self_certainty"] = certainty.per_token(args[0], logps)
            self.captured.phase, self.captured.tokens = "idle", tokens
        elif self.captured.phase == "loss":
            self._after_loss_forward(self.captured.micro_batch, logps.detach(), entropies)
        return logps, entropies, aux_loss

    def _shape(self, batch: dict[str, Any], logps: torch.Tensor, entropies: torch.Tensor) -> None:
        """Give the tokens of a batch advantages of their own, and log how."""
        advantages = batch["advantages"].unsqueeze(1).expand_as(logps)
        for shaping in self.shapings:
            advantages = shaping.shape(advantages, logps, entropies.detach(), own_tokens(batch))
            self._log_part(shaping)
        batch["advantages"] = advantages

    def _after_loss_forward(self, inputs: dict[str, Any], logps: torch.Tensor, entropies: torch.Tensor) -> None:
        self.captured.entropies = entropies
        self.guards.forward(inputs, logps, self._metrics["train"], (self._step + 1) % self.args.window == 0)
        if self.shapings and not self.args.computes_old_logps:
            # Generation and update are aligned: this forward is the sampling policy's, and TRL reads the advantages
            # after it. When they are not, the advantages came here shaped.
            self._shape(inputs, logps, entropies)
        self.kl.observe(self._step, inputs, logps, own_tokens(inputs))

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        with self.captured.during("loss"):
            self.captured.micro_batch = dict(inputs)  # a copy, because the buffered micro-batch is used again
            loss = super()._compute_loss(model, self.captured.micro_batch)
        entropies, self.captured.entropies = self.captured.entropies, None
        if self.entropy_term is not None:
            assert entropies is not None
            loss = loss + self.entropy_term(
                entropies, own_tokens(inputs), loss.detach(), self.state.global_step, self.state.max_steps,
                self.current_gradient_accumulation_steps, inputs.get("is_noisy"),
            )  # fmt: skip
            self._log_part(self.entropy_term)
        self.guards.nonfinite.watch_loss(loss)
        return loss

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        return self.guards.update(super()._get_grad_norm(model, grad_norm), self._metrics["train"])

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        with self.sharing.counted(self._metrics["train"]):
            output = super().training_step(model, inputs, num_items_in_batch)
        if self._step % self.args.window == 0:
            self.baseline.finish(self.kl.finish())
            self._log_part(self.baseline)
        return output

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= self.vision.pop_metrics() if self.vision is not None else {}
            logs |= self.sharing.share_saved(self._metrics["train"])
        super().log(logs, start_time)
        if self.log_completions and self.log_multimodal and self.accelerator.is_main_process:
            add_pictures(str(self.args.output_dir), self.state.global_step, list(self._logs["images"]))

    # ---- Sampling outside of training ----

    def _sampling_identity(self) -> dict[str, Any]:
        weights = weights_digest(self.accelerator.unwrap_model(self.model))
        return self.run_identity() | {"rewards": list(self.reward_func_names), "weights": weights}

    def score_rows(self, rows: torch.Tensor) -> Rollouts:
        """
        Sample one completion per row with the current policy and score it, without a trace in metrics and logs.

        Args:
            rows (`torch.Tensor` of shape `(B,)`):
                Rows of this rank, equally many on every rank; with vLLM each `num_generations` times in a row.

        Returns:
            [`~trainers.rollouts.Rollouts`]: The `B * processes` completions of all ranks.

        Raises:
            [`BadInputError`]: The trainer has tools, which TRL hands out to the rollouts of a training batch only.
        """
        if self.tools:
            raise BadInputError(
                "Rollouts for scores and initial values are made without tools. With tools take vas_refresh='online' "
                "and tracker_initial_rollouts=0."
            )
        read, records = self.reader.read(rows.tolist())
        metrics, tokens_seen = copy.deepcopy(self._metrics), self.state.num_input_tokens_seen
        (_, completion_ids, _, completions, *_), _ = self._sample_and_score(records)
        self._metrics, self.state.num_input_tokens_seen = metrics, tokens_seen
        self._pending_metrics.clear()
        return Rollouts(
            rows=gather_object(read),
            rewards=self.captured.weighted_rewards(self.reward_weights),
            completion_ids=gather_object(completion_ids),
            texts=gather_object([c if isinstance(c, str) else c[0]["content"] for c in completions]),
            truncated=gather_object([not ids or ids[-1] not in self.eos_token_ids for ids in completion_ids]),
        )

    # ---- What others ask of it ----

    def step_profile(self, warm_up: int) -> StepProfile:
        """A profile of this trainer's steps, without the first `warm_up` of them; to be called before training."""
        owners = {
            "reader": self.reader, "baseline": self.baseline, "sampler": self.sampler, "trainer": self,
            "processor class": type(self.processing_class), "accelerator": self.accelerator,
        }  # fmt: skip
        models = [model for model in (self.model, self.ref_model) if model is not None]
        profile = StepProfile(owners, models, lambda: (self.sharing.asked, self.sharing.computed), warm_up)
        self.add_callback(profile)
        return profile

    # ---- What a checkpoint holds beside TRL's state (see `checkpoints.resume.ResumableTrainer`) ----

    def run_identity(self) -> dict[str, Any]:
        return super().run_identity() | {"dataset": self.prompts.fingerprint, **self.args.to_run_identity()}

    def shared_parts(self) -> dict[str, Any]:
        return {"sampler": self.sampler, "baseline": self.baseline, "budget": self.budget}

    def rank_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        tensors = {"kl_sum": self.kl.sums}
        if self.vision is not None and not self.at_window_end:
            tensors |= self.vision.store.state_dict()
        return {"bad_rows": sorted(self.reader.bad_rows)}, tensors

    def load_rank_state(self, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        self.reader.bad_rows = set(plain["bad_rows"])
        restore_pictures(self.vision, self._buffered_inputs or (), tensors)
        self.kl.sums = tensors.get("kl_sum", self.kl.sums)
