# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Self-certainty of sampled tokens, from the forward pass that is made anyway."""

import math
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from mmr1_trl.errors import BadInputError


if TYPE_CHECKING:
    from mmr1_trl.trainers.trainer import RLVRTrainer

# Heads whose logits are more than a product with the last hidden state.
_CHANGES_LOGITS = (
    "final_logit_softcapping", "logit_scale", "output_multiplier", "lm_head_multiplier", "logits_scaling",
)  # fmt: skip


def check_head(trainer: "RLVRTrainer") -> None:
    """
    Refuse what [`SelfCertainty`] cannot read.

    Raises:
        [`BadInputError`]: The model is sharded, or its logits are no plain product.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise BadInputError(
            "self_certainty_reward reads the weights of the vocabulary head, which FSDP and DeepSpeed may spread over "
            "processes: train without them, or take negative_entropy_reward."
        )
    config = trainer.accelerator.unwrap_model(trainer.model).config.get_text_config()
    for name in _CHANGES_LOGITS:
        if getattr(config, name, None) not in (None, 1.0):
            raise BadInputError(
                f"self_certainty_reward does not know logits that are changed by {name} (it is "
                f"{getattr(config, name)} here): take negative_entropy_reward."
            )


class SelfCertainty:
    """
    Around a pass over sampled tokens: keeps the last hidden states, and works out the tokens' self-certainty.

    The KL divergence of the uniform distribution to the policy's is `log Z - mean logit - log V`, with Z the sum of
    the exponentiated logits over the V words. TRL's head never makes the logits. But the logit of the sampled token is
    the product of one hidden state with one row of the head, and less its log-prob it is `log Z`; the mean logit is
    the product with the head's mean row. So nothing of size V is made per token, and there is no second pass.

    Args:
        model (`torch.nn.Module`):
            The policy, unwrapped; adapters may be around it.
        temperature (`float`):
            Sampling temperature, by which the logits are divided.
        length (`int`):
            Tokens of the completions, T. The states of the prompts are not kept: there may be thousands.
    """

    def __init__(self, model: torch.nn.Module, temperature: float, length: int) -> None:
        # The outermost model of transformers: what adapters are around is not one itself.
        self.model = next(module for module in model.modules() if isinstance(module, PreTrainedModel))
        self.temperature = temperature
        self.length = length
        self._states: list[torch.Tensor] = []

    def __enter__(self) -> "SelfCertainty":
        self._hook = self.model.base_model.register_forward_hook(self._keep)
        return self

    def __exit__(self, *error: object) -> None:
        self._hook.remove()

    def _keep(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        self._states.append(output.last_hidden_state[:, -self.length - 1 : -1].clone())

    def per_token(self, input_ids: torch.Tensor, logps: torch.Tensor) -> torch.Tensor:
        """
        Self-certainty of the last tokens.

        Args:
            input_ids (`torch.Tensor` of shape `(B, P + T)`):
                Prompts and completions, as the passes inside the `with` have seen them in order.
            logps (`torch.Tensor` of shape `(B, T)`):
                Log-probs of the completions' tokens at the temperature.

        Returns:
            `torch.Tensor` of shape `(B, T)`: in nats.
        """
        head = self.model.get_output_embeddings()
        weight, bias = head.weight.detach(), head.bias.detach() if head.bias is not None else None
        values, start = [], 0
        for states in self._states:
            end = start + len(states)
            hidden = states.float()
            tokens = input_ids[start:end, -self.length :]
            sampled = (hidden * weight[tokens].float()).sum(-1)
            mean = hidden @ weight.mean(dim=0, dtype=torch.float32)
            if bias is not None:
                sampled, mean = sampled + bias[tokens].float(), mean + bias.float().mean()
            log_z = sampled / self.temperature - logps[start:end].float()
            values.append(log_z - mean / self.temperature - math.log(len(weight)))
            start = end
        return torch.cat(values)
