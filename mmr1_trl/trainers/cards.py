# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The card of a run, written beside its checkpoints in place of TRL's."""

from pathlib import Path
from typing import Any

from transformers.utils import logging

from mmr1_trl.run_folder import RUN_FILE, write_json


logger = logging.get_logger(__name__)


class CardMixin:
    """
    Goes before a trainer of TRL, which calls `create_model_card` at every checkpoint, at uploads and at the end.

    Attributes:
        base_model_name (`str`, *optional*), dataset_name (`str`, *optional*):
            What the user calls the model that training starts from and its rows, where the trainer cannot know it. The
            command line sets them.
    """

    args: Any
    base_model_name: str | None = None
    dataset_name: str | None = None
    _card_failed = False

    def create_model_card(
        self, model_name: str | None = None, dataset_name: str | None = None, tags: str | list[str] | None = None
    ) -> None:
        """
        Write `README.md`, `mmr1_run.json`, the curves and the log history so far into the output folder. Whatever goes
        wrong is warned about once; no training fails because of its card.

        Args:
            model_name (`str`, *optional*):
                Unused: the card is headed by the name of the repository or of the folder.
            dataset_name (`str`, *optional*):
                What the training rows are called, if not `self.dataset_name`.
            tags (`str` or `list[str]`, *optional*):
                Further tags.
        """
        trainer: Any = self
        if not trainer.is_world_process_zero():
            return
        try:
            from mmr1_trl.hub.cards import write_model_card
            from mmr1_trl.hub.run_facts import describe_run

            folder = Path(str(self.args.output_dir))
            folder.mkdir(parents=True, exist_ok=True)
            trainer.save_state()
            write_json(folder / RUN_FILE, describe_run(trainer, dataset_name or self.dataset_name, tags))
            write_model_card(folder, repo_id=trainer.hub_model_id)
        except Exception as error:  # a card is never worth a run
            if not self._card_failed:
                logger.warning(
                    f"The model card could not be written ({type(error).__name__}: {error}). Training goes on; this "
                    "is said once."
                )
            self._card_failed = True
