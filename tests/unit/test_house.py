# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The order of the house: which room may import which, who touches private names, read from the source alone."""

import ast
import functools
import inspect
import re
from collections import defaultdict
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
# A room may import from the rows below its own, and from its own row: within `engines, ..., models` without a circle.
ROWS = [
    {"cli"},
    {"mmr1_trl"},  # the public names, in `mmr1_trl/__init__.py`
    {"trainers"},
    {"hub"},
    {"reporting", "planning"},
    {"evaluation"},
    {"engines", "methods", "rewards", "data", "models"},
    {"run_folder"},
    {"errors"},
]
# Where names may be touched that TRL, transformers and vLLM do not export; `tests/contract` pins them.
SEAMS = (
    "trainers/trainer.py", "trainers/checkpoints/", "trainers/vision/", "trainers/packing/", "engines/",
    "trainers/guards/exhaustion.py",  # names of functions in a traceback
    "trainers/profiling.py",  # names under which TRL logs its times
)  # fmt: skip
# Names of modules that several rooms may use.
SHARED_NAMES = {
    "base",  # the base class of what the room holds
    "functions",  # reward functions: of answers, and of places
    "cache",  # what is kept in order not to be made twice: models built here, features of pictures
    "plan", "profile", "sft",  # a verb of the command line, and what it or a room of the trainers does
}  # fmt: skip
# Names with an underscore that Python, argparse and mpmath document or have had since ever.
HARMLESS = {"_exit", "_replace", "_actions", "_group_actions", "_optionals", "_prec"}


@functools.cache
def modules() -> dict[str, ast.Module]:
    found = {}
    for path in sorted((ROOT / "mmr1_trl").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text("utf-8"))
    return found


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def type_checking(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING`, which is never imported."""
    blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {part for block in blocks for part in ast.walk(block)}


def imported(module: str, *, types: bool) -> set[str]:
    """The modules of ours that one names: imports wherever they stand, and names of modules in strings."""
    tree, names = modules()[module], set()
    skipped = set() if types else type_checking(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else node.module for name in whole}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= {node.value.split(":")[0]} - {"mmr1_trl"}  # which is a folder as well
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            start = str(node.values[0].value)
            names |= {name for name in modules() if start.startswith("mmr1_trl.") and name.startswith(start)}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{module} imports relatively"
    return {name for name in names if name in modules()} - {module}


def test_imports_run_one_way():
    level = {name: number for number, row in enumerate(ROWS) for name in row}
    assert {room(module) for module in modules()} == set(level)
    against = {
        (module, other)
        for module in modules()
        for other in imported(module, types=True)
        if level[room(module)] > level[room(other)]
    }
    assert not against
    assert not {other for module in modules() if room(module) == "methods" for other in imported(module, types=True)
                if room(other) not in ("methods", "errors")}  # fmt: skip


def test_no_circle():
    graph = {module: imported(module, types=False) for module in modules()}
    left = dict(graph)
    while free := {module for module, needs in left.items() if not needs & left.keys()}:
        left = {module: needs for module, needs in left.items() if module not in free}
    # What is left lies on a circle or above one; those that something of it needs are the circle.
    needed = {other for needs in left.values() for other in needs}
    assert not {module: sorted(needs & left.keys()) for module, needs in left.items() if module in needed}


def test_one_name_has_one_job():
    rooms = defaultdict(set)
    for path in (ROOT / "mmr1_trl").rglob("*.py"):
        rooms[path.stem].add(path.parent)
    assert {name for name, where in rooms.items() if len(where) > 1} == SHARED_NAMES | {"__init__"}


@functools.cache
def upstream_names() -> set[str]:
    """The names with an underscore of the classes that ours extend."""
    import trl.generation.vllm_generation
    from transformers import Trainer
    from trl import GRPOTrainer, SFTTrainer

    sources = [inspect.getmodule(cls) for cls in (Trainer, GRPOTrainer, SFTTrainer)]
    names = set()
    for source in (*sources, trl.generation.vllm_generation):
        for node in ast.walk(ast.parse(inspect.getsource(source))):
            if isinstance(node, ast.FunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                names.add(node.attr)
    return {name for name in names if private(name)}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def own_names() -> set[str]:
    """The names that this package gives: functions, classes, variables and attributes of `self`."""
    names = set()
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                if isinstance(node.value, ast.Name) and node.value.id == "self":
                    names.add(node.attr)
    return names


def private_names_in(tree: ast.Module, foreign: set[str], own: set[str]) -> dict[str, int]:
    """Private names of others that a module reads, passes on or overrides, with a line of each."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and (node.attr in foreign or node.attr not in own):
            found[node.attr] = node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and not str(node.module).startswith("mmr1_trl"):
            parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            found |= {part: node.lineno for part in parts if private(part)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in foreign:
            found[node.value] = node.lineno
        elif isinstance(node, ast.keyword) and node.arg in foreign:
            found[str(node.arg)] = node.value.lineno
        elif isinstance(node, ast.ClassDef):
            methods = [part for part in node.body if isinstance(part, ast.FunctionDef)]
            found |= {method.name: method.lineno for method in methods if method.name in foreign}
    return {name: line for name, line in found.items() if name not in HARMLESS}


def test_private_names_of_others_stay_in_their_rooms():
    foreign, own = upstream_names(), own_names()
    found = defaultdict(dict)
    for module, tree in modules().items():
        path = module.removeprefix("mmr1_trl.").replace(".", "/")
        if not f"{path}.py".startswith(SEAMS) and not f"{path}/".startswith(SEAMS):
            found[module] |= private_names_in(tree, foreign, own)
    assert not {module: names for module, names in found.items() if names}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("trainer._metrics['train']", {"_metrics"}),  # upstream's, though ours have the name as well
        ("model._anything_at_all", {"_anything_at_all"}),
        ("from trl.extras._hidden import x", {"_hidden"}),
        ("getattr(trainer, '_buffered_inputs')", {"_buffered_inputs"}),
        ("swapped(trainer, _step=0)", {"_step"}),
        ("class A(B):\n    def _compute_loss(self): ...", {"_compute_loss"}),
        ("self._of_ours = 1\ntrainer.state", set()),
    ],
)
def test_private_names_are_seen(source, names):
    assert set(private_names_in(ast.parse(source), upstream_names(), {"_of_ours"})) == names


def file_names() -> set[str]:
    """The names of a run's files that `run_folder/files.py` gives."""
    names = set()
    for node in modules()["mmr1_trl.run_folder.files"].body:
        if isinstance(node, ast.Assign):
            values = [part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant)]
            names |= {value for value in values if isinstance(value, str)}
    return names - {"completions"}  # a folder, which is called like the argument of every reward


def spelled(tree: ast.Module, names: set[str]) -> dict[str, int]:
    """The names of files that a module writes out, with a line of each; prose may name them."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not re.search(r"\s", node.value):
            found |= {name: node.lineno for name in names if node.value.split("/")[-1] == name}
    return found


def test_nobody_else_spells_a_file_name_of_a_run():
    names = file_names()
    assert {"trainer_state.json", "checkpoint-", "scores.parquet", "README.md"} <= names and len(names) > 25
    found = {module: spelled(tree, names) for module, tree in modules().items() if room(module) != "run_folder"}
    assert not {module: there for module, there in found.items() if there}


def test_spelled_names_are_seen():
    for source in ("open(folder / 'a.json')", "f'{folder}/a.json'", "glob('*/a.json')"):
        assert spelled(ast.parse(source), {"a.json", "b.json"}) == {"a.json": 1}
    assert not spelled(ast.parse("print('Write a.json first.', 'ba.json')"), {"a.json"})
