# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What README and guides tell users to type is understood: commands, options, files, Python."""

import re
import shlex
from pathlib import Path
from string import Template

import pytest

from mmr1_trl import cli
from mmr1_trl.cli.commands.check import parse_check
from mmr1_trl.cli.commands.eval import parse_eval
from mmr1_trl.cli.commands.plan import parse_own, parse_plan
from mmr1_trl.cli.commands.profile import parse_profile
from mmr1_trl.cli.commands.push import make_parser
from mmr1_trl.cli.commands.report import parse_report
from mmr1_trl.cli.commands.score import parse_score
from mmr1_trl.cli.commands.sft import parse_sft
from mmr1_trl.cli.commands.train import METHODS, parse_training


PARSERS = {
    "check": parse_check,
    "eval": parse_eval,
    "plan": lambda argv: parse_plan(parse_own(argv)[1]),
    "profile": parse_profile,
    "push": make_parser().parse_args,
    "report": parse_report,
    "score": parse_score,
    "sft": parse_sft,
}
ROOT = Path(__file__).parents[3]
PAGES = ["README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md")))]


def blocks(page, language):
    text = (ROOT / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def commands(word):
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                line = Template(line).safe_substitute(noise="0.5", schedule="two_stage")  # variables of shell loops
                words = shlex.split(line.removesuffix("..."), comments=True)
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words = words[1:]
                if words and words[0] == word:
                    yield words[1:]


@pytest.mark.parametrize("words", list(commands("mmr1")), ids=" ".join)
def test_mmr1_commands_are_understood(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command, *argv = words
    assert command in cli.COMMANDS
    (tmp_path / "my.yaml").write_text("max_steps: 1\n")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    if command in METHODS:
        parse_training(command, argv)
    elif command in PARSERS:
        PARSERS[command](argv)
    elif command == "configs":
        (tmp_path / "my.yaml").unlink()
        assert cli.main(words) == 0
    else:
        assert command in ("quickstart", "env") and argv == []


def test_make_targets_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {words[0] for words in commands("make")}
    assert {"quickstart", "test", "lint"} <= named <= targets


def test_links_and_commands_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text()):
            assert (ROOT / page).parent.joinpath(target).exists(), (page, target)
        for words in re.findall(r"python (benchmarks/[\w/]+\.py)", (ROOT / page).read_text()):
            assert (ROOT / words).is_file(), (page, words)
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^\| .*`mmr1 ([a-z-]+)", text, flags=re.MULTILINE))
    assert listed <= set(cli.COMMANDS)


def test_the_python_example_trains(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("README.md", "python")
    scope = {}
    exec(example, scope)
    assert scope["trainer"].state.global_step == 2
