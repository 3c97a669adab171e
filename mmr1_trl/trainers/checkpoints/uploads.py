# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The uploads of a trainer while it trains and at its end, with care."""

from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, Trainer
from transformers.trainer_utils import HubStrategy
from transformers.utils import PushInProgress

from mmr1_trl.hub.upload import Target, in_background, open_for_training, push_checkpoint, push_result
from mmr1_trl.hub.upload_checks import require_public_base


class SafePushes(Trainer):
    """
    The uploads of a [`~transformers.Trainer`] (`push_to_hub`, the `hub_...` options), with care.

    What cannot be uploaded is refused before training. Files are checked and freed of local paths first, the pickled
    arguments (with the token in them) stay here, a checkpoint goes up once it is complete, and a failed upload is
    logged and does not stop the training. Each upload is one commit with the tag `step-N`.
    """

    args: Any
    model: Any
    hub_target: Target | None = None
    hub_model_id: Any
    push_in_progress: Any

    def init_hf_repo(self, token: str | None = None, private: bool | None = None, revision: str | None = None) -> None:
        """Open the repository, as in [`~transformers.Trainer`], or refuse to train for it."""
        if not self.is_world_process_zero():
            return
        unwrapped = self.accelerator.unwrap_model(self.model)
        if not isinstance(unwrapped, PreTrainedModel):  # an adapter, which nobody could use without its base model
            require_public_base(str(unwrapped.peft_config["default"].base_model_name_or_path))
        self.hub_target = open_for_training(self.args, token=token, private=private, revision=revision)
        self.hub_model_id, self.push_in_progress = self.hub_target.repo_id, None

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        if not self.is_world_process_zero() or self.args.hub_strategy == HubStrategy.END or self.hub_target is None:
            return
        if self.push_in_progress is None or self.push_in_progress.is_done():
            self.push_in_progress = PushInProgress()
        elif not self.args.hub_always_push:
            return
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        job = push_checkpoint(Path(checkpoint_folder), self.args, self.hub_target, self.state.global_step)
        self.push_in_progress.jobs += [job] if job is not None else []

    def push_to_hub(
        self,
        commit_message: str | None = "End of training",
        blocking: bool = True,
        token: str | None = None,
        revision: str | None = None,
        private: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """
        Save the model to `output_dir`, write its card and upload both, with the records of the run.

        Args:
            commit_message (`str`, *optional*, defaults to `"End of training"`):
                Title of the commit.
            blocking (`bool`, *optional*, defaults to `True`):
                Whether to wait for the upload; a `Future` is returned otherwise.
            token, revision, private (*optional*):
                Instead of the trainer's own `hub_...` options.
            **kwargs:
                For `create_model_card`, such as `dataset_name`.

        Raises:
            [`BadInputError`]: The upload failed. The result is in `output_dir`, whole.
        """
        if self.hub_target is None or token is not None or revision is not None:
            self.init_hf_repo(token, private, revision)
        self.callback_handler.on_push_begin(self.args, self.state, self.control)
        self.save_model(_internal_call=True)
        if not self.is_world_process_zero():
            return None
        assert self.hub_target is not None  # opened above
        kwargs.setdefault("model_name", self.hub_target.repo_id.split("/")[-1])
        self.create_model_card(**kwargs)
        self._finish_current_push()
        what = (self.args, self.hub_target, self.state.global_step, commit_message or "End of training")
        return push_result(*what) if blocking else in_background(push_result, *what)
