# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""Training with a real vLLM server. The weights go to it by files, since TRL's own way needs CUDA and NCCL.

That way of loading throws the workers' encoded pictures away and tells the scheduler nothing, so that without the
reset the next prompt with a known picture ends the server ("Encoder cache miss").
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from fixtures.models import build
from fixtures.trainers import logged
from requests.adapters import HTTPAdapter
from safetensors.torch import save_file
from trl.generation.vllm_client import VLLMClient

from mmr1_trl import MSSRConfig, MSSRTrainer
from mmr1_trl.errors import BadInputError, TrainingStopped


pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

DIFFERENCE = "sampling/sampling_logp_difference/mean"


def end_all(process):
    """End the server with its engine and worker, which outlive it otherwise."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The process, its address and the folder of its model."""
    folder = tmp_path_factory.mktemp("server") / "qwen2_5_vl"
    for part in build("qwen2_5_vl"):
        part.save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", str(folder), "--port", str(port), "--enable-scale-out", "--logprobs-mode", "processed_logprobs"]
    words += [
        "--max-logprobs",
        "-1",
        "--enforce-eager",
        "--max-model-len",
        "256",
        "--limit-mm-per-prompt",
        '{"video": 0}',
    ]
    environment = os.environ | {"VLLM_SERVER_DEV_MODE": "1"}
    environment.pop("VLLM_ENABLE_V1_MULTIPROCESSING")
    log = (folder.parent / "log").open("w")
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "vllm"), *words],
        env=environment,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 280
    while time.monotonic() < end and process.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).status_code == 200:
                break
        except requests.exceptions.RequestException:
            time.sleep(1)
    assert process.poll() is None, (folder.parent / "log").read_text()[-3000:]
    yield process, url, folder
    end_all(process)


@pytest.fixture
def make(server, make_trainer, rows, tmp_path, monkeypatch):
    """A trainer that uses the server, with the transport of the weights replaced."""

    def by_files(client, metadata, named_params):
        weights = {name: tensor.detach().clone().contiguous() for name, tensor in named_params}
        assert [name for name, _, _ in metadata] == list(weights)
        save_file(weights, tmp_path / "model.safetensors")
        client._post(
            f"{client.base_url}/collective_rpc",
            json={"method": "reload_weights", "kwargs": {"weights_path": str(tmp_path)}},
        )

    monkeypatch.setattr(VLLMClient, "init_communicator", lambda *_, **__: None)
    monkeypatch.setattr(VLLMClient, "update_named_params", by_files)

    def make(**options):
        server_options = {"vllm_mode": "server", "vllm_server_base_url": server[1], "vllm_max_model_length": None}
        return make_trainer(rows, **(server_options | options))

    return make


def agree(trainer):
    differences = logged(trainer, DIFFERENCE)
    print(f"\nserver, {trainer._name} {DIFFERENCE}", [round(value, 4) for value in differences])
    assert len(differences) == 5 and max(differences) < 0.02
    assert max(logged(trainer, "grad_norm")) > 0.1


def test_a_trained_tower(make):
    trainer = make()
    trainer.train()
    agree(trainer)


def test_initial_rollouts_of_mssr(make):
    options = {"num_generations": 1, "per_device_train_batch_size": 4, "tracker_initial_rollouts": 4}
    trainer = make(trainer=MSSRTrainer, config=MSSRConfig, **options)
    trainer.train()
    agree(trainer)


def test_another_model_is_refused_before_anything_is_loaded(server, make, monkeypatch):
    monkeypatch.setattr("transformers.AutoModelForImageTextToText.from_pretrained", None)
    with pytest.raises(BadInputError, match="this run trains '.*qwen3_vl'"):
        make(family="qwen3_vl")


def test_a_server_that_dies_ends_the_run_with_its_checkpoint_whole(server, make):
    trainer = make(save_strategy="steps", save_steps=1, max_steps=4)
    trainer.engine.generation.vllm_client.session.mount("http://", HTTPAdapter())  # without minutes of retries
    sync, syncs = trainer.engine._sync_weights, []

    def once_more():
        syncs.append(1)
        if len(syncs) == 3:
            end_all(server[0])
        sync()

    trainer.engine._sync_weights = once_more
    with pytest.raises(TrainingStopped) as stopped:
        trainer.train()
    message = str(stopped.value)
    assert "stopped answering" in message or "failed while taking the new weights" in message
    assert (
        "The last complete checkpoint, checkpoint-2, is untouched." in message
        and "--resume_from_checkpoint" in message
    )
    with pytest.raises(BadInputError, match="No vLLM server answers at"):
        make(vllm_server_timeout=1.0)
