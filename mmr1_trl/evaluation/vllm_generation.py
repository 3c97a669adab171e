# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Generation for evaluation by vLLM, an optional extra."""

from pathlib import Path
from typing import Any

from transformers import AutoConfig, GenerationConfig

from mmr1_trl.engines.packages import require_vllm
from mmr1_trl.engines.picture_tokens import without_placeholders
from mmr1_trl.engines.refusals import check_model, why_it_does_not_start
from mmr1_trl.errors import BadInputError
from mmr1_trl.evaluation.generation import Completion, end_token_ids
from mmr1_trl.models.processing import ProcessingClass, as_written_for, tokenizer_of
from mmr1_trl.run_folder import ADAPTER


class VLLMGenerator:
    """
    Completes by a vLLM engine in this process.

    Args:
        path (`str`):
            Folder or Hub id of the model; a folder with an adapter alone is refused.
        processor (`ProcessorMixin`):
            Its processor, for the chat template.
        dtype (`str`):
            Name of the torch type to compute in; vLLM itself would make bfloat16 of float32.
        trust_remote_code (`bool`, *optional*, defaults to `False`):
            Whether to run code that the repository brings along.
        gpu_memory_utilization (`float`, *optional*, defaults to `0.9`), tensor_parallel_size (`int`, *optional*,
        defaults to `1`), max_model_length (`int`, *optional*):
            vLLM's share of the device's memory, the devices that it spreads over, and its longest context.

    Raises:
        [`BadInputError`]: vLLM is not installed, or not as TRL needs it; `path` holds an adapter; vLLM does not know
            the model, or has no room for it.
    """

    def __init__(
        self,
        path: str,
        processor: ProcessingClass,
        *,
        dtype: str,
        trust_remote_code: bool = False,
        gpu_memory_utilization: float = 0.9,
        tensor_parallel_size: int = 1,
        max_model_length: int | None = None,
    ) -> None:
        require_vllm()
        try:
            from vllm import LLM
        except ImportError as error:
            raise BadInputError(
                "--use_vllm needs vLLM, which cannot be imported here: pip install 'mmr1-trl[vllm]', or leave the "
                "option out."
            ) from error
        folder = Path(path)
        if (folder / ADAPTER).is_file() and not (folder / "config.json").is_file():
            raise BadInputError(f"{path} holds an adapter; vLLM needs the merged model. Leave out --use_vllm.")
        check_model(path, max_model_length, trust_remote_code)
        self.path, self.processor = folder, processor
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        try:
            generation_config = GenerationConfig.from_pretrained(path)
        except OSError:  # there need not be a file of it
            generation_config = GenerationConfig.from_model_config(config)
        self.options = without_placeholders({"stop_token_ids": end_token_ids(generation_config, processor)}, config)
        try:
            self.llm = LLM(
                model=path,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
                gpu_memory_utilization=gpu_memory_utilization,
                tensor_parallel_size=tensor_parallel_size,
                max_model_len=max_model_length,
            )
        except Exception as error:  # whatever it is, nothing has been evaluated yet
            raise BadInputError(why_it_does_not_start(error)) from error

    def fingerprint(self) -> str:
        files = sorted(self.path.glob("*.safetensors")) if self.path.is_dir() else []
        return "vllm " + " ".join([str(self.path), *(f"{file.stat().st_mtime_ns:x}" for file in files)])

    def complete(
        self,
        conversations: list[list[dict[str, Any]]],
        *,
        max_new_tokens: int,
        num_samples: int | None,
        temperature: float,
        seed: int,
    ) -> list[list[Completion]]:
        from vllm import SamplingParams

        # Every option is set: vLLM would take one that is left out from the model's own generation config.
        sampling = SamplingParams(
            n=num_samples or 1,
            temperature=0.0 if num_samples is None else temperature,
            top_p=1.0,
            top_k=-1,
            min_p=0.0,
            repetition_penalty=1.0,
            max_tokens=max_new_tokens,
            seed=seed,
            **self.options,
        )
        outputs = self.llm.generate([self._prompt(messages) for messages in conversations], sampling, use_tqdm=False)
        return [[self._completion(one) for one in output.outputs] for output in outputs]

    def shut_down(self) -> None:
        """Stop the engine, while the process groups that it wants to leave are still there."""
        self.llm.llm_engine.engine_core.shutdown()

    def _completion(self, one: Any) -> Completion:
        # Not `one.text`: vLLM decodes token by token, and begins with a blank where transformers has none.
        text = tokenizer_of(self.processor).decode(one.token_ids, skip_special_tokens=True)
        return Completion(text, len(one.token_ids), one.finish_reason == "length")

    def _prompt(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """The tokens with one for each picture, which vLLM's own processor widens, and the pictures."""
        text: Any = self.processor.apply_chat_template(
            as_written_for(self.processor, messages), tokenize=False, add_generation_prompt=True
        )
        tokenizer = tokenizer_of(self.processor)
        with_bos = tokenizer.bos_token is not None and text.startswith(tokenizer.bos_token)  # as transformers has it
        ids = tokenizer(text, add_special_tokens=not with_bos)["input_ids"]
        blocks = [
            block for message in messages if isinstance(message["content"], list) for block in message["content"]
        ]
        images = [block["image"] for block in blocks if block["type"] == "image"]
        return {"prompt_token_ids": ids, **({"multi_modal_data": {"image": images}} if images else {})}
