# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""A local Hub, a process that works with it, and one run that several tests look at."""

import shutil

import pytest
from fixtures.hub_server import TOKEN, Hub
from fixtures.hub_worker import TINY, Worker

from mmr1_trl.models import build_tiny_vlm


REWARD = """
def parity(completion_ids, solution, **kwargs):
    return [float((sum(ids) + len(str(gold))) % 2 == 0) for ids, gold in zip(completion_ids, solution)]
"""


@pytest.fixture(scope="session")
def hub_folder(tmp_path_factory):
    """Where the commands run: a folder with a reward of its own and a small model."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "hub_rewards.py").write_text(REWARD)
    model, processor = build_tiny_vlm("qwen2_5_vl", seed=0)
    model.save_pretrained(folder / "base")
    processor.save_pretrained(folder / "base")
    # A run that gets as far as the weights of this one fails in other words.
    shutil.copytree(folder / "base", folder / "weightless", ignore=shutil.ignore_patterns("*.safetensors"))
    return folder


@pytest.fixture(scope="session")
def hub_server():
    server = Hub().start()
    yield server
    server.shutdown()


@pytest.fixture(scope="session")
def worker(hub_server, hub_folder):
    with Worker(hub_server.url, TOKEN, hub_folder) as worker:
        yield worker


@pytest.fixture
def hub(hub_server):
    """The server, well again after each test."""
    yield hub_server
    hub_server.failures.clear()


@pytest.fixture(scope="session")
def pushed_base(hub_server, worker, hub_folder):
    """The small model on the Hub, as `tester/base`."""
    outcome = worker.mmr1("push", "model", "base", "tester/base", cwd=hub_folder)
    assert outcome.code == 0, outcome.err
    return "tester/base"


@pytest.fixture(scope="session")
def pushed_run(hub_server, worker, hub_folder):
    """A finished run, `runs/full`, that went to `tester/full` with its checkpoints."""
    outcome = worker.mmr1(
        "mssr", *TINY, "--model_name_or_path", "base", "--output_dir", "runs/full", "--push_to_hub", "--hub_model_id",
        "tester/full", "--hub_strategy", "checkpoint", "--hub_always_push", "--hub_private_repo", "true",
        "--log_completions", cwd=hub_folder,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return outcome
