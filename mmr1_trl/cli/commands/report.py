# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""`mmr1 report RUN [RUN ...]`: curves, tables and completions of runs or evaluations on one page."""

import argparse
import os
from pathlib import Path

from mmr1_trl.cli.output import require_writable
from mmr1_trl.cli.parser import Parser
from mmr1_trl.data.sources import nearest_file
from mmr1_trl.errors import BadInputError
from mmr1_trl.run_folder import REPORT_PAGE


def parse_report(argv: list[str]) -> argparse.Namespace:
    """Read the words after `mmr1 report`: `runs` and `output`."""
    parser = Parser(
        prog="mmr1 report",
        usage="mmr1 report RUN [RUN ...] [--output PAGE.html] [--x_axis steps|rollouts]",
        description=(
            "Write one self-contained HTML page, and PNGs of the curves, for training runs (several are overlaid; "
            "those whose folder names differ only in a seed, such as mssr-seed0 and mssr-seed1, become a band), for "
            "one evaluation, or for two evaluations of the same rows (the first is compared with the second)."
        ),
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="output folder of a run or of `mmr1 eval`")
    parser.add_argument("--output", help="the page to write; report.html in the first folder by default")
    parser.add_argument(
        "--x_axis",
        choices=("steps", "rollouts"),
        default="steps",
        help="draw curves over optimizer steps, or over all rollouts, those for scoring included",
    )
    return parser.parse_args(argv)


def run(argv: list[str]) -> int:
    """Write the page for the folders in `argv`; return the exit code."""
    args = parse_report(argv)
    output = Path(args.output or Path(args.runs[0]) / REPORT_PAGE)
    if output.suffix != ".html":
        raise BadInputError(f"--output names the page and must end in .html, got {args.output!r}.")
    if output.is_dir():
        raise BadInputError(f"--output {output}: that is a folder. Name a file in it, such as {output / REPORT_PAGE}.")
    for folder in args.runs:
        if not os.path.isdir(folder):
            raise BadInputError(f"There is no run folder {folder!r}.{nearest_file(folder)}")
    require_writable(output.parent)

    from mmr1_trl.reporting.samples import is_evaluation

    evaluations = [is_evaluation(folder) for folder in args.runs]
    if all(evaluations):
        _report_evaluations(args.runs, output)
    elif not any(evaluations):
        _report_runs(args.runs, output, args.x_axis)
    else:
        raise BadInputError("A report shows training runs or evaluations, not both: name folders of one kind.")
    return 0


def _report_evaluations(folders: list[str], output: Path) -> None:
    from mmr1_trl.reporting.build import evaluation_report
    from mmr1_trl.reporting.samples import load_evaluation

    evaluations = {str(folder): load_evaluation(folder) for folder in folders}
    if len(evaluations) < len(folders):
        raise BadInputError("An evaluation was named twice.")
    print(f"Report:  {evaluation_report(evaluations, 'the same prompts').write(output).resolve()}")


def _report_runs(folders: list[str], output: Path, x_axis: str) -> None:
    from mmr1_trl.reporting.build import runs_report
    from mmr1_trl.reporting.curves import draw_curves
    from mmr1_trl.reporting.runs import load_runs
    from mmr1_trl.reporting.score_map import draw_score_maps

    runs = load_runs(folders)
    page = runs_report(runs, x_axis).write(output)
    curves = draw_curves(runs, output.with_name(f"{output.stem}_curves.png"), x_axis=x_axis)
    print(f"Report:  {page.resolve()}\nCurves:  {curves.resolve()}")
    if scores := draw_score_maps(runs, output.with_name(f"{output.stem}_scores.png"), x_axis):
        print(f"Scores:  {scores.resolve()}")
