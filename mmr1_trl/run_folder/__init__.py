# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The folder of a run and its one owner: names, atomic writes, the lock, journals, newest and whole checkpoint.

Nothing heavy is imported here: the command line asks before it imports torch.
"""

from mmr1_trl.run_folder.checkpoints import (
    complete_checkpoints,
    is_complete,
    list_checkpoints,
    newest_complete,
    rotate,
    step_of,
)
from mmr1_trl.run_folder.damage import (
    describe_file,
    describe_files,
    find_damage,
    mark_of,
    other_whole,
    require_whole,
    seal,
)
from mmr1_trl.run_folder.files import (
    CHECKPOINT,
    COMPLETE,
    COMPLETIONS,
    LOCK,
    LOG_HISTORY,
    OPTIMIZER,
    RUN_FILE,
    SCHEDULER,
    SCORES_HISTORY,
    SCORING_JOURNAL,
    SETTINGS_FILE,
    STATE_JSON,
    STATE_TENSORS,
    TRAIN_RESULTS,
    TRAINER_STATE,
    Journal,
    checkpoint_of,
    completions_table,
    flush_to_disk,
    rank_files,
    replacing,
    write_json,
    write_text,
)
from mmr1_trl.run_folder.lock import (
    locked,
)


__all__ = [
    "CHECKPOINT",
    "COMPLETE",
    "COMPLETIONS",
    "Journal",
    "LOCK",
    "LOG_HISTORY",
    "OPTIMIZER",
    "RUN_FILE",
    "SCHEDULER",
    "SCORES_HISTORY",
    "SCORING_JOURNAL",
    "SETTINGS_FILE",
    "STATE_JSON",
    "STATE_TENSORS",
    "TRAINER_STATE",
    "TRAIN_RESULTS",
    "checkpoint_of",
    "complete_checkpoints",
    "completions_table",
    "find_damage",
    "describe_file",
    "describe_files",
    "flush_to_disk",
    "is_complete",
    "list_checkpoints",
    "locked",
    "mark_of",
    "newest_complete",
    "other_whole",
    "rank_files",
    "replacing",
    "require_whole",
    "rotate",
    "seal",
    "step_of",
    "write_json",
    "write_text",
]
