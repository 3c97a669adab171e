# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Whatever a user can get wrong on the command line: exit code 2, one message with the remedy, no model built."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from PIL import Image

from mmr1_trl import cli


REWARDS = """
def a_float(completions, **kwargs): return 0.5
def words(completions, **kwargs): return ["1" for _ in completions]
def mappings(completions, **kwargs): return [{} for _ in completions]
def too_few(completions, **kwargs): return [1.0]
def closed(completions): return [0.0 for _ in completions]
def asks(completions, antwort, **kwargs): return [0.0 for _ in completions]
def raises(completions, **kwargs): raise KeyError("no judge")
number = 3
"""
JSON = {
    "no_config": {},
    "no_type": {"config.json": "{}"},
    "list": {"config.json": "[1]"},
    "half": {"config.json": '{"model_type": "qwen2'},
    "deep": {"config.json": '{"a":' * 100_000},
    "text": {"config.json": '{"model_type": "llama"}'},
    "eye": {"config.json": '{"model_type": "vit"}'},
    "odd": {"config.json": '{"model_type": 3}'},
    "adapter": {"adapter_config.json": '{"base_model_name_or_path": "figures/tiny", "peft_type": "LORA"}'},
    "empty_adapter": {"adapter_config.json": "{}"},
    "deep_adapter": {"adapter_config.json": "[" * 100_000},
}
TINY = ["--model_name_or_path", "figures/cold_start"]
RUN = [*TINY, "--num_train_rows", "8", "--per_device_train_batch_size", "4", "--output_dir", "out"]
MSSR = ["mssr", *RUN, "--beta", "0", "--tracker_forgetting", "fixed"]
GRPO = ["grpo", *RUN, "--num_generations", "2"]
VAS = ["vas", *RUN, "--num_generations", "2"]
SFT = ["sft", *TINY, "--num_train_rows", "8", "--output_dir", "out"]
SCORE = ["score", *TINY, "--num_train_rows", "8", "--output_dir", "out"]
EVAL = ["eval", "--model", "figures/cold_start", "--num_rows", "4"]

# What follows a command line, and words of the message, the nearest valid value among them.
OPTIONS = [
    # numbers that cannot train
    (MSSR, "--seed -1", "seed=-1", "at least 0"),
    (MSSR, "--seed 4294967296", "seed=4294967296", "at most 4294967295"),
    (MSSR, "--data_seed -5", "data_seed=-5", "at least 0"),
    (MSSR, "--learning_rate nan", "learning_rate=nan", "finite"),
    (MSSR, "--learning_rate -1", "learning_rate=-1", "at least 0"),
    (MSSR, "--learning_rate much", "learning_rate", "invalid float"),
    (MSSR, "--weight_decay inf", "weight_decay=inf", "finite"),
    (MSSR, "--adam_beta1 1.0", "adam_beta1=1.0", "below 1"),
    (MSSR, "--adam_beta2 -0.1", "adam_beta2=-0.1", "at least 0"),
    (MSSR, "--adam_epsilon nan", "adam_epsilon=nan", "finite"),
    (MSSR, "--max_grad_norm -1", "max_grad_norm=-1", "at least 0"),
    (MSSR, "--warmup_steps -1", "warmup_steps=-1", "at least 0"),
    (MSSR, "--max_steps 0", "max_steps=0", "1 or more"),
    (MSSR, "--max_steps ten", "max_steps", "invalid int"),
    (MSSR, "--num_train_epochs nan", "num_train_epochs=nan", "finite"),
    (MSSR, "--num_train_epochs 0", "num_train_epochs=0", "1 or more"),
    (MSSR, "--per_device_train_batch_size 0", "per_device_train_batch_size=0", "at least 1"),
    (MSSR, "--per_device_eval_batch_size 0", "per_device_eval_batch_size=0", "at least 1"),
    (MSSR, "--gradient_accumulation_steps 0", "gradient_accumulation_steps=0", "at least 1"),
    (MSSR, "--steps_per_generation 0", "steps_per_generation=0", "at least 1"),
    (MSSR, "--num_iterations 0", "num_iterations=0", "at least 1"),
    (MSSR, "--max_completion_length 0", "max_completion_length=0", "at least 1"),
    (MSSR, "--temperature 0", "temperature=0", "above 0"),
    (MSSR, "--temperature inf", "temperature=inf", "finite"),
    (MSSR, "--top_p 1.5", "top_p=1.5", "at most 1"),
    (MSSR, "--top_k -1", "top_k=-1", "at least 0"),
    (MSSR, "--min_p 2", "min_p=2", "at most 1"),
    (MSSR, "--repetition_penalty 0", "repetition_penalty=0", "above 0"),
    (MSSR, "--epsilon -0.1", "epsilon=-0.1", "at least 0"),
    (MSSR, "--epsilon_high nan", "epsilon_high=nan", "finite"),
    (MSSR, "--beta -1", "beta=-1", "at least 0"),
    (MSSR, "--shaping_alpha nan", "shaping_alpha=nan", "finite"),
    (MSSR, "--shaping_kappa 0.4", "shaping_kappa=0.4", "above 1"),
    (MSSR, "--shaping_kappa inf", "shaping_kappa=inf", "above 1 and finite"),
    (MSSR, "--explore_coef nan", "explore_coef=nan", "finite"),
    (MSSR, "--exploit_coef -1", "exploit_coef=-1", "at least 0"),
    (MSSR, "--switch_fraction 1.5", "switch_fraction=1.5", "at most 1"),
    (MSSR, "--tracker_rho_min 0", "tracker_rho_min=0", "0.875"),
    (MSSR, "--tracker_rho_max 1", "tracker_rho_max=1", "0.96"),
    (MSSR, "--tracker_kl_window 0", "tracker_kl_window=0", "at least 1"),
    (MSSR, "--tracker_target_kl nan", "tracker_target_kl=nan", "finite"),
    (MSSR, "--tracker_initial_value 2", "tracker_initial_value=2", "at most 1"),
    (MSSR, "--tracker_initial_rollouts -1", "tracker_initial_rollouts=-1", "at least 0"),
    (MSSR, "--entropy_low 2 --entropy_high 1", "entropy_low=2.0", "below entropy_high"),
    (MSSR, "--entropy_low nan", "entropy_low=nan", "finite"),
    (MSSR, "--label_noise 50", "label_noise=50", "at most 1"),
    (MSSR, "--label_noise_seed -1", "label_noise_seed=-1", "at least 0"),
    (MSSR, "--min_pixels -1", "min_pixels=-1", "at least 0"),
    (MSSR, "--max_pixels 0", "max_pixels=0", "at least 1"),
    (MSSR, "--min_pixels 9 --max_pixels 4", "min_pixels=9", "max_pixels=4"),
    (MSSR, "--reward_weights nan", "reward_weights=[nan]", "finite"),
    (MSSR, "--reward_weights 0", "reward_weights=[0.0]", "other than 0"),
    (MSSR, "--reward_weights 1 1", "2 reward_weights for 1 reward functions", "one for each"),
    (VAS, "--vas_weighted_fraction 2", "vas_weighted_fraction=2", "at most 1"),
    (VAS, "--vas_outcome_weight inf", "vas_outcome_weight=inf", "finite"),
    (VAS, "--vas_outcome_weight 0 --vas_diversity_weight 0", "both 0", "vas_outcome_weight"),
    (VAS, "--vas_refresh full --vas_rollouts 1", "vas_rollouts=1", "at least 2"),
    (VAS, "--vas_update_steps 0", "vas_update_steps=0", "at least 1"),
    # words that are none of the choices
    (MSSR, "--advantage_baseline valuetracker", "'valuetracker'", "'value_tracker'"),
    (MSSR, "--tracker_forgetting papre", "'papre'", "'paper'"),
    (MSSR, "--tracker_kl_source refrence", "'refrence'", "'reference'"),
    (MSSR, "--entropy_source ful", "'ful'", "'full'"),
    (MSSR, "--prompt_sampling varianceaware", "'varianceaware'", "'variance_aware'"),
    (MSSR, "--entropy_schedule twostage", "'twostage'", "'two_stage'"),
    (MSSR, "--entropy_alarm halt", "'halt'", "warn, stop"),
    (MSSR, "--on_bad_row ignore", "'ignore'", "error, skip"),
    (MSSR, "--on_nonfinite skp", "'skp'", "'skip'"),
    (MSSR, "--loss_type dapo2", "'dapo2'", "'dapo'"),
    (MSSR, "--importance_sampling_level tokens", "'tokens'", "'token'"),
    (MSSR, "--optim adamwtorch", "adamwtorch", "adamw_torch"),
    (MSSR, "--lr_scheduler_type constnt", "constnt", "constant"),
    (MSSR, "--box_format center", "'center'", "'xywh'"),
    (VAS, "--vas_refresh on", "'on'", "online"),
    (VAS, "--vas_diversity_metric bleu", "'bleu'", "self_bleu"),
    (VAS, "--vas_variant code", "'code'", "released_code"),
    # what does not go together
    (MSSR, "--multi_objective_aggregation normalize_then_sum", "compares the weighted sum", "'sum_then_normalize'"),
    (MSSR, "--tracker_forgetting paper", "needs a reference model", "beta=0.01"),
    (MSSR, "--tracker_forgetting per_prompt --tracker_kl_source policy", "there is only 1", "'fixed'"),
    (MSSR, "--freeze_merger true", "freeze_merger", "set both, or neither"),
    (MSSR, "--entropy_alarm stop", "entropy_alarm='stop'", "entropy_low"),
    (MSSR, "--vas_refresh full", "vas_refresh='full'", "'variance_aware'"),
    (MSSR, "--entropy_schedule maximize_noisy", "'is_noisy'", "'two_stage'"),
    (MSSR, "--prompt_scores x.parquet --tracker_initial_rollouts 2", "no file x.parquet", ""),
    (GRPO, "--num_generations 1", "num_generations=1", "advantage_baseline='value_tracker'"),
    (GRPO, "--num_generations 3", "no multiple of num_generations=3", "num_generations=2"),
    (GRPO, "--generation_batch_size 6", "generation_batch_size=6", "Nearest: 4 or 8"),
    (GRPO, "--generation_batch_size 8 --steps_per_generation 2", "can not be both", ""),
    (GRPO, "--prompt_scores x", "no effect", "'variance_aware'"),
    (VAS, "--vas_refresh off", "needs prompt_scores", "mmr1 score"),
    (VAS, "--vas_variant released_code", "re-scores every prompt", "vas_refresh='full'"),
    (VAS, "--prompt_sampling uncertainty", "'uncertainty'", "'variance_aware'"),
    (GRPO, "--reward_funcs self_certainty_reward", "self_certainty_reward", "num_iterations=2"),
    # options that are JSON objects, flags and unknown names
    (MSSR, "--chat_template_kwargs 3", "JSON object", "'3'"),
    (MSSR, "--model_init_kwargs {bad", "JSON object", "'{bad'"),
    (MSSR, "--generation_kwargs []", "JSON object", "'[]'"),
    (MSSR, "--deepspeed nowhere.json", "--deepspeed", "JSON object"),
    (MSSR, "--learning_rat 1", "'learning_rat'", "'learning_rate'"),
    (MSSR, "--model x", "'model'", "'model_name_or_path'"),
    (MSSR, "--dataset x", "'dataset'", "'dataset_name'"),
    (MSSR, "--num_generations 2 --generation_batch_size 5", "generation_batch_size=5", "Nearest: 4 or 8"),
    (MSSR, "--num_proceses 2", "'num_proceses'", "'num_processes'"),
    (MSSR, "--num_processes 0", "--num_processes", "at least 1"),
    (MSSR, "--num_processes two", "--num_processes", "int"),
    (MSSR, "--multi_gpu", "--multi_gpu", "--num_processes N"),
    (MSSR, "--accelerate_config zero9", "'zero9'", "zero2"),
    (MSSR, "stray", "'stray'", "--name value"),
    (MSSR, "--config figures/mssrr", "'figures/mssrr'", "'figures/mssr'"),
    (MSSR, "--config figures/vas", "`mmr1 vas`", "`mmr1 mssr`"),
    # names of models, datasets, files and folders
    (MSSR, "--model_name_or_path figures/cold_strat", "'figures/cold_strat'", "'figures/cold_start'"),
    (MSSR, "--model_name_or_path ./nowhere", "no model folder './nowhere'", ""),
    (MSSR, "--model_name_or_path a/b/c/d", "'a/b/c/d'", "Qwen/Qwen2.5-VL-3B-Instruct"),
    (MSSR, "--model_name_or_path rows.jsonl", "rows.jsonl is a file", "Hub id"),
    (MSSR, "--model_name_or_path no_config", "no config.json", ""),
    (MSSR, "--model_name_or_path no_type", "no_type", "model config"),
    (MSSR, "--model_name_or_path list", "config.json holds a list", "JSON object"),
    (MSSR, "--model_name_or_path half", "config.json cannot be read", ""),
    (MSSR, "--model_name_or_path deep", "nested too deeply", "config.json"),
    (MSSR, "--model_name_or_path text", "without tokenizer", "save_pretrained"),
    (MSSR, "--model_name_or_path eye", "no model that writes text", "'figures/tiny'"),
    (MSSR, "--model_name_or_path odd", "odd", "model config"),
    (MSSR, "--model_name_or_path adapter", "holds an adapter", "merge_and_unload"),
    (MSSR, f"--model_name_or_path {'m' * 3000}", "'mmm", "--model_revision"),
    (MSSR, "--dataset_name ./no_such_folder", "'./no_such_folder'", ""),
    (MSSR, "--dataset_name row.jsonl", "'row.jsonl'", "'rows.jsonl'"),
    (MSSR, "--dataset_name notes.txt", "'.txt'", ".parquet"),
    (MSSR, "--dataset_name /dev/null", "neither a file nor a folder", ""),
    (MSSR, "--dataset_name 'a b'", "'a b'", "hiyouga/geometry3k"),
    (MSSR, f"--dataset_name {'d' * 3000}", "'ddd", "hiyouga/geometry3k"),
    (MSSR, "--dataset_name rows.jsonl --image_root nowhere", "no folder 'nowhere'", ""),
    (MSSR, "--dataset_name rows.jsonl", "no column looks like pictures", "--image_column none"),
    (MSSR, "--dataset_name rows.jsonl --prompt_column frage", "frage", "--prompt_column"),
    (MSSR, "--dataset_name rows.jsonl --answer_column anwser", "anwser", "'answer'"),
    (MSSR, "--dataset_name empty.jsonl", "empty.jsonl", "no rows"),
    (MSSR, "--dataset_name broken.jsonl", "broken.jsonl", "cannot be read as jsonl"),
    (MSSR, "--dataset_name pictures.jsonl", "row 2, image 0", "--on_bad_row skip"),
    (MSSR, "--dataset_name headers.jsonl --on_bad_row skip", "no row has pictures that can be read", "row 0"),
    (MSSR, "--dataset_name gone.jsonl", "gone.png", "--on_bad_row skip"),
    (MSSR, "--num_train_rows 0", "0 rows", "1 or more"),
    (MSSR, "--num_train_rows 2", "2 rows", "Use at least 4 rows"),
    (MSSR, "--dataset_train_split trian", "trian", "train"),
    (MSSR, "--figures_families ad", "'ad'", "'add'"),
    (MSSR, "--figures_levels 9", "9", "4"),
    (MSSR, "--prompt_scores nowhere.parquet", "no file nowhere.parquet", ""),
    (MSSR, "--prompt_scores rows.jsonl", "prompt_id", ""),
    (MSSR, "--output_dir /proc/x", "/proc/x", "Choose another folder"),
    (MSSR, "--output_dir rows.jsonl", "is a file", "Choose another folder"),
    (MSSR, f"--output_dir {'o' * 300}", "255 bytes", "'ooo"),
    (MSSR, "--resume_from_checkpoint true", "out", "resume_from_checkpoint"),
    # rewards
    (MSSR, "--reward_funcs accurcy_reward", "'accurcy_reward'", "'accuracy_reward'"),
    (MSSR, "--reward_funcs rewards.py", "rewards.py", "my_rewards.my_reward"),
    (MSSR, "--reward_funcs nowhere.reward", "cannot import 'nowhere'", ""),
    (MSSR, "--reward_funcs rewards_of_bad_input.rases", "'rases'", "'raises'"),
    (MSSR, "--reward_funcs rewards_of_bad_input.number", "'number'", "no function"),
    (MSSR, "--reward_funcs rewards_of_bad_input.a_float", "a_float returned float 0.5", "a list with one number"),
    (MSSR, "--reward_funcs rewards_of_bad_input.words", "words returned str '1'", "a list with one number"),
    (MSSR, "--reward_funcs rewards_of_bad_input.mappings", "mappings returned dict {}", "a list with one number"),
    (MSSR, "--reward_funcs rewards_of_bad_input.too_few", "returned 1 values", "each of 2 completions"),
    (MSSR, "--reward_funcs rewards_of_bad_input.closed", "no **kwargs", "Add **kwargs"),
    (MSSR, "--reward_funcs rewards_of_bad_input.asks", "asks for 'antwort'", "solution"),
    (SCORE, "--reward_funcs rewards_of_bad_input.raises", "KeyError: 'no judge'", "It is called with"),
]
OTHERS = [
    ("msr", "'msr'", "'mssr'"),
    ("mssr --output_dir x", "--model_name_or_path is missing", "figures/cold_start"),
    ("mssr --config", "--config", "argument"),
    ("mssr --config nowhere.yaml", "'nowhere.yaml'", "mmr1 configs ls"),
    ("mssr --config figures/mssr --dataset_name ./no_such_folder --output_dir out", "'./no_such_folder'", ""),
    ("mssr --config --beta", "--config", "argument"),
    ("mssr --model_name_or_path figures/tiny --output_dir out --beta 0", "tracker_kl_source", "beta=0.01"),
    ("eval --model figures/tinny", "'figures/tinny'", "'figures/tiny'"),
    ("check --config", "--config", "argument"),
    ("check", "Say which command", "mmr1 check mssr"),
    ("check msr", "'msr'", "'mssr'"),
    ("check --config figures/sft", "`mmr1 sft`", "mmr1 check mssr"),
    ("check mssr --samples -1", "--samples", "at least 0"),
    ("check mssr --samples x", "--samples", "Usage: mmr1 check"),
    ("check mssr --config figures/mssr --seed -1", "seed=-1", "at least 0"),
    ("check mssr --config figures/mssr --shaping_alpha nan", "shaping_alpha=nan", "finite"),
    ("check mssr --config figures/mssr --reward_weights nan", "reward_weights=[nan]", "finite"),
    ("check mssr --config figures/mssr --dataset_name ./no_such_folder", "'./no_such_folder'", ""),
    ("check mssr --model_name_or_path figures/tinny", "'figures/tinny'", "'figures/tiny'"),
    ("check mssr --config figures/mssr --num_processes 0", "--num_processes", "at least 1"),
    ("check mssr --config figures/mssr --accelerate_config two.yaml", "num_processes", "at least 1"),
    ("check mssr --config figures/mssr --accelerate_config list.yaml", "list.yaml", "accelerate cannot use it"),
    ("check mssr --sample-tokens 0", "--sample_tokens", "at least 1"),
    ("profile msr --config figures/mssr", "'msr'", "'mssr'"),
    ("profile --steps 4", "which method", "grpo|mssr|vas|two-stage"),
    ("profile mssr --steps 0", "--steps", "at least 1"),
    ("profile mssr --steps x", "--steps", "int"),
    ("profile --config figures/sft", "`mmr1 sft`", "grpo|mssr|vas|two-stage"),
    ("profile --config figures/mssr --dataset_name ./no_such_folder", "'./no_such_folder'", ""),
    ("profile --config figures/mssr --output_dir /proc/x", "/proc/x", "Choose another folder"),
    ("quickstart --max_steps 0", "--max_steps", "at least 1"),
    ("quickstart --eval_rows 0", "--eval_rows", "at least 1"),
    ("quickstart --model figures/cold_strat", "'figures/cold_strat'", "'figures/cold_start'"),
    ("quickstart --output_dir /proc/x", "/proc/x", "Choose another folder"),
    ("quickstart --num_processes 2", "one process", "--num_processes"),
    ("quickstart --max_stesp 3", "'max_stesp'", "'max_steps'"),
    ("quickstart --seed -1", "--seed", "at least 0"),
    ("quickstart --output_dir half_start", "half_start/quickstart.json", ""),
    ("quickstart --output_dir other_start", "other_start/quickstart.json", "another --output_dir"),
    ("report . --output folder.html", "that is a folder", "folder.html/report.html"),
    ("report . --x-axis time", "'time'", "'steps'"),
    ("configs show binary.yaml", "binary.yaml is not valid YAML", ""),
    ("configs cp notes.txt new.yaml --x", "--x", "Usage: mmr1 configs"),
    ("report", "RUN", "Usage: mmr1 report"),
    ("report nowhere", "'nowhere'", ""),
    ("report nowhere --output page.pdf", "'page.pdf'", ".html"),
    ("report nowhere --x_axis time", "'time'", "'steps'"),
    ("push", "KIND", "Usage: mmr1 push {model"),
    ("push modl nowhere me/x", "'modl'", "'model'"),
    ("push model nowhere", "REPO_ID", "Usage: mmr1 push model"),
    ("push model nowhere me/x", "'nowhere'", ""),
    ("push adapter nowhere me/x", "nowhere", ""),
    ("push scores nowhere me/x", "nowhere", ""),
    ("push report nowhere me/x", "nowhere", ""),
    ("push dataset ./nowhere me/x", "'./nowhere'", ""),
    ("push model no_config a/b/c", "'a/b/c'", "your-name/my-model"),
    ("push model no_config me/x", "no_config", "config.json"),
    ("push dataset row.jsonl me/x", "'row.jsonl'", "'rows.jsonl'"),
    ("push dataset rows.jsonl me/x --answer_column anwser", "anwser", "'answer'"),
    ("push dataset figures me/x --num_rows 0", "0 rows", "1 or more"),
    ("configs", "action", "Usage: mmr1 configs ls"),
    ("configs foo", "'foo'", "'show'"),
    ("configs show", "name", "Usage: mmr1 configs show"),
    ("configs show figures/mssrr", "'figures/mssrr'", "'figures/mssr'"),
    ("configs cp figures/mssr rows.jsonl", "exists already", "my_mssr.yaml"),
    ("configs cp figures/mssr /proc/x/y.yaml", "/proc/x", "Choose another folder"),
    ("env --foo", "--foo", "Usage: mmr1 env"),
    ("plan figures/tiny --gpu 0", "--gpu '0': the memory in GB is wanted", "--gpu 24"),
    ("plan figures/tinny --gpu 24", "figures/tinny"),
    ("plan figures/tiny --gpu 24 --prompt-tokens 0", "--prompt_tokens", "at least 1"),
    ("plan figures/tiny --gpus 2x80 --accelerate_config list.yaml", "list.yaml", "accelerate cannot use it"),
]
EVALUATION = [
    ("--model_name_or_path x", "'model_name_or_path'", "'model'"),
    ("--benchmarks mathvist", "'mathvist'", "'mathvista'"),
    ("--benchmarks_folder nowhere --benchmarks mathvista", "'nowhere'", ""),
    ("--benchmarks_folder .", "--benchmarks", "missing"),
    ("--num_samples -1", "--num_samples", "at least 0"),
    ("--num_rows 0", "--num_rows", "at least 1"),
    ("--batch_size 0", "--batch_size", "at least 1"),
    ("--temperature nan", "--temperature", "above 0 and finite"),
    ("--max_new_tokens 0", "--max_new_tokens", "at least 1"),
    ("--seed -1", "--seed", "at least 0"),
    ("--seed 4294967296", "--seed", "at most 4294967295"),
    ("--min_pixels -1", "--min_pixels", "at least 0"),
    ("--max_pixels 0", "--max_pixels", "at least 1"),
    ("--min_pixels 9 --max_pixels 4", "--min_pixels 9", "--max_pixels 4"),
    ("--vllm_tensor_parallel_size 0", "--vllm_tensor_parallel_size", "at least 1"),
    ("--vllm_gpu_memory_utilization 2", "--vllm_gpu_memory_utilization", "at most 1"),
    ("--benchmarks figures figures", "'figures'", "twice"),
    ("--dataset_name headers.jsonl", "no row has pictures that can be read", "row 0"),
    ("--dtype float8", "'float8'", "bfloat16"),
    ("--export lmms", "'lmms'", "lmms_eval"),
    ("--export lmms_eval", "--output_dir", "missing"),
    ("--prompt_style mmr", "'mmr'", "'mmr1'"),
    ("--dataset_name ./nowhere.parquet", "'./nowhere.parquet'", ""),
    ("--dataset_split tset", "tset", "test"),
    ("--by familly", "familly", "family"),
    ("--figures_families ad", "'ad'", "'add'"),
    ("--output_dir /proc/x", "/proc/x", "Choose another folder"),
    ("--output_dir rows.jsonl", "is a file", "Choose another folder"),
    ("--model ./nowhere", "'./nowhere'", ""),
    ("--model empty_adapter", "base_model_name_or_path", "empty_adapter"),
    ("--model deep_adapter", "nested too deeply", "adapter_config.json"),
    ("--use_vllm --num_processes 2", "--num_processes", "--vllm_tensor_parallel_size N"),
]
SUPERVISED = [
    (SFT, "--seed -1", "seed=-1", "at least 0"),
    (SFT, "--learning_rate inf", "learning_rate=inf", "finite"),
    (SFT, "--max_steps 0", "max_steps=0", "1 or more"),
    (SFT, "--num_train_rows 0", "0 rows", "1 or more"),
    (SFT, "--dataset_name ./nowhere", "'./nowhere'", ""),
    (SFT, "--dataset_name rows.jsonl", "`messages`", "`prompt` and `completion`"),
    (SFT, "--dataset_name messages.jsonl", "'messages' holds 'hello'", "`role` and `content`"),
    (SFT, "--figures_traces dirty", "'dirty'", "'clean'"),
    (SFT, "--figures_traces cold_start --learning_rate 1", "learning_rate", "`--figures_traces clean`"),
    (SFT, "--eval_strategy steps", "figures", "'no'"),
    (SFT, "--model_name_or_path ./nowhere", "'./nowhere'", ""),
    (SFT, "--model_name_or_path adapter", "holds an adapter", "merge_and_unload"),
    (SFT, "--resume_from_checkpoint true", "out", "resume_from_checkpoint"),
    (SFT, "--learning_rat 1", "'learning_rat'", "'learning_rate'"),
    (SCORE, "--vas_rollouts 0", "vas_rollouts=0", "at least"),
    (SCORE, "--min_pass_rate 2", "min_pass_rate=2", "<= 1"),
    (SCORE, "--resume_from_checkpoint true", "goes on by itself", "leave out"),
    (SCORE, "--push_to_hub true", "push_to_hub", "leave out"),
    (SCORE, "--seed -1", "seed=-1", "at least 0"),
    (SCORE, "--dataset_name ./nowhere", "'./nowhere'", ""),
    (SCORE, "--model_name_or_path figures/tinny", "'figures/tinny'", "'figures/tiny'"),
    (SCORE, "--output_dir /proc/x", "/proc/x", "Choose another folder"),
]
ROWS = (
    [([*command, *shlex.split(more)], words) for command, more, *words in [*OPTIONS, *SUPERVISED]]
    + [(shlex.split(line), words) for line, *words in OTHERS]
    + [([*EVAL, *shlex.split(more)], words) for more, *words in EVALUATION]
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad_input")
    rows = [{"question": f"{i} plus 1 is ?", "answer": str(i + 1)} for i in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "empty.jsonl").touch()
    (folder / "broken.jsonl").write_text('{"question": "1')
    (folder / "notes.txt").touch()
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00a")
    (folder / "list.yaml").write_text("- 1")
    (folder / "two.yaml").write_text("distributed_type: MULTI_GPU\nnum_processes: two\n")
    (folder / "messages.jsonl").write_text('{"messages": "hello"}\n' * 8)
    (folder / "folder.html").mkdir()
    for name, text in (("half_start", '{"settings": {'), ("other_start", "{}")):
        (folder / name / "quickstart.json").parent.mkdir(exist_ok=True)
        (folder / name / "quickstart.json").write_text(text)
    Image.new("RGB", (64, 64), "red").save(folder / "good.png")
    whole = (folder / "good.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[:-30])
    (folder / "header.png").write_bytes(whole[:9])
    for name, pictures in (
        ("pictures", ["good.png"] * 2 + ["cut.png"] + ["good.png"] * 5),
        ("headers", ["header.png"] * 8),
        ("gone", ["good.png"] * 7 + ["gone.png"]),
    ):
        lines = [json.dumps(row | {"image": picture}) for row, picture in zip(rows, pictures)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "rewards_of_bad_input.py").write_text(REWARDS)
    for name, files in JSON.items():
        (folder / name).mkdir()
        for file, text in files.items():
            (folder / name / file).write_text(text)
    return folder


@pytest.fixture
def built(folder, monkeypatch):
    """What was built or loaded of models meanwhile."""
    built = []

    def build(name, *args):
        built.append(name)
        raise AssertionError("a model was built")

    monkeypatch.chdir(folder)
    monkeypatch.setattr("mmr1_trl.models.built_in.build_once", build)
    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", build)
    monkeypatch.setattr("mmr1_trl.models.tiny_vlm.build_tiny_vlm", build)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    yield built
    sys.path[:] = [path for path in sys.path if path != str(folder)]


def test_the_table_is_long_enough():
    assert len(ROWS) >= 250
    assert {row[0][0] for row in ROWS} >= set(cli.COMMANDS) - {"two-stage"}


@pytest.mark.parametrize(("argv", "words"), ROWS, ids=[shlex.join(argv)[-60:] for argv, _ in ROWS])
def test_bad_input_is_one_message_and_no_model_is_built(argv, words, built, capfd):
    assert cli.main(argv) == 2
    printed = capfd.readouterr()
    message = printed.err[printed.err.index("mmr1: error: ") :]
    assert [word for word in words if word not in message] == []
    assert message.count("\n") == 1 and "Traceback" not in printed.err
    assert built == []


def test_a_missing_file_is_told_before_torch_is_imported(folder):
    lines = [
        [*MSSR, "--dataset_name", "./no_such_folder"],
        [*VAS, "--prompt_scores", "nowhere.parquet"],
        [*SFT, "--model_name_or_path", "./nowhere"],
        [*SCORE, "--dataset_name", "nowhere.jsonl"],
        ["eval", "--model", "./nowhere"],
        ["check", "mssr", "--config", "figures/mssr", "--dataset_name", "./no_such_folder"],
        ["profile", "--config", "figures/mssr", "--model_name_or_path", "./nowhere"],
        ["quickstart", "--model", "./nowhere"],
        ["plan", "./nowhere", "--gpu", "24"],
        ["mssr", "--config", "nowhere.yaml"],
        ["report", "nowhere"],
        ["push", "model", "nowhere", "me/x"],
        ["push", "dataset", "./nowhere", "me/x"],
    ]
    code = (
        "import json, sys, time; from mmr1_trl.cli import main\n"
        "for line in json.loads(sys.argv[1]):\n"
        "    start = time.process_time(); code = main(line)\n"
        "    heavy = [name for name in ('torch', 'transformers', 'datasets', 'pandas') if name in sys.modules]\n"
        "    print(json.dumps([code, heavy, time.process_time() - start]))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, json.dumps(lines)], capture_output=True, text=True, cwd=folder, timeout=120
    )
    told = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line[:2] for line in told] == [[2, []]] * len(lines), (told, result.stderr)
    assert max(seconds for *_, seconds in told) < 1.0
    assert result.stderr.count("mmr1: error: ") == len(lines) and "Traceback" not in result.stderr


def test_an_unknown_hub_id_without_network_is_told_at_once(folder):
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(folder)}
    code = (
        "import sys, time; from mmr1_trl.cli.names import look_up; from mmr1_trl.errors import BadInputError\n"
        "for kind in ('model', 'dataset'):\n"
        "    start = time.monotonic()\n"
        "    try: look_up('nobody/nothing', kind)\n"
        "    except BadInputError as error: print(error)\n"
        "    assert time.monotonic() - start < 15\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    lines = result.stdout.splitlines()
    assert result.returncode == 0 and len(lines) == 2, result.stderr
    assert all("neither a folder 'nobody/nothing' here, nor can the Hub be reached" in line for line in lines)
