# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What `mmr1 grpo`, `mmr1 mssr` and their siblings do: read the options, load the parts, train, save."""

import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmr1_trl.cli.launch import PREEMPTED, run_or_launch, settle
from mmr1_trl.cli.output import (
    hold_folder,
    look_first,
    refuse_to_overwrite,
    report_interrupt,
    resume_argument,
    write_settings,
)
from mmr1_trl.cli.parsing import NO_ACCELERATOR, Settings, parse
from mmr1_trl.errors import BadInputError, Preempted
from mmr1_trl.run_folder import SETTINGS_FILE, TRAIN_RESULTS, TRAINER_STATE, require_whole


# command -> (config, trainer, what --help says), the classes by their name in `mmr1_trl`
METHODS = {
    "grpo": ("RLVRConfig", "RLVRTrainer", "Plain GRPO over the same data path as the other methods."),
    "mssr": (
        "MSSRConfig",
        "MSSRTrainer",
        "MSSR (arXiv 2512.18215): one rollout per prompt, a Beta success tracker as its baseline, entropy-shaped "
        "advantages. MVSR, the paper's unshaped baseline, is --entropy_shaping false.",
    ),
    "vas": ("VASConfig", "VASTrainer", "MMR1 / VAS (arXiv 2509.21268): GRPO with variance-aware prompt sampling."),
    "two-stage": (
        "TwoStageEntropyConfig",
        "TwoStageEntropyTrainer",
        "Two-stage entropy (arXiv 2511.07738): GRPO that maximizes token entropy first and minimizes it then.",
    ),
}


# columns that `load_data` adds to those of the dataset
PREPARED = {"prompt", "solution", "answer_type", "options", "prompt_id", "prompt_style", "image_size", "tolerance"}
PREPARED |= {"coordinates"}


def parse_training(command: str, argv: list[str]) -> Settings:
    """
    Read the options of a training command.

    Args:
        command (`str`):
            One of `METHODS`.
        argv (`list[str]`):
            The words after the command.

    Returns:
        [`Settings`]: Builds `(RLArguments, <the method's config>, ModelConfig)`.
    """

    def load_classes() -> tuple[type, ...]:
        from trl import ModelConfig

        import mmr1_trl
        from mmr1_trl.cli.arguments import RLArguments

        return RLArguments, getattr(mmr1_trl, METHODS[command][0]), ModelConfig

    settings = parse(command, argv, load_classes, METHODS[command][2])
    prefer_cpu_where_needed(settings)
    return settings


def prefer_cpu_where_needed(settings: Settings) -> None:
    """Without an accelerator (or with `--cpu`) choose the CPU and 32 bits, unless the user chose something."""
    import torch

    if "--cpu" in settings.launch_args or not torch.accelerator.is_available():
        settings.fill("use_cpu", True, NO_ACCELERATOR)
        if not settings.values.get("fp16"):
            settings.fill("bf16", False, NO_ACCELERATOR)


def train(command: str, argv: list[str]) -> int:
    """Run the training command `command`; the body of `mmr1 grpo`, `mmr1 mssr`, ..."""
    look_first(command, argv)
    return run_resumable(parse_training(command, argv), argv, _train)


def run_resumable(settings: Settings, argv: list[str], run: Callable[[Settings], int]) -> int:
    """
    Train here or in several processes; say after an interruption how to go on.

    Args:
        settings ([`Settings`]), argv (`list[str]`):
            What the user asked for, and the words that said so.
        run (`Callable[[Settings], int]`):
            The training in one process.

    Returns:
        `int`: The exit code.
    """
    with hold_folder(settings):  # let go before processes are launched, whose first one takes it
        refuse_to_overwrite(settings)

    def alone() -> int:
        with hold_folder(settings):
            return run(settings)

    try:
        code = run_or_launch(settings.command, argv, settings.launch_args, alone)
    except KeyboardInterrupt:
        code = 130
    except Preempted as preempted:
        code = 128 + preempted.signal
    if code in (130, *PREEMPTED):
        report_interrupt(argv, settings)
    return code


def _train(settings: Settings) -> int:
    trainer, dataset_name = build_trainer(settings)
    finish(trainer, settings, dataset_name)
    return 0


def build_trainer(settings: Settings) -> tuple[Any, str]:
    """
    Load model, processor and rows and make the trainer of a training command.

    Args:
        settings ([`Settings`]):
            Of [`parse_training`].

    Returns:
        `tuple[RLVRTrainer, str]`: The trainer and what the user calls the dataset.
    """
    data_args, config, model_args = settings.build()
    require_extras(config, model_args, settings.launch_args, use_vllm=config.use_vllm)

    import mmr1_trl
    from mmr1_trl.models import load_processor, resolve_model
    from mmr1_trl.rewards.resolve import resolve_rewards

    rewards = resolve_rewards(data_args.reward_funcs)
    use_hub(config)
    with config.main_process_first(desc="looking up the model"):  # figures/cold_start may have to be trained first
        model = resolve_model(require_model(model_args))
    processor = load_processor(
        model, trust_remote_code=config.trust_remote_code, padding_side="left", **revision(model_args)
    )
    with config.main_process_first(desc="loading the dataset"):
        frame = coordinates(config.coordinates, model, config.trust_remote_code, **revision(model_args))
        train_rows = load_train_rows(data_args, config, processor, frame)
        eval_rows = None
        if config.eval_strategy != "no":
            test_rows = (data_args.dataset_test_split, data_args.num_eval_rows)
            eval_rows = load_rows(data_args, config, *test_rows, processor, frame)
    if "accuracy_reward" in data_args.reward_funcs and config.process_index == 0:
        name_unreadable_golds(train_rows)
    config.model_init_kwargs = model_init_kwargs(model_args) | (config.model_init_kwargs or {})

    with refusals(model):
        trainer = getattr(mmr1_trl, METHODS[settings.command][1])(
            model=model,
            reward_funcs=rewards,
            args=config,
            train_dataset=train_rows,
            eval_dataset=eval_rows,
            processing_class=processor,
            **adapters(model_args),
        )
    return trainer, data_args.dataset_name


def use_hub(config: Any) -> None:
    """
    Before anything is loaded: refuse a repository that cannot be written to, and fetch a checkpoint from the Hub.

    Raises:
        [`BadInputError`]: The repository or the checkpoint cannot be used.
    """
    if config.push_to_hub and config.process_index == 0:
        from mmr1_trl.hub.training import open_for_training

        open_for_training(config)
    checkpoint = resume_argument(config)
    if isinstance(checkpoint, str) and not Path(checkpoint).is_dir():
        from mmr1_trl.hub.fetch import checkpoint_folder

        with config.main_process_first(desc="fetching the checkpoint"):
            config.resume_from_checkpoint = checkpoint_folder(checkpoint, config.hub_token)
            require_whole(Path(config.resume_from_checkpoint))


def coordinates(option: str, model: str, trust_remote_code: bool, **hub_kwargs: str) -> str | None:
    """Return the frame in which `model` writes points and boxes; `None` where it is not established."""
    from mmr1_trl.engines.frames import choose_coordinates
    from mmr1_trl.models import load_config

    family = "" if option != "auto" else load_config(model, trust_remote_code, **hub_kwargs).model_type
    return choose_coordinates(option, family)


def load_rows(
    data_args: Any, config: Any, split: str, num_rows: int | None, processor: Any, coordinates: str | None = None
) -> Any:
    """
    Return the prepared rows of one split, as the data options and `on_bad_row` of the trainer's config say, without
    those whose texts hold control tokens of the model. Prompts for points and boxes ask for them in the frame
    `coordinates`.

    Raises:
        [`BadInputError`]: The rows cannot be prepared, or have no pictures and nobody said that they should not.
    """
    from mmr1_trl.data import load_data
    from mmr1_trl.data.row_checks import without_control_tokens

    text_only = data_args.image_column == "none"
    rows = load_data(
        data_args.dataset_name,
        split=split,
        config=data_args.dataset_config,
        revision=data_args.dataset_revision,
        num_rows=num_rows,
        seed=data_args.figures_seed,
        families=data_args.figures_families,
        levels=data_args.figures_levels,
        prompt_style=data_args.prompt_style,
        image_root=data_args.image_root,
        prompt_column=data_args.prompt_column,
        image_column=None if text_only else data_args.image_column,
        answer_column=data_args.answer_column,
        options_column=data_args.options_column,
        question=data_args.question,
        answer_type=data_args.answer_type,
        tolerance=data_args.tolerance,
        answer_index=data_args.answer_index,
        box_format=data_args.box_format,
        gold_coordinates=data_args.gold_coordinates,
        coordinates=coordinates,
        on_bad_row=config.on_bad_row,
    )
    rows = without_control_tokens(rows, processor, config.on_bad_row, f"{data_args.dataset_name} ({split})")
    if text_only:
        return rows.remove_columns("images") if "images" in rows.column_names else rows
    if "images" not in rows.column_names:
        raise BadInputError(
            f"{data_args.dataset_name} ({split}): no column looks like pictures; besides prompt and answer there are "
            f"{sorted(set(rows.column_names) - PREPARED)}. Name it with --image_column, or train on text alone with "
            "--image_column none."
        )
    return rows


def load_train_rows(data_args: Any, config: Any, processor: Any, coordinates: str | None = None) -> Any:
    """Return the prepared training rows, without those whose prompts are longer than `max_prompt_tokens`."""
    train = (data_args.dataset_train_split, data_args.num_train_rows)
    rows = load_rows(data_args, config, *train, processor, coordinates)
    if data_args.max_prompt_tokens is None:
        return rows
    from mmr1_trl.data.token_counts import drop_long_prompts, prompt_lengths

    lengths = prompt_lengths(rows, processor, config.min_pixels, config.max_pixels)
    return drop_long_prompts(rows, lengths, data_args.max_prompt_tokens)


def name_unreadable_golds(rows: Any) -> None:
    """
    Say before training which answers `accuracy_reward` cannot read: their completions get no reward at all.

    Raises:
        [`BadInputError`]: None of them can be read.
    """
    from mmr1_trl.data.preflight import unreadable_golds

    bad = unreadable_golds(rows)
    if not bad:
        return
    first = "; ".join(f"row {row}: {reason}" for row, reason in list(bad.items())[:5])
    if len(bad) == len(rows):
        raise BadInputError(f"accuracy_reward can read none of the answers ({first}). See --answer_type.")
    print(
        f"mmr1: warning: {len(bad)} of {len(rows)} answers cannot be read, and what is sampled for them is not "
        f"trained on ({first}). `mmr1 check` lists them all.",
        file=sys.stderr,
    )


def require_extras(config: Any, model_args: Any, launch_args: list[str], *, use_vllm: bool = False) -> None:
    """
    Refuse a run for which packages are missing, or have a version that does not work.

    Raises:
        [`BadInputError`]: With the commands that install them.
    """
    from mmr1_trl.engines.installation import check_version
    from mmr1_trl.evaluation.preflight import missing_extras

    if missing := missing_extras(config, model_args, launch_args, use_vllm=use_vllm):
        raise BadInputError("; ".join(missing))
    if use_vllm:
        check_version()


def require_model(model_args: Any) -> str:
    """Return `--model_name_or_path`, which has no default."""
    if not model_args.model_name_or_path:
        raise BadInputError(
            "--model_name_or_path is missing: a Hub id such as Qwen/Qwen2.5-VL-3B-Instruct, a folder, or "
            "figures/cold_start (small, made here)."
        )
    return model_args.model_name_or_path


@contextmanager
def refusals(model: str) -> Iterator[None]:
    """
    Around the making of a trainer, which loads the weights of `model`: say in one line what cannot be used.

    Raises:
        [`BadInputError`]: TRL or transformers refuse a setting, or the weights cannot be read.
    """
    from safetensors import SafetensorError

    if Path(model, "adapter_config.json").is_file() and not Path(model, "config.json").is_file():
        raise BadInputError(
            f"{model} holds an adapter, and a training starts from a whole model. Go on with its run by "
            "--resume_from_checkpoint, or merge it into its base model first (`merge_and_unload` of PEFT)."
        )
    try:
        yield
    except BadInputError:
        raise
    except (OSError, SafetensorError) as error:
        raise BadInputError(f"The model {model!r} cannot be loaded: {str(error).strip().splitlines()[0]}") from error
    except (ValueError, NotImplementedError) as error:
        raise BadInputError(f"These settings cannot be used: {error}") from error


def revision(model_args: Any) -> dict[str, str]:
    """Return `{"revision": ...}` for a model other than the Hub's main branch."""
    return {} if model_args.model_revision == "main" else {"revision": model_args.model_revision}


def model_init_kwargs(model_args: Any) -> dict[str, Any]:
    """Return what TRL's own scripts hand to `from_pretrained`."""
    kwargs = {"dtype": model_args.dtype, "attn_implementation": model_args.attn_implementation}
    return {name: value for name, value in kwargs.items() if value is not None} | revision(model_args)


def adapters(model_args: Any) -> dict[str, Any]:
    """Return the PEFT and quantization arguments of a trainer, as far as they were asked for."""
    from trl import get_peft_config, get_quantization_config

    names = model_args.lora_target_modules
    if isinstance(names, str) and re.fullmatch(r"[\w.]+", names):
        # TRL makes a text of a list of one, which PEFT takes for a pattern of whole paths.
        model_args.lora_target_modules = [names]
    try:
        kwargs = {
            "peft_config": get_peft_config(model_args),
            "quantization_config": get_quantization_config(model_args),
        }
    except (ImportError, ValueError) as error:
        raise BadInputError(f"{error} (pip install 'mmr1-trl[peft]', for 4 and 8 bits also [quantization])") from error
    return {name: value for name, value in kwargs.items() if value is not None}


def finish(trainer: Any, settings: Settings, dataset_name: str) -> None:
    """Train with a built trainer, then save the model, its card, the metrics and the settings, and say where."""
    from mmr1_trl.trainers.guards.exhaustion import saving
    from mmr1_trl.trainers.guards.preemption import handled_by

    config = trainer.args
    trainer.base_model_name, trainer.dataset_name = settings.values.get("model_name_or_path"), dataset_name
    if trainer.is_world_process_zero():
        write_settings(settings, config.output_dir)
    try:
        result = trainer.train(resume_from_checkpoint=resume_argument(config))
    except Preempted:
        _leave(trainer)
        raise
    folder = Path(config.output_dir)
    config.push_to_hub, push = False, config.push_to_hub  # once, when everything is there
    with handled_by(signal.SIG_IGN), saving("The trained model", folder, folder):
        trainer.save_model(config.output_dir)
        config.push_to_hub = push
        trainer.save_metrics("train", result.metrics)
        trainer.save_state()
        trainer.create_model_card()
    page = _push(trainer) if push else None
    trainer.accelerator.print(
        f"\nTrained to step {trainer.state.global_step}.\n"
        f"  model     {config.output_dir}\n"
        f"  settings  {config.output_dir}/{SETTINGS_FILE}\n"
        f"  metrics   {config.output_dir}/{TRAIN_RESULTS}, {TRAINER_STATE}" + (f"\n  uploaded  {page}" if page else "")
    )
    _leave(trainer)


def _leave(trainer: Any) -> None:
    if trainer.engine is not None:
        trainer.engine.shut_down()
    trainer.accelerator.end_training()
    if trainer.accelerator.num_processes > 1:
        settle()


def _push(trainer: Any) -> str | None:
    """Upload the result; return its page, or say how to upload it later: the training has succeeded either way."""
    from mmr1_trl.hub.training import later_command

    try:
        trainer.push_to_hub()
    except BadInputError as error:
        print(
            f"\nmmr1: the training is finished and saved, but was not uploaded: {error}\nmmr1: to upload it later: "
            f"{later_command(trainer.args, trainer.hub_target)}",
            file=sys.stderr,
        )
        return None
    return None if trainer.hub_target is None else trainer.hub_target.url
