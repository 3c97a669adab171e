# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""vLLM in a training: TRL's `VLLMGeneration`, told what TRL 1.16 does not tell it.

The wrapped names are pinned by `tests/contract/test_vllm_seams.py`, which fails once TRL does one itself:

- colocate: prompts with one token per picture, since vLLM makes its own expansion of them;
- the cache of encoded pictures emptied after every weight sync, since its entries are the old weights';
- no picture or video token in a completion, in vLLM's sampling and in transformers'.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedConfig

from mmr1_trl.engines.picture_tokens import one_token_per_picture, placeholder_ids, without_placeholders
from mmr1_trl.engines.refusals import check_engine, first_line, why_it_does_not_start
from mmr1_trl.errors import BadInputError, TrainingStopped


def suppress_placeholders(generation: GenerationConfig, options: dict[str, Any], config: PreTrainedConfig) -> None:
    """
    Keep the picture and the video token out of what transformers samples; TRL does so for the picture token alone.

    Args:
        generation ([`~transformers.GenerationConfig`]), options (`dict`):
            TRL's two places for how it samples in training and in evaluation; both are changed.
        config ([`~transformers.PreTrainedConfig`]):
            Of the model.
    """
    tokens = list(dict.fromkeys([*(generation.suppress_tokens or []), *placeholder_ids(config)])) or None
    generation.suppress_tokens = options["suppress_tokens"] = tokens


class TrainingEngine:
    """
    Puts itself between TRL and vLLM.

    Args:
        generation ([`~trl.generation.vllm_generation.VLLMGeneration`]):
            Of the trainer; its `generate` and `sync_weights` are replaced.
        config ([`~transformers.PreTrainedConfig`]):
            Of the model.
        pictures_change (`bool`):
            Whether the vision tower or the projection behind it is trained.
        last_checkpoint (`Callable[[], str]`):
            Says which checkpoint of the run can be resumed, for the message of a run that ends.

    Raises:
        [`BadInputError`]: The server cannot empty its cache of encoded pictures, and has to.
    """

    def __init__(
        self,
        generation: Any,
        config: PreTrainedConfig,
        pictures_change: bool,
        last_checkpoint: Callable[[], str],
    ) -> None:
        self.generation, self.model_type = generation, config.model_type
        self.pictures_change, self.last_checkpoint = pictures_change, last_checkpoint
        self._generate, self._sync_weights = generation.generate, generation.sync_weights
        generation.generation_kwargs = without_placeholders(generation.generation_kwargs, config)
        generation.generate, generation.sync_weights = self.generate, self.sync_weights
        self._reset_encoder_cache()

    @property
    def colocated(self) -> bool:
        """Whether vLLM runs in this process."""
        return self.generation.mode == "colocate"

    def generate(
        self, prompts: list[list[int]], images: list[Any] | None, num_generations: int, profiler: Any = None
    ) -> tuple[Any, ...]:
        """As [`~trl.generation.vllm_generation.VLLMGeneration.generate`]."""
        if images is not None:  # TRL takes the first of an empty list
            images = [pictures or None for pictures in images]
        sent = prompts
        if self.colocated and images is not None:  # a server is given pictures and tokens apart, the latter expanded
            sent = one_token_per_picture(prompts, images, self.generation.processing_class, self.model_type)
        with self._explained("sampling"):
            read, *rest = self._generate(sent, images, num_generations, profiler)
        if self.colocated:
            self._require_same(prompts, read)
        return read, *rest

    def sync_weights(self) -> None:
        """As [`~trl.generation.vllm_generation.VLLMGeneration.sync_weights`], pictures encoded before included."""
        with self._explained("taking the new weights"):
            self._sync_weights()
            self._reset_encoder_cache()

    def shut_down(self) -> None:
        """Stop an engine in this process, while the process groups that it wants to leave are still there."""
        if self.colocated:
            self.generation.llm.llm_engine.engine_core.shutdown()

    def _reset_encoder_cache(self) -> None:
        if not self.pictures_change:
            return
        if self.colocated:
            self.generation.llm.llm_engine.reset_encoder_cache()
        elif self.generation.accelerator.is_main_process:
            client = self.generation.vllm_client
            answer = client.session.post(f"{client.base_url}/reset_encoder_cache")
            if answer.status_code != 200:
                raise BadInputError(
                    f"The vLLM server at {client.base_url} cannot empty its cache of encoded pictures (status "
                    f"{answer.status_code}), and this run trains what encodes them. Start it with "
                    "VLLM_SERVER_DEV_MODE=1 in its environment, or train with --freeze_vision_tower true "
                    "--freeze_merger true."
                )

    def _require_same(self, prompts: list[list[int]], read: list[list[int]]) -> None:
        for number, (trained, sampled) in enumerate(zip(prompts, read)):
            if list(sampled) != list(trained):
                raise TrainingStopped(
                    f"vLLM reads another prompt than the one that is trained on: prompt {number} of the batch has "
                    f"{len(trained)} tokens here and {len(sampled)} there. The processor of this run and the one in "
                    f"the model's folder, which vLLM uses, make different pictures or tokens. {self.last_checkpoint()}"
                )

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Say in one message that vLLM fails in the middle of a run, and what is left of it."""
        try:
            yield
        except (BadInputError, TrainingStopped, torch.OutOfMemoryError):
            raise
        except Exception as error:
            if self.colocated and not isinstance(error, ValueError):  # a fault of code, not of the run's settings
                raise
            where = "vLLM" if self.colocated else f"The vLLM server at {self.generation.vllm_client.base_url}"
            hint = (
                "Prompt and completion have to fit into --vllm_max_model_length."
                if self.colocated
                else "See the server's own log, start it again, and resume with --resume_from_checkpoint."
            )
            raise TrainingStopped(
                f"{where} failed while {doing}: {first_line(error)}. {self.last_checkpoint()} {hint}"
            ) from error


@contextmanager
def starting(args: Any, model: Any) -> Iterator[None]:
    """
    Around the making of TRL's trainer, which starts vLLM if `use_vllm` asks for it.

    Args:
        args ([`~trl.GRPOConfig`]):
            The run's options.
        model (`str` or [`~transformers.PreTrainedModel`]):
            The policy, or where it is loaded from.

    Raises:
        [`BadInputError`]: vLLM cannot be used ([`check_engine`], before anything is loaded), or does not start.
    """
    if args.use_vllm:
        check_engine(args, model)
    try:
        yield
    except Exception as error:
        # Whatever goes wrong in there is about the settings: nothing has been trained yet.
        if "_init_vllm" not in {frame.name for frame in traceback.extract_tb(error.__traceback__)}:
            raise
        raise BadInputError(why_it_does_not_start(error, args.vllm_mode == "server")) from error
