# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The one subclass of `GRPOTrainer`.

Every name of TRL and transformers that is not public is touched here or in `checkpoints/`, and pinned by
`tests/contract/`. Methods are extended around `super()`, never copied:

- `get_train_dataloader`: the dataloader yields row numbers and only sets the pace;
- `_generate_and_score_completions`: prompts are picked and decoded before it, advantages replaced after it;
- `_calculate_rewards`: reward functions get entropies if they ask, and the rewards of all ranks are kept;
- `_get_per_token_logps_and_entropies`: entropies and log-probs of TRL's own forward are read;
- `_compute_loss`: advantages are shaped between its forward and its loss, and the entropy term is added;
- `training_step`: the value tracker is updated after the last step of a generation batch.

Checkpoints: `checkpoints/`, by the class between TRL's and this one. What watches over a step: `guards/`.
"""

import contextlib
import copy
import math
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from datasets import Dataset
from transformers import PreTrainedModel
from trl.data_utils import prepare_multimodal_messages

from mmr1_trl.data.token_counts import check_vllm_length
from mmr1_trl.engines.frames import add_training_frames
from mmr1_trl.engines.training import connect, starting
from mmr1_trl.errors import BadInputError
from mmr1_trl.methods.advantage_shaping import entropy_bonus
from mmr1_trl.methods.entropy_schedule import EntropySchedule
from mmr1_trl.models import load_processor
from mmr1_trl.models.processing import ProcessingClass, generation_prompt
from mmr1_trl.reporting.terminal import use_table
from mmr1_trl.rewards.calling import watched
from mmr1_trl.rewards.label_free import negative_entropy_reward, self_certainty_reward
from mmr1_trl.trainers.baseline import TrackerBaseline, row_kl
from mmr1_trl.trainers.checkpoints.resume import ResumableTrainer
from mmr1_trl.trainers.checkpoints.weights import on_disk
from mmr1_trl.trainers.checks import check_run
from mmr1_trl.trainers.completions import add_means, add_pictures, own_tokens
from mmr1_trl.trainers.config import RLVRConfig
from mmr1_trl.trainers.entropy_alarm import EntropyAlarm
from mmr1_trl.trainers.gathers import LeanGathers
from mmr1_trl.trainers.guards.exhaustion import last_checkpoint
from mmr1_trl.trainers.guards.nonfinite import MAX_NAMED
from mmr1_trl.trainers.guards.step import StepGuards
from mmr1_trl.trainers.method_table import METHODS
from mmr1_trl.trainers.packing.installation import prepare_sharing
from mmr1_trl.trainers.packing.order import coherent_shuffle
from mmr1_trl.trainers.prompt_scores import PromptScores
from mmr1_trl.trainers.prompt_source import PromptSource
from mmr1_trl.trainers.rows import RowNumbers, RowReader, check_enough_rows, fingerprint, usable_rows
from mmr1_trl.trainers.scoring import Rollouts, initial_pass_rates, rollouts_made
from mmr1_trl.trainers.self_certainty import SelfCertainty, check_head
from mmr1_trl.trainers.vas_callback import VASCallback
from mmr1_trl.trainers.vision.cache import prepare_vision, restore_pictures
from mmr1_trl.trainers.vision.freezing import keep_adapters_out
from mmr1_trl.trainers.vision.mixed import allow_rows_without_pictures


class RLVRTrainer(ResumableTrainer):
    """
    GRPO for vision-language models with three switches: baseline, prompt sampling and token entropy.

    With the default [`RLVRConfig`] it trains as [`~trl.GRPOTrainer`] does, and decodes, pre-processes and (through a
    frozen vision tower) encodes each picture once per generation batch. A trained vision tower gets the same gradients
    up to the order of their sums; with a frozen one, or `encode_once=False`, the two are equal bit for bit on a CPU.

    Args:
        model, reward_funcs, args, train_dataset, eval_dataset, processing_class, **kwargs:
            As in [`~trl.GRPOTrainer`]. `args` is an [`RLVRConfig`]; `train_dataset` must be indexable; images may be
            PIL images, encoded bytes or paths.

    Example:

    ```python
    from mmr1_trl import MSSRConfig, MSSRTrainer
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm
    from mmr1_trl.rewards import accuracy_reward

    model, processor = build_tiny_vlm()
    trainer = MSSRTrainer(
        model=model,
        reward_funcs=accuracy_reward,
        args=MSSRConfig(output_dir="runs/mssr", tracker_forgetting="fixed", beta=0.0),
        train_dataset=load_figures(num_rows=512),
        processing_class=processor,
    )
    trainer.train()
    ```
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
        if args is None:
            args = self._config_class()
        if not isinstance(args, RLVRConfig):
            raise BadInputError(
                f"args must be an RLVRConfig (or MSSRConfig, ...), got {type(args).__name__}; it takes all the "
                f"options of {type(args).__name__}."
            )
        if processing_class is None:
            path = model if isinstance(model, str) else str(model.config.name_or_path)
            processing_class = load_processor(path, trust_remote_code=args.trust_remote_code, padding_side="left")
        train_dataset, eval_dataset = usable_rows(train_dataset, eval_dataset, processing_class, args.on_bad_row)
        train_dataset, eval_dataset = add_training_frames(
            train_dataset, eval_dataset, model, processing_class, args, reward_funcs
        )
        checked = check_run(
            args, reward_funcs, train_dataset, eval_dataset, self._check_enough_rows,
            environments=kwargs.get("environment_factory") is not None,
        )  # fmt: skip
        train_dataset, slots, table = checked.rows, checked.slots, checked.table
        num_prompts = int(slots.max()) + 1
        self.entropy_schedule = EntropySchedule(
            args.entropy_schedule, args.explore_coef, args.exploit_coef, args.switch_fraction
        )
        check_vllm_length(args, processing_class, train_dataset=train_dataset, eval_dataset=eval_dataset)
        if args.freeze_vision_tower and kwargs.get("peft_config") is not None:
            kwargs["peft_config"] = keep_adapters_out(kwargs["peft_config"], args.freeze_merger)
        reference = on_disk(model) if args.beta != 0 and "peft_config" not in kwargs else contextlib.nullcontext()
        with starting(args, model), reference:
            super().__init__(
                model=model,
                reward_funcs=reward_funcs,
                args=args,
                train_dataset=train_dataset,
                eval_dataset=eval_dataset,
                processing_class=processing_class,
                **kwargs,
            )

        if not args.verbose_metrics:
            use_table(self)
        self.reader = RowReader(train_dataset, args.min_pixels, args.max_pixels, args.on_bad_row)
        self.prompt_source = PromptSource(
            len(train_dataset),
            args.prompts_per_generation,
            seed=args.seed,
            shuffle=bool(args.shuffle_dataset),
            weighted_fraction=args.vas_weighted_fraction,
            one_permutation=args.vas_variant == "released_code",
        )
        self.prompt_slots = slots
        self.baseline: TrackerBaseline | None = None
        if args.advantage_baseline == "value_tracker":
            self.baseline = TrackerBaseline(num_prompts, args)
            if table is not None:
                self.baseline.tracker.initialize(torch.arange(num_prompts), table.pass_rates)
        self.scores: PromptScores | None = None
        if args.prompt_sampling != "uniform":
            self.scores = PromptScores(
                slots, args, self.prompt_source.batches_per_epoch, self._tokenizer.pad_token_id,
                tracker=self.value_tracker, table=table,
            )  # fmt: skip
            self.add_callback(VASCallback(self.scores))
        if args.entropy_low is not None or args.entropy_high is not None:
            stop, tables = args.entropy_alarm == "stop", args.log_completions
            self.add_callback(EntropyAlarm(args.entropy_low, args.entropy_high, stop, tables))
        self.vision = prepare_vision(self)
        self.sharing = prepare_sharing(self)
        allow_rows_without_pictures(self)
        self.engine = connect(self, last_checkpoint)
        self.guards = StepGuards(self)
        self.gathers = LeanGathers(active=not args.log_completions)
        self._rewards_certainty = self_certainty_reward in self.reward_funcs
        self._reads_policy = self._rewards_certainty or negative_entropy_reward in self.reward_funcs
        if self._rewards_certainty:
            check_head(self)
        self._initialized = self.baseline is None or args.tracker_initial_rollouts == 0
        self._rewards: torch.Tensor | None = None  # (all completions, reward functions), set by _calculate_rewards
        self._completion_ids: list[list[int]] = []  # of this rank, set with them
        self._sampling_pass: dict[str, torch.Tensor] | None = None  # filled during a generation
        self._loss_inputs: dict[str, Any] | None = None  # the micro-batch whose loss is being computed
        self._loss_entropies: torch.Tensor | None = None
        self._fingerprint: str | None = None
        self._generation_prompt = generation_prompt(self.processing_class, self.chat_template_kwargs)

    @property
    def value_tracker(self) -> Any:
        """The [`~methods.value_tracker.ValueTracker`], or `None` with the group baseline."""
        return self.baseline.tracker if self.baseline is not None else None

    # ---- One generation batch ----

    def get_train_dataloader(self) -> torch.utils.data.DataLoader:
        dataset = self.train_dataset
        self.train_dataset = RowNumbers(len(dataset))
        try:
            return super().get_train_dataloader()
        finally:
            self.train_dataset = dataset

    def _local_rows(self, prompts: torch.Tensor) -> list[int]:
        """This rank's part of a generation batch: each prompt once per rollout of its group, ranks side by side."""
        rows = prompts.repeat_interleave(self.num_generations)
        share = len(rows) // self.accelerator.num_processes
        return rows[self.accelerator.process_index * share :][:share].tolist()

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        if not self.model.training:
            return self._evaluate_completions(inputs)
        if not self._initialized:
            self._set_initial_values()
        weights = self.scores.for_batch(self) if self.scores is not None else None
        rows, records = self.reader.read(self._local_rows(self.prompt_source.next_batch(weights)))
        self.guards.rows = rows
        shape_now = self.args.entropy_shaping and self.args.computes_old_logps
        self._sampling_pass = {} if shape_now or self._reads_policy else None
        with self._vision_of("train"), self.gathers.generation():
            output = super()._generate_and_score_completions(records)
        sampling_pass, self._sampling_pass = self._sampling_pass, None
        if self.args.on_bad_row == "skip":  # each rank meets bad rows of its own; all of them count
            self.reader.bad_rows.update(gather_object(sorted(self.reader.bad_rows)))
            self._metrics["train"]["data/bad_rows"].append(float(len(self.reader.bad_rows)))
        output["rows"] = torch.tensor(rows, device=output["completion_ids"].device)

        self._metrics["train"]["num_rollouts"] = [float(rollouts_made(self))]  # a sum so far: the newest one counts
        rewards = self._weighted_rewards()
        share = slice(self.accelerator.process_index * len(rows), (self.accelerator.process_index + 1) * len(rows))
        slots = self.accelerator.gather(self.prompt_slots[torch.tensor(rows)].to(rewards.device)).cpu()
        if self.scores is not None:
            ids = gather_object(self._completion_ids)
            self.scores.observe(self, slots, rewards, ids, self._metrics["train"])
        if self.baseline is not None:
            self._use_tracked_advantages(output, slots, rewards, share)
        if self.baseline is not None or self.entropy_schedule.kind != "none":
            # Without a reward a completion must not move the policy, neither by a KL nor by an entropy term.
            scorable = ~torch.isnan(rewards[share]).unsqueeze(1)
            output["completion_mask"] = output["completion_mask"] * scorable.to(output["completion_mask"].dtype)
        if self.entropy_schedule.is_oracle:
            output["is_noisy"] = torch.tensor([bool(r["is_noisy"]) for r in records], device=rewards.device)
        if shape_now and sampling_pass is not None:
            entropies = self._shaping_entropies(sampling_pass["logps"], sampling_pass["entropies"])
            output["advantages"] = self._shape(output["advantages"], entropies, own_tokens(output))
        self.guards.batch(output, rewards, self._metrics["train"])
        return output

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        with coherent_shuffle(self):
            return super()._prepare_inputs(generation_batch)

    def _generate(self, prompts: list[Any]) -> Any:
        with self.sharing.sampling():
            sampled = super()._generate(prompts)
        return self.guards.sampled(prompts, sampled)

    def _vision_of(self, batch: str) -> contextlib.AbstractContextManager[None]:
        return self.vision.generation(batch) if self.vision is not None else contextlib.nullcontext()

    def _evaluate_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        records = self.reader.decode_evaluation(inputs)
        self._sampling_pass = {} if self._reads_policy else None
        with self._vision_of("eval"), self.gathers.generation():
            output = super()._generate_and_score_completions(records)
        self._sampling_pass = None
        if (self.num_generations_eval or self.num_generations) == 1:
            self._metrics["eval"].pop("frac_reward_zero_std", None)
        return output

    def _tokenize_prompts(self, prompts: Any) -> Any:
        ids, images, fields = super()._tokenize_prompts(prompts)
        # In a batch of rows with and without pictures TRL writes None for the latter, which processors refuse.
        return ids, images and [each or [] for each in images], fields

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        self._completion_ids = args[3]
        records = [record | {"generation_prompt": self._generation_prompt} for record in args[0]]
        args = (add_means(records, self._sampling_pass or {}, args[3]), *args[1:])
        functions = self.reward_funcs
        self.reward_funcs = [watched(function, lambda: self._where_rewarded(args[0])) for function in functions]
        try:
            self._rewards = super()._calculate_rewards(*args, **kwargs)
        finally:
            self.reward_funcs = functions
        self.gathers.rewards_are_done()
        return self._rewards

    def _where_rewarded(self, records: list[dict[str, Any]]) -> str:
        """Say at what step a reward function met which prompts, and what is safe."""
        texts = [r["prompt"] if isinstance(r["prompt"], str) else str(r["prompt"][-1]["content"]) for r in records]
        names = [str(record.get("prompt_id", repr(text[:60]))) for record, text in zip(records, texts)]
        some = [*dict.fromkeys(names)]
        more = f" and {len(some) - MAX_NAMED} more" if len(some) > MAX_NAMED else ""
        return (
            f"That was after step {self.state.global_step}, on the prompts {', '.join(some[:MAX_NAMED])}{more}. "
            f"{last_checkpoint(Path(str(self.args.output_dir)))}"
        )

    def _weighted_rewards(self) -> torch.Tensor:
        """Weighted sum over reward functions of the completions of all ranks, NaN where none could score."""
        assert self._rewards is not None
        rewards = (self._rewards * self.reward_weights.to(self._rewards.device)).nansum(dim=1)
        rewards[torch.isnan(self._rewards).all(dim=1)] = torch.nan
        return rewards

    def _use_tracked_advantages(
        self, output: dict[str, Any], slots: torch.Tensor, rewards: torch.Tensor, share: slice
    ) -> None:
        assert self.baseline is not None
        metrics = self._metrics["train"]
        metrics["mssr/value_mean"].append(self.baseline.tracker.values(slots).mean().item())
        metrics["mssr/frac_unseen"].append(self.baseline.tracker.frac_unseen)
        advantages = self.baseline.advantages(slots, rewards).to(output["advantages"].device)
        metrics["mssr/advantage_std"].append(advantages.std(correction=0).item())
        output["advantages"] = advantages[share]
        # TRL has logged the group's numbers, which say nothing here: the advantages, and the spread of a group of one.
        logged = self._logs["advantages"]
        for _ in range(len(advantages)):
            logged.pop()
        logged.extend(advantages.tolist())
        if self.num_generations == 1:
            del metrics["frac_reward_zero_std"]

    def _set_initial_values(self) -> None:
        assert self.baseline is not None
        self._initialized = True
        pass_rates = initial_pass_rates(self, self.args.tracker_initial_rollouts, self.args.tracker_smoothing)
        self.baseline.tracker.initialize(torch.arange(len(pass_rates)), pass_rates)

    # ---- Entropy: shaping and schedule ----

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        # The first pass of a generation batch is the one over the sampling policy (asserted by a contract test).
        sampling_pass = self._sampling_pass == {}
        if sampling_pass:
            kwargs["compute_entropy"] = True
        reads_states = sampling_pass and self._rewards_certainty
        core = self.accelerator.unwrap_model(model)
        reading = SelfCertainty(core, self.temperature, args[2]) if reads_states else contextlib.nullcontext()
        with reading as certainty, self.sharing.completions(args[0].size(1) - args[2]):
            logps, entropies, aux_loss = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if sampling_pass:
            self._sampling_pass = {"logps": logps, "entropies": entropies}
            if certainty is not None:
                self._sampling_pass["self_certainty"] = certainty.per_token(args[0], logps)
        elif self._loss_inputs is not None:
            self._after_loss_forward(self._loss_inputs, logps.detach(), entropies)
        return logps, entropies, aux_loss

    def _shaping_entropies(self, logps: torch.Tensor, entropies: torch.Tensor) -> torch.Tensor:
        return entropies.detach() if self.args.entropy_source == "full" else -logps.exp() * logps

    def _shape(self, advantages: torch.Tensor, entropies: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Add the bonus of each token, and log its mean."""
        bonus = entropy_bonus(advantages, entropies, alpha=self.args.shaping_alpha, kappa=self.args.shaping_kappa)
        sums = self.accelerator.reduce(torch.stack([(bonus * mask).sum(), mask.sum()]), reduction="sum")
        self._metrics["train"]["mssr/bonus_mean"].append((sums[0] / sums[1].clamp(min=1)).item())
        return advantages.unsqueeze(1) + bonus

    def _after_loss_forward(self, inputs: dict[str, Any], logps: torch.Tensor, entropies: torch.Tensor) -> None:
        self._loss_entropies = entropies
        self.guards.forward(inputs, logps, self._metrics["train"], (self._step + 1) % self.args.window == 0)
        if self.args.entropy_shaping and inputs["advantages"].dim() == 1:
            # Generation and update are aligned: this forward is the sampling policy's, and TRL reads the advantages
            # after it. When they are not, the advantages came here shaped.
            shaping = self._shaping_entropies(logps, entropies)
            inputs["advantages"] = self._shape(inputs["advantages"], shaping, own_tokens(inputs))
        if self.baseline is None or self.args.tracker_forgetting == "fixed":
            return
        sampled = inputs.get("old_per_token_logps", logps)
        step = self._step % self.args.window
        first_pass = step < self.args.window // self.num_iterations
        last_update = step >= self.args.window - self.args.gradient_accumulation_steps
        if self.args.tracker_kl_source == "reference" and first_pass:
            self.baseline.observe_kl(*row_kl(sampled, inputs["ref_per_token_logps"], own_tokens(inputs)))
        elif self.args.tracker_kl_source == "policy" and last_update:
            self.baseline.observe_kl(*row_kl(sampled, logps, own_tokens(inputs)))

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        if not self.model.training:
            return super()._compute_loss(model, inputs)
        self._loss_inputs = dict(inputs)  # a copy, because the buffered micro-batch is used again
        try:
            loss = super()._compute_loss(model, self._loss_inputs)
        finally:
            self._loss_inputs = None
        entropies, self._loss_entropies = self._loss_entropies, None
        if self.entropy_schedule.kind != "none":
            assert entropies is not None
            loss = loss + self._entropy_term(entropies, inputs, loss.detach())
        self.guards.nonfinite.watch_loss(loss)
        return loss

    def _entropy_term(
        self, entropies: torch.Tensor, inputs: dict[str, Any], policy_loss: torch.Tensor
    ) -> torch.Tensor:
        mask = own_tokens(inputs)
        # Mean over a response's tokens, then over responses. A response without a token counts as 0, so that all
        # ranks and micro-batches weigh the same whatever their lengths are.
        response_means = (entropies * mask).sum(-1) / mask.sum(-1).clamp(min=1)
        step, max_steps = self.state.global_step, self.state.max_steps
        coefs = torch.full_like(response_means, self.entropy_schedule(step, max_steps))
        if self.entropy_schedule.is_oracle:
            coefs[inputs["is_noisy"]] = self.entropy_schedule(step, max_steps, noisy=True)
        term = -(coefs * response_means).mean() / self.current_gradient_accumulation_steps
        share = term.abs() / (term.abs() + policy_loss.abs()).clamp(min=1e-12)
        logged = [coefs.mean(), response_means.mean(), share, (entropies * mask).sum(), mask.sum()]
        means = self.accelerator.reduce(torch.stack(logged).detach(), reduction="mean").tolist()
        coef, response_mean, loss_share, token_sum, tokens = means
        metrics = self._metrics["train"]
        metrics["entropy/stage"].append(float(self.entropy_schedule.stage(step, max_steps)))
        metrics["entropy/coef"].append(coef)
        metrics["entropy/token_mean"].append(token_sum / tokens if tokens else math.nan)
        metrics["entropy/response_mean"].append(response_mean)
        metrics["entropy/loss_share"].append(loss_share)
        return term

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        return self.guards.update(super()._get_grad_norm(model, grad_norm), self._metrics["train"])

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        output = super().training_step(model, inputs, num_items_in_batch)
        if self.baseline is not None and self.at_window_end:
            kl = self.baseline.finish_batch(self.sum_over_ranks)
            if kl is not None:
                self._metrics["train"]["mssr/kl"].append(kl)
            self._metrics["train"]["mssr/rho"].append(self.baseline.tracker.rho)
        return output

    def sum_over_ranks(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum a tensor on the CPU over ranks."""
        if self.accelerator.num_processes == 1:
            return tensor
        return self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum").cpu()

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if self.vision is not None and "loss" in logs:
            logs |= self.vision.pop_metrics()
        if "loss" in logs:
            logs |= self.sharing.pop_metrics()
        super().log(logs, start_time)
        if self.log_completions and self.log_multimodal and self.accelerator.is_main_process:
            add_pictures(str(self.args.output_dir), self.state.global_step, list(self._logs["images"]))

    def score_rows(self, rows: torch.Tensor) -> Rollouts:
        """
        Sample one completion per row with the current policy and score it, without a trace in metrics and logs.

        Args:
            rows (`torch.Tensor` of shape `(B,)`):
                Rows of this rank, equally many on every rank; with vLLM each `num_generations` times in a row.

        Returns:
            [`Rollouts`]: The `B * processes` completions of all ranks.
        """
        read, records = self.reader.read(rows.tolist())
        prompts = [self._with_images(record) for record in records]
        metrics, tokens_seen = copy.deepcopy(self._metrics), self.state.num_input_tokens_seen
        with self._vision_of("scoring"):
            _, completion_ids, _, completions, *_ = self._generate(prompts)
        self._calculate_rewards(records, prompts, completions, completion_ids)
        self._metrics, self.state.num_input_tokens_seen = metrics, tokens_seen
        self._pending_metrics.clear()
        self._pending_extra_logs.clear()
        return Rollouts(
            rows=gather_object(read),
            rewards=self._weighted_rewards(),
            completion_ids=gather_object(completion_ids),
            texts=gather_object([c if isinstance(c, str) else c[0]["content"] for c in completions]),
            truncated=gather_object([not ids or ids[-1] not in self.eos_token_ids for ids in completion_ids]),
        )

    @staticmethod
    def _with_images(record: dict[str, Any]) -> list[dict[str, Any]]:
        images = record.get("images") or ([record["image"]] if record.get("image") is not None else [])
        return prepare_multimodal_messages(record["prompt"], images=images)

    # ---- What a checkpoint holds beside TRL's state (see `checkpoints.resume.ResumableTrainer`) ----

    def run_identity(self) -> dict[str, Any]:
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self.train_dataset)
        return super().run_identity() | {"dataset": self._fingerprint, **self.args.to_run_identity()}

    def shared_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        plain: dict[str, Any] = {"batches_drawn": self.prompt_source.batches_drawn, "initialized": self._initialized}
        tensors = self.baseline.state_dict() if self.baseline is not None else {}
        if self.scores is not None:
            plain["scores"] = self.scores.counters()
            tensors |= self.scores.state_dict()
        return plain, tensors

    def load_shared_state(self, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        self.prompt_source.batches_drawn = plain["batches_drawn"]
        self._initialized = plain["initialized"]
        if self.scores is not None:
            self.scores.load_state_dict(plain["scores"], tensors)
        if self.baseline is not None:
            self.baseline.load_state_dict(tensors)

    def rank_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        tensors = self.baseline.rank_state_dict() if self.baseline is not None else {}
        if self.vision is not None and not self.at_window_end:
            tensors |= self.vision.store.state_dict()
        return {"bad_rows": sorted(self.reader.bad_rows)}, tensors

    def load_rank_state(self, plain: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        self.reader.bad_rows = set(plain["bad_rows"])
        restore_pictures(self.vision, self._buffered_inputs or (), tensors)
        if self.baseline is not None:
            self.baseline.load_rank_state_dict(tensors)
