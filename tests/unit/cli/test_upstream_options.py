# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Options that TRL and transformers have or had: each has its own sentence, and none where it changes nothing."""

import dataclasses
import re

import pytest
import yaml
from accelerate.commands.launch import launch_command_parser
from trl.scripts.grpo import GRPOScriptArguments
from trl.scripts.utils import DatasetMixtureConfig

from mmr1_trl.cli.commands.eval import parse_eval
from mmr1_trl.cli.commands.score import parse_score
from mmr1_trl.cli.commands.sft import parse_sft
from mmr1_trl.cli.commands.train import parse_training
from mmr1_trl.cli.upstream_options import UPSTREAM
from mmr1_trl.errors import BadInputError


@pytest.fixture(scope="module")
def known():
    """The options of all commands."""
    classes = [*parse_training("vas", []).classes, *parse_sft([]).classes, *parse_score([]).classes]
    return {field.name for cls in classes for field in dataclasses.fields(cls)}


def test_no_entry_is_an_option_of_ours_or_of_the_launcher(known):
    launcher = {word.lstrip("-") for action in launch_command_parser()._actions for word in action.option_strings}
    assert not UPSTREAM.keys() & (known | launcher)


def test_every_successor_that_is_named_is_an_option(known):
    known |= {"accelerate_config"}
    for name, (_, instead) in UPSTREAM.items():
        named = set(re.findall(r"--(\w+)", instead))
        assert named <= known, (name, named - known)


def test_every_option_of_the_script_is_known_or_has_a_sentence(known):
    fields = [field for cls in (GRPOScriptArguments, DatasetMixtureConfig) for field in dataclasses.fields(cls)]
    for field in fields:
        assert field.name in known or field.name in UPSTREAM
        if field.name in UPSTREAM:
            assert str(field.default).lower() in UPSTREAM[field.name][0]  # its default says nothing


@pytest.mark.parametrize("name", UPSTREAM)
def test_each_has_its_sentence_and_its_default_none(name, tmp_path):
    harmless, instead = UPSTREAM[name]
    path = tmp_path / "old.yaml"
    start = re.escape(f"{name}=") + ".*" + re.escape(instead[:30])
    for words in ([f"--{name}", "77"], [f"--{name.replace('_', '-')}=77"]):
        with pytest.raises(BadInputError, match=start):
            parse_training("vas", words)
    path.write_text(yaml.safe_dump({name: "77"}))
    with pytest.raises(BadInputError, match=start):
        parse_training("vas", ["--config", str(path)])
    for value in harmless:
        path.write_text(
            yaml.safe_dump({name: yaml.safe_load(value) if value not in ("none", "") else None, "seed": 3})
        )
        if value == "":
            continue
        settings = parse_training("vas", ["--config", str(path), f"--{name}", value])
        assert settings.values["seed"] == 3 and name not in settings.values


def test_flags_without_value_and_other_commands():
    with pytest.raises(BadInputError, match="dataset_streaming='true': .*a stream does not allow"):
        parse_training("grpo", ["--dataset_streaming", "--seed", "3"])
    with pytest.raises(BadInputError, match="max_seq_length='2048': It is called --max_length now"):
        parse_sft(["--max_seq_length", "2048"])
    with pytest.raises(BadInputError, match="torch_dtype='bfloat16': It is called --dtype now"):
        parse_eval(["--model", "figures/tiny", "--torch_dtype", "bfloat16"])
