# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""How the package is built, in numbers, beside an earlier version of it.

    git worktree add --detach ../earlier 2ff92b6
    python benchmarks/correctness/house.py ../earlier

Lines and files of each room; functions above 60 lines; functions that take a trainer; modules on a circle of imports
(wherever these stand, names of modules in strings included, types left out); options of our own. Hops: the distinct
pairs of modules of which one calls the other in one step of variance-aware training, counted by `sys.setprofile`; a
re-entry is a pair whose second module is still at work further up. Writes `benchmarks/results/house.{md,json}`.
"""

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any


sys.path.insert(0, str(Path(__file__).parents[1]))

LONG = 60
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


class Hops:
    """A profile function that notes which module of ours calls which."""

    def __init__(self) -> None:
        self.pairs: set[tuple[str, str]] = set()
        self.returns: set[tuple[str, str]] = set()

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        callee = frame.f_globals.get("__name__", "")
        if event != "call" or not callee.startswith("mmr1_trl."):
            return
        above = []
        while (frame := frame.f_back) is not None:  # type: ignore[assignment]
            name = frame.f_globals.get("__name__", "")
            if name.startswith("mmr1_trl.") and name != (above or [""])[-1]:
                above.append(name)
        if above and above[0] != callee:
            self.pairs.add((above[0], callee))
            if callee in above:
                self.returns.add((above[0], callee))


def measure_step() -> None:
    """In a process whose `mmr1_trl` is the one to measure: train two steps, and print what the second one called."""
    from common import reward
    from transformers import TrainerCallback
    from trl import GRPOConfig

    from mmr1_trl import RLVRConfig, VASConfig, VASTrainer
    from mmr1_trl.data.figures import load_figures
    from mmr1_trl.models import build_tiny_vlm

    hops = Hops()

    class Second(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            sys.setprofile(hops if state.global_step == 1 else None)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            sys.setprofile(None)

    model, processor = build_tiny_vlm()
    with tempfile.TemporaryDirectory() as folder:
        args = VASConfig(
            output_dir=folder, use_cpu=True, bf16=False, per_device_train_batch_size=8, num_generations=4, max_steps=2,
            gradient_accumulation_steps=1, max_completion_length=8, report_to="none", save_strategy="no", beta=0.0,
            disable_tqdm=True,
        )  # fmt: skip
        VASTrainer(
            model=model, reward_funcs=reward, args=args, train_dataset=load_figures(num_rows=32),
            processing_class=processor, callbacks=[Second()],
        ).train()  # fmt: skip
    options = set(RLVRConfig.__dataclass_fields__) - set(GRPOConfig.__dataclass_fields__)
    print(json.dumps({"hops": sorted(hops.pairs), "re_entries": sorted(hops.returns), "options": sorted(options)}))


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
    for name in ("lines", "files", "functions", "long_functions", "take_a_trainer", "on_a_circle", "options", "hops",
                 "re_entries"):  # fmt: skip
        values = [version[name] for version in versions.values()]
        rows.append([name.replace("_", " "), *(f"{v:,}" if isinstance(v, int) else str(len(v)) for v in values)])
    for name in sorted({name for version in versions.values() for name in version["rooms"]}):
        cells = [version["rooms"].get(name) for version in versions.values()]
        rows.append([f"`{name or '.'}`: lines, files", *(f"{c[0]:,}, {c[1]}" if c else "" for c in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path, help="folder of an earlier version")
    parser.add_argument("--step", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        return measure_step()
    from common import write_results

    roots = {"before": given.base, "now": HERE} if given.base else {"now": HERE}
    versions = {name: measure(root.resolve()) for name, root in roots.items()}
    write_results("house", table(versions), versions)


if __name__ == "__main__":
    main()
