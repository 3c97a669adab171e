# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 quickstart`: cold start, evaluation, MSSR, evaluation, report; every finished phase is kept."""

import shlex
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmr1_trl.cli.arguments import MAX_SEED
from mmr1_trl.cli.first_look import look_first
from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parsing import parse
from mmr1_trl.cli.parts import spare_threads
from mmr1_trl.errors import BadInputError, did_you_mean
from mmr1_trl.run_folder import (
    CURVES,
    QUICKSTART_FILE,
    REPORT_PAGE,
    SUMMARY,
    SUMMARY_TEXT,
    complete_checkpoints,
    locked,
    read_json,
    write_json,
)


_ABOUT = (
    "Train a small but real vision-language model by MSSR on pictures drawn here, and show what it learned on "
    "held-out ones. Needs no download and no accelerator. Interrupted, it goes on where it was when called again."
)


# Config and cold start of each kind of pictures.
_PICTURES = {
    "tiles": ("figures/mssr", "figures/cold_start"),
    "digits": ("figures/digits", "figures/digits_start"),
    "charts": ("figures/charts", "figures/charts_start"),
}


class _NotTrained(Exception):
    """The training ended before its end; its exit code is the argument."""


@dataclass
class QuickstartArguments:
    """
    Options of `mmr1 quickstart`.

    Args:
        output_dir (`str`, *optional*, defaults to `"runs/quickstart"`):
            Where everything is written.
        max_steps (`int`, *optional*):
            Optimizer steps of the training; by default as many as the config says.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the training and of the held-out pictures.
        eval_rows (`int`, *optional*, defaults to `600`):
            Held-out prompts of the evaluations before and after.
        pictures (`str`, *optional*, defaults to `"tiles"`):
            `"tiles"`, `"digits"` (handwritten ones) or `"charts"` (of real tables).
        model (`str`, *optional*):
            The model to start from; by default the cold start of the pictures.
    """

    output_dir: str = field(default="runs/quickstart", metadata={"help": "Where everything is written."})
    max_steps: int | None = field(default=None, metadata={"help": "Optimizer steps; the config's by default."})
    seed: int = field(default=0, metadata={"help": "Seed of the training and of the held-out pictures."})
    eval_rows: int = field(default=600, metadata={"help": "Held-out prompts of both evaluations."})
    pictures: str = field(
        default="tiles",
        metadata={"help": "What is shown: 'tiles', 'digits' (handwritten) or 'charts' (of real tables)."},
    )
    model: str = field(
        default="", metadata={"help": "The model to start from; by default the cold start of the pictures."}
    )

    def __post_init__(self) -> None:
        if not 0 <= self.seed <= MAX_SEED:
            raise BadInputError(f"--seed must be at least 0 and at most {MAX_SEED}, got {self.seed}.")
        if self.eval_rows < 1 or (self.max_steps is not None and self.max_steps < 1):
            raise BadInputError("--eval_rows and --max_steps must be at least 1.")
        if self.pictures not in _PICTURES:
            near = did_you_mean(self.pictures, _PICTURES)
            raise BadInputError(f"--pictures {self.pictures}: known are {', '.join(_PICTURES)}.{near}")
        self.model = self.model or _PICTURES[self.pictures][1]


def run(argv: list[str]) -> int:
    """Run what is still missing with the words after `mmr1 quickstart` as options; return the exit code."""
    look_first(argv)
    settings = parse("quickstart", argv, lambda: (QuickstartArguments,), _ABOUT)
    if settings.launch_args:
        raise BadInputError(f"`mmr1 quickstart` runs in one process; {settings.launch_args[0]} has no meaning here.")
    (args,) = settings.build()
    folder = require_writable(args.output_dir)
    with locked(folder, "mmr1 quickstart"):
        return _run(args, folder, argv)


def _run(args: QuickstartArguments, folder: Path, argv: list[str]) -> int:
    state = _State(folder, asdict(args))
    spare_threads(args.model)
    try:
        state.once("cold start", lambda: _cold_start(args))
        state.once("evaluation before", lambda: _evaluate(args, args.model, folder / "before"))
        state.once("training", lambda: _train(args))
        state.once("evaluation after", lambda: _evaluate(args, str(folder / "train"), folder / "after"))
        _report(folder, state)
    except KeyboardInterrupt:
        code = 130
    except _NotTrained as stopped:
        code = stopped.args[0]
    else:
        return 0
    print(f"\nNot finished. What is done is kept; to go on: {shlex.join(['mmr1', 'quickstart', *argv])}")
    return code


class _State:
    """The settings of the quickstart in a folder, its finished phases, and the seconds that each phase took."""

    _KINDS = {"settings": dict, "finished": list, "seconds": dict}

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.path = folder / QUICKSTART_FILE
        self.seconds: dict[str, float] = {}
        self.finished: list[str] = []
        self.settings = settings = {name: value for name, value in settings.items() if name != "output_dir"}
        if self.path.is_file():
            stored = read_json(self.path)
            if not all(isinstance(stored.get(name), kind) for name, kind in self._KINDS.items()):
                raise BadInputError(f"{self.path} is not what a quickstart wrote. Choose another --output_dir.")
            known = {"pictures": "tiles"} | stored["settings"]  # of before there were others
            changed = [f"{name} {known.get(name)}" for name in settings if known.get(name) != settings[name]]
            if changed:
                raise BadInputError(
                    f"{folder} holds a quickstart with {', '.join(changed)}. Use the same options to go on with it, "
                    "or another --output_dir to begin a new one."
                )
            self.seconds, self.finished = stored["seconds"], stored["finished"]
        folder.mkdir(parents=True, exist_ok=True)
        self._write()

    def once(self, phase: str, work: Callable[[], None]) -> None:
        """Do `work` unless an earlier call finished it, and add up the time that `phase` takes over all calls."""
        print(f"\n=== {phase}" + (": done before" if phase in self.finished else ""), flush=True)
        if phase in self.finished:
            return
        start = time.perf_counter()
        try:
            work()
            self.finished.append(phase)
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start
            self._write()

    def _write(self) -> None:
        content = {"settings": self.settings, "finished": self.finished, "seconds": self.seconds}
        write_json(self.path, content)


def _cold_start(args: QuickstartArguments) -> None:
    from mmr1_trl.models import resolve_model

    print(f"start model {args.model}: {resolve_model(args.model)}")


def _evaluate(args: QuickstartArguments, model_name: str, folder: Path) -> None:
    from mmr1_trl.cli.commands.eval import load_model
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.data.figures.figure_questions import FAMILIES
    from mmr1_trl.evaluation.record import write_record
    from mmr1_trl.evaluation.runner import evaluate_model

    families = [family for family in FAMILIES if family.startswith(args.pictures)] or None
    dataset = load_figures(split="test", num_rows=args.eval_rows, seed=args.seed, families=families)
    model, processor = load_model(model_name)
    result = evaluate_model(
        model,
        processor,
        dataset,
        num_samples=4,
        max_new_tokens=32,
        batch_size=256,
        seed=args.seed,
        prompt_style="figures",
    )
    result.save(folder, dataset)
    write_record(folder, model_name, "figures", "test")
    print(f"greedy accuracy {result.greedy_accuracy:.3f}, sampled {result.sampled_accuracy:.3f}")


def _train(args: QuickstartArguments) -> None:
    import torch

    from mmr1_trl.cli.commands.train import train

    folder = Path(args.output_dir) / "train"
    config, _ = _PICTURES[args.pictures]
    words = ["--config", config, "--model_name_or_path", args.model, "--output_dir", str(folder)]
    words += ["--seed", str(args.seed), "--log_completions", "true", "--num_completions_to_print", "0"]
    if args.max_steps is not None:
        words += ["--max_steps", str(args.max_steps)]
    if torch.accelerator.device_count() > 1:
        words += ["--num_processes", "1"]  # several processes would train on larger batches
    if complete_checkpoints(folder):
        words += ["--resume_from_checkpoint", "true"]
    code = train("mssr", words)
    if code == 130:
        raise KeyboardInterrupt
    if code:
        raise _NotTrained(code)


def _report(folder: Path, state: _State) -> None:
    from mmr1_trl.evaluation.compare import compare
    from mmr1_trl.hub.model_card import write_model_card
    from mmr1_trl.reporting.build import comparison_sentence, training_report
    from mmr1_trl.reporting.curves import draw_curves
    from mmr1_trl.reporting.runs import load_run
    from mmr1_trl.reporting.samples import load_evaluation
    from mmr1_trl.reporting.tables import before_after_by, before_after_table

    before, after = load_evaluation(folder / "before"), load_evaluation(folder / "after")
    training = load_run(folder / "train")
    curves = draw_curves([training], folder / CURVES)
    page = training_report("mmr1 quickstart: MSSR on a small vision-language model", training, before, after)
    times = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in state.seconds.items())
    page.notes.append(f"Wall time: {times}.")
    page.write(folder / REPORT_PAGE)
    table = before_after_table(before.summary, after.summary)
    families = before_after_by(before.summary, after.summary, "family")
    sentence = comparison_sentence(compare(before.predictions, after.predictions))
    summary = {
        "before": before.summary,
        "after": after.summary,
        "seconds": state.seconds,
        "settings": state.settings,
    }
    write_json(folder / SUMMARY, summary)
    (folder / SUMMARY_TEXT).write_text(
        f"# mmr1 quickstart\n\n{sentence}\n\n{table.markdown()}\n\n{families.markdown()}\n\n{times}\n",
        encoding="utf-8",
    )
    write_model_card(folder / "train")
    print(f"\n=== result\n{sentence}\n\n{table.text()}\n\n{families.text()}\n\n{times}")
    print(f"\nReport:   {(folder / REPORT_PAGE).resolve()}\nCurves:   {curves.resolve()}")
    print(f"Summary:  {(folder / SUMMARY).resolve()}\nModel:    {(folder / 'train').resolve()}")
