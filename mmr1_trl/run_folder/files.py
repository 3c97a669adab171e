# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What lies in the folder of a run, and how it is written: names, atomic writes, journals."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmr1_trl.errors import BadInputError, first_line


SETTINGS_FILE = "mmr1_config.yaml"  # what the user gave, for `--config`
RUN_FILE = "mmr1_run.json"  # what the run was, for its card
LOG_HISTORY = "log_history.json"
TRAINER_STATE = "trainer_state.json"  # of transformers, in a checkpoint and at the end of a run
TRAIN_RESULTS = "train_results.json"  # the last file that a finished training writes
SCORES_HISTORY = "prompt_scores.jsonl"
SCORING_JOURNAL = "scoring_journal.jsonl"
SCORES_JOURNAL = "scores_journal.jsonl"  # of `mmr1 score`
QUICKSTART_FILE = "quickstart.json"  # beside the folder of its run
CARD = "README.md"
ADAPTER = "adapter_config.json"  # PEFT's, beside the weights of an adapter
SCORES, KEPT_ROWS = "scores.parquet", "kept.parquet"  # of `mmr1 score`
SUMMARY, PREDICTIONS = "summary.json", "predictions.parquet"  # of `mmr1 eval`
RECORD, UNFINISHED = "evaluation.json", "unfinished.jsonl"  # what was evaluated; its journal
REPORT_PAGE, CURVES, SUMMARY_TEXT = "report.html", "curves.png", "summary.md"
PROFILE, PROFILE_PICTURE = "profile.json", "profile.png"  # of `mmr1 profile`
COMPLETIONS = "completions"  # the folder of TRL's tables of completions
LOCK = ".mmr1.lock"

# In a checkpoint, beside what transformers writes (`trainers/checkpoints/state.py` says what each holds).
CHECKPOINT = "checkpoint-"
LAST_CHECKPOINT = "last-checkpoint"  # on the Hub, the newest one
COMPLETE = "rlvr_complete.json"
STATE_JSON = "rlvr_state.json"
STATE_TENSORS = "rlvr_state.safetensors"
OPTIMIZER, SCHEDULER = "optimizer.pt", "scheduler.pt"  # transformers'
# Nothing reads these back, and neither is uploaded with a checkpoint.
ARGUMENTS = "training_args.bin"  # transformers'
UNREAD = (ARGUMENTS, CARD)


def picture_file(folder: str | Path, row: int) -> Path:
    """Return where an evaluation keeps the picture of a row, of those few that it keeps."""
    return Path(folder) / "pictures" / f"{row}.png"


def completions_table(folder: str | Path, step: int) -> Path:
    """Return where TRL writes the table of completions of a step."""
    return Path(folder) / COMPLETIONS / f"completions_{step:05d}.parquet"


def completions_tables(folder: str | Path) -> list[Path]:
    """Return the tables of completions of a run, oldest step first."""
    files = (Path(folder) / COMPLETIONS).glob("completions_*.parquet")
    return sorted(files, key=lambda path: (len(path.name), path.name))  # from step 100,000 on with a digit more


def checkpoint_of(folder: str | Path, step: int) -> Path:
    """Return where the checkpoint of a step lies."""
    return Path(folder) / f"{CHECKPOINT}{step}"


def rank_files(rank: int) -> tuple[str, str]:
    """Return the names of the two files of a checkpoint that belong to one rank: plain values and tensors."""
    return f"rlvr_rank_{rank}.json", f"rlvr_rank_{rank}.safetensors"


def journal_of_rank(path: Path, rank: int) -> Path:
    """Return the file that one process writes instead of the journal `path`, which is rank 0's."""
    return path if rank == 0 else path.with_suffix(f".{rank}{path.suffix}")


def journals_of_ranks(path: Path) -> list[Path]:
    """Return the files of all processes that there are of the journal `path`."""
    return sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """
    Write a file so that a reader, and whoever comes after a crash of the machine, finds the old one or the new one.

    Args:
        path (`Path`):
            The file.

    Yields:
        `Path`: Where to write it. On the disk and in its place when the `with` ends; gone after an exception.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        yield temporary
        flush_to_disk(temporary)
        os.replace(temporary, path)
        flush_to_disk(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text in one go, see [`replacing`]."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write a value as JSON in one go, see [`replacing`]."""
    write_text(path, json.dumps(value, indent=indent))


def read_json(path: Path) -> dict[str, Any]:
    """
    Read back what [`write_json`] wrote of a mapping.

    Raises:
        [`BadInputError`]: The file is damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(content, dict):
        raise BadInputError(f"{path} holds a {type(content).__name__}, and not what was written there.")
    return content


class Journal:
    """
    JSON lines: the first says what the work is, each other one is a finished piece of it.

    Args:
        path (`Path`):
            The file; its folder is created.
        identity (`dict`):
            What the work depends on. Pieces of other work are never taken for this one's.
    """

    def __init__(self, path: Path, identity: dict[str, Any]) -> None:
        self.path = path
        # Through JSON, so that it compares equal to what is read back (tuples are lists there).
        self.identity = json.loads(json.dumps(identity))

    def _entries(self) -> list[Any]:
        """What is in the file: what the work is, then its pieces. What a kill cut off in the middle is left out."""
        content = self.path.read_bytes() if self.path.is_file() else b""
        try:
            entries = [json.loads(line) for line in content.split(b"\n")[:-1]]  # a cut line has no line end
            if entries and not isinstance(entries[0], dict):
                raise ValueError("its first line does not say what the work is")
        except (ValueError, RecursionError) as error:
            raise BadInputError(
                f"{self.path} is damaged: {first_line(error)}. Delete it; the work in it begins again."
            ) from error
        return entries

    def differences(self) -> list[str]:
        """
        Compare with the file.

        Returns:
            `list[str]`: How the work in the file differs from this one, e.g. `"seed was 0, now 1"`; empty when it is
            the same or when there is no file.

        Raises:
            [`BadInputError`]: The file is damaged.
        """
        entries = self._entries()
        if not entries:
            return []
        found = entries[0]
        names = dict.fromkeys([*found, *self.identity])
        return [
            f"{name} was {found.get(name)}, now {self.identity.get(name)}"
            for name in names
            if found.get(name) != self.identity.get(name)
        ]

    def pieces(self) -> list[Any]:
        """Return the finished pieces in the file, of whatever work they are."""
        return self._entries()[1:]

    def resume(self) -> list[Any]:
        """
        Make the file ready for [`~Journal.append`], which starts anew where the file is another work's.

        Returns:
            `list`: The finished pieces, in the order in which they were appended.

        Raises:
            [`BadInputError`]: The file is damaged.
        """
        pieces = [] if self.differences() else self.pieces()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, "".join(json.dumps(entry) + "\n" for entry in (self.identity, *pieces)))
        return pieces

    def append(self, piece: Any) -> None:
        """Add a finished piece; when this returns, it is on the disk."""
        with open(self.path, "ab") as file:
            file.write(json.dumps(piece).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
