# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What vLLM refuses, found out before the policy is loaded, and said in one message."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig
from transformers.utils import logging

from mmr1_trl.engines.packages import check_version
from mmr1_trl.errors import BadInputError
from mmr1_trl.models.families import FAMILIES


logger = logging.get_logger(__name__)


def first_line(error: BaseException) -> str:
    """Return what an error says, without pydantic's frame around it and without what follows the first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = next((line for line in lines if line.startswith("Value error, ")), lines[0])
    said = said.removeprefix("Value error, ").split(" [type=")[0].split(" Supported architectures")[0]
    return said[:400].rstrip(". ")


def check_engine(args: Any, model: Any, wait: bool = True) -> None:
    """
    Refuse a training whose vLLM cannot work, before its model is loaded.

    Args:
        args ([`~trl.GRPOConfig`]):
            The run's options, with `use_vllm`.
        model (`str` or [`~transformers.PreTrainedModel`]):
            The policy, or where it is loaded from.
        wait (`bool`, *optional*, defaults to `True`):
            Whether to wait `vllm_server_timeout` seconds for a server that does not answer yet.

    Raises:
        [`BadInputError`]: TRL does not support the installed vLLM, vLLM does not know the model, cannot follow its
            training or serve it so long, or the server is not there or has another model.
    """
    check_version()
    path = model if isinstance(model, str) else model.config.name_or_path
    config = (
        AutoConfig.from_pretrained(model, trust_remote_code=args.trust_remote_code) if path == model else model.config
    )
    family = FAMILIES.get(config.model_type)
    if family is not None and family.not_by_vllm is not None:
        raise BadInputError(
            f"vLLM cannot sample for a training of {config.model_type}: {family.not_by_vllm}. Leave out use_vllm."
        )
    if args.vllm_mode == "server":
        if args.process_index == 0:
            check_server(server_url(args), path, args.vllm_server_timeout if wait else 0.0)
    elif not path:
        raise BadInputError("vLLM loads its copy of the policy from disk: save the model, and load it from there.")
    else:
        check_model(path, args.vllm_max_model_length, args.trust_remote_code)


def server_url(args: Any) -> str:
    """Return the address of the server that a run is to use."""
    return (args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}").rstrip("/")


def check_model(path: str, max_model_length: int | None = None, trust_remote_code: bool = False) -> None:
    """
    Let vLLM read the configuration of a model.

    Args:
        path (`str`):
            Folder or Hub id.
        max_model_length (`int`, *optional*):
            Longest prompt with its completion, in tokens.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that the repository brings along.

    Raises:
        [`BadInputError`]: vLLM does not know its architecture, or the model does not reach so far.
    """
    from vllm.engine.arg_utils import EngineArgs

    with torch.random.fork_rng(devices=[]):  # vLLM seeds the process
        try:
            EngineArgs(
                model=path, max_model_len=max_model_length, trust_remote_code=trust_remote_code
            ).create_model_config()
        except Exception as error:
            raise BadInputError(
                f"vLLM cannot serve {path!r}: {first_line(error)}. Without --use_vllm it trains."
            ) from error


def check_server(url: str, model: str, timeout: float) -> None:
    """
    Wait for a vLLM server, and look whether it has the model of the run.

    Args:
        url (`str`):
            Its address.
        model (`str`):
            Folder or Hub id of the policy.
        timeout (`float`):
            Seconds to wait; it may be starting.

    Raises:
        [`BadInputError`]: It does not answer, or serves another model.
    """
    import requests

    end, told = time.monotonic() + timeout, False
    while True:
        try:
            served = requests.get(f"{url}/v1/models", timeout=10).json()["data"][0]
            break
        except (requests.exceptions.RequestException, ValueError, KeyError, IndexError) as error:
            if time.monotonic() >= end:
                raise BadInputError(
                    f"No vLLM server answers at {url} (waited {timeout:g} s, --vllm_server_timeout). Start it with "
                    f"`VLLM_SERVER_DEV_MODE=1 vllm serve {model} --enable-scale-out --weight-transfer-config "
                    '\'{"backend": "nccl"}\' --logprobs-mode processed_logprobs --max-logprobs -1`, or name it with '
                    "--vllm_server_host and --vllm_server_port."
                ) from error
            if not told:
                logger.warning(f"Waiting up to {timeout:g} s for the vLLM server at {url}.")
                told = True
            time.sleep(min(2.0, max(0.1, end - time.monotonic())))
    names = {str(served.get("id")), str(served.get("root") or served.get("id"))}
    if not any(_same_model(name, model) for name in names):
        raise BadInputError(
            f"The vLLM server at {url} has the model {' or '.join(sorted(names))!r}, and this run trains {model!r}. "
            "Start it with the model that is trained (or with --served-model-name, if it is the same one elsewhere)."
        )


def _same_model(served: str, trained: str) -> bool:
    if served == trained or (Path(served).exists() and Path(served).resolve() == Path(trained).resolve()):
        return True
    # The same folder on another machine, or a Hub id here and its copy there.
    return bool(trained) and Path(served).name.lower() == Path(trained).name.lower()


def why_it_does_not_start(error: BaseException, server: bool = False) -> str:
    """
    Explain that vLLM did not start.

    Args:
        error (`BaseException`):
            What it raised.
        server (`bool`, *optional*, defaults to `False`):
            Whether it runs elsewhere.
    """
    said = first_line(error)
    if server:
        return f"The vLLM server cannot be used: {said}."
    no_room = any(words in str(error) for words in ("KV cache", "gpu_memory_utilization"))
    if no_room or isinstance(error, torch.OutOfMemoryError):
        return (
            f"vLLM has no room: {said}. Allow shorter sequences (--vllm_max_model_length: the longest prompt and its "
            "completion), or give it more memory (--vllm_gpu_memory_utilization; on a CPU VLLM_CPU_KVCACHE_SPACE)."
        )
    return f"vLLM does not start: {said}."
