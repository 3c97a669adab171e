# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Options that TRL and transformers have or had and this package has not: what to say to who brings them along."""

from collections.abc import Mapping
from typing import Any

from mmr1_trl.errors import BadInputError


_PEFT = "Adapters are asked for by --use_peft with --lora_r, --lora_target_modules and so on."
_REWARD_MODEL = (
    "A reward model is a reward function here: in Python `RLVRTrainer(reward_funcs=[model_id, ...])`, on the command "
    "line a function of your own, --reward_funcs my_module.my_reward."
)
_STREAM = (
    "Values are kept per prompt, which a stream does not allow: leave it out, and take a part of a large set by "
    "--num_train_rows or a split such as train[:20000]."
)
_BATCH = "Say it by --per_device_train_batch_size and --per_device_eval_batch_size."
_HUB = "The repository is named by --hub_model_id, its token by --hub_token."
_VLLM_ALONE = "vLLM's own settings of that kind are its defaults in current TRL: leave it out."
_ACCELERATOR = "It is a key of --accelerator_config now."

# name -> the values that change nothing, as texts, and what to do instead. `none` stands for no value.
UPSTREAM: dict[str, tuple[tuple[str, ...], str]] = {
    # TRL's scripts, of the version in use
    "dataset_streaming": (("false",), _STREAM),
    "streaming": (("false",), _STREAM),
    "ignore_bias_buffers": (("false",), (
        "It was for buffers that DDP could not synchronize, which GRPO does not read: leave it out."
    )),
    "reward_model_name_or_path": (("none",), _REWARD_MODEL),
    "test_split_size": (("none",), (
        "Evaluation rows are a split of their own: --dataset_test_split, such as train[-500:]."
    )),
    "environment_factory": (("none",), (
        "Environments are Python objects: `RLVRTrainer(environment_factory=...)` in a script of your own."
    )),
    "reward_processing_classes": (("none",), _REWARD_MODEL),
    "processing_class": (("none",), "The processor is that of --model_name_or_path."),
    "tokenizer": (("none",), "The tokenizer is that of --model_name_or_path."),
    "peft_config": (("none",), _PEFT),
    # TRL's earlier versions
    "max_prompt_length": (("none",), (
        "Prompts are never cut: --max_prompt_tokens leaves longer ones out, --max_pixels makes pictures "
        "smaller."
    )),
    "torch_dtype": ((), "It is called --dtype now."),
    "max_seq_length": ((), "It is called --max_length now, of `mmr1 sft`."),
    "use_liger_loss": (("false",), "It is called --use_liger_kernel now."),
    "wandb_log_unique_prompts": (("false",), "It is called --log_unique_prompts now."),
    "vllm_max_model_len": (("none",), "It is called --vllm_max_model_length now."),
    "vllm_guided_decoding_regex": (("none",), "It is called --vllm_structured_outputs_regex now."),
    "vllm_device": (("auto",), (
        "vLLM shares the devices of the training (--vllm_mode colocate) or is a server (--vllm_mode server)."
    )),
    "vllm_dtype": (("auto",), _VLLM_ALONE),
    "vllm_enable_prefix_caching": (("true", "none"), _VLLM_ALONE),
    "vllm_init_kwargs": (("none",), _VLLM_ALONE),
    "vllm_server_url": (("none",), "It is called --vllm_server_base_url."),
    "logit_computation_mini_batch_size": (("0",), (
        "Log-probs are computed in chunks without being asked: leave it out."
    )),
    "reward_model_path": (("none",), _REWARD_MODEL),
    "reward_model": (("none",), _REWARD_MODEL),
    "sft_model_path": (("none",), "The model to train is --model_name_or_path."),
    "kl_coef": ((), "The weight of the KL term is --beta."),
    "response_length": ((), "It is called --max_completion_length now."),
    "epsilon_low": ((), "The lower clip is --epsilon, the upper one --epsilon_high."),
    "missing_eos_penalty": (("none",), (
        "Completions that were cut off are left out of the loss by --mask_truncated_completions."
    )),
    "num_sample_generations": (("0",), "Completions are shown by --log_completions."),
    "model_adapter_name": (("none",), _PEFT),
    "ref_adapter_name": (("none",), _PEFT),
    "force_use_ref_model": (("false",), "A reference model is kept where --beta is not 0."),
    "dataset_batch_size": ((), "Rows are prepared at once here: leave it out."),
    "chars_per_token": ((), (
        "It went with TRL's ConstantLengthDataset: leave it out. Packing is --packing, of `mmr1 sft`."
    )),
    "num_of_sequences": ((), (
        "It went with TRL's ConstantLengthDataset: leave it out. Packing is --packing, of `mmr1 sft`."
    )),
    # transformers' earlier versions
    "evaluation_strategy": ((), "It is called --eval_strategy now."),
    "no_cuda": (("false",), "It is called --use_cpu now."),
    "use_mps_device": (("false",), "An accelerator that is there is used: leave it out."),
    "use_ipex": (("false",), "transformers has dropped it: leave it out."),
    "warmup_ratio": (("0", "0.0"), "Write --warmup_steps, which takes a share of the steps below 1 as well."),
    "overwrite_output_dir": (("false",), (
        "Nothing that was trained is overwritten: name another --output_dir, or go on by "
        "--resume_from_checkpoint."
    )),
    "per_gpu_train_batch_size": (("none",), _BATCH),
    "per_gpu_eval_batch_size": (("none",), _BATCH),
    "push_to_hub_token": (("none",), _HUB),
    "push_to_hub_model_id": (("none",), _HUB),
    "push_to_hub_organization": (("none",), _HUB),
    "save_safetensors": (("true",), "Weights are always saved as safetensors."),
    "logging_dir": (("none",), (
        "Logs are written below --output_dir; TensorBoard's folder is the variable TENSORBOARD_LOGGING_DIR."
    )),
    "group_by_length": (("false",), (
        "It is one of --train_sampling_strategy now, of `mmr1 sft`; other trainings draw prompts by "
        "themselves."
    )),
    "half_precision_backend": (("auto", "cuda_amp"), "There is one backend left: --bf16 or --fp16 are enough."),
    "fp16_backend": (("auto",), "There is one backend left: --bf16 or --fp16 are enough."),
    "fp16_opt_level": (("o1",), "It went with NVIDIA's Apex: --bf16 or --fp16 are enough."),
    "sharded_ddp": (("", "none"), "Weights are spread by --accelerate_config fsdp2 or zero3."),
    "dispatch_batches": (("none",), _ACCELERATOR),
    "split_batches": (("none", "false"), _ACCELERATOR),
    "jit_mode_eval": (("false",), "transformers has dropped it: leave it out."),
    "torchdynamo": (("none",), "It is --torch_compile with --torch_compile_backend now."),
    "ray_scope": (("last",), "There is no search over hyperparameters here: leave it out."),
    "past_index": (("-1",), "transformers has dropped it: leave it out."),
    "mp_parameters": (("",), "It was for SageMaker's model parallelism: leave it out."),
    "tpu_num_cores": (("none",), "TPUs are not supported here."),
    "include_inputs_for_metrics": (("false",), "Metrics come from the rewards: leave it out."),
    "include_tokens_per_second": (("false",), "It is called --include_num_input_tokens_seen now."),
}  # fmt: skip


def without_upstream(values: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """
    Return options without those that are not this package's, where they hold what changes nothing.

    Args:
        values (`Mapping[str, Any]`):
            Options by name, as a config file or a command line has them.
        known (`set[str]`):
            The options of the command, which are left alone whatever they are called.

    Raises:
        [`BadInputError`]: One holds anything else; with what to do instead.
    """
    kept = {}
    for name, value in values.items():
        if name not in UPSTREAM or name in known:
            kept[name] = value
            continue
        harmless, instead = UPSTREAM[name]
        if str(value).lower() not in harmless and not (value is None and "none" in harmless):
            raise BadInputError(f"{name}={value!r}: {instead}")
    return kept
