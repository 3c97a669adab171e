# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How the package is built, in numbers, beside an earlier version of it.

    git worktree add --detach ../earlier 2ff92b6
    python benchmarks/correctness/house.py ../earlier

Lines and files of each room; functions above 60 lines; functions that take a trainer; modules on a circle of imports
(wherever these stand, names of modules in strings included, types left out); options of our own.

Hops: the distinct pairs of modules of which one calls the other, with whatever is not ours in between left out, in
one step of variance-aware training, and in one before which the scores are renewed by rollouts; counted by
`sys.setprofile` in the main thread. A re-entry is a pair whose second module is still at work further up. Hops of a
prompt are those of a step that hand on the prompts that it draws, as an argument (other than `self`) or as what is
returned: row numbers or prompt numbers (at least three, all of them drawn in this step), rows (dictionaries with a
`prompt`), conversations, lists of these, and objects of ours that hold them. What TRL makes of prompts, token ids and
padded batches, is not followed.

Lines that were there before: those of a function or method of which the earlier version has one of the same name (and
class), or at least half of the lines; what stands outside of functions counts line by line.

Writes `benchmarks/results/house.{md,json}`.
"""

import argparse
import ast
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from inspect import CO_VARARGS, CO_VARKEYWORDS
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch


sys.path.insert(0, str(Path(__file__).parents[1]))

LONG = 60
MEASURES = (
    "lines", "files", "functions", "long_functions", "take_a_trainer", "on_a_circle", "options", "hops_of_a_prompt",
    "re_entries_of_a_prompt", "hops_of_a_step", "re_entries_of_a_step", "hops_of_a_refresh", "re_entries_of_a_refresh",
)  # fmt: skip
HERE = Path(__file__).parents[2]


def name_of(path: Path, root: Path) -> str:
    """The dotted name of a module's file."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(name: str) -> str:
    parts = name.split(".")
    return "/".join(parts[1:-1][:2]) or (parts[1] if len(parts) > 1 else "")


def imports(tree: ast.Module, names: set[str]) -> set[str]:
    """What a module imports of ours, as `tests/unit/test_house.py` reads it."""
    types = {
        part
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for part in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in names else node.module for name in whole}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "." in node.value:
            found.add(node.value.split(":")[0])
    return found & names


def on_a_circle(graph: dict[str, set[str]]) -> set[str]:
    """The modules from which a walk over imports comes back."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        todo = [*graph[start]]
        while todo:
            if (name := todo.pop()) not in seen:
                seen.add(name)
                todo += graph[name]
        return seen

    return {name for name in graph if name in reach(name)}


def read(root: Path) -> dict[str, Any]:
    """What the source says."""
    files = {name_of(path, root): path for path in sorted((root / "mmr1_trl").rglob("*.py"))}
    trees = {name: ast.parse(path.read_text("utf-8")) for name, path in files.items()}
    lines: Counter[str] = Counter()
    rooms: Counter[str] = Counter()
    functions, long, takes_trainer = 0, [], []
    for name, path in files.items():
        lines[room(name)] += len(path.read_text("utf-8").splitlines())
        rooms[room(name)] += 1
        for node in ast.walk(trees[name]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions += 1
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > LONG:
                    long.append(f"{name}.{node.name}")
                if "trainer" in {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}:
                    takes_trainer.append(f"{name}.{node.name}")
    graph = {name: imports(tree, set(trees)) - {name} for name, tree in trees.items()}
    return {
        "lines": sum(lines.values()),
        "files": len(files),
        "rooms": {name: [lines[name], rooms[name]] for name in sorted(lines)},
        "functions": functions,
        "long_functions": long,
        "take_a_trainer": takes_trainer,
        "on_a_circle": sorted(on_a_circle(graph)),
    }


def numbers_in(value: Any) -> set[int]:
    """The whole numbers in a sequence or a tensor of nothing else."""
    if isinstance(value, torch.Tensor | np.ndarray) and 3 <= np.prod(value.shape) <= 4096:
        value = value.flatten().tolist()
    if isinstance(value, list | tuple) and len(value) >= 3 and all(type(number) is int for number in value):
        return set(value)
    return set()


def definitions(tree: ast.Module) -> dict[str, tuple[int, int]]:
    """First and last line of every function and method by its name, a method's with its class."""
    found = {}
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                first = min([part.lineno, *(decorator.lineno for decorator in part.decorator_list)])
                name = f"{node.name}.{part.name}" if isinstance(node, ast.ClassDef) else part.name
                found[name] = (first, part.end_lineno or first)
    return found


def there_before(root: Path, earlier: Path) -> dict[str, list[int]]:
    """Of each room the lines that the earlier version had in this or another form, and those that it had not."""
    sources = [path.read_text("utf-8") for path in (earlier / "mmr1_trl").rglob("*.py")]
    names = {name for source in sources for name in definitions(ast.parse(source))}
    known = {line.strip() for source in sources for line in source.splitlines()}
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in sorted((root / "mmr1_trl").rglob("*.py")):
        source, where = path.read_text("utf-8"), room(name_of(path, root))
        lines = [line.strip() for line in source.splitlines()]
        left = set(range(len(lines)))
        for name, (first, last) in definitions(ast.parse(source)).items():
            own = [lines[number] for number in range(first - 1, last)]
            left -= set(range(first - 1, last))
            written = [line for line in own if line]
            old = name in names or 2 * sum(line in known for line in written) >= len(written)
            counts[where][not old] += len(own)
        for number in left:
            counts[where][lines[number] not in known] += 1
    return dict(counts)


Call = tuple[str, str, bool]


class Hops:
    """A profile function that notes which module of ours calls which, and with what numbers."""

    def __init__(self) -> None:
        # Caller, callee, and whether the callee was at work already.
        self.calls: set[Call] = set()
        self.with_rows: set[Call] = set()
        self.with_numbers: defaultdict[Call, list[set[int]]] = defaultdict(list)

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        callee = frame.f_globals.get("__name__", "")
        if event not in ("call", "return") or not callee.startswith("mmr1_trl."):
            return
        above, code, outer = [], frame.f_code, frame
        while (outer := outer.f_back) is not None:  # type: ignore[assignment]
            name = outer.f_globals.get("__name__", "")
            if name.startswith("mmr1_trl.") and name != (above or [""])[-1]:
                above.append(name)
        if not above or above[0] == callee:
            return
        call = (above[0], callee, callee in above)
        self.calls.add(call)
        given: list[Any] = [argument]
        if event == "call":
            count = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & CO_VARARGS)
            given = [frame.f_locals[name] for name in code.co_varnames[:count] if name != "self"]
            if code.co_flags & CO_VARKEYWORDS:
                given += frame.f_locals[code.co_varnames[count]].values()
        for value in given:
            self.note(call, value)

    def note(self, call: Call, value: Any, depth: int = 0) -> None:
        """Look for prompts in a value."""
        if numbers := numbers_in(value):
            self.with_numbers[call].append(numbers)
        elif isinstance(value, dict) and ("prompt" in value or {"role", "content"} <= value.keys()):
            self.with_rows.add(call)
        elif isinstance(value, list | tuple) and depth < 3:
            for part in value[:64]:
                self.note(call, part, depth + 1)
        elif dataclasses.is_dataclass(value) and type(value).__module__.startswith("mmr1_trl."):
            if not type(value).__name__.endswith("Config"):
                for part in vars(value).values():
                    self.note(call, part, depth + 1)

    def of_prompts(self, rows: set[int], prompts: set[int]) -> set[Call]:
        """The calls that handed on rows, or three of the drawn numbers and no others."""

        def drawn(numbers: set[int]) -> bool:
            return len(numbers) > 2 and (numbers <= rows or numbers <= prompts)

        return self.with_rows | {call for call, found in self.with_numbers.items() if any(map(drawn, found))}


def second_step(num_rows: int, **options: Any) -> tuple[Hops, set[int], Any]:
    """Train two steps, and return what the second one called, the rows that it drew, and the trainer."""
    from common import reward
    from transformers import TrainerCallback

    from mmr1_trl import VASConfig, VASTrainer
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm

    hops, drawn = Hops(), set()

    def noting(completion_ids: list[list[int]], number: list[int], **kwargs: Any) -> list[float]:
        drawn.clear()
        drawn.update(number)
        return reward(completion_ids)

    class Second(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            sys.setprofile(hops if state.global_step == 1 else None)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            sys.setprofile(None)

    model, processor = build_tiny_vlm()
    rows = load_figures(num_rows=num_rows).add_column("number", list(range(num_rows)))
    with tempfile.TemporaryDirectory() as folder:
        args = VASConfig(
            output_dir=folder, use_cpu=True, bf16=False, per_device_train_batch_size=32, num_generations=4,
            max_steps=2, gradient_accumulation_steps=1, max_completion_length=8, report_to="none", save_strategy="no",
            beta=0.0, disable_tqdm=True, **options,
        )  # fmt: skip
        trainer = VASTrainer(
            model=model, reward_funcs=noting, args=args, train_dataset=rows, processing_class=processor,
            callbacks=[Second()],
        )  # fmt: skip
        trainer.train()
    return hops, drawn, trainer


def measure_steps() -> None:
    """In a process whose `mmr1_trl` is the one to measure: print what steps call, and the options."""
    from trl import GRPOConfig

    from mmr1_trl import RLVRConfig

    # So many rows that no other numbers are taken for those of rows.
    hops, drawn, trainer = second_step(400)
    numbers = trainer.prompt_slots if hasattr(trainer, "prompt_slots") else trainer.prompts.numbers  # before, and now
    prompts = set(numbers[list(drawn)].tolist())
    refresh, *_ = second_step(24, vas_refresh="full", vas_update_steps=1, vas_rollouts=4)
    found: dict[str, list[Any]] = {}
    for which, calls in (
        ("of_a_prompt", hops.of_prompts(drawn, prompts)), ("of_a_step", hops.calls), ("of_a_refresh", refresh.calls)
    ):  # fmt: skip
        found[f"hops_{which}"] = sorted({(caller, callee) for caller, callee, _ in calls})
        found[f"re_entries_{which}"] = sorted((caller, callee) for caller, callee, again in calls if again)
    found["options"] = sorted(set(RLVRConfig.__dataclass_fields__) - set(GRPOConfig.__dataclass_fields__))
    print(json.dumps(found))


def measure(root: Path) -> dict[str, Any]:
    """All numbers of a version."""
    child = subprocess.run(
        [sys.executable, __file__, "--step"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    if child.returncode:
        raise SystemExit(child.stderr)
    return read(root) | json.loads(child.stdout.splitlines()[-1])


def table(versions: dict[str, dict[str, Any]]) -> str:
    rows = [["", *versions], ["---", *["---:"] * len(versions)]]
    for name in MEASURES:
        values = [version[name] for version in versions.values()]
        rows.append([name.replace("_", " "), *(f"{v:,}" if isinstance(v, int) else str(len(v)) for v in values)])
    for name in sorted({name for version in versions.values() for name in version["rooms"]}):
        cells = [version["rooms"].get(name) for version in versions.values()]
        rows.append([f"`{name or '.'}`: lines, files", *(f"{c[0]:,}, {c[1]}" if c else "" for c in cells)])
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    if counts := versions["now"].get("there_before"):
        counts = {"all": [sum(each) for each in zip(*counts.values())]} | counts
        text += "\n\n| lines of now | there before | not there |\n| --- | ---: | ---: |\n"
        text += "\n".join(f"| `{name or '.'}` | {old:,} | {new:,} |" for name, (old, new) in counts.items())
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path, help="folder of an earlier version")
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        return measure_steps()
    from common import write_results

    roots = {"before": given.base, "now": HERE} if given.base else {"now": HERE}
    versions = {name: measure(root.resolve()) for name, root in roots.items()}
    if given.base:
        versions["now"]["there_before"] = there_before(HERE, given.base.resolve())
    write_results("house", table(versions), versions)


if __name__ == "__main__":
    main()
