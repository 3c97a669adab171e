# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""From settings to the parts of a trainer: rows, rewards, model and processor, in the order of what they cost.

Whatever can be refused without a model is refused before one is built, downloaded or loaded.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmr1_trl.cli.names import at_revision, look_up, require_model, revision
from mmr1_trl.cli.output import require_usable, resume_argument
from mmr1_trl.cli.parsing import Settings
from mmr1_trl.cli.rows import load_splits, look_at_pictures, name_unreadable_golds, without_long_prompts
from mmr1_trl.errors import BadInputError, first_line


SMALL = 2**24  # bytes of weights below which a second thread does not pay


@dataclass
class Parts:
    """
    What a reinforcement learning trainer is made of.

    Args:
        config ([`RLVRConfig`]):
            The trainer's options.
        dataset_name (`str`), model_name (`str`):
            What the user calls the dataset and the model.
        model (`str`):
            Folder or Hub id of the model.
        processor ([`~transformers.ProcessorMixin`]):
            Its processor.
        rewards (`list[Callable]`):
            The reward functions.
        train_rows, eval_rows ([`~datasets.Dataset`], the second *optional*):
            The prepared rows.
        options (`dict[str, Any]`):
            The PEFT and quantization arguments.
    """

    config: Any
    dataset_name: str
    model_name: str
    model: str
    processor: Any
    rewards: list[Callable[..., Any]]
    train_rows: Any
    eval_rows: Any
    options: dict[str, Any]

    def make(self, trainer_class: Any) -> Any:
        """Return a trainer of these parts, which loads the weights."""
        with refusals(self.model_name):
            return trainer_class(
                model=self.model,
                reward_funcs=self.rewards,
                args=self.config,
                train_dataset=self.train_rows,
                eval_dataset=self.eval_rows,
                processing_class=self.processor,
                **self.options,
            )


def load_parts(settings: Settings, **checks: Any) -> Parts:
    """
    Load everything but the weights.

    Args:
        settings ([`Settings`]):
            They build `(RLArguments, an RLVRConfig, ModelConfig)`.
        **checks:
            For [`~mmr1_trl.trainers.checks.check_run`].

    Returns:
        [`Parts`]

    Raises:
        [`BadInputError`]: Something would stop the run. What can be told without the model is told before it is built,
            downloaded or looked up.
    """
    data_args, config, model_args = settings.build()
    require_extras(config, model_args, settings.launch_args, use_vllm=config.use_vllm)

    from mmr1_trl.engines.frames import add_training_frames
    from mmr1_trl.rewards.resolve import resolve_rewards
    from mmr1_trl.trainers.checks import check_run

    name, options = require_model(model_args), adapters(model_args)
    rewards = resolve_rewards(data_args.reward_funcs)
    processor = load_processor_of(name, config, model_args)
    train_rows, eval_rows = load_splits(data_args, config, model_args, processor)
    if "accuracy_reward" in data_args.reward_funcs and config.process_index == 0:
        name_unreadable_golds(train_rows)
    train_rows = without_long_prompts(train_rows, data_args, config, processor)
    if config.process_index == 0:
        for rows, called in ((train_rows, "train_dataset"), (eval_rows, "eval_dataset")):
            look_at_pictures(rows, config.on_bad_row, called)
    config.model_init_kwargs = model_init_kwargs(model_args) | (config.model_init_kwargs or {})
    train_rows, eval_rows = add_training_frames(train_rows, eval_rows, name, processor, config, rewards)
    check_run(config, rewards, train_rows, eval_rows, **checks)
    use_hub(config, settings.command)
    model = find_model(config, model_args)
    if model != name:
        processor = load_processor_of(model, config, model_args)
    return Parts(config, data_args.dataset_name, name, model, processor, rewards, train_rows, eval_rows, options)


def load_processor_of(name: str, config: Any, model_args: Any) -> Any:
    """Return the processor of a model; of one that is built here, without building it."""
    from mmr1_trl.models import load_processor

    if config.process_index == 0:
        look_up(name, "model", model_args.model_revision)
    return load_processor(
        name, trust_remote_code=config.trust_remote_code, padding_side="left", **revision(model_args)
    )


def find_model(config: Any, model_args: Any) -> str:
    """Return the folder or Hub id of the model, building it first if it is one that is built here."""
    from mmr1_trl.models import resolve_model

    spare_threads(require_model(model_args))
    with config.main_process_first(desc="looking up the model"):  # figures/cold_start may have to be trained first
        return resolve_model(model_args.model_name_or_path)


def spare_threads(model: str) -> None:
    """
    Compute a small model on one CPU thread, and say so, unless `OMP_NUM_THREADS` says how many.

    A second thread gains next to nothing on the built-in models, and where another program uses a core the two wait
    for each other by spinning.
    """
    import torch

    small = (
        model.startswith("figures/") or 0 < sum(f.stat().st_size for f in Path(model).glob("*.safetensors")) < SMALL
    )
    idle = torch.accelerator.is_available() or torch.get_num_threads() == 1
    if small and not idle and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
        print("One CPU thread, for a model this small; OMP_NUM_THREADS=2 makes it two.", flush=True)


def use_hub(config: Any, command: str) -> None:
    """
    Before anything is loaded: refuse a repository that cannot be written to, and fetch a checkpoint from the Hub that
    `command` can go on with.

    Raises:
        [`BadInputError`]: The repository or the checkpoint cannot be used.
    """
    if config.push_to_hub and config.process_index == 0:
        from mmr1_trl.hub.upload import open_for_training

        open_for_training(config)
    checkpoint = resume_argument(config)
    if isinstance(checkpoint, str) and not Path(checkpoint).is_dir():
        from mmr1_trl.hub.fetch import checkpoint_folder

        with config.main_process_first(desc="fetching the checkpoint"):
            config.resume_from_checkpoint = checkpoint_folder(checkpoint, config.hub_token)
            require_usable(command, Path(config.resume_from_checkpoint))


def require_extras(config: Any, model_args: Any, launch_args: list[str], *, use_vllm: bool = False) -> None:
    """
    Refuse a run for which packages are missing, or have a version that does not work.

    Raises:
        [`BadInputError`]: With the commands that install them.
    """
    from mmr1_trl.engines.packages import check_version
    from mmr1_trl.evaluation.preflight import missing_extras

    if missing := missing_extras(config, model_args, launch_args, use_vllm=use_vllm):
        raise BadInputError("; ".join(missing))
    if use_vllm:
        check_version()


@contextmanager
def refusals(model: str) -> Iterator[None]:
    """
    Around the making of a trainer, which loads the weights of `model`: say in one line what cannot be used.

    Raises:
        [`BadInputError`]: TRL or transformers refuse a setting, or the weights cannot be read.
    """
    from safetensors import SafetensorError

    try:
        yield
    except BadInputError:
        raise
    except (OSError, SafetensorError) as error:
        raise cannot_load(model, error) from error
    except (ValueError, NotImplementedError) as error:
        raise BadInputError(f"These settings cannot be used: {error}") from error


def choose_device(use_cpu: bool = False) -> Any:
    """Return the accelerator, or the CPU where there is none or it is asked for."""
    import torch

    accelerator = None if use_cpu else torch.accelerator.current_accelerator()
    return accelerator or torch.device("cpu")


def default_dtype(device: Any) -> str:
    """Return the type to compute in on a device."""
    return "float32" if device.type == "cpu" else "bfloat16"


def load_model(
    name: str,
    dtype: str | None = None,
    trust_remote_code: bool = False,
    device: Any = None,
    revision: str = "main",
) -> tuple[Any, Any]:
    """
    Load a model and its processor for generation, on the accelerator if there is one.

    Args:
        name (`str`):
            Hub id, folder (of a model or of an adapter) or built-in name.
        dtype (`str`, *optional*):
            Name of a torch type. By default bfloat16 on an accelerator and float32 on a CPU.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that the repository brings along.
        device (`torch.device`, *optional*):
            Where to put the model; on the accelerator, or the CPU without one, by default.
        revision (`str`, *optional*, defaults to `"main"`):
            Branch, tag or commit of a repository on the Hub.

    Returns:
        `tuple`: Model and processor.

    Raises:
        [`BadInputError`]: There is no such model, or it writes no text.
    """
    from mmr1_trl.models import load_processor, resolve_model

    path = resolve_model(name)
    device = device or choose_device()
    at = at_revision(revision)
    processor = load_processor(path, trust_remote_code=trust_remote_code, padding_side="left", **at)
    dtype = dtype or default_dtype(device)
    model = load_weights(path, name, dtype=dtype, trust_remote_code=trust_remote_code, **at)
    return model.to(device), processor


def load_weights(path: str, name: str, **options: Any) -> Any:
    """
    Load a model for generation.

    Args:
        path (`str`):
            Folder or Hub id.
        name (`str`):
            What the user calls it.
        **options:
            For `from_pretrained`.

    Raises:
        [`BadInputError`]: The weights cannot be read, or their config is none of such a model.
    """
    from safetensors import SafetensorError

    from mmr1_trl.models.processing import auto_class, load_config

    named = {"revision": options["revision"]} if "revision" in options else {}
    config = load_config(path, options.get("trust_remote_code", False), **named)
    try:
        return auto_class(config).from_pretrained(path, **options)
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise cannot_load(name, error) from error


def cannot_load(name: str, error: Exception) -> BadInputError:
    """Return what to say of a model whose files cannot be read."""
    return BadInputError(f"The model {name!r} cannot be loaded: {first_line(error)}")


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
