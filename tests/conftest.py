# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""What all tests share: offline, one thread, small rows with pictures and a trainer on them."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any


os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from fixtures.trainers import build_trainer, picture_rows, token_reward


torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Let the slow tests begin, so that no process of `make test` waits long for another at the end.

    Each of them goes to whichever process is free, the others file by file; what looks at one Hub stays together.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        file, _, name = item.nodeid.partition("::")
        on_the_hub = "hub_server" in getattr(item, "fixturenames", ())
        group = "hub" if on_the_hub else name if item.get_closest_marker("slow") else file
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Take back what a test or its trainer leaves in the environment: a launcher's variables change later tests."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def cards_without_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing the curves of a tiny run takes longer than the run. A test that looks at them asks for `curves`."""
    if "curves" not in request.fixturenames:
        monkeypatch.setattr("mmr1_trl.hub.model_card._draw_curves", lambda *args: {})


@pytest.fixture
def curves() -> None:
    """Model cards with their curves."""


@pytest.fixture
def make_rows() -> Any:
    return picture_rows


@pytest.fixture
def reward() -> Any:
    return token_reward


@pytest.fixture
def make_trainer(tmp_path: Path) -> Any:
    """[`build_trainer`] with a folder of the test's own."""
    return partial(build_trainer, output_dir=str(tmp_path / "run"))
